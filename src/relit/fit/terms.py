"""The terms of the photometric energy, one function each. All return a scalar; weights live in the options."""

import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.colour import srgb_from_linear


def pixel_term(
    rendered: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"], weight: Float[Tensor, "H W"], noise: float = 0.06
) -> Float[Tensor, ""]:
    """The weighted mean Charbonnier distance of two linear pictures, compared as sRGB, in units of `noise`.

    Source: Charbonnier et al. 1994; sRGB coding spaces differences about as evenly as the eye does.
    """
    error = (srgb_from_linear(rendered) - srgb_from_linear(photo)) / noise
    distance = ((error**2).sum(-1) + 1).sqrt() - 1
    return (distance * weight).sum() / weight.sum().clamp_min(1)


def landmark_term(deviation: Float[Tensor, "n 2"], weight: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """The weighted mean of half the squared errors of landmarks or tie points, in standard deviations, Huber beyond 3."""
    distance = (deviation**2).sum(-1).add(1e-12).sqrt()
    huber = torch.where(distance < 3, 0.5 * distance**2, 3 * distance - 4.5)
    return (huber * weight).sum() / weight.sum()


def identity_term(embedding: Float[Tensor, "D"], target: Float[Tensor, "D"]) -> Float[Tensor, ""]:
    """One minus the cosine of two face embeddings, in [0, 2].

    Source: GANFIT (Gecer et al. 2019), equation 5.
    """
    return 1 - torch.nn.functional.cosine_similarity(embedding, target, dim=-1)


def content_term(features: tuple[Tensor, ...], target: tuple[Tensor, ...]) -> Float[Tensor, ""]:
    """The mean absolute difference of a face network's features (B, C, h, w), relative to their mean size, mean of the layers.

    Source: GANFIT (Gecer et al. 2019), equation 7.
    """
    apart = [(a - b).abs().mean() / b.abs().mean().clamp_min(1e-6) for a, b in zip(features, target, strict=True)]
    return torch.stack(apart).mean()


def gaussian_term(coefficients: Float[Tensor, "*n"]) -> Float[Tensor, ""]:
    """Half the sum of squares: minus the log of a unit Gaussian prior, up to a constant."""
    return 0.5 * (coefficients**2).sum()

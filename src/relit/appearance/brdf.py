"""Reflection of skin's surface: GGX with Smith masking and Schlick Fresnel, and their hemisphere integrals."""

import math
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

MIN_ROUGHNESS = 0.03  # keeps highlights of point lights finite
# Two lobes: skin's highlight has a narrow core and a wide foot. Factors on the roughness, and the second lobe's weight,
# chosen by eye; their mean slope stays near the map's roughness.
LOBE_ROUGHNESS = (1.2, 0.75)
NARROW_WEIGHT = 0.25
TABLE_SIZE = 32


def schlick_fresnel(f0: Float[Tensor, "*batch"], cosine: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Reflectance under the angle whose cosine to the half vector is given.

    Source: Schlick 1994, equation 15.
    """
    return f0 + (1 - f0) * (1 - cosine.clamp(0, 1)) ** 5


def ggx_distribution(cosine: Float[Tensor, "*batch"], alpha: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Density of microfacet normals in 1/sr at the given cosine to the surface normal.

    Source: Walter et al. 2007, equation 33.
    """
    squared = alpha * alpha
    return squared / (math.pi * (cosine * cosine * (squared - 1) + 1) ** 2)


def smith_visibility(
    n_dot_l: Float[Tensor, "*batch"], n_dot_v: Float[Tensor, "*batch"], alpha: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Height-correlated masking and shadowing divided by 4 (n.l) (n.v).

    Source: Heitz 2014, "Understanding the masking-shadowing function", equation 99.
    """
    squared = alpha * alpha
    to_light = n_dot_v * (n_dot_l * n_dot_l * (1 - squared) + squared).sqrt()
    to_eye = n_dot_l * (n_dot_v * n_dot_v * (1 - squared) + squared).sqrt()
    return 0.5 / (to_light + to_eye).clamp_min(1e-6)


def ggx(
    normal: Float[Tensor, "*batch 3"],
    towards_light: Float[Tensor, "*batch 3"],
    towards_eye: Float[Tensor, "*batch 3"],
    f0: Float[Tensor, "*batch"],
    roughness: Float[Tensor, "*batch"],
    light_radius_rad: float = 0.0,
) -> Float[Tensor, "*batch"]:
    """The specular BRDF in 1/sr; 0 where light or eye is below the surface.

    Args:
        roughness: perceptual; alpha is its square.
        light_radius_rad: angular radius of a disk light: widens the lobe and keeps its energy.

    Source: Walter et al. 2007; the widening follows Karis 2013, "Real shading in Unreal Engine 4", area lights.
    """
    alpha = roughness.clamp_min(MIN_ROUGHNESS) ** 2
    half = torch.nn.functional.normalize(towards_light + towards_eye, dim=-1)
    n_dot_l, n_dot_v = (normal * towards_light).sum(-1), (normal * towards_eye).sum(-1)
    n_dot_h, h_dot_v = (normal * half).sum(-1).clamp(0, 1), (half * towards_eye).sum(-1).clamp(0, 1)
    wide = (alpha + light_radius_rad / 2).clamp_max(1) if light_radius_rad else alpha
    lit = (n_dot_l > 0) & (n_dot_v > 0)
    value = ggx_distribution(n_dot_h, wide) * schlick_fresnel(f0, h_dot_v)
    return torch.where(lit, value * smith_visibility(n_dot_l.clamp_min(0), n_dot_v.clamp_min(0), alpha), 0.0)


def environment_reflectance(
    n_dot_v: Float[Tensor, "*batch"], f0: Float[Tensor, "*batch"], roughness: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Directional albedo of `ggx`: the fraction of uniform light that it sends to the eye; differentiable.

    Source: the split sum of Karis 2013; the table is integrated here, with the height-correlated masking.
    """
    at = torch.stack([n_dot_v.clamp(0, 1), roughness.clamp(0, 1)], -1) * 2 - 1
    found = grid_sample(split_sum().to(at), at.reshape(1, 1, -1, 2), padding_mode="border", align_corners=False)
    scale, bias = found[0, :, 0].unflatten(1, n_dot_v.shape) if n_dot_v.dim() else found[0, :, 0, 0]
    return f0 * scale + bias


@cache
def split_sum() -> Tensor:
    """(1, 2, roughness, n.v): factor of F0 and bias of the directional albedo, by importance sampling."""
    count = 2048
    grid = (torch.arange(TABLE_SIZE, dtype=torch.float64) + 0.5) / TABLE_SIZE
    n_dot_v, alpha = grid[None, :, None], (grid**2)[:, None, None]
    index = torch.arange(count, dtype=torch.float64)
    quantile = (index + 0.5) / count
    angle = 2 * math.pi * ((index * 0.6180339887498949) % 1)
    cosine = ((1 - quantile) / (1 + (alpha**2 - 1) * quantile)).sqrt()  # [R, 1, S]
    sine = (1 - cosine**2).clamp_min(0).sqrt()
    v_dot_h = ((1 - n_dot_v**2).sqrt() * sine * angle.cos() + n_dot_v * cosine).clamp_min(0)
    n_dot_l = 2 * v_dot_h * cosine - n_dot_v
    # D cancels against the sampling density D cos / (4 v.h).
    weight = smith_visibility(n_dot_l.clamp_min(0), n_dot_v.expand_as(n_dot_l), alpha.expand_as(n_dot_l))
    weight = torch.where(n_dot_l > 0, weight * 4 * n_dot_l * v_dot_h / cosine, 0.0)
    fresnel = (1 - v_dot_h) ** 5
    return torch.stack([(weight * (1 - fresnel)).mean(-1), (weight * fresnel).mean(-1)])[None].float()

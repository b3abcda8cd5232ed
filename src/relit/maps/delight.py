"""Takes the light out of an unwrapped photo: specular first, then the irradiance, then what the fit left over."""

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.maps.pyramid import blur, weighted_blur
from relit.maps.unwrap import Unwrapped, smoothstep

DARKEST = 0.12  # of the median irradiance: texels in deeper shadow are left to the completion
CLIPPED = (0.88, 0.99)  # sensor value between no doubt and full doubt about a highlight
DROWNED = (0.3, 0.7)  # white mixed in over the darkest channel: between no doubt and full doubt
BROAD, FINE = 0.035, 0.012  # of the map's width: scales at which left-over light is told from skin
KEPT_BRIGHTENING = 0.35  # how much of a broad symmetric brightening is skin; the rest is highlight
KEPT_HUE = 0.5  # how much of a broad change of hue is skin; the rest is coloured light
GLOSS_WIDTH = 0.0015  # of the map's width: colours are noisier than lightness


def delight(
    seen: Unwrapped, base: Float[Tensor, "H W 3"], plain: Float[Tensor, "H W"]
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    """The log ratio between the photo's albedo and the statistical one, and its confidence.

    Args:
        base: albedo of the statistical skin model with the fitted coefficients.
        plain: [0, 1] where skin has the colour of skin: without lips, brows, beard.

    What the fitted light cannot explain is told from skin by three facts. Highlights have the colour of the light, so
    they wash the skin's colour out. Skin is about symmetric, light seldom is. Highlights only brighten. The broad part
    of the log ratio loses its left-right difference and most of its brightening; fine detail stays as it is.

    Source: highlights by the dichromatic model, Shafer 1985.
    Differs: AvatarMe (Lattas et al. 2020) learns this step; here it follows from the model and symmetry.
    """
    trusted = seen.confidence > 0.5
    floor = DARKEST * float(seen.irradiance[trusted].median()) if trusted.any() else 0.05
    diffuse = torch.maximum(seen.radiance - seen.specular, 0.25 * seen.radiance)
    albedo = diffuse * math.pi / seen.irradiance.clamp_min(floor)
    gloss = _gloss(albedo, base, seen.confidence * plain)
    drowned = smoothstep(*DROWNED, gloss / albedo.amin(-1).clamp_min(1e-3))
    albedo = albedo - torch.minimum(gloss, 0.6 * albedo.amin(-1))[..., None]
    clipped = torch.maximum(smoothstep(*CLIPPED, seen.radiance.amax(-1)) * 0.8, drowned)
    dark = 1 - smoothstep(floor * 0.8, floor * 2.5, seen.irradiance.amin(-1))
    confidence = seen.confidence * (1 - clipped) * (1 - dark)
    ratio = (albedo.clamp(5e-3, 1.2) / base.clamp_min(5e-3)).log().clamp(-1.6, 1.2)
    return torch.from_numpy(_without_light(ratio.numpy(), confidence.numpy(), plain.numpy())), confidence


def _gloss(albedo: Tensor, base: Tensor, skin: Tensor) -> Tensor:
    """(H, W) the white that is mixed to the skin's own colour, where `skin` has that colour."""
    certain = skin > 0.5
    if certain.sum() < 1000:
        return torch.zeros_like(skin)
    own = base * (albedo[certain] / base[certain])[::7].median(0).values
    own = own / own.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    across = torch.ones(3) - own.sum(-1, keepdim=True) * own  # the part of white that skin of this colour cannot show
    white = (albedo * across).sum(-1) / (across**2).sum(-1).clamp_min(0.02)
    usual = white[certain][::7].quantile(torch.tensor([0.5, 0.75]))
    excess = (white - usual[1] - 0.5 * (usual[1] - usual[0])).clamp_min(0) * skin
    return torch.from_numpy(cv2.GaussianBlur(excess.numpy(), (0, 0), max(0.5, GLOSS_WIDTH * skin.shape[1])))


def _without_light(ratio: np.ndarray, confidence: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """The log ratio less its broad lopsided part, most of its broad brightening, and part of its broad hue."""
    width = ratio.shape[1]
    result = ratio
    for scale, strength in ((BROAD, 1.0), (FINE, 0.6)):
        broad = weighted_blur(result, confidence, scale * width)
        trust = blur(confidence, scale * width)[..., None]
        both = np.minimum(trust, trust[:, ::-1])
        result = result - 0.5 * strength * np.minimum(both * 2, 1) * (broad - broad[:, ::-1])
    broad = weighted_blur(result, confidence, BROAD * width)
    certain = confidence > 0.5
    level = np.median(broad[certain][::7], 0) if certain.any() else np.zeros(3, np.float32)
    over = np.maximum((broad - level).min(-1, keepdims=True), 0)  # brighter in every channel: white light on top
    hue = broad - level - (broad - level).mean(-1, keepdims=True)
    return result - (1 - KEPT_BRIGHTENING) * over - (1 - KEPT_HUE) * plain[..., None] * hue

"""Takes the light out of an unwrapped photo: specular first, then the irradiance, then what the fit left over."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.maps.pyramid import blur, weighted_blur
from relit.maps.unwrap import Unwrapped

DARKEST = 0.06  # of the median irradiance: texels in deeper shadow are left to the completion
CLIPPED = (0.88, 0.99)  # sensor value between no doubt and full doubt about a highlight
BROAD, FINE = 0.035, 0.012  # of the map's width: scales at which left-over light is told from skin
HUE_RANGE = 0.10  # log units by which a broad difference in hue may exceed the person's middle one
KEPT_BRIGHTENING = 0.35  # how much of a broad symmetric brightening is skin; the rest is highlight


def delight(seen: Unwrapped, base: Float[Tensor, "H W 3"]) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    """The log ratio between the photo's albedo and the statistical one, and its confidence.

    Args:
        base: albedo of the statistical skin model with the fitted coefficients.

    What the smooth fitted light cannot explain (cast shadows, clipped highlights) is separated by two facts: skin is
    about symmetric and light seldom is, and highlights only brighten. The broad part of the log ratio loses its
    left-right difference and most of its brightening; fine detail stays as it is.

    Differs: AvatarMe (Lattas et al. 2020) learns this step; here it follows from the model and symmetry.
    """
    certain = seen.confidence > 0.5
    floor = DARKEST * seen.irradiance[certain].median().clamp_min(1e-3) if certain.any() else 0.05
    diffuse = torch.maximum(seen.radiance - seen.specular, 0.25 * seen.radiance)
    albedo = diffuse * math.pi / seen.irradiance.clamp_min(float(floor))
    clipped = _smoothstep(*CLIPPED, seen.radiance.amax(-1)) * 0.8
    dark = 1 - _smoothstep(float(floor) * 0.5, float(floor) * 2, seen.irradiance.mean(-1))
    confidence = seen.confidence * (1 - clipped) * (1 - dark)
    ratio = (albedo.clamp(5e-3, 1.2) / base.clamp_min(5e-3)).log().clamp(-1.6, 1.2)
    # In the shade of the brow, nose and lips the colour of the little light that arrives is a guess: keep its brightness
    shaded = 1 - _smoothstep(0.35, 0.85, seen.visibility)[..., None] * 0.9
    grey = ratio.mean(-1, keepdim=True)
    ratio = grey + (ratio - grey) * (1 - shaded * 0.8)
    return torch.from_numpy(_without_light(ratio.numpy(), confidence.numpy())), confidence


def _without_light(ratio: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The log ratio with the broad lopsided part and the broad brightening taken out."""
    width = ratio.shape[1]
    result = ratio
    for scale, strength in ((BROAD, 1.0), (FINE, 0.6)):
        broad = weighted_blur(result, confidence, scale * width)
        trust = np.clip(blur(confidence, scale * width), 0, 1)[..., None]
        other, other_trust = broad[:, ::-1], trust[:, ::-1]
        both = np.minimum(trust, other_trust)
        lopsided = 0.5 * (broad - other) * np.minimum(both * 2, 1)
        result = result - strength * lopsided
    # The statistical skin knows how lips, cheeks and beards differ in hue; a broad difference beyond that is light.
    broad = weighted_blur(result, confidence, FINE * width)
    hue = broad - broad.mean(-1, keepdims=True)
    middle = np.median(hue[confidence > 0.5], 0) if (confidence > 0.5).any() else np.zeros(3, np.float32)
    limited = middle + HUE_RANGE * np.tanh((hue - middle) / HUE_RANGE)
    result = result - (hue - limited)
    broad = weighted_blur(result, confidence, BROAD * width)
    level = np.median(broad[confidence > 0.5], 0) if (confidence > 0.5).any() else np.zeros(3, np.float32)
    over = np.maximum((broad - level).min(-1, keepdims=True), 0)  # brighter in every channel: white light on top
    return (result - (1 - KEPT_BRIGHTENING) * over).astype(np.float32)


def _smoothstep(low: float, high: float, x: Tensor) -> Tensor:
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)

"""Completes the albedo where no photo shows it: from the mirrored side, then from the statistical skin, without seams."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.maps.pyramid import fill, weighted_blur

MIRROR_TRUST = 0.6  # of a mirrored texel against a seen one
KNOWN = (0.02, 0.35)  # confidence between completed and seen
FAR_PULL = 0.06  # per octave: how fast the continuation tends to the person's mean tone
OCTAVES = (0.7, 1.4, 2.8)  # texels at 1024, scales of synthesised skin detail


def complete(
    ratio: Float[Tensor, "H W 3"], confidence: Float[Tensor, "H W"], base: Float[Tensor, "H W 3"], seed: int = 0
) -> Float[Tensor, "H W 3"]:
    """The complete diffuse albedo.

    Works on the log ratio to the statistical albedo. Seen texels stay; where only the mirrored side is seen, its
    ratio is used; the rest is a smooth membrane over the borders that tends to the person's median tone, so that
    no seam shows and no hair or background tone runs far. Skin detail of the seen cheeks is synthesised there.

    Source: symmetry-aware completion as Yamaguchi et al. 2018, section 5, without networks; blending of gradients as
    Perez et al. 2003, by a pull-push membrane.
    """
    values, trust = ratio.numpy(), confidence.numpy()
    mirrored, mirrored_trust = values[:, ::-1], trust[:, ::-1] * MIRROR_TRUST
    borrowed = mirrored_trust * (1 - np.clip(trust / KNOWN[1], 0, 1))
    weight = trust + borrowed
    known = (values * trust[..., None] + mirrored * borrowed[..., None]) / np.maximum(weight, 1e-6)[..., None]
    certain = trust > 0.5
    far = np.median(values[certain], 0).astype(np.float32) if certain.any() else np.zeros(3, np.float32)
    solid = _smoothstep(*KNOWN, weight)
    # The membrane continues tone, not detail: a seen hair or mole at the border must not be smeared outwards.
    tone = weighted_blur(known.astype(np.float32), solid, 0.008 * values.shape[1])
    continued = fill(tone, solid, far, FAR_PULL)
    continued = continued + _detail(known, trust, seed) * (1 - solid)[..., None]
    full = known * solid[..., None] + continued * (1 - solid)[..., None]
    return (base * torch.from_numpy(full.astype(np.float32)).exp()).clamp(0, 1)


def _detail(values: np.ndarray, trust: np.ndarray, seed: int) -> np.ndarray:
    """(H, W, 1) band noise whose standard deviation per octave is that of the seen skin, equal in all channels."""
    height, width = trust.shape
    certain = trust > 0.8
    result = np.zeros((height, width, 1), np.float32)
    if certain.sum() < 1000:
        return result
    random = np.random.default_rng(seed)
    grey = values.mean(-1).astype(np.float32)
    previous = grey
    for octave in OCTAVES:
        sigma = octave * width / 1024
        smooth = cv2.GaussianBlur(grey, (0, 0), sigma)
        band = (previous - smooth)[certain]
        # the middle of the distribution: wrinkles, brows and lips are not skin texture
        deviation = 0.9 * np.median(np.abs(band - np.median(band)))
        previous = smooth
        factor = max(1, int(sigma))
        noise = random.standard_normal((height // factor + 2, width // factor + 2)).astype(np.float32)
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        result[..., 0] += noise * deviation / max(float(noise[::8, ::8].std()), 1e-6)
    return result


def _smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)

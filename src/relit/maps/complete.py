"""Completes the albedo where no photo shows it, without seams: from the mirrored side, then the statistical skin."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.smoothstep import smoothstep
from relit.maps.delight import Regions
from relit.maps.mesostructure import face_texel_mm
from relit.maps.pyramid import fill, weighted_blur
from relit.maps.solid_noise import solid_noise

MIRROR_TRUST = 0.6  # of a mirrored texel against a seen one
KNOWN = (0.02, 0.35)  # confidence between completed and seen
FAR_PULL = 0.06  # per octave: how fast the continuation tends to the person's mean tone
TONE_WIDTH = 0.006  # of the map: the continuation starts from means over this distance
BANDS_MM = (0.2, 0.4, 0.8, 1.6, 3.2)  # scales of skin detail; the noise's cells are wider by CELL
CELL = 3.5
STRONGEST = 0.03  # standard deviation of a band in log albedo: more is wrinkles or noise of the photo


def complete(
    ratio: Float[Tensor, "H W 3"],
    confidence: Float[Tensor, "H W"],
    position_mm: Float[Tensor, "H W 3"],
    regions: Regions,
    seed: int = 0,
    guess: tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]] | None = None,
) -> Float[Tensor, "H W 3"]:
    """The log ratio to the statistical albedo at every texel.

    Seen texels stay; where only the mirrored side is seen, its ratio is used; the rest is a smooth membrane over the
    borders that tends to the person's median tone, so that no seam shows and no hair or background tone runs far. On
    it lies detail with the statistics of the seen skin, as fine and as strong there.

    Args:
        position_mm: of each texel on the mean head, so that detail has one size everywhere and no seam.
        regions: seen skin teaches the detail where it is plain, and the tone around it where that goes on: what remains
            of an eye behind the rim of glasses does not.
        seed: another seed gives other detail.
        guess: log ratios from elsewhere, and their weight in [0, 1], in place of the mirrored side and of the membrane.

    Source: symmetry-aware completion as Yamaguchi et al. 2018, section 5, without networks; blending of gradients as
    Perez et al. 2003, by a pull-push membrane.
    """
    values, trust = ratio.numpy(), confidence.numpy()
    mirrored_trust = trust[:, ::-1] * MIRROR_TRUST
    borrowed = mirrored_trust * (1 - np.clip(trust / KNOWN[1], 0, 1))
    if guess is not None:
        borrowed *= 1 - guess[1].numpy()
    weight = trust + borrowed
    known = values * trust[..., None] + values[:, ::-1] * borrowed[..., None]
    known /= np.maximum(weight, 1e-6)[..., None]
    certain = (trust > 0.5) & (regions.plain.numpy() > 0.5)
    far = np.median(values[certain][::7], 0).astype(np.float32) if certain.any() else np.zeros(3, np.float32)
    solid = smoothstep(*KNOWN, weight)
    # The membrane continues tone, not detail: a seen hair or mole at the border must not be smeared outwards.
    telling = solid * regions.going_on.numpy()
    smooth = weighted_blur(known, telling, TONE_WIDTH * values.shape[1])
    if guess is None:
        result = fill(smooth, telling, far, FAR_PULL)
    else:
        guessed, share = (plane.numpy() for plane in guess)
        share = share[..., None] * (1 - telling[..., None])
        weight = telling + share[..., 0]
        mixed = (smooth * telling[..., None] + guessed * share) / np.maximum(weight, 1e-6)[..., None]
        result = fill(mixed, weight, far, FAR_PULL)
    missing = solid < 1
    result[missing] += _detail(known, certain, position_mm.numpy(), missing, seed)
    result += solid[..., None] * (known - result)
    return torch.from_numpy(result)


def _detail(known: np.ndarray, certain: np.ndarray, position_mm: np.ndarray, missing: np.ndarray, seed: int):
    """(P, 3) band noise at the missing texels; each band has the standard deviation that the seen skin has there."""
    points = position_mm[missing]
    result = np.zeros((len(points), 3), np.float32)
    if certain.sum() < 1000:
        return result
    rows, columns = np.flatnonzero(certain.any(1)), np.flatnonzero(certain.any(0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    finer, inside, scale = known[part], certain[part], known.shape
    for index, band_mm in enumerate(BANDS_MM):
        coarser = _blurred(finer, band_mm, scale)
        # the middle of the distribution: wrinkles and moles are not texture
        deviation = np.minimum(1.3 * np.median(np.abs(finer - coarser)[inside][::5], 0), STRONGEST)
        result += solid_noise(points, CELL * band_mm, 16 * seed + index)[:, None] * deviation
        finer = coarser
    return result


def _blurred(picture: np.ndarray, sigma_mm: float, map_shape: tuple[int, ...]) -> np.ndarray:
    across, along = face_texel_mm(*map_shape[:2])
    return cv2.GaussianBlur(picture, (0, 0), max(sigma_mm / across, 0.1), sigmaY=max(sigma_mm / along, 0.1))



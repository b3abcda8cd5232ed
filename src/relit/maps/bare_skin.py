"""Tells bare skin from hair, glasses and background in an unwrapped photo, and finds the colour of the hair."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.maps.unwrap import Unwrapped
from relit.models.regions import region_masks

CORE = ("cheeks", "nose", "chin")  # bare in nearly every photo
MARKED = ("brows", "lips", "eyelids", "nostrils")  # dark or red there, and still part of the skin map
SIDE = 320  # texels of the working picture
DEEPEST = 0.15  # of the median irradiance; deeper shadow says nothing about colour
ROUNDS = 4
# Glasses: width and height of what counts as thin, log ratio to its surroundings, share of the skin below the eyes.
FRAME_TEXELS, FRAME_CONTRAST, FRAME_SHARE = (9, 7), 0.6, 0.06


@dataclass(frozen=True)
class BareSkin:
    """Which texels show skin, at the working size."""

    mask: Float[Tensor, "S S"]  # [0, 1]
    hair_colour: Float[Tensor, "3"] | None  # linear albedo, None where no hair was seen above the forehead


def find_bare_skin(seen: Unwrapped) -> BareSkin:
    """The soft mask of bare skin and the hair's colour.

    Args:
        seen: unwrapped to `SIDE` x `SIDE`.

    The face's middle teaches the colour of skin, the scalp as far as the camera sees it the colour of hair; a cut along
    the edges of the picture divides the rest. Where scalp and face have one colour there is no hair to remove.

    Source: GrabCut, Rother, Kolmogorov & Blake 2004.
    Differs: in the UV layout with the fitted light taken out, so that shading does not look like hair.
    """
    masks = {name: mask.numpy() for name, mask in region_masks(SIDE, SIDE).items()}
    lit = seen.irradiance.mean(-1)
    usable = (seen.visible > 0.15).numpy()
    core = usable & (np.max([masks[n] for n in CORE], 0) > 0.6) & (np.max([masks[n] for n in MARKED], 0) < 0.2)
    if core.sum() < 50:
        return BareSkin(torch.ones(SIDE, SIDE), None)
    floor = DEEPEST * lit[torch.from_numpy(core)].median().clamp_min(1e-3)
    diffuse = (seen.radiance - seen.specular).clamp_min(1e-3)
    albedo = (diffuse * math.pi / lit.clamp_min(float(floor))[..., None]).numpy()
    level = np.median(albedo[core], 0)
    ratio = np.log(np.maximum(albedo, 5e-3) / level)
    scalp = usable & (masks["scalp"] > 0.9) & (masks["ears"] < 0.1)
    hair = _hair_colour(ratio, scalp)
    mask = np.ones((SIDE, SIDE), np.float32) if hair is None else _without_hair(ratio, core, scalp, usable, masks)
    mask *= _without_glasses(ratio, usable, masks)
    return BareSkin(torch.from_numpy(mask), None if hair is None else torch.from_numpy(np.exp(hair) * level))


def _hair_colour(ratio: np.ndarray, scalp: np.ndarray) -> np.ndarray | None:
    """(3,) the typical log ratio of the scalp to the skin, unless it is too close to the skin's to be hair."""
    if scalp.sum() < 200:
        return None
    typical = np.median(ratio[scalp], 0)
    chroma = typical - typical.mean()
    spread = np.median(np.abs(ratio[scalp] - typical))
    is_hair = abs(typical.mean()) > 0.35 or np.abs(chroma).max() > 0.12 or spread > 0.3
    return typical.astype(np.float32) if is_hair else None


def _without_hair(ratio, core, scalp, usable, masks) -> np.ndarray:
    """(S, S) in [0, 1]: 0 where hair or a hat covers the face."""
    face = masks["face"] > 0.5
    light = ratio.mean(-1)
    strands = cv2.GaussianBlur(np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.5)), (0, 0), 2)
    strands = 0.25 * strands / max(float(np.quantile(strands[core], 0.6)), 0.01)  # photos differ in sharpness
    channels = np.stack([0.5 + 0.25 * light, 0.5 + (ratio[..., 0] - ratio[..., 2]) / 2, strands], -1)
    picture = (np.clip(channels, 0, 1) * 255).astype(np.uint8)
    # what no camera sees must not teach a colour: it repeats the hair's
    picture[~usable] = np.median(picture[scalp], 0)
    labels = np.full(picture.shape[:2], cv2.GC_BGD, np.uint8)
    # what looks more like the scalp than like the face's middle must not teach the colour of skin
    like = [np.abs(picture - np.median(picture[of], 0)) / (8 + picture[of].std(0)) for of in (core, scalp)]
    labels[usable] = np.where(face & (like[0].max(-1) < 1.2 * like[1].max(-1)), cv2.GC_PR_FGD, cv2.GC_PR_BGD)[usable]
    labels[core] = cv2.GC_FGD
    labels[scalp] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    cv2.grabCut(picture, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    skin = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    features = (np.max([masks[n] for n in MARKED], 0) > 0.3).astype(np.uint8)
    skin |= face & (cv2.dilate(features, np.ones((9, 9), np.uint8)) > 0)
    # hair reaches in from the rim of the face; what lies inside (moles, wrinkles, highlights) is skin
    opened = cv2.morphologyEx(skin.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, parts = cv2.connectedComponents(1 - opened, connectivity=4)
    covered = np.isin(parts, np.setdiff1d(parts[scalp], 0)).astype(np.float32)
    return 1 - cv2.GaussianBlur(cv2.dilate(covered, np.ones((7, 9), np.uint8)), (0, 0), 1.2)  # and its shadow


def _without_glasses(ratio, usable, masks) -> np.ndarray:
    """(S, S) in [0, 1]: 0 on the frame of glasses, if worn: thin dark arcs below the eyes that cross the nose."""
    light = cv2.GaussianBlur(ratio.mean(-1), (0, 0), 0.7)
    thin = cv2.morphologyEx(light, cv2.MORPH_BLACKHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, FRAME_TEXELS))
    lids = np.flatnonzero((masks["eyelids"] > 0.5).any(1))
    reach = lids[-1] - lids[0]
    zone = usable & (masks["eyelids"] < 0.3) & (masks["nostrils"] < 0.1) & (masks["face"] > 0.2)
    zone[: lids[0] - reach] = zone[lids[-1] + reach :] = False
    below = zone & (masks["brows"] < 0.2) & (masks["under_eye"] + masks["cheeks"] > 0.3)
    bridge = zone & (masks["nose"] > 0.3) & (np.abs(np.linspace(-1, 1, SIDE)) < 0.05)[None]
    bridge[lids[-1] :] = False
    dark = thin > FRAME_CONTRAST
    if not dark[bridge].any() or dark[below].mean() < FRAME_SHARE:
        return np.ones_like(light)
    # brows below the frame cannot be told from it: they go as well
    frame = cv2.dilate((zone & (thin > 0.5 * FRAME_CONTRAST)).astype(np.float32), np.ones((5, 5), np.uint8))
    return 1 - cv2.GaussianBlur(frame, (0, 0), 1.2)

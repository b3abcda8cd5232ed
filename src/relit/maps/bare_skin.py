"""What lies over the skin in an unwrapped photo beyond the photo's own mask, and the colour of the hair."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import scipy.ndimage as ndimage
import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.smoothstep import smoothstep
from relit.maps.pyramid import weighted_blur
from relit.maps.unwrap import Unwrapped, diffuse_radiance
from relit.models.regions import region_masks

CORE = ("cheeks", "nose", "chin")  # bare in nearly every photo
MARKED = ("brows", "lips", "eyelids", "nostrils")  # dark or red there, and still part of the skin map
SIDE = 320  # texels of the working picture
DEEPEST = 0.15  # of the median irradiance; deeper shadow says nothing about colour
LOCAL = 14  # texels over which the skin's own brightness is followed
# Log brightness against the skin around, that over the skin's own median, and texels, that still belong to a cover.
STRANGE, UNUSUAL, REACH = 0.2, 3.5, 34
NARROW = 5  # texels: skin of the lids that is nowhere as wide is not read
FADING = 4.0  # texels from what covers it, mostly rims of glasses, over which skin of lids and below the eyes fades in


@dataclass(frozen=True)
class BareSkin:
    """Which texels show skin, at the working size."""

    mask: Float[Tensor, "S S"]  # [0, 1]
    hair_colour: Float[Tensor, "3"] | None  # linear albedo, None where no hair was seen above the forehead


def find_bare_skin(seen: Unwrapped) -> BareSkin:
    """The soft mask of bare skin and the hair's colour.

    Args:
        seen: unwrapped to `SIDE` x `SIDE`; the photo's mask in it tells hair, hats, glasses and background.

    What covers the face is wider than its mask: strands, shadows and reflections beside it differ from the skin
    around. They are found with the fitted light taken out, so that shading does not look like them.

    Source: hysteresis, Canny 1986, from the mask to whatever strange texels touch it.
    """
    masks = {name: mask.numpy() for name, mask in region_masks(SIDE, SIDE).items()}
    lit = seen.irradiance.mean(-1)
    usable = (seen.visible > 0.15).numpy()
    core = usable & (np.max([masks[n] for n in CORE], 0) > 0.6) & (np.max([masks[n] for n in MARKED], 0) < 0.2)
    if core.sum() < 50:
        return BareSkin(torch.ones(SIDE, SIDE), None)
    floor = DEEPEST * lit[torch.from_numpy(core)].median().clamp_min(1e-3)
    albedo = (diffuse_radiance(seen) * math.pi / lit.clamp_min(float(floor))[..., None]).numpy()
    level = np.median(albedo[core], 0)
    ratio = np.log(np.maximum(albedo, 5e-3) / level)
    scalp = usable & (masks["scalp"] > 0.9) & (masks["ears"] < 0.1)
    hair = _hair_colour(ratio, scalp)
    light = ratio.mean(-1)
    covered = _covered(seen, masks, usable, hair is not None)
    strange = _strange(light, (seen.confidence.numpy() > 0.5) & ~covered, masks) & usable
    near = cv2.distanceTransform((~covered).astype(np.uint8), cv2.DIST_L2, 5) < REACH
    grown = ndimage.binary_propagation(cv2.dilate(_u8(covered), np.ones((5, 5))) > 0, mask=strange & near | covered)
    around_eyes = np.max([masks[name] for name in ("eyelids", "under_eye", "nose")], 0) > 0.05
    around_eyes = cv2.dilate(_u8(around_eyes), np.ones((9, 9))) > 0
    grown |= _cut_off(seen.confidence.numpy() * (1 - _with_margin(grown, around_eyes)) > 0.5, masks["eyelids"])
    refused = _with_margin(grown, around_eyes)
    away = cv2.distanceTransform(1 - refused, cv2.DIST_L2, 5)
    at_eyes = np.max([masks[name] for name in ("eyelids", "under_eye")], 0) > 0.05
    fading = np.where(at_eyes, smoothstep(0.0, FADING, away), 1 - refused).astype(np.float32)
    mask = cv2.GaussianBlur(fading, (0, 0), 1.2).clip(0, 1)
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


def _covered(seen: Unwrapped, masks: dict[str, np.ndarray], usable: np.ndarray, hairy: bool) -> np.ndarray:
    """(S, S) what the photo's mask refuses, openings of eyes, nose and mouth apart, and hair above the forehead."""
    refused = usable & (seen.bare < 0.5).numpy()
    features = np.max([masks[name] for name in MARKED], 0) > 0.2
    refused &= cv2.dilate(_u8(features), np.ones((7, 7))) == 0
    return refused | (usable & (masks["scalp"] > 0.9)) if hairy else refused


def _with_margin(covered: np.ndarray, around_eyes: np.ndarray) -> np.ndarray:
    """(S, S) 0 or 1, what is covered and what is too near: less through glasses, whose rims are sharper than hair."""
    return np.where(around_eyes, cv2.dilate(_u8(covered), np.ones((3, 3))), cv2.dilate(_u8(covered), np.ones((5, 7))))


def _cut_off(bare: np.ndarray, eyelids: np.ndarray) -> np.ndarray:
    """(S, S) what little of the lids shows between an eye and the rim of glasses: mostly shadow and reflections."""
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (NARROW, NARROW))
    wide = cv2.morphologyEx(_u8(bare), cv2.MORPH_OPEN, ellipse)
    return bare & (cv2.dilate(wide, np.ones((3, 3))) == 0) & (cv2.dilate(_u8(eyelids > 0.2), np.ones((5, 5))) > 0)


def _strange(light: np.ndarray, skin: np.ndarray, masks: dict[str, np.ndarray]) -> np.ndarray:
    """(S, S) where plain skin is much darker or brighter than around it."""
    weight = cv2.erode(_u8(skin), np.ones((5, 5))).astype(np.float32)
    around = weighted_blur(light[..., None].astype(np.float32), weight, LOCAL)[..., 0]
    features = np.max([masks[name] for name in (*MARKED, "beard", "under_eye")], 0) > 0.2
    features |= cv2.dilate(_u8(masks["nose"] > 0.2), np.ones((11, 11))) > 0  # its wings lie in creases
    step = np.abs(cv2.GaussianBlur(light, (0, 0), 0.7) - around)
    usual = np.median(step[weight > 0]) if weight.any() else 0.0  # wrinkled skin is no hair
    return (step > max(STRANGE, UNUSUAL * usual)) & ~features & (masks["face"] > 0.3)


def _u8(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8)

"""Dark lines of wrinkles and folds in an albedo: shading that belongs to the relief, not to the skin."""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.folds import FOLD_HUE
from relit.geometry.smoothstep import smoothstep
from relit.maps.mesostructure import face_texel_mm
from relit.maps.pyramid import fill, weighted_blur

GRID_MM = 0.6  # of the working picture
LENGTH_MM = 9.0  # what is as dark over this length is a line; moles and freckles are shorter
WIDTH_MM = 11.0  # widest line
RIM_MM = 1.5  # brows and lips reach this far beyond their masks
CORE, CORE_MM = 2.0, 1.8  # how much darker the bottom of a line may be than the line at that grid, and how near to it
DIRECTIONS = 8
SLIGHT = 0.02  # log brightness: texture is no fold
SURE = 0.6  # share of skin from which all of a line is one's: most people have no beard where they could
# Of the darkness of wrinkles: it is mostly shading, which the relief brings back, but a likeness also lives on it. The
# folds of the photo's expression go altogether: on a calm face they look like those of age.
KEPT_WRINKLES = 0.7
MOVED_MM = (1.0, 6.0)  # movement by the photo's expression between its own folds kept and left out
WRINKLED, LASTING = (0.03, 0.12), 0.7  # mean darkness of lines on foreheads, young to old; share of folds that the old keep
# Darkness of folds of which little and no hue is left when they are gone, and share of the map's width around them that has it.
FOLDED, AROUND = (0.03, 0.15), 0.015
# Share of what an expression's bulges shade and light that goes with its folds, and the scales between which that is, of the
# map's width.
BULGED, NEAR, FAR = 0.6, 0.005, 0.03


class Calm(NamedTuple):
    """A face without the folds of its photos' expressions."""

    ratio: Float[Tensor, "H W 3"]  # log albedo over the typical one
    wrinkles: Float[Tensor, "H W 3"]  # what was added to it where lines are always there: the relief darkens them
    moved: Float[Tensor, "H W"]  # [0, 1] where lines are an expression's
    folds: Float[Tensor, "H W"]  # log brightness that the expression adds, see `relit.appearance.folds`


def calm_face(
    ratio: Float[Tensor, "H W 3"],
    confidence: Float[Tensor, "H W"],
    moved_mm: Float[Tensor, "H W"],
    hued: Float[Tensor, "H W"],
    grown: Float[Tensor, "H W"],
    forehead: Float[Tensor, "H W"],
) -> Calm:
    """Takes out what an expression folds and bulges, and part of the darkness of wrinkles.

    Args:
        ratio: log albedo over the typical one.
        moved_mm: how far an expression of the photos moves each texel.
        hued: [0, 1] skin, where darkness may be that of a fold.
        grown: [0, 1] where a beard grows, whose hairs cannot be told from folds.
        forehead: [0, 1] which no smile moves: there old skin is told from folded skin.
    """
    lines = lambda light: torch.from_numpy(fold_darkening(light.numpy(), hued.numpy()))  # noqa: E731
    folds = lines(ratio.mean(-1))
    moved = smoothstep(*MOVED_MM, moved_mm)
    moved = moved * (1 - _lasting(folds, moved, confidence > 0.5, grown, forehead))
    folds = folds * (1 - KEPT_WRINKLES * (1 - moved))
    taken = folds[..., None] * torch.tensor(FOLD_HUE)
    ratio = ratio + taken
    # skin that bulges between the folds of an expression catches light
    ridges = lines(-ratio.mean(-1)) * moved
    ratio = _with_hue_around(ratio - ridges[..., None], folds * moved, hued)
    bulges = _bulges(ratio, moved * (1 - grown), hued, confidence)
    return Calm(ratio - bulges[..., None], taken * (1 - moved)[..., None], moved, ridges + bulges - folds * moved)


def fold_darkening(light: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """(H, W) >= 0 how much dark lines take from the log brightness of the skin.

    Args:
        light: (H, W) log brightness in the UV layout.
        skin: (H, W) in [0, 1] where darkness may be that of a fold; elsewhere (brows, lips) it is a feature.

    Source: closings by line segments, whose minimum over directions fills what is short in any direction and leaves
    lines: Soille & Talbot 2001, "Directional morphological filtering".
    """
    height, width = light.shape
    across, along = face_texel_mm(height, width)
    size = round(width * across / GRID_MM), round(height * along / GRID_MM)
    reduced, plain = (cv2.resize(values, size, interpolation=cv2.INTER_AREA) for values in (light, skin))
    plain = cv2.erode(plain, np.ones((_odd(2 * RIM_MM),) * 2))
    certain = (plain > 0.25).astype(np.float32)
    reduced = fill(reduced[..., None].repeat(3, -1), certain, np.zeros(3, np.float32), 0.0)[..., 0]
    lines = np.min([cv2.morphologyEx(reduced, cv2.MORPH_CLOSE, kernel) for kernel in _segments()], 0)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_odd(WIDTH_MM),) * 2)
    filled = cv2.morphologyEx(lines, cv2.MORPH_CLOSE, disc)
    depth = np.maximum(filled - lines - SLIGHT, 0)
    depth *= cv2.GaussianBlur(np.minimum(plain / SURE, 1), (0, 0), 0.5 * RIM_MM / GRID_MM)
    enlarged = lambda values: cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)  # noqa: E731
    # the bottom of a line is finer than the working picture
    most = CORE * enlarged(cv2.GaussianBlur(cv2.dilate(depth, np.ones((_odd(CORE_MM),) * 2)), (0, 0), 0.7))
    return np.clip(enlarged(filled) - light - SLIGHT, 0, most)


def _with_hue_around(ratio: Tensor, gone: Tensor, hued: Tensor) -> Tensor:
    """The log ratio with the hue of the skin around it where a fold was taken out: what light there was is not known."""
    share = smoothstep(*FOLDED, gone) * hued
    hue = ratio - ratio.mean(-1, keepdim=True)
    around = weighted_blur(hue.numpy(), (hued * (1 - share)).numpy(), AROUND * ratio.shape[1])
    return ratio + share[..., None] * (torch.from_numpy(around) - hue)


def _bulges(ratio: Tensor, moved: Tensor, hued: Tensor, confidence: Tensor) -> Tensor:
    """(H, W) log brightness of what an expression bulges, broader than folds, against the skin that it leaves in place."""
    width = ratio.shape[1]
    near = weighted_blur(ratio.numpy(), (hued * confidence + 1e-3).numpy(), NEAR * width)
    far = weighted_blur(ratio.numpy(), (hued * confidence * (1.02 - moved)).numpy(), FAR * width)
    return BULGED * hued * moved * confidence * torch.from_numpy((near - far).mean(-1))


def _lasting(folds: Tensor, moved: Tensor, sure: Tensor, grown: Tensor, forehead: Tensor) -> Tensor:
    """(H, W) [0, 1] how far lines are no folds of an expression even where it moves the skin: an old person's, a beard's."""
    old = LASTING * _wrinkled(folds, (forehead > 0.5) & sure & (moved < 0.5))
    return 1 - (1 - old) * (1 - grown)


def _wrinkled(folds: Tensor, still: Tensor) -> float:
    """[0, 1] how wrinkled skin is where no expression moves it: there folds are lasting, and elsewhere most of them are."""
    if not still.any():
        return 0.0
    return float(smoothstep(*WRINKLED, folds[still].mean()))


def _segments() -> list[np.ndarray]:
    """Line segments in all directions, as kernels."""
    side = _odd(LENGTH_MM)
    half = side // 2
    kernels = []
    for angle in np.arange(DIRECTIONS) * math.pi / DIRECTIONS:
        tip = round(half * math.cos(angle)), round(half * math.sin(angle))
        ends = [(half + sign * tip[0], half + sign * tip[1]) for sign in (-1, 1)]
        kernels.append(cv2.line(np.zeros((side, side), np.uint8), *ends, 1))
    return kernels


def _odd(length_mm: float) -> int:
    return round(length_mm / GRID_MM) | 1

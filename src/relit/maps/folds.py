"""Dark lines of wrinkles and folds in an albedo: shading that belongs to the relief, not to the skin."""

import math

import cv2
import numpy as np

from relit.geometry.smoothstep import smoothstep
from relit.maps.mesostructure import face_texel_mm
from relit.maps.pyramid import fill

GRID_MM = 0.6  # of the working picture
LENGTH_MM = 9.0  # what is as dark over this length is a line; moles and freckles are shorter
WIDTH_MM = 11.0  # widest line
RIM_MM = 1.5  # brows and lips reach this far beyond their masks
CORE, CORE_MM = 2.0, 1.8  # how much darker the bottom of a line may be than the line at that grid, and how near to it
DIRECTIONS = 8
SLIGHT = 0.02  # log brightness: texture is no fold
TEXTURE_SIDE, TEXTURE_TEXELS, LEAST_TEXTURE = 1024, 4.0, 1e-4  # of the picture in which texture is measured, and its scale
BEARDED = 2.2, 3.2  # texture where beards grow against that of plain skin: none, and sure
SURE = 0.6  # share of skin from which all of a line is one's: most people have no beard where they could


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


def bearded(light: np.ndarray, beard: np.ndarray, plain: np.ndarray) -> float:
    """[0, 1] whether a beard grows: lines all over where it may, of which those of hairs cannot be told from folds.

    Median texture there against that of plain skin: 1 to 2 on 22 portraits without a beard, 2.5 to 4.2 on three with one.

    Args:
        light: (H, W) log brightness in the UV layout.
        beard, plain: (H, W) bool, seen skin where a beard may grow and where none does.
    """
    if not (beard.any() and plain.any()):
        return 0.0
    size = (TEXTURE_SIDE, TEXTURE_SIDE)
    reduced = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    texture = np.abs(reduced - cv2.GaussianBlur(reduced, (0, 0), TEXTURE_TEXELS))
    inside = lambda mask: texture[cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99]  # noqa: E731
    grown, bare = inside(beard), inside(plain)
    if not (len(grown) and len(bare)):
        return 0.0
    return float(smoothstep(*BEARDED, np.median(grown) / (np.median(bare) + LEAST_TEXTURE)))


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

"""Fields over the layout: noise of a given size in millimetres, and round spots."""

import cv2
import numpy as np

from relit.geometry.smoothstep import smoothstep
from relit.maps.solid_noise import solid_noise
from relit.synth.layout import Layout, layout

_COARSE, _TEXELS_PER_CELL = 256, 3.5


def noise(here: Layout, cell_mm: float, seed: int, where: np.ndarray | None = None) -> np.ndarray:
    """(S, S) seamless noise on the skin, mean 0 and standard deviation 1, with features of about `cell_mm`; 0 elsewhere.

    Coarse noise is evaluated on a smaller layout, which it does not need to exceed.

    Args:
        where: (S, S) the noise is wanted where this is above a hundredth; default everywhere.
    """
    if here.size > _COARSE and cell_mm > _TEXELS_PER_CELL * layout(_COARSE).texel_mm[1]:
        small = layout(_COARSE)
        field = small.spread(solid_noise(small.points_mm, cell_mm, seed))
        return cv2.resize(field, (here.size, here.size), interpolation=cv2.INTER_LINEAR)
    if where is None:
        return here.spread(solid_noise(here.points_mm, cell_mm, seed))
    wanted = np.flatnonzero((where > 0.01) & (here.part == 0))
    field = np.zeros(here.size * here.size, np.float32)
    field[wanted] = solid_noise(here.position_mm.reshape(-1, 3).take(wanted, 0), cell_mm, seed)
    return field.reshape(here.size, here.size)


def noise_along(
    here: Layout, potential_mm: np.ndarray, cell_mm: tuple[float, float], seed: int, where: np.ndarray
) -> np.ndarray:
    """(S, S) noise of standard deviation 1, drawn out along the contour lines of a potential; 0 elsewhere.

    Args:
        where: (S, S) the noise is wanted where this is above 0.
        potential_mm: (S, S) whose contour lines the noise follows.
        cell_mm: size of its features across the lines, and along them.
    """
    across, along = cell_mm
    wanted = np.flatnonzero(where > 0)
    points = here.position_mm.reshape(-1, 3).take(wanted, 0) * np.float32(1 / along)
    points[:, 0] += potential_mm.ravel().take(wanted) / max(across, 2.5 * max(here.texel_mm))
    result = np.zeros(here.size * here.size, np.float32)
    result[wanted] = solid_noise(points, 1.0, seed)
    return result.reshape(here.size, here.size)


def scattered(weight: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) row and column of random texels, drawn in proportion to a weight (S, S)."""
    cumulative = np.cumsum(weight, dtype=np.float64)
    picked = np.searchsorted(cumulative, rng.random(count) * cumulative[-1])
    return np.stack(np.unravel_index(np.minimum(picked, weight.size - 1), weight.shape), 1)


def add_spot(
    field: np.ndarray, here: Layout, at: np.ndarray, radius_mm: float, edge: float, amount: float, wobble: np.ndarray
) -> None:
    """Adds a spot of irregular outline to a field (S, S) in place.

    Args:
        at: row and column of its centre.
        edge: softness, in radii: 1 is a bell, small is a disk.
        wobble: (3,) sizes of the outline's first harmonics, in radii.
    """
    across, along = here.texel_mm
    reach = 1 + edge + np.abs(wobble).sum()
    half = np.maximum(np.ceil(reach * radius_mm / np.array([along, across])), 1).astype(int)
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, here.size)
    rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
    y, x = (rows - at[0]) * along, (columns - at[1]) * across
    angle = np.arctan2(y, x)
    outline = 1 + sum(w * np.sin((k + 2) * angle + 7 * k) for k, w in enumerate(wobble))
    # a spot smaller than a texel keeps its mass instead of its depth
    blur = 0.35 * max(here.texel_mm)
    own = radius_mm * radius_mm
    radius = np.sqrt(own + blur * blur)
    shape = smoothstep(1 + edge / 2, max(1 - edge, 0) * 0.9, np.hypot(x, y) / (radius * outline))
    field[low[0] : high[0], low[1] : high[1]] += amount * own / (own + blur * blur) * shape

"""Relief finer than the mesh: creases read from the albedo, pores and fine lines synthesised where photos show none."""

from functools import lru_cache

import cv2
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from relit.models.head import load_head_model
from relit.models.regions import region_masks, uv_positions

PIT_MM, PIT_SHADE = 0.1, (0.16, 0.24, 0.26)  # pores and lines this deep take so much of log albedo
_COARSE = 256  # size at which regions and texel sizes, which are smooth, are evaluated


@lru_cache(maxsize=1)
def texel_scale() -> tuple[np.ndarray, np.ndarray]:
    """Millimetres per unit of u and of v, each (256, 256), on the mean head; smooth, 1000 outside the charts."""
    position, part = uv_positions(load_head_model(), _COARSE, _COARSE)
    on_skin = (part == 0).numpy().astype(np.float32)
    scales = []
    for axis in (1, 0):
        step = np.diff(position.numpy(), axis=axis)
        both = np.minimum(np.delete(on_skin, 0, axis), np.delete(on_skin, -1, axis))
        length = np.linalg.norm(step, axis=-1).astype(np.float32) * _COARSE * 1000 * both
        blurred = cv2.GaussianBlur(length, (0, 0), 3), cv2.GaussianBlur(both, (0, 0), 3)
        scale = np.where(blurred[1] > 1e-2, blurred[0] / np.maximum(blurred[1], 1e-2), 1000)
        scales.append(cv2.resize(scale.astype(np.float32), (_COARSE, _COARSE)))
    return scales[0], scales[1]


@lru_cache(maxsize=2)
def texel_mm(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Size in millimetres of each texel along u and along v, each (H, W)."""
    across, along = texel_scale()
    return enlarge(across, height, width) / width, enlarge(along, height, width) / height


def enlarge(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W) a smooth picture at another size, half-integer texel centres."""
    return cv2.resize(picture.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def face_texel_mm(height: int, width: int) -> tuple[float, float]:
    """Typical texel size on the face in millimetres, along u and v: where one number has to do."""
    wide_mm, high_mm = _face_scale()
    return wide_mm / width, high_mm / height


@lru_cache(maxsize=1)
def _face_scale() -> tuple[float, float]:
    """Typical millimetres per unit of u and of v on the face."""
    across, along = texel_scale()
    face = region_masks(_COARSE, _COARSE)["face"].numpy() > 0.5
    return float(np.median(across[face])), float(np.median(along[face]))


def blur_mm(picture: np.ndarray, sigma_mm: float) -> np.ndarray:
    """(H, W) Gaussian blur by a distance on the face, in millimetres."""
    across, along = face_texel_mm(*picture.shape)
    return cv2.GaussianBlur(picture, (0, 0), max(sigma_mm / across, 1e-3), sigmaY=max(sigma_mm / along, 1e-3))


def creases_mm(albedo: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(H, W) displacement in millimetres read from albedo detail: dark lines become valleys.

    Args:
        albedo: (H, W, 3) linear.
        weight: (H, W) in [0, 1], where albedo detail means relief (not hair, lips or pigment).

    Differs: Beeler et al., "High-quality single-shot capture of facial geometry", SIGGRAPH 2010, section 5, couples
    the same dark-is-deep assumption to a stereo surface; here it alone decides, so it is band-passed and limited.
    """
    # red light is absorbed least by blood, so blotches and veins do not turn into relief
    light = np.log(np.maximum(0.75 * albedo[..., 0] + 0.25 * albedo[..., 1], 0.01))
    total = np.zeros_like(light)
    finer = blur_mm(light, 0.12)
    for sigma_mm, depth_mm in ((0.3, 0.16), (0.7, 0.30), (1.6, 0.45)):
        coarser = blur_mm(light, sigma_mm)
        limit = 0.10  # moles and freckles exceed it, creases hardly do
        total += depth_mm * limit * np.tanh((finer - coarser) / limit)
        finer = coarser
    return total * weight


def pores_mm(height: int, width: int, amounts: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """(H, W) synthesised displacement in millimetres: pores, the net of fine lines, lip grooves.

    Args:
        height, width: size of the map.
        amounts: depth factors at any size: "pores", "lines" (isotropic net), "furrows" (lines across, as on the
            forehead and lids) and "lips" (grooves along).
        seed: another seed gives other skin.

    Source: visible facial pores: 0.2 to 0.5 mm wide, about one per square millimetre on nose and inner cheek; primary
    lines of the skin's net 0.02 to 0.1 mm deep and 0.3 to 1 mm apart (Hashimoto, "New methods for surface
    ultrastructure", Int. J. Dermatology 13, 1974; Igarashi, Nishino, Nayar, "The appearance of human skin", 2007, 3.4).
    """
    wide_mm, high_mm = _face_scale()
    footprint = 0.5 * max(wide_mm / width, high_mm / height)
    at = {key: enlarge(value, height, width) for key, value in amounts.items()}
    relief = np.zeros((height, width), np.float32)
    layers = (
        # amount, spacing across and along in mm, radius or half width in mm, depth in mm, pores or lines
        ("pores", 1.05, 1.05, 0.20, 0.110, True),
        ("lines", 0.95, 0.80, 0.11, 0.030, False),
        ("furrows", 2.2, 0.8, 0.12, 0.028, False),
        ("lips", 1.1, 9.0, 0.22, 0.060, False),
    )
    for k, (name, apart_u, apart_v, radius, depth, is_pore) in enumerate(layers):
        cells = round(wide_mm / apart_u), round(high_mm / apart_v)
        _cells(relief, at[name], cells, (wide_mm, high_mm), (radius, depth, footprint), is_pore, seed * 16 + k)
    return relief


def undulation_mm(height: int, width: int, seed: int) -> np.ndarray:
    """(H, W) gentle unevenness of 2 to 5 mm wavelength, standard deviation 1; keeps highlights from looking cast."""
    noise = np.random.default_rng(seed).standard_normal((512, 512)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.2, sigmaY=1.5, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(soft / soft.std(), (width, height), interpolation=cv2.INTER_CUBIC)


def normals_from_height(height_mm: np.ndarray) -> Tensor:
    """(H, W, 3) unit tangent-space normals of a displacement map, +X along u, +Y against v.

    Texels may be wider than high; slopes are taken in millimetres on the mean head.
    """
    rows, columns = height_mm.shape
    across, along = texel_mm(rows, columns)
    slope_x = cv2.Scharr(height_mm, cv2.CV_32F, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REPLICATE) / across
    slope_down = cv2.Scharr(height_mm, cv2.CV_32F, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REPLICATE) / along
    normal = torch.stack([torch.from_numpy(-slope_x), torch.from_numpy(slope_down), torch.ones(rows, columns)], -1)
    return torch.nn.functional.normalize(normal, dim=-1)


@njit(cache=True, inline="always")
def _hash(a, b, seed):
    """Three uniform numbers in [0, 1) of a cell."""
    h = np.uint32(a * 73856093) ^ np.uint32(b * 19349663) ^ np.uint32(seed * 83492791)
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D))
    h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B))
    h = np.uint32(h ^ (h >> np.uint32(16)))
    return (h & 1023) / 1024.0, ((h >> 10) & 1023) / 1024.0, ((h >> 20) & 1023) / 1024.0


@njit(cache=True, parallel=True, error_model="numpy")
def _cells(relief, amount, cells, extent_mm, shape, is_pore, seed):
    """Adds pits at jittered cell centres, or valleys along the borders between the cells, to `relief` in place.

    Source: cellular texture: Worley, "A cellular texture basis function", SIGGRAPH 1996. The first coordinate wraps.
    """
    rows, columns = relief.shape
    nu, nv = cells
    step_u, step_v = extent_mm[0] / nu, extent_mm[1] / nv
    radius, depth, footprint = shape
    drawn = np.empty((nv + 2, nu + 2, 3), np.float32)  # for each cell and a border
    for j in prange(nv + 2):
        for i in range(nu + 2):
            drawn[j, i] = _hash((i - 1) % nu, j - 1, seed)
    for row in prange(rows):
        for column in range(columns):
            if amount[row, column] < 0.02:
                continue
            x, y = (column + 0.5) / columns * nu, (row + 0.5) / rows * nv
            i, j = int(np.floor(x)), int(np.floor(y))
            first, second, pick = 1e9, 1e9, 0.0  # squared distances
            for dj in range(-1, 2):
                for di in range(-1, 2):
                    cell = drawn[j + dj + 1, i + di + 1]
                    du = (i + di + cell[0] - x) * step_u
                    dv = (j + dj + cell[1] - y) * step_v
                    distance = du * du + dv * dv
                    if distance < first:
                        first, second, pick = distance, first, cell[2]
                    elif distance < second:
                        second = distance
            if is_pore:
                own = radius * (0.6 + 0.8 * pick)
                spread = own * own + footprint * footprint  # a pit narrower than a texel is shallow, not aliased
                pit = (own * own / spread) * (0.15 + 0.85 * pick * pick) * np.exp(-first / spread)
                relief[row, column] -= depth * amount[row, column] * pit
            else:
                spread = radius * radius + footprint * footprint
                border = 0.5 * (np.sqrt(second) - np.sqrt(first))
                valley = (radius / np.sqrt(spread)) * np.exp(-border * border / spread)
                relief[row, column] -= depth * amount[row, column] * valley

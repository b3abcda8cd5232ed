"""Noise in space: of equal size and strength wherever a surface passes, so that texture charts show no seam."""

import math

import numpy as np
from numba import njit, prange


def solid_noise(points_mm: np.ndarray, cell_mm: float, seed: int) -> np.ndarray:
    """(P,) smooth noise with mean 0 and standard deviation 1 at points (P, 3), with features of about `cell_mm`.

    Source: gradient noise, Perlin 2002, "Improving noise"; the lattice's gradients come from an integer hash.
    """
    result = np.empty(len(points_mm), np.float32)
    _noise(np.ascontiguousarray(points_mm, np.float32), 1 / cell_mm, seed, result)
    return result


STANDARD_DEVIATION = 0.192  # of the raw sum below, measured over a million points


@njit(cache=True, parallel=True, fastmath=True)
def _noise(points, frequency, seed, result):
    for index in prange(len(points)):
        x, y, z = points[index, 0] * frequency, points[index, 1] * frequency, points[index, 2] * frequency
        cx, cy, cz = math.floor(x), math.floor(y), math.floor(z)
        fx, fy, fz = x - cx, y - cy, z - cz
        wx = fx * fx * fx * (fx * (fx * 6 - 15) + 10)
        wy = fy * fy * fy * (fy * (fy * 6 - 15) + 10)
        wz = fz * fz * fz * (fz * (fz * 6 - 15) + 10)
        total = 0.0
        for corner in range(8):
            i, j, k = corner & 1, (corner >> 1) & 1, corner >> 2
            h = np.uint32(int(cx) + i) * np.uint32(73856093) ^ np.uint32(int(cy) + j) * np.uint32(19349663)
            h = h ^ np.uint32(int(cz) + k) * np.uint32(83492791) ^ np.uint32(seed) * np.uint32(2654435761)
            h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
            h = (h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39)
            h = h ^ (h >> np.uint32(15))
            gx = np.float32(h & np.uint32(1023)) / 511.5 - 1
            gy = np.float32((h >> np.uint32(10)) & np.uint32(1023)) / 511.5 - 1
            gz = np.float32((h >> np.uint32(20)) & np.uint32(1023)) / 511.5 - 1
            weight = (wx if i else 1 - wx) * (wy if j else 1 - wy) * (wz if k else 1 - wz)
            total += weight * (gx * (fx - i) + gy * (fy - j) + gz * (fz - k))
        result[index] = total / STANDARD_DEVIATION

"""Relief from tangent-space normals: the height whose slopes come nearest to theirs."""

import numpy as np
from scipy.fft import dctn, idctn
from torch import Tensor

from relit.maps.mesostructure import blur_mm, face_texel_mm, texel_mm

BROADEST_MM = 6.0  # what is broader is the shape of the face, and where the slopes of textures add up to drift
STEEPEST = 1.5


def height_of_normals(normal: Tensor) -> np.ndarray:
    """(H, W) millimetres, of unit normals (H, W, 3) of a whole layout; undoes `mesostructure.normals_from_height`.

    Source: Frankot & Chellappa 1988, with cosines, so that the borders need not meet.
    Differs: one texel size for the whole face in the solution; slopes are taken with each texel's own.
    """
    rows, columns = normal.shape[:2]
    across, along = texel_mm(rows, columns)
    wide, high = face_texel_mm(rows, columns)
    x, y, z = normal.numpy().transpose(2, 0, 1)
    z = np.maximum(z, 0.2)
    # millimetres from texel to texel; outside the charts texels have no size
    right = (-x / z).clip(-STEEPEST, STEEPEST) * np.minimum(across, 4 * wide)
    down = (y / z).clip(-STEEPEST, STEEPEST) * np.minimum(along, 4 * high)
    right, down = 0.5 * (right[:, 1:] + right[:, :-1]) / wide**2, 0.5 * (down[1:] + down[:-1]) / high**2
    divergence = np.diff(right, axis=1, prepend=0, append=0) + np.diff(down, axis=0, prepend=0, append=0)
    waves = [2 * (1 - np.cos(np.pi * np.arange(n) / n)) / size**2 for n, size in ((rows, high), (columns, wide))]
    power = waves[0][:, None] + waves[1][None]
    power[0, 0] = 1
    spectrum = -dctn(divergence.astype(np.float32), norm="ortho") / power
    spectrum[0, 0] = 0
    height = idctn(spectrum, norm="ortho").astype(np.float32)
    return height - blur_mm(height, BROADEST_MM)

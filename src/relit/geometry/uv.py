"""Texels: which triangle covers each, and gutters around the islands."""

import numba
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor


def rasterise_uv(
    uv: Float[Tensor, "N 2"], triangles: Int[Tensor, "T 3"], height: int, width: int
) -> tuple[Int[Tensor, "H W"], Float[Tensor, "H W 3"]]:
    """The triangle (-1 outside) and the barycentric coordinates at every texel centre.

    Convention: the centre of the top-left texel is at u = 0.5 / width, v = 0.5 / height.
    """
    triangle = np.full((height, width), -1, np.int64)
    barycentric = np.zeros((height, width, 3), np.float32)
    corners = uv.detach().double().numpy()[triangles.numpy()] * [width, height]
    _cover(np.ascontiguousarray(corners), triangle, barycentric)
    return torch.from_numpy(triangle), torch.from_numpy(barycentric)


@numba.njit(cache=True)
def _cover(corners, triangle, barycentric):
    height, width = triangle.shape
    for index in range(len(corners)):
        (x0, y0), (x1, y1), (x2, y2) = corners[index, 0], corners[index, 1], corners[index, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-14:
            continue
        left = max(0, int(np.floor(min(x0, x1, x2) - 0.5)))
        right = min(width - 1, int(np.ceil(max(x0, x1, x2) - 0.5)))
        top = max(0, int(np.floor(min(y0, y1, y2) - 0.5)))
        bottom = min(height - 1, int(np.ceil(max(y0, y1, y2) - 0.5)))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                x, y = column + 0.5, row + 0.5
                a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
                b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
                c = 1 - a - b
                if a >= -1e-9 and b >= -1e-9 and c >= -1e-9:
                    triangle[row, column] = index
                    barycentric[row, column, 0] = a
                    barycentric[row, column, 1] = b
                    barycentric[row, column, 2] = c


def dilate(image: Float[Tensor, "H W C"], mask: Bool[Tensor, "H W"], texels: int = 16) -> Float[Tensor, "H W C"]:
    """The image with the nearest covered texel copied outwards, so that filtering never reads the background."""
    covered = mask.numpy()
    distance, (rows, columns) = distance_transform_edt(~covered, return_indices=True)
    reach = torch.from_numpy(~covered & (distance <= texels))
    result = image.clone()
    result[reach] = image[torch.from_numpy(rows)[reach], torch.from_numpy(columns)[reach]]
    return result

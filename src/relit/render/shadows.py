"""Soft shadows of directional lights, from a shadow map with percentage-closer filtering."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.lighting import LIGHT_RADIUS_RAD
from relit.render import kernels

MAP_SIZE = 1280
FAR_M = 10.0  # distance of the map's camera: so far that its rays are parallel for the purpose
REACH_M = 0.12  # casters nearer than this to the receiver get the full penumbra search
BIAS_M = 6e-4
MAX_SLOPE = 4.0
SEARCH_TAPS, FILTER_TAPS = 12, 20


def sun_visibility(
    vertices: Float[Tensor, "V 3"],
    triangles: Int[Tensor, "T 3"],
    points: Float[Tensor, "P 3"],
    normals: Float[Tensor, "P 3"],
    direction: Float[Tensor, "3"],
    map_size: int = MAP_SIZE,
) -> Float[Tensor, "P"]:
    """The fraction of a distant disk light that surface points see, [0, 1]; 0 on surfaces turned away from it.

    Args:
        points: on the surface of the mesh, in its frame.
        normals: smooth unit normals there.
        direction: unit, towards the light's centre.
        map_size: pixels along an edge of the shadow map.

    Source: percentage-closer soft shadows, Fernando 2005, with the receiver's plane as bias.
    """
    towards = normalize(direction, dim=0)
    side = torch.eye(3)[int(towards.abs().argmin())]
    right = normalize(torch.linalg.cross(side, towards), dim=0)
    frame = torch.stack([right, torch.linalg.cross(towards, right), -towards])  # rows: x, y, away from the light
    mesh, local, turned = vertices @ frame.T, points @ frame.T, normals @ frame.T
    low, high = mesh.amin(0), mesh.amax(0)
    scale = (map_size - 8) / float((high - low)[:2].max())  # pixels per metre
    to_map = lambda p: torch.cat([(p[:, :2] - low[:2]) * scale + 4, p[:, 2:] - low[2] + FAR_M], 1)  # noqa: E731
    depth = _depth_map(to_map(mesh), triangles, map_size)
    facing = turned[:, 2:].clamp_max(-0.05)
    slope = (-turned[:, :2] / facing).clamp(-MAX_SLOPE, MAX_SLOPE) / scale  # depth per pixel of the receiver's plane
    asked = turned[:, 2] < 0.05
    out = np.zeros(len(points), np.float32)
    arrays = [x.contiguous().numpy() for x in (to_map(local), slope, asked)]
    taps = [_disk(SEARCH_TAPS), _disk(FILTER_TAPS)]
    spread = math.tan(LIGHT_RADIUS_RAD) * scale  # pixels of penumbra per metre of distance
    kernels.in_bands(len(out), lambda _, a, b: _soft_shadow(depth, *arrays, *taps, spread, out, a, b))
    return torch.from_numpy(out)


def _depth_map(position: Tensor, triangles: Tensor, size: int) -> np.ndarray:
    inverse = np.zeros((size, size))
    triangle = np.full((size, size), -1, np.int64)
    arrays = position.contiguous().numpy(), triangles.contiguous().numpy()
    kernels.in_bands(size, lambda _, a, b: kernels.visible_triangles(*arrays, inverse, triangle, a, b))
    return np.where(triangle >= 0, 1 / np.maximum(inverse, 1e-9), np.inf).astype(np.float32)


def _disk(count: int) -> np.ndarray:
    """Evenly spread points of the unit disk (Vogel's spiral)."""
    index = np.arange(count) + 0.5
    angle = index * math.pi * (3 - math.sqrt(5))
    return np.stack([np.cos(angle), np.sin(angle)], 1) * np.sqrt(index / count)[:, None]


@njit(cache=True, nogil=True)
def _soft_shadow(depth, points, slope, asked, search, taps, spread, out, first, last):
    size = depth.shape[0]
    for i in range(first, last):
        if not asked[i]:
            continue
        x, y, here = points[i, 0], points[i, 1], points[i, 2] - BIAS_M
        angle = 2 * np.pi * ((i * 0.6180339887498949) % 1.0)  # a turn per point trades banding for fine grain
        c, s = np.cos(angle), np.sin(angle)
        radius = max(2.0, spread * REACH_M)
        blockers, total = 0, 0.0
        for k in range(search.shape[0]):
            dx = (c * search[k, 0] - s * search[k, 1]) * radius
            dy = (s * search[k, 0] + c * search[k, 1]) * radius
            column, row = int(x + dx), int(y + dy)
            if column < 0 or row < 0 or column >= size or row >= size:
                continue
            z = depth[row, column]
            if z < here + slope[i, 0] * dx + slope[i, 1] * dy:
                blockers += 1
                total += z
        if blockers == 0:
            out[i] = 1.0
            continue
        radius = min(max(1.5, spread * (here - total / blockers)), radius)
        lit = 0
        for k in range(taps.shape[0]):
            dx = (c * taps[k, 0] - s * taps[k, 1]) * radius
            dy = (s * taps[k, 0] + c * taps[k, 1]) * radius
            column, row = int(x + dx), int(y + dy)
            if (
                column < 0
                or row < 0
                or column >= size
                or row >= size
                or depth[row, column] >= here + slope[i, 0] * dx + slope[i, 1] * dy
            ):
                lit += 1
        out[i] = lit / taps.shape[0]

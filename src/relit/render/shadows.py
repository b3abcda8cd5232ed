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
    mesh = vertices @ frame.T
    low, high = mesh.amin(0), mesh.amax(0)
    scale = (map_size - 8) / float((high - low)[:2].max())  # pixels per metre
    corner = low - torch.tensor([4 / scale, 4 / scale, 0.0])
    on_map = torch.tensor([scale, scale, 1.0])
    depth = np.full((map_size, map_size), np.inf, np.float32)
    arrays = [x.contiguous().numpy() for x in ((mesh - corner) * on_map, triangles)]
    kernels.in_bands(map_size, lambda _, a, b: _nearest(*arrays, depth, a, b))
    out = np.zeros(len(points), np.float32)
    taps = [_disk(SEARCH_TAPS), _disk(FILTER_TAPS)]
    spread = math.tan(LIGHT_RADIUS_RAD) * scale  # pixels of penumbra per metre of distance
    arrays = [x.contiguous().numpy() for x in (points, normals, frame.double(), corner.double())]
    kernels.in_bands(len(out), lambda _, a, b: _soft_shadow(depth, *arrays, scale, *taps, spread, out, a, b))
    return torch.from_numpy(out)


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(position, triangles, depth, first, last):
    """Fills rows `first:last` of an orthographic depth map: the least z at each pixel centre."""
    for face in range(triangles.shape[0]):
        a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        ax, ay, az = float(position[a, 0]), float(position[a, 1]), float(position[a, 2])
        bx, by, bz = position[b, 0] - ax, position[b, 1] - ay, position[b, 2] - az
        cx, cy, cz = position[c, 0] - ax, position[c, 1] - ay, position[c, 2] - az
        row0 = max(first, int(np.ceil(ay + min(0.0, by, cy) - 0.5)))
        row1 = min(last - 1, int(np.floor(ay + max(0.0, by, cy) - 0.5)))
        column0 = max(0, int(np.ceil(ax + min(0.0, bx, cx) - 0.5)))
        column1 = min(depth.shape[1] - 1, int(np.floor(ax + max(0.0, bx, cx) - 0.5)))
        area = bx * cy - cx * by
        if row0 > row1 or column0 > column1 or abs(area) < 1e-12:
            continue
        # weights of b and c, which change by the same amount from pixel to pixel
        bu, bv, cu, cv = cy / area, -cx / area, -by / area, bx / area
        for row in range(row0, row1 + 1):
            y, x = row + 0.5 - ay, column0 + 0.5 - ax
            wb, wc = bu * x + bv * y, cu * x + cv * y
            for column in range(column0, column1 + 1):
                if wb >= 0 and wc >= 0 and wb + wc <= 1 + 1e-12:
                    depth[row, column] = min(depth[row, column], np.float32(az + wb * bz + wc * cz))
                wb += bu
                wc += cu


def _disk(count: int) -> np.ndarray:
    """Evenly spread points of the unit disk (Vogel's spiral)."""
    index = np.arange(count) + 0.5
    angle = index * math.pi * (3 - math.sqrt(5))
    return np.stack([np.cos(angle), np.sin(angle)], 1) * np.sqrt(index / count)[:, None]


@njit(cache=True, nogil=True, error_model="numpy")
def _soft_shadow(depth, points, normals, frame, corner, scale, search, taps, spread, out, first, last):
    size = depth.shape[0]
    right, up, away = frame
    turn = 2 * np.pi * 0.6180339887498949  # from point to point: this trades banding for fine grain
    c, s = np.cos((first - 1) * turn), np.sin((first - 1) * turn)
    step_c, step_s = np.cos(turn), np.sin(turn)
    for i in range(first, last):
        c, s = c * step_c - s * step_s, s * step_c + c * step_s
        n = normals[i]
        facing = away[0] * n[0] + away[1] * n[1] + away[2] * n[2]
        if facing >= 0.05:
            continue
        # depth per pixel of the receiver's plane
        facing = -scale * min(facing, -0.05)
        steepest = MAX_SLOPE / scale
        slope_x = min(max((right[0] * n[0] + right[1] * n[1] + right[2] * n[2]) / facing, -steepest), steepest)
        slope_y = min(max((up[0] * n[0] + up[1] * n[1] + up[2] * n[2]) / facing, -steepest), steepest)
        p = points[i]
        x = (right[0] * p[0] + right[1] * p[1] + right[2] * p[2] - corner[0]) * scale
        y = (up[0] * p[0] + up[1] * p[1] + up[2] * p[2] - corner[1]) * scale
        here = away[0] * p[0] + away[1] * p[1] + away[2] * p[2] - corner[2] - BIAS_M
        radius = max(2.0, spread * REACH_M)
        blockers, total = 0, 0.0
        for k in range(search.shape[0]):
            dx = (c * search[k, 0] - s * search[k, 1]) * radius
            dy = (s * search[k, 0] + c * search[k, 1]) * radius
            column, row = int(x + dx), int(y + dy)
            if column < 0 or row < 0 or column >= size or row >= size:
                continue
            z = depth[row, column]
            if z < here + slope_x * dx + slope_y * dy:
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
                or depth[row, column] >= here + slope_x * dx + slope_y * dy
            ):
                lit += 1
        out[i] = lit / taps.shape[0]

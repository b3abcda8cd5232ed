"""Numba kernels of the CPU renderer: plain loops over triangles and covered pixels, run in horizontal bands by threads.

Every kernel releases the interpreter lock, writes only its own rows, and leaves sums over vertices or texels in one
accumulator per band, so that results do not depend on the number of threads' timing.

Arrays: position (V, 3) x, y in pixels and depth in metres; triangles (T, 3); triangle (H, W) index, -1 outside; weights
(H, W, 3) barycentric; attributes (V, C); texture (H, W, C). What is named out or to_... is written.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from numba import njit

NEAR_M = 1e-3  # triangles with a vertex nearer than this (or behind the camera) are left out, not clipped
MAX_WALK = 12  # triangles a silhouette search crosses before it gives up


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="relit-render")


def in_bands(count: int, work: Callable[[int, int, int], object]) -> list:
    """The results of `work(band, start, stop)` over consecutive parts of `range(count)`, on torch's thread count."""
    threads = torch.get_num_threads()
    bands = band_count(count)
    edges = np.linspace(0, count, bands + 1).astype(np.int64)
    spans = [(band, int(edges[band]), int(edges[band + 1])) for band in range(bands)]
    if bands == 1:
        return [work(*spans[0])]
    return list(_pool(threads).map(lambda span: work(*span), spans))


def band_count(count: int) -> int:
    """The number of parts `in_bands` makes; twice the threads, because heads fill the middle rows."""
    threads = torch.get_num_threads()
    return 1 if threads == 1 or count < 16 else 2 * threads


@njit(cache=True, nogil=True)
def visible_triangles(position, triangles, inverse_depth, triangle, first, last):
    """Fill rows `first:last` of the z-buffer (1 / depth, 0 is far) and of the triangle index."""
    width = inverse_depth.shape[1]
    for face in range(triangles.shape[0]):
        a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        az, bz, cz = float(position[a, 2]), float(position[b, 2]), float(position[c, 2])
        if not (az > NEAR_M and bz > NEAR_M and cz > NEAR_M):
            continue
        ax, ay = float(position[a, 0]), float(position[a, 1])
        bx, by = float(position[b, 0]), float(position[b, 1])
        cx, cy = float(position[c, 0]), float(position[c, 1])
        low, high = min(ay, by, cy), max(ay, by, cy)
        left, right = min(ax, bx, cx), max(ax, bx, cx)
        if not (high >= first and low <= last and right >= 0.0 and left <= width):
            continue
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-12:
            continue
        row0 = max(first, int(np.ceil(low - 0.5)))
        row1 = min(last - 1, int(np.floor(high - 0.5)))
        column0 = max(0, int(np.ceil(left - 0.5)))
        column1 = min(width - 1, int(np.floor(right - 0.5)))
        scale = 1.0 / area
        qa, qb, qc = 1.0 / az, 1.0 / bz, 1.0 / cz
        for row in range(row0, row1 + 1):
            y = row + 0.5
            for column in range(column0, column1 + 1):
                x = column + 0.5
                wa = ((bx - x) * (cy - y) - (cx - x) * (by - y)) * scale
                wb = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) * scale
                wc = 1.0 - wa - wb
                if wa < 0.0 or wb < 0.0 or wc < -1e-12:
                    continue
                q = wa * qa + wb * qb + wc * qc
                if q > inverse_depth[row, column]:
                    inverse_depth[row, column] = q
                    triangle[row, column] = face


@njit(cache=True, nogil=True)
def barycentric(position, triangles, triangle, out, first, last):
    """Perspective-correct barycentric coordinates of covered pixels in rows `first:last`."""
    for row in range(first, last):
        for column in range(triangle.shape[1]):
            face = triangle[row, column]
            if face < 0:
                continue
            x, y = column + 0.5, row + 0.5
            total = 0.0
            w = (0.0, 0.0, 0.0)
            for k in range(3):
                i, j, m = triangles[face, k], triangles[face, (k + 1) % 3], triangles[face, (k + 2) % 3]
                jx, jy = float(position[j, 0]) - x, float(position[j, 1]) - y
                mx, my = float(position[m, 0]) - x, float(position[m, 1]) - y
                value = (jx * my - mx * jy) / float(position[i, 2])
                total += value
                w = (w[1], w[2], value)
            out[row, column, 0] = w[0] / total
            out[row, column, 1] = w[1] / total
            out[row, column, 2] = w[2] / total


@njit(cache=True, nogil=True)
def barycentric_backward(position, triangles, triangle, gradient, out, first, last):
    """Add the gradient of `barycentric` with respect to (x_px, y_px, depth) of the vertices to `out` (N, 3)."""
    edge, w, dedge = np.empty(3), np.empty(3), np.empty(3)
    px, py = np.empty(3), np.empty(3)
    for row in range(first, last):
        for column in range(triangle.shape[1]):
            face = triangle[row, column]
            if face < 0:
                continue
            for k in range(3):
                i = triangles[face, k]
                px[k] = position[i, 0] - (column + 0.5)
                py[k] = position[i, 1] - (row + 0.5)
            total = 0.0
            for k in range(3):
                j, m = (k + 1) % 3, (k + 2) % 3
                edge[k] = px[j] * py[m] - px[m] * py[j]
                w[k] = edge[k] / position[triangles[face, k], 2]
                total += w[k]
            mean = 0.0
            for k in range(3):
                mean += gradient[row, column, k] * w[k] / total
            for k in range(3):
                i = triangles[face, k]
                dw = (gradient[row, column, k] - mean) / total
                out[i, 2] -= dw * w[k] / position[i, 2]
                dedge[k] = dw / position[i, 2]
            for k in range(3):
                j, m = (k + 1) % 3, (k + 2) % 3
                i = triangles[face, k]
                out[i, 0] += dedge[m] * py[j] - dedge[j] * py[m]
                out[i, 1] += dedge[j] * px[m] - dedge[m] * px[j]


@njit(cache=True, nogil=True)
def interpolate(attributes, triangles, triangle, weights, out, first, last):
    """Attributes at covered pixels in rows `first:last`; `out` starts at zero."""
    channels = attributes.shape[1]
    for row in range(first, last):
        for column in range(triangle.shape[1]):
            face = triangle[row, column]
            if face < 0:
                continue
            a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
            u, v, w = weights[row, column, 0], weights[row, column, 1], weights[row, column, 2]
            for k in range(channels):
                out[row, column, k] = u * attributes[a, k] + v * attributes[b, k] + w * attributes[c, k]


@njit(cache=True, nogil=True)
def interpolate_backward(attributes, triangles, triangle, weights, gradient, to_attributes, to_weights, first, last):
    """Gradients of `interpolate`: added to `to_attributes` (N, C), written to `to_weights` (H, W, 3)."""
    channels = attributes.shape[1]
    for row in range(first, last):
        for column in range(triangle.shape[1]):
            face = triangle[row, column]
            if face < 0:
                continue
            for i in range(3):
                vertex = triangles[face, i]
                weight = weights[row, column, i]
                total = 0.0
                for k in range(channels):
                    g = gradient[row, column, k]
                    total += g * attributes[vertex, k]
                    to_attributes[vertex, k] += g * weight
                to_weights[row, column, i] = total


@njit(cache=True, nogil=True)
def sample(texture, uv, out, first, last):
    """Bilinear texture values of points `first:last`; the border texel continues outside."""
    height, width, channels = texture.shape
    for point in range(first, last):
        x = min(max(uv[point, 0] * width - 0.5, 0.0), width - 1.0)
        y = min(max(uv[point, 1] * height - 0.5, 0.0), height - 1.0)
        x0, y0 = int(x), int(y)
        x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
        fx, fy = x - x0, y - y0
        for k in range(channels):
            top = texture[y0, x0, k] * (1 - fx) + texture[y0, x1, k] * fx
            bottom = texture[y1, x0, k] * (1 - fx) + texture[y1, x1, k] * fx
            out[point, k] = top * (1 - fy) + bottom * fy


@njit(cache=True, nogil=True)
def sample_backward(texture, uv, gradient, to_texture, to_uv, first, last):
    """Gradients of `sample`: added to `to_texture` (left alone when empty), written to `to_uv`."""
    height, width, channels = texture.shape
    want_texture = to_texture.size > 0
    for point in range(first, last):
        rawx, rawy = uv[point, 0] * width - 0.5, uv[point, 1] * height - 0.5
        x, y = min(max(rawx, 0.0), width - 1.0), min(max(rawy, 0.0), height - 1.0)
        x0, y0 = int(x), int(y)
        x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
        fx, fy = x - x0, y - y0
        dx = dy = 0.0
        for k in range(channels):
            g = gradient[point, k]
            if g == 0.0:
                continue
            a, b = texture[y0, x0, k], texture[y0, x1, k]
            c, d = texture[y1, x0, k], texture[y1, x1, k]
            dx += g * ((b - a) * (1 - fy) + (d - c) * fy)
            dy += g * ((c - a) * (1 - fx) + (d - b) * fx)
            if want_texture:
                to_texture[y0, x0, k] += g * (1 - fx) * (1 - fy)
                to_texture[y0, x1, k] += g * fx * (1 - fy)
                to_texture[y1, x0, k] += g * (1 - fx) * fy
                to_texture[y1, x1, k] += g * fx * fy
        to_uv[point, 0] = dx * width if x == rawx else 0.0
        to_uv[point, 1] = dy * height if y == rawy else 0.0


@njit(cache=True, nogil=True)
def _exit_edge(position, triangles, face, entry, axis, across, along, forward):
    """(edge, crossing): the edge by which a scan line leaves a triangle, -1 if there is none, and where on the line."""
    best, where = -1, 0.0
    for k in range(3):
        if k == entry:
            continue
        i, j = triangles[face, k], triangles[face, (k + 1) % 3]
        ia, ja = float(position[i, 1 - axis]) - across, float(position[j, 1 - axis]) - across
        if (ia > 0.0) == (ja > 0.0):
            continue
        start, end = float(position[i, axis]), float(position[j, axis])
        crossing = (start + (end - start) * ia / (ia - ja) - along) * forward
        if best < 0 or crossing > where:
            best, where = k, crossing
    return best, where


@njit(cache=True, nogil=True)
def _is_silhouette(position, triangles, neighbours, face, edge):
    """Whether the surface ends or folds away at this edge as seen from the camera."""
    other = neighbours[face, edge, 0]
    if other < 0:
        return True
    i, j = triangles[face, edge], triangles[face, (edge + 1) % 3]
    here = triangles[face, (edge + 2) % 3]
    there = triangles[other, (neighbours[face, edge, 1] + 2) % 3]
    ex, ey = float(position[j, 0]) - position[i, 0], float(position[j, 1]) - position[i, 1]
    side = ex * (position[here, 1] - position[i, 1]) - ey * (position[here, 0] - position[i, 0])
    beyond = ex * (position[there, 1] - position[i, 1]) - ey * (position[there, 0] - position[i, 0])
    return side * beyond > 0.0


@njit(cache=True, nogil=True)
def silhouette_crossings(position, triangles, neighbours, triangle, depth, first, last):
    """(M, 5) int64: near pixel, far pixel (flat), the edge's two vertices, and axis (0 = x) of each silhouette crossing.

    For each pair of neighbouring pixels of different triangles, walks from the nearer pixel's centre towards the
    other's over adjacent triangles until a silhouette edge is crossed. Steep edges count for horizontal pairs, flat
    ones for vertical pairs, so that no edge counts twice.
    """
    height, width = triangle.shape
    found = np.empty((1024, 5), np.int64)
    count = 0
    for row in range(first, last):
        for column in range(width):
            for axis in range(2):
                row2, column2 = row + axis, column + 1 - axis
                if row2 >= height or column2 >= width or triangle[row, column] == triangle[row2, column2]:
                    continue
                forward = depth[row, column] <= depth[row2, column2]
                near_row, near_column = (row, column) if forward else (row2, column2)
                far_row, far_column = (row2, column2) if forward else (row, column)
                face = triangle[near_row, near_column]
                target = triangle[far_row, far_column]
                along = (near_column if axis == 0 else near_row) + 0.5
                across = (near_row if axis == 0 else near_column) + 0.5
                sign = 1.0 if forward else -1.0
                entry = -1
                for _ in range(MAX_WALK):
                    edge, where = _exit_edge(position, triangles, face, entry, axis, across, along, sign)
                    if edge < 0 or where > 1.0:
                        break
                    if _is_silhouette(position, triangles, neighbours, face, edge):
                        start, end = triangles[face, edge], triangles[face, (edge + 1) % 3]
                        rise = abs(position[start, 1 - axis] - position[end, 1 - axis])
                        if where >= 0.0 and rise >= abs(position[start, axis] - position[end, axis]):
                            if count == found.shape[0]:
                                grown = np.empty((2 * count, 5), np.int64)
                                grown[:count] = found
                                found = grown
                            found[count, 0] = near_row * width + near_column
                            found[count, 1] = far_row * width + far_column
                            found[count, 2] = start
                            found[count, 3] = end
                            found[count, 4] = axis
                            count += 1
                        break
                    entry = neighbours[face, edge, 1]
                    face = neighbours[face, edge, 0]
                    if face == target:
                        break
    return found[:count]

"""Distances between a fitted face and a true one: alignment, scan-to-mesh error, and the mean-face baseline.

Protocol after the NoW challenge (Sanyal et al. 2019): align by seven landmarks, refine by iterated closest points, then
measure from every true point to the fitted surface.
"""

from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Float, Int

LEAF = 4  # triangles of a box that is not divided


@dataclass(frozen=True)
class Similarity:
    """The map x -> scale * rotation @ x + translation."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def __call__(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        return self.scale * points @ self.rotation.T + self.translation

    def back(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """The inverse map."""
        return (points - self.translation) @ self.rotation / self.scale


@dataclass(frozen=True)
class FaceError:
    """How far a true face lies from a fitted one."""

    mean_mm: float
    median_mm: float
    scale: float  # of the alignment; 1 where only a rigid motion was allowed
    distance_mm: Float[np.ndarray, "N"]  # per true point
    alignment: Similarity


def similarity_alignment(
    source: Float[np.ndarray, "N 3"],
    target: Float[np.ndarray, "N 3"],
    weight: Float[np.ndarray, "N"] | None = None,
    with_scale: bool = True,
) -> Similarity:
    """The similarity (or rigid motion) that brings source points onto target points with least squared distance.

    Source: Umeyama 1991, equations 40-42. Never a reflection.
    """
    weight = np.ones(len(source)) if weight is None else np.asarray(weight, float)
    weight = weight / weight.sum()
    source_mean, target_mean = weight @ source, weight @ target
    a, b = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd((b * weight[:, None]).T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ (sign[:, None] * vt)
    scale = float((singular * sign).sum() / (weight @ (a**2).sum(1))) if with_scale else 1.0
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


class Surface:
    """A triangle mesh that is asked for nearest points many times."""

    def __init__(self, vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "T 3"]):
        self.vertices = vertices
        self._corners = np.ascontiguousarray(vertices[triangles], dtype=float)
        self._tree = _box_tree(self._corners)

    def closest(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """The nearest point of the surface to each point, exactly."""
        return _nearest(np.ascontiguousarray(points, dtype=float), self._corners, *self._tree)


def closest_points(
    points: Float[np.ndarray, "N 3"], vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "T 3"]
) -> Float[np.ndarray, "N 3"]:
    """The nearest point of a triangle mesh to each point, exactly."""
    return Surface(vertices, triangles).closest(points)


@numba.njit(cache=True)
def _box_tree(corners):
    """Order of the triangles, and for each node of a balanced binary tree (children of i: 2i + 1, 2i + 2) its span in it
    and its bounding box (low, high)."""
    count, nodes = len(corners), 1
    while (nodes + 1) // 2 * LEAF < count:
        nodes = 2 * nodes + 1
    order, span, box = np.arange(count), np.zeros((nodes, 2), np.int64), np.empty((nodes, 2, 3))
    span[0, 1] = count
    for node in range(nodes):
        first, last = span[node]
        low, high = box[node, 0], box[node, 1]
        low[:], high[:] = np.inf, -np.inf
        for index in order[first:last]:
            for corner in range(3):
                for axis in range(3):
                    low[axis] = min(low[axis], corners[index, corner, axis])
                    high[axis] = max(high[axis], corners[index, corner, axis])
        if 2 * node + 1 < nodes:
            axis, part = np.argmax(high - low), order[first:last]
            order[first:last] = part[np.argsort(corners[part, 0, axis] + corners[part, 1, axis] + corners[part, 2, axis])]
            middle = (first + last) // 2
            span[2 * node + 1], span[2 * node + 2] = (first, middle), (middle, last)
    return order, span, box


@numba.njit(cache=True)
def _nearest(points, corners, order, span, box):
    """The nearest point on any triangle to each point: boxes farther than the best so far are not opened."""
    result = np.empty_like(points)
    waiting = np.empty(64, np.int64)
    near = np.empty(3)
    for i in range(len(points)):
        p, best = points[i], np.inf
        waiting[0], size = 0, 1
        while size > 0:
            size -= 1
            node = waiting[size]
            if _squared_to_box(p, box[node]) >= best:
                continue
            left = 2 * node + 1
            if left < len(span):
                far = left + 1 if _squared_to_box(p, box[left]) < _squared_to_box(p, box[left + 1]) else left
                waiting[size], waiting[size + 1] = far, 2 * left + 1 - far  # the nearer one is opened first
                size += 2
                continue
            for t in order[span[node, 0] : span[node, 1]]:
                _on_triangle(p, corners[t], near)
                squared = (near[0] - p[0]) ** 2 + (near[1] - p[1]) ** 2 + (near[2] - p[2]) ** 2
                if squared < best:
                    best = squared
                    result[i] = near
    return result


@numba.njit(cache=True)
def _squared_to_box(p, box):
    total = 0.0
    for axis in range(3):
        outside = max(box[0, axis] - p[axis], p[axis] - box[1, axis], 0.0)
        total += outside * outside
    return total


@numba.njit(cache=True)
def _on_triangle(p, corners, out):
    """Fills `out` with the nearest point to p on a triangle: inside it, else on the nearest edge."""
    d00 = d01 = d11 = d20 = d21 = 0.0
    for axis in range(3):
        start = corners[0, axis]
        ab, ac, ap = corners[1, axis] - start, corners[2, axis] - start, p[axis] - start
        d00, d01, d11 = d00 + ab * ab, d01 + ab * ac, d11 + ac * ac
        d20, d21 = d20 + ab * ap, d21 + ac * ap
    area = max(d00 * d11 - d01 * d01, 1e-30)
    v = (d11 * d20 - d01 * d21) / area
    w = (d00 * d21 - d01 * d20) / area
    if v >= 0 and w >= 0 and v + w <= 1:
        for axis in range(3):
            start = corners[0, axis]
            out[axis] = start + v * (corners[1, axis] - start) + w * (corners[2, axis] - start)
        return
    best = np.inf
    for edge in range(3):
        start, end = corners[edge], corners[(edge + 1) % 3]
        along = length = 0.0
        for axis in range(3):
            along += (p[axis] - start[axis]) * (end[axis] - start[axis])
            length += (end[axis] - start[axis]) ** 2
        share = min(max(along / max(length, 1e-30), 0.0), 1.0)
        squared = 0.0
        for axis in range(3):
            squared += (start[axis] + share * (end[axis] - start[axis]) - p[axis]) ** 2
        if squared < best:
            best = squared
            for axis in range(3):
                out[axis] = start[axis] + share * (end[axis] - start[axis])


def vertex_areas(vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "T 3"]) -> Float[np.ndarray, "V"]:
    """A third of the area of all triangles around each vertex, in squared units of the vertices."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return np.bincount(triangles.ravel(), np.repeat(area / 3, 3), minlength=len(vertices))


def face_error(
    truth: Float[np.ndarray, "N 3"],
    weight: Float[np.ndarray, "N"],
    surface: Surface,
    start: Similarity,
    with_scale: bool = True,
) -> FaceError:
    """Scan-to-mesh error in millimetres after alignment: sum_i w_i |x_i - closest(x_i)| / sum_i w_i.

    Args:
        truth: points of the true face region, metres.
        weight: area that each point stands for; makes the mean one over the surface, not over its sampling.
        surface: skin of the fitted mesh, metres, any frame.
        start: fitted frame -> true frame, from landmarks.
        with_scale: whether the alignment may scale (one photo without a known focal length leaves size open).

    Returns:
        mean and median over the surface; the best possible value is 0.

    Source: NoW challenge (Sanyal et al. 2019, section 5): landmark alignment refined by scan-to-mesh ICP.
    Differs: the mean is weighted by area; ICP minimises point-to-point distance.
    """
    alignment = start if with_scale else similarity_alignment(surface.vertices, start(surface.vertices), with_scale=False)
    # a similarity keeps nearest points: they are found in the mesh's own frame
    thinned, share = truth[::4], weight[::4]  # enough to align by
    previous = np.inf
    for _ in range(60):
        found = surface.closest(alignment.back(thinned))
        error = float(share @ ((alignment(found) - thinned) ** 2).sum(1) / share.sum())
        if error > previous * (1 - 1e-3):
            break
        previous = error
        alignment = similarity_alignment(found, thinned, share, with_scale)
    distance = 1e3 * np.linalg.norm(alignment(surface.closest(alignment.back(truth))) - truth, axis=1)
    return FaceError(
        mean_mm=float(weight @ distance / weight.sum()),
        median_mm=_weighted_median(distance, weight),
        scale=alignment.scale,
        distance_mm=distance,
        alignment=alignment,
    )


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    order = values.argsort()
    share = weight[order].cumsum() / weight.sum()
    return float(values[order][np.searchsorted(share, 0.5)])

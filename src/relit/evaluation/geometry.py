"""Distances between a fitted face and a true one: alignment, scan-to-mesh error, and the mean-face baseline.

Protocol after the NoW challenge (Sanyal et al. 2019): align by seven landmarks, refine by iterated closest points, then
measure from every true point to the fitted surface.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree


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
        self._corners = np.ascontiguousarray(vertices[triangles], dtype=float)
        self._centroids = self._corners.mean(1)
        self._reach = np.linalg.norm(self._corners - self._centroids[:, None], axis=2).max(1)
        self._tree = cKDTree(self._centroids)
        # a few large triangles would make every search wide: they are searched apart
        large = self._reach > 2 * np.median(self._reach)
        groups = [np.flatnonzero(group) for group in (~large, large) if group.any()]
        self._groups = [(cKDTree(self._centroids[group]), group, self._reach[group].max()) for group in groups]

    def closest(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """The nearest point of the surface to each point, exactly.

        Tried are all triangles whose bounding spheres come as near as the triangle with the nearest centroid.
        """
        places = np.ascontiguousarray(points, dtype=float)
        nearest, best = self._tree.query(places)
        for tree, group, reach in self._groups:
            candidates = tree.query_ball_point(places, nearest + reach)
            ends = np.cumsum([len(found) for found in candidates])
            listed = group[np.concatenate(candidates).astype(int)]
            best = _nearest_triangle(places, self._corners, self._centroids, self._reach, best, listed, ends)
        return _on_triangles(places, self._corners, best)


def closest_points(
    points: Float[np.ndarray, "N 3"], vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "T 3"]
) -> Float[np.ndarray, "N 3"]:
    """The nearest point of a triangle mesh to each point, exactly."""
    return Surface(vertices, triangles).closest(points)


@numba.njit(cache=True)
def _nearest_triangle(points, corners, centroids, reach, first, candidates, ends):
    """The nearest triangle among `first` and the candidates of each point, which lie one after the other."""
    result = first.copy()
    start = 0
    for i in range(len(points)):
        p = points[i]
        near = _on_triangle(p, corners[first[i], 0], corners[first[i], 1], corners[first[i], 2])
        best = ((near - p) ** 2).sum()
        for t in candidates[start : ends[i]]:
            x, y, z = centroids[t, 0] - p[0], centroids[t, 1] - p[1], centroids[t, 2] - p[2]
            limit = math.sqrt(best) + reach[t]
            if x * x + y * y + z * z < limit * limit:
                found = _on_triangle(p, corners[t, 0], corners[t, 1], corners[t, 2])
                squared = ((found - p) ** 2).sum()
                if squared < best:
                    best, result[i] = squared, t
        start = ends[i]
    return result


@numba.njit(cache=True)
def _on_triangles(points, corners, triangles):
    result = np.empty_like(points)
    for i in range(len(points)):
        t = triangles[i]
        result[i] = _on_triangle(points[i], corners[t, 0], corners[t, 1], corners[t, 2])
    return result


@numba.njit(cache=True)
def _on_triangle(p, a, b, c):
    """The nearest point to p on the triangle abc: inside it, else on the nearest edge."""
    ab, ac, ap = b - a, c - a, p - a
    d00, d01, d11 = (ab * ab).sum(), (ab * ac).sum(), (ac * ac).sum()
    d20, d21 = (ap * ab).sum(), (ap * ac).sum()
    area = max(d00 * d11 - d01 * d01, 1e-30)
    v = (d11 * d20 - d01 * d21) / area
    w = (d00 * d21 - d01 * d20) / area
    if v >= 0 and w >= 0 and v + w <= 1:
        return a + v * ab + w * ac
    near, best = a, np.inf
    for start, end in ((a, b), (b, c), (c, a)):
        edge = end - start
        along = ((p - start) * edge).sum() / max((edge * edge).sum(), 1e-30)
        on_edge = start + min(max(along, 0.0), 1.0) * edge
        squared = ((on_edge - p) ** 2).sum()
        if squared < best:
            near, best = on_edge, squared
    return near


def vertex_areas(vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "T 3"]) -> Float[np.ndarray, "V"]:
    """A third of the area of all triangles around each vertex, in squared units of the vertices."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return np.bincount(triangles.ravel(), np.repeat(area / 3, 3), minlength=len(vertices))


def face_error(
    truth: Float[np.ndarray, "N 3"],
    weight: Float[np.ndarray, "N"],
    vertices: Float[np.ndarray, "V 3"],
    triangles: Int[np.ndarray, "T 3"],
    start: Similarity,
    with_scale: bool = True,
) -> FaceError:
    """Scan-to-mesh error in millimetres after alignment: sum_i w_i |x_i - closest(x_i)| / sum_i w_i.

    Args:
        truth: points of the true face region, metres.
        weight: area that each point stands for; makes the mean one over the surface, not over its sampling.
        vertices: fitted mesh, metres, any frame.
        triangles: its skin.
        start: fitted frame -> true frame, from landmarks.
        with_scale: whether the alignment may scale (one photo without a known focal length leaves size open).

    Returns:
        mean and median over the surface; the best possible value is 0.

    Source: NoW challenge (Sanyal et al. 2019, section 5): landmark alignment refined by scan-to-mesh ICP.
    Differs: the mean is weighted by area; ICP minimises point-to-point distance.
    """
    alignment = start if with_scale else similarity_alignment(vertices, start(vertices), with_scale=False)
    surface = Surface(vertices, triangles)  # a similarity keeps nearest points: they are found in the mesh's own frame
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

"""Distances between a fitted face and a true one: alignment, scan-to-mesh error, and the mean-face baseline.

Protocol after the NoW challenge (Sanyal et al. 2019): align by seven landmarks, refine by iterated closest points, then
measure from every true point to the fitted surface.
"""

from dataclasses import dataclass

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


def closest_points(
    points: Float[np.ndarray, "N 3"], vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "T 3"]
) -> Float[np.ndarray, "N 3"]:
    """The nearest point of a triangle mesh to each point, exactly.

    Triangles are tried in the order of their centroids' distance, until no untried one can be nearer.
    """
    corners = vertices[triangles]
    centroids = corners.mean(1)
    reach = np.linalg.norm(corners - centroids[:, None], axis=2).max()  # no triangle goes further from its centroid
    tree = cKDTree(centroids)
    result = np.empty_like(points, dtype=float)
    pending = np.arange(len(points))
    count = min(16, len(triangles))
    while True:
        centroid_distance, candidates = tree.query(points[pending], k=count)
        candidates = candidates.reshape(len(pending), count)
        chosen = corners[candidates]
        near = _nearest_on_triangles(points[pending][:, None], chosen[..., 0, :], chosen[..., 1, :], chosen[..., 2, :])
        squared = ((near - points[pending][:, None]) ** 2).sum(-1)
        best = squared.argmin(1)
        rows = np.arange(len(pending))
        result[pending] = near[rows, best]
        furthest = centroid_distance.reshape(len(pending), count)[:, -1]
        done = (np.sqrt(squared[rows, best]) <= furthest - reach) | (count == len(triangles))
        pending = pending[~done]
        if not len(pending):
            return result
        count = min(4 * count, len(triangles))


def _nearest_on_triangles(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The nearest point to p on each triangle abc (broadcast over leading axes): inside, else on the nearest edge."""
    ab, ac, ap = b - a, c - a, p - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v = (d11 * d20 - d01 * d21) / area
    w = (d00 * d21 - d01 * d20) / area
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    candidates = [a + v[..., None] * ab + w[..., None] * ac]
    for start, end in ((a, b), (b, c), (c, a)):
        edge = end - start
        along = ((p - start) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-30)
        candidates.append(start + along.clip(0, 1)[..., None] * edge)
    distance = np.stack([((x - p) ** 2).sum(-1) for x in candidates])
    distance[0] = np.where(inside, distance[0], np.inf)
    best = distance.argmin(0)
    return np.take_along_axis(np.stack(candidates), best[None, ..., None], 0)[0]


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
    previous = np.inf
    for _ in range(60):
        found = closest_points(truth, alignment(vertices), triangles)
        error = float(weight @ ((found - truth) ** 2).sum(1) / weight.sum())
        if error > previous * (1 - 1e-4):
            break
        previous = error
        own = (found - alignment.translation) @ alignment.rotation / alignment.scale
        alignment = similarity_alignment(own, truth, weight, with_scale)
    distance = 1e3 * np.linalg.norm(closest_points(truth, alignment(vertices), triangles) - truth, axis=1)
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

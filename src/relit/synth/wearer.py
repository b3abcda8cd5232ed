"""The posed head as props see it: landmarks, points carried by the skin, distances to the surface."""

from functools import lru_cache

import numpy as np
import torch
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from scipy.spatial import cKDTree

from relit.models.head import HeadModel, landmark_points
from relit.synth.geometry import Posed

_BOUND_TO = 8  # skin vertices that carry a point
_FAR_M = 0.5


class Wearer:
    """A posed head that props are fitted to."""

    def __init__(self, posed: Posed, model: HeadModel):
        self.model, self.posed = model, posed
        self.landmarks = landmark_points(model, posed.vertices).numpy()
        self._scene = rtcore_scene.EmbreeScene()
        outer = model.triangles[model.part == 0]
        TriangleMesh(self._scene, posed.vertices.numpy(), outer.numpy().astype(np.int32))

    def carried(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) where points given on the mean head come to lie: they move with the skin about them."""
        skin, tree = _mean_skin(self.model)
        away, near = tree.query(points, _BOUND_TO)
        weight = 1 / (away**2 + 1e-5)
        weight /= weight.sum(1, keepdims=True)
        moved = (self.posed.vertices - self.model.mean).numpy()[skin[near]]
        return points + (moved * weight[..., None]).sum(1)

    def reach(self, start: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N,) distance from points along unit directions to the skin, infinite where there is none."""
        ray = np.ascontiguousarray(np.broadcast_to(directions, start.shape), np.float32)
        met = self._scene.run(np.ascontiguousarray(start, np.float32), ray, output=1)
        return np.where(met["primID"] >= 0, met["tfar"], np.inf)

    def radius(self, centre: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(...) distance from a centre to the outermost skin along unit directions (..., 3); 0 where there is none."""
        flat = directions.reshape(-1, 3)
        shape = np.broadcast_to(centre, directions.shape).reshape(-1, 3)
        depth = self.reach(shape + _FAR_M * flat, -flat)
        return np.maximum(_FAR_M - depth, 0).reshape(directions.shape[:-1])

    def outside(self, points: np.ndarray, gap_m: float) -> np.ndarray:
        """(N, 3) the points, those nearer to the skin than a gap, or below it, lifted off along its normal."""
        skin, _ = _mean_skin(self.model)
        place, normal = self.posed.vertices.numpy()[skin], self.posed.normals.numpy()[skin]
        away, near = cKDTree(place).query(points, distance_upper_bound=0.02)
        at = np.isfinite(away)
        lifted, near = points.copy(), near[at]
        height = ((points[at] - place[near]) * normal[near]).sum(1)
        lifted[at] += np.maximum(gap_m - height, 0)[:, None] * normal[near]
        return lifted


@lru_cache(maxsize=1)
def _mean_skin(model: HeadModel) -> tuple[np.ndarray, cKDTree]:
    skin = torch.unique(model.triangles[model.part == 0]).numpy()
    return skin, cKDTree(model.mean.numpy()[skin])

"""Recovered surfaces against true ones, in millimetres."""

import math
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from relit.evaluation.case import LABELLED_M, Case
from relit.evaluation.geometry import FaceError, Similarity, Surface, face_error
from relit.evaluation.metrics.registry import metric
from relit.models.head import load_head_model
from relit.models.regions import region_masks

LABELS_PX = 512


@metric("shape", "mm", "low", needs="mesh")
def now(case: Case) -> dict[str, float]:
    """Median, mean and standard deviation of the distances from the true face to the recovered surface.

    The true points are the skin within 0.7 (outer eye distance + nose length) of the nose's tip, neutral. The recovered
    mesh is aligned by a similarity: seven landmarks, then iterated closest points. Millimetres, [0, inf).

    Source: the NoW challenge, Sanyal et al. 2019, "Learning to regress 3D face shape and expression from an image without
    3D supervision", section 5.
    Differs: each point counts by the area it stands for; methods that give only the face with its expression are
    compared with the true face in that expression.
    """
    return _statistics(case.shape_error, case.scan[1])


@metric("shape", "mm", "low", needs="metric mesh")
def now_metrical(case: Case) -> dict[str, float]:
    """As `now` with a rigid alignment: the size of the head counts. Millimetres, [0, inf).

    Source: Zielonka et al. 2022, "Towards metrical reconstruction of human faces", who call this metrical.
    """
    return _statistics(case.rigid_error, case.scan[1])


@metric("shape", "%", "low", needs="metric mesh")
def size_error(case: Case) -> float:
    """How far the recovered head is too large or too small: 100 |1 - s|, s the scale of the similarity of `now`. Per cent."""
    return 100 * abs(1 - case.shape_error.scale)


@metric("shape", "mm", "low", needs="mesh")
def realy(case: Case) -> dict[str, float]:
    """Mean distance from the true nose, mouth, forehead and cheeks to the recovered surface, each region aligned by itself.

    Every region starts from the alignment of `now` and is moved rigidly by iterated closest points of its own, so that an
    error elsewhere does not spoil it. Millimetres, [0, inf); "mean" is the mean of the four.

    Source: REALY, Chai et al. 2022, "REALY: Rethinking the evaluation of 3D face reconstruction".
    Differs: distances to the closest point of the surface, where REALY first bends the region onto it; no normalisation;
    regions are those of relit's layout, the mouth with 12 mm around the lips.
    """
    points, area, vertices, _ = case.scan
    mesh, start = case.answer.mesh, case.shape_error.alignment
    found = {}
    moved, identity = Surface(start(mesh.vertices), case.near_triangles), Similarity(1.0, np.eye(3), np.zeros(3))
    for name, inside in _labels().items():
        chosen = inside[vertices]
        found[name] = face_error(points[chosen], area[chosen], moved, identity, with_scale=False).mean_mm
    return {"mean": sum(found.values()) / len(found), **found}


def _statistics(error: FaceError, area: np.ndarray) -> dict[str, float]:
    share = area / area.sum()
    variance = float(share @ np.square(error.distance_mm - error.mean_mm))
    return {"median": error.median_mm, "mean": error.mean_mm, "std": math.sqrt(variance)}


@lru_cache(maxsize=1)
def _labels() -> dict[str, np.ndarray]:
    """(V,) bool per region of REALY."""
    model, masks = load_head_model(), region_masks(LABELS_PX, LABELS_PX)
    place = np.zeros((len(model.mean), 2), int)
    place[model.render_vertex.numpy()] = (model.uv.numpy() * LABELS_PX).astype(int).clip(0, LABELS_PX - 1)
    skin = np.zeros(len(model.mean), bool)
    skin[model.triangles[model.part == 0].unique().numpy()] = True
    at = lambda name: (masks[name].numpy()[place[:, 1], place[:, 0]] > 0.5) & skin  # noqa: E731
    mean = model.mean.numpy()
    around, _ = cKDTree(mean[at("lips")]).query(mean)
    mouth = skin & (around < LABELLED_M) & ~at("nose")
    return {"nose": at("nose"), "mouth": mouth, "forehead": at("forehead"), "cheeks": at("cheeks")}

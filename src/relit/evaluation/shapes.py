"""Faces of known shape through the complete path: how far the fitted shape lies from the truth, and the mean face."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from relit.errors import RelitError
from relit.evaluation.geometry import FaceError, Surface, face_error, similarity_alignment
from relit.evaluation.truth import SEVEN_OF_MEDIAPIPE, TrueFace, true_faces
from relit.geometry.camera import FULL_FRAME_DIAGONAL_MM
from relit.methods import fit_photos
from relit.models.head import HeadModel, landmark_points, load_head_model
from relit.observe.photo import load_photo

MAPS_PX = 256  # the shape does not depend on the maps' size


@dataclass(frozen=True)
class ShapeRecord:
    """Errors of one face in millimetres; scale: what the alignment multiplied the fitted head by."""

    name: str
    fitted_mm: float
    mean_face_mm: float
    fitted_rigid_mm: float
    mean_face_rigid_mm: float
    scale: float
    focal_ratio: float  # fitted focal length over the true one
    identity_sd: float  # root mean square identity coefficient
    failure: str = ""


def measure_shapes(data: Path, out: Path, count: int, jobs: int = 1, on_step=lambda done, total: None) -> list[ShapeRecord]:
    """One record per true face; records and pictures that are already in `out` are kept."""
    faces = true_faces(data, out, count)
    paths = [out / f"{face.name}.json" for face in faces]
    waiting = [(face, path) for face, path in zip(faces, paths, strict=True) if not path.exists()]
    on_step(count - len(waiting), count)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for index, _ in enumerate(pool.map(_keep_record, *zip(*waiting, strict=True)) if waiting else ()):
            on_step(count - len(waiting) + index + 1, count)
    return [ShapeRecord(**json.loads(path.read_text())) for path in paths]


def _keep_record(face: TrueFace, path: Path) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(asdict(measure_shape(face)), indent=1))
    partial.rename(path)


def measure_shape(face: TrueFace) -> ShapeRecord:
    """The errors of the face fitted to its photo, and of the mean face under the same alignments."""
    model = load_head_model()
    mean, mean_rigid = _errors(model, face, model.mean.numpy())
    try:
        head = fit_photos([load_photo(face.photo)], size=(MAPS_PX, MAPS_PX)).head
    except RelitError as error:
        lost = float("nan")
        return ShapeRecord(face.name, lost, mean.mean_mm, lost, mean_rigid.mean_mm, lost, lost, lost, str(error))
    fit = head.fits[0]
    fitted, rigid = _errors(model, face, head.vertices.numpy())
    focal = float(fit.camera.focal_px) / float(np.hypot(*fit.camera.size_px)) * FULL_FRAME_DIAGONAL_MM
    return ShapeRecord(
        name=face.name,
        fitted_mm=fitted.mean_mm,
        mean_face_mm=mean.mean_mm,
        fitted_rigid_mm=rigid.mean_mm,
        mean_face_rigid_mm=mean_rigid.mean_mm,
        scale=fitted.scale,
        focal_ratio=focal / face.focal_35mm,
        identity_sd=float(fit.identity.square().mean().sqrt()),
    )


def _errors(model: HeadModel, face: TrueFace, vertices: np.ndarray) -> tuple[FaceError, FaceError]:
    """With and without a free scale, aligned first by the seven landmarks of NoW."""
    vertices = vertices.astype(float)
    skin = model.triangles[model.part == 0].numpy()
    points = landmark_points(model, torch.from_numpy(vertices).float()) - model.landmark_offset
    start = similarity_alignment(points[list(SEVEN_OF_MEDIAPIPE)].numpy().astype(float), face.landmarks)
    surface = Surface(vertices, skin)
    free, rigid = (face_error(face.points, face.weight, surface, start, with_scale=with_scale) for with_scale in (True, False))
    return free, rigid

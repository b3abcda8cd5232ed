"""How well a fitted head explains the detected landmarks."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.models.head import HeadModel, landmark_points, neutral_vertices, posed_vertices
from relit.types import FaceFit, Landmarks

OUTER_EYE_CORNERS = (33, 263)


@dataclass(frozen=True)
class LandmarkResidual:
    """Landmark distances in a photo."""

    mean_percent: float  # over the visible landmarks
    percent: Float[Tensor, "478"]  # of the inter-ocular distance
    visible: Bool[Tensor, "478"]


def landmark_residual(model: HeadModel, fit: FaceFit, landmarks: Landmarks) -> LandmarkResidual:
    """Distances between projected and detected landmarks, 100 |p_i - q_i| / |q_33 - q_263|, in per cent; 0 is best.

    The unit is the distance of the outer eye corners in the photo. A landmark is visible where the fitted surface
    under it faces the camera. The model's systematic detector offset is part of the projection, as in the fit.

    Source: normalised mean error as in 300-W (Sagonas et al. 2013), which divides by the same distance.
    """
    neutral = neutral_vertices(model, fit.identity, fit.vertex_offset)
    vertices = posed_vertices(model, neutral, fit.expression, fit.gaze_rad)
    points = landmark_points(model, vertices)
    corners = model.landmark_triangles
    normals = (vertex_normals(vertices, model.triangles)[corners] * model.landmark_barycentric[..., None]).sum(1)
    visible = (normals * (camera_centre(fit.camera) - points)).sum(-1) > 0
    distance = (project(fit.camera, points)[:, :2] - landmarks.points_px).norm(dim=1)
    right, left = OUTER_EYE_CORNERS
    percent = 100 * distance / (landmarks.points_px[right] - landmarks.points_px[left]).norm()
    return LandmarkResidual(float(percent[visible].mean()), percent, visible)


def worst_landmarks(residual: LandmarkResidual, count: int = 5) -> list[tuple[int, float]]:
    """The visible landmarks with the largest distances, as (index, per cent)."""
    masked = torch.where(residual.visible, residual.percent, -torch.ones_like(residual.percent))
    values, indices = masked.topk(count)
    return [(int(index), float(value)) for index, value in zip(indices, values, strict=True)]

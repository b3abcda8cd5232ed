"""A posed subject: vertices, normals and what of the sky each vertex sees."""

from dataclasses import dataclass

import torch
from torch import Tensor

from relit.geometry.mesh import vertex_normals
from relit.models.head import HeadModel, expression_morphs, posed_vertices
from relit.render.occlusion import light_transfer
from relit.synth.subject import Subject, neutral_of

RAYS = 96  # per vertex: its noise, 1 % of the visibility, is below that of any photo


@dataclass(frozen=True)
class Posed:
    """A subject's head in its expression."""

    neutral: Tensor  # (V, 3)
    morphs: Tensor  # (52, V, 3)
    vertices: Tensor  # (V, 3)
    normals: Tensor  # (V, 3)
    transfer: Tensor  # (V, 81) without bounces


def pose(subject: Subject, model: HeadModel) -> Posed:
    """The head of a subject."""
    neutral = neutral_of(subject, model)
    morphs = expression_morphs(model, neutral)
    expression, gaze = torch.from_numpy(subject.expression), torch.from_numpy(subject.gaze_rad)
    vertices = posed_vertices(model, neutral, expression, gaze, morphs)
    transfer = light_transfer(vertices, model.triangles, 0.0, RAYS, _shadowed(model))
    return Posed(neutral, morphs, vertices, vertex_normals(vertices, model.triangles), transfer)


def _shadowed(model: HeadModel) -> Tensor:
    """(V,) bool: what can lie in shadow: all but the top and back of the head."""
    x, y, z = model.mean.unbind(1)
    ear = (x.abs() > 0.055) & (y.abs() < 0.06) & (z > -0.05)
    return (z > 0.005) & (y < 0.10) | ear

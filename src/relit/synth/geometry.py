"""A posed subject: vertices, normals and what of the sky each vertex sees."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from relit.appearance.harmonics import BAND, cosine_lobe, sh_basis
from relit.geometry.mesh import vertex_normals
from relit.models.head import PARTS, HeadModel, expression_morphs, load_head_model, posed_vertices
from relit.render.occlusion import ambient_occlusion, light_transfer, transfer_at
from relit.synth.subject import Subject, neutral_of

RAYS = 64  # per vertex; their noise, 1.6 % of the visibility, differs from subject to subject
_OPEN = 0.95  # mean visibility from which a vertex counts as open


@dataclass(frozen=True)
class Posed:
    """A subject's head in its expression."""

    neutral: Tensor  # (V, 3)
    morphs: Tensor  # (52, V, 3)
    vertices: Tensor  # (V, 3)
    normals: Tensor  # (V, 3)
    transfer: Tensor  # (V, 81) without bounces


def pose(
    subject: Subject, model: HeadModel, rays: int = RAYS, inside: bool = False, neutral: Tensor | None = None
) -> Posed:
    """The head of a subject.

    Args:
        rays: per vertex; they decide what it sees of the light.
        inside: whether the mouth's inside is lit as it is open, or left dark.
        neutral: (V, 3) another neutral head than the subject's own.
    """
    neutral = neutral_of(subject, model) if neutral is None else neutral
    morphs = expression_morphs(model, neutral)
    expression, gaze = torch.from_numpy(subject.expression), torch.from_numpy(subject.gaze_rad)
    vertices = posed_vertices(model, neutral, expression, gaze, morphs)
    shadowed, dark = _shadowed()
    traced = shadowed | dark if inside else shadowed
    normals = vertex_normals(vertices, model.triangles)
    transfer = sh_basis(normals) * cosine_lobe()[BAND]  # of an open surface
    transfer[dark] = 0
    mesh = (vertices, model.triangles, 1.0)
    transfer[traced] = transfer_at(vertices[traced], normals[traced], (mesh,), rays)
    return Posed(neutral, morphs, vertices, normals, transfer)


@lru_cache(maxsize=1)
def _shadowed() -> tuple[Tensor, Tensor]:
    """(V,) bool each: what the mean head hides in part, and what is hidden altogether behind its lips and lids."""
    model = load_head_model()
    visibility = ambient_occlusion(light_transfer(model.mean, model.triangles, 0.0, 2 * RAYS))
    outside = torch.zeros(len(visibility), dtype=torch.bool)
    outer = torch.tensor([PARTS.index(name) for name in ("skin", "left_eye", "right_eye")])
    outside[model.triangles[torch.isin(model.part, outer)].unique()] = True
    return outside & (visibility < _OPEN), ~outside

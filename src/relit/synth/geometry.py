"""A posed subject: vertices, normals and what of the sky each vertex sees."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from relit.appearance.harmonics import BAND, cosine_lobe, sh_basis
from relit.geometry.mesh import vertex_normals
from relit.models.head import PARTS, HeadModel, expression_morphs, load_head_model, posed_vertices
from relit.render.occlusion import ambient_occlusion, light_transfer, transfer_at
from relit.synth.subject import Subject, neutral_of

RAYS = 64  # per vertex; their noise, 1.6 % of the visibility, differs from subject to subject
_OPEN = 0.95  # mean visibility from which a vertex counts as open
_NEAR_M = 0.10  # how far from what it wears a head is looked at for its shade


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
    """The bare head of a subject: `placed`, with what it hides from itself."""
    return occluded(placed(subject, model, neutral), model, (), rays, inside)


def placed(subject: Subject, model: HeadModel, neutral: Tensor | None = None) -> Posed:
    """The head of a subject as if nothing stood in the way of light.

    Args:
        neutral: (V, 3) another neutral head than the subject's own.
    """
    neutral = neutral_of(subject, model) if neutral is None else neutral
    morphs = expression_morphs(model, neutral)
    expression, gaze = torch.from_numpy(subject.expression), torch.from_numpy(subject.gaze_rad)
    vertices = posed_vertices(model, neutral, expression, gaze, morphs)
    normals = vertex_normals(vertices, model.triangles)
    return Posed(neutral, morphs, vertices, normals, sh_basis(normals) * cosine_lobe()[BAND])


def occluded(
    posed: Posed, model: HeadModel, others: tuple[tuple[Tensor, Tensor, float], ...], rays: int, inside: bool = False
) -> Posed:
    """The head with what it, and other things, hide from it.

    Args:
        others: meshes in the way of light: vertices, triangles, opacity.
        rays: per vertex.
        inside: whether the mouth's inside is lit as it is open, or left dark.
    """
    shadowed, dark = _shadowed()
    traced = shadowed | dark if inside else shadowed
    if others:
        tree = cKDTree(torch.cat([vertices[::5] for vertices, _, _ in others]).numpy())
        away, _ = tree.query(posed.vertices.numpy(), distance_upper_bound=_NEAR_M)
        traced = traced | (torch.from_numpy(away < _NEAR_M) & ~dark)
    transfer = posed.transfer.clone()
    transfer[dark] = 0
    meshes = ((posed.vertices, model.triangles, 1.0), *others)
    transfer[traced] = transfer_at(posed.vertices[traced], posed.normals[traced], meshes, rays)
    return replace(posed, transfer=transfer)


@lru_cache(maxsize=1)
def _shadowed() -> tuple[Tensor, Tensor]:
    """(V,) bool each: what the mean head hides in part, and what is hidden altogether behind its lips and lids."""
    model = load_head_model()
    visibility = ambient_occlusion(light_transfer(model.mean, model.triangles, 0.0, 2 * RAYS))
    outside = torch.zeros(len(visibility), dtype=torch.bool)
    outer = torch.tensor([PARTS.index(name) for name in ("skin", "left_eye", "right_eye")])
    outside[model.triangles[torch.isin(model.part, outer)].unique()] = True
    return outside & (visibility < _OPEN), ~outside

"""A posed subject: vertices, normals and what of the sky each vertex sees."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numba import njit
from scipy.spatial import cKDTree
from torch import Tensor

from relit.appearance.harmonics import BAND, cosine_lobe, sh_basis
from relit.geometry.mesh import vertex_normals
from relit.models.head import PARTS, HeadModel, expression_morphs, load_head_model, posed_vertices
from relit.render.kernels import in_bands
from relit.render.occlusion import ambient_occlusion, hidden_transfer, light_transfer
from relit.synth.subject import Subject, neutral_of

RAYS = 48  # per vertex; their noise, some 3 % of the visibility, differs from subject to subject
_OUTER = ("skin", "left_eye", "right_eye")
_OPEN = 0.95  # mean visibility from which a vertex counts as open
_MEAN_RAYS = 128
_SHADE_STEP = 0.4  # of the transfer vector: rays of this number err by 0.25
_SPACING_M, _SOURCES = (0.001, 0.006), 4
_NORMAL_M = 0.004  # distance that counts as much as a radian between normals
_NEAR_M = 0.06  # how far from what it wears a head is looked at for its shade


@dataclass(frozen=True)
class Posed:
    """A subject's head in its expression."""

    neutral: Tensor  # (V, 3)
    vertices: Tensor  # (V, 3)
    normals: Tensor  # (V, 3)
    transfer: Tensor  # (V, 81) without bounces


def pose(subject: Subject, model: HeadModel, rays: int = RAYS, inside: bool = False, neutral: Tensor | None = None) -> Posed:
    """The bare head of a subject: `placed`, with what it hides from itself."""
    return occluded(placed(subject, model, neutral), model, (), rays, inside)


def placed(subject: Subject, model: HeadModel, neutral: Tensor | None = None) -> Posed:
    """The head of a subject as if nothing stood in the way of light.

    Args:
        neutral: (V, 3) another neutral head than the subject's own.
    """
    neutral = neutral_of(subject, model) if neutral is None else neutral
    shown = np.flatnonzero(subject.expression)
    morphs = expression_morphs(model, neutral, tuple(shown.tolist()))
    expression, gaze = torch.from_numpy(subject.expression[shown]), torch.from_numpy(subject.gaze_rad)
    vertices = posed_vertices(model, neutral, expression, gaze, morphs)
    normals = vertex_normals(vertices, model.triangles)
    return Posed(neutral, vertices, normals, sh_basis(normals) * cosine_lobe()[BAND])


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
        asked = (~(traced | dark)).nonzero()[:, 0]
        away, _ = tree.query(posed.vertices[asked].numpy(), distance_upper_bound=_NEAR_M)
        traced = traced.index_fill(0, asked[torch.from_numpy(away < _NEAR_M)], True)
    meshes = ((posed.vertices, model.triangles if inside else _outer_triangles(), 1.0), *others)
    kept, near, share = _thinned()
    asked = traced[kept]
    at = kept[asked]
    lost = torch.zeros(len(kept), posed.transfer.shape[1])
    lost[asked] = hidden_transfer(posed.vertices[at], posed.normals[at], meshes, rays)
    transfer = posed.transfer * ~(dark & ~traced)[:, None]
    arrays = [x.numpy() for x in (transfer, traced.nonzero()[:, 0], lost, near, share)]
    in_bands(len(arrays[1]), lambda _, first, last: _take_away(*arrays, first, last))
    return replace(posed, transfer=transfer)


@njit(cache=True, nogil=True)
def _take_away(transfer, listed, lost, near, share, first, last):
    """Takes from the rows `listed` of `transfer` what their sources have lost, in their shares."""
    for k in range(first, last):
        row = transfer[listed[k]]
        for source in range(near.shape[1]):
            weight, taken = share[listed[k], source], lost[near[listed[k], source]]
            for c in range(len(row)):
                row[c] -= weight * taken[c]


@lru_cache(maxsize=1)
def _shadowed() -> tuple[Tensor, Tensor]:
    """(V,) bool each: what the mean head hides in part, and what is hidden altogether behind its lips and lids."""
    visibility = ambient_occlusion(_mean_transfer())
    outside = torch.zeros(len(visibility), dtype=torch.bool)
    outside[_outer_triangles().unique()] = True
    return outside & (visibility < _OPEN), ~outside


@lru_cache(maxsize=1)
def _outer_triangles() -> Tensor:
    """(T, 3) of skin and eyes: the mouth's inside hides nothing from them that the skin behind does not."""
    model = load_head_model()
    return model.triangles[torch.isin(model.part, torch.tensor([PARTS.index(name) for name in _OUTER]))].contiguous()


@lru_cache(maxsize=1)
def _mean_transfer() -> Tensor:
    model = load_head_model()
    return light_transfer(model.mean, model.triangles, 0.0, _MEAN_RAYS)


@lru_cache(maxsize=1)
def _thinned() -> tuple[Tensor, Tensor, Tensor]:
    """(K,) the vertices that rays are cast from, and (V, N) which of these each vertex takes its shade from, in what share.

    They stand dense where the shade of the mean head changes fast: by no more than _SHADE_STEP from one to the next.
    """
    model = load_head_model()
    normals = vertex_normals(model.mean, model.triangles)
    place = torch.cat([model.mean, _NORMAL_M * normals], 1).numpy()
    edges = model.triangles[:, [0, 1, 1, 2, 2, 0]].view(-1, 2)
    start, end = edges.unbind(1)
    length = (model.mean[start] - model.mean[end]).norm(dim=1).clamp_min(_SPACING_M[0] / 2)
    lost = sh_basis(normals) * cosine_lobe()[BAND] - _mean_transfer()
    slope = (lost[start] - lost[end]).norm(dim=1) / length
    steepest = torch.zeros(len(place)).scatter_reduce(0, edges.flatten(), slope.repeat_interleave(2), "amax")
    spacing = (_SHADE_STEP / steepest.clamp_min(1e-6)).clamp(*_SPACING_M).numpy()
    tree, free = cKDTree(place), np.ones(len(place), bool)
    kept = []
    for vertex in np.argsort(spacing, kind="stable"):
        if free[vertex]:
            kept.append(vertex)
            free[tree.query_ball_point(place[vertex], spacing[vertex])] = False
    away, near = cKDTree(place[kept]).query(place, _SOURCES)
    share = 1 / (away**2 + 1e-8)
    share = torch.from_numpy((share / share.sum(1, keepdims=True)).astype(np.float32))
    return torch.from_numpy(np.array(kept)), torch.from_numpy(near), share

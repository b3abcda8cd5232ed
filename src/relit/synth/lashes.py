"""Eyelashes: tufts of strands on small cards along the edges of the lids, which they follow when the eye closes."""

from functools import lru_cache

import cv2
import numpy as np
import torch

from relit.models.head import HeadModel, lid_edge_points
from relit.render.eye_light import LASH_ROOT_MM, posed_eye_centres
from relit.synth.geometry import Posed
from relit.synth.hair_cards import Style
from relit.synth.solids import unit
from relit.synth.subject import Subject

# Upper and lower lid. Length of the longest as Na et al. 2006, see relit.render.eye_light.
_CARDS, _LENGTH_MM = (44, 30), (8.5, 4.8)
_STEPS = 4  # points along a card
_TUFTS, _STRANDS, _TEXTURE = 8, 6, (24, 88)  # side by side, in each, texels: strands are finer than a pixel
_SHADED = -0.42  # lift as of roots: brows and lids take most of their light
_DARKEST, _MASCARA = 0.02, np.array([0.006, 0.005, 0.005], np.float32)


def lashes_of(subject: Subject, posed: Posed, model: HeadModel) -> tuple[Style, torch.Tensor, np.ndarray]:
    """The lashes on a posed head as a style of hair, their vertices (H, 3) and their colour (3,) linear.

    Differs: strands are drawn on cards that overlap, not one by one.
    """
    rng = subject.rng(26)
    made_up = subject.marks.eye_makeup
    long = rng.uniform(0.6, 1.0) + 0.3 * made_up - 0.1 * (subject.marks.shave_shadow > 0)
    curl, thick = rng.uniform(0.25, 0.75), rng.uniform(0.75, 1.1) + 0.6 * made_up
    edges = lid_edge_points(model, posed.vertices).double().numpy()  # eye, lid, point, 3
    centres = posed_eye_centres(model, posed.vertices).double().numpy()
    points, uv = [], []
    for eye, lid in ((0, 0), (0, 1), (1, 0), (1, 1)):
        edge = edges[eye, lid]
        edge = edge if abs(edge[0, 0]) < abs(edge[-1, 0]) else edge[::-1]  # from the nose outwards
        card = _cards(edge, centres[eye], lid, _LENGTH_MM[lid] * long / 1000, curl, rng)
        points.append(card.reshape(-1, 3))
        tuft = rng.integers(_TUFTS, size=_CARDS[lid])[:, None, None]
        u = (tuft + np.array([0.05, 0.95])) / _TUFTS + np.zeros((1, _STEPS, 1))
        v = np.linspace(0.02, 0.98, _STEPS)[:, None] + np.zeros((len(u), 1, 2))
        uv.append(np.stack([u, v], -1).reshape(-1, 2))
    vertices = torch.from_numpy(np.concatenate(points).astype(np.float32))
    count = len(vertices) // (2 * _STEPS)
    cell = np.array([[0, 1, 3], [0, 3, 2]])
    strip = np.concatenate([cell + 2 * k for k in range(_STEPS - 1)])
    texture = _strands().copy()
    texture[..., 1] = np.clip(texture[..., 1] * thick, 0, 1)
    style = Style(
        points=vertices,
        uv=np.concatenate(uv).astype(np.float32),
        triangles=(np.arange(count)[:, None, None] * 2 * _STEPS + strip).reshape(-1, 3),
        bound=torch.zeros(0, dtype=torch.long),
        texture=texture,
        dense=torch.zeros(0, 3, dtype=torch.long),
        lift=torch.full((len(vertices),), _SHADED),
    )
    natural = subject.hair_colour * min((_DARKEST / float(subject.hair_colour.mean())) ** 0.75, 1.0)
    return style, vertices, (natural + min(made_up, 1.0) * (_MASCARA - natural)).astype(np.float32)


def _cards(edge: np.ndarray, centre: np.ndarray, lid: int, length: float, curl: float, rng: np.random.Generator) -> np.ndarray:
    """(N, steps, 2, 3) strips that leave the edge (M, 3) of a lid away from the eyeball and curl away from the opening."""
    count = _CARDS[lid]
    far = np.r_[0, np.cumsum(np.linalg.norm(np.diff(edge, axis=0), axis=1))]
    place = (np.arange(count) + 0.5 + rng.uniform(-0.3, 0.3, count)) / count * 0.9 + 0.06
    at = lambda shares: np.stack([np.interp(shares * far[-1], far, edge[:, k]) for k in range(3)], 1)  # noqa: E731
    inner = at(place)
    along = unit(at(place + 0.02) - at(place - 0.02))
    out = unit(inner - centre)
    away = unit(np.cross(along, out))
    away *= np.sign(away[:, 1:2]) * (1 - 2 * lid)
    root = inner + LASH_ROOT_MM / 1000 * out
    size = length * (0.5 + 0.5 * np.sin(np.pi * (0.12 + 0.72 * place))) * rng.uniform(0.75, 1.1, count)
    fan = 1.1 * (place - 0.42) + rng.normal(0, 0.12, count)
    half = 0.75 * far[-1] / count
    steps = []
    for t in np.linspace(0, 1, _STEPS):
        rise = (curl + 0.35 + rng.normal(0, 0.04, count)) * t * t - 0.35 * t
        course = t * (1 - 0.2 * t) * out + (fan * t)[:, None] * along + rise[:, None] * away
        middle = root + size[:, None] * course
        wide = half * (1 - 0.25 * t) * along
        steps.append(np.stack([middle - wide, middle + wide], 1))
    return np.stack(steps, 1)


@lru_cache(maxsize=1)
def _strands() -> np.ndarray:
    """(rows, columns, 2) brightness and coverage of tufts side by side, roots above; strands taper."""
    rng = np.random.default_rng(7)
    rows, columns = _TEXTURE
    fine = 16
    cover = np.zeros((rows * fine, columns * fine), np.uint8)
    wide = columns * fine / _TUFTS
    for tuft in range(_TUFTS):
        meet = rng.uniform(-0.15, 0.15)  # tips of neighbours lean together
        for strand in range(_STRANDS):
            first = (strand + 0.5) / _STRANDS - 0.5 + rng.uniform(-0.07, 0.07)
            t = np.linspace(0, rng.uniform(0.6, 1.0), 7)
            x = (tuft + 0.5 + 0.86 * (first + (meet - first) * 0.35 * t)) * wide
            points = np.round(np.stack([x, t * rows * fine], 1)).astype(np.int32)
            for k in range(6):
                cv2.line(cover, points[k].tolist(), points[k + 1].tolist(), 255, max(1, round(1.0 * fine * (1 - k / 8))))
    small = cv2.resize(cover, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return np.ascontiguousarray(np.dstack([np.ones_like(small), small]))

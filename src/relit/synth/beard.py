"""Beards and moustaches: tufts of strands on small cards that grow from the skin and hang down."""

from functools import lru_cache

import cv2
import numpy as np
import torch

from relit.geometry.smoothstep import smoothstep
from relit.geometry.transforms import unit
from relit.geometry.uv import rasterise_uv
from relit.models.head import HeadModel
from relit.synth.geometry import Posed
from relit.synth.hair_cards import Style
from relit.synth.layout import layout
from relit.synth.subject import Subject

_LAYOUT = 256  # size of the layout that roots are drawn from
_CARDS = {"full": 3600, "goatee": 1500, "moustache": 700}
_STEPS = 4  # points along a card
_WIDTH_MM = (2.4, 4.2)
_TEXTURE, _TUFTS, _STRANDS = (96, 256), 8, 11  # texels, tufts side by side, strands of each
_UPPER_LIP, _LOWER_LIP = 0, 17  # landmarks
_EVERY = 3  # card of which the shadow is taken


def grown(subject: Subject, posed: Posed, model: HeadModel) -> tuple[Style, torch.Tensor]:
    """The cards of a subject's beard on its posed head, as a style of hair, and their vertices (H, 3).

    Differs: strands are drawn on cards that overlap, not one by one.
    """
    rng, here = subject.rng(25), layout(_LAYOUT)
    weight = _where(subject.beard, _LAYOUT)
    count = _CARDS[subject.beard]
    texel = rng.choice(weight.size, count, p=weight.ravel() / weight.sum())
    triangle, barycentric = _surface(model, _LAYOUT)
    corners = model.triangles[triangle.flatten()[texel]]
    share = barycentric.flatten(0, 1)[texel][..., None]
    root, normal = ((value[corners] * share).sum(1).numpy().astype(float) for value in (posed.vertices, posed.normals))
    normal = unit(normal)
    root += rng.normal(0, 5e-4, root.shape)  # between the texels
    mean_mm = here.position_mm.reshape(-1, 3)[texel]
    above = smoothstep(-4, 4, mean_mm[:, 1] - 1000 * model.mean[model.landmark_triangles[_LOWER_LIP, 0], 1].item())
    fall = np.stack([np.sign(mean_mm[:, 0]) * (0.15 + 0.75 * above), np.full(count, -1.0), 0.10 * np.ones(count)], 1)
    fall += rng.normal(0, 0.16, fall.shape)
    along = unit(fall - (fall * normal).sum(1, keepdims=True) * normal)
    chin = np.exp(-((mean_mm[:, 0] / 28) ** 2)) * (1 - above)
    length = subject.beard_mm * (0.55 + 0.45 * chin) * rng.uniform(0.65, 1.2, count) * np.where(above > 0.5, 0.6, 1)
    length = np.maximum(length, 4.0)[:, None] / 1000
    lift = rng.uniform(0.12, 0.55, count)[:, None]
    bend = rng.normal(0, 0.25, count)[:, None]
    side = unit(np.cross(along, normal) + rng.normal(0, 0.5, root.shape))
    half = rng.uniform(*_WIDTH_MM, count)[:, None] / 2000
    points = []
    for t in np.linspace(0, 1, _STEPS):
        drop = np.array([0, -0.25 * t * t, 0])
        middle = root + length * (t * along + lift * t * (1 - 0.4 * t) * normal + bend * t * t * side + drop)
        wide = half * (1 - 0.35 * t)
        points.append(np.stack([middle - wide * side, middle + wide * side], 1))
    vertices = np.stack(points, 1).reshape(-1, 3)  # card, step, side
    tuft = rng.integers(_TUFTS, size=count)[:, None, None]
    u = (tuft + np.array([0.04, 0.96])) / _TUFTS + np.zeros((1, _STEPS, 1))
    v = np.linspace(0.02, 0.98, _STEPS)[:, None] + np.zeros((count, 1, 2))
    cell = np.array([[0, 1, 3], [0, 3, 2]])
    card = np.concatenate([cell + 2 * k for k in range(_STEPS - 1)])
    triangles = (np.arange(count)[:, None, None] * 2 * _STEPS + card).reshape(-1, 3)
    casting = triangles.reshape(count, -1, 3)[::_EVERY].reshape(-1, 3)
    style = Style(
        points=torch.from_numpy(vertices.astype(np.float32)),
        uv=np.stack([u + 0 * v, v], -1).reshape(-1, 2).astype(np.float32),
        triangles=triangles,
        bound=torch.zeros(0, dtype=torch.long),
        texture=_strands(),
        dense=torch.from_numpy(casting),
        lift=torch.from_numpy(np.tile(np.repeat(np.linspace(0, 1, _STEPS), 2), count).astype(np.float32)),
    )
    return style, style.points


@lru_cache(maxsize=4)
def _where(shape: str, size: int) -> np.ndarray:
    """(S, S) how densely a beard of a shape grows on each texel."""
    here = layout(size)
    grows = here.masks["beard"] * (1 - 0.8 * here.masks["cheeks"]) * (1 - here.masks["lips"]) * (1 - here.masks["nostrils"])
    weight = smoothstep(0.3, 0.8, grows) * (here.part == 0)
    x, y = np.abs(here.position_mm[..., 0]), here.position_mm[..., 1]
    at = lambda mark: here.position_mm[tuple((here.landmarks[mark, ::-1] * size).astype(int))]  # noqa: E731
    upper = smoothstep(at(_LOWER_LIP)[1] - 6, at(_LOWER_LIP)[1] + 2, y) * smoothstep(36, 29, x)
    if shape == "moustache":
        return weight * upper * smoothstep(at(_UPPER_LIP)[1] - 9, at(_UPPER_LIP)[1] - 3, y)
    if shape == "goatee":
        return weight * smoothstep(31, 25, x) * (y > at(_LOWER_LIP)[1] - 50)
    return weight


@lru_cache(maxsize=1)
def _surface(model: HeadModel, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, size, size)
    return triangle.clamp_min(0), barycentric


@lru_cache(maxsize=1)
def _strands() -> np.ndarray:
    """(rows, columns, 2) brightness and coverage of tufts side by side, roots above."""
    rng = np.random.default_rng(4)
    rows, columns = _TEXTURE
    fine = 4
    cover, tone = np.zeros((rows * fine, columns * fine), np.uint8), np.full((rows * fine, columns * fine), 128, np.uint8)
    wide = columns * fine / _TUFTS
    for tuft in range(_TUFTS):
        for _ in range(_STRANDS):
            t = np.linspace(0, 1, 9)
            x = (tuft + 0.5 + rng.uniform(-0.4, 0.4) * (1 - 0.5 * t) + rng.normal(0, 0.07) * np.sin(5 * t)) * wide
            y = t * rows * fine * rng.uniform(0.6, 1.0)
            line = [np.round(np.stack([x, y], 1)).astype(np.int32)]
            cv2.polylines(tone, line, False, int(rng.integers(90, 175)), fine * 2)
            cv2.polylines(cover, line, False, 255, fine)
    small = [cv2.resize(p, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32) for p in (tone, cover)]
    return np.ascontiguousarray(np.dstack([small[0] / 128, np.clip(1.3 * small[1] / 255, 0, 1)]))

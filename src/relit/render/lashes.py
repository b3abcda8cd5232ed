"""Eyelashes: tufts of strands on small cards along the edges of the lids, which they follow when the eye closes."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.transforms import unit
from relit.models.head import HeadModel, load_head_model
from relit.models.regions import landmark_uv
from relit.render.cards import Cards, drawn_cards
from relit.render.eye_light import LASH_ROOT_MM, lid_edges_from_nose, posed_eye_centres
from relit.render.lid_shade import along_edge, lid_shades, shade_coverage
from relit.render.rasterise import sample
from relit.types import Camera, Lighting, ReflectanceMaps

# Upper and lower lid. Length of the longest as Na et al. 2006, see relit.render.eye_light.
_CARDS, _LENGTH_MM = (44, 30), (8.5, 4.8)
_DIP = 0.9, 0.35  # how steeply they set out towards the opening, before they curl away from it
_STEPS = 5  # points along a card
_TUFTS, _STRANDS, _TEXTURE = 8, 6, (24, 88)  # side by side, in each, texels: strands are finer than a pixel
_DRAWN = 16  # times the texture's size at which strands are drawn
_SHADED = -0.42  # lift as of roots: brows and lids take most of their light
_DARKEST = 0.02  # mean albedo of lashes under dark hair
_BROWS = (70, 63, 105, 66, 52, 53, 300, 293, 334, 296, 282, 283)  # MediaPipe indices within the brows


@dataclass(frozen=True)
class LashForm:
    """How somebody's lashes look."""

    length: float = 0.6  # of the longest
    curl: float = 0.2  # [0, 1]
    thickness: float = 0.8  # of the strands
    lower: float = 1.0  # number and length of the lower lid's, of the most; fewer stand apart


# Photos hardly tell lashes, so that avatars have everybody's: few below the eye, as in most portraits.
PLAIN = LashForm(lower=0.6)


def grown_lashes(
    model: HeadModel, vertices: Float[Tensor, "V 3"], form: LashForm, rng: np.random.Generator
) -> tuple[Cards, Float[Tensor, "N 3"]]:
    """The lashes on a posed head, and their vertices; of one generator's state they are the same lashes in every pose.

    Differs from hair: strands are drawn on cards that overlap, not one by one.
    """
    edges = lid_edges_from_nose(model, vertices)
    centres = posed_eye_centres(model, vertices).double().numpy()
    points, uv = [], []
    for eye, lid in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = form.lower if lid else 1.0
        card = _cards(edges[eye, lid], centres[eye], lid, share, _LENGTH_MM[lid] * form.length * share / 1000, form.curl, rng)
        points.append(card.reshape(-1, 3))
        tuft = rng.integers(_TUFTS, size=len(card))[:, None, None]
        u = (tuft + np.array([0.05, 0.95])) / _TUFTS + np.zeros((1, _STEPS, 1))
        v = np.linspace(0.02, 0.98, _STEPS)[:, None] + np.zeros((len(u), 1, 2))
        uv.append(np.stack([u, v], -1).reshape(-1, 2))
    placed = torch.from_numpy(np.concatenate(points).astype(np.float32))
    count = len(placed) // (2 * _STEPS)
    cell = np.array([[0, 1, 3], [0, 3, 2]])
    strip = np.concatenate([cell + 2 * k for k in range(_STEPS - 1)])
    cards = Cards(
        uv=np.concatenate(uv).astype(np.float32),
        triangles=(np.arange(count)[:, None, None] * 2 * _STEPS + strip).reshape(-1, 3),
        texture=np.dstack([np.ones(_TEXTURE, np.float32), lash_coverage(form)]),
        lift=torch.full((len(placed),), _SHADED),
    )
    return cards, placed


def lashes_of(model: HeadModel, vertices: Float[Tensor, "V 3"]) -> tuple[Cards, Float[Tensor, "N 3"]]:
    """The lashes that an avatar wears, and the shade of its lids: cards and their vertices on a posed head."""
    strands, grown = grown_lashes(model, vertices, PLAIN, np.random.default_rng(26))
    shades, places, triangles = lid_shades(model, vertices)
    placed = torch.cat([grown, torch.from_numpy(shades.astype(np.float32))])
    texture = lash_texture()
    share = _TEXTURE[1] / texture.shape[1]
    cards = Cards(
        uv=np.concatenate([strands.uv * [share, 1], places * [1 - share, 1] + [share, 0]]).astype(np.float32),
        triangles=np.concatenate([strands.triangles, len(grown) + triangles]),
        texture=np.dstack([np.ones(texture.shape, np.float32), texture]),
        lift=torch.full((len(placed),), _SHADED),
    )
    return cards, placed


def lash_texture(scale: int = 1) -> Float[np.ndarray, "rows columns"]:
    """[0, 1] the coverage of an avatar's lashes and, beside them, of the shade of its lids; `scale` as in `lash_coverage`."""
    return np.concatenate([lash_coverage(PLAIN, scale), shade_coverage(_TEXTURE[0], scale)], 1, dtype=np.float32)


def lash_colour(maps: ReflectanceMaps) -> Float[Tensor, "3"]:
    """The linear albedo of an avatar's lashes: darker than the brows, which they go with."""
    model = load_head_model()
    return natural_colour(sample(maps.diffuse_albedo, landmark_uv(model)[list(_BROWS)]).median(0).values)


def natural_colour(hair: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """The linear albedo of lashes that go with hair: darker, and less far apart than hair is."""
    return hair * min((_DARKEST / float(hair.mean())) ** 0.75, 1.0)


def drawn_lashes(
    maps: ReflectanceMaps, vertices: Float[Tensor, "V 3"], camera: Camera, lighting: Lighting, depth: Float[Tensor, "H W"]
) -> Float[Tensor, "H W 4"]:
    """The linear radiance of an avatar's lashes in a pose, multiplied by their coverage, and their coverage.

    Args:
        depth: of the head in the picture, as `drawn_cards`.
    """
    cards, placed = lashes_of(load_head_model(), vertices)
    return torch.from_numpy(drawn_cards(cards, placed, lash_colour(maps).numpy(), camera, lighting, depth))


def lash_coverage(form: LashForm, scale: int = 1) -> Float[np.ndarray, "rows columns"]:
    """[0, 1] the coverage of tufts side by side, roots above.

    Args:
        scale: times as fine as needed for pictures of a whole face; a divisor of 16.
    """
    return np.clip(_strands(scale) * form.thickness, 0, 1)


def _cards(
    edge: np.ndarray, centre: np.ndarray, lid: int, share: float, length: float, curl: float, rng: np.random.Generator
) -> np.ndarray:
    """(N, steps, 2, 3) strips that leave the edge (M, 3) of a lid away from the eyeball and curl away from the opening.

    Args:
        share: of the cards that stand side by side; fewer are narrower, too, and leave gaps.
    """
    count = round(_CARDS[lid] * share)
    at, whole = along_edge(edge)
    place = (np.arange(count) + 0.5 + rng.uniform(-0.3, 0.3, count)) / count * 0.9 + 0.06
    inner = at(place)
    along = unit(at(place + 0.02) - at(place - 0.02))
    out = unit(inner - centre)
    away = unit(np.cross(along, out))
    away *= np.sign(away[:, 1:2]) * (1 - 2 * lid)
    root = inner + LASH_ROOT_MM / 1000 * out
    size = length * (0.5 + 0.5 * np.sin(np.pi * (0.12 + 0.72 * place))) * rng.uniform(0.75, 1.1, count)
    fan = 1.1 * (place - 0.42) + rng.normal(0, 0.12, count)
    half = 0.75 * share**2 * whole / _CARDS[lid]
    dip, steps = _DIP[lid], []
    for t in np.linspace(0, 1, _STEPS):
        rise = (curl + dip + rng.normal(0, 0.04, count)) * t * t - dip * t
        course = t * (1 - 0.2 * t) * out + (fan * t)[:, None] * along + rise[:, None] * away
        middle = root + size[:, None] * course
        wide = half * (1 - 0.25 * t) * along
        steps.append(np.stack([middle - wide, middle + wide], 1))
    return np.stack(steps, 1)


@lru_cache(maxsize=2)
def _strands(scale: int) -> np.ndarray:
    """(rows, columns) coverage of tufts side by side, roots above; strands taper."""
    rng = np.random.default_rng(7)
    rows, columns = _TEXTURE
    cover = np.zeros((rows * _DRAWN, columns * _DRAWN), np.uint8)
    wide = columns * _DRAWN / _TUFTS
    for tuft in range(_TUFTS):
        meet = rng.uniform(-0.15, 0.15)  # tips of neighbours lean together
        for strand in range(_STRANDS):
            first = (strand + 0.5) / _STRANDS - 0.5 + rng.uniform(-0.07, 0.07)
            t = np.linspace(0, rng.uniform(0.6, 1.0), 7)
            x = (tuft + 0.5 + 0.86 * (first + (meet - first) * 0.35 * t)) * wide
            points = np.round(np.stack([x, t * rows * _DRAWN], 1)).astype(np.int32)
            for k in range(6):
                cv2.line(cover, points[k].tolist(), points[k + 1].tolist(), 255, max(1, round(1.0 * _DRAWN * (1 - k / 8))))
    return cv2.resize(cover, (columns * scale, rows * scale), interpolation=cv2.INTER_AREA).astype(np.float32) / 255

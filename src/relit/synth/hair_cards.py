"""Hair of the head as textured cards, bound to the scalp."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from relit.models.head import HeadModel
from relit.models.registry import load_tensors
from relit.render.cards import Cards
from relit.synth.geometry import Posed
from relit.types import Camera

BOUND_TO = 6  # skin vertices that carry each hair vertex
LEAST_GAP_M = 0.004  # from the skin below
OPACITY, _DENSE = 0.85, 0.9  # of hair in the way of light, and mean coverage from which a triangle counts
_INNER = np.array([(1, 1, 1), (4, 1, 1), (1, 4, 1), (1, 1, 4)]) / np.array([[3], [6], [6], [6]])  # points of a triangle
_SHADE_M = 0.012  # how far hair dims the skin beside it


@dataclass(frozen=True, kw_only=True)
class Style(Cards):
    """One hair style on the mean head."""

    points: Tensor  # (H, 3)
    bound: Tensor  # (H, BOUND_TO) head vertices
    dense: Tensor  # (D, 3) the triangles that are mostly covered: these throw shadows


@lru_cache(maxsize=1)
def style_names() -> tuple[str, ...]:
    """The shipped styles."""
    return tuple(sorted({key.split(".")[0] for key in load_tensors("hair")}))


@lru_cache(maxsize=8)
def load_style(name: str) -> Style:
    """A shipped style."""
    data = load_tensors("hair")
    picture = cv2.imdecode(data[f"{name}.texture"].numpy(), cv2.IMREAD_UNCHANGED).astype(np.float32)
    texture = np.ascontiguousarray(np.dstack([picture[..., 0] / 128, picture[..., 3] / 255]))
    uv, triangles = data[f"{name}.uv"].float().numpy(), data[f"{name}.triangles"].long()
    inner = np.einsum("kc,tcd->tkd", _INNER, uv[triangles.numpy()]) * texture.shape[1::-1]
    column, row = (inner[..., axis].astype(int).clip(0, texture.shape[1 - axis] - 1) for axis in (0, 1))
    return Style(
        points=data[f"{name}.points"].float(),
        uv=uv,
        triangles=triangles.numpy(),
        bound=data[f"{name}.bound"].long(),
        texture=texture,
        dense=triangles[torch.from_numpy(texture[row, column, 1].mean(1) > _DENSE)],
    )


def worn(style: Style, model: HeadModel, posed: Posed) -> Tensor:
    """(H, 3) the style's vertices on a posed head: carried by the skin around, and kept outside it."""
    away = (style.points[:, None] - model.mean[style.bound]).norm(dim=2)
    weight = 1 / (away**2 + 1e-4)
    weight = weight / weight.sum(1, keepdim=True)
    moved = posed.vertices - model.mean
    place = style.points + (moved[style.bound] * weight[..., None]).sum(1)
    nearest = style.bound[:, 0]
    gap = ((place - posed.vertices[nearest]) * posed.normals[nearest]).sum(1, keepdim=True)
    near = (place - posed.vertices[nearest]).norm(dim=1, keepdim=True) < 0.03
    return place + near * (LEAST_GAP_M - gap).clamp_min(0) * posed.normals[nearest]


def over_head(head: np.ndarray, hair: np.ndarray, camera: Camera) -> np.ndarray:
    """The head's picture (H, W, 4) with hair (H, W, 4) over it and its shade on the skin beside."""
    coverage = hair[..., 3:]
    reach = max(1.0, _SHADE_M * float(camera.focal_px) / float(camera.camera_from_head[2, 3]))
    beside = cv2.GaussianBlur(coverage, (0, 0), reach)[..., None]
    shaded = np.concatenate([head[..., :3] * (1 - 0.2 * beside), head[..., 3:]], -1)
    return (shaded * (1 - coverage) + hair).astype(np.float32)

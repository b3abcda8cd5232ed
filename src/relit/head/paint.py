"""Painting of parts that no photo shows well into the maps."""

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.uv import dilate, rasterise_uv
from relit.models.head import PARTS, HeadModel


def painted(
    model: HeadModel,
    texture: Float[Tensor, "H W C"],
    parts: tuple[str, ...],
    attribute: Float[Tensor, "V A"],
    colour: Callable[[Float[Tensor, "P A"]], Float[Tensor, "P C"]],
) -> Float[Tensor, "H W C"]:
    """The texture with some parts of the head repainted, gutters included.

    Args:
        parts: names from PARTS.
        attribute: what the colour depends on, at the welded vertices.
        colour: from interpolated attributes to colours.
    """
    top, inside, triangle, barycentric, targets, sources = _places(model, *texture.shape[:2], parts)
    result = texture.clone()
    strip = result[top:].flatten(0, 1)
    corners = attribute[model.triangles[triangle]]
    strip[inside] = colour((corners * barycentric[..., None]).sum(1))
    strip[targets] = strip[sources]
    return result


@lru_cache(maxsize=4)
def _places(
    model: HeadModel, rows: int, columns: int, parts: tuple[str, ...]
) -> tuple[int, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Where the layout shows some parts: first row, texels from there on, their triangles and barycentric coordinates,
    the texels of the gutters and the painted ones next to them.
    """
    wanted = torch.tensor([PARTS.index(name) for name in parts])
    height = model.uv[model.render_triangles[torch.isin(model.part, wanted)], 1] * rows
    gutter = max(2, rows // 256)
    top, bottom = max(0, int(height.min()) - gutter), min(rows, int(height.max()) + 1 + gutter)
    # the layout as seen through the strip of rows that holds these parts
    strip = torch.stack([model.uv[:, 0], (model.uv[:, 1] * rows - top) / (bottom - top)], 1)
    triangle, barycentric = rasterise_uv(strip, model.render_triangles, bottom - top, columns)
    inside = (triangle >= 0) & torch.isin(model.part[triangle.clamp_min(0)], wanted)
    numbers = torch.arange(triangle.numel()).view(*triangle.shape, 1)
    nearest = dilate(torch.where(inside[..., None], numbers, -1), inside, gutter)[..., 0]
    gutters = (triangle < 0) & (nearest >= 0)
    return top, numbers[inside][:, 0], triangle[inside], barycentric[inside], numbers[gutters][:, 0], nearest[gutters]

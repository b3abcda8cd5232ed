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
    inside, triangle, barycentric, targets, sources = _places(model, *texture.shape[:2], parts)
    result = texture.clone()
    texels = result.flatten(0, 1)
    corners = attribute[model.triangles[triangle]]
    texels[inside] = colour((corners * barycentric[..., None]).sum(1))
    texels[targets] = texels[sources]
    return result


@lru_cache(maxsize=4)
def _places(
    model: HeadModel, rows: int, columns: int, parts: tuple[str, ...]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Where the layout shows some parts: the texels, their triangles and barycentric coordinates, the texels of the gutters
    and the painted ones next to them.
    """
    wanted = torch.tensor([PARTS.index(name) for name in parts])
    size = torch.tensor([columns, rows])
    shown = model.uv[model.render_triangles[torch.isin(model.part, wanted)]].flatten(0, 1) * size
    gutter = max(2, rows // 256)
    low = (shown.amin(0).int() - gutter).clamp_min(0)
    width, height = (torch.minimum(shown.amax(0).int() + 1 + gutter, size) - low).tolist()
    # the layout as seen through the window that holds these parts
    window = (model.uv * size - low) / torch.tensor([width, height])
    triangle, barycentric = rasterise_uv(window, model.render_triangles, height, width)
    inside = (triangle >= 0) & torch.isin(model.part[triangle.clamp_min(0)], wanted)
    left, top = low.tolist()
    numbers = ((torch.arange(height) + top)[:, None] * columns + torch.arange(width) + left)[..., None]
    nearest = dilate(torch.where(inside[..., None], numbers, -1), inside, gutter)[..., 0]
    gutters = (triangle < 0) & (nearest >= 0)
    return numbers[inside][:, 0], triangle[inside], barycentric[inside], numbers[gutters][:, 0], nearest[gutters]

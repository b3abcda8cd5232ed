"""Painting of parts that no photo shows well into the maps."""

from collections.abc import Callable

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
    rows, columns = texture.shape[:2]
    wanted = torch.tensor([PARTS.index(name) for name in parts])
    height = model.uv[model.render_triangles[torch.isin(model.part, wanted)], 1] * rows
    gutter = max(2, rows // 256)
    top, bottom = max(0, int(height.min()) - gutter), min(rows, int(height.max()) + 1 + gutter)
    # the layout as seen through the strip of rows that holds these parts
    strip = torch.stack([model.uv[:, 0], (model.uv[:, 1] * rows - top) / (bottom - top)], 1)
    triangle, barycentric = rasterise_uv(strip, model.render_triangles, bottom - top, columns)
    inside = (triangle >= 0) & torch.isin(model.part[triangle.clamp_min(0)], wanted)
    corners = attribute[model.triangles[triangle[inside]]]
    before = texture[top:bottom]
    after = before.clone()
    after[inside] = colour((corners * barycentric[inside][..., None]).sum(1))
    free = (inside | (triangle < 0))[..., None]
    result = texture.clone()
    result[top:bottom] = torch.where(free, dilate(after, inside, gutter), before)
    return result

"""Eyeball textures."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from relit.models.eye_texture import eye_albedo
from relit.models.head import PARTS, HeadModel


def paint_eyes(
    model: HeadModel,
    albedo: Float[Tensor, "H W 3"],
    triangle: Int[Tensor, "H W"],
    barycentric: Float[Tensor, "H W 3"],
    iris_colour: Float[Tensor, "3"],
) -> Float[Tensor, "H W 3"]:
    """The albedo map with both eyeballs painted in the given iris colour.

    Args:
        triangle, barycentric: of the texels, from `rasterise_uv`.
    """
    result = albedo.clone()
    for side, name in enumerate(("left_eye", "right_eye")):
        inside = (triangle >= 0) & (model.part[triangle.clamp_min(0)] == PARTS.index(name))
        offsets = torch.zeros_like(model.mean)
        offsets[model.eye_vertices[side]] = model.eye_template
        corners = offsets[model.triangles[triangle[inside]]]
        points = (corners * barycentric[inside][..., None]).sum(1)
        result[inside] = eye_albedo(points, iris_colour)
    return result

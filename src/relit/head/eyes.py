"""The eyeballs' textures, and the flesh in the corners of the eyes."""

import torch
from jaxtyping import Float
from torch import Tensor

from relit.head.paint import painted
from relit.models.eye_texture import eye_albedo
from relit.models.head import HeadModel

FLESH = (0.58, 0.33, 0.28)  # of the inner corner of the eye and the inside of the lids


def paint_eyes(
    model: HeadModel, albedo: Float[Tensor, "H W 3"], iris_colour: Float[Tensor, "3"]
) -> Float[Tensor, "H W 3"]:
    """The albedo map with both eyeballs painted in the given iris colour, and the flesh in the corners of the eyes."""
    flesh = lambda place: torch.tensor(FLESH).expand(len(place), 3)  # noqa: E731
    albedo = painted(model, albedo, ("eye_sockets",), model.mean, flesh)
    offsets = torch.zeros_like(model.mean)
    offsets[model.eye_vertices[0]] = model.eye_template
    offsets[model.eye_vertices[1]] = model.eye_template
    return painted(model, albedo, ("left_eye", "right_eye"), offsets, lambda offset: eye_albedo(offset, iris_colour))

"""Colours of teeth, gums, tongue and the lining of the mouth."""

import torch
from jaxtyping import Float
from torch import Tensor

from relit.head.paint import painted
from relit.models.head import PARTS, HeadModel

# Linear albedo. Teeth: CIELAB about (80, 1, 14) in the middle, after Hasegawa et al. 2000, "Color of natural tooth crown
# in Japanese people"; they darken and yellow towards the neck and turn translucent grey at the edge.
TOOTH, TOOTH_NECK, TOOTH_EDGE = (0.70, 0.64, 0.55), (0.62, 0.51, 0.38), (0.60, 0.58, 0.53)
GUM, THROAT, TONGUE = (0.50, 0.20, 0.17), (0.32, 0.09, 0.08), (0.52, 0.22, 0.19)
CROWN_M = 0.010  # height of an upper front tooth's crown
THROAT_M = (0.03, 0.06)  # behind the lips: where the mouth darkens from the colour of gums to that of the throat


def paint_mouth(model: HeadModel, albedo: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W 3"]:
    """The albedo map with the inside of the mouth painted, gutters included."""
    place = model.mean[:, 1:]
    for part, up in (("upper_teeth", 1.0), ("lower_teeth", -1.0)):
        vertices = model.triangles[model.part == PARTS.index(part)].unique()
        edge = (up * model.mean[vertices, 1]).amin()
        rise = (up * model.mean[:, 1:2] - edge) / CROWN_M
        albedo = painted(model, albedo, (part,), rise, _tooth)
    lips = model.mean[model.landmark_triangles[13, 0], 2]
    depth = ((lips - place[:, 1:] - THROAT_M[0]) / (THROAT_M[1] - THROAT_M[0])).clamp(0, 1)
    albedo = painted(model, albedo, ("mouth",), depth, lambda t: _mix(GUM, THROAT, t))
    return painted(model, albedo, ("tongue",), depth, lambda t: _mix(TONGUE, THROAT, 0.6 * t))


def _tooth(rise: Float[Tensor, "P 1"]) -> Float[Tensor, "P 3"]:
    """The colour at a height above the cutting edge, in crowns."""
    body = _mix(TOOTH, TOOTH_NECK, (1.4 * rise - 0.5).clamp(0, 1))
    edge = (1 - 7 * rise).clamp(0, 1)
    return body * (1 - edge) + torch.tensor(TOOTH_EDGE) * edge


def _mix(start: tuple, end: tuple, share: Float[Tensor, "P 1"]) -> Float[Tensor, "P 3"]:
    return torch.tensor(start) * (1 - share) + torch.tensor(end) * share

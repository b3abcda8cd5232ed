"""Baked occlusion of eyes and mouth, for engines that do not work out their own."""

import torch
from jaxtyping import Float
from torch import Tensor

from relit.head.paint import painted
from relit.models.head import ARKIT_NAMES, HeadModel, eye_centres
from relit.render.eye_light import at_eye, eye_transfer
from relit.render.occlusion import FULL_VISIBILITY, ambient_occlusion, light_transfer, multiple_bounces

LIDS_ALBEDO, MOUTH_ALBEDO = 0.15, 0.5  # of what sends light on there
# Teeth and tongue are seen with the mouth open only: their occlusion is that of a laugh.
LAUGH = ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthSmileLeft", "mouthSmileRight")
LAUGH_WEIGHT, JAW_WEIGHT = 0.6, 0.25


def bake_eyes_and_mouth(
    model: HeadModel, occlusion: Float[Tensor, "H W"], neutral: Float[Tensor, "V 3"], morphs: Float[Tensor, "52 V 3"]
) -> Float[Tensor, "H W"]:
    """The occlusion map with the shade of lids and lashes on the eyeballs, and with the mouth as it is when open."""
    texture = occlusion[..., None]
    seen = eye_transfer(model, neutral, eye_centres(model, neutral))[:, :1] / FULL_VISIBILITY
    for side, name in enumerate(("left_eye", "right_eye")):
        offset = torch.zeros_like(neutral)
        offset[model.eye_vertices[side]] = model.eye_template

        def shade(place: Tensor, side: int = side) -> Tensor:
            visibility = at_eye(seen, place, torch.full((len(place),), side)).clamp(0, 1)
            return multiple_bounces(visibility, torch.full_like(visibility, LIDS_ALBEDO))

        texture = painted(model, texture, (name,), offset, shade)
    laugh = neutral + LAUGH_WEIGHT * sum(morphs[ARKIT_NAMES.index(name)] for name in LAUGH)
    laugh = laugh + JAW_WEIGHT * morphs[ARKIT_NAMES.index("jawOpen")]
    visibility = ambient_occlusion(light_transfer(laugh, model.triangles, MOUTH_ALBEDO))[:, None]
    mouth = ("mouth", "upper_teeth", "lower_teeth", "tongue")
    return painted(model, texture, mouth, visibility, lambda value: value)[..., 0]

"""Baked occlusion, for engines that do not work out their own."""

import cv2
import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.uv import dilate, rasterise_uv
from relit.head.paint import painted
from relit.models.head import ARKIT_NAMES, PARTS, HeadModel, eye_centres
from relit.render.eye_light import at_eye, eye_transfer
from relit.render.occlusion import FULL_VISIBILITY, ambient_occlusion, light_transfer, multiple_bounces
from relit.render.rasterise import Fragments, interpolate

LIDS_ALBEDO, MOUTH_ALBEDO = 0.15, 0.5  # of what sends light on there
# Teeth and tongue are seen with the mouth open only: their occlusion is that of a laugh.
LAUGH = ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthSmileLeft", "mouthSmileRight")
LAUGH_WEIGHT, JAW_WEIGHT = 0.6, 0.25
MOUTH = "mouth", "upper_teeth", "lower_teeth", "tongue"
SMOOTH_SIDE = 512  # texels: enough for what varies no faster than the mesh


def baked_occlusion(
    model: HeadModel, neutral: Float[Tensor, "V 3"], morphs: Float[Tensor, "52 V 3"], size: tuple[int, int]
) -> Float[Tensor, "H W"]:
    """Ambient visibility of the neutral head at every texel; of eyes and mouth as `with_eyes_and_mouth`."""
    smooth = min(size[0], SMOOTH_SIDE), min(size[1], SMOOTH_SIDE)
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, *smooth)
    visibility = ambient_occlusion(light_transfer(neutral, model.triangles))[:, None]
    shown = interpolate(visibility, model.triangles, Fragments(triangle, barycentric, torch.zeros(())))
    shown = dilate(shown, triangle >= 0, 8).numpy()
    large = torch.from_numpy(cv2.resize(shown, size[::-1], interpolation=cv2.INTER_CUBIC)).clamp_(0, float(shown.max()))
    return with_eyes_and_mouth(model, large, neutral, morphs)


def with_eyes_and_mouth(
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
    inside = torch.zeros(len(neutral), dtype=torch.bool)
    inside[model.triangles[torch.isin(model.part, torch.tensor([PARTS.index(name) for name in MOUTH]))]] = True
    visibility = ambient_occlusion(light_transfer(laugh, model.triangles, MOUTH_ALBEDO, traced=inside))[:, None]
    return painted(model, texture, MOUTH, visibility, lambda value: value)[..., 0]

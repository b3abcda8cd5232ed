"""(Observations, FaceFits, ReflectanceMaps) -> the neutral head with its rig and eyes."""

from dataclasses import replace

import torch

from relit.head.eyes import iris_colour, paint_eyes
from relit.models.head import HeadModel, expression_morphs, neutral_vertices
from relit.types import FaceFit, Head, Observation, ReflectanceMaps

BROWN = torch.tensor([0.06, 0.028, 0.014])  # the commonest iris colour, where the photo does not tell
LID_SHADE = 0.6  # of the light from the front that reaches an iris between the lids, mean over faces


def assemble_head(
    model: HeadModel, observations: tuple[Observation, ...], fits: tuple[FaceFit, ...], maps: ReflectanceMaps
) -> Head:
    """The neutral head: the photo's expression is removed and kept as the pose of `Head.fits`."""
    neutral = neutral_vertices(model, fits[0].identity, fits[0].vertex_offset)
    seen = [iris_colour(observation, fit) for observation, fit in zip(observations, fits, strict=True)]
    told = [colour for colour in seen if colour is not None]
    iris = torch.stack(told).mean(0) if told else BROWN
    return Head(
        vertices=neutral,
        morphs=expression_morphs(model, neutral),
        maps=replace(maps, diffuse_albedo=paint_eyes(model, maps.diffuse_albedo, iris)),
        fits=fits,
        iris_colour=iris,
    )


def _without_light(colour: Tensor, fit: FaceFit) -> Tensor:
    """Iris albedo from its radiance in the photo, with the light that comes from straight ahead."""
    irradiance = diffuse_irradiance(fit.lighting.sh, torch.tensor([0.0, 0.0, 1.0])).clamp_min(0.05)
    return (colour / fit.exposure * math.pi / (LID_SHADE * irradiance)).clamp(0.01, 0.45)

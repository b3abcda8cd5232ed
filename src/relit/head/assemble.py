"""(Observations, FaceFits, ReflectanceMaps) -> the neutral head with its rig and eyes."""

from dataclasses import replace

import torch

from relit.head.eyes import iris_colour, paint_eyes
from relit.models.head import HeadModel, expression_morphs, neutral_vertices
from relit.types import FaceFit, Head, Observation, ReflectanceMaps

BROWN = torch.tensor([0.06, 0.028, 0.014])  # the commonest iris colour, where the photo does not tell


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

"""(Observations, FaceFits, ReflectanceMaps) -> the neutral head with its rig and eyes."""

from dataclasses import replace

import torch

from relit.head.eyes import paint_eyes
from relit.head.iris import BROWN, iris_colour
from relit.head.mouth import paint_mouth
from relit.head.occlusion import baked_occlusion
from relit.head.rest import with_own_lids
from relit.models.head import HeadModel, expression_morphs, neutral_vertices
from relit.types import FaceFit, Head, Observation, ReflectanceMaps


def assemble_head(
    model: HeadModel, observations: tuple[Observation, ...], fits: tuple[FaceFit, ...], maps: ReflectanceMaps
) -> Head:
    """The neutral head: the photo's expression is removed and kept as the pose of `Head.fits`."""
    fits = with_own_lids(model, fits)
    neutral = neutral_vertices(model, fits[0].identity, fits[0].vertex_offset)
    head = Head(
        vertices=neutral,
        morphs=expression_morphs(model, neutral),
        maps=replace(maps, diffuse_albedo=paint_mouth(model, maps.diffuse_albedo)),
        fits=fits,
        iris_colour=BROWN,
    )
    seen = [iris_colour(model, head, observation, fit) for observation, fit in zip(observations, fits, strict=True)]
    told = [colour for colour in seen if colour is not None]
    iris = torch.stack(told).mean(0) if told else BROWN
    albedo = paint_eyes(model, head.maps.diffuse_albedo, iris)
    occlusion = baked_occlusion(model, neutral, head.morphs, albedo.shape[:2])
    return replace(head, maps=replace(maps, diffuse_albedo=albedo, occlusion=occlusion), iris_colour=iris)

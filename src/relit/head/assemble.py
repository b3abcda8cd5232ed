"""(FaceFits, ReflectanceMaps) -> the neutral head with its rig and eyes."""

from dataclasses import replace

import torch

from relit.geometry.uv import rasterise_uv
from relit.head.eyes import paint_eyes
from relit.models.head import HeadModel, expression_morphs, neutral_vertices
from relit.types import FaceFit, Head, Observation, ReflectanceMaps

BROWN = torch.tensor([0.09, 0.045, 0.022])  # the commonest iris colour, where the photo does not tell


def assemble_head(
    model: HeadModel, observations: tuple[Observation, ...], fits: tuple[FaceFit, ...], maps: ReflectanceMaps
) -> Head:
    """The neutral head: the photo's expression is removed and kept as the pose of `Head.fits`."""
    neutral = neutral_vertices(model, fits[0].identity, fits[0].vertex_offset)
    told = [o.iris_colour for o in observations if o.iris_colour is not None]
    iris = torch.stack(told).mean(0) if told else BROWN
    rows, columns = maps.diffuse_albedo.shape[:2]
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, rows, columns)
    painted = paint_eyes(model, maps.diffuse_albedo, triangle, barycentric, iris)
    return Head(
        vertices=neutral,
        morphs=expression_morphs(model, neutral),
        maps=replace(maps, diffuse_albedo=painted),
        fits=fits,
        iris_colour=iris,
    )

"""(Observations, fits) -> ReflectanceMaps."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from relit.geometry.uv import dilate
from relit.maps.complete import complete
from relit.maps.delight import delight
from relit.maps.infer import infer_surface
from relit.maps.unwrap import texels, unwrap
from relit.models.head import HeadModel, neutral_vertices
from relit.models.skin import load_skin_model, skin_albedo
from relit.render.occlusion import ambient_occlusion, light_transfer
from relit.render.rasterise import interpolate
from relit.types import FaceFit, Observation, ReflectanceMaps

GUTTER = 16  # texels


def build_maps(
    model: HeadModel,
    observations: tuple[Observation, ...],
    fits: tuple[FaceFit, ...],
    size: tuple[int, int],
    seed: int = 0,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> ReflectanceMaps:
    """The maps of one person from one or several photos with their fits.

    Args:
        size: rows and columns.
        seed: of synthesised skin detail.
        step: told (done, total) as the work goes on.
    """
    total = len(fits) + 3
    fragments = texels(model, *size)
    base = _enlarged(skin_albedo(load_skin_model(), fits[0].albedo), size)
    weighted, weight, confidence = torch.zeros(*size, 3), torch.zeros(size), torch.zeros(size)
    for index, (observation, fit) in enumerate(zip(observations, fits, strict=True)):
        ratio, trust = delight(unwrap(model, observation, fit, fragments), base)
        # a sharp preference for the better view, so that two slightly misplaced views do not blur each other
        weighted += ratio * (trust**4)[..., None]
        weight += trust**4
        confidence = torch.maximum(confidence, trust)
        step(index + 1, total)
    albedo = complete(weighted / weight.clamp_min(1e-8)[..., None], confidence, base, seed)
    covered = fragments.triangle >= 0
    albedo = dilate(albedo, covered, GUTTER)
    step(len(fits) + 1, total)
    surface = infer_surface(albedo, confidence, seed)
    step(len(fits) + 2, total)
    neutral = neutral_vertices(model, fits[0].identity, fits[0].vertex_offset)
    visibility = ambient_occlusion(light_transfer(neutral, model.triangles))
    occlusion = dilate(interpolate(visibility[:, None], model.triangles, fragments), covered, GUTTER)
    step(total, total)
    return ReflectanceMaps(
        diffuse_albedo=albedo,
        specular_albedo=surface.specular_albedo,
        roughness=surface.roughness,
        diffuse_normal=surface.diffuse_normal,
        specular_normal=surface.specular_normal,
        displacement_mm=surface.displacement_mm,
        occlusion=occlusion[..., 0],
        confidence=confidence,
    )


def _enlarged(texture: Tensor, size: tuple[int, int]) -> Tensor:
    planes = texture.detach().permute(2, 0, 1)[None]
    return resize(planes, size, mode="bicubic", align_corners=False)[0].permute(1, 2, 0).clamp(1e-3, 1)

"""Deferred shading: from what a pixel sees to the light it sends to the eye."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.brdf import LOBE_ROUGHNESS, NARROW_WEIGHT, environment_reflectance, ggx, split_sum
from relit.appearance.harmonics import PrefilteredLight, sphere_directions
from relit.appearance.lighting import LIGHT_RADIUS_RAD, prefilter, specular_radiance, table_irradiance
from relit.render import kernels, shade_kernel
from relit.render.occlusion import multiple_bounces
from relit.types import Lighting

MIRROR_ROUGHNESS, MIRROR_CONTRAST = 0.12, 8.0  # smoother surfaces show the sources that harmonics blur as small spots
# Of the mean irradiance: what reaches every surface that is not hidden. Truncated harmonics fall below zero opposite bright
# sources, and a fitted light where no photo shows its effect; black there would glow red with the light below the skin.
LEAST_IRRADIANCE = 0.08
RELIEF_SLOPE = 1.6  # of relief finer than the maps, per squared roughness; by eye, on dark skin in uniform light


@dataclass(frozen=True)
class Surface:
    """Surface points that are seen, and how much of the light reaches them. `L` counts the directional lights."""

    towards_eye: Float[Tensor, "P 3"]
    geometry_normal: Float[Tensor, "P 3"]
    diffuse_normal: Float[Tensor, "P 3"]
    specular_normal: Float[Tensor, "P 3"]
    albedo: Float[Tensor, "P 3"]
    f0: Float[Tensor, "P"]
    roughness: Float[Tensor, "P"]
    irradiance: Float[Tensor, "P 3"]  # of the harmonics with self-shadowing, on the geometry normal, without bounces
    visibility: Float[Tensor, "P"]  # ambient, without bounces
    open_direction: Float[Tensor, "P 3"]  # unit, the mean direction that is not hidden ("bent normal")
    lit: Float[Tensor, "P L"]  # 1 where the directional light arrives, 0 in shadow
    surroundings: Float[Tensor, "P 3"] | None = None  # albedo of what hides the sky; default that of the surface itself


def shade(surface: Surface, lighting: Lighting) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P 3"]]:
    """The irradiance that the diffuse part receives, and the specular radiance towards the eye.

    The picture is `albedo / pi * irradiance + specular`; both parts are returned, so that light can be spread below
    the skin in between. Differentiable.

    Self-shadowing of the harmonics comes from the transfer vectors at the vertices; a normal map changes the
    irradiance by the difference of the unshadowed light on its normal and on the geometry's, times the visibility.
    """
    light = prefilter(lighting.sh)
    around = surface.albedo if surface.surroundings is None else surface.surroundings
    if _by_loop(surface, lighting):
        return _shaded_by_loop(surface, around, light, lighting)
    detail = table_irradiance(light, surface.diffuse_normal) - table_irradiance(light, surface.geometry_normal)
    visibility = surface.visibility.clamp_min(0.02)
    ambient = torch.maximum(surface.irradiance + surface.visibility[:, None] * detail, visibility[:, None] * _least(lighting))
    bounced = multiple_bounces(visibility[:, None].expand(-1, 3), around) / visibility[:, None]
    irradiance = ambient * bounced

    n_dot_v = (surface.specular_normal * surface.towards_eye).sum(-1).clamp(1e-3, 1)
    mirror = normalize(2 * n_dot_v[:, None] * surface.specular_normal - surface.towards_eye, dim=-1)
    reflected = specular_radiance(light, mirror, surface.roughness)
    smooth = surface.roughness < MIRROR_ROUGHNESS
    if smooth.any():
        reflected = torch.where(smooth[:, None], _resolved(reflected, light), reflected)
    masking = relief_masking(n_dot_v, surface.roughness)
    reflectance = environment_reflectance(n_dot_v, surface.f0, surface.roughness) * masking
    reflectance = reflectance * specular_visibility(
        surface.visibility, surface.open_direction, surface.geometry_normal, mirror, surface.roughness
    )
    specular = reflected * reflectance[:, None]

    for index in range(len(lighting.directions)):
        towards_light = lighting.directions[index]
        power = surface.lit[:, index, None] * lighting.irradiance[index]
        irradiance = irradiance + power * (surface.diffuse_normal @ towards_light).clamp_min(0)[:, None]
        specular = specular + power * (_highlight(surface, towards_light) * masking)[:, None]
    return irradiance, specular


def _least(lighting: Lighting) -> Tensor:
    """(3,) the least irradiance of an open surface."""
    return LEAST_IRRADIANCE * 0.5 * math.sqrt(math.pi) * lighting.sh[0].clamp_min(0)


def _by_loop(surface: Surface, lighting: Lighting) -> bool:
    """Whether nobody asks for gradients and all is where the loop can read it."""
    given = [value for value in (*vars(surface).values(), *vars(lighting).values()) if value is not None]
    wanted = torch.is_grad_enabled() and any(value.requires_grad for value in given)
    return not wanted and all(value.device.type == "cpu" and value.dtype == torch.float32 for value in given)


def _shaded_by_loop(surface: Surface, around: Tensor, light: PrefilteredLight, lighting: Lighting) -> tuple[Tensor, Tensor]:
    """`shade` by `relit.render.shade_kernel`."""
    frames = (
        surface.towards_eye,
        surface.geometry_normal,
        surface.diffuse_normal,
        surface.specular_normal,
        surface.open_direction,
    )
    numbers = surface.f0, surface.roughness, surface.visibility
    colours = surface.irradiance, around
    frames, numbers, colours = (tuple(x.contiguous().numpy() for x in some) for some in (frames, numbers, colours))
    lit, lamps = surface.lit.contiguous().numpy(), torch.stack([lighting.directions, lighting.irradiance], 1).numpy()
    tables = light.table.permute(1, 2, 3, 0).contiguous().numpy(), split_sum()[0].numpy(), _least(lighting).numpy()
    sharp = bool((surface.roughness < MIRROR_ROUGHNESS).any())
    mirror = MIRROR_ROUGHNESS, MIRROR_CONTRAST, float(_gain(light)) if sharp else 0.0, RELIEF_SLOPE
    given = frames, numbers, colours, lit, lamps, tables, mirror
    out = np.empty((len(lit), 6), np.float32)
    kernels.in_bands(len(out), lambda _, a, b: shade_kernel.shade_points(*given, out, a, b))
    return torch.from_numpy(out).split(3, 1)


def _resolved(reflected: Tensor, light: PrefilteredLight) -> Tensor:
    """Radiance seen in a mirror: harmonics blur small sources, so contrast is raised; the mean over the sphere stays."""
    return reflected * reflected.clamp_min(0).mean(1, keepdim=True) ** (MIRROR_CONTRAST - 1) * _gain(light)


def _gain(light: PrefilteredLight) -> Tensor:
    around = sphere_directions(256).to(light.table)
    scene = specular_radiance(light, around, around.new_full((len(around),), MIRROR_ROUGHNESS)).clamp_min(0).mean(1)
    return scene.mean() / (scene**MIRROR_CONTRAST).mean().clamp_min(1e-12)


def relief_masking(n_dot_v: Float[Tensor, "P"], roughness: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
    """The part of a rough surface's gloss that relief too fine for the maps leaves visible at grazing angles.

    Without it the outline of skin glows white: Fresnel's law alone holds for a surface without furrows and down.

    Source: Smith's masking with a GGX distribution of slopes, Walter et al. 2007, equation 34. Differs: the slopes of
    the relief are taken to grow with the roughness of what they carry, by RELIEF_SLOPE.
    """
    slope = RELIEF_SLOPE * roughness**2
    tangent_squared = 1 / n_dot_v.clamp_min(1e-3) ** 2 - 1
    return 2 / (1 + (1 + slope**2 * tangent_squared).sqrt())


def specular_visibility(
    visibility: Float[Tensor, "P"],
    open_direction: Float[Tensor, "P 3"],
    normal: Float[Tensor, "P 3"],
    mirror: Float[Tensor, "P 3"],
    roughness: Float[Tensor, "P"],
) -> Float[Tensor, "P"]:
    """Fraction of the reflected environment that is not hidden; 1 on open surfaces.

    The open sky is a cone about the open direction that holds the visible cosine-weighted share; what counts is how
    far the lobe's cone about the mirror direction lies in it, against the same on an open surface (the hemisphere).

    Source: cone intersection, Jimenez et al. 2016, section 4. Differs: angles overlap linearly, smoothed.
    """
    lobe = 0.2 + 0.7 * roughness  # half-angle in radians that holds most of a GGX lobe
    sky = torch.acos((1 - visibility).clamp(1e-4, 1 - 1e-4).sqrt())

    def overlap(axis: Tensor, half_angle: Tensor) -> Tensor:
        between = torch.acos((axis * mirror).sum(-1).clamp(-0.9999, 0.9999))
        share = ((half_angle + lobe - between) / (2 * lobe)).clamp(0, 1)
        return share * share * (3 - 2 * share)

    whole = overlap(normal, torch.full_like(sky, torch.pi / 2)).clamp_min(1e-3)
    return (overlap(open_direction, sky) / whole).clamp(0, 1)


def _highlight(surface: Surface, towards_light: Tensor) -> Tensor:
    """Two GGX lobes times the cosine to the light."""
    towards_light = towards_light.expand_as(surface.specular_normal)
    cosine = (surface.specular_normal * towards_light).sum(-1).clamp_min(0)
    lobes = [
        ggx(
            surface.specular_normal,
            towards_light,
            surface.towards_eye,
            surface.f0,
            (surface.roughness * factor).clamp_max(1),
            LIGHT_RADIUS_RAD,
        )
        for factor in LOBE_ROUGHNESS
    ]
    return cosine * (lobes[0] * (1 - NARROW_WEIGHT) + lobes[1] * NARROW_WEIGHT)

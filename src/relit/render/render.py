"""The differentiable render that the fit compares with a photo; the final one is `relit.render.portrait`."""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.brdf import environment_reflectance, ggx
from relit.appearance.harmonics import BAND, cosine_lobe, sh_basis, specular_radiance
from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.models.head import HeadModel
from relit.render.occlusion import ambient_occlusion, open_direction
from relit.render.portrait import render_head, tonemap_srgb
from relit.render.rasterise import Fragments, antialias, covered, interpolate, rasterise, sample
from relit.render.shade import specular_visibility
from relit.types import Camera, Lighting

__all__ = ["render_fit", "render_head", "tonemap_srgb"]
SKIN_F0 = 0.028
SKIN_ROUGHNESS = 0.5


def render_fit(
    model: HeadModel,
    vertices: Float[Tensor, "V 3"],
    albedo: Shaped[Tensor, "..."],
    camera: Camera,
    lighting: Lighting,
    transfer: Float[Tensor, "V 81"],
    reference: Float[Tensor, "V 3"] | None = None,
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"], Fragments]:
    """Linear radiance multiplied by coverage, coverage, and fragments; differentiable in everything but `transfer`.

    Over a background the picture is `image + background * (1 - coverage)`: gradients of that reach the silhouette.
    Light is evaluated at the vertices, albedo at the pixels: harmonics are smooth against a mesh of 2 mm.

    Args:
        albedo: a texture (H, W, 3) in the UV layout, or one albedo per vertex (V, 3).
        transfer: from `light_transfer`; it stays fixed while the shape changes.
        reference: the normals that the transfer was computed for. Their turn since then changes the light as far as the
            sky is visible. Default: those of the vertices.
    """
    pixels = project(camera, vertices)
    fragments = rasterise(pixels, model.triangles, camera.size_px)
    normals = vertex_normals(vertices, model.triangles)
    before = normals.detach() if reference is None else reference
    used = used_vertices(model.triangles, fragments, len(vertices))
    towards_eye = normalize(camera_centre(camera) - vertices[used], dim=-1)
    light = vertex_light(normals[used], before[used], towards_eye, lighting, transfer[used])
    light_of = light.new_zeros(len(vertices), 7).index_copy(0, used, light)
    pixel, listed = covered(fragments)
    if albedo.dim() == 2:
        lit = interpolate(torch.cat([light_of, albedo], 1), model.triangles, listed)[:, 0]
        skin = lit[:, 7:]
    else:
        lit = interpolate(torch.cat([light_of[model.render_vertex], model.uv], 1), model.render_triangles, listed)[:, 0]
        skin = sample(albedo, lit[:, 7:])
    colour = torch.cat([skin * lit[:, :3] + lit[:, 3:6], lit[:, 6:7]], 1)
    picture = colour.new_zeros(fragments.triangle.numel(), 4).index_copy(0, pixel, colour)
    picture = antialias(picture.unflatten(0, fragments.triangle.shape), fragments, pixels, model.triangles)
    image, coverage = picture.split((3, 1), 2)
    return image, coverage[..., 0], fragments


def used_vertices(triangles: Tensor, fragments: Fragments, count: int) -> Tensor:
    """The vertices of the triangles that are seen."""
    seen = torch.zeros(len(triangles) + 1, dtype=torch.bool, device=triangles.device)
    seen[fragments.triangle] = True  # -1 marks the extra last entry
    used = torch.zeros(count, dtype=torch.bool, device=triangles.device)
    used[triangles[seen[:-1]]] = True
    return used.nonzero()[:, 0]


def vertex_light(
    normals: Tensor, normals_before: Tensor, towards_eye: Tensor, lighting: Lighting, transfer: Tensor
) -> Tensor:
    """(V, 7): irradiance over pi, specular radiance, and 1; that of `relit.render.shade` with constant gloss, no relief.

    Directional lights cast no shadows here.
    """
    diffuse, dark, rise = light_parts(normals, normals_before, towards_eye, lighting, transfer)
    return torch.cat([diffuse, dark + SKIN_F0 * rise, torch.ones_like(diffuse[:, :1])], 1)


def light_parts(
    normals: Tensor, normals_before: Tensor, towards_eye: Tensor, lighting: Lighting, transfer: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(V, 3) each: irradiance over pi; specular radiance where F0 is 0; and what it gains per unit of F0.

    Args:
        normals_before: those that the transfer was computed for.
    """
    visibility = ambient_occlusion(transfer)
    turn = sh_basis(normals) - sh_basis(normals_before)
    irradiance = (transfer + visibility[:, None] * turn * cosine_lobe()[BAND].to(turn)) @ lighting.sh
    n_dot_v = (normals * towards_eye).sum(-1).clamp_min(1e-3)
    mirror = normalize(2 * n_dot_v[:, None] * normals - towards_eye, dim=-1)
    roughness = n_dot_v.new_tensor(SKIN_ROUGHNESS)
    spread, none, full = roughness.expand_as(n_dot_v), torch.zeros_like(n_dot_v), torch.ones_like(n_dot_v)
    reflected = specular_radiance(lighting.sh, mirror, roughness).clamp_min(0)
    reflected = reflected * specular_visibility(visibility, open_direction(transfer), normals, mirror, spread)[:, None]
    # Fresnel's law as Schlick writes it is linear in F0
    dark, bright = (environment_reflectance(n_dot_v, f0, spread)[:, None] * reflected for f0 in (none, full))
    for direction, power in zip(lighting.directions, lighting.irradiance, strict=True):
        power = (normals @ direction).clamp_min(0)[:, None] * power
        irradiance = irradiance + power
        towards = direction.expand_as(normals)
        dark, bright = (
            sent + power * ggx(normals, towards, towards_eye, f0, spread)[:, None]
            for sent, f0 in ((dark, none), (bright, full))
        )
    return irradiance.clamp_min(0) / math.pi, dark, bright - dark

"""The differentiable render of textures that cover a part of the layout, for fits of generators; see `render_fit`."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals, vertex_tangents
from relit.models.head import HeadModel
from relit.render.rasterise import antialias, covered, interpolate, rasterise, sample
from relit.render.render import light_parts, used_vertices
from relit.types import Camera, Lighting

TILT = 0.2  # slope of the relief about which light is taken to change linearly with it
STEEPEST = 0.8  # slope of the relief that still counts
RIM = 0.03  # of the layout: where the box fades out


class Picture(NamedTuple):
    """A head whose skin a box of the layout covers."""

    linear: Float[Tensor, "H W 3"]  # radiance multiplied by coverage
    coverage: Float[Tensor, "H W"]
    inside: Float[Tensor, "H W"]  # [0, 1] coverage by what lies in the box


def render_skin(
    model: HeadModel,
    vertices: Float[Tensor, "V 3"],
    skin: Float[Tensor, "h w 6"],
    box: tuple[float, float],
    camera: Camera,
    light: tuple[Lighting, Float[Tensor, "V 81"], Float[Tensor, "V 3"]],
    gloss: bool = True,
) -> Picture:
    """Diffuse and specular reflection of skin with its own F0 and relief at every pixel; differentiable.

    Args:
        skin: linear albedo, F0, and x and y of the normal in tangent space.
        box: bounds of the textures in the layout, along u and v.
        light: lighting, transfer from `light_transfer`, and the normals that the transfer was computed for.
        gloss: whether skin reflects at its surface, too.

    Light is evaluated at the vertices for the normal of the mesh and for two tilted ones, and taken to change linearly
    between them: relief on skin is shallow.
    """
    lighting, transfer, reference = light

    def lit(used: Tensor, normals: Tensor) -> Tensor:
        before = reference[used]
        towards_eye = normalize(camera_centre(camera) - vertices[used], dim=-1)
        across, up = _frames(model, vertices, normals, used)
        turned = [normals[used], normals[used] + TILT * across, normals[used] + TILT * up]
        flat, *tilted = (
            torch.cat(light_parts(normalize(n, dim=-1), before, towards_eye, lighting, transfer[used]), 1) for n in turned
        )
        return torch.cat([flat, *((one - flat) / TILT for one in tilted)], 1)

    def colour(values: Tensor, texture: Tensor) -> Tensor:
        albedo, f0, slope = texture.split((3, 1, 2), 1)
        slope = slope / (1 - slope.square().sum(1, keepdim=True)).clamp_min(0.1).sqrt()
        slope = slope.clamp(-STEEPEST, STEEPEST)
        flat, across, up = values.split(9, 1)
        diffuse, dark, rise = (flat + slope[:, :1] * across + slope[:, 1:] * up).split(3, 1)
        return albedo * diffuse.clamp_min(0) + gloss * (dark + f0 * rise).clamp_min(0)

    return _drawn(model, vertices, skin, box, camera, lit, colour)


def render_lit(
    model: HeadModel,
    vertices: Float[Tensor, "V 3"],
    texture: Float[Tensor, "h w 3"],
    box: tuple[float, float],
    camera: Camera,
    gain: Callable[[Float[Tensor, "P 3"]], Float[Tensor, "P 3"]] | None = None,
) -> Picture:
    """A texture with the light in it, as it is; differentiable.

    Args:
        gain: from unit normals to factors, one for each channel: how the light differs from that in the texture.
    """
    lit = lambda used, normals: gain(normals[used]) if gain else normals.new_ones(len(used), 3)  # noqa: E731
    return _drawn(model, vertices, texture, box, camera, lit, lambda values, texture: values * texture)


def _drawn(model: HeadModel, vertices: Tensor, texture: Tensor, box, camera: Camera, lit, colour) -> Picture:
    """The picture: `lit` tells values of chosen vertices, `colour` what they and the texture make at pixels."""
    pixels = project(camera, vertices)
    fragments = rasterise(pixels, model.triangles, camera.size_px)
    used = used_vertices(model.triangles, fragments, len(vertices))
    values = lit(used, vertex_normals(vertices, model.triangles))
    spread = values.new_zeros(len(vertices), values.shape[1]).index_copy(0, used, values)
    uv = (model.uv - box[0]) / (box[1] - box[0])
    pixel, listed = covered(fragments)
    found = interpolate(torch.cat([spread[model.render_vertex], uv], 1), model.render_triangles, listed)[:, 0]
    values, at = found[:, :-2], found[:, -2:]
    inside = (torch.minimum(at, 1 - at).amin(1, keepdim=True) * ((box[1] - box[0]) / RIM)).clamp(0, 1)
    shown = torch.cat([colour(values, sample(texture, at)), torch.ones_like(inside), inside.detach()], 1)
    picture = shown.new_zeros(fragments.triangle.numel(), 5).index_copy(0, pixel, shown)
    picture = antialias(picture.unflatten(0, fragments.triangle.shape), fragments, pixels, model.triangles)
    linear, coverage, inside = picture.split((3, 1, 1), 2)
    return Picture(linear, coverage[..., 0], inside[..., 0])


def _frames(model: HeadModel, vertices: Tensor, normals: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """(P, 3) each: unit tangents of chosen vertices along increasing u and along decreasing v."""
    with torch.no_grad():
        of_render = normals[model.render_vertex]
        tangents = vertex_tangents(vertices[model.render_vertex], model.uv, model.render_triangles, of_render)
        welded = tangents.new_zeros(len(vertices), 4).index_copy(0, model.render_vertex, tangents)[used]
        across = welded[:, :3]
        return across, torch.linalg.cross(normals[used], across) * welded[:, 3:]

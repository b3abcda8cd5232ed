"""Training pairs in UV space: the skin as a camera would see it lit, unwrapped, beside all its true maps."""

import math
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_tangents
from relit.geometry.uv import rasterise_uv
from relit.models.head import PARTS, HeadModel, load_head_model
from relit.render.occlusion import ambient_occlusion, multiple_bounces, open_direction
from relit.render.portrait import WET_ROUGHNESS
from relit.render.rasterise import Fragments, covered, interpolate, rasterise
from relit.render.scatter import PROFILE
from relit.render.shade import Surface, shade
from relit.render.shadows import MAP_SIZE, sun_visibility
from relit.synth.camera import Shot, camera_of, developed
from relit.synth.geometry import Posed
from relit.synth.layout import layout
from relit.synth.worn import BARE, Outfit
from relit.types import Camera, Lighting, ReflectanceMaps

BACK_MM = -45.0  # behind this, behind the ears, the lit texture stays black
_DEPTH_PX = 256
_DEPTH_SLACK_M = 0.004


@lru_cache(maxsize=2)
def _texels(size: int, front: bool = False) -> tuple[Tensor, Fragments]:
    """The flat indices of covered texels, and these as fragments of a picture one texel wide.

    Args:
        front: without the back of the head, which no portrait shows.
    """
    model = load_head_model()
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, size, size)
    if front:
        behind = torch.from_numpy(layout(size).position_mm[..., 2] < BACK_MM) & (triangle >= 0)
        triangle = triangle.masked_fill(behind & (model.part[triangle.clamp_min(0)] == 0), -1)
    return covered(Fragments(triangle, barycentric, torch.zeros(size, size)))


class LitTexture:
    """The lit texture of one subject in one light, and the geometry of each texel, all (S, S, ...)."""

    def __init__(self, radiance: np.ndarray, visible: np.ndarray, normal: np.ndarray, position_m: np.ndarray):
        self.radiance = radiance  # linear, occlusion, shadows, scattering and highlights included
        self.visible = visible  # [0, 1] what the camera sees
        self.normal = normal  # unit, object space: the head frame, without relief
        self.position_m = position_m  # head frame


def light_texture(
    posed: Posed, maps: ReflectanceMaps, lighting: Lighting, shot: Shot, outfit: Outfit = BARE
) -> LitTexture:
    """Shades every texel of the head as the camera of a shot would see it.

    The same shading as `relit.render.portrait`, texel by texel instead of pixel by pixel, with the light spread below
    the skin along the texture. What the subject wears, and its hair, throws shadows and hides what is behind, undrawn.
    """
    with torch.no_grad():
        model, size = load_head_model(), maps.roughness.shape[0]
        listed, fragments = _texels(size, front=True)
        camera = camera_of(shot, (_DEPTH_PX, _DEPTH_PX))
        split = model.render_vertex
        of_vertex = torch.cat(
            [
                posed.vertices,
                posed.normals,
                posed.transfer @ lighting.sh,
                open_direction(posed.transfer),
                ambient_occlusion(posed.transfer)[:, None],
                project(camera, posed.vertices),
            ],
            1,
        )
        tangents = vertex_tangents(posed.vertices[split], model.uv, model.render_triangles, posed.normals[split])
        values = interpolate(torch.cat([of_vertex[split], tangents], 1), model.render_triangles, fragments)[:, 0]
        position, normal, irradiance, bent, visibility, at_px, tangent = values.split((3, 3, 3, 3, 1, 3, 4), 1)
        normal = normalize(normal, dim=1)
        towards = normalize(camera_centre(camera) - position, dim=1)
        facing = (normal * towards).sum(1)
        read = lambda texture: texture.flatten(0, 1)[listed]  # noqa: E731
        along, up = _tangent_frame(normal, tangent)
        bend = lambda stored: _from_tangent_space(read(stored), along, up, normal)  # noqa: E731
        wet = torch.tensor([WET_ROUGHNESS.get(name, 1.0) for name in PARTS])
        part = model.part[fragments.triangle[:, 0]]
        surface = Surface(
            towards_eye=towards,
            geometry_normal=normal,
            diffuse_normal=bend(maps.diffuse_normal),
            specular_normal=bend(maps.specular_normal),
            albedo=read(maps.diffuse_albedo),
            f0=read(maps.specular_albedo[..., None])[:, 0],
            roughness=torch.minimum(read(maps.roughness[..., None])[:, 0], wet[part]),
            irradiance=irradiance,
            visibility=visibility[:, 0],
            open_direction=normalize(bent, dim=1),
            lit=_lit(outfit.casters(posed, model), position, normal, lighting),
        )
        diffuse, specular = shade(surface, lighting)
        full = lambda flat: _scattered_to(flat, listed, size)  # noqa: E731
        spread = _below_skin(full(diffuse), _soft_texels(size), layout(size).texel_mm)
        lit = full(torch.ones(len(listed), 1))  # the light that spreads past the rim is cut off
        radiance = (maps.diffuse_albedo.numpy() / math.pi * spread + full(specular)) * lit
        seen = _seen(outfit.casters(posed, model), camera, at_px, facing)
        return LitTexture(radiance, full(seen[:, None])[..., 0], *_whole_geometry(posed, model, size))


def _whole_geometry(posed: Posed, model: HeadModel, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(S, S, 3) unit normal and (S, S, 3) position of every texel."""
    listed, fragments = _texels(size)
    of_vertex = torch.cat([posed.normals, posed.vertices], 1)[model.render_vertex]
    normal, position = interpolate(of_vertex, model.render_triangles, fragments)[:, 0].split((3, 3), 1)
    return _scattered_to(normalize(normal, dim=1), listed, size), _scattered_to(position, listed, size)


def photographed(lit: LitTexture, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) uint8 the lit texture after exposure, noise and tone curve of the shot's camera."""
    return developed(np.ascontiguousarray(lit.radiance), shot, rng)


def baked_occlusion(posed: Posed, size: int) -> Tensor:
    """(S, S) ambient visibility with the light that cavities hand on, as `relit.maps` bakes it."""
    seen = ambient_occlusion(posed.transfer)
    seen = multiple_bounces(seen, torch.full_like(seen, 0.35)).clamp(0, 1)
    model = load_head_model()
    listed, fragments = _texels(size)
    values = interpolate(seen[model.render_vertex][:, None], model.render_triangles, fragments)[:, 0]
    return torch.from_numpy(_scattered_to(values, listed, size, fill=1.0)[..., 0])


@lru_cache(maxsize=2)
def _soft_texels(size: int) -> np.ndarray:
    """(S, S) bool: lit texels of skin."""
    listed, fragments = _texels(size, front=True)
    soft = load_head_model().part[fragments.triangle[:, 0]] == PARTS.index("skin")
    return _scattered_to(soft[:, None].float(), listed, size)[..., 0] > 0


def _lit(casting: tuple[Tensor, Tensor], position: Tensor, normal: Tensor, lighting: Lighting) -> Tensor:
    """(P, L) what each texel sees of each directional light; the map is as fine as the texture."""
    size = min(MAP_SIZE, round(1.5 * len(position) ** 0.5))
    lit = [sun_visibility(*casting, position, normal, d, size) for d in lighting.directions]
    return torch.stack(lit, 1) if lit else torch.ones(len(position), 0)


def _tangent_frame(normal: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """(P, 3) each: the directions of increasing u and of decreasing v in the tangent plane."""
    along = normalize(tangent[:, :3] - (tangent[:, :3] * normal).sum(1, keepdim=True) * normal, dim=1)
    return along, torch.linalg.cross(normal, along) * tangent[:, 3:].sign()


def _from_tangent_space(stored: Tensor, along: Tensor, up: Tensor, normal: Tensor) -> Tensor:
    return normalize(stored[:, :1] * along + stored[:, 1:2] * up + stored[:, 2:] * normal, dim=1)


def _scattered_to(flat: Tensor, listed: Tensor, size: int, fill: float = 0.0) -> np.ndarray:
    """(S, S, C) values of the covered texels in their places."""
    full = torch.full((size * size, flat.shape[1]), fill)
    full[listed] = flat
    return full.view(size, size, -1).numpy()


def _below_skin(irradiance: np.ndarray, skin: np.ndarray, texel_mm: tuple[float, float]) -> np.ndarray:
    """(S, S, 3) irradiance spread by the profile of skin; Gaussians narrower than half a texel change nothing."""
    weight = skin.astype(np.float32)
    result = np.zeros_like(irradiance)
    masked = irradiance * weight[..., None]
    for variance, *shares in PROFILE:
        sigma = [math.sqrt(variance) / size for size in texel_mm]
        narrow = max(sigma) < 0.5
        total = None if narrow else cv2.GaussianBlur(weight, (0, 0), sigma[0], sigmaY=sigma[1])
        for channel, share in enumerate(shares):
            if not share:
                continue
            plane = masked[..., channel]
            if total is not None:
                plane = cv2.GaussianBlur(plane, (0, 0), sigma[0], sigmaY=sigma[1]) / np.maximum(total, 1e-3)
            result[..., channel] += share * plane
    return np.where(skin[..., None], result / np.sum([s[1:] for s in PROFILE], 0), irradiance).astype(np.float32)


def _seen(casting: tuple[Tensor, Tensor], camera: Camera, at_px: Tensor, facing: Tensor) -> Tensor:
    """(P,) [0, 1]: texels that the camera sees, fading at grazing angles."""
    vertices, triangles = casting
    depth = rasterise(project(camera, vertices), triangles, camera.size_px).depth
    depth = torch.where(depth.isfinite(), depth, 100.0)
    # the farthest of the neighbours: a pixel at a contour must not hide what lies beside it
    around = torch.from_numpy(cv2.dilate(depth.numpy(), np.ones((3, 3), np.uint8)))
    column, row = (at_px[:, axis].long().clamp(0, _DEPTH_PX - 1) for axis in (0, 1))
    inside = ((at_px[:, :2] > 0) & (at_px[:, :2] < _DEPTH_PX)).all(1)
    near = at_px[:, 2] < around[row, column] + _DEPTH_SLACK_M
    grazing = ((facing - 0.05) / 0.25).clamp(0, 1)
    return near * inside * grazing

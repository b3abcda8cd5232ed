"""Training pairs in UV space: the skin as a camera would see it lit, unwrapped, beside all its true maps."""

import math
from functools import lru_cache

import cv2
import numpy as np
import torch
from numba import njit
from torch import Tensor

from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_tangents
from relit.geometry.uv import rasterise_uv
from relit.models.head import PARTS, HeadModel, load_head_model
from relit.render.kernels import in_bands
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


def light_texture(posed: Posed, maps: ReflectanceMaps, lighting: Lighting, shot: Shot, outfit: Outfit = BARE) -> LitTexture:
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
        texels = _Texels(len(listed))
        texels.fill(torch.cat([of_vertex[split], tangents], 1), model, fragments, listed, maps, camera_centre(camera))
        read = lambda texture: texture.flatten(0, 1).index_select(0, listed)  # noqa: E731
        casting = outfit.casters(posed, model)
        surface = Surface(
            towards_eye=texels.towards_eye,
            geometry_normal=texels.normal,
            diffuse_normal=texels.diffuse_normal,
            specular_normal=texels.specular_normal,
            albedo=read(maps.diffuse_albedo),
            f0=read(maps.specular_albedo[..., None])[:, 0],
            roughness=torch.minimum(read(maps.roughness[..., None])[:, 0], _wet(size)),
            irradiance=texels.irradiance,
            visibility=texels.visibility,
            open_direction=texels.open_direction,
            lit=_lit(casting, texels.position, texels.normal, lighting),
        )
        diffuse, specular = shade(surface, lighting)
        full = lambda flat: _scattered_to(flat, listed, size)  # noqa: E731
        spread = _below_skin(full(diffuse), size)
        radiance = np.zeros_like(spread)  # the light that spreads past the rim is cut off
        arrays = [x.contiguous().numpy() for x in (maps.diffuse_albedo, specular, listed)]
        _sent_back(*arrays, spread, radiance)
        seen = _seen(casting, camera, texels.at_px, texels.facing)
        return LitTexture(radiance, full(seen[:, None])[..., 0], *_whole_geometry(posed, model, size))


class _Texels:
    """What is interpolated between the vertices at each of P texels, and the normals of the maps there."""

    def __init__(self, count: int):
        empty = lambda *shape: torch.empty(count, *shape)  # noqa: E731
        self.position, self.normal, self.irradiance = empty(3), empty(3), empty(3)
        self.open_direction, self.visibility, self.at_px = empty(3), empty(), empty(3)
        self.towards_eye, self.facing = empty(3), empty()
        self.diffuse_normal, self.specular_normal = empty(3), empty(3)

    def fill(
        self, of_vertex: Tensor, model: HeadModel, fragments: Fragments, listed: Tensor, maps: ReflectanceMaps, eye: Tensor
    ):
        """Fills all from (N, 20) values at the render vertices, in the order of `_interpolated`."""
        stored = maps.diffuse_normal.flatten(0, 1), maps.specular_normal.flatten(0, 1)
        given = of_vertex, model.render_triangles, fragments.triangle[:, 0], fragments.barycentric[:, 0], listed, *stored, eye
        arrays = [x.contiguous().numpy() for x in (*given, *vars(self).values())]
        in_bands(len(listed), lambda _, first, last: _interpolated(*arrays, first, last))


@njit(cache=True, nogil=True, error_model="numpy")
def _unit(x, y, z):
    scale = 1 / max(math.sqrt(x * x + y * y + z * z), 1e-12)
    return x * scale, y * scale, z * scale


@njit(cache=True, nogil=True, error_model="numpy")
def _interpolated(
    vertices, triangles, triangle, weights, listed, diffuse, specular, eye,
    position, normal, irradiance, open_direction, visibility, at_px, towards, facing, diffuse_normal, specular_normal,
    first, last,
):  # fmt: skip
    """Fills the fields of `_Texels` in their order.

    Args:
        vertices: position, normal, irradiance, open direction, visibility, place in the picture, tangent and its sign.
        diffuse, specular: (S * S, 3) normals in tangent space.
    """
    value = np.empty(vertices.shape[1])
    for p in range(first, last):
        a, b, c = triangles[triangle[p], 0], triangles[triangle[p], 1], triangles[triangle[p], 2]
        u, v, w = weights[p]
        for k in range(len(value)):
            value[k] = u * vertices[a, k] + v * vertices[b, k] + w * vertices[c, k]
        nx, ny, nz = _unit(value[3], value[4], value[5])
        ox, oy, oz = _unit(value[9], value[10], value[11])
        ex, ey, ez = _unit(eye[0] - value[0], eye[1] - value[1], eye[2] - value[2])
        for k in range(3):
            position[p, k], irradiance[p, k], at_px[p, k] = value[k], value[6 + k], value[13 + k]
        normal[p, 0], normal[p, 1], normal[p, 2] = nx, ny, nz
        open_direction[p, 0], open_direction[p, 1], open_direction[p, 2] = ox, oy, oz
        towards[p, 0], towards[p, 1], towards[p, 2] = ex, ey, ez
        visibility[p], facing[p] = value[12], nx * ex + ny * ey + nz * ez
        # the tangent frame: along increasing u, and against v
        tx, ty, tz = value[16], value[17], value[18]
        on_normal = tx * nx + ty * ny + tz * nz
        tx, ty, tz = _unit(tx - on_normal * nx, ty - on_normal * ny, tz - on_normal * nz)
        sign = np.sign(value[19])
        bx, by, bz = sign * (ny * tz - nz * ty), sign * (nz * tx - nx * tz), sign * (nx * ty - ny * tx)
        for stored, bent in ((diffuse, diffuse_normal), (specular, specular_normal)):
            r, s, t = stored[listed[p]]
            x, y, z = _unit(r * tx + s * bx + t * nx, r * ty + s * by + t * ny, r * tz + s * bz + t * nz)
            bent[p, 0], bent[p, 1], bent[p, 2] = x, y, z


@njit(cache=True, nogil=True)
def _sent_back(albedo, specular, listed, irradiance, radiance):
    """Fills the listed texels of the radiance (S, S, 3)."""
    size = albedo.shape[1]
    for p in range(len(listed)):
        row, column = listed[p] // size, listed[p] % size
        for c in range(3):
            diffuse = albedo[row, column, c] * irradiance[row, column, c] / math.pi
            radiance[row, column, c] = diffuse + specular[p, c]


def _whole_geometry(posed: Posed, model: HeadModel, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(S, S, 3) unit normal and (S, S, 3) position of every texel."""
    listed, fragments = _texels(size)
    of_vertex = torch.cat([posed.normals, posed.vertices], 1)[model.render_vertex]
    given = of_vertex, model.render_triangles, fragments.triangle[:, 0], fragments.barycentric[:, 0], listed
    arrays = [x.contiguous().numpy() for x in given]
    normal, position = np.zeros((2, size * size, 3), np.float32)
    in_bands(len(listed), lambda _, first, last: _placed(*arrays, normal, position, first, last))
    return normal.reshape(size, size, 3), position.reshape(size, size, 3)


@njit(cache=True, nogil=True, error_model="numpy")
def _placed(vertices, triangles, triangle, weights, listed, normal, position, first, last):
    """Fills the listed rows of `normal` and `position` from (N, 6) normals and positions of vertices."""
    for p in range(first, last):
        a, b, c = vertices[triangles[triangle[p], 0]], vertices[triangles[triangle[p], 1]], vertices[triangles[triangle[p], 2]]
        u, v, w = weights[p]
        for k in range(3):
            normal[listed[p], k] = u * a[k] + v * b[k] + w * c[k]
            position[listed[p], k] = u * a[3 + k] + v * b[3 + k] + w * c[3 + k]
        n = normal[listed[p]]
        n[0], n[1], n[2] = _unit(n[0], n[1], n[2])


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
def _wet(size: int) -> Tensor:
    """(P,) the most roughness that the part of each lit texel may have."""
    wet = torch.tensor([WET_ROUGHNESS.get(name, 1.0) for name in PARTS])
    return wet[load_head_model().part[_texels(size, front=True)[1].triangle[:, 0]]]


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


def _scattered_to(flat: Tensor, listed: Tensor, size: int, fill: float = 0.0) -> np.ndarray:
    """(S, S, C) values of the covered texels in their places."""
    full = torch.full((size * size, flat.shape[1]), fill)
    full[listed] = flat
    return full.view(size, size, -1).numpy()


@lru_cache(maxsize=2)
def _spreads(size: int) -> list[tuple[tuple[float, float] | None, np.ndarray | None, tuple[float, ...]]]:
    """Of each Gaussian of skin's profile: width in texels, the reciprocal (S, S) of how much of it falls on skin, shares.

    Width and reciprocal are None where it is narrower than half a texel: that changes nothing.
    """
    weight, found = _soft_texels(size).astype(np.float32), []
    whole = np.sum([shares for _, *shares in PROFILE], 0)
    for variance, *shares in PROFILE:
        sigma = [math.sqrt(variance) / size_mm for size_mm in layout(size).texel_mm]
        on_skin = None
        if max(sigma) >= 0.5:
            on_skin = 1 / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma[0], sigmaY=sigma[1]), 1e-3)
        found.append((sigma, on_skin, (shares / whole).tolist()))
    return found


def _below_skin(irradiance: np.ndarray, size: int) -> np.ndarray:
    """(S, S, 3) irradiance spread by the profile of skin."""
    soft = _soft_texels(size)
    planes = [np.where(soft, plane, 0) for plane in irradiance.transpose(2, 0, 1)]
    result = irradiance.copy()
    for channel, plane in enumerate(planes):
        total = np.zeros_like(plane)
        for sigma, on_skin, shares in _spreads(size):
            if not shares[channel]:
                continue
            if on_skin is None:
                total += shares[channel] * plane
            else:
                spread = cv2.GaussianBlur(plane, (0, 0), sigma[0], sigmaY=sigma[1])
                spread *= on_skin
                spread *= shares[channel]
                total += spread
        np.copyto(result[..., channel], total, where=soft)
    return result


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

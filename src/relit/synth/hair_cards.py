"""Hair of the head as textured cards: bound to the scalp, lit, and blended over a picture from back to front."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.lighting import diffuse_irradiance, prefilter, specular_radiance
from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.models.head import HeadModel
from relit.models.registry import load_tensors
from relit.synth.geometry import Posed
from relit.types import Camera, Lighting

BOUND_TO = 6  # skin vertices that carry each hair vertex
LEAST_GAP_M = 0.004  # from the skin below
F0, ROUGHNESS = 0.046, 0.42  # keratin, refractive index 1.55
_ROOT_SHADE = 0.35  # light that reaches hair next to the skin, against the outermost
_DEPTH_M = 0.03  # over which it rises
OPACITY, _DENSE = 0.85, 0.9  # of hair in the way of light, and mean coverage from which a triangle counts
_INNER = np.array([(1, 1, 1), (4, 1, 1), (1, 4, 1), (1, 1, 4)]) / np.array([[3], [6], [6], [6]])  # points of a triangle
_SHADE_M = 0.012  # how far hair dims the skin beside it


@dataclass(frozen=True)
class Style:
    """One hair style on the mean head."""

    points: Tensor  # (H, 3)
    uv: np.ndarray  # (H, 2)
    triangles: np.ndarray  # (T, 3)
    bound: Tensor  # (H, BOUND_TO) head vertices
    texture: np.ndarray  # (S, S, 2) brightness about 1, and coverage
    dense: Tensor  # (D, 3) the triangles that are mostly covered: these throw shadows
    lift: Tensor | None = None  # (H,) [0, 1] from the root to the tip; without it, by the distance from the middle


@lru_cache(maxsize=1)
def style_names() -> tuple[str, ...]:
    """The shipped styles."""
    return tuple(sorted({key.split(".")[0] for key in load_tensors("hair")}))


@lru_cache(maxsize=8)
def load_style(name: str) -> Style:
    """A shipped style."""
    data = load_tensors("hair")
    picture = cv2.imdecode(data[f"{name}.texture"].numpy(), cv2.IMREAD_UNCHANGED).astype(np.float32)
    texture = np.ascontiguousarray(np.dstack([picture[..., 0] / 128, picture[..., 3] / 255]))
    uv, triangles = data[f"{name}.uv"].float().numpy(), data[f"{name}.triangles"].long()
    inner = np.einsum("kc,tcd->tkd", _INNER, uv[triangles.numpy()]) * texture.shape[1::-1]
    column, row = (inner[..., axis].astype(int).clip(0, texture.shape[1 - axis] - 1) for axis in (0, 1))
    return Style(
        points=data[f"{name}.points"].float(),
        uv=uv,
        triangles=triangles.numpy(),
        bound=data[f"{name}.bound"].long(),
        texture=texture,
        dense=triangles[torch.from_numpy(texture[row, column, 1].mean(1) > _DENSE)],
    )


def worn(style: Style, model: HeadModel, posed: Posed) -> Tensor:
    """(H, 3) the style's vertices on a posed head: carried by the skin around, and kept outside it."""
    away = (style.points[:, None] - model.mean[style.bound]).norm(dim=2)
    weight = 1 / (away**2 + 1e-4)
    weight = weight / weight.sum(1, keepdim=True)
    moved = posed.vertices - model.mean
    place = style.points + (moved[style.bound] * weight[..., None]).sum(1)
    nearest = style.bound[:, 0]
    gap = ((place - posed.vertices[nearest]) * posed.normals[nearest]).sum(1, keepdim=True)
    near = (place - posed.vertices[nearest]).norm(dim=1, keepdim=True) < 0.03
    return place + near * (LEAST_GAP_M - gap).clamp_min(0) * posed.normals[nearest]


def drawn_hair(
    style: Style, vertices: Tensor, colour: np.ndarray, camera: Camera, lighting: Lighting, depth: Tensor
) -> np.ndarray:
    """(H, W, 4) linear radiance of hair multiplied by its coverage, and coverage.

    Args:
        vertices: (H, 3) from `worn`.
        colour: (3,) linear albedo of the strands.
        depth: (H, W) of the head in this picture, infinite where it is not: hair behind it is hidden.

    Source: strands as fibres with a diffuse and a shifted glossy part after Kajiya & Kay, "Rendering fur with three
    dimensional textures", SIGGRAPH 1989. Differs: both are looked up for the card's normal in prefiltered light, and
    light fades towards the roots by distance instead of being traced.
    """
    triangles = torch.from_numpy(style.triangles)
    normals = vertex_normals(vertices, triangles)
    outward = normalize(vertices - vertices.mean(0) * torch.tensor([1.0, 0.8, 1.0]), dim=1)
    normals = normalize(outward + 0.35 * normals * (normals * outward).sum(1, keepdim=True).sign(), dim=1)
    light = prefilter(lighting.sh)
    diffuse = diffuse_irradiance(lighting.sh, normals).clamp_min(0) / np.pi
    towards = normalize(camera_centre(camera) - vertices, dim=1)
    mirror = normalize(2 * (normals * towards).sum(1, keepdim=True) * normals - towards, dim=1)
    gloss = 0.8 * F0 * specular_radiance(light, mirror, torch.full((len(vertices),), ROUGHNESS))
    for direction, power in zip(lighting.directions, lighting.irradiance, strict=True):
        cosine = ((normals @ direction + 0.25) / 1.25).clamp_min(0)[:, None]  # fibres scatter round the edge
        diffuse = diffuse + cosine * power / np.pi
        half = normalize(direction + towards, dim=1)
        gloss = gloss + F0 * cosine * power * 0.7 * (normals * half).sum(1, keepdim=True).clamp_min(0) ** 30
    far = (vertices - vertices.mean(0)).norm(dim=1)
    lift = ((far - far.quantile(0.1)) / _DEPTH_M).clamp(0, 1) if style.lift is None else style.lift
    shade = _ROOT_SHADE + (1 - _ROOT_SHADE) * lift[:, None]
    strand = torch.from_numpy(np.asarray(colour, np.float32))
    # light that crosses several strands is coloured twice
    radiance = torch.cat([diffuse * strand * (0.8 + 0.6 * strand**0.5) * shade, gloss * shade], 1)
    pixels = project(camera, vertices)
    order = np.argsort(-pixels[triangles, 2].mean(1).numpy(), kind="stable")
    width, height = camera.size_px
    picture = np.zeros((height, width, 4), np.float32)
    arrays = (pixels.numpy(), style.uv, radiance.numpy(), style.texture, depth.numpy())
    _blend(np.ascontiguousarray(style.triangles[order]), *(np.ascontiguousarray(a, np.float32) for a in arrays), picture)
    return picture


def over_head(head: np.ndarray, hair: np.ndarray, camera: Camera) -> np.ndarray:
    """The head's picture (H, W, 4) with hair (H, W, 4) over it and its shade on the skin beside."""
    coverage = hair[..., 3:]
    reach = max(1.0, _SHADE_M * float(camera.focal_px) / float(camera.camera_from_head[2, 3]))
    beside = cv2.GaussianBlur(coverage, (0, 0), reach)[..., None]
    shaded = np.concatenate([head[..., :3] * (1 - 0.2 * beside), head[..., 3:]], -1)
    return (shaded * (1 - coverage) + hair).astype(np.float32)


@njit(cache=True)
def _blend(triangles, pixels, uv, radiance, texture, depth, out):
    """Draws triangles in their order, each over what is there, where they are nearer than `depth`."""
    height, width = depth.shape
    rows, columns = texture.shape[:2]
    for t in range(len(triangles)):
        i, j, k = triangles[t]
        if min(pixels[i, 2], pixels[j, 2], pixels[k, 2]) < 1e-2:
            continue
        x0, y0, x1, y1, x2, y2 = pixels[i, 0], pixels[i, 1], pixels[j, 0], pixels[j, 1], pixels[k, 0], pixels[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-6:
            continue
        for row in range(max(0, int(min(y0, y1, y2) - 0.5)), min(height - 1, int(max(y0, y1, y2) + 0.5)) + 1):
            for column in range(max(0, int(min(x0, x1, x2) - 0.5)), min(width - 1, int(max(x0, x1, x2) + 0.5)) + 1):
                x, y = column + 0.5, row + 0.5
                a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
                b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
                c = 1 - a - b
                if a < 0 or b < 0 or c < 0:
                    continue
                if a * pixels[i, 2] + b * pixels[j, 2] + c * pixels[k, 2] > depth[row, column]:
                    continue
                u = (a * uv[i, 0] + b * uv[j, 0] + c * uv[k, 0]) * columns - 0.5
                v = (a * uv[i, 1] + b * uv[j, 1] + c * uv[k, 1]) * rows - 0.5
                p, q = min(max(int(u), 0), columns - 2), min(max(int(v), 0), rows - 2)
                fu, fv = min(max(u - p, 0.0), 1.0), min(max(v - q, 0.0), 1.0)
                strand, cover = 0.0, 0.0
                for n in range(4):
                    w = (fu if n & 1 else 1 - fu) * (fv if n >> 1 else 1 - fv)
                    strand += w * texture[q + (n >> 1), p + (n & 1), 0]
                    cover += w * texture[q + (n >> 1), p + (n & 1), 1]
                if cover < 0.02:
                    continue
                for channel in range(3):
                    value = strand * (a * radiance[i, channel] + b * radiance[j, channel] + c * radiance[k, channel])
                    shine = a * radiance[i, channel + 3] + b * radiance[j, channel + 3] + c * radiance[k, channel + 3]
                    value += strand * shine
                    out[row, column, channel] += cover * (value - out[row, column, channel])
                out[row, column, 3] += cover * (1 - out[row, column, 3])

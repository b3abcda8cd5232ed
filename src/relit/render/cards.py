"""Hair and lashes as textured cards: lit, and blended over a picture from back to front."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.lighting import diffuse_irradiance, prefilter, specular_radiance
from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.types import Camera, Lighting

F0, ROUGHNESS = 0.046, 0.42  # keratin, refractive index 1.55
ROOT_SHADE = 0.35  # light that reaches hair next to the skin, against the outermost
DEPTH_M = 0.03  # over which it rises


@dataclass(frozen=True, kw_only=True)
class Cards:
    """Strips that carry strands."""

    uv: np.ndarray  # (N, 2)
    triangles: np.ndarray  # (T, 3)
    texture: np.ndarray  # (rows, columns, 2) brightness about 1, and coverage
    lift: Tensor | None = None  # (N,) [0, 1] from the root to the tip; without it, by the distance from the middle


def drawn_cards(
    cards: Cards,
    vertices: Float[Tensor, "N 3"],
    colour: np.ndarray,
    camera: Camera,
    lighting: Lighting,
    depth: Float[Tensor, "H W"],
) -> Float[np.ndarray, "H W 4"]:
    """The linear radiance of strands multiplied by their coverage, and their coverage.

    Args:
        vertices: of the cards.
        colour: (3,) linear albedo of the strands.
        depth: of the head in this picture, infinite where it is not: strands behind it are hidden.

    Source: strands as fibres with a diffuse and a shifted glossy part after Kajiya & Kay, "Rendering fur with three
    dimensional textures", SIGGRAPH 1989. Differs: both are looked up for the card's normal in prefiltered light, and
    light fades towards the roots by distance instead of being traced.
    """
    triangles = torch.from_numpy(cards.triangles)
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
    lift = ((far - far.quantile(0.1)) / DEPTH_M).clamp(0, 1) if cards.lift is None else cards.lift
    shade = ROOT_SHADE + (1 - ROOT_SHADE) * lift[:, None]
    strand = torch.from_numpy(np.asarray(colour, np.float32))
    # light that crosses several strands is coloured twice
    radiance = torch.cat([diffuse * strand * (0.8 + 0.6 * strand**0.5) * shade, gloss * shade], 1)
    pixels = project(camera, vertices)
    order = np.argsort(-pixels[triangles, 2].mean(1).numpy(), kind="stable")
    width, height = camera.size_px
    picture = np.zeros((height, width, 4), np.float32)
    arrays = (pixels.numpy(), cards.uv, radiance.numpy(), cards.texture, depth.numpy())
    _blend(np.ascontiguousarray(cards.triangles[order]), *(np.ascontiguousarray(a, np.float32) for a in arrays), picture)
    return picture


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

"""Photo -> UV: what colour the photo shows at every texel, and how far to trust it."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.brdf import environment_reflectance
from relit.appearance.lighting import specular_radiance
from relit.geometry.camera import camera_centre, cropped, project
from relit.geometry.mesh import vertex_normals
from relit.geometry.uv import rasterise_uv
from relit.models.head import HeadModel, neutral_vertices, posed_vertices
from relit.render.occlusion import ambient_occlusion, light_transfer
from relit.render.rasterise import Fragments, interpolate, rasterise
from relit.render.shade import specular_visibility
from relit.types import Camera, FaceFit, Observation

SKIN_F0, SKIN_ROUGHNESS = 0.028, 0.5
DEPTH_PX = 1024  # longer side of the depth picture that decides visibility
DEPTH_SLACK_M = 0.0015
GRAZING = (0.12, 0.55)  # cosine to the camera between no trust and full trust
RIM_M = 0.004  # texels this near to an occluding contour mix with what lies behind


@dataclass(frozen=True)
class Unwrapped:
    """One photo carried to the UV layout, with the light that the fit explains."""

    radiance: Float[Tensor, "H W 3"]  # linear, exposure removed
    irradiance: Float[Tensor, "H W 3"]  # of the fitted light, with self-shadowing
    specular: Float[Tensor, "H W 3"]  # reflected towards the camera
    confidence: Float[Tensor, "H W"]  # [0, 1]
    visibility: Float[Tensor, "H W"]  # [0, 1] of the environment, 1 on open surfaces


def texels(model: HeadModel, rows: int, columns: int) -> Fragments:
    """The triangle and barycentric coordinates at every texel of the layout (depth is unused)."""
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, rows, columns)
    return Fragments(triangle, barycentric, torch.zeros(()))


def unwrap(model: HeadModel, observation: Observation, fit: FaceFit, fragments: Fragments) -> Unwrapped:
    """The photo at every texel of the skin, filtered to the texel's footprint, with its trust.

    Trust is the product of visibility (depth test), facing (smooth between two grazing angles), distance to occluding
    contours, and the observation's skin mask.

    Source: texel footprints after Heckbert 1989, isotropic, over an area-averaged pyramid; bicubic where the photo is
    coarser than the map.
    """
    vertices = posed_vertices(
        model, neutral_vertices(model, fit.identity, fit.vertex_offset), fit.expression, fit.gaze_rad
    )
    pixels = project(fit.camera, vertices)
    normals = vertex_normals(vertices, model.triangles)
    towards = torch.nn.functional.normalize(camera_centre(fit.camera) - vertices, dim=-1)
    facing = (normals * towards).sum(-1)
    irradiance, specular, visibility = _light_at_vertices(model, vertices, normals, towards, fit)
    sheet = interpolate(
        torch.cat([pixels, facing[:, None], irradiance, specular, model.face_weight[:, None], visibility[:, None]], 1),
        model.triangles,
        fragments,
    )
    skin = (fragments.triangle >= 0) & (model.part[fragments.triangle.clamp_min(0)] == 0)
    seen = skin & (sheet[..., 3] > GRAZING[0])
    at = sheet[..., :2].numpy()
    confidence = _smoothstep(*GRAZING, sheet[..., 3]) * seen
    confidence = confidence * _visible(model, pixels, fit.camera, observation, at, sheet[..., 2])
    confidence = confidence * torch.from_numpy(_remap(observation.skin_mask.numpy(), at, cv2.INTER_LINEAR))
    confidence = confidence * _smoothstep(0.02, 0.3, sheet[..., 10])
    radiance = _sample_footprint(observation.photo.linear.numpy(), at, seen.numpy())
    return Unwrapped(
        radiance=torch.from_numpy(radiance) / fit.exposure,
        irradiance=sheet[..., 4:7],
        specular=sheet[..., 7:10],
        confidence=confidence,
        visibility=sheet[..., 11],
    )


def _light_at_vertices(model, vertices, normals, towards, fit) -> tuple[Tensor, Tensor, Tensor]:
    """(V, 3) irradiance and (V, 3) specular radiance of the fitted light, and (V,) ambient visibility."""
    transfer = light_transfer(vertices, model.triangles)
    visibility, sh = ambient_occlusion(transfer), fit.lighting.sh
    cosine = (normals * towards).sum(-1).clamp_min(1e-3)
    mirror = torch.nn.functional.normalize(2 * cosine[:, None] * normals - towards, dim=-1)
    rough, f0 = torch.full_like(cosine, SKIN_ROUGHNESS), torch.full_like(cosine, SKIN_F0)
    gloss = environment_reflectance(cosine, f0, rough) * specular_visibility(visibility, cosine, rough)
    reflected = specular_radiance(sh, mirror, torch.tensor(SKIN_ROUGHNESS)).clamp_min(0)
    return (transfer @ sh).clamp_min(0), reflected * gloss[:, None], visibility


def _visible(model, pixels, camera: Camera, observation: Observation, at: np.ndarray, depth: Tensor) -> Tensor:
    """(H, W) in [0, 1]: whether the head itself leaves the texel in view, falling off towards occluding contours."""
    left, top, right, bottom = observation.face_box_px
    grow = 0.35 * max(right - left, bottom - top)
    side = max(right - left, bottom - top) + 2 * grow
    corner = ((left + right - side) / 2, (top + bottom - side) / 2)
    size = int(min(DEPTH_PX, max(128, math.ceil(side))))
    view = cropped(camera, (*corner, corner[0] + side, corner[1] + side), (size, size))
    factor = size / side
    moved = torch.cat([(pixels[:, :2] - torch.tensor(corner)) * factor, pixels[:, 2:]], 1)
    nearest = rasterise(moved, model.triangles, (size, size)).depth.numpy()
    nearest = np.where(np.isfinite(nearest), nearest, 1e3).astype(np.float32)
    rim_px = max(1, round(RIM_M * float(view.focal_px / depth[depth > 0].median()) / 2))
    local = (at - np.array(corner, np.float32)) * factor
    # a texel counts as hidden when a nearer surface lies within the rim around it
    eroded = cv2.erode(nearest, np.ones((2 * rim_px + 1, 2 * rim_px + 1), np.uint8))
    exact = _remap(nearest, local, cv2.INTER_NEAREST)
    around = _remap(eroded, local, cv2.INTER_LINEAR)
    behind = depth.numpy() - exact
    near_rim = depth.numpy() - around
    hard = np.clip(1.5 - behind / DEPTH_SLACK_M, 0, 1)
    soft = np.clip(1.5 - near_rim / 0.02, 0, 1)  # a step of two centimetres is another part of the head
    return torch.from_numpy((hard * soft).astype(np.float32))


def _sample_footprint(picture: np.ndarray, at: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(H, W, 3) the picture at pixel positions, blurred to each texel's footprint."""
    across = np.linalg.norm(np.diff(at, axis=1, append=at[:, -1:]), axis=-1)
    down = np.linalg.norm(np.diff(at, axis=0, append=at[-1:]), axis=-1)
    footprint = np.sqrt(np.maximum(across * down, 1e-12))
    level = np.clip(np.log2(np.maximum(footprint, 1)), 0, 6)
    level[~seen] = 0
    highest = int(math.ceil(float(np.quantile(level[seen], 0.995)))) if seen.any() else 0
    result = _remap(picture, at, cv2.INTER_CUBIC)
    layer = picture
    for index in range(1, highest + 1):
        height, width = layer.shape[:2]
        layer = cv2.resize(layer, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
        scale = np.array([layer.shape[1] / picture.shape[1], layer.shape[0] / picture.shape[0]], np.float32)
        blend = np.clip(level - (index - 1), 0, 1)[..., None]
        result = result * (1 - blend) + _remap(layer, at * scale, cv2.INTER_CUBIC) * blend
    return np.maximum(result, 0).astype(np.float32)


def _remap(picture: np.ndarray, at: np.ndarray, method: int) -> np.ndarray:
    """The picture at positions whose pixel centres are half-integers; edge pixels continue outside."""
    x = np.ascontiguousarray(at[..., 0] - 0.5, np.float32)
    y = np.ascontiguousarray(at[..., 1] - 0.5, np.float32)
    return cv2.remap(np.ascontiguousarray(picture, np.float32), x, y, method, borderMode=cv2.BORDER_REPLICATE)


def _smoothstep(low: float, high: float, x: Tensor) -> Tensor:
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)

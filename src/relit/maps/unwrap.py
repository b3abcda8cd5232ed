"""Photo -> UV: what colour the photo shows at every texel, and how far to trust it."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.geometry.smoothstep import smoothstep
from relit.geometry.uv import rasterise_uv
from relit.models.head import HeadModel, expression_morphs, neutral_vertices, posed_vertices, skin_vertices
from relit.render.occlusion import light_transfer
from relit.render.rasterise import Fragments, interpolate, rasterise
from relit.render.render import vertex_light
from relit.types import Camera, FaceFit, Observation

DEPTH_PX = 1024  # longer side of the depth picture that decides visibility
DEPTH_SLACK_M = 0.001
GRAZING = (0.12, 0.55)  # cosine to the camera between no trust and full trust
RIM_M = 0.004  # texels this near to an occluding contour mix with what lies behind
RIM_STEP_M = 0.02  # a depth step as large as this is an occluding contour
FACE_WEIGHT = (0.02, 0.3)  # of the head model, between no trust and full trust
LEAST_DIFFUSE = 0.4  # of the radiance in every channel that is never taken for reflection
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class View:
    """What one fit says about every vertex of the head model; its light holds on the skin alone."""

    camera: Camera
    exposure: Float[Tensor, "3"]
    pixels: Float[Tensor, "V 3"]  # x, y in the photo and depth in metres
    facing: Float[Tensor, "V"]  # cosine between the normal and the camera
    irradiance: Float[Tensor, "V 3"]  # of the fitted light, with self-shadowing
    specular: Float[Tensor, "V 3"]  # reflected towards the camera


@dataclass(frozen=True)
class Unwrapped:
    """One photo carried to the UV layout, with the light that the fit explains."""

    radiance: Float[Tensor, "H W 3"]  # linear, exposure removed
    irradiance: Float[Tensor, "H W 3"]
    specular: Float[Tensor, "H W 3"]
    visible: Float[Tensor, "H W"]  # [0, 1] how well the camera sees the texel, whatever covers it
    bare: Float[Tensor, "H W"]  # [0, 1] whether the photo's own mask calls it skin
    confidence: Float[Tensor, "H W"]  # [0, 1] trust that the radiance is that of the skin


def texels(model: HeadModel, rows: int, columns: int) -> Fragments:
    """The triangle and barycentric coordinates at every texel of the layout (depth is unused)."""
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, rows, columns)
    return Fragments(triangle, barycentric, torch.zeros(()))


def view_of(model: HeadModel, fit: FaceFit) -> View:
    """The posed head of a fit as the camera sees it, under the fitted light, shaded as the fit does."""
    neutral = neutral_vertices(model, fit.identity, fit.vertex_offset)
    vertices = posed_vertices(model, neutral, fit.expression, fit.gaze_rad, expression_morphs(model, neutral))
    normals = vertex_normals(vertices, model.triangles)
    towards = torch.nn.functional.normalize(camera_centre(fit.camera) - vertices, dim=-1)
    transfer = light_transfer(vertices, model.triangles, traced=skin_vertices(model))
    light = vertex_light(normals, normals, towards, fit.lighting, transfer)
    return View(
        camera=fit.camera,
        exposure=fit.exposure,
        pixels=project(fit.camera, vertices),
        facing=(normals * towards).sum(-1),
        irradiance=light[:, :3] * math.pi,
        specular=light[:, 3:6],
    )


def unwrap(model: HeadModel, observation: Observation, view: View, fragments: Fragments) -> Unwrapped:
    """The photo at every texel of the skin, filtered to the texel's footprint, with its trust; 0 where it is not seen.

    Trust is the product of visibility (depth test), facing (smooth between two grazing angles), distance to occluding
    contours, and the observation's skin mask.

    Source: texel footprints after Heckbert 1989, isotropic, over an area-averaged pyramid; bicubic where the photo is
    coarser than the map.
    """
    rows, columns = fragments.triangle.shape
    result = torch.zeros(rows, columns, 12)
    pyramid = _pyramid(observation.photo.linear.numpy())
    depths = _depth_picture(model, view, observation.face_box_px)
    edge = _footprint_px(model, view, rows, columns)
    per_vertex = torch.cat([view.pixels, view.irradiance, view.specular, model.face_weight[:, None]], 1)
    for first in range(0, rows, ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        triangle, barycentric = fragments.triangle[part], fragments.barycentric[part]
        whole = Fragments(triangle, barycentric, fragments.depth)
        sheet = interpolate(torch.cat([view.pixels[:, :2], view.facing[:, None]], 1), model.triangles, whole)
        skin = (triangle >= 0) & (model.part[triangle.clamp_min(0)] == 0)
        seen = skin & (sheet[..., 2] > GRAZING[0]) & _inside(sheet[..., :2], view.camera.size_px)
        if not seen.any():
            continue
        listed = Fragments(triangle[seen][:, None], barycentric[seen][:, None], fragments.depth)
        values = interpolate(per_vertex, model.triangles, listed)[:, 0]
        at, facing = values[:, :2].numpy(), sheet[..., 2][seen]
        visible = smoothstep(*GRAZING, facing) * _visible(depths, at, values[:, 2], facing)
        bare = torch.from_numpy(_read(observation.skin_mask.numpy(), at, cv2.INTER_LINEAR))
        confidence = visible * bare * smoothstep(*FACE_WEIGHT, values[:, 9])
        radiance = _read_footprint(pyramid, at, edge[listed.triangle[:, 0]].numpy()) / view.exposure
        result[part][seen] = torch.cat([radiance, values[:, 3:9], torch.stack([visible, bare, confidence], 1)], 1)
    return Unwrapped(result[..., :3], result[..., 3:6], result[..., 6:9], *result[..., 9:].unbind(-1))


def diffuse_radiance(seen: Unwrapped) -> Float[Tensor, "H W 3"]:
    """The radiance less the reflection that the fit expects, as far as every channel has that much to give.

    One factor for all channels: to bound each by itself would colour whatever the fitted light overrates.
    """
    most = ((1 - LEAST_DIFFUSE) * seen.radiance / seen.specular.clamp_min(1e-4)).amin(-1, keepdim=True)
    return seen.radiance - most.clamp_max(1) * seen.specular


def _inside(at: Tensor, size_px: tuple[int, int]) -> Tensor:
    return ((at >= 0) & (at <= torch.tensor([float(v) for v in size_px]))).all(-1)


@dataclass(frozen=True)
class _DepthPicture:
    """Depths of the head around the face, and where its pixels lie in the photo."""

    nearest: np.ndarray  # (S, S) metres, 1000 outside the head
    around: np.ndarray  # (S, S) nearest depth within the rim of an occluding contour
    corner_px: np.ndarray
    factor: float
    pixel_m: float


def _depth_picture(model: HeadModel, view: View, box_px: tuple[float, float, float, float]) -> _DepthPicture:
    left, top, right, bottom = box_px
    side = 1.7 * max(right - left, bottom - top)
    corner = ((left + right - side) / 2, (top + bottom - side) / 2)
    size = int(min(DEPTH_PX, max(128, math.ceil(side))))
    factor = size / side
    moved = torch.cat([(view.pixels[:, :2] - torch.tensor(corner)) * factor, view.pixels[:, 2:]], 1)
    nearest = rasterise(moved, model.triangles, (size, size)).depth.numpy()
    nearest = np.where(np.isfinite(nearest), nearest, 1e3).astype(np.float32)
    pixel_m = float(view.pixels[:, 2].median() / (view.camera.focal_px * factor))
    rim_px = max(1, round(RIM_M / pixel_m))
    around = cv2.erode(nearest, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim_px + 1, 2 * rim_px + 1)))
    return _DepthPicture(nearest, cv2.blur(around, (rim_px, rim_px)), np.array(corner, np.float32), factor, pixel_m)


def _visible(depths: _DepthPicture, at: np.ndarray, depth: Tensor, facing: Tensor) -> Tensor:
    """(P,) in [0, 1]: whether the head itself leaves a point in view, falling off towards occluding contours.

    The depth test allows for the slope of the surface across the pixels of the depth picture.
    """
    local = (at - depths.corner_px) * depths.factor
    cosine = facing.clamp_min(0.05).numpy()
    slack = DEPTH_SLACK_M + 1.5 * depths.pixel_m * np.sqrt(np.maximum(1 - cosine**2, 0)) / cosine
    hard = np.clip(2 - (depth.numpy() - _read(depths.nearest, local, cv2.INTER_NEAREST)) / slack, 0, 1)
    # a point also counts as hidden when a much nearer surface lies within the rim around it
    soft = np.clip(1.5 - (depth.numpy() - _read(depths.around, local, cv2.INTER_LINEAR)) / RIM_STEP_M, 0, 1)
    return torch.from_numpy((hard * soft).astype(np.float32))


def _footprint_px(model: HeadModel, view: View, rows: int, columns: int) -> Tensor:
    """(T,) edge of the square in the photo with the area that a texel of each triangle covers there."""
    chart = model.uv[model.render_triangles] * torch.tensor([float(columns), float(rows)])
    areas = []
    for corner in (view.pixels[model.triangles][..., :2], chart):
        first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        areas.append((first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).abs())
    return (areas[0] / areas[1].clamp_min(1e-6)).sqrt()


def _pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """The picture and its area-averaged halves."""
    layers = [picture]
    while min(layers[-1].shape[:2]) > 16 and len(layers) < 7:
        height, width = layers[-1].shape[:2]
        layers.append(cv2.resize(layers[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return layers


def _read_footprint(pyramid: list[np.ndarray], at: np.ndarray, footprint_px: np.ndarray) -> Tensor:
    """(P, 3) the picture at pixel positions, averaged over each point's footprint."""
    level = np.log2(np.maximum(footprint_px, 1)).clip(0, len(pyramid) - 1).astype(np.float32)
    result = _read(pyramid[0], at, cv2.INTER_CUBIC)
    full = np.array(pyramid[0].shape[1::-1], np.float32)
    for index, layer in enumerate(pyramid[1:]):
        coarse = np.flatnonzero(level > index)
        if len(coarse):
            scale = np.array(layer.shape[1::-1], np.float32) / full
            blend = np.minimum(level[coarse] - index, 1)[:, None]
            result[coarse] += blend * (_read(layer, at[coarse] * scale, cv2.INTER_CUBIC) - result[coarse])
    return torch.from_numpy(np.maximum(result, 0))


def _read(picture: np.ndarray, at: np.ndarray, method: int) -> np.ndarray:
    """(P, ...) the picture at positions (P, 2) whose pixel centres are half-integers; edge pixels continue outside."""
    columns = 1024  # OpenCV reads grids of less than 32768 rows
    grid = np.full((-(-len(at) // columns) * columns, 2), 0.5, np.float32)
    grid[: len(at)] = at
    x, y = (np.ascontiguousarray(grid[:, axis].reshape(-1, columns) - 0.5) for axis in (0, 1))
    values = cv2.remap(np.ascontiguousarray(picture, np.float32), x, y, method, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(-1, *picture.shape[2:])[: len(at)]

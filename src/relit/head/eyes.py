"""Eyes: the colour of the iris as the photo shows it, and the eyeballs' textures."""

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.harmonics import diffuse_irradiance
from relit.geometry.uv import dilate, rasterise_uv
from relit.models.eye_texture import eye_albedo
from relit.models.head import PARTS, HeadModel, gaze_rotation
from relit.types import FaceFit, Observation

# MediaPipe indices, left and right eye of the subject: iris centre (four points of its rim follow), edge of the lids.
_IRIS = (473, 468)
_LIDS = (
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
)
SMALLEST_PX = 3.5  # radius below which an iris shows no colour of its own
RING = (0.45, 0.85)  # of the radius: outside the pupil, inside the limbal ring
SHADE = 0.6  # part of the light that lids and lashes let through to the iris
ALBEDO = (0.008, 0.35)  # darkest and lightest iris


def iris_colour(observation: Observation, fit: FaceFit) -> Float[Tensor, "3"] | None:
    """The linear albedo of the irises in a photo; None where they are too small or covered.

    The middle of the brightness distribution of the visible ring counts: lashes and the shadow of the lid are darker,
    highlights brighter.
    """
    points = observation.landmarks.points_px
    found = []
    for side, (iris, lids) in enumerate(zip(_IRIS, _LIDS, strict=True)):
        colours = _ring(observation.photo.linear, points[iris : iris + 5].numpy(), points[list(lids)].numpy())
        if len(colours) < 12:
            continue
        light = colours.mean(1)
        low, high = light.quantile(torch.tensor([0.25, 0.7]))
        colour = colours[(light >= low) & (light <= high)].median(0).values
        ahead = gaze_rotation(fit.gaze_rad[side])[:, 2]
        irradiance = SHADE * diffuse_irradiance(fit.lighting.sh, ahead).clamp_min(1e-2)
        found.append((colour / fit.exposure * math.pi / irradiance).clamp(*ALBEDO))
    return torch.stack(found).mean(0) if found else None


def _ring(linear: Tensor, iris_px: np.ndarray, lids_px: np.ndarray) -> Tensor:
    """(P, 3) the pixels of the ring between pupil and limbus that lie between the lids."""
    centre, radius = iris_px[0], float(np.linalg.norm(iris_px[1:] - iris_px[0], axis=1).mean())
    if radius < SMALLEST_PX:
        return linear.new_zeros(0, 3)
    low = np.maximum(np.floor(centre - radius), 0).astype(int)
    high = np.ceil(centre + radius).astype(int) + 1
    part = linear[low[1] : high[1], low[0] : high[0]]
    if part.numel() == 0:
        return linear.new_zeros(0, 3)
    y, x = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    distance = np.hypot(x + low[0] - centre[0], y + low[1] - centre[1]) / radius
    opening = np.zeros(part.shape[:2], np.uint8)
    shrunk = (lids_px - lids_px.mean(0)) * np.array([1.0, 0.85]) + lids_px.mean(0)
    cv2.fillPoly(opening, [np.round(shrunk - low).astype(np.int32)], 1)
    return part[torch.from_numpy((distance > RING[0]) & (distance < RING[1]) & (opening > 0))]


def paint_eyes(
    model: HeadModel, albedo: Float[Tensor, "H W 3"], iris_colour: Float[Tensor, "3"]
) -> Float[Tensor, "H W 3"]:
    """The albedo map with both eyeballs painted in the given iris colour, gutters included."""
    rows, columns = albedo.shape[:2]
    eyes = torch.tensor([PARTS.index("left_eye"), PARTS.index("right_eye")])
    height = model.uv[model.render_triangles[torch.isin(model.part, eyes)], 1] * rows
    gutter = max(2, rows // 256)
    top, bottom = max(0, int(height.min()) - gutter), min(rows, int(height.max()) + 1 + gutter)
    # the layout as seen through the strip of rows that holds the eyes
    strip = torch.stack([model.uv[:, 0], (model.uv[:, 1] * rows - top) / (bottom - top)], 1)
    triangle, barycentric = rasterise_uv(strip, model.render_triangles, bottom - top, columns)
    inside = (triangle >= 0) & torch.isin(model.part[triangle.clamp_min(0)], eyes)
    offsets = torch.zeros_like(model.mean)
    offsets[model.eye_vertices[0]] = model.eye_template
    offsets[model.eye_vertices[1]] = model.eye_template
    corners = offsets[model.triangles[triangle[inside]]]
    before = albedo[top:bottom]
    painted = before.clone()
    painted[inside] = eye_albedo((corners * barycentric[inside][..., None]).sum(1), iris_colour)
    free = (inside | (triangle < 0))[..., None]
    result = albedo.clone()
    result[top:bottom] = torch.where(free, dilate(painted, inside, gutter), before)
    return result

"""Eyes: the colour of the iris as the photo shows it, and the eyeballs' textures."""

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.harmonics import diffuse_irradiance
from relit.head.paint import painted
from relit.models.contours import LEFT_EYE, RIGHT_EYE
from relit.models.eye_texture import eye_albedo
from relit.models.head import HeadModel, gaze_rotation
from relit.types import FaceFit, Observation

# MediaPipe indices, left and right eye of the subject: iris centre (four points of its rim follow), edge of the lids.
_IRIS, _LIDS = (473, 468), (LEFT_EYE, RIGHT_EYE)
SMALLEST_PX = 3.5  # radius below which an iris shows no colour of its own
RING = (0.40, 0.70)  # of the detected radius, which lies outside the iris: between the pupil and the limbal ring
SHADE = 0.8  # part of the light that lids and lashes let through to the iris
BROWN = torch.tensor([0.06, 0.028, 0.014])  # the commonest iris colour, where the photo does not tell
FLESH = (0.58, 0.33, 0.28)  # of the inner corner of the eye and the inside of the lids
REFLECTED = 0.01  # as an albedo: what the cornea (F0 0.025) sends back of surroundings darker than the light
DARKEST, LIGHTEST, FLOOR = 0.02, 0.35, 0.003  # mean of the darkest iris, lightest and least albedo of a channel


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
        low, high = light.quantile(torch.tensor([0.2, 0.6]))
        colour = colours[(light >= low) & (light <= high)].median(0).values
        ahead = gaze_rotation(fit.gaze_rad[side])[:, 2]
        irradiance = SHADE * diffuse_irradiance(fit.lighting.sh, ahead).clamp_min(1e-2)
        seen = colour / fit.exposure * math.pi / irradiance
        albedo = (seen - REFLECTED).clamp(FLOOR, LIGHTEST)
        # hardly any light comes back from the darkest irises: what is seen is a reflection, and they are brown
        certain = (albedo.mean() / DARKEST).clamp_max(1)
        hue = certain * _no_purer_than_brown(albedo / albedo.mean()) + (1 - certain) * BROWN / BROWN.mean()
        found.append(hue * albedo.mean().clamp_min(DARKEST))
    return torch.stack(found).mean(0) if found else None


def _no_purer_than_brown(hue: Tensor) -> Tensor:
    """A hue (3,) of mean 1, paler where its least channel is less than brown's: small pictures code colour coarsely."""
    least = (BROWN / BROWN.mean()).log().min()
    paler = (hue.log() * (least / hue.log().min()).clamp(0, 1)).exp()
    return paler / paler.mean()


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
    """The albedo map with both eyeballs painted in the given iris colour, and the flesh in the corners of the eyes."""
    flesh = lambda place: torch.tensor(FLESH).expand(len(place), 3)  # noqa: E731
    albedo = painted(model, albedo, ("eye_sockets",), model.mean, flesh)
    offsets = torch.zeros_like(model.mean)
    offsets[model.eye_vertices[0]] = model.eye_template
    offsets[model.eye_vertices[1]] = model.eye_template
    return painted(model, albedo, ("left_eye", "right_eye"), offsets, lambda offset: eye_albedo(offset, iris_colour))

"""The colour of the irises, told by rendering eyes of known colours in the photo's light."""

from dataclasses import fields, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.colour import typology_angle_deg
from relit.geometry.camera import cropped, project
from relit.geometry.smoothstep import smoothstep
from relit.head.eyes import paint_eyes
from relit.models.contours import LEFT_EYE, RIGHT_EYE
from relit.models.head import IRIS_RADIUS_MM, HeadModel, posed_vertices
from relit.models.regions import region_masks
from relit.render.portrait import render_head
from relit.types import FaceFit, Head, Observation, ReflectanceMaps

# MediaPipe indices, left and right eye of the subject: iris centre (four points of its rim follow), edge of the lids.
_IRIS, _LIDS = (473, 468), (LEFT_EYE, RIGHT_EYE)
SMALLEST_PX = 3.5  # radius below which an iris shows no colour of its own
RENDERED_PX = 14.0  # radius at which it is rendered
RING = (0.40, 0.70)  # of the radius: between the pupil and the limbal ring
MIDDLE = (0.2, 0.6)  # of the brightness in that ring: lashes and the shade of the lid are darker, highlights brighter
KNOWN = (0.004, 0.15)  # albedo of the irises that are rendered
BROWN = torch.tensor([0.06, 0.028, 0.014])  # the commonest iris colour, where the photo does not tell
DARK_SKIN_DEG = (-35.0, 5.0)  # typology angle of skin between irises that are grey at most, and irises of any colour
DARKEST, TELLING = 0.01, 0.07  # mean albedo of the darkest iris, and of one whose hue is told
LIGHTEST, FLOOR = 0.35, 0.003  # of a channel
BROWN_TO_BLUE, OFF = (-0.72, 0.25), 0.3  # half the log of blue to red; of log purple or green beside that
COARSE = 512  # rows of maps that are enough for it


def iris_colour(model: HeadModel, head: Head, observation: Observation, fit: FaceFit) -> Float[Tensor, "3"] | None:
    """The linear albedo of the irises in a photo; None where they are too small or covered.

    Two heads with grey irises are rendered as in the photo; between them, or beyond, lies the one that looks as the
    photo does. So lids, lashes, the wet surface and the light count as they will when the head is rendered. Skin and
    irises share their melanin: in dark skin an iris that seems blue shows that the light is not quite understood.

    Args:
        head: finished but for the eyes.
    """
    points = observation.landmarks.points_px
    vertices = posed_vertices(model, head.vertices, fit.expression, fit.gaze_rad, head.morphs)
    poles = project(fit.camera, vertices[model.eye_vertices[:, 0]])
    coarse = _coarse(head.maps)
    bluest = BROWN_TO_BLUE[1] * float(smoothstep(*DARK_SKIN_DEG, typology_angle_deg(_skin(coarse))))
    found = []
    for side, (iris, lids) in enumerate(zip(_IRIS, _LIDS, strict=True)):
        centre, rim = points[iris], points[iris + 1 : iris + 5]
        radius = float((rim - centre).norm(dim=1).mean())
        opening = points[list(lids)].numpy()
        seen = _middle(observation.photo.linear.numpy() / fit.exposure.numpy(), centre.numpy(), radius, opening)
        if radius < SMALLEST_PX or seen is None:
            continue
        scale = RENDERED_PX / float(fit.camera.focal_px / poles[side, 2] * IRIS_RADIUS_MM / 1000)
        corner = poles[side, :2] - 2.5 * RENDERED_PX / scale
        box = (*corner.tolist(), *(corner + 5 * RENDERED_PX / scale).tolist())
        camera = cropped(fit.camera, box, (round(5 * RENDERED_PX),) * 2)
        rendered = []
        for albedo in KNOWN:
            eyes = paint_eyes(model, coarse.diffuse_albedo, torch.full((3,), albedo))
            own = replace(head, maps=replace(coarse, diffuse_albedo=eyes))
            picture = render_head(own, camera, fit.lighting, fit.expression, fit.gaze_rad)[..., :3].numpy()
            at = np.full(2, 2.5 * RENDERED_PX)
            rendered.append(_middle(picture, at, RENDERED_PX, (opening - corner.numpy()) * scale))
        if any(one is None for one in rendered):
            continue
        dark, light = rendered
        share = (seen - dark) / (light - dark).clamp_min(1e-4)
        albedo = (KNOWN[0] + share * (KNOWN[1] - KNOWN[0])).clamp(FLOOR, LIGHTEST)
        # little light comes back from dark irises: where they seem grey that is a reflection, and they are brown
        certain = torch.maximum(albedo.mean() / TELLING, albedo[2] / albedo[0] - 1) * 2 - 0.6
        certain = certain.clamp(0, 1)
        hue = certain * _natural(albedo / albedo.mean(), bluest) + (1 - certain) * BROWN / BROWN.mean()
        found.append(hue * albedo.mean().clamp_min(DARKEST))
    return torch.stack(found).mean(0) if found else None


def _skin(maps: ReflectanceMaps) -> Tensor:
    """(3,) the typical albedo of cheeks and forehead."""
    masks = region_masks(*maps.roughness.shape, ("cheeks", "forehead"))
    return maps.diffuse_albedo[torch.maximum(masks["cheeks"], masks["forehead"]) > 0.7].median(0).values


def _coarse(maps: ReflectanceMaps) -> ReflectanceMaps:
    """The maps at about COARSE rows, every so many texels of them."""
    step = max(1, maps.roughness.shape[0] // COARSE)
    told = {one.name: getattr(maps, one.name) for one in fields(maps)}
    return ReflectanceMaps(**{name: told[name][::step, ::step].contiguous() for name in told if told[name] is not None})


def _natural(hue: Tensor, bluest: float) -> Tensor:
    """A hue (3,) of mean 1, no farther from what irises have, brown to blue, than the light's own colour may be mistaken."""
    red, blue = float((hue[0] / hue[1]).log()), float((hue[2] / hue[1]).log())
    bluish, purple = min(max((blue - red) / 2, BROWN_TO_BLUE[0]), bluest), min(max((blue + red) / 2, -OFF), OFF)
    natural = torch.tensor([purple - bluish, 0.0, purple + bluish]).exp()
    return natural / natural.mean()


def _middle(linear: np.ndarray, centre: np.ndarray, radius: float, lids_px: np.ndarray) -> Tensor | None:
    """(3,) the typical colour of the ring of an iris between the lids; None where too little of it is to be seen."""
    low = np.maximum(np.floor(centre - radius), 0).astype(int)
    high = np.ceil(centre + radius).astype(int) + 1
    part = linear[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        return None
    y, x = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    distance = np.hypot(x + low[0] - centre[0], y + low[1] - centre[1]) / radius
    opening = np.zeros(part.shape[:2], np.uint8)
    shrunk = (lids_px - lids_px.mean(0)) * np.array([1.0, 0.85]) + lids_px.mean(0)
    cv2.fillPoly(opening, [np.round(shrunk - low).astype(np.int32)], 1)
    colours = part[(distance > RING[0]) & (distance < RING[1]) & (opening > 0)]
    if len(colours) < 12:
        return None
    light = colours.mean(1)
    low, high = np.quantile(light, MIDDLE)
    return torch.from_numpy(np.median(colours[(light >= low) & (light <= high)], 0).astype(np.float32))

"""Pictures that show a result: the photo, the fit over it, and the head in new light, views and expressions."""

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.lighting import load_lighting, rotate_lighting
from relit.export.images import as_8bit, shrunk, to_8bit, write_png
from relit.geometry.camera import cropped, look_at_face, project
from relit.geometry.transforms import rotation_from_yaw_pitch
from relit.models.contours import LEFT_EYE, MOUTH, RIGHT_EYE
from relit.models.head import ARKIT_NAMES, PARTS, load_head_model, posed_vertices
from relit.render.portrait import reduced_maps, render_head, tonemap_srgb
from relit.render.rasterise import interpolate, rasterise
from relit.types import Camera, Head, Lighting, Observation

TILE_PX = (480, 600)  # width, height: the tiles of the preview
SMALL_TILE_PX = (336, 420)  # further pictures of the report
FINEST_PX = 2048  # of the maps that they are drawn with
PORTRAIT_HEIGHT_M = 0.34  # what a portrait shows of a head, from above the crown to the collar bones
FACE_IN_TILE = 0.46  # height of the landmarks over the height of a photo tile
BACKDROP = (0.050, 0.012)  # linear grey in the middle and at the corners
OPENING_PX = 7  # width of the line around eyes and mouth, which are the face's own
SIDE_DEG, THREE_QUARTER_DEG = 78.0, 35.0

EXPRESSIONS = {
    "Smile": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "jawOpen": 0.12},
    "Blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "Surprise": {"browInnerUp": 0.9, "jawOpen": 0.5, "eyeWideLeft": 0.8, "eyeWideRight": 0.8},
}


@dataclass(frozen=True)
class Pictures:
    """8-bit sRGB pictures by caption. Photo, landmarks and overlay have one entry per photo."""

    photo: dict[str, np.ndarray]
    landmarks: dict[str, np.ndarray]
    overlay: dict[str, np.ndarray]
    relit: dict[str, np.ndarray]  # front, three-quarter, side
    lights: dict[str, np.ndarray]
    views: dict[str, np.ndarray]
    expressions: dict[str, np.ndarray]


def make_pictures(head: Head, observations: tuple[Observation, ...], step=lambda done, total: None) -> Pictures:
    """Everything that preview and report show, rendered; `step(done, total)` is told of each picture."""
    head = replace(head, maps=reduced_maps(head.maps, FINEST_PX))
    window, studio = load_lighting("window"), load_lighting("studio")
    posed = head.fits[0].expression
    wanted = {
        ("relit", "front"): (window, 0, 0, posed),
        ("relit", "three-quarter"): (studio, THREE_QUARTER_DEG, 0, posed),
        ("relit", "side"): (load_lighting("rim"), SIDE_DEG, 0, posed),
        ("lights", "Sun"): (load_lighting("sun"), -12, 0, None),
        ("lights", "Sunset"): (load_lighting("sunset"), -12, 0, None),
        ("lights", "Night"): (load_lighting("night"), -12, 0, None),
        ("views", "60° to the right"): (studio, -60, 0, None),
        ("views", "30° down"): (studio, 0, -30, None),
        ("views", "30° up"): (studio, 0, 30, None),
        **{("expressions", name): (window, 8, 0, expression_of(weights)) for name, weights in EXPRESSIONS.items()},
    }
    total = len(wanted) + len(observations)
    made: dict[str, dict[str, np.ndarray]] = {group.name: {} for group in fields(Pictures)}
    names = distinct([seen.photo.name for seen in observations])
    for index, (fit, seen, name) in enumerate(zip(head.fits, observations, names, strict=True)):
        photo, camera = photo_tile(seen, fit.camera)
        made["photo"][name] = to_8bit(photo)
        made["landmarks"][name] = _with_landmarks(made["photo"][name], seen, fit.camera, camera)
        made["overlay"][name] = to_8bit(overlay(head, index, photo, seen, camera))
        step(index + 1, total)
    for index, ((group, name), (light, yaw, pitch, expression)) in enumerate(wanted.items()):
        size = TILE_PX if group == "relit" else SMALL_TILE_PX
        made[group][name] = portrait(head, light, yaw, pitch, size, expression)
        step(len(observations) + index + 1, total)
    return Pictures(**made)


def distinct(names: list[str]) -> list[str]:
    """The names, repeated ones with a number: photos of several folders may be called alike."""
    return [f"{name} ({names[:index].count(name) + 1})" if name in names[:index] else name for index, name in enumerate(names)]


def write_preview(pictures: Pictures, path: Path) -> None:
    """Writes photo | overlay | relit front | three-quarter | side as one row; of several photos the first."""
    tiles = [next(iter(pictures.photo.values())), next(iter(pictures.overlay.values())), *pictures.relit.values()]
    write_png(path, np.concatenate(tiles, 1))


def portrait(
    head: Head,
    lighting: Lighting,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    size_px: tuple[int, int] = TILE_PX,
    expression: Float[Tensor, "52"] | None = None,
    backdrop: bool = True,
) -> np.ndarray:
    """An 8-bit portrait before a dark backdrop [H, W, 3], or with alpha [H, W, 4]. The head turns, the light stays.

    Args:
        lighting: in the frame of a head that looks into the camera.
        yaw_deg: > 0 turns the face to the subject's left.
        pitch_deg: > 0 tips it up.
    """
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    turned = rotate_lighting(lighting, rotation_from_yaw_pitch(yaw, pitch).T)
    field_m = PORTRAIT_HEIGHT_M * min(size_px) / size_px[1]
    camera = look_at_face(size_px, field_m=field_m, yaw_rad=yaw, pitch_rad=pitch)
    rgba = render_head(head, camera, turned, expression=expression)
    if backdrop:
        return as_8bit(tonemap_srgb(_over(rgba, _backdrop(size_px))))
    coverage = rgba[..., 3:]
    return as_8bit(torch.cat([tonemap_srgb(rgba[..., :3] / coverage.clamp_min(1e-4)), coverage], -1))


def overlay(
    head: Head, index: int, photo: Float[Tensor, "H W 3"], seen: Observation, camera: Camera
) -> Float[Tensor, "H W 3"]:
    """The fitted face, in its own pose, expression, light and exposure, over the photo, which keeps hair, hats and glasses."""
    fit, model = head.fits[index], load_head_model()
    rgba = render_head(head, camera, fit.lighting, expression=fit.expression, gaze_rad=fit.gaze_rad)
    vertices = posed_vertices(model, head.vertices, fit.expression, fit.gaze_rad, head.morphs)
    fragments = rasterise(project(camera, vertices), model.triangles, camera.size_px)
    weight = interpolate(model.face_weight[:, None], model.triangles, fragments)
    inside = model.part[fragments.triangle.clamp_min(0)] != PARTS.index("skin")  # eyes, teeth and tongue
    face = torch.where(inside[..., None], torch.ones_like(weight), weight) * _uncovered(seen, fit.camera, camera)[..., None]
    return _over(torch.cat([rgba[..., :3] * fit.exposure, rgba[..., 3:]], -1) * face, photo)


def expression_of(weights: dict[str, float]) -> Float[Tensor, "52"]:
    """The 52 weights of an expression from some of them by ARKit name; the others are 0."""
    return torch.tensor([weights.get(name, 0.0) for name in ARKIT_NAMES])


def photo_tile(seen: Observation, camera: Camera) -> tuple[Float[Tensor, "H W 3"], Camera]:
    """The photo cut around the face at tile size, grey where it ends, and the camera that shows the same."""
    rows, columns = seen.photo.linear.shape[:2]
    low, high = seen.landmarks.points_px.amin(0), seen.landmarks.points_px.amax(0)
    height = float(high[1] - low[1]) / FACE_IN_TILE
    width = height * TILE_PX[0] / TILE_PX[1]
    centre_x, centre_y = ((low + high) / 2).tolist()
    left = _shifted_inside(centre_x - width / 2, width, columns)
    top = _shifted_inside(centre_y - 0.54 * height, height, rows)
    factor = TILE_PX[1] / height
    picture = shrunk(seen.photo.linear, max(1, round(factor * max(rows, columns))))
    zoom = factor * columns / picture.shape[1]
    # Pixel centres lie at half-integers in relit and at integers in OpenCV.
    matrix = np.array([[zoom, 0, zoom / 2 - 0.5 - left * factor], [0, zoom, zoom / 2 - 0.5 - top * factor]])
    tile = cv2.warpAffine(picture.numpy(), matrix, TILE_PX, flags=cv2.INTER_LINEAR, borderValue=BACKDROP[:1] * 3)
    return torch.from_numpy(tile), cropped(camera, (left, top, left + width, top + height), TILE_PX)


def _with_landmarks(tile: np.ndarray, seen: Observation, camera: Camera, tile_camera: Camera) -> np.ndarray:
    """The photo tile with the detected landmarks drawn on it."""
    points = _in_tile(seen.landmarks.points_px, camera, tile_camera)
    drawn = tile.copy()
    for x, y in ((points - 0.5) * 16).round().int().tolist():
        cv2.circle(drawn, (x, y), 28, (90, 235, 200), -1, cv2.LINE_AA, 4)
    return drawn


def _in_tile(points_px: Float[Tensor, "*P 2"], camera: Camera, tile_camera: Camera) -> Float[Tensor, "*P 2"]:
    """Points of the photo in pixels of its tile."""
    return (points_px - camera.centre_px) * (tile_camera.focal_px / camera.focal_px) + tile_camera.centre_px


def _uncovered(seen: Observation, camera: Camera, tile_camera: Camera) -> Float[Tensor, "H W"]:
    """[0, 1] where a tile shows bare skin, eyes or the inside of the mouth."""
    factor = float(tile_camera.focal_px / camera.focal_px)
    shift = _in_tile(torch.full((2,), 0.5), camera, tile_camera) - 0.5  # pixel centres as in photo_tile
    matrix = np.array([[factor, 0, float(shift[0])], [0, factor, float(shift[1])]])
    size = tuple(tile_camera.size_px)
    mask = cv2.warpAffine(cv2.GaussianBlur(seen.skin_mask.numpy(), (0, 0), max(0.4 / factor, 0.1)), matrix, size)
    points = _in_tile(seen.landmarks.points_px, camera, tile_camera)
    openings = np.zeros(size[::-1], np.uint8)
    for outline in (LEFT_EYE, RIGHT_EYE, MOUTH):
        drawn = (points[list(outline)] * 16).round().int().numpy()
        cv2.fillPoly(openings, [drawn], 255, cv2.LINE_AA, 4)
        cv2.polylines(openings, [drawn], True, 255, OPENING_PX, cv2.LINE_AA, 4)  # masks leave out their rims as well
    return torch.from_numpy(np.maximum(mask, openings.astype(np.float32) / 255))


def _over(rgba: Float[Tensor, "H W 4"], background: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W 3"]:
    return rgba[..., :3] + (1 - rgba[..., 3:]) * background


def _backdrop(size_px: tuple[int, int]) -> Float[Tensor, "H W 3"]:
    """A dark grey that falls off towards the corners."""
    x = torch.linspace(-1, 1, size_px[0])
    y = torch.linspace(-1, 1, size_px[1])[:, None]
    falloff = torch.exp(-1.2 * (x**2 + y**2))
    return (BACKDROP[1] + (BACKDROP[0] - BACKDROP[1]) * falloff)[..., None].expand(-1, -1, 3)


def _shifted_inside(start: float, length: float, limit: float) -> float:
    """The start of an interval moved so that it lies in [0, limit]; centred when it is longer."""
    return (limit - length) / 2 if length >= limit else min(max(start, 0.0), limit - length)

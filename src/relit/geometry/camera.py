"""The pinhole camera: the only place where the OpenCV camera frame meets the glTF head frame."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.transforms import apply, inverse_rigid, rigid, rotation_from_yaw_pitch
from relit.types import Camera

FULL_FRAME_DIAGONAL_MM = 43.27  # 36 x 24 mm: what "35 mm equivalent" refers to


def project(camera: Camera, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Pixel coordinates and depth (x_px, y_px, depth in metres) of points in the head frame.

    Convention: pixel centres at half-integers; a point on the optical axis lands on `centre_px`.
    """
    in_camera = apply(camera.camera_from_head, points)
    depth = in_camera[..., 2:]
    return torch.cat([in_camera[..., :2] / depth * camera.focal_px + camera.centre_px, depth], -1)


def camera_centre(camera: Camera) -> Float[Tensor, "3"]:
    """The camera's position in the head frame, metres."""
    return inverse_rigid(camera.camera_from_head)[:3, 3]


def scaled(camera: Camera, factor: float) -> Camera:
    """The camera of the same picture resized by `factor`."""
    width, height = camera.size_px
    return replace(
        camera,
        focal_px=camera.focal_px * factor,
        centre_px=camera.centre_px * factor,
        size_px=(round(width * factor), round(height * factor)),
    )


def cropped(camera: Camera, box_px: tuple[float, float, float, float], size_px: tuple[int, int]) -> Camera:
    """The camera of the part `box_px` (left, top, right, bottom) of the picture, resized to `size_px` (width, height).

    Raises:
        ValueError: the box and the size have different aspect, which would need two focal lengths.
    """
    left, top, right, bottom = box_px
    factor = size_px[0] / (right - left)
    if abs(size_px[1] / (bottom - top) - factor) > 1e-2 * factor:
        raise ValueError(f"box {box_px} and size {size_px} must have one aspect")
    corner = camera.centre_px.new_tensor([left, top])
    return replace(
        camera, focal_px=camera.focal_px * factor, centre_px=(camera.centre_px - corner) * factor, size_px=size_px
    )


def focal_from_35mm(focal_35mm: float, size_px: tuple[int, int]) -> float:
    """Focal length in pixels of an uncropped photo with the given 35 mm equivalent focal length.

    Source: equivalence by the diagonal, as CIPA DCG-001 defines it.
    """
    return focal_35mm / FULL_FRAME_DIAGONAL_MM * math.hypot(*size_px)


def look_at_face(
    size_px: tuple[int, int],
    distance_m: float = 1.2,
    field_m: float = 0.34,
    yaw_rad: float = 0.0,
    pitch_rad: float = 0.0,
) -> Camera:
    """A portrait camera that shows a face turned by (yaw, pitch), with `field_m` metres across the shorter side."""
    focal = min(size_px) * distance_m / field_m
    head = torch.tensor([0.0, -0.005, 0.02])  # near the middle of the head, so that turning keeps it in the frame
    camera_from_world = rigid(torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.tensor([0.0, 0.0, distance_m]))
    turn = rotation_from_yaw_pitch(yaw_rad, pitch_rad)
    return Camera(
        focal_px=torch.tensor(float(focal)),
        centre_px=torch.tensor([size_px[0] / 2, size_px[1] / 2]),
        size_px=size_px,
        camera_from_head=camera_from_world @ rigid(turn, -turn @ head),
    )


def orbit(camera: Camera, yaw_rad: float, pitch_rad: float, centre: Float[Tensor, "3"]) -> Camera:
    """The camera after the head has turned by (yaw, pitch) about `centre` (head frame); the light turns with it."""
    turn = rotation_from_yaw_pitch(yaw_rad, pitch_rad).to(centre)
    return replace(camera, camera_from_head=camera.camera_from_head @ rigid(turn, centre - turn @ centre))

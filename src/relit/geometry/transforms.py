"""Rotations and rigid transforms. Names say the frames: `camera_from_head @ head_from_eye`."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def rotation_from_vector(rotation_vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of axis-angle vectors, differentiable at zero.

    Args:
        rotation_vector: axis times angle in radians.

    Source: Rodrigues' formula, R = I + sin(t)/t K + (1 - cos t)/t^2 K^2, with the series below 1e-3 rad.
    """
    x, y, z = rotation_vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    squared = (rotation_vector**2).sum(-1)[..., None, None]
    small = squared < 1e-6
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    first = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    second = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    return torch.eye(3, dtype=cross.dtype, device=cross.device) + first * cross + second * (cross @ cross)


def rotation_from_yaw_pitch(yaw_rad: float, pitch_rad: float) -> Float[Tensor, "3 3"]:
    """The rotation that turns a head to its left by `yaw_rad` and tips it up by `pitch_rad`, in the head frame.

    Convention: yaw pi/2 takes the look direction +Z to +X (the subject's left).
    """
    yaw = rotation_from_vector(torch.tensor([0.0, yaw_rad, 0.0]))
    pitch = rotation_from_vector(torch.tensor([-pitch_rad, 0.0, 0.0]))
    return yaw @ pitch


def rigid(rotation: Float[Tensor, "3 3"], translation: Float[Tensor, "3"]) -> Float[Tensor, "4 4"]:
    """The 4x4 matrix that rotates, then translates."""
    top = torch.cat([rotation, translation[:, None]], 1)
    return torch.cat([top, top.new_tensor([[0.0, 0.0, 0.0, 1.0]])], 0)


def inverse_rigid(transform: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
    """The inverse of a rigid 4x4 matrix."""
    rotation = transform[:3, :3].T
    return rigid(rotation, -rotation @ transform[:3, 3])


def apply(transform: Float[Tensor, "4 4"], points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Points carried into the frame that the transform leads to."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def yaw_of(camera_from_head: Float[Tensor, "4 4"]) -> float:
    """Yaw in radians of a head as the camera sees it; > 0 when the face is turned to the subject's left."""
    look = camera_from_head[:3, :3] @ camera_from_head.new_tensor([0.0, 0.0, 1.0])
    return math.atan2(float(look[0]), -float(look[2]))


def unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors (..., 3) at length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)

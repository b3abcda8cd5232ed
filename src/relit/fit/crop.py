"""The square around a face that fits look at."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from relit.types import Observation


def face_crop_px(observation: Observation, margin: float = 1.5) -> tuple[float, float, float, float]:
    """The square (left, top, right, bottom) around the landmarks, `margin` times their extent; may leave the photo."""
    points = observation.landmarks.points_px[:468]
    low, high = points.min(0).values, points.max(0).values
    centre, half = (low + high) / 2, float((high - low).max()) * margin / 2
    return tuple(float(v) for v in (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half))


def crop_picture(picture: Tensor, box_px: tuple[float, float, float, float], size_px: int) -> Tensor:
    """[S, S, C] the part of a picture, area-filtered when it shrinks, edge-replicated outside."""
    height, width = picture.shape[:2]
    left, top, right, bottom = box_px
    factor = size_px / (right - left)
    planes = picture.permute(2, 0, 1)[None]
    if factor < 1:
        planes = resize(planes, scale_factor=factor, mode="area" if factor < 0.5 else "bilinear", antialias=False)
    grid = (torch.arange(size_px) + 0.5) / size_px
    x = (left + grid * (right - left)) / width * 2 - 1
    y = (top + grid * (bottom - top)) / height * 2 - 1
    at = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    return torch.nn.functional.grid_sample(planes, at, padding_mode="border", align_corners=False)[0].permute(1, 2, 0)

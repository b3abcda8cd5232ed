"""Which pixels of a photo show bare facial skin."""

import cv2
import numpy as np
import torch
from torch import Tensor

from relit.types import Landmarks

OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
MOUTH = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)


def skin_mask(linear: Tensor, landmarks: Landmarks) -> Tensor:
    """(H, W) in [0, 1]: the face oval without eyes and mouth opening."""
    points = landmarks.points_px.numpy()
    mask = np.zeros(linear.shape[:2], np.float32)
    fill = lambda ids, value: cv2.fillPoly(mask, [np.round(points[list(ids)]).astype(np.int32)], value)  # noqa: E731
    fill(OVAL, 1.0)
    for hole in (*EYES, MOUTH):
        fill(hole, 0.0)
    sigma = max(1.0, 0.006 * float(np.linalg.norm(points[33] - points[263])))
    return torch.from_numpy(cv2.GaussianBlur(mask, (0, 0), sigma))

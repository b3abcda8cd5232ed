"""Contact sheets of synthetic subjects, to be looked at beside real portraits."""

import math

import cv2
import numpy as np

from relit.progress import SILENT, Progress
from relit.synth.sample import Order, make_sample

UV_FILES = ("lit.png", "albedo.png", "specular_normal.png", "roughness.png")


def contact_sheet(order: Order, first: int = 0, progress: Progress = SILENT) -> np.ndarray:
    """(H, W, 3) uint8 sRGB: photos side by side at full size, or rows of lit texture, albedo, normals and roughness."""
    order.check()
    tiles = []
    with progress.stage("sheet") as step:
        for k in range(order.count):
            files = make_sample(order, first + k)
            names = ("photo.jpg",) if order.kind == "photo" else UV_FILES
            tiles.append(np.hstack([_decoded(files[name]) for name in names]))
            step(k + 1, order.count)
    across = math.ceil(math.sqrt(order.count)) if order.kind == "photo" else 1
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % across)
    return np.vstack([np.hstack(tiles[i : i + across]) for i in range(0, len(tiles), across)])


def _decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

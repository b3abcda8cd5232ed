"""PNG files of maps, written fast: one filter, and runs in place of a search."""

import cv2
import numpy as np

_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]


def encode_png(picture: np.ndarray) -> bytes:
    """The PNG file of a picture, lossless.

    Args:
        picture: (H, W) grey or (H, W, 3) RGB, uint8 or uint16.
    """
    colour = picture.ndim == 3
    if picture.dtype not in (np.uint8, np.uint16) or (colour and picture.shape[2] != 3):
        raise ValueError(f"a PNG of grey or RGB in 8 or 16 bits is written, not {picture.dtype} {picture.shape}")
    ordered = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if colour else np.ascontiguousarray(picture)
    return cv2.imencode(".png", ordered, _FAST)[1].tobytes()

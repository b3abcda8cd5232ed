"""Filters on whole maps that respect missing texels: blur, fill, bands."""

import cv2
import numpy as np
import torch
from torch import Tensor


def window_share(size: tuple[int, int], spans: tuple, rims: tuple[float, float]) -> Tensor:
    """(H, W) [0, 1] a window of a map, fading out at its edge.

    Args:
        spans: where the window starts and stops, along rows and along columns, in texels.
        rims: over how many texels it fades.
    """
    places = [torch.arange(side) + 0.5 for side in size]
    rows, columns = (
        (torch.minimum(at - start, stop - at) / rim).clamp(0, 1)
        for at, (start, stop), rim in zip(places, spans, rims, strict=True)
    )
    return torch.minimum(rows[:, None], columns[None])


def at_size(texture: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W, C) the texture at another size, half-integer texel centres, within its own range of values."""
    texture = texture.detach().contiguous()
    resized = cv2.resize(texture.numpy(), tuple(size)[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, -1)
    return torch.from_numpy(resized).clamp_(*(float(bound) for bound in texture.aminmax()))


def blur(image: np.ndarray, sigma_texels: float) -> np.ndarray:
    """(H, W) or (H, W, C) the image blurred by a Gaussian; wide ones on a smaller copy, which they make no worse."""
    factor = max(1, int(sigma_texels // 4))
    if factor == 1:
        return cv2.GaussianBlur(image, (0, 0), sigma_texels, borderType=cv2.BORDER_REPLICATE)
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(2, width // factor), max(2, height // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma_texels / factor, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def weighted_blur(image: np.ndarray, weight: np.ndarray, sigma_texels: float) -> np.ndarray:
    """(H, W, C) Gaussian mean of the texels of an image (H, W, C) that have weight (H, W).

    Source: normalised convolution, Knutsson & Westin 1993.
    """
    total = blur(weight, sigma_texels)
    return blur(image * weight[..., None], sigma_texels) / np.maximum(total, 1e-4)[..., None]


def fill(image: np.ndarray, weight: np.ndarray, far: np.ndarray, reach: float) -> np.ndarray:
    """The image where it has weight, continued smoothly elsewhere, and tending to `far` with distance.

    Every texel takes the finest pyramid level that knows about it, so that values and gradients meet at the border
    (the pull-push solution of the membrane equation).

    Args:
        far: (3,) value that the continuation falls back to.
        reach: weight of that value per pyramid level; 0 is a pure membrane.

    Source: Gortler et al. 1996 (pull-push); the fallback adds the screening of Bhat et al. 2008.
    """
    levels = [(image * weight[..., None], weight)]
    while min(levels[-1][1].shape) > 2:
        colour, known = levels[-1]
        size = (max(1, known.shape[1] // 2), max(1, known.shape[0] // 2))
        known = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        colour = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
        # a little knowledge is enough: weights saturate, else distant texels would dominate near ones
        gain = np.minimum(known * 3, 1) / np.maximum(known, 1e-8)
        levels.append((colour * gain[..., None], known * gain))
    result = np.broadcast_to(far, (*levels[-1][1].shape, 3)).astype(np.float32)
    for colour, known in reversed(levels):
        size = (known.shape[1], known.shape[0])
        up = cv2.resize(result, size, interpolation=cv2.INTER_LINEAR)
        up = up * (1 - reach) + far * reach
        result = colour + up * (1 - known[..., None])
    return result

"""Light spread below the skin: red travels millimetres, blue hardly any, so shadows' edges soften and turn warm."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from numba import njit
from torch import Tensor

from relit.render import kernels

# The diffusion profile of skin as a sum of Gaussians: variance in mm^2, then weights for red, green, blue.
# Source: d'Eon & Luebke 2007, GPU Gems 3, chapter 14, figure 14-13 (three-layer skin).
PROFILE = (
    (0.0064, 0.233, 0.455, 0.649),
    (0.0484, 0.100, 0.336, 0.344),
    (0.187, 0.118, 0.198, 0.000),
    (0.567, 0.113, 0.007, 0.007),
    (1.99, 0.358, 0.004, 0.000),
    (7.41, 0.078, 0.000, 0.000),
)
TAPS = 21
REACH_MM = 7.0
JUMP_M = 0.004  # a step in depth that light does not cross


def scatter(
    irradiance: Float[Tensor, "H W 3"],
    depth: Float[Tensor, "H W"],
    skin: Bool[Tensor, "H W"],
    focal_px: float,
) -> Float[Tensor, "H W 3"]:
    """Irradiance after it has spread below the surface, in the picture plane; pixels outside `skin` stay as they are.

    The albedo is multiplied on afterwards: it was seen on skin whose light had spread already.

    Source: separable screen-space scattering, Jimenez et al. 2015, with the sum of Gaussians as the profile along
    each axis. Differs: taps across a step in depth are left out instead of pulled to the centre.
    """
    offset, weight = _profile()
    arrays = [x.contiguous().numpy() for x in (depth, skin)]
    image = irradiance.contiguous().numpy()
    for axis in (0, 1):
        out = image.copy()
        source = image
        kernels.in_bands(
            len(out),
            lambda _, a, b, s=source, o=out, x=axis: _spread(s, *arrays, offset, weight, focal_px, x, o, a, b),
        )
        image = out
    return torch.from_numpy(image)


def _profile() -> tuple[np.ndarray, np.ndarray]:
    """Offsets in mm, dense near the centre, and the profile's integral over each tap's cell, per channel."""
    ramp = np.linspace(-1, 1, TAPS)
    offset = np.sign(ramp) * ramp**2 * REACH_MM
    edge = np.concatenate([[-np.inf], (offset[1:] + offset[:-1]) / 2, [np.inf]])
    weight = np.zeros((TAPS, 3))
    for variance, *share in PROFILE:
        cumulative = np.array([0.5 * (1 + math.erf(e / math.sqrt(2 * variance))) for e in edge])
        weight += np.diff(cumulative)[:, None] * np.array(share)
    return offset.astype(np.float32), (weight / weight.sum(0)).astype(np.float32)


@njit(cache=True, nogil=True)
def _spread(image, depth, skin, offset, weight, focal_px, axis, out, first, last):
    height, width = depth.shape
    for row in range(first, last):
        for column in range(width):
            if not skin[row, column]:
                continue
            here = depth[row, column]
            scale = focal_px / (here * 1000.0)  # pixels per millimetre
            red = green = blue = 0.0
            wr = wg = wb = 0.0
            for k in range(offset.shape[0]):
                step = round(offset[k] * scale)
                r, c = (row, column + step) if axis == 0 else (row + step, column)
                if r < 0 or c < 0 or r >= height or c >= width or not skin[r, c]:
                    continue
                if abs(depth[r, c] - here) > JUMP_M + 0.0015 * abs(offset[k]):
                    continue
                red += weight[k, 0] * image[r, c, 0]
                green += weight[k, 1] * image[r, c, 1]
                blue += weight[k, 2] * image[r, c, 2]
                wr += weight[k, 0]
                wg += weight[k, 1]
                wb += weight[k, 2]
            out[row, column, 0] = red / wr
            out[row, column, 1] = green / wg
            out[row, column, 2] = blue / wb

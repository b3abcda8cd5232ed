"""Film grain, sharpening and hard contrast, told from skin by how much of them there is everywhere."""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.maps.mesostructure import blur_mm

# Widths in millimetres between which detail is looked at, and the most of it between two of them, median absolute logarithm:
# that of the most wrinkled and most freckled of 25 portraits with little of these faults.
WIDTHS_MM = (0.12, 0.3, 0.7, 1.6, 3.5)
MOST = (0.014, 0.022, 0.028, 0.034)


def without_grain(ratio: Float[Tensor, "H W 3"], plain: Float[Tensor, "H W"]) -> Float[Tensor, "H W 3"]:
    """The log ratio of an albedo to a typical one with no more detail everywhere than skin has.

    Wrinkles, moles and freckles are few and move a median little; grain and the halos of sharpening are everywhere. What is
    finer than the finest band is reduced as that is.

    Args:
        plain: above a half where the photo shows plain skin.
    """
    chosen = plain.numpy() > 0.5
    if not chosen.any():
        return ratio
    bands = _bands(ratio.mean(-1).numpy())[1:]
    usual = [float(np.median(np.abs(band[chosen][::7]))) for band in bands]
    gains = [min(1.0, most / max(middle, 1e-6)) for most, middle in zip(MOST, usual, strict=True)]
    if min(gains) == 1:
        return ratio
    all_bands = zip([gains[0], *gains], _bands(ratio.numpy()), strict=True)
    return ratio - torch.from_numpy(sum((1 - gain) * band for gain, band in all_bands))


def _bands(values: np.ndarray) -> list[np.ndarray]:
    """What lies between the values and the first of WIDTHS_MM, and between each and the next."""
    blurred = [values, *(blur_mm(values, width_mm) for width_mm in WIDTHS_MM)]
    return [finer - coarser for finer, coarser in pairwise(blurred)]

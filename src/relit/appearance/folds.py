"""Folds of an expression in the colour of skin: left out of a calm face, and back with the expression."""

import torch
from jaxtyping import Float
from torch import Tensor

# Of the darkness of folds by channel, about its mean, as measured on eight portraits: between two walls of skin red light
# goes to and fro.
FOLD_HUE = (0.79, 1.04, 1.17)
SLIGHTEST = 0.02  # square of an expression's typical movement in mm, times vertices: less is none


def fold_ratio(folds: Float[Tensor, "*batch"], share: float = 1.0) -> Float[Tensor, "*batch 3"]:
    """What folds multiply the albedo of a calm face by.

    Args:
        folds: log brightness, below 0 in the folds and above it on the skin that bulges between them.
        share: of the expression that makes them.
    """
    hue = torch.tensor(FOLD_HUE)
    return (share * (folds.clamp_max(0)[..., None] * hue + folds.clamp_min(0)[..., None])).exp()


def fold_share(
    morphs: Float[Tensor, "52 V 3"], expression: Float[Tensor, "52"], shown: tuple[Float[Tensor, "52"], ...]
) -> float:
    """[0, 1] how much of the folds of some expressions another one has: as far as it goes the way of one of them.

    Args:
        morphs: displacements for weight 1, in metres: what moves more skin counts more.
        shown: expressions of the photos.
    """
    size = (1000 * morphs).square().sum((1, 2))
    shares = [float((size * expression * own).sum() / (size * own * own).sum().clamp_min(SLIGHTEST)) for own in shown]
    return min(max(0.0, *shares), 1.0) if shares else 0.0

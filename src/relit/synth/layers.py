"""Layers of a picture, laid on in place: loops, as arrays of three channels are slow to broadcast over."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def add_tint(picture: np.ndarray, amount: np.ndarray, tint: np.ndarray) -> None:
    """Adds a tint (3,) by an amount (H, W) to a picture (H, W, 3)."""
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            if amount[row, column] != 0:
                for c in range(3):
                    picture[row, column, c] += amount[row, column] * tint[c]


@njit(cache=True, nogil=True)
def add_weighted(picture: np.ndarray, other: np.ndarray, weight: np.ndarray) -> None:
    """Adds another picture (H, W, 3) by a weight (H, W)."""
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            if weight[row, column] != 0:
                for c in range(3):
                    picture[row, column, c] += weight[row, column] * other[row, column, c]


@njit(cache=True, nogil=True)
def lay_over(picture: np.ndarray, coverage: np.ndarray, colour: np.ndarray) -> None:
    """Covers a picture (H, W, 3) with a colour (3,), by a coverage (H, W)."""
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            if coverage[row, column] != 0:
                for c in range(3):
                    picture[row, column, c] += coverage[row, column] * (colour[c] - picture[row, column, c])

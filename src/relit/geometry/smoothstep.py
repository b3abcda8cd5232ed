"""The cubic ramp with which everything fades in relit."""

from typing import TypeVar

import numpy as np
from torch import Tensor

Field = TypeVar("Field", Tensor, np.ndarray)


def smoothstep(low: float, high: float, x: Field) -> Field:
    """0 where `x`, of any shape, is below `low`, 1 above `high`, smooth between; the other way round if `high` < `low`."""
    t = ((x - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)

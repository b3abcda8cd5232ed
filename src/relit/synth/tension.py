"""Which way the lines of skin run: along its relaxed tension."""

from functools import lru_cache

import cv2
import numpy as np

from relit.geometry.smoothstep import smoothstep
from relit.maps.mesostructure import enlarge
from relit.synth.layout import layout


@lru_cache(maxsize=2)
def tension_potential_mm(size: int) -> np.ndarray:
    """(S, S) a height in millimetres whose contour lines run along the relaxed tension of skin.

    Level on forehead and neck, pinched towards the corners of the eyes, in arcs about the mouth.

    Source: Borges, "Relaxed skin tension lines (RSTL) versus other skin lines", Plastic and Reconstructive Surgery 73,
    1984, drawn as contours of a smooth field.
    """
    small = layout(256)
    x, y = np.abs(small.position_mm[..., 0]), small.position_mm[..., 1]
    at = lambda mark: small.position_mm[tuple((small.landmarks[mark, ::-1] * 256).astype(int))]  # noqa: E731
    eye, mouth = (at(33) + at(133)) / 2, at(14)
    aside, above = (x - abs(eye[0])) / 16, y - eye[1]
    near_eye = np.exp(-(np.hypot(16 * aside, above) ** 2) / 26**2)
    field = y + near_eye * above * aside**2
    from_mouth = np.hypot(x * 0.8, y - mouth[1])
    around_mouth = np.exp(-((from_mouth / 50) ** 2)) * smoothstep(34, 8, y - mouth[1])
    field += around_mouth * (mouth[1] - from_mouth - field)
    return enlarge(cv2.GaussianBlur(field.astype(np.float32), (0, 0), 1.5), size, size)


@lru_cache(maxsize=2)
def tension_certainty(size: int) -> np.ndarray:
    """(S, S) [0, 1] how well the potential defines a direction: 0 at its poles and saddles."""
    small = layout(256)
    across, along = small.texel_mm
    potential = tension_potential_mm(256)
    slope = np.hypot(np.gradient(potential, axis=1) / across, np.gradient(potential, axis=0) / along)
    return enlarge(cv2.GaussianBlur(smoothstep(0.3, 0.9, slope).astype(np.float32), (0, 0), 2), size, size)

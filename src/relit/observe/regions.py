"""Regions of a face given by its landmarks."""

import cv2
import numpy as np
from jaxtyping import Bool, Float

from relit.models.contours import LEFT_EYE, MOUTH, RIGHT_EYE

# Landmarks around further parts.
# fmt: off
EYES = (RIGHT_EYE, LEFT_EYE)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
CHEEKS = ((117, 118, 101, 36, 206, 207, 187, 123), (346, 347, 330, 266, 426, 427, 411, 352))
NOSE = (168, 122, 196, 3, 51, 48, 64, 98, 2, 327, 294, 278, 281, 248, 419, 351)
BEARD = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 280,
         425, 327, 2, 98, 205, 50)
# fmt: on
OPEN_MOUTH = 0.03  # distance of the lips over the face's size
TEETH_REACH = 0.008  # how far teeth show beyond the landmarks of an open mouth


def polygons(points_px: np.ndarray, parts, height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """The union of polygons, each of indices into landmarks (478, 2), as a picture."""
    picture = np.zeros((height, width), np.uint8)
    for part in parts:
        # OpenCV counts pixel centres at integers, relit at half-integers; 4 bits are fractions
        corners = np.round((points_px[list(part)] - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(picture, [corners], 1, shift=4)
    return picture > 0


def openings(points_px: np.ndarray, height: int, width: int) -> Float[np.ndarray, "H W"]:
    """In [0, 1]: the eyes between the lids and the open mouth, with soft edges."""
    size = face_size_px(points_px)
    mouth = polygons(points_px, (MOUTH,), height, width).astype(np.uint8)
    reach = round(TEETH_REACH * size)
    if np.linalg.norm(points_px[13] - points_px[14]) > OPEN_MOUTH * size and reach > 0:
        mouth = cv2.dilate(mouth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    opened = (mouth > 0) | polygons(points_px, EYES, height, width)
    return cv2.GaussianBlur(opened.astype(np.float32), (0, 0), max(0.7, 0.004 * size))


def face_size_px(points_px: np.ndarray) -> float:
    """The longer side of the box around the face's landmarks (478, 2)."""
    return float(np.ptp(points_px[:468], 0).max())


def signed_depth(mask: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Signed distance to the edge in pixels, positive inside."""
    inside, outside = (cv2.distanceTransform(m.astype(np.uint8), cv2.DIST_L2, 5) for m in (mask, ~mask))
    return inside - outside


def dilated(mask: Bool[np.ndarray, "H W"], radius_px: float) -> Bool[np.ndarray, "H W"]:
    """The mask grown by a radius, or shrunk by a negative one."""
    return signed_depth(mask) > -radius_px

"""Where glasses hide the skin: rims, bridge and temples, but not what is seen through the lenses."""

import cv2
import numpy as np
import scipy.ndimage as ndimage
from jaxtyping import Bool, Float, Int

from relit.observe.regions import EYES, dilated, polygons

# Over the face's size: the widest frame, and how far beside a frame its blur reaches; log contrast of a rim.
FRAME_WIDTH, MARGIN, RIM = 0.05, 0.008, 0.35
# For dark and for bright frames: contrast of a bridge, the share of the rims' zone that they fill, the contrast where a
# frame is sure, and to which it reaches, in rims'.
DARK, BRIGHT = (0.35, 0.14, 2.0, 0.7), (0.18, 0.085, 1.2, 0.5)
# Of rims about the eyes, over the face's size: how far below an eye their middle lies, their least and widest radius, half
# their width; height of those circles over their width; how much the other rim says of this one.
BELOW, RADII, HALF_WIDTH, HIGH, OTHER = 0.045, (0.06, 0.26), 0.007, 0.8, 0.5
ANGLES, DISTANCES = 128, 56
BEND, STEEPEST = 0.25, 2  # what a step of the rim away from its middle costs, per squared step, and the longest


def glasses(luminance: Float[np.ndarray, "S S"], points: Float[np.ndarray, "478 2"], size: float) -> Bool[np.ndarray, "S S"]:
    """The frame of glasses, dark or bright, where a bridge over the nose and rims on the cheeks tell that they are worn.

    A rim is the closed line about an eye that stands out most, and runs where the other eye's does: wrinkles beneath the
    eyes stand out as much, but lead nowhere. Lines inside the rims are skin.

    Args:
        luminance: logarithm of an upright picture's.
        points: landmarks in it.
        size: of the face, in pixels.
    """
    smooth = cv2.GaussianBlur(luminance.astype(np.float32), (0, 0), 0.7)
    kinds = (cv2.MORPH_BLACKHAT, DARK), (cv2.MORPH_TOPHAT, BRIGHT)
    worn = [(_lines(smooth, size, kind), told) for kind, told in kinds if _worn(smooth, points, size, kind, told)]
    if not worn:
        return np.zeros(luminance.shape, bool)
    side = len(luminance)
    rims = find_rims(np.maximum(*(_lines(smooth, size, kind) for kind, _ in kinds)), points, size)
    lens = polygons(np.concatenate(rims), np.arange(2 * ANGLES).reshape(2, -1), side, side)
    frame = dilated(lens, HALF_WIDTH * size) & ~dilated(lens, -HALF_WIDTH * size)
    around = dilated(polygons(points, EYES, side, side), 0.16 * size) & ~dilated(lens, -(HALF_WIDTH + MARGIN) * size)
    for line, (*_, sure, reach) in worn:
        wide = around & (line > reach * RIM)
        frame |= ndimage.binary_propagation(wide & (frame | (line > sure * RIM)), mask=wide)
    return dilated(frame, MARGIN * size)


def find_rims(
    lines: Float[np.ndarray, "S S"], points: Float[np.ndarray, "478 2"], size: float
) -> tuple[Float[np.ndarray, "A 2"], Float[np.ndarray, "A 2"]]:
    """The pixels along each lens's rim, of the subject's right and left.

    Args:
        lines: how much each pixel stands out as part of a line.

    Source: closed paths of least cost about a point, in its polar coordinates: dynamic programming, as for the borders of
    cells and vessels.
    """
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    distance = np.linspace(*RADII, DISTANCES) * size
    outwards = np.sign(np.array([points[list(eye), 0].mean() for eye in EYES]) - points[168, 0])
    grids, told = [], []
    for eye, out in zip(EYES, outwards, strict=True):
        x, y = points[list(eye)].mean(0)
        across, down = np.cos(angle)[:, None] * distance, HIGH * np.sin(angle)[:, None] * distance
        grids.append(np.stack([x + out * across, y + BELOW * size + down], -1))
        seen = cv2.remap(lines.astype(np.float32), *(grids[-1] - 0.5).astype(np.float32).transpose(2, 0, 1), cv2.INTER_LINEAR)
        told.append(np.tanh(seen / RIM))
    rows = np.arange(ANGLES)
    beside = [OTHER * cv2.dilate(one, np.ones((3, 5))) for one in told]
    return tuple(grid[rows, closed_path(one + more)] for grid, one, more in zip(grids, told, beside[::-1], strict=True))


def closed_path(gain: Float[np.ndarray, "A R"]) -> Int[np.ndarray, "A"]:
    """The column in each row of a smooth path of much gain whose last row goes on in the first.

    The best path through three turns, of which the middle one, whose ends hardly know of the beginning, is kept.
    """
    turns = np.concatenate([gain] * 3)
    steps = np.arange(-STEEPEST, STEEPEST + 1)
    columns = np.arange(gain.shape[1])
    sources = columns - steps[:, None]
    outside = (sources < 0) | (sources >= gain.shape[1])
    sources = np.clip(sources, 0, gain.shape[1] - 1)
    cost = np.where(outside, np.inf, BEND * steps[:, None] ** 2)
    best, came = turns[0], np.zeros(turns.shape, int)
    for row in range(1, len(turns)):
        scores = best[sources] - cost
        chosen = scores.argmax(0)
        came[row] = sources[chosen, columns]
        best = turns[row] + scores[chosen, columns]
    path = np.zeros(len(turns), int)
    path[-1] = best.argmax()
    for row in range(len(turns) - 1, 0, -1):
        path[row - 1] = came[row, path[row]]
    return path[len(gain) : 2 * len(gain)]


def _worn(smooth: np.ndarray, points: np.ndarray, size: float, kind: int, told: tuple) -> bool:
    """Whether there is a bridge between the eyes, and rims below them, darker or brighter than the skin around."""
    bridged, share, *_ = told
    side = len(smooth)
    inner = points[[133, 362]]
    gap = inner[1, 0] - inner[0, 0]
    columns = slice(int(inner[0, 0] + 0.3 * gap), int(inner[1, 0] - 0.3 * gap) + 1)
    rows = slice(int(points[[55, 285], 1].mean()), int(inner[:, 1].mean() + 0.35 * gap))
    bridge = cv2.morphologyEx(smooth, kind, np.ones((_width(size), 1), np.uint8))[rows, columns]
    eyes = polygons(points, EYES, side, side)
    beneath = np.arange(side)[:, None] > points[[33, 263], 1].mean() + 0.03 * size
    rims = _lines(smooth, size, kind)[dilated(eyes, 0.13 * size) & ~dilated(eyes, 0.045 * size) & beneath]
    return bool(bridge.size and bridge.mean(1).max() >= bridged and np.mean(rims > RIM) >= share)


def _lines(smooth: np.ndarray, size: float, kind: int) -> np.ndarray:
    """How much darker (black hat) or brighter (top hat) each pixel is than what lies beside a line as wide as a frame."""
    return cv2.morphologyEx(smooth, kind, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_width(size),) * 2))


def _width(size: float) -> int:
    return int(FRAME_WIDTH * size) | 1

"""What fine detail a skin picture holds: log albedo without tone, painted light, eyes, hair and coding noise."""

import cv2
import numpy as np

from relit.models.build_skin import fill
from relit.models.contours import MOUTH, RIGHT_EYE
from relit.synth.detail import BOX, LIMIT, SIZE, box_slices
from relit.synth.layout import Layout, blurred

SOFTEST_MM = 8.0
CONTRAST, HUE = 0.050, 0.35  # largest standard deviation on plain skin; of hue against lightness: the rest is coding


def detail_of(skin: np.ndarray, here: Layout) -> np.ndarray:
    """(h, w, 3) log albedo detail inside the atlas' box, fading out at the rim of the face.

    Args:
        skin: (SIZE, SIZE, 3) linear albedo in the layout, NaN where it is unknown.
    """
    masks = here.masks
    eyes_and_mouth = _openings(here)
    valid = np.isfinite(skin).all(-1) & (masks["scalp"] < 0.5) & ~eyes_and_mouth
    log = fill(np.log(np.clip(np.nan_to_num(skin, nan=0.5), 0.01, 1)), valid).astype(np.float32)
    weight = np.where(valid, 1 - 0.9 * np.maximum(masks["lips"], masks["nostrils"]), 0.02).astype(np.float32)
    total = blurred(weight, SOFTEST_MM, here.texel_mm)
    soft = blurred(log * weight[..., None], SOFTEST_MM, here.texel_mm) / np.maximum(total, 1e-3)[..., None]
    detail = log - soft
    # lips: their redness belongs to the statistical model, their own soft shade and the painted gap do not belong here
    lips = np.clip(1.3 * masks["lips"], 0, 1)
    inner = log - blurred(log, 2.0, here.texel_mm)
    detail += lips[..., None] * (inner - detail)
    detail *= (1 - np.clip(1.3 * masks["nostrils"], 0, 1) * 0.8)[..., None]
    # a highlight painted or photographed into a texture brightens without colour
    bright = detail.min(-1)
    detail -= (np.clip(bright, 0, None) - 0.08 * np.tanh(np.clip(bright, 0, None) / 0.08))[..., None]
    detail = LIMIT * np.tanh(detail / LIMIT)
    hair = blurred(np.clip(2 * masks["scalp"], 0, 1), 4.0, here.texel_mm)
    keep = masks["face"] * np.clip(1 - 1.6 * hair, 0, 1) * (1 - masks["ears"]) * (1 - eyes_and_mouth)
    keep = blurred(keep.astype(np.float32), 1.5, here.texel_mm)
    rows, columns = box_slices(SIZE)
    return (detail * keep[..., None] * _window(here))[rows, columns]


def calm(detail: np.ndarray, here: Layout) -> tuple[np.ndarray, float]:
    """(h, w, 3) log albedo detail with its contrast and hue limited to what skin shows, and its spread on plain skin."""
    plain = here.bare("brows", "lips", "eyelids", "nostrils", "scalp", "beard")[box_slices(SIZE)] > 0.9
    grey = detail.mean(-1, keepdims=True)
    hue = detail - grey
    hue = hue * min(1.0, HUE * grey[plain].std() / hue[plain].std())
    calm = grey + hue
    calm = calm * min(1.0, CONTRAST / calm[plain].std())
    return (LIMIT * np.tanh(calm / LIMIT)).astype(np.float32), float(calm[plain].std())


def _openings(here: Layout) -> np.ndarray:
    """(S, S) bool: between the lids and between the lips, where textures show eyes and teeth."""
    drawn = np.zeros((here.size, here.size), np.uint8)
    for outline in (RIGHT_EYE, MOUTH):
        points = np.round(here.landmarks[list(outline)] * here.size).astype(np.int32)
        for side in (points, np.array([here.size, 0]) + points * np.array([-1, 1])):
            cv2.fillPoly(drawn, [side.astype(np.int32)], 1)
    return cv2.dilate(drawn, np.ones((11, 15), np.uint8)) > 0


def _window(here: Layout) -> np.ndarray:
    """(S, S, 1) falls to 0 at the edges of the box."""
    v, u = (np.mgrid[0 : here.size, 0 : here.size] + 0.5) / here.size
    (top, bottom), (left, right) = BOX
    inside = np.minimum(np.minimum(v - top, bottom - v), np.minimum(u - left, right - u)) / 0.03
    return np.clip(inside, 0, 1)[..., None].astype(np.float32)

"""Short hair in the skin's texture: brows strand by strand, stubble, shaved beard, cropped scalp."""

import cv2
import numpy as np

from relit.geometry.smoothstep import smoothstep
from relit.maps.mesostructure import pores_mm
from relit.synth.layers import lay_over
from relit.synth.layout import Layout, blurred
from relit.synth.noise import noise
from relit.synth.subject import Subject

# The brow's lower and upper contour from the nose outwards, MediaPipe indices of the right side.
_LOWER, _UPPER = (55, 65, 52, 53, 46), (107, 66, 105, 63, 70)
_FINE = 4  # strands are drawn this much finer than the map
_LAYERS = 5  # strands of one layer do not add up
_STRANDS = 900  # of a dense brow
_STRAND_MM = 0.075
_DARK_BROW = 0.03
_LOST = 0.94  # of the hair where a head is bald
_SIDES_MM, _CROWN_MM = 98.0, (124.0, -50.0)  # height of the rim that stays; height and depth of the crown
_UNDER_HAIR = 0.9  # density of the roots below longer hair


def with_hair(albedo: np.ndarray, subject: Subject, here: Layout) -> np.ndarray:
    """(S, S, 3) the albedo with all short hair of the subject; it is changed in place."""
    # brows stay darker than the hair of the head, and grey later
    brow_colour = subject.hair_colour * np.minimum((_DARK_BROW / subject.hair_colour.mean()) ** 0.6, 1)
    marks = subject.marks
    lay_over(albedo, _brows(subject, here), brow_colour)
    beard = _beard(subject, here) if marks.stubble or marks.shave_shadow else None
    if marks.stubble:
        lay_over(albedo, np.clip(marks.stubble * _dots(subject, here, beard), 0, 0.85), subject.hair_colour)
    lay_over(albedo, _scalp(subject, here), subject.hair_colour)
    if not marks.shave_shadow:
        return albedo
    # hair below the surface of a shaved skin looks grey-blue: its shadow is mixed on a log scale and loses red most
    at, flat = np.flatnonzero(beard > 0.01), albedo.reshape(-1, 3)
    skin = flat.take(at, 0)
    darker = np.log(np.maximum(skin, 1e-3)) - np.log(np.maximum(subject.hair_colour, 1e-3))
    shadow = (marks.shave_shadow * beard.ravel().take(at))[:, None] * np.array([0.24, 0.19, 0.15], np.float32)
    flat[at] = skin * np.exp(-shadow * np.clip(darker, 0, 2.5) / 2.0)
    return albedo


def _beard(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S) where the beard grows densely: less on the cheeks, patchy at its rim."""
    seed = int(subject.rng(20).integers(1 << 30))
    grown = here.masks["beard"] * (1 - 0.55 * here.masks["cheeks"])
    edge = smoothstep(0.25, 0.85, grown + 0.10 * noise(here, 12, seed))
    return edge * np.clip(1 + 0.2 * noise(here, 6, seed + 1, edge), 0, 1.4)


def _scalp(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S) coverage of the cropped hair of the head, thinner at the hairline."""
    seed = int(subject.rng(22).integers(1 << 30))
    scalp = here.masks["scalp"]
    ragged = scalp + 0.14 * noise(here, 9, seed) + 0.07 * noise(here, 3, seed + 1, scalp)
    where = smoothstep(0.1, 0.95, ragged) * scalp**0.5
    amount = max(subject.marks.shaved_scalp, _UNDER_HAIR) if subject.hair_style else subject.marks.shaved_scalp
    fuzz = 1 + 0.17 * noise(here, 1.4, seed + 2, where) + 0.08 * noise(here, 5.0, seed + 3, where)
    cover = where * np.clip(fuzz, 0.2, 1.6) * (1 - _LOST * _bald(subject, here, seed + 4)) * 0.85 * amount
    return np.clip(cover, 0, 0.92)


def _bald(subject: Subject, here: Layout, seed: int) -> np.ndarray | float:
    """(S, S) [0, 1] where hair has gone: back from temples and forehead, and round the crown. The sides keep theirs."""
    marks = subject.marks
    if not marks.receding + marks.crown:
        return 0.0
    across, up, ahead = np.moveaxis(here.position_mm, -1, 0)
    ragged = 4 * noise(here, 22, seed) + 2 * noise(here, 7, seed + 1)
    lags = 34 * (1 - marks.receding) * np.exp(-((across / 20) ** 2))  # the forelock goes last
    line = 74 - 130 * marks.receding + lags
    gone = smoothstep(-20, 20, ahead - line + ragged) * smoothstep(-24, 24, up - _SIDES_MM + ragged)
    away = np.sqrt(across**2 + (up - _CROWN_MM[0]) ** 2 + (ahead - _CROWN_MM[1]) ** 2)
    spot = smoothstep(22, -22, away - 62 * marks.crown + ragged) if marks.crown else 0.0
    return np.maximum(gone * min(1.0, 4 * marks.receding), spot).astype(np.float32)


def _dots(subject: Subject, here: Layout, where: np.ndarray) -> np.ndarray:
    """(S, S) follicles as dark dots about a millimetre apart."""
    seed = int(subject.rng(21).integers(1 << 15))
    none = np.zeros((64, 64), np.float32)
    size = here.size
    amounts = {"lines": none, "furrows": none, "lips": none, "pores": np.clip(where, 0, 1.5).astype(np.float32)}
    dots = -2 * pores_mm(size, size, amounts, seed)
    # the depth of a pore, 0.11 mm, stands for full cover; below the resolution what counts is the mean
    return 9.0 * dots + 0.16 * where * np.clip(1 + 0.5 * noise(here, 2.0, seed, where), 0, 2)


def _brows(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S) coverage of both brows, drawn strand by strand with some difference between the sides."""
    rng = subject.rng(24)
    lower, upper = here.landmarks[list(_LOWER)], here.landmarks[list(_UPPER)]
    thickness = rng.uniform(0.95, 1.5)
    middle = (lower + upper) / 2 - [0, 0.5 * subject.marks.brow_height * (lower - upper)[:, 1].mean()]
    # the landmarks' brow is a box: real ones start lower at the nose, arch, and taper
    taper = np.array([0.85, 1.0, 0.95, 0.70, 0.30])
    half = (upper - lower) / 2 * (thickness * taper)[:, None]
    arch = np.array([0.25, 0.0, -0.12, -0.05, 0.25])[:, None] * (lower - upper) * rng.uniform(0.3, 1.5)
    middle = middle + arch
    coverage = np.zeros((here.size, here.size), np.float32)
    bounds = _bounds(middle, here)
    density = subject.marks.brow_density
    shape = rng.uniform(0.8, 1.25, 2)  # of length and of steepness
    for mirrored in (False, True):
        count = int(_STRANDS * density * rng.uniform(0.93, 1.07))
        strands = _strands(middle, half, count, shape, here, rng)
        part = _drawn(strands, bounds, here, rng)
        rows, columns = bounds
        if mirrored:
            coverage[rows, here.size - columns.stop : here.size - columns.start] = part[:, ::-1]
        else:
            coverage[rows, columns] = part
    soft = blurred(coverage, 1.1, here.texel_mm)
    return np.clip(0.9 * coverage + 0.25 * soft, 0, 0.93)


def _bounds(middle: np.ndarray, here: Layout) -> tuple[slice, slice]:
    margin = 11.0 / np.array(here.texel_mm)
    low = np.floor(middle.min(0) * here.size - margin).astype(int)
    high = np.ceil(middle.max(0) * here.size + margin).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _strands(middle, half, count: int, shape: np.ndarray, here: Layout, rng: np.random.Generator) -> np.ndarray:
    """(count, 6, 2) points of strands in texels.

    Hairs stand up near the nose and lie down outwards; those of the upper edge point down, those of the lower edge up,
    so that they meet in a ridge.
    """
    along = rng.beta(1.15, 1.25, count)
    across = np.clip(rng.normal(0, 0.48, count), -1.15, 1.15)
    place = along * (len(middle) - 1)
    left = np.minimum(place.astype(int), len(middle) - 2)
    share = (place - left)[:, None]
    root = middle[left] * (1 - share) + middle[left + 1] * share
    root = root + across[:, None] * (half[left] * (1 - share) + half[left + 1] * share)
    scale = here.size * np.array(here.texel_mm)  # millimetres per unit of UV
    axis = (middle[left + 1] - middle[left]) * scale
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    up = np.stack([-axis[:, 1], axis[:, 0]], 1)
    up *= -np.sign(up[:, 1:])  # v points down
    steep = np.radians(shape[1] * (12 + 62 * (1 - along) ** 2.2) - (14 + 30 * along) * across + rng.normal(0, 8, count))
    length = shape[0] * (4.2 + 4.2 * np.sin(np.pi * np.clip(along * 0.9 + 0.08, 0, 1))) * rng.uniform(0.65, 1.15, count)
    bend = np.radians(rng.normal(-16, 8, count))
    points, at = [root * scale], root * scale
    for step in range(5):
        angle = steep + bend * (step / 4)
        direction = np.cos(angle)[:, None] * axis + np.sin(angle)[:, None] * up
        at = at + direction * (length / 5)[:, None]
        points.append(at)
    return np.stack(points, 1) / np.array(here.texel_mm)


def _drawn(strands: np.ndarray, bounds: tuple[slice, slice], here: Layout, rng: np.random.Generator) -> np.ndarray:
    """(h, w) coverage of strands inside bounds."""
    rows, columns = bounds
    height, width = rows.stop - rows.start, columns.stop - columns.start
    fine = _FINE if here.size <= 1024 else 2
    shift = 4
    moved = np.round((strands - [columns.start, rows.start]) * fine * (1 << shift)).astype(np.int32)
    line_mm = max(here.texel_mm) / fine
    alpha = min(1.0, _STRAND_MM / line_mm)
    clear = np.ones((height, width), np.float32)
    for layer in range(_LAYERS):
        canvas = np.zeros((height * fine, width * fine), np.uint8)
        strands = moved[layer::_LAYERS]
        cv2.polylines(canvas, strands[:, :5], False, int(rng.integers(190, 256)), 1, cv2.LINE_AA, shift)
        cv2.polylines(canvas, strands[:, 4:], False, 120, 1, cv2.LINE_AA, shift)
        clear *= 1 - alpha * cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return 1 - clear

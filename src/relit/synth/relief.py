"""Relief of a subject's skin: pores, fine lines along the tension of skin, wrinkles of age and expression, bumps."""

from functools import lru_cache

import cv2
import numpy as np

from relit.maps.infer import region_properties
from relit.maps.mesostructure import enlarge, pores_mm, undulation_mm
from relit.maps.solid_noise import solid_noise
from relit.models.head import ARKIT_NAMES
from relit.synth.layout import Layout, blurred, layout
from relit.synth.noise import add_spot, noise, scattered, smoothstep
from relit.synth.subject import Subject

# Depth in millimetres of a full wrinkle, and half width. Chosen by eye within what profilometry of wrinkles reports,
# tenths of a millimetre; the mesh carries the deeper folds.
_FINE, _MIDDLE, _BROAD = (0.055, 0.28), (0.16, 0.50), (0.28, 1.1)
_SHOULDER = 0.35  # skin pushed up beside a valley
_TENSION = ((1.0, 7.0, 0.016), (2.1, 16.0, 0.030))  # spacing, length, depth in mm


def relief_mm(subject: Subject, here: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) displacement in millimetres, and (S, S) unevenness of standard deviation 1 on skin."""
    size, marks = here.size, subject.marks
    seed = int(subject.rng(30).integers(1 << 15))
    _, _, pores, lines, furrows = region_properties()
    lips = enlarge(here.masks["lips"], 256, 256) if size <= 256 else cv2.resize(here.masks["lips"], (256, 256))
    amounts = {
        "pores": pores * marks.pores,
        "lines": lines * (0.8 + 0.4 * marks.wrinkles),
        "furrows": furrows * (0.5 + 0.8 * marks.wrinkles),
        "lips": lips * (0.8 + 0.5 * marks.wrinkles),
    }
    skin = np.clip(here.masks["face"] + 0.6 * here.masks["neck"], 0, 1)
    uneven = undulation_mm(size, size, seed) * skin
    relief = pores_mm(size, size, amounts, seed) + 0.006 * uneven
    relief += _tension_lines(subject, here, seed) * skin * (1 - here.masks["lips"])
    relief += _wrinkles(subject, here) * (1 - 0.7 * marks.makeup * 0.3)
    relief += _bumps(subject, here)
    return relief.astype(np.float32), uneven


@lru_cache(maxsize=2)
def tension_potential_mm(size: int) -> np.ndarray:
    """(S, S) a height in millimetres whose contour lines run along the relaxed tension of skin.

    Level on forehead and neck, around the eyes, around the mouth at a distance, and radial close to the lips.

    Source: Borges, "Relaxed skin tension lines (RSTL) versus other skin lines", Plastic and Reconstructive Surgery 73,
    1984, drawn as contours of a smooth field.
    """
    small = layout(256)
    x, y = np.abs(small.position_mm[..., 0]), small.position_mm[..., 1]
    at = lambda mark: small.position_mm[tuple((small.landmarks[mark, ::-1] * 256).astype(int))]  # noqa: E731
    eye, mouth = (at(33) + at(133)) / 2, at(14)
    from_eye = np.hypot(np.abs(x - abs(eye[0])) * 0.8, y - eye[1])
    from_mouth = np.hypot(x * 0.8, y - mouth[1])
    near_eye = np.exp(-((from_eye / 20) ** 2))
    around_mouth = np.exp(-((from_mouth / 48) ** 2)) * (1 - near_eye) * smoothstep(18, 0, y - mouth[1] - 32)
    at_lips = np.exp(-((np.hypot(x * 0.55, y - mouth[1]) / 17) ** 4))
    field = y * (1 - near_eye) * (1 - around_mouth) + near_eye * from_eye + around_mouth * from_mouth
    field = field * (1 - at_lips) + at_lips * x
    return enlarge(cv2.GaussianBlur(field.astype(np.float32), (0, 0), 1.5), size, size)


def _tension_lines(subject: Subject, here: Layout, seed: int) -> np.ndarray:
    potential = tension_potential_mm(here.size).ravel()[here.skin]
    total = np.zeros(len(here.skin), np.float32)
    finest = 2.5 * max(here.texel_mm)
    for k, (apart, length, depth) in enumerate(_TENSION):
        scale = max(apart, finest)
        points = here.points_mm / length
        points[:, 0] += potential / scale
        ridge = solid_noise(points, 1.0, seed + 40 + k)
        total -= depth * (apart / scale) * np.exp(-((ridge / 0.45) ** 2)) * (0.45 + 0.9 * subject.marks.wrinkles)
    return here.spread(total)


def _wrinkles(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S) valleys with shoulders."""
    rng = subject.rng(31)
    groups = {_FINE: [], _MIDDLE: [], _BROAD: []}
    for side in (-1, 1):
        for shape, amount, points in _lines(subject, here, side, rng):
            groups[shape].append((amount, points))
    total = np.zeros((here.size, here.size), np.float32)
    for (depth, half_width), lines in groups.items():
        total -= depth * _valleys(lines, half_width, here)
    near_openings = 1 - np.clip(here.masks["nostrils"] + here.masks["lips"] * 0.8, 0, 1)
    return total * near_openings


def _lines(subject: Subject, here: Layout, side: int, rng: np.random.Generator):
    """Yields shape, amount in [0, 1.5] and UV points (N, 2) of every wrinkle of one side (-1: u < 0.5)."""
    old = subject.marks.wrinkles
    pulled = lambda *names: float(np.mean([subject.expression[ARKIT_NAMES.index(n)] for n in names]))  # noqa: E731
    end = "Right" if side < 0 else "Left"
    raised = max(pulled("browInnerUp"), pulled(f"browOuterUp{end}"))
    drawn, squint = pulled(f"browDown{end}"), pulled(f"eyeSquint{end}", f"cheekSquint{end}")
    smile, sneer = pulled(f"mouthSmile{end}"), pulled(f"noseSneer{end}")
    mark = lambda *ids: _on_side(here.landmarks[list(ids)], side)  # noqa: E731
    mm = np.array([side, 1.0]) / (here.size * np.array(here.texel_mm))  # one millimetre outwards, down
    # forehead: level lines that arch over the brows
    top, bottom, middle = mark(10)[0, 1], mark(9)[0, 1], 0.5
    rows = np.linspace(0.28, 0.86, int(np.random.default_rng([subject.seed, subject.index, 31]).integers(3, 6)))
    for row in rows:
        reach = rng.uniform(26, 46)
        x = np.linspace(0, reach, 12)
        wave = -2.2 * np.sin(np.pi * x / reach * 0.8) + np.cumsum(rng.normal(0, 0.28, 12))
        points = np.stack([middle + x * mm[0], top + row * (bottom - top) + wave * mm[1]], 1)
        yield (_MIDDLE if rng.random() < 0.5 else _FINE), rng.uniform(0.5, 1.1) * (0.75 * old + 0.9 * raised), points
    # between the brows
    start = mark(9)[0]
    for x in (rng.uniform(5, 7.5), rng.uniform(8, 11))[: 1 + (rng.random() < 0.4)]:
        y = np.linspace(-8, 7, 8)
        points = start + np.stack([(x + 0.06 * y + np.cumsum(rng.normal(0, 0.12, 8))), y], 1) * mm
        yield _MIDDLE, rng.uniform(0.6, 1.1) * (0.5 * old + 0.9 * drawn), points
    # crow's feet
    corner = mark(33)[0]
    for angle in np.radians(np.linspace(-32, 42, int(rng.integers(3, 6))) + rng.normal(0, 5)):
        r = np.linspace(4.5, rng.uniform(12, 22), 8)
        bend = angle * (1 + 0.25 * np.linspace(0, 1, 8))
        points = corner + np.stack([r * np.cos(bend), r * np.sin(bend) + np.cumsum(rng.normal(0, 0.15, 8))], 1) * mm
        yield _FINE, rng.uniform(0.6, 1.5) * (0.9 * old + 0.8 * max(squint, 0.6 * smile)), points
    # below the eye: the lid's own folds, and the rim of the bag
    lid, bag = mark(25, 110, 24, 23, 22, 26, 112), mark(31, 228, 229, 230, 231, 232)
    for share in rng.uniform(0.15, 0.7, 3):
        points = lid[:-1] * (1 - share) + bag * share + rng.normal(0, 0.25, (6, 2)) * np.abs(mm)
        yield _FINE, rng.uniform(0.4, 1.2) * (0.15 + 0.7 * old + 0.6 * squint), points
    yield _MIDDLE, rng.uniform(0.3, 0.9) * (0.7 * old + 0.2 * smile), bag
    # from the nose's wing to the corner of the mouth, and below it
    fold = mark(129, 203, 206, 216)
    fold[0] += np.array([2.0, -1.0]) * mm
    yield _BROAD, rng.uniform(0.6, 1.1) * (0.15 + 0.7 * old + 0.5 * max(smile, sneer)), fold
    y = np.linspace(1, rng.uniform(10, 20), 7)
    yield _BROAD, rng.uniform(0.3, 1.0) * 0.8 * max(old - 0.25, 0), mark(61)[0] + np.stack([1.5 + 0.18 * y, y], 1) * mm
    # across the root of the nose when it is drawn up
    for y in (-3.0, 1.0, 4.5):
        points = mark(168)[0] + np.stack([np.linspace(0, 8, 6), y + 0.03 * np.linspace(0, 8, 6) ** 2], 1) * mm
        yield _FINE, rng.uniform(0.6, 1.2) * (0.35 * old + 1.0 * sneer), points
    # fine lines that run into the lips
    lip = np.concatenate([mark(185, 40, 39, 37), mark(146, 91, 181, 84)])
    for border, way in zip(lip, [-1] * 4 + [1] * 4, strict=True):
        for _ in range(2):
            r = np.linspace(0.5, rng.uniform(3, 8), 5)
            slant = rng.normal(0.1, 0.12)
            points = border + np.stack([rng.uniform(-2.5, 2.5) + slant * r, way * r], 1) * mm
            yield _FINE, rng.uniform(0.2, 1.0) * max(old - 0.3, 0), points


def _on_side(points: np.ndarray, side: int) -> np.ndarray:
    """Landmarks of the right side (u < 0.5), mirrored for the left."""
    return points.copy() if side < 0 else np.array([1.0, 0.0]) + points * np.array([-1.0, 1.0])


def _valleys(lines: list, half_width_mm: float, here: Layout) -> np.ndarray:
    """(S, S) cross profiles of lines, 1 at the bottom of a full one, fading at both ends, with raised shoulders."""
    canvas, shift = np.zeros((here.size, here.size), np.uint8), 4
    for amount, points in lines:
        if amount < 0.02:
            continue
        fine = np.stack([np.interp(np.linspace(0, 1, 17), np.linspace(0, 1, len(points)), p) for p in points.T], 1)
        fixed = np.round((fine * here.size - 0.5) * (1 << shift)).astype(np.int32)
        for k in range(16):
            level = amount / 1.5 * np.sin(np.pi * (k + 0.5) / 16) ** 0.7
            cv2.line(canvas, fixed[k].tolist(), fixed[k + 1].tolist(), int(min(255, 255 * level)), 1, cv2.LINE_AA, shift)
    texel = np.sqrt(here.texel_mm[0] * here.texel_mm[1])
    drawn, own = canvas.astype(np.float32) * (1.5 / 255), half_width_mm / texel
    valley = []
    for factor in (1.0, 2.4):
        # a line one texel wide spreads to the width; what is finer than a texel becomes shallow, not jagged
        width = np.hypot(factor * own, 0.45)
        gain = min(1.0, factor * own / width) * np.sqrt(2 * np.pi) * width
        valley.append(gain * blurred(drawn, width * texel, here.texel_mm))
    return valley[0] - _SHOULDER * valley[1]


def _bumps(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S) raised moles and blemishes' kin, sunken or raised scars."""
    rng, relief = subject.rng(32), np.zeros((here.size, here.size), np.float32)
    plain = here.bare("lips", "brows", "nostrils", "eyelids")
    for at in scattered(here, plain, subject.marks.blemishes, rng):
        add_spot(relief, here, at, rng.uniform(0.6, 1.8), 0.9, rng.uniform(0.05, 0.22), rng.normal(0, 0.08, 3))
    for at in scattered(here, plain, subject.marks.scars, rng):
        angle, length = rng.uniform(0, np.pi), rng.uniform(5, 25)
        r = np.linspace(-0.5, 0.5, 7) * length
        mm = 1 / (here.size * np.array(here.texel_mm))
        points = (at[::-1] + 0.5) / here.size + np.stack([r * np.cos(angle), r * np.sin(angle) + 0.004 * r * r], 1) * mm
        relief -= rng.choice([0.10, -0.12]) * _valleys([(1.0, points)], rng.uniform(0.3, 0.7), here)
    return relief * (1 + 0.1 * noise(here, 3.0, subject.index % 1000)) if relief.any() else relief

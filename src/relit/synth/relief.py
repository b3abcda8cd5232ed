"""Relief of a subject's skin: pores, fine lines along the tension of skin, wrinkles of age and expression, bumps."""

import cv2
import numpy as np

from relit.maps.infer import region_properties
from relit.maps.mesostructure import pores_mm, undulation_mm
from relit.models.head import ARKIT_NAMES
from relit.synth.layout import Layout, blurred
from relit.synth.noise import add_spot, noise_along, scattered
from relit.synth.subject import Subject
from relit.synth.tension import tension_certainty, tension_potential_mm

# Depth in millimetres of a full wrinkle, and half width. Chosen by eye within what profilometry of wrinkles reports,
# tenths of a millimetre; the mesh carries the deeper folds.
_FINE, _MIDDLE, _BROAD = (0.13, 0.32), (0.48, 0.70), (0.75, 1.6)
_LIP_FURROW = 0.055
_AS_DARK = 5.0  # a line is so many times deeper than a pore that looks as dark
_NET_MM = 0.6  # texels from which the skin's finest net is left out
_SHOULDER = 0.35  # skin pushed up beside a valley
# Lines along the tension of skin: spacing, length, depth of young skin and what age adds to it, in mm.
_TENSION = ((1.0, 7.0, 0.007, 0.018), (2.1, 16.0, 0.012, 0.050), (4.8, 30.0, 0.0, 0.12))


def relief_mm(subject: Subject, here: Layout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(S, S) displacement in millimetres, (S, S) unevenness of standard deviation 1 on skin, and (S, S) cavities.

    The cavities are what dulls the colour: the depth of pores, and of lines by as much as they hide as pores do.
    """
    size, marks = here.size, subject.marks
    seed = int(subject.rng(30).integers(1 << 15))
    bare = 1 - cv2.resize(here.masks["scalp"], (256, 256))  # under hair no pore is seen
    pores, lines = region_properties()[2:4] * np.where(bare > 0.1, bare, 0)
    amounts = {
        "pores": pores * marks.pores,
        # the net of a third of a millimetre vanishes in coarser texels; lines across and lips are drawn by tension
        "lines": lines * (0.8 + 0.4 * marks.wrinkles) * (max(here.texel_mm) < _NET_MM),
        "furrows": np.zeros_like(pores),
        "lips": np.zeros_like(pores),
    }
    skin = np.clip(here.masks["face"] + 0.6 * here.masks["neck"], 0, 1)
    uneven = undulation_mm(size, size, seed) * skin
    pits = pores_mm(size, size, amounts, seed)
    lines = _tension_lines(subject, here, seed) + _wrinkles(subject, here) * (1 - 0.2 * marks.makeup)
    relief = pits + 0.006 * uneven + lines + _bumps(subject, here)
    return relief.astype(np.float32), uneven, np.minimum(pits + lines / _AS_DARK, 0)


def _tension_lines(subject: Subject, here: Layout, seed: int) -> np.ndarray:
    """(S, S) fine lines along the tension of skin, and the lips' furrows across their line."""
    lips, finest = here.masks["lips"], 2.5 * max(here.texel_mm)
    skin = np.clip(here.masks["face"] + 0.6 * here.masks["neck"], 0, 1) * (1 - lips) * tension_certainty(here.size)
    skin *= here.masks["scalp"] < 0.5
    total = np.zeros((here.size, here.size), np.float32)
    old = subject.marks.wrinkles
    for k, (apart, length, young, added) in enumerate(_TENSION):
        depth = young + added * (old if young else max(old - 0.35, 0))
        if depth < 0.004:
            continue
        ridge = noise_along(here, tension_potential_mm(here.size), (apart, length), seed + 40 + k, skin)
        shallower = apart / max(apart, finest)
        total -= depth * shallower * skin * np.exp(-((ridge / 0.4) ** 2))
    grooves = noise_along(here, here.position_mm[..., 0], (1.2, 9.0), seed + 50, lips)
    deep = _LIP_FURROW * (0.7 + 0.6 * subject.marks.wrinkles) * min(1.0, 1.2 / finest)
    return total - deep * lips * np.exp(-((grooves / 0.6) ** 2))


def _wrinkles(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S) valleys with shoulders."""
    rng = subject.rng(31)
    groups = {_FINE: [], _MIDDLE: [], _BROAD: []}
    for lines in (_forehead(subject, here, rng), *(_lines(subject, here, side, rng) for side in (-1, 1))):
        for shape, amount, points in lines:
            groups[shape].append((amount, points))
    total = np.zeros((here.size, here.size), np.float32)
    for (depth, half_width), lines in groups.items():
        total -= depth * _valleys(lines, half_width, here)
    near_openings = 1 - np.clip(here.masks["nostrils"] + here.masks["lips"] * 0.8, 0, 1)
    return total * near_openings


def _forehead(subject: Subject, here: Layout, rng: np.random.Generator):
    """Yields level lines that arch over the brows, as `_lines` does."""
    end = lambda side: max(_pulled(subject, "browInnerUp"), _pulled(subject, f"browOuterUp{side}"))  # noqa: E731
    raised = (end("Left") + end("Right")) / 2
    top, bottom = here.landmarks[[10, 9], 1]
    mm = 1 / (here.size * np.array(here.texel_mm))
    count = int(rng.integers(3, 6) + 2 * subject.marks.wrinkles)
    for row in np.linspace(0.22, 0.85, count) + rng.normal(0, 0.04, count):
        x = np.linspace(-rng.uniform(24, 50), rng.uniform(24, 50), 22)
        wave = 2.4 * np.cos(np.pi * x / 42) * rng.uniform(0.2, 1.4) + np.cumsum(rng.normal(0, 0.22, 22))
        points = np.stack([0.5 + x * mm[0], top + row * (bottom - top) + wave * mm[1]], 1)
        breaks = sorted(rng.choice(np.arange(4, 18), 1 + (rng.random() < 0.5), replace=False))
        amount = rng.uniform(0.6, 1.15) * (0.75 * subject.marks.wrinkles + 0.9 * raised)
        for part in np.split(points, breaks):  # forehead lines are seldom whole
            yield (_MIDDLE if rng.random() < 0.6 else _FINE), amount * rng.uniform(0.6, 1.1), part


def _pulled(subject: Subject, *names: str) -> float:
    return float(np.mean([subject.expression[ARKIT_NAMES.index(name)] for name in names]))


def _lines(subject: Subject, here: Layout, side: int, rng: np.random.Generator):
    """Yields shape, amount in [0, 1.5] and UV points (N, 2) of every wrinkle of one side (-1: u < 0.5)."""
    old = subject.marks.wrinkles
    pulled = lambda *names: _pulled(subject, *names)  # noqa: E731
    end = "Right" if side < 0 else "Left"
    drawn, squint = pulled(f"browDown{end}"), pulled(f"eyeSquint{end}", f"cheekSquint{end}")
    smile, sneer = pulled(f"mouthSmile{end}"), pulled(f"noseSneer{end}")
    mark = lambda *ids: _on_side(here.landmarks[list(ids)], side)  # noqa: E731
    mm = np.array([side, 1.0]) / (here.size * np.array(here.texel_mm))  # one millimetre outwards, down
    # between the brows
    start = mark(9)[0]
    for x in (rng.uniform(5, 7.5), rng.uniform(8, 11))[: 1 + (rng.random() < 0.4)]:
        y = np.linspace(-8, 7, 8)
        points = start + np.stack([(x + 0.06 * y + np.cumsum(rng.normal(0, 0.12, 8))), y], 1) * mm
        yield _MIDDLE, rng.uniform(0.6, 1.1) * (0.5 * old + 0.9 * drawn), points
    # crow's feet
    corner = mark(33)[0]
    for angle in np.radians(np.linspace(-32, 46, int(rng.integers(3, 5) + 3 * old)) + rng.normal(0, 5)):
        r = np.linspace(4.5, rng.uniform(12, 22), 8)
        bend = angle * (1 + 0.25 * np.linspace(0, 1, 8))
        points = corner + np.stack([r * np.cos(bend), r * np.sin(bend) + np.cumsum(rng.normal(0, 0.15, 8))], 1) * mm
        yield _FINE, rng.uniform(0.6, 1.5) * (0.9 * old + 0.8 * max(squint, 0.6 * smile)), points
    # below the eye: the lid's own folds, and the rim of the bag
    lid, bag = mark(25, 110, 24, 23, 22, 26, 112), mark(31, 228, 229, 230, 231, 232)
    for share in rng.uniform(0.1, 0.95, 3 + int(3 * old)):
        points = lid[:-1] * (1 - share) + bag * share + rng.normal(0, 0.25, (6, 2)) * np.abs(mm)
        yield _FINE, rng.uniform(0.4, 1.2) * (0.15 + 0.7 * old + 0.6 * squint), points
    yield _MIDDLE, rng.uniform(0.3, 0.9) * (0.7 * old + 0.2 * smile), bag
    # from the nose's wing to the corner of the mouth, and below it
    fold = mark(129, 203, 206, 216, 212)
    fold[0] += np.array([1.5, -3.0]) * mm
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
    valleys = np.zeros(canvas.shape, np.float32)
    left, top, width, height = cv2.boundingRect(canvas)
    if not width:
        return valleys
    texel = np.sqrt(here.texel_mm[0] * here.texel_mm[1])
    own = half_width_mm / texel
    # only where there is something to blur, and as far around it as a Gaussian is summed
    reach = [int(np.ceil(4 * np.hypot(2.4 * own, 0.45) * texel / size_mm)) + 2 for size_mm in here.texel_mm]
    part = slice(max(top - reach[1], 0), top + height + reach[1]), slice(max(left - reach[0], 0), left + width + reach[0])
    drawn = canvas[part].astype(np.float32) * (1.5 / 255)
    valley = []
    for factor in (1.0, 2.4):
        # a line one texel wide spreads to the width; what is finer than a texel becomes shallow, not jagged
        width = np.hypot(factor * own, 0.45)
        gain = min(1.0, factor * own / width) * np.sqrt(2 * np.pi) * width
        valley.append(gain * blurred(drawn, width * texel, here.texel_mm))
    valleys[part] = valley[0] - _SHOULDER * valley[1]
    return valleys


def _bumps(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S) raised moles and blemishes' kin, sunken or raised scars."""
    rng, relief = subject.rng(32), np.zeros((here.size, here.size), np.float32)
    plain = here.bare("lips", "brows", "nostrils", "eyelids")
    for at in scattered(plain, subject.marks.blemishes, rng):
        add_spot(relief, here, at, rng.uniform(0.6, 1.8), 0.9, rng.uniform(0.05, 0.22), rng.normal(0, 0.08, 3))
    for at in scattered(plain, subject.marks.scars, rng):
        angle, length = rng.uniform(0, np.pi), rng.uniform(5, 25)
        r = np.linspace(-0.5, 0.5, 7) * length
        mm = 1 / (here.size * np.array(here.texel_mm))
        points = (at[::-1] + 0.5) / here.size + np.stack([r * np.cos(angle), r * np.sin(angle) + 0.004 * r * r], 1) * mm
        relief -= rng.choice([0.10, -0.12]) * _valleys([(1.0, points)], rng.uniform(0.3, 0.7), here)
    return relief

"""Which subjects, poses and lights a test set consists of: all drawn from fixed seeds of the test split."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.optimize import linear_sum_assignment

from relit.appearance.lighting import LUMINANCE
from relit.errors import InputError
from relit.models.head import ARKIT_NAMES
from relit.synth.camera import Shot, draw_shot, towards_camera
from relit.synth.expressions import draw_expression, draw_gaze
from relit.synth.light import Scene, draw_scene
from relit.synth.subject import ITA_DEG, Subject, draw_subject

SPLIT = "test"
AGES = (18.0, 80.0)
CANDIDATES = 8  # drawn for each subject of a set: those nearest the wanted tones and ages are taken
SOFT = ("panorama", "window", "mixed", "panorama", "ring", "panorama", "window", "panorama")
HARD = ("sun", "coloured", "sun", "flash", "sun", "coloured", "panorama", "sun")
HARD_SHARE = 0.35  # of the irradiance that one small source gives: then shadows are hard
SUN_SHARE = 0.6  # the same of scenes that are to be hard
_POSE, _SHOT, _SCENE = 60, 61, 62  # purposes of random numbers, plus 10 for each further photo
_EXPRESSIVE = 8  # every so many subjects show an expression at full strength
_BLINK = ARKIT_NAMES.index("eyeBlinkLeft")


@dataclass(frozen=True)
class TestSet:
    """A named set. Its seed is its own: no other data set of the test split may use it."""

    name: str
    seed: int
    subjects: int
    prefix: str  # of the subjects' keys
    three: int  # subjects with a third photo
    props: bool  # whether some wear something


@dataclass(frozen=True)
class Take:
    """One photo to take."""

    key: str
    subject: Subject  # with the expression and gaze of this photo
    shot: Shot
    scene: Scene
    tags: tuple[str, ...]


SETS = {
    "independent": TestSet("independent", 910_001, 64, "s", 16, True),
    "texture_swap": TestSet("texture_swap", 910_002, 24, "t", 0, False),
}


def test_set(name: str) -> TestSet:
    """The set of a name.

    Raises:
        InputError: with the names that exist.
    """
    if name not in SETS:
        raise InputError(f"there is no test set {name!r}; choose one of: {', '.join(SETS)}")
    return SETS[name]


@lru_cache(maxsize=2)
def subjects_of(wanted: TestSet) -> tuple[Subject, ...]:
    """The subjects of a set: skin tones and ages spread evenly and independently, beards and hair on every second."""
    count = wanted.subjects
    order = np.random.default_rng(wanted.seed)
    tone = np.linspace(*ITA_DEG, count + 1)[:-1] + (ITA_DEG[1] - ITA_DEG[0]) / (2 * count)
    age = order.permutation(np.linspace(*AGES, count))
    bearded = order.permutation(np.arange(count) % 2)
    drawn = [draw_subject(wanted.seed, index, SPLIT) for index in range(CANDIDATES * count)]
    cost = (
        np.abs(np.array([s.ita_deg for s in drawn]) - tone[:, None]) / 3
        + np.abs(np.array([s.age_years for s in drawn]) - age[:, None]) / 6
        + 4 * np.abs(np.array([s.marks.shave_shadow > 0 for s in drawn]) - bearded[:, None])
    )
    chosen = [drawn[k] for k in linear_sum_assignment(cost)[1]]
    chosen = [chosen[k] for k in order.permutation(count)]
    haired = [s.index for s in chosen if s.hair_style]
    kept = set(order.permutation(haired)[: count // 2].tolist())
    return tuple(s if s.index in kept else replace(s, hair_style="") for s in chosen)


def takes_of(wanted: TestSet, position: int) -> tuple[Take, ...]:
    """The photos of the subject at a position in the set."""
    subject = subjects_of(wanted)[position]
    key = f"{wanted.prefix}{position:02d}"
    plain = _posed(subject, subject.rng(_POSE), full=position % _EXPRESSIVE == 3)
    shot = _shot(subject, 0, 25)
    if wanted.name == "texture_swap":
        hard = _scene(subject, shot, "sun", 0, True)
        soft = _scene(subject, shot, SOFT[position % len(SOFT)], 1, False)
        return _take(f"{key}_hard", plain, shot, hard), _take(f"{key}_soft", plain, shot, soft)
    kinds = SOFT[position % len(SOFT)], HARD[(position // len(HARD) + position) % len(HARD)]
    shots = shot, _shot(subject, 1, 25)
    takes = [
        _take(f"{key}_{letter}", plain, shots[k], _scene(subject, shots[k], kinds[k], k, k == 1))
        for k, letter in enumerate("ab")
    ]
    if position % (wanted.subjects // wanted.three) == 0:
        shot = _shot(subject, 2, 35)
        moved = _posed(subject, subject.rng(_POSE + 10), full=True)
        takes.append(_take(f"{key}_c", moved, shot, _scene(subject, shot, "panorama", 2, False)))
    return tuple(takes)


def _take(key: str, subject: Subject, shot: Shot, scene: Scene) -> Take:
    tags = [scene.kind]
    if hard_share(scene) > HARD_SHARE:
        tags.append("hard_shadow")
    if subject.hair_style:
        tags.append("hair")
    return Take(key, subject, shot, scene, tuple(tags))


def hard_share(scene: Scene) -> float:
    """The share of a scene's light that its strongest small source gives a surface facing it."""
    power = scene.lighting.irradiance @ LUMINANCE
    total = math.sqrt(4 * math.pi) * float(scene.lighting.sh[0] @ LUMINANCE) / 4 + float(power.sum())
    return float(power.max() / total) if len(power) else 0.0


def _posed(subject: Subject, rng: np.random.Generator, full: bool) -> Subject:
    """The subject with a natural expression, mostly a mild one, and open eyes."""
    weights = draw_expression(rng)
    while weights[_BLINK] > 0.3:
        weights = draw_expression(rng)
    lids = weights[_BLINK : _BLINK + 2].copy()
    weights = weights * (rng.uniform(0.8, 1.0) if full else rng.uniform(0.1, 0.6))
    weights[_BLINK : _BLINK + 2] = lids
    return replace(subject, expression=weights.astype(np.float32), gaze_rad=draw_gaze(rng))


def _shot(subject: Subject, number: int, widest_deg: float) -> Shot:
    """A portrait: the face fills the frame, the picture is sharp and decently exposed."""
    rng = subject.rng(_SHOT + 10 * number)
    shot = draw_shot(rng)
    narrow = -1.0 if number % 2 else 1.0
    yaw = rng.uniform(0.55, 1.0) * widest_deg if number == 2 else rng.uniform(-0.2, 1.0) * widest_deg
    field = float(rng.uniform(0.245, 0.30))
    return replace(
        shot,
        field_m=field,
        distance_m=max(shot.distance_m, 0.4),
        yaw_rad=math.radians(narrow * yaw) * (1 if subject.index % 2 else -1),
        pitch_rad=float(np.clip(rng.normal(0, 0.09), -0.2, 0.2)),
        shift=(float(rng.normal(0, 0.015)), float(rng.normal(0.02, 0.015))),
        exposure=float(np.clip(shot.exposure, 0.6, 1.9)),
        blur_px=min(shot.blur_px, 0.7),
        shot_noise=0.4 * shot.shot_noise,
        read_noise=0.4 * shot.read_noise,
        rescale=1.0,
        jpeg_quality=93,
    )


def _scene(subject: Subject, shot: Shot, kind: str, number: int, hard: bool) -> Scene:
    """A scene of a kind; hard ones come from the side or above, so that noses and brows throw shadows that are seen."""
    rng = subject.rng(_SCENE + 10 * number)
    eye = towards_camera(shot)
    while True:
        scene = draw_scene(SPLIT, eye, rng, kind)
        share = hard_share(scene)
        if kind == "sun":
            front = float(scene.lamps[0].direction[2])
            if share > SUN_SHARE and 0.3 < front < 0.85:
                return scene
        elif hard or share < HARD_SHARE:
            return scene

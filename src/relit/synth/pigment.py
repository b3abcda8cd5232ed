"""Where a skin holds how much melanin and blood, and the colour that this gives it."""

import cv2
import numpy as np
import torch

from relit.geometry.smoothstep import smoothstep
from relit.models.skin import TONE_NAMES, tone_colour
from relit.synth.layout import Layout, blurred, soft_mask
from relit.synth.noise import add_spot, noise, noise_along, scattered
from relit.synth.subject import Subject

# Range of the table of colours: log ratio of melanin and of blood to the subject's plain skin.
_MELANIN, _BLOOD = (-1.6, 4.4), (-1.5, 2.2)
_NODES = (64, 24)
_TONE_LOG_SD = (1.5, 0.3)  # of melanin and blood in one standard deviation of relit.models.skin's tone
_MOLE_LOG_MELANIN = 0.3
# How reddened skin spreads, by region. Source: facial erythema is strongest on nose and central cheek, least on the
# temples (Bhatia, Hsu & Hui-Beckman, J. Am. Acad. Dermatology, 2018).
_RED = {"nose": 1.0, "cheeks": 0.8, "chin": 0.35, "ears": 0.9, "eyelids": 0.35, "forehead": 0.15, "neck": 0.15}


def pigment_fields(subject: Subject, here: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) log ratio of melanin, and of blood, to the subject's plain skin."""
    marks, masks, seed = subject.marks, here.masks, int(subject.rng(10).integers(1 << 30))
    rng = subject.rng(11)
    dark = _log_melanin(subject)
    melanin = np.zeros((here.size, here.size), np.float32)
    blood = np.zeros_like(melanin)
    mottled = marks.mottling * (1 - 0.7 * marks.makeup)
    bare = np.clip(1 - masks["scalp"], 0, 1)  # what shows below hair needs no detail
    # Octaves of unevenness: melanin lies in patches of centimetres and in spots of millimetres, blood in meshes.
    for k, (cell_mm, of_melanin, of_blood) in enumerate(((34, 0.10, 0.10), (11, 0.06, 0.12), (4.2, 0.05, 0.11))):
        melanin += mottled * of_melanin * noise(here, cell_mm, seed + 2 * k, bare)
        blood += mottled * of_blood * noise(here, cell_mm * 1.2, seed + 2 * k + 1, bare)
    fine = noise(here, 1.9, seed + 7, bare)
    melanin += 0.05 * mottled * fine
    blood += 0.08 * mottled * noise(here, 2.2, seed + 8, bare)

    tan = rng.normal(0.12, 0.12)  # what the sun reaches
    melanin += tan * (masks["forehead"] + masks["nose"] + 0.5 * masks["cheeks"] - 0.8 * _under_chin(here))
    around_eyes = np.clip(masks["eyelids"] + 0.8 * masks["under_eye"], 0, 1)
    melanin += around_eyes * abs(rng.normal(0, 0.16)) * (0.6 + 0.25 * max(dark + 3.0, 0))
    around_mouth = np.clip(2 * soft_mask(here.size, 7.0, lips=1.0), 0, 1) * (1 - masks["lips"])
    melanin += around_mouth * rng.normal(0.05, 0.10)
    blood += around_eyes * abs(rng.normal(0, 0.2))

    red = soft_mask(here.size, 5.0, **_RED)
    patchy = np.clip(1 + 0.30 * noise(here, 14, seed + 9) + 0.16 * noise(here, 3.0, seed + 10, red), 0, None)
    blood += 0.85 * marks.redness * (1 - 0.8 * marks.makeup) * red * patchy - 0.1
    blood += 0.9 * marks.blush * smoothstep(0.2, 0.9, soft_mask(here.size, 6.0, cheeks=1.0)) * 0.7

    _add_lips(melanin, blood, here, dark, rng)
    _add_spots(melanin, blood, subject, here, fine, seed, rng)
    _add_vessels(blood, subject, here, seed)
    return melanin, blood


def pigment_shift(subject: Subject, melanin: np.ndarray, blood: np.ndarray) -> np.ndarray:
    """(S, S, 3) change of log albedo that goes with log ratios of melanin and blood, from the skin's optics."""
    axes = [np.linspace(*span, count) for span, count in zip((_MELANIN, _BLOOD), _NODES, strict=True)]
    tone = torch.from_numpy(subject.tone).expand(_NODES[1], _NODES[0], len(TONE_NAMES)).clone()
    tone[..., 0] += torch.from_numpy(axes[0]).float() / _TONE_LOG_SD[0]
    tone[..., 1] += torch.from_numpy(axes[1]).float()[:, None] / _TONE_LOG_SD[1]
    plain = tone_colour(torch.from_numpy(subject.tone))
    table = (tone_colour(tone).clamp_min(1e-3) / plain.clamp_min(1e-3)).log().numpy()
    at = [
        ((field - low) / (high - low) * (count - 1)).clip(0, count - 1).astype(np.float32)
        for field, (low, high), count in zip((melanin, blood), (_MELANIN, _BLOOD), _NODES, strict=True)
    ]
    return cv2.remap(np.ascontiguousarray(table), at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def vein_tint(subject: Subject, here: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) how much veins show under thin skin, and (3,) what they add to its log albedo.

    Red light reaches them, so they look blue-green.
    """
    seed = int(subject.rng(12).integers(1 << 30))
    where = np.clip(soft_mask(here.size, 3.0, under_eye=1.0, eyelids=0.7), 0, 1)
    lines = np.exp(-((noise(here, 13.0, seed) / 0.10) ** 2)) * smoothstep(-0.5, 1.0, noise(here, 22.0, seed + 1))
    amount = 0.8 * subject.marks.veins * where * (0.35 + blurred(lines.astype(np.float32), 0.8, here.texel_mm))
    return amount, np.array([-0.16, -0.07, 0.0], np.float32)


def lip_tint(subject: Subject, here: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) how much of the lips, and (3,) what is added to their log albedo.

    Blood that lies deep, as in veins, makes the vermilion pink, not orange. Its mean was set on the portraits on which
    `relit.synth.camera` was calibrated: lips are 2 to 5 units of CIELAB's b* less yellow than the cheek, and on light
    skin 16 to 19 units of a* redder.
    """
    amount = float(subject.rng(13).uniform(0.3, 1.7))
    light = float(np.clip(-1.2 - _log_melanin(subject), 0.0, 2.0)) / 2
    return amount * here.masks["lips"], np.array([0.0, -0.07 * light, 0.16], np.float32)


def nose_tint(subject: Subject, here: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) how much of the nose, and (3,) what is added to its log albedo.

    The painted skins of the statistics show it too orange by this.
    """
    amount = float(subject.rng(14).uniform(0.2, 1.4))
    return amount * np.clip(soft_mask(here.size, 6.0, nose=1.0), 0, 1), np.array([-0.04, 0.03, 0.12], np.float32)


def _log_melanin(subject: Subject) -> float:
    return -2.7 + _TONE_LOG_SD[0] * float(subject.tone[0])


def _under_chin(here: Layout) -> np.ndarray:
    return here.masks["beard"] * (1 - here.masks["face"])


def _add_lips(melanin: np.ndarray, blood: np.ndarray, here: Layout, dark: float, rng: np.random.Generator) -> None:
    """Lips hold less melanin than dark skin around them, and their lower half least."""
    lips = here.masks["lips"]
    middle = here.landmarks[[13, 14], 1].mean()
    lower = smoothstep(-0.01, 0.02, (np.arange(here.size) + 0.5) / here.size - middle)[:, None]
    lighter = np.clip(dark + 2.6, 0, None) * rng.uniform(0.10, 0.36)
    # in place of the skin's own fields: lips are even
    melanin *= 1 - 0.7 * lips
    blood *= 1 - 0.6 * lips
    melanin -= lips * lighter * (0.55 + 0.45 * lower)
    blood += lips * rng.normal(0.1, 0.25)
    # the vermilion is furrowed: blood shows less at the bottom of a furrow
    furrows = noise_along(here, here.position_mm[..., 0], (1.3, 9.0), int(rng.integers(1 << 15)), lips)
    blood -= 0.16 * lips * np.clip(furrows, -1, 2)
    melanin += 0.05 * lips * np.clip(furrows, -1, 2)


def _add_spots(melanin, blood, subject: Subject, here: Layout, fine, seed: int, rng: np.random.Generator) -> None:
    """Freckles, moles, age spots, blemishes; added in place."""
    marks, masks = subject.marks, here.masks
    plain = here.bare("lips", "brows", "nostrils") + 0.5 * masks["neck"] * (1 - masks["face"])
    if marks.freckles:
        where = np.clip(masks["cheeks"] + 0.7 * masks["nose"] + 0.6 * masks["forehead"] + 0.5 * masks["under_eye"], 0, 1)
        grown = 0.35 + 0.65 * smoothstep(-1.0, 1.2, noise(here, 26, seed + 11))
        dots = 0.8 * noise(here, 2.3, seed + 12, where) + 0.5 * noise(here, 4.1, seed + 17, where) + 0.3 * fine
        shape = smoothstep(1.5 - 0.6 * marks.freckles, 2.9 - 0.6 * marks.freckles, dots)
        melanin += 1.5 * (0.4 + 0.6 * marks.freckles) * where * grown * shape * (1 - 0.7 * marks.makeup)
    if marks.age_spots:
        where = plain * np.clip(masks["forehead"] + masks["cheeks"] + 0.4, 0, 1) + 0.7 * masks["scalp"]
        blots = noise(here, 13.0, seed + 13) + 0.22 * noise(here, 4.0, seed + 14, where)
        melanin += 0.6 * where * smoothstep(1.6 - 0.5 * marks.age_spots, 2.9 - 0.5 * marks.age_spots, blots)
    deepest = max(_MOLE_LOG_MELANIN - _log_melanin(subject), 0.4)
    for at in scattered(plain, marks.moles, rng):
        radius = float(np.clip(rng.lognormal(-0.35, 0.55), 0.3, 3.0))
        depth = deepest * rng.uniform(0.35, 0.9) * min(1.0, 0.5 + radius / 2)
        add_spot(melanin, here, at, radius, rng.uniform(0.3, 0.7), depth, rng.normal(0, 0.06, 3))
    oily = plain * np.clip(masks["chin"] + masks["forehead"] + masks["nose"] + 0.6 * masks["cheeks"], 0, 1)
    for at in scattered(oily, marks.blemishes, rng):
        radius, strength = rng.uniform(0.7, 2.2), rng.uniform(0.3, 0.9) * (1 - 0.7 * marks.makeup)
        add_spot(blood, here, at, radius, 0.9, strength, rng.normal(0, 0.1, 3))
        add_spot(melanin, here, at, 1.4 * radius, 0.9, 0.25 * strength, rng.normal(0, 0.1, 3))


def _add_vessels(blood: np.ndarray, subject: Subject, here: Layout, seed: int) -> None:
    """Fine red vessels on the nose's wings and cheeks; added in place."""
    amount = subject.marks.veins * (1 - subject.marks.makeup)
    if amount < 0.1:
        return
    where = np.clip(0.9 * here.masks["nose"] + 0.7 * here.masks["cheeks"], 0, 1)
    ridge = np.exp(-((noise(here, 5.5, seed + 15, where) / 0.09) ** 2)) * smoothstep(0.3, 1.4, noise(here, 8.0, seed + 16))
    blood += 0.9 * amount * where * ridge

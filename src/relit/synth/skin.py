"""The maps of a subject: albedo from pigments, real detail, hair and make-up; relief; reflectance."""

import math
from functools import lru_cache

import cv2
import numpy as np
import torch
from numba import njit
from torch import Tensor

from relit.geometry.smoothstep import smoothstep
from relit.head.eyes import paint_eyes
from relit.maps.infer import region_properties, surface_of
from relit.maps.mesostructure import PIT_MM, PIT_SHADE, enlarge
from relit.models.head import load_head_model
from relit.models.skin import load_skin_model, skin_log_albedo, tone_colour
from relit.synth.detail import atlas, recombined
from relit.synth.hair import with_hair
from relit.synth.layers import add_tint, add_weighted
from relit.synth.layout import Layout, blurred, layout, soft_mask
from relit.synth.noise import noise
from relit.synth.pattern import pattern_of
from relit.synth.pigment import lip_tint, nose_tint, pigment_fields, pigment_shift, vein_tint
from relit.synth.relief import relief_mm
from relit.synth.subject import Subject
from relit.types import ReflectanceMaps

_AGES = {"young": 27.0, "middleage": 48.0, "old": 68.0}
_AGE_WIDTH = 14.0
_BRIGHTER = 0.08  # log albedo that parts of a skin rise above its tone, at most
_PALEST_LIPS = np.array([-0.06, -0.36, -0.35])  # log albedo of lips against skin, at most
_TEETH = np.array([0.985, 0.955, 0.88])  # what one step of yellowing leaves


def maps_of(subject: Subject, size: int, occlusion: Tensor, folders: tuple[str, ...] = ()) -> ReflectanceMaps:
    """The reflectance maps of a subject, `size` x `size`.

    Args:
        occlusion: (S, S) ambient visibility of its shape.
        folders: with further skins, see `relit.synth.detail.atlas`.
    """
    here = layout(size)
    relief, uneven, pits = relief_mm(subject, here)
    albedo = albedo_of(subject, here, pits, folders)
    gloss, rough = reflectance_of(subject, here)
    surface = surface_of(relief, gloss, rough, uneven)
    painted = paint_eyes(load_head_model(), torch.from_numpy(albedo), torch.from_numpy(subject.iris_colour))
    return ReflectanceMaps(painted, *surface, occlusion, torch.ones(size, size))


def albedo_of(subject: Subject, here: Layout, pits: np.ndarray, folders: tuple[str, ...] = ()) -> np.ndarray:
    """(S, S, 3) linear diffuse albedo in (0, 1), eyes unpainted.

    Args:
        pits: (S, S) millimetres, cavities of `relief_mm`: they look darker than the skin around them.
    """
    log = _statistical(subject, here)
    names, skins = atlas(subject.split, here.size, folders)
    _level(log, subject, here)
    detail = recombined(names, skins, _likely(names, subject), here.size, subject.rng(2))
    add_weighted(log, detail, _detail_strength(subject, here))
    add_weighted(log, pattern_of(subject, here.size), _pattern_strength(subject, here))
    melanin, blood = pigment_fields(subject, here)
    skin = (here.part == 0).astype(np.float32)
    add_weighted(log, pigment_shift(subject, melanin, blood), skin)
    for amount, tint in (vein_tint(subject, here), lip_tint(subject, here), nose_tint(subject, here)):
        add_tint(log, amount * skin, tint)
    add_tint(log, pits * skin, np.float32(PIT_SHADE) * np.float32((1 - 0.6 * subject.marks.makeup) / PIT_MM))
    albedo = np.exp(log, out=log)
    albedo = _with_makeup(with_hair(albedo, subject, here), subject, here)
    yellow = float(np.clip(subject.rng(3).normal(0.5, 0.6) + (subject.age_years - 40) / 40, 0, 2.5))
    teeth = here.masks["teeth"] > 0
    albedo[teeth] *= _TEETH ** (here.masks["teeth"][teeth] * yellow)[:, None]
    bright = np.flatnonzero(albedo > 0.55)  # a soft ceiling at 1, as the statistical model has it
    flat = albedo.reshape(-1)
    flat[bright] *= (1 + flat[bright] ** 8) ** (-1 / 8)
    return np.clip(albedo, 0.004, 0.98).astype(np.float32, copy=False)


def reflectance_of(subject: Subject, here: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) factor on F0 and (S, S) roughness of flat skin: by region, with the subject's own oil and cosmetics.

    Source: order and range of the regions as in relit.maps.infer; sebum is highest on forehead and nose and lowers the
    roughness there: Pochi & Strauss, "Endocrinologic control of the development and activity of the human sebaceous
    gland", J. Investigative Dermatology 62, 1974.
    """
    marks, masks, rng = subject.marks, here.masks, subject.rng(4)
    gloss, rough = (enlarge(value, here.size, here.size) for value in region_properties()[:2])
    skin = (here.part == 0).astype(np.float32) * (1 - masks["lips"])
    zone = np.clip(masks["forehead"] + masks["nose"] + 0.5 * masks["chin"] + 0.25 * masks["cheeks"], 0, 1)
    blotch = noise(here, 16, int(rng.integers(1 << 15)))
    oil = marks.oil * (0.35 + 0.65 * zone) + 0.35 * blotch * zone - 1.6 * marks.makeup
    rough = rough * np.exp(skin * (rng.normal(0, 0.05) - 0.075 * oil))
    gloss = gloss * np.exp(skin * (rng.normal(0, 0.04) + 0.03 * oil))
    wet = rng.uniform(0.0, 1.0) * (0.4 + marks.lipstick)
    rough = rough * (1 - 0.28 * wet * masks["lips"])
    return gloss.astype(np.float32), np.clip(rough, 0.04, 0.95).astype(np.float32)


def _statistical(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S, 3) log albedo of the statistical skin model."""
    coefficients = torch.from_numpy(np.concatenate([subject.tone, subject.features]))
    log = skin_log_albedo(load_skin_model(), coefficients).clamp_min(math.log(1e-3)).numpy()
    if len(log) == here.size:
        return log
    method = cv2.INTER_AREA if here.size < len(log) else cv2.INTER_CUBIC
    return cv2.resize(log, (here.size, here.size), interpolation=method)


def _likely(names: tuple[str, ...], subject: Subject) -> np.ndarray:
    """(N,) how likely each source teaches this subject: those of its age first, all at least a little."""
    ages = [next((age for word, age in _AGES.items() if name.startswith(word)), 35.0) for name in names]
    return np.exp(-(((np.array(ages) - subject.age_years) / _AGE_WIDTH) ** 2) / 2) + 0.03


def _detail_strength(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S) factor on real detail: foundation hides it, brows and lids are drawn otherwise."""
    brows = soft_mask(here.size, 1.5, brows=1.0)
    return (1 - 0.65 * subject.marks.makeup) * (1 - 0.6 * brows) * (here.part == 0)


def _pattern_strength(subject: Subject, here: Layout) -> np.ndarray:
    """(S, S) factor on the soft pattern of real faces: foundation evens it out."""
    return (1 - 0.7 * subject.marks.makeup) * (here.part == 0)


def _level(log: np.ndarray, subject: Subject, here: Layout) -> None:
    """Shifts the skin so that its plain parts have the subject's tone; in place."""
    plain, inner_lips = _sampled(here.size)
    flat = log.reshape(-1, 3)
    wanted = tone_colour(torch.from_numpy(subject.tone)).clamp_min(1e-3).log().numpy()
    shift = wanted - np.median(flat[plain], axis=0)
    _shifted(flat, here.part.ravel(), here.masks["lips"].ravel(), shift, float(wanted.mean()))
    # the statistical model lets lips vanish: they stay darker and redder than all but very dark skin
    lips = flat[inner_lips].mean(0) - wanted
    wanted_lips = _PALEST_LIPS * np.clip((subject.ita_deg + 50) / 70, 0, 1)
    shift = np.minimum(wanted_lips - lips, 0)
    shift[2] -= max(lips[2] + shift[2] - lips[1] - shift[1], 0)  # never bluer than the skin around them
    add_tint(log, here.masks["lips"], shift.astype(np.float32))


@lru_cache(maxsize=2)
def _sampled(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of every third texel of plain skin, and of the middle of the lips."""
    here = layout(size)
    plain = here.bare("brows", "lips", "eyelids", "nostrils", "beard", "under_eye") > 0.7
    return np.flatnonzero(plain)[::3], np.flatnonzero(here.masks["lips"] > 0.8)


@njit(cache=True, nogil=True)
def _shifted(log, part, lips, shift, level):
    """Adds the shift to skin (P, 3), and takes off what is brighter than `level` over centimetres: light that is left."""
    for p in range(len(log)):
        if part[p] != 0:
            continue
        for c in range(3):
            log[p, c] += shift[c]
        over = (log[p, 0] + log[p, 1] + log[p, 2]) / 3 - level
        if over > 0:
            bright = over * (1 - lips[p])
            for c in range(3):
                log[p, c] -= bright - _BRIGHTER * math.tanh(bright / _BRIGHTER)


def _with_makeup(albedo: np.ndarray, subject: Subject, here: Layout) -> np.ndarray:
    marks, rng, masks = subject.marks, subject.rng(5), here.masks
    if marks.lipstick:
        lips = cv2.morphologyEx(masks["lips"], cv2.MORPH_CLOSE, np.ones((max(3, here.size // 64) | 1, 1), np.uint8))
        cover = marks.lipstick * smoothstep(0.35, 0.75, lips) * np.clip(1 + 0.08 * noise(here, 2.0, 5, lips), 0, 1.2)
        tinted = np.clip(subject.lipstick_colour * (albedo / albedo[masks["lips"] > 0.8].mean(0)) ** 0.5, 0, 1)
        albedo = albedo + cover[..., None] * (tinted - albedo)
    if marks.eye_makeup:
        shade = np.array([(0.10, 0.06, 0.05), (0.05, 0.05, 0.06), (0.16, 0.08, 0.07), (0.06, 0.07, 0.10)])
        colour = shade[rng.integers(len(shade))]
        upper = masks["eyelids"] * smoothstep(0.01, -0.006, _below_lid(here))
        cover = 0.6 * marks.eye_makeup * blurred(upper, 1.2, here.texel_mm)
        albedo = albedo * (colour / np.maximum(albedo, 0.02)) ** cover[..., None]
    return albedo


def _below_lid(here: Layout) -> np.ndarray:
    """(S, 1) how far in v each row lies below the eyes' corners."""
    return ((np.arange(here.size) + 0.5) / here.size - here.landmarks[[33, 133], 1].mean())[:, None]

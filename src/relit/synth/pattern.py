"""The soft pattern of real faces: redness, blotches, shadow of beards, lips, rings under the eyes, from portraits of people."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from relit.models.registry import load_tensors
from relit.synth.detail import PLACES, Part, blended, box_slices
from relit.synth.layout import blurred, layout
from relit.synth.split import held_out_portraits, of_split
from relit.synth.subject import Subject

SIZE = 256  # layout size of the patterns: the portraits show nothing finer
LIMIT = 0.9  # log albedo that the codes 1 and 255 stand for
PARENTS = 3  # people that one pattern is made of
WARP_MM = 1.2  # lips must stay where they are
VALUE = 0.0025  # weight of values against gradients: what is softer than 30 mm keeps its value
STRENGTH = (0.45, 1.2)  # below 1 on average: cameras raised the contrast of the portraits
TONE_DEG, ANOTHER_TONE = 22.0, 0.05  # people of like skin teach first, others a little
_BEARDED = [list(PLACES).index(name) for name in ("lips", "cheeks", "chin", "jaw")]
OLD = 52.0, 6.0  # age in years at which old and young people teach alike, and softness of the change


@dataclass(frozen=True)
class Patterns:
    """What portraits say of N people, relative to their own tone and to the mean of their sex."""

    names: tuple[str, ...]
    male: np.ndarray  # (N,) bool
    old: np.ndarray  # (N,) bool
    ita_deg: np.ndarray  # (N,)
    seen: np.ndarray  # (N, R) share of each of relit.synth.detail.PLACES that the portrait shows
    codes: np.ndarray  # (N, h, w, 3) int8, 127 is LIMIT


@lru_cache(maxsize=2)
def patterns(split: str) -> Patterns:
    """The people of a split."""
    stored = load_tensors("skin_portraits")
    facts = stored.pop("facts").numpy()
    names = sorted(stored)
    chosen = of_split(names, split, held_out_portraits(names))
    at = [names.index(name) for name in chosen]
    pictures = [cv2.imdecode(stored[name].numpy(), cv2.IMREAD_COLOR)[..., ::-1] for name in chosen]
    codes = (np.stack(pictures).astype(np.int16) - 128).astype(np.int8)
    facts = facts[at]
    return Patterns(tuple(chosen), facts[:, 0] > 0, facts[:, 1] > 0, facts[:, 2], facts[:, 3:], codes)


def pattern_of(subject: Subject, size: int) -> np.ndarray:
    """(S, S, 3) change of log albedo, 0 on the median of plain skin and outside the face."""
    known, rng = patterns(subject.split), subject.rng(15)
    male = subject.marks.shave_shadow > 0
    weight = _likely(known, subject, male)
    parents = rng.choice(len(weight), PARENTS, replace=False, p=weight / weight.sum())
    strength = rng.uniform(*STRENGTH)
    share = known.seen[parents] + 1e-3
    taken = np.array([rng.choice(parents, p=own / own.sum()) for own in share.T])
    if male:  # one beard
        taken[_BEARDED] = taken[_BEARDED[0]]
    chosen = [Part(known.codes[person], rng.random() < 0.5, strength * LIMIT / 127) for person in taken]
    found = blended(chosen, SIZE, WARP_MM, rng, VALUE)
    found -= np.median(found[plain_skin(SIZE)[box_slices(SIZE)]], 0)
    whole = np.zeros((SIZE, SIZE, 3), np.float32)
    whole[box_slices(SIZE)] = found
    whole *= face_share(SIZE)[..., None]
    return cv2.resize(whole, (size, size), interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=2)
def face_share(size: int) -> np.ndarray:
    """(S, S) 1 on the face, falling to 0 towards hair, ears and neck."""
    here = layout(size)
    hair = blurred(np.clip(2 * here.masks["scalp"], 0, 1), 4.0, here.texel_mm)
    share = here.masks["face"] * np.clip(1 - 1.6 * hair, 0, 1) * (1 - here.masks["ears"])
    return blurred(share.astype(np.float32), 2.5, here.texel_mm)


@lru_cache(maxsize=2)
def plain_skin(size: int) -> np.ndarray:
    """(S, S) bool: where a person's tone is read."""
    return layout(size).bare("brows", "lips", "eyelids", "nostrils", "beard", "under_eye", "scalp") > 0.7


def _likely(known: Patterns, subject: Subject, male: bool) -> np.ndarray:
    """(N,) how likely each person teaches this subject: one of its sex, age and tone."""
    old = 1 / (1 + np.exp((OLD[0] - subject.age_years) / OLD[1]))
    tone = np.exp(-(((known.ita_deg - subject.ita_deg) / TONE_DEG) ** 2) / 2) + ANOTHER_TONE
    return (known.male == male) * np.where(known.old, old, 1 - old).clip(0.02) * tone

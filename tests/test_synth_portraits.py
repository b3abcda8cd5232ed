"""Laws of skins taken from portraits: what is light goes, what is skin stays, what is unseen comes from the other side."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data

from relit.errors import InputError
from relit.synth.layout import layout, soft_mask
from relit.synth.pattern import SIZE, face_share, plain_skin
from relit.synth.portrait_source import Seen, ita_deg, personal, seen_in, sure_of, tone_of, typical, usable
from relit.synth.portrait_tiles import PEOPLE, adult_tiles

TONE = np.log([0.42, 0.26, 0.19]).astype(np.float32)
REDDER = np.array([0.081, -0.051, -0.030], np.float32)
NOTHING = np.zeros((SIZE, SIZE, 3), np.float32)
FACE = face_share(SIZE) > 0.99


def person(pattern=NOTHING) -> Seen:
    log = np.broadcast_to(TONE, (SIZE, SIZE, 3)) + pattern
    return Seen(log.astype(np.float32), np.ones((SIZE, SIZE), np.float32), 0.8, np.zeros(1))


def cheek() -> np.ndarray:
    """One cheek, soft."""
    u = (np.arange(SIZE) + 0.5) / SIZE
    return (soft_mask(SIZE, 4.0, cheeks=1.0) * (u > 0.5))[..., None]


def test_plain_skin_has_nothing_of_its_own():
    assert np.abs(personal(person(), NOTHING, male=False)).max() < 1e-4
    assert 30 < ita_deg(person()) < 40


def test_light_from_one_side_goes_and_much_of_it_is_refused():
    across = np.linspace(-1, 1, SIZE, dtype=np.float32)[None, :, None] * np.ones((SIZE, 1, 3), np.float32)
    left = personal(person(0.12 * across), NOTHING, male=False)
    assert np.abs(left[FACE]).mean() < 0.1 * 0.12 * np.abs(np.broadcast_to(across, left.shape)[FACE]).mean()
    assert personal(person(0.8 * across), NOTHING, male=False) is None


def test_redness_on_both_cheeks_stays():
    red = (cheek() + cheek()[:, ::-1]) * REDDER
    found = personal(person(red), NOTHING, male=False)
    strong = (cheek() + cheek()[:, ::-1])[..., 0] > 0.8
    gained = (found[strong].mean(0) - found[plain_skin(SIZE) & ~strong].mean(0)) @ REDDER / (REDDER @ REDDER)
    assert 0.5 < gained < 1.2


def test_the_unseen_side_is_completed_by_the_other():
    red = (cheek() + cheek()[:, ::-1]) * REDDER
    half = np.ones((SIZE, SIZE), np.float32)
    half[:, : SIZE // 2] = 0
    seen = replace(person(red), trust=half)
    found = personal(seen, NOTHING, male=False)
    assert usable(seen)
    assert np.abs(found - found[:, ::-1])[FACE].mean() < 0.15 * np.abs(found[FACE]).mean()
    assert not usable(replace(seen, trust=0 * half)) and not usable(replace(seen, colourful=0.1))


def test_beards_darken_men_only_and_brows_are_not_looked_at():
    here = layout(SIZE)
    dark = -0.4 * soft_mask(SIZE, 3.0, beard=1.0)[..., None] * np.ones(3, np.float32)
    chin = (here.masks["beard"] > 0.9) & FACE
    man, woman = (personal(person(dark), NOTHING, male)[chin].mean() for male in (True, False))
    assert man < -0.15 and abs(woman) < 0.6 * abs(man)
    assert sure_of(person())[(here.masks["brows"] > 0.5)].max() == 0


def test_what_all_share_is_nobody_s_own():
    shared = -0.3 * soft_mask(SIZE, 2.0, under_eye=1.0)[..., None] * np.ones(3, np.float32)
    people = [person(shared)] * 3
    for mean in typical(people, people):
        assert np.abs(personal(people[0], mean, male=False)[FACE]).max() < 0.1


def test_only_adults_are_read_and_a_missing_sheet_is_named(tmp_path):
    letters = "".join(row for rows in PEOPLE.values() for row in rows.values())
    assert set(letters) == set(".fFmM") and sum(letter != "." for letter in letters) > 290
    assert min(min(rows) for name, rows in PEOPLE.items() if name.startswith("age")) == 4  # rows above show minors
    with pytest.raises(InputError, match="SFHQ"):
        next(adult_tiles(tmp_path))


def test_a_portrait_of_270_pixels_tells_tone_and_lips():
    portrait = cv2.resize(skimage.data.astronaut()[0:250, 100:350], (270, 270), interpolation=cv2.INTER_AREA)
    seen = seen_in(portrait, "astronaut")
    assert usable(seen) and 0 < ita_deg(seen) < 75
    own = (seen.log - tone_of(seen)) @ REDDER
    lips, sure = layout(SIZE).masks["lips"] > 0.8, sure_of(seen) > 0.5
    assert own[lips & sure].mean() > 0.01 + own[plain_skin(SIZE) & sure].mean()
    assert personal(seen, NOTHING, male=False) is not None

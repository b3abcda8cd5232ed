"""What a small portrait says about a person's skin: unwrapped, de-lit, freed of folds, and completed by symmetry."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch

from relit.appearance.colour import linear_from_srgb, typology_angle_deg
from relit.appearance.lighting import uniform_lighting
from relit.fit.landmark_fit import fit_landmarks
from relit.geometry.smoothstep import smoothstep
from relit.maps.learned import read_light
from relit.maps.pyramid import fill
from relit.maps.sighting import sighted
from relit.models.contours import MOUTH, RIGHT_EYE
from relit.models.delighting import load_delighting
from relit.models.head import load_head_model
from relit.models.identity import identity_prior, load_identity_statistics
from relit.models.skin import load_skin_model
from relit.observe.observe import head_yaw_rad, observe
from relit.synth.layout import Layout, blurred, layout, soft_mask
from relit.synth.pattern import SIZE, face_share, plain_skin
from relit.types import FaceFit, Photo

ENLARGED = 2  # landmarks are steadier on a larger picture
MAX_YAW = 0.6
TRUST = 0.15, 0.7  # confidence between nothing and all
LEAST_SEEN = 0.35  # share of plain skin that one side or the other must show
MAX_SIDE, MAX_HUE = 0.08, 0.09  # of light that the network left: from one side, and coloured
LEAST_COLOUR = 0.3  # log ratio of red to blue of the skin in the picture; less is black and white
SIDE_MM, SOFT_MM, HUE_MM = 12.0, 6.0, 1.5  # what is softer is light if the sides differ; soft and fine; of coded hue
# Log albedo at most, dark and bright: soft and fine brightness on plain skin, and how much more where beard and lips are.
SOFT_LIMIT, FINE_LIMIT, HUE_LIMIT = (0.2, 0.1), (0.08, 0.04), 0.35
SOFT_MORE, FINE_MORE = (0.5, 0.1), (0.3, 0.05)
SOFT_KEPT, FINE_KEPT = 0.3, 0.4  # of brightness on plain skin: folds and what light is left
OTHER_HUE = 0.5  # of what is not more or less blood: coloured light that is left
_BLOOD_HUE = np.array([0.81, -0.51, -0.30], np.float32)  # unit, of log albedo, from the optics of relit.models.skin


@dataclass(frozen=True)
class Seen:
    """One portrait in the layout, its light divided out."""

    log: np.ndarray  # (S, S, 3) log albedo up to the network's idea of tone
    trust: np.ndarray  # (S, S) [0, 1] that this is skin, or lips, brows, or between them
    colourful: float  # log ratio of red to blue in the picture
    embedding: np.ndarray  # (D,) of the recognition network


def seen_in(srgb8: np.ndarray, name: str) -> Seen | None:
    """What a portrait (H, W, 3) uint8 shows, or None where the head is turned too far.

    Landmarks alone place the head: light and tone are the network's, which asks nothing else of the fit.

    Raises:
        NoFaceFound: there is no usable face.
    """
    large = cv2.resize(srgb8, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    size_px = large.shape[1::-1]
    photo = Photo(name, linear_from_srgb(torch.from_numpy(large.astype(np.float32) / 255)), None, size_px)
    observation = observe(photo)
    if abs(head_yaw_rad(observation.landmarks, size_px)) > MAX_YAW:
        return None
    model = load_head_model()
    placed = fit_landmarks(
        model, (observation,), identity_prior(load_identity_statistics(), (observation.identity_embedding,))
    )
    fit = FaceFit(
        method="landmarks",
        camera=placed.cameras[0],
        identity=placed.identity,
        expression=placed.expressions[0],
        gaze_rad=placed.gazes_rad[0],
        vertex_offset=torch.zeros_like(model.mean),
        albedo=torch.zeros(len(load_skin_model().names)),
        lighting=uniform_lighting(),
        exposure=torch.ones(3),
        energies={},
    )
    (sighting,) = sighted(model, (observation,), (fit,))
    light = read_light(load_delighting(), sighting).light.numpy()
    seen, bare = sighting.unwrapped(SIZE, SIZE), sighting.bare.mask.numpy()
    radiance = np.maximum(seen.radiance.numpy(), 2e-3)
    trust = seen.confidence.numpy() * cv2.resize(bare, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    at = plain_skin(SIZE) & (trust > 0.5)
    colour = np.median(np.log(radiance[at]), 0) if at.any() else np.zeros(3)
    return Seen(
        log=np.log(radiance) - cv2.resize(light, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC),
        trust=trust.astype(np.float32),
        colourful=float(colour[0] - colour[2]),
        embedding=observation.identity_embedding.numpy(),
    )


def sure_of(seen: Seen) -> np.ndarray:
    """(S, S) [0, 1] how far the skin itself is seen."""
    # beside hair and glasses colours mix; what borders on eyes and mouth is hidden by place
    inner = cv2.erode(seen.trust, np.ones((5, 5)))
    near = _marked(False)[..., 0]
    trust = inner + np.clip(2 * near, 0, 1) * (seen.trust - inner)
    return (smoothstep(*TRUST, trust) * _bare(SIZE)).astype(np.float32)


def usable(seen: Seen) -> bool:
    """Whether enough skin is seen, in colour."""
    plain, sure = plain_skin(SIZE), sure_of(seen) > 0.5
    return bool((sure | _mirrored(sure))[plain].mean() > LEAST_SEEN and seen.colourful > LEAST_COLOUR)


def tone_of(seen: Seen) -> np.ndarray:
    """(3,) log albedo of the person's plain skin."""
    return np.median(seen.log[plain_skin(SIZE) & (sure_of(seen) > 0.5)], 0)


def ita_deg(seen: Seen) -> float:
    """The individual typology angle of the person's plain skin."""
    return float(typology_angle_deg(torch.from_numpy(np.exp(tone_of(seen))).float()))


def typical(women: list[Seen], men: list[Seen]) -> tuple[np.ndarray, np.ndarray]:
    """(S, S, 3) means of women and of men, but for beards, relative to their own tones.

    What all have in common, be it skin or light in folds, is not a person's own.
    """
    female, male = _mean(women), _mean(men)
    masks = layout(SIZE).masks
    bearded = blurred(masks["beard"] * (1 - masks["lips"]), 2.0, layout(SIZE).texel_mm)[..., None]
    return female, male + bearded * (female - male)


def _mean(people: list[Seen]) -> np.ndarray:
    sures = [sure_of(person) for person in people]
    total = sum(sures)
    mean = sum(_relative(p) * sure[..., None] for p, sure in zip(people, sures, strict=True))
    mean = mean / np.maximum(total, 1e-3)[..., None]
    total, mean = total + _mirrored(total), (mean + _mirrored(mean)) / 2
    known = smoothstep(0.01, 0.05, total / len(people)).astype(np.float32)
    return blurred(fill(mean.astype(np.float32), known, np.zeros(3, np.float32), 0.1), 0.8, layout(SIZE).texel_mm)


def personal(seen: Seen, mean: np.ndarray, male: bool) -> np.ndarray | None:
    """(S, S, 3) what a person's skin has of its own, relative to tone and mean; None where the light left too much.

    What differs between the sides over centimetres is light. Folds are dark and, as light scatters in skin, red: the
    colour that goes with fine brightness is taken out with it, and brightness on plain skin is held low. Beards, lips and
    rings under the eyes keep theirs.
    """
    sure, plain = sure_of(seen), plain_skin(SIZE)
    weight = sure + np.float32(1e-4)
    own = _relative(seen) - mean
    light = own.mean(-1, keepdims=True)
    hue = _averaged(own - light, weight, HUE_MM)
    side = _averaged(np.concatenate([light, hue], -1), weight, SIDE_MM)
    known = blurred(weight, SIDE_MM, layout(SIZE).texel_mm)
    side = (side - _mirrored(side)) / 2 * smoothstep(0.1, 0.4, np.minimum(known, _mirrored(known)))[..., None]
    light, hue = light - side[..., :1], hue - side[..., 1:]

    marked = _marked(male)
    soft = _averaged(light, weight, SOFT_MM)
    fine = light - soft
    folds = (marked[..., 0] < 0.3) & (face_share(SIZE) > 0.5) & (sure > 0.5)
    redder = ((hue - _averaged(hue, weight, SOFT_MM)) * fine)[folds].sum(0) / np.maximum((fine[folds] ** 2).sum(), 1e-6)
    hue = hue - redder * fine * (1 - marked)
    blood = (hue @ _BLOOD_HUE)[..., None] * _BLOOD_HUE
    hue = blood + OTHER_HUE * (hue - blood)
    light = soft + fine
    soft = _bounded(soft * (SOFT_KEPT + (1 - SOFT_KEPT) * marked), SOFT_LIMIT, SOFT_MORE, marked)
    fine = _bounded(fine * (FINE_KEPT + (1 - FINE_KEPT) * marked), FINE_LIMIT, FINE_MORE, marked)
    # a dark beard is grey: with its darkness its hue is bounded
    bounded = np.clip((soft + fine) / np.where(light < -0.1, light, -np.inf), 0, 1)
    hue = HUE_LIMIT * np.tanh(np.where(light < -0.1, 1 - marked * (1 - bounded), 1) * hue / HUE_LIMIT)

    found, first = soft + fine + hue, sure[..., None]
    other = (1 - first) * _mirrored(first)
    found = (first * found + other * _mirrored(found)) / np.maximum(first + other, 1e-3)
    known = np.clip(first + other, 0, 1)[..., 0].astype(np.float32)
    found = fill(found.astype(np.float32), known, np.zeros(3, np.float32), 0.15)
    found -= np.median(found[plain], 0)
    coloured = (found - found.mean(-1, keepdims=True))[plain].std()
    if np.sqrt((side[..., 0][plain] ** 2).mean()) > MAX_SIDE or coloured > MAX_HUE:
        return None
    return found * face_share(SIZE)[..., None]


def _relative(seen: Seen) -> np.ndarray:
    return np.clip(seen.log - tone_of(seen), -1.5, 1.0)


def _marked(male: bool) -> np.ndarray:
    """(S, S, 1) [0, 1] where brightness is the skin's own: lips, beard, around the eyes."""
    masks = layout(SIZE).masks
    areas = masks["lips"] + male * masks["beard"] + 0.5 * masks["under_eye"] + 0.4 * masks["eyelids"]
    return blurred(np.clip(areas, 0, 1).astype(np.float32), 2.0, layout(SIZE).texel_mm)[..., None]


def _bounded(values: np.ndarray, limit: tuple[float, float], more: tuple[float, float], marked: np.ndarray) -> np.ndarray:
    """Values held softly between the limits, dark and bright, which are wider where the skin is marked."""
    most = np.where(values > 0, limit[1] + more[1] * marked, limit[0] + more[0] * marked)
    return most * np.tanh(values / most)


def _averaged(picture: np.ndarray, weight: np.ndarray, sigma_mm: float) -> np.ndarray:
    texel_mm = layout(SIZE).texel_mm
    total = np.maximum(blurred(weight, sigma_mm, texel_mm), 1e-3)[..., None]
    return blurred(picture * weight[..., None], sigma_mm, texel_mm).reshape(picture.shape) / total


def _mirrored(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[:, ::-1])


@lru_cache(maxsize=2)
def _bare(size: int) -> np.ndarray:
    """(S, S) bool: not eyes, the gap between the lips, nostrils, or brows, which are drawn strand by strand."""
    here = layout(size)
    eyes, gap = (_outlined(outline, here) for outline in (RIGHT_EYE, MOUTH))
    brows = (soft_mask(size, 1.0, brows=1.0) > 0.15).astype(np.uint8)
    drawn = cv2.dilate(eyes, np.ones((4, 6))) | cv2.dilate(gap, np.ones((2, 4))) | cv2.dilate(brows, np.ones((4, 3)))
    return (drawn == 0) & (here.masks["nostrils"] < 0.3) & (here.part == 0)


def _outlined(marks: tuple[int, ...], here: Layout) -> np.ndarray:
    drawn = np.zeros((here.size, here.size), np.uint8)
    points = here.landmarks[list(marks)] * here.size
    for side in (points, np.array([here.size, 0]) + points * np.array([-1, 1])):
        cv2.fillPoly(drawn, [np.round(side).astype(np.int32)], 1)
    return drawn

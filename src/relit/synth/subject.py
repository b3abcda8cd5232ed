"""The subject: one frozen record that says everything about a synthetic person, drawn from a seed."""

import json
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from relit.appearance.colour import typology_angle_deg
from relit.models.head import HeadModel, load_head_model, neutral_vertices
from relit.models.skin import TONE_NAMES, load_skin_model, tone_colour
from relit.synth.ageing import aged
from relit.synth.expressions import draw_expression, draw_gaze
from relit.synth.split import stream

ITA_DEG = (-60.0, 60.0)  # drawn uniformly
_CANDIDATES = 512
_HAIRY = 0.75  # share of subjects whose hair is longer than cropped
_STYLES = {
    True: ("short01", "short02", "short03", "short04", "short04", "short02", "ponytail01"),
    False: ("bob02", "long01", "ponytail01", "short02", "short01", "short04", "long01", "ponytail01"),
}
# Natural hair: linear albedo of strands, from black to blond, grey and red (eumelanin, pheomelanin).
_HAIR = {
    "black": (0.010, 0.008, 0.007),
    "dark_brown": (0.028, 0.017, 0.011),
    "brown": (0.070, 0.040, 0.022),
    "blond": (0.26, 0.17, 0.085),
    "red": (0.16, 0.052, 0.020),
    "grey": (0.30, 0.29, 0.28),
}
_IRIS = {
    "dark_brown": (0.030, 0.014, 0.007),
    "brown": (0.075, 0.034, 0.014),
    "hazel": (0.115, 0.075, 0.028),
    "green": (0.10, 0.115, 0.055),
    "blue": (0.085, 0.135, 0.19),
    "grey": (0.13, 0.15, 0.16),
}


@dataclass(frozen=True)
class Marks:
    """How much of each mark a skin has: [0, 1] unless said otherwise."""

    redness: float
    mottling: float
    freckles: float
    moles: int
    age_spots: float
    veins: float
    blemishes: int
    scars: int
    stubble: float  # density of the short hairs of an unshaved beard
    shave_shadow: float  # hair below the surface of a shaved beard
    shaved_scalp: float  # the same on the head
    receding: float  # how far the hairline has gone back, to the crown at 1
    crown: float  # size of the bald spot there
    brow_density: float
    brow_height: float  # in half thicknesses of the brow, up
    wrinkles: float
    pores: float
    oil: float
    makeup: float  # coverage of foundation
    lipstick: float  # coverage
    eye_makeup: float
    blush: float


@dataclass(frozen=True)
class Subject:
    """A synthetic person with an expression. Everything else follows from this record."""

    split: str
    seed: int
    index: int
    identity: np.ndarray  # (K,) in standard deviations of the head model; what age it shows gives way to `age_years`
    asymmetry: float  # factor on what differs between the two sides
    expression: np.ndarray  # (52,)
    gaze_rad: np.ndarray  # (2, 2)
    age_years: float
    ita_deg: float  # individual typology angle of the plain skin
    tone: np.ndarray  # (4,) TONE_NAMES in standard deviations
    features: np.ndarray  # the other coefficients of the statistical skin model
    hair_colour: np.ndarray  # (3,) linear
    iris_colour: np.ndarray  # (3,) linear
    lipstick_colour: np.ndarray  # (3,) linear
    hair_style: str  # of relit.synth.hair_cards, worn in photographs; empty where the head is cropped or bald
    beard: str  # full, goatee or moustache, of strands; empty where it is shaved or stubble
    beard_mm: float  # length of its longest strands
    marks: Marks

    def rng(self, purpose: int) -> np.random.Generator:
        """Random numbers for one purpose of this subject."""
        return stream(self.split, self.seed, self.index, purpose)


def draw_subject(seed: int, index: int, split: str = "train") -> Subject:
    """Subject number `index` of a seed: always the same, whatever was drawn before."""
    rng = stream(split, seed, index, 0)
    age = float(np.clip(rng.gamma(4.2, 7.5) + 16, 18, 88))
    bearded = rng.random() < 0.5
    ita = float(rng.uniform(*ITA_DEG))
    tone = _tone_of(ita, rng)
    model, head = load_skin_model(), load_head_model()
    beard, length = _beard(bearded, stream(split, seed, index, 7))
    features = rng.standard_normal(len(model.names) - len(TONE_NAMES)) * 0.85
    subject = Subject(
        split=split,
        seed=seed,
        index=index,
        identity=(rng.standard_normal(len(head.identity_modes)) * rng.uniform(0.5, 0.85)).astype(np.float32),
        asymmetry=float(rng.uniform(0.6, 1.6)),
        expression=draw_expression(rng),
        gaze_rad=draw_gaze(rng),
        age_years=age,
        ita_deg=ita,
        tone=tone,
        features=_with(features, model.names[len(TONE_NAMES) :]),
        hair_colour=_hair_colour(age, ita, rng),
        iris_colour=_iris_colour(ita, rng),
        lipstick_colour=_lipstick(rng),
        marks=_rooted(_draw_marks(age, ita, bearded, rng), beard),
        beard=beard,
        beard_mm=length,
        hair_style=str(rng.choice(_STYLES[bearded])) if rng.random() < _HAIRY else "",
    )
    return replace(subject, marks=_balding(subject, bearded, stream(split, seed, index, 8)))


def neutral_of(subject: Subject, model: HeadModel) -> torch.Tensor:
    """(V, 3) the neutral head of a subject at its age, with its left-right difference scaled by `asymmetry`."""
    male = 1.0 if subject.marks.shave_shadow else 0.0
    identity, change = aged(torch.from_numpy(subject.identity), model, subject.age_years, male)
    plain = model.mean + (identity @ model.identity_modes.flatten(1)).view_as(model.mean)
    other = plain[model.mirror] * plain.new_tensor([-1.0, 1.0, 1.0])
    return neutral_vertices(model, identity, change + (subject.asymmetry - 1) * 0.5 * (plain - other))


def record_of(subject: Subject) -> dict:
    """The subject as JSON values."""
    values = {field.name: getattr(subject, field.name) for field in fields(subject)}
    values["marks"] = {field.name: getattr(subject.marks, field.name) for field in fields(Marks)}
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}
    return json.loads(json.dumps(plain), parse_float=lambda text: round(float(text), 6))


def _tone_of(ita_deg: float, rng: np.random.Generator) -> np.ndarray:
    """(4,) tone coefficients with free blood, brightness and carotene, and the melanin that gives the angle."""
    blood, brightness, carotene = rng.standard_normal(3) * [0.9, 0.6, 0.9]
    melanin = torch.linspace(-3.6, 3.6, _CANDIDATES)
    # pale skin has room for little brightness below, dark skin for little above: lean that way with the angle
    lean = 0.9 * float(np.clip((abs(ita_deg) - 45) / 15, 0, 1)) * np.sign(ita_deg)
    for step in range(6):
        tones = torch.stack([melanin, *(torch.full_like(melanin, x) for x in (blood, brightness + lean * step, carotene))], 1)
        found = typology_angle_deg(tone_colour(tones)).numpy()
        if found.min() <= ita_deg <= found.max():
            break
    nearest = int(np.abs(found - ita_deg).argmin())
    return tones[nearest].numpy().astype(np.float32)


def _with(features: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """The features with what is drawn strand by strand here taken out of the statistical skin."""
    bare = {"brow_darkness": -3.84, "brow_thickness": 0.0, "brow_height": 0.0, "beard_shadow": -6.0, "scalp_shadow": -6.0}
    return np.array([bare.get(name, x) for name, x in zip(names, features, strict=True)], np.float32)


def _draw_marks(age: float, ita: float, bearded: bool, rng: np.random.Generator) -> Marks:
    pale = float(np.clip((ita + 10) / 50, 0, 1))
    old = float(np.clip((age - 35) / 40, 0, 1))
    rare = lambda share, low, high: float(rng.uniform(low, high)) if rng.random() < share else 0.0  # noqa: E731
    adorned = (not bearded) and rng.random() < 0.5
    return Marks(
        redness=float(rng.beta(1.6, 2.6)),
        mottling=float(rng.uniform(0.4, 1.0)),
        freckles=rare(0.10 + 0.35 * pale, 0.15, 1.0),
        moles=int(rng.poisson(rng.gamma(1.5, 3.0))),
        age_spots=rare(0.1 + 0.8 * old, 0.1, 1.0) * (0.3 + 0.7 * old),
        veins=float(rng.beta(1.3, 3.0)) * (0.4 + 0.6 * old),
        blemishes=int(rng.poisson(4.0)) if rng.random() < 0.45 - 0.3 * old else 0,
        scars=int(rng.poisson(0.25)),
        stubble=rare(0.45, 0.1, 1.0) if bearded else 0.0,
        shave_shadow=float(rng.uniform(0.15, 1.0)) if bearded else 0.0,
        shaved_scalp=float(rng.uniform(0.25, 1.0)),
        receding=0.0,
        crown=0.0,
        brow_density=float(np.clip(rng.normal(0.95 if bearded else 0.8, 0.25) - 0.25 * old, 0.25, 1.5)),
        brow_height=float(rng.normal(0, 0.45)),
        wrinkles=float(np.clip(0.06 + 1.25 * old**1.1 + rng.normal(0, 0.10), 0.02, 1.5)),
        pores=float(np.clip(rng.normal(0.9, 0.3) + 0.3 * old, 0.2, 1.8)),
        oil=float(rng.normal(0, 1)),
        makeup=rare(0.8, 0.15, 0.8) if adorned else 0.0,
        lipstick=rare(0.75, 0.3, 0.95) if adorned else 0.0,
        eye_makeup=rare(0.7, 0.2, 1.0) if adorned else 0.0,
        blush=rare(0.6, 0.2, 0.9) if adorned else 0.0,
    )


def _beard(bearded: bool, rng: np.random.Generator) -> tuple[str, float]:
    """The shape of a beard and its length in mm: mostly none, mostly short."""
    shape = str(rng.choice(["", "full", "goatee", "moustache"], p=[0.62, 0.22, 0.09, 0.07]))
    length = float(np.clip(rng.lognormal(np.log(13), 0.55), 6, 60)) if shape == "full" else float(rng.uniform(6, 16))
    return (shape, length) if bearded and shape else ("", 0.0)


def _rooted(marks: Marks, beard: str) -> Marks:
    """Marks with the roots of a beard in the skin."""
    stubble = {"full": 1.0, "goatee": 0.35, "moustache": 0.25}.get(beard, marks.stubble)
    return replace(marks, stubble=stubble)


def _balding(subject: Subject, male: bool, rng: np.random.Generator) -> Marks:
    """Marks of heads without long hair: razed, cropped evenly, or cropped round what time has left of it.

    Source: stages of baldness as Hamilton 1951 and Norwood 1975; about as many men in a hundred have some as years.
    """
    marks, chances = subject.marks, rng.random(2)
    extent = np.array([0.12, 0.2]) + np.array([0.8, 0.7]) * rng.random(2) ** (1.6, 1.0)
    if subject.hair_style:
        return marks
    if chances[0] < (0.25 if male else 0.06):
        return replace(marks, shaved_scalp=float(rng.uniform(0.0, 0.15)))
    if not male or chances[1] > subject.age_years / 80:
        return marks
    crown = float(extent[1]) if rng.random() < 0.7 else 0.0
    return replace(marks, receding=float(extent[0]), crown=crown, shaved_scalp=max(marks.shaved_scalp, 0.5))


def _hair_colour(age: float, ita: float, rng: np.random.Generator) -> np.ndarray:
    light = np.clip((ita - 15) / 45, 0, 1)
    share = np.array([0.55, 0.3, 0.12, 0.0, 0.01, 0.0]) * (1 - light) + np.array([0.08, 0.3, 0.34, 0.22, 0.06, 0]) * light
    share[-1] = 2.2 * np.clip((age - 45) / 40, 0, 1) ** 1.5
    return _mixed(_HAIR, share, rng)


def _iris_colour(ita: float, rng: np.random.Generator) -> np.ndarray:
    light = np.clip((ita - 25) / 35, 0, 1)
    dark, pale = np.array([0.72, 0.24, 0.03, 0.004, 0.003, 0.003]), np.array([0.10, 0.25, 0.17, 0.12, 0.28, 0.08])
    return _mixed(_IRIS, dark * (1 - light) + pale * light, rng)


def _mixed(colours: dict, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the colours, a little towards another and a little varied."""
    table = np.array(list(colours.values()))
    first, second = rng.choice(len(table), 2, p=share / share.sum())
    log = np.log(table[first]) + rng.uniform(0, 0.35) * (np.log(table[second]) - np.log(table[first]))
    return np.exp(log + rng.normal(0, 0.12) + rng.normal(0, 0.04, 3)).astype(np.float32)


def _lipstick(rng: np.random.Generator) -> np.ndarray:
    """Reds, roses, plums and browns."""
    base = np.array([(0.38, 0.02, 0.035), (0.45, 0.10, 0.13), (0.20, 0.03, 0.06), (0.28, 0.10, 0.07), (0.50, 0.16, 0.12)])
    return (base[rng.integers(len(base))] * rng.lognormal(0, 0.15, 3)).clip(0.01, 0.7).astype(np.float32)

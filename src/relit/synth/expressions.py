"""Natural facial expressions: combinations of muscle actions that people show together, with slight asymmetry."""

import math

import numpy as np

from relit.models.head import ARKIT_NAMES

# Mean weights of the ARKit shapes in each expression; "*" stands for both sides. Compiled from the action units of
# prototypical expressions (Ekman & Friesen, Facial Action Coding System, 1978; Du, Tao & Martinez, "Compound facial
# expressions of emotion", PNAS 111, 2014, table 1) and from the sounds of speech.
EXPRESSIONS = {
    "neutral": {},
    "smile": {"mouthSmile*": 0.6, "cheekSquint*": 0.35, "eyeSquint*": 0.2, "mouthDimple*": 0.15},
    "laugh": {"mouthSmile*": 0.75, "jawOpen": 0.3, "mouthUpperUp*": 0.35, "mouthLowerDown*": 0.3, "cheekSquint*": 0.6,
              "eyeSquint*": 0.45},
    "grin": {"mouthSmile*": 0.7, "mouthUpperUp*": 0.4, "mouthLowerDown*": 0.25, "jawOpen": 0.06, "cheekSquint*": 0.4},
    "surprise": {"browInnerUp": 0.7, "browOuterUp*": 0.6, "eyeWide*": 0.6, "jawOpen": 0.35, "mouthFunnel": 0.1},
    "anger": {"browDown*": 0.75, "eyeSquint*": 0.3, "mouthPress*": 0.35, "noseSneer*": 0.25, "mouthFrown*": 0.2},
    "disgust": {"noseSneer*": 0.65, "browDown*": 0.4, "mouthUpperUp*": 0.35, "cheekSquint*": 0.3, "mouthFrown*": 0.2},
    "sadness": {"browInnerUp": 0.65, "mouthFrown*": 0.5, "mouthShrugLower": 0.3, "eyeSquint*": 0.1},
    "fear": {"browInnerUp": 0.6, "browOuterUp*": 0.35, "browDown*": 0.2, "eyeWide*": 0.5, "mouthStretch*": 0.45,
             "jawOpen": 0.15},
    "contempt": {"mouthSmileLeft": 0.4, "mouthDimpleLeft": 0.35, "eyeSquint*": 0.15},
    "thought": {"browDown*": 0.35, "mouthPress*": 0.3, "mouthLeft": 0.15, "eyeSquint*": 0.15},
    "kiss": {"mouthPucker": 0.7, "eyeSquint*": 0.1},
    "speech_a": {"jawOpen": 0.35, "mouthLowerDown*": 0.15, "mouthStretch*": 0.1},
    "speech_o": {"jawOpen": 0.22, "mouthFunnel": 0.5, "mouthPucker": 0.2},
    "speech_e": {"jawOpen": 0.1, "mouthStretch*": 0.35, "mouthUpperUp*": 0.15, "mouthLowerDown*": 0.3},
    "speech_m": {"mouthRollUpper": 0.25, "mouthRollLower": 0.3, "mouthPress*": 0.25},
    "squint": {"eyeSquint*": 0.7, "browDown*": 0.35, "cheekSquint*": 0.4, "mouthSmile*": 0.15},
}  # fmt: skip
_SHARE = np.array([6, 5, 2, 2, 1.5, 1, 0.7, 1.2, 0.7, 0.7, 1.2, 0.6, 1.2, 0.8, 0.8, 0.8, 1.0])
_SIDES = ("Left", "Right")
WIDEST = 0.45  # opening of the lids
LIVELINESS = 0.04  # mean of what every face shows besides
_STILL = ("tongueOut", "eyeLook", "mouthClose", "jawForward", "cheekPuff", "eyeBlink", "jawLeft", "jawRight")


def draw_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,) ARKit weights in [0, 1]: one expression or a mix of two, of any intensity, never exactly symmetric."""
    names = list(EXPRESSIONS)
    weights = np.zeros(len(ARKIT_NAMES))
    count = 2 if rng.random() < 0.35 else 1
    for name in rng.choice(names, count, replace=False, p=_SHARE / _SHARE.sum()):
        intensity = rng.uniform(0.35, 1.25) / math.sqrt(count)
        for pattern, value in EXPRESSIONS[name].items():
            for shape in [pattern.replace("*", side) for side in _SIDES] if "*" in pattern else [pattern]:
                at = ARKIT_NAMES.index(shape)
                weights[at] += intensity * value * rng.lognormal(0, 0.18)
    free = np.array([not name.startswith(_STILL) for name in ARKIT_NAMES])
    weights += free * rng.exponential(LIVELINESS, len(weights)) * (rng.random(len(weights)) < 0.5)
    lids = rng.choice([rng.uniform(0.03, 0.2), rng.uniform(0.2, 0.5), 1.0], p=[0.82, 0.13, 0.05])
    for side in _SIDES:
        weights[ARKIT_NAMES.index(f"eyeBlink{side}")] = lids * rng.uniform(0.93, 1.0)
    weights = np.clip(weights, 0, 1)
    _resolve(weights)
    return weights.astype(np.float32)


def draw_gaze(rng: np.random.Generator) -> np.ndarray:
    """(2, 2) rad: (left, right eye) x (yaw to the subject's left, pitch up), with a few degrees of vergence."""
    shared = rng.normal(0, 1, 2) * np.radians([9.0, 6.0]) * (rng.random() < 0.6)
    vergence = np.radians(rng.uniform(0, 2.5))
    both = np.stack([shared - [vergence, 0], shared + [vergence, 0]])
    return np.clip(both + rng.normal(0, np.radians(0.3), (2, 2)), -0.45, 0.45).astype(np.float32)


def _resolve(weights: np.ndarray) -> None:
    """Weakens what muscles cannot do at once, in place: raised lids cannot blink, an open jaw cannot press its lips."""
    at = ARKIT_NAMES.index
    opened = weights[at("jawOpen")]
    for side in _SIDES:
        weights[at(f"eyeWide{side}")] = min(weights[at(f"eyeWide{side}")], WIDEST)
        weights[at(f"eyeWide{side}")] *= 1 - weights[at(f"eyeBlink{side}")]
        weights[at(f"mouthPress{side}")] *= max(0.0, 1 - 3 * opened)
    for name in ("mouthRollUpper", "mouthRollLower", "mouthPucker"):
        weights[at(name)] *= max(0.0, 1 - 1.5 * opened)

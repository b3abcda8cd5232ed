"""What is held or stands before the face: microphones and hands."""

import numpy as np
import torch

from relit.geometry.transforms import unit
from relit.models.registry import load_tensors
from relit.models.skin import tone_colour
from relit.synth.solids import Prop, ball, curve, joined, prop, tube
from relit.synth.subject import Subject
from relit.synth.wearer import Wearer

_MOUTH, _CORNERS = (13, 14), (61, 291)
_BEFORE_EAR = np.array([(0.0815, 0.030, 0.000), (0.0775, 0.012, 0.014)])


def microphone(wearer: Wearer, subject: Subject, rng: np.random.Generator) -> tuple[Prop, ...]:
    """One on a stand before the mouth, or one at the cheek on a thin boom."""
    return _stand(wearer, rng) if rng.random() < 0.6 else _headset(wearer, rng)


def _stand(wearer: Wearer, rng: np.random.Generator) -> tuple[Prop, ...]:
    mouth = wearer.landmarks[list(_MOUTH)].mean(0)
    lean = np.array([rng.normal(0, 0.25), -1.0, rng.uniform(0.5, 1.6)])
    along = unit(lean)  # from the head of the microphone down its body
    head = mouth + [rng.normal(0, 0.012), rng.uniform(-0.035, -0.012), rng.uniform(0.045, 0.075)]
    grille = ball(head, np.array([0.025, 0.025, 0.028]), np.stack([*_across(along), along]), 16)
    ring = tube(np.stack([head + 0.017 * along, head + 0.027 * along]), (0.0245, 0.0245), _across(along)[0], sides=32)
    steps = np.linspace(0.026, 0.40, 12)[:, None]
    body = tube(head + steps * along, (0.0185, 0.0185), _across(along)[0], sides=24)
    silver = np.array([0.55, 0.55, 0.56]) if rng.random() < 0.6 else np.array([0.06, 0.06, 0.06])
    return (
        prop("microphone:grille", grille, silver, 0.55, metallic=True),
        prop("microphone:body", joined(ring, body), (0.012, 0.012, 0.013), 0.35),
    )


def _headset(wearer: Wearer, rng: np.random.Generator) -> tuple[Prop, ...]:
    side = int(rng.choice([-1, 1]))
    ear = wearer.carried(_BEFORE_EAR * [side, 1, 1])
    corner = wearer.landmarks[_CORNERS[(side + 1) // 2]]
    tip = corner + [side * 0.012, rng.uniform(-0.014, 0.004), rng.uniform(0.004, 0.012)]
    cheek = (ear[1] + tip) / 2 + [side * 0.012, -0.006, 0.004]
    path = curve(np.concatenate([ear, [cheek], [tip]]), 40)
    for _ in range(3):
        path = wearer.outside(path, 0.004)
        path[1:-1] = 0.25 * path[:-2] + 0.5 * path[1:-1] + 0.25 * path[2:]
    boom = tube(path, (0.0013, 0.0013), np.array([side, 0.0, 0.0]), sides=8)
    foam = ball(path[-1], np.full(3, rng.uniform(0.005, 0.009)), np.eye(3), 12)
    black = np.array([0.012, 0.012, 0.012])
    skin = np.array([0.45, 0.28, 0.20])
    return (
        prop("microphone:boom", (wearer.outside(boom[0], 0.0), boom[1]), skin if rng.random() < 0.4 else black, 0.4),
        prop("microphone:foam", (wearer.outside(foam[0], 0.0), foam[1]), black, 0.9),
    )


def _across(along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors at right angles to a third and to each other."""
    first = unit(np.cross(along, [1.0, 0.0, 0.0]))
    return first, np.cross(along, first)


def hand(wearer: Wearer, subject: Subject, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A hand at the cheek, under the chin or before the mouth."""
    side = int(rng.choice([-1, 1]))
    place = _PLACES[int(rng.choice(len(_PLACES), p=[0.45, 0.3, 0.25]))]
    # all is laid out for the left hand; the marks of the other side are mirrored
    marks = {name: wearer.landmarks[ids[(side < 0) * 1]].mean(0) * [side, 1, 1] for name, ids in _MARKS.items()}
    pose, target, fingers, outwards, sink = place(marks, rng)
    up = unit(fingers)
    back = unit(outwards - (outwards @ up) * up)
    frame = np.stack([np.cross(up, back), up, back])
    shape = load_tensors("hand")
    local = shape[pose].float().numpy() * rng.uniform(0.93, 1.06)
    points = local @ frame + target
    points = points * [side, 1, 1]
    away = (unit(0.5 * back - up) if pose == "fist" else back) * [side, 1, 1]
    # moved off until it touches, and the touching flesh gives way
    fleshy = points[local[:, 1] > _WRIST_M]
    height = _REACH_M - wearer.reach(fleshy + _REACH_M * away, -away)
    points = points + (np.max(height[np.isfinite(height)], initial=-_REACH_M) - sink) * away
    triangles = shape["triangles"].long().numpy()
    colour = _TANNED * tone_colour(torch.from_numpy(subject.tone)).numpy()
    return (prop("hand", (wearer.outside(points, 3e-4), triangles[:, ::side]), colour, 0.5),)


def _at_cheek(marks: dict, rng: np.random.Generator):
    target = marks["cheek"] + [0, rng.uniform(-0.02, 0.0), 0]
    fingers = np.array([-0.12, 1.0, rng.uniform(-0.5, 0.0)])
    return str(rng.choice(["open", "relaxed"])), target, fingers, np.array([0.85, -0.1, 0.5]), 0.004


def _under_chin(marks: dict, rng: np.random.Generator):
    target = marks["chin"] + [rng.uniform(0.0, 0.02), -0.022, 0.022]
    return "fist", target, np.array([-0.25, 1.0, rng.uniform(-0.2, 0.1)]), np.array([0.5, 0.2, 1.0]), 0.003


def _before_mouth(marks: dict, rng: np.random.Generator):
    target = marks["mouth"] + [rng.uniform(0.0, 0.02), rng.uniform(-0.02, 0.005), 0.03]
    return "relaxed", target, np.array([-rng.uniform(0.4, 1.0), 0.7, 0.0]), np.array([0.1, 0.0, 1.0]), 0.003


_PLACES = (_at_cheek, _under_chin, _before_mouth)
_MARKS = {"cheek": ([454, 397, 425], [234, 172, 205]), "chin": ([152], [152]), "mouth": ([13, 14], [13, 14])}  # left, right
_TANNED = 0.85  # albedo of the back of a hand against that of the face
_WRIST_M = -0.09  # along the hand, from the root of the middle finger
_REACH_M = 0.12  # how deep a hand is looked for in the head

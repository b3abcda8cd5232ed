"""Eyeballs, eye sockets, and lids that lie on the eyeballs."""

import itertools

import numpy as np

from relit.models.head import (
    EYE_POLAR_MAX,
    EYE_RADIUS_MM,
    EYE_UV_RADIUS,
    IRIS_RADIUS_MM,
    eye_disc_radius,
    eyeball_radius_mm,
)

MARGIN_GAP_MM = (-0.25, 0.20)  # of the first two rings of the lid opening over the eyeball: lids close against it
FALLOFF = (1.0, 1.0, 0.8, 0.55, 0.3, 0.12, 0.04)  # how far the rings outside follow the lid margin
EYE_RISE_MM = 1.6  # of the eyeball in the lid opening: the upper lid covers 1 to 2 mm of the iris, the lower one touches
SOCKET_POLAR = (0.55, 0.72, 0.86)  # rings behind the lids, between their edge and the back of the eyeball
SOCKET_GAP_MM = 1.0
SOCKET_UV_CENTRES, SOCKET_UV_RADIUS = ((0.785, 0.941), (0.215, 0.941)), 0.034
SEGMENTS = 32
LIMBUS_RING = 11  # of the rings below, counted from the pupil


def eyeball(segments: int = SEGMENTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A left eyeball about its centre, looking along +Z: vertices (mm), quads, UV from the disc's centre.

    Rings follow pupil, iris, limbus and sclera; the back, hidden in the socket, is open.

    Source: sclera radius 12 mm, cornea 7.8 mm, visible iris 5.9 mm: Gullstrand's schematic eye and Forrester et al.
    """
    limbus = np.arcsin(IRIS_RADIUS_MM / EYE_RADIUS_MM)
    iris = limbus * np.array([0.08, 0.16, 0.24, 0.30, 0.37, 0.46, 0.56, 0.66, 0.76, 0.86, 0.93, 1.0])
    sclera = np.concatenate([limbus + np.array([0.035, 0.08, 0.14]), np.linspace(limbus + 0.25, EYE_POLAR_MAX, 14)])
    polar = np.concatenate([iris, sclera])
    angle = 2 * np.pi * np.arange(segments) / segments
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    radius = eyeball_radius_mm(np.cos(polar))
    points = [np.array([[0, 0, eyeball_radius_mm(np.ones(1))[0]]])]
    offsets = [np.zeros((1, 2))]
    for theta, r in zip(polar, radius, strict=True):
        points.append(np.concatenate([r * np.sin(theta) * ring, np.full((segments, 1), r * np.cos(theta))], 1))
        offsets.append(ring * [1.0, -1.0] * eye_disc_radius(theta))
    index = lambda k, s: 1 + k * segments + s % segments  # noqa: E731
    quads = [[0, index(0, s), index(0, s + 1), index(0, s + 2)] for s in range(0, segments, 2)]
    for k in range(len(polar) - 1):
        quads += [[index(k, s), index(k + 1, s), index(k + 1, s + 1), index(k, s + 1)] for s in range(segments)]
    scale = np.array([EYE_UV_RADIUS, EYE_UV_RADIUS * 2 / 3])
    return np.concatenate(points), np.array(quads), np.concatenate(offsets) * scale


def rings_around(quads: np.ndarray, loop: np.ndarray, count: int, vertices: int) -> np.ndarray:
    """[V] number of faces between a vertex and a loop, `count` and more as `count`."""
    distance = np.full(vertices, count)
    distance[loop] = 0
    for step in range(1, count):
        touched = (distance[quads] == step - 1).any(1)
        near = np.unique(quads[touched])
        distance[near[distance[near] > step]] = step
    return distance


def eye_centre(points: np.ndarray, steps: int = 60) -> np.ndarray:
    """The centre of the eyeball that touches the lid margin `points` from behind (mm), a little above their middle.

    Least squares of the distances; with the radius fixed the opening alone leaves the depth well determined.

    Source: the margins lie 4.3 mm above and 5.3 mm below the middle of the pupil (Cartwright et al. 1994).
    """
    centre = points.mean(0) - [0.0, 0.0, 10.0]
    goal = EYE_RADIUS_MM + MARGIN_GAP_MM[1]
    for _ in range(steps):
        arm = points - centre
        length = np.linalg.norm(arm, axis=1)
        system = np.concatenate([-arm / length[:, None], 0.02 * np.eye(3)])
        centre = centre - np.linalg.lstsq(system, np.append(length - goal, np.zeros(3)), rcond=None)[0]
    return centre + [0.0, EYE_RISE_MM, 0.0]


def lay_lids(points: np.ndarray, rings: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The control points with the lids laid on an eyeball: the margin onto it, the skin around following.

    Args:
        points: [V, 3] mm.
        rings: [V] ring number around the lid opening, len(FALLOFF) and more where untouched.
    """
    out = points.copy()
    arm = points - centre
    length = np.linalg.norm(arm, axis=1)
    surface = eyeball_radius_mm(arm[:, 2] / length)
    excess = length - surface
    margin = np.where(rings == 1)[0]
    # away from the eyeball at the corners some distance stays: the socket's rim fills it
    goal = surface[margin] + MARGIN_GAP_MM[1] + 0.5 * np.maximum(excess[margin] - 0.5, 0)
    shift = goal - length[margin]
    near = np.where(rings < len(FALLOFF))[0]
    azimuth = np.arctan2(arm[:, 1], arm[:, 0])
    turn = np.angle(np.exp(1j * (azimuth[near, None] - azimuth[None, margin])))
    weight = np.exp(-((turn / 0.2) ** 2))
    follow = (weight * shift).sum(1) / weight.sum(1)
    amount = np.array(FALLOFF)[rings[near]] * follow
    amount[rings[near] == 1] = shift[np.argsort(margin)][np.searchsorted(np.sort(margin), near[rings[near] == 1])]
    inner = rings[near] == 0
    amount[inner] = (surface + MARGIN_GAP_MM[0] - length)[near][inner]
    out[near] += arm[near] / length[near, None] * amount[:, None]
    return out


def socket(loop_points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """[3 n + 1, 3] points that close the opening behind the eyeball: rings of n points, then the back pole.

    Args:
        loop_points: [n, 3] mm, the rim of the opening.
        centre: [3] mm, of the eyeball.
    """
    arm = loop_points - centre
    length = np.linalg.norm(arm, axis=1, keepdims=True)
    polar = np.arccos(arm[:, 2:] / length)
    side = arm[:, :2] / np.linalg.norm(arm[:, :2], axis=1, keepdims=True)
    rings = []
    for share in SOCKET_POLAR:
        theta = polar + (np.pi - polar) * share
        ring = np.concatenate([np.sin(theta) * side, np.cos(theta)], 1)
        rings.append(centre + ring * (EYE_RADIUS_MM + SOCKET_GAP_MM))
    return np.concatenate([*rings, [centre - [0.0, 0.0, EYE_RADIUS_MM + SOCKET_GAP_MM]]])


def socket_quads(loop: np.ndarray, first: int) -> np.ndarray:
    """[Q, 4] quads of `socket` behind a loop of n vertices; its own start at `first`. Wound to be seen from the eyeball."""
    count = len(loop)
    rings = [list(loop)] + [list(range(first + k * count, first + (k + 1) * count)) for k in range(len(SOCKET_POLAR))]
    quads = []
    for outer, inner in itertools.pairwise(rings):
        quads += [[outer[(s + 1) % count], outer[s], inner[s], inner[(s + 1) % count]] for s in range(count)]
    pole, last = first + len(SOCKET_POLAR) * count, rings[-1]
    quads += [[last[(s + 2) % count], last[s + 1], last[s], pole] for s in range(0, count, 2)]
    return np.array(quads)


def socket_uv(points: np.ndarray, quads: np.ndarray, count: int, centre: tuple[float, float]) -> np.ndarray:
    """[Q, 4, 2] UV of a socket: a disc with the lid opening at its rim and the back pole in its middle."""
    loop = quads[:count, 1]
    new = np.setdiff1d(quads, loop)
    arm = points[loop] - points[loop].mean(0)
    azimuth = np.arctan2(arm[:, 1], arm[:, 0])
    around = np.stack([np.cos(azimuth), -np.sin(azimuth) * 2 / 3], 1) * SOCKET_UV_RADIUS
    uv = np.zeros((len(points), 2))
    for ring in range(len(SOCKET_POLAR) + 1):
        place = loop if ring == 0 else new[(ring - 1) * count : ring * count]
        uv[place] = np.array(centre) + around * (1 - ring / (len(SOCKET_POLAR) + 1))
    uv[new[-1]] = centre
    return uv[quads]

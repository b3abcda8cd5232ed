"""Glasses: rims, lenses, bridge, pads and temples, fitted to the nose and ears of a posed head."""

import numpy as np

from relit.geometry.transforms import unit
from relit.synth.solids import Prop, ball, curve, joined, prop, sheet_triangles, tube
from relit.synth.subject import Subject
from relit.synth.wearer import Wearer

_EYES = ((33, 133), (362, 263))  # landmarks: corners of the right and the left eye
_EAR = np.array([(0.0795, 0.034, -0.004), (0.0775, 0.024, -0.024), (0.0755, 0.006, -0.031), (0.0735, -0.009, -0.0325)])
_VERTEX_M = 0.0145  # from the eye's corner plane to the lens: 12 mm from the cornea
_GAP_M, _STEPS = 0.0012, 72
_PANTOSCOPIC, _WRAP = np.radians(8.0), np.radians(5.0)
# Half width and half height of a lens, exponent of its outline, how much wider it is above than below, radii of the rim
# across and along the view, whether the lower half of the rim is left out.
_FRAMES = {
    "round": (0.0225, 0.0215, 2.0, 0.0, (0.0007, 0.0010), False),
    "rectangle": (0.0265, 0.0180, 4.5, 0.05, (0.0021, 0.0019), False),
    "square": (0.0260, 0.0215, 3.2, 0.10, (0.0024, 0.0020), False),
    "half": (0.0260, 0.0165, 3.5, 0.06, (0.0014, 0.0016), True),
    "aviator": (0.0280, 0.0235, 2.4, 0.22, (0.0008, 0.0010), False),
}
_METALS = ((0.72, 0.70, 0.67), (0.80, 0.60, 0.33), (0.10, 0.10, 0.105), (0.66, 0.45, 0.36))
_PLASTICS = ((0.006, 0.006, 0.006), (0.030, 0.012, 0.006), (0.09, 0.035, 0.012), (0.010, 0.016, 0.045), (0.25, 0.24, 0.23))


def glasses(wearer: Wearer, subject: Subject, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A frame and its lenses: clear ones, some tinted, some dark."""
    shape = str(rng.choice(list(_FRAMES)))
    width, height, power, taper, radii, half = _FRAMES[shape]
    size = float(rng.uniform(0.93, 1.08))
    marks = wearer.landmarks
    eyes = np.stack([marks[list(pair)].mean(0) for pair in _EYES])
    metal = radii[0] < 0.0012
    # the front's own frame: x between the eyes, y up in the lenses' plane, z towards what is looked at
    x = unit((eyes[1] - eyes[0]) * [1, 1, 0])
    z = unit(np.array([0, -np.sin(_PANTOSCOPIC), np.cos(_PANTOSCOPIC)]))
    z = unit(z - (z @ x) * x)
    y = np.cross(z, x)
    middle = eyes.mean(0) + [0, -0.0015, 0]
    half_bridge = float(np.clip(0.5 * np.linalg.norm(eyes[1] - eyes[0]) - width * size, 0.0085, 0.012))
    lateral = half_bridge + width * size
    angle = np.linspace(0, 2 * np.pi, _STEPS, endpoint=False)
    bent = lambda wave: np.sign(wave) * np.abs(wave) ** (2 / power)  # noqa: E731
    up, out = height * size * bent(np.sin(angle)), width * size * bent(np.cos(angle))
    out = out * (1 + taper * up / (height * size))

    def on_front(across: np.ndarray, along: np.ndarray, side: int) -> np.ndarray:
        """Points of a lens: its plane turned outwards a little, bent as a lens of six dioptres is."""
        bow = (across**2 + along**2) / (2 * 0.09)
        turned = (lateral + across) - middle_plane
        return (
            middle
            + side * (lateral + across)[..., None] * x
            + along[..., None] * y
            + (-bow - np.tan(_WRAP) * turned)[..., None] * z
        )

    middle_plane = lateral
    rims = [on_front(out, up, side) for side in (-1, 1)]
    arch = np.linspace(-1, 1, 13)
    high = 0.30 * height * size
    inner = on_front(np.array([-width * size * 0.97]), np.array([high]), 1)[0]
    bridge = np.stack([arch * ((inner - middle) @ x + radii[0]), np.full(13, high) + 0.004 * (1 - arch**2)], 1)
    bridge = middle + bridge[:, :1] * x + bridge[:, 1:] * y + (((inner - middle) @ z) + 0.0025 * (1 - arch**2))[:, None] * z
    front = np.concatenate([*rims, bridge])
    shift = _forward(wearer, front, z, max(radii) + _GAP_M) * z
    least = (marks[list(_EYES[0] + _EYES[1])].mean(0) + _VERTEX_M * z - middle) @ z
    shift = max(shift @ z, least) * z
    rims, bridge, inner = [r + shift for r in rims], bridge + shift, inner + shift
    solids = [tube(bridge, (radii[0] * 1.1, radii[1] * 1.1), z, square=2.0 if metal else 3.0)]
    for side, rim in zip((-1, 1), rims, strict=True):
        kept = rim[: _STEPS // 2 + 1] if half else rim
        solids.append(tube(kept, radii, z, closed=not half, square=2.0 if metal else 3.5))
        hinge = on_front(np.array([width * size * (1 + 0.5 * taper) * 0.99]), np.array([0.55 * height * size]), side)[0] + shift
        solids.append(_temple(wearer, hinge, side, metal))
    if metal or half:
        solids += [_pad(wearer, inner, middle, side, (x, y, z)) for side in (-1, 1)]
    lenses = [_lens(lambda a, b, s=side: on_front(a, b, s) + shift, out, up, side) for side in (-1, 1)]
    colours = np.array(_METALS if metal else _PLASTICS)
    colour = colours[rng.integers(len(colours))] * rng.uniform(0.85, 1.15)
    rough = float(rng.uniform(0.18, 0.35) if metal else rng.uniform(0.15, 0.4))
    tint, opacity = _tint(rng)
    vertices, triangles = joined(*solids)
    frame = wearer.outside(vertices, 0.0), triangles
    return (
        prop("glasses:frame", frame, colour, rough, metallic=metal),
        prop("glasses:lenses", joined(*lenses), tint, 0.08, opacity=opacity),
    )


def _tint(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Colour and opacity of lenses: mostly clear."""
    drawn = rng.random()
    if drawn < 0.72:
        return np.full(3, 0.9), 0.04
    tints = np.array([(0.10, 0.08, 0.06), (0.06, 0.08, 0.07), (0.05, 0.05, 0.055), (0.20, 0.08, 0.04)])
    return tints[rng.integers(len(tints))], float(rng.uniform(0.2, 0.6) if drawn < 0.84 else rng.uniform(0.7, 0.95))


def _forward(wearer: Wearer, points: np.ndarray, ahead: np.ndarray, gap: float) -> float:
    """How far points must move along `ahead` until none is nearer than a gap before the skin."""
    far = 0.15
    depth = wearer.reach(points + far * ahead, -ahead)
    inside = np.isfinite(depth)
    return float(np.max(far - depth[inside] + gap, initial=-0.02))


def _temple(wearer: Wearer, hinge: np.ndarray, side: int, metal: bool):
    """The arm from the rim over the ear's root and down behind it."""
    ear = wearer.carried(_EAR * [side, 1, 1])
    corner = hinge + [side * 0.004, 0, -0.002]
    start = np.array([corner + [side * 0.001, 0, -0.006]])
    straight = np.linspace(start[0], ear[0], 6)[1:-1]
    path = curve(np.concatenate([hinge[None], corner[None], start, straight, ear]), 56)
    thick, tall = (0.0007, 0.0009) if metal else (0.0011, 0.0024)
    for _ in range(3):  # lifted off the skin, then smoothed, so that it bows instead of bending
        path = wearer.outside(path, 1.5 * thick + 0.0008)
        path[1:-1] = 0.25 * path[:-2] + 0.5 * path[1:-1] + 0.25 * path[2:]
    sideways = np.array([side, 0.0, 0.0])
    return tube(path, (tall, thick), sideways, square=2.0 if metal else 3.5, sides=8)


def _pad(wearer: Wearer, inner: np.ndarray, middle: np.ndarray, side: int, frame: tuple):
    """One pad on the flank of the nose and the wire that holds it."""
    x, y, z = frame
    rim = middle + side * ((inner - middle) @ x) * x + ((inner - middle) @ z) * z
    start = rim - 0.003 * y
    inwards = unit(-side * 0.75 * x - 0.65 * z - 0.2 * y)
    depth = float(np.minimum(wearer.reach(start[None], inwards)[0], 0.012))
    at = start + max(depth - 0.0012, 0.0) * inwards
    normal = unit(side * x * 0.75 + 0.65 * z)
    pad_frame = np.stack([unit(np.cross(y, normal)), y, normal])
    wire = curve(np.stack([start, (start + at) / 2 - 0.002 * z, at + 0.0008 * normal]), 10)
    return joined(tube(wire, (0.0004, 0.0004), y, sides=6), ball(at, np.array([0.0022, 0.0048, 0.0008]), pad_frame, 6))


def _lens(on_front, out: np.ndarray, up: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A disk of rings inside the rim."""
    share = np.linspace(0.02, 1, 14)[:, None]
    points = on_front(share * out, share * up)
    return points.reshape(-1, 3), sheet_triangles(14, len(out), closed=True)[:, ::-side]

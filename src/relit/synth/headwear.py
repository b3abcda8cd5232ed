"""What covers the head or half the face: knitted caps, brimmed hats, baseball caps, headscarves, medical masks."""

import numpy as np

from relit.geometry.transforms import unit
from relit.synth.solids import Prop, curve, draped, joined, prop, sheet_triangles, tube
from relit.synth.subject import Subject
from relit.synth.wearer import Wearer

_CENTRE = np.array([0.0, 0.055, -0.008])  # of the cranium on the mean head
_COLUMNS, _ROWS = 192, 40
_GAP_M = 0.0025
_HAIR_M = 0.004  # that hair holds a hat off
_EAR = np.array([(0.081, 0.031, -0.004), (0.079, 0.022, -0.024), (0.0765, 0.006, -0.0315), (0.0745, -0.012, -0.031)])
_FOREHEAD, _HAIRLINE = 9, 10  # landmarks between the brows and at the hairline
_NOSE_BRIDGE, _CHIN = 6, 152
_CLOTH = np.array(
    [(0.60, 0.59, 0.56), (0.015, 0.015, 0.017), (0.09, 0.09, 0.095), (0.012, 0.02, 0.05), (0.22, 0.015, 0.02),
     (0.30, 0.21, 0.12), (0.03, 0.06, 0.035), (0.42, 0.20, 0.20), (0.16, 0.10, 0.06), (0.10, 0.05, 0.11)]
)  # fmt: skip


def hat(wearer: Wearer, subject: Subject, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A knitted cap, a brimmed hat or a baseball cap."""
    make = (_knitted, _brimmed, _baseball)[int(rng.choice(3, p=[0.36, 0.30, 0.34]))]
    return make(wearer, _GAP_M + (_HAIR_M if subject.hair_style else 0), rng)


def _cloth(rng: np.random.Generator) -> np.ndarray:
    return _CLOTH[rng.integers(len(_CLOTH))] * rng.uniform(0.8, 1.2) * rng.lognormal(0, 0.08, 3)


class _Crown:
    """Rays from the middle of the cranium through a shell: rows from the top down to a rim, columns around."""

    def __init__(self, wearer: Wearer, front: float, side: float, back: float):
        """The rim's height in metres over the centre, before, beside and behind it."""
        self.centre = wearer.carried(_CENTRE[None])[0]
        azimuth = np.arange(_COLUMNS) * 2 * np.pi / _COLUMNS  # 0 is straight ahead
        ahead = np.cos(azimuth)
        # heights at front, side, back: the even part and the odd part of the swing
        height = side + (front - back) / 2 * ahead + ((front + back) / 2 - side) * ahead**2
        flat = np.stack([np.sin(azimuth), np.zeros(_COLUMNS), ahead], -1)
        reach = wearer.radius(self.centre + [0, max(side, 0.0), 0], flat)
        low = np.arctan2(height, np.maximum(reach, 0.06))
        polar = np.linspace(0.02, 1, _ROWS)[:, None] * (np.pi / 2 - low)
        self.elevation = np.pi / 2 - polar
        self.azimuth = azimuth
        self.rays = np.sin(polar)[..., None] * flat + np.cos(polar)[..., None] * [0, 1.0, 0]
        self.skin = wearer.radius(self.centre, self.rays)

    def points(self, radius: np.ndarray) -> np.ndarray:
        """(R, C, 3)."""
        return self.centre + radius[..., None] * self.rays

    def solid(self, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.points(radius).reshape(-1, 3), sheet_triangles(*radius.shape, closed=True)


def _knitted(wearer: Wearer, gap: float, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A ribbed cap with or without a turned-up edge."""
    crown = _crown_above(wearer, rng.uniform(0.25, 0.8), rng.uniform(-0.035, -0.005), -0.045)
    cloth = draped(crown.skin + gap, closed=True)
    row = np.linspace(0, 1, _ROWS)[:, None]
    slack = rng.uniform(0.004, 0.022) * np.sin(np.pi * np.clip(row * 1.1, 0, 1)) * np.clip(1 - row, 0, 1)
    ribs = 0.0007 * np.cos(np.arange(_COLUMNS) * np.pi)[None] * np.clip(row * 3, 0, 1)
    waves = 0.0012 * np.sin(3 * crown.azimuth + rng.uniform(0, 6)) * np.sin(9 * row + rng.uniform(0, 6))
    radius = cloth + 0.0035 + slack + ribs + waves * np.clip(row * 2, 0, 1)
    folded = rng.random() < 0.7
    solids = [crown.solid(radius)]
    if folded:
        from_row = int(_ROWS * rng.uniform(0.6, 0.68))
        band = radius[from_row:] + 0.0045
        band[0] -= 0.004
        band[-1] -= 0.003
        part = crown.centre + band[..., None] * crown.rays[from_row:]
        solids.append((part.reshape(-1, 3), sheet_triangles(*band.shape, closed=True)))
    return (prop("hat:knitted", joined(*solids), _cloth(rng), 0.9),)


def _crown_above(wearer: Wearer, share: float, side: float, back: float) -> _Crown:
    """A shell whose rim crosses the forehead at a share of the way from the brows to the hairline."""
    centre = wearer.carried(_CENTRE[None])[0]
    low, high = wearer.landmarks[[_FOREHEAD, _HAIRLINE], 1]
    return _Crown(wearer, low + share * (high - low) - centre[1], side, back)


def _dome(crown: _Crown, gap: float, height: float, power: float) -> np.ndarray:
    """(R, C) a stiff crown: a superellipsoid over its rim, but nowhere inside the head."""
    level = np.cos(crown.elevation)
    rim = (draped(crown.skin + gap, closed=True)[-1] * level[-1])[None] * 1.015
    free = ((level / rim) ** power + (np.abs(np.sin(crown.elevation)) / height) ** power) ** (-1 / power)
    return np.maximum(draped(crown.skin + gap, closed=True), free)


def _brimmed(wearer: Wearer, gap: float, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A felt or straw hat: crown, ribbon, and a brim all around."""
    crown = _crown_above(wearer, rng.uniform(0.55, 1.0), rng.uniform(-0.002, 0.006), rng.uniform(-0.025, -0.010))
    radius = _dome(crown, gap + 0.001, rng.uniform(0.105, 0.13), rng.uniform(2.8, 4.5))
    edge = crown.points(radius)[-1]
    flat = unit((edge - crown.centre) * [1, 0, 1])
    width, slope, curl = rng.uniform(0.045, 0.095), rng.uniform(-0.05, 0.35), rng.uniform(0.0, 0.35)
    out = np.linspace(0, 1, 14)[:, None]
    lift = -slope * out + curl * np.sin(crown.azimuth) ** 2 * out**2 + 0.03 * np.sin(2 * crown.azimuth + 1) * out
    brim = edge + (width * out)[..., None] * flat + (width * lift)[..., None] * np.array([0, 1.0, 0])
    felt = np.array([(0.60, 0.45, 0.25), (0.20, 0.12, 0.07), (0.03, 0.03, 0.032), (0.25, 0.24, 0.22), (0.55, 0.52, 0.47)])
    colour = felt[rng.integers(len(felt))] * rng.uniform(0.8, 1.2)
    from_row = int(_ROWS * 0.83)
    ribbon = radius[from_row:] + 0.0009
    band = crown.centre + ribbon[..., None] * crown.rays[from_row:]
    return (
        prop("hat:brimmed", joined(crown.solid(radius), _thick(brim, 0.0018)), colour, 0.85),
        prop("hat:ribbon", (band.reshape(-1, 3), sheet_triangles(*ribbon.shape, closed=True)), _cloth(rng), 0.6),
    )


def _thick(sheet: np.ndarray, thickness: float, closed: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A sheet (R, C, 3) with an upper and a lower side and an edge."""
    down = np.array([0, -thickness, 0])
    both = np.concatenate([sheet, (sheet + down)[::-1]])
    return both.reshape(-1, 3), sheet_triangles(*both.shape[:2], closed=closed)


def _baseball(wearer: Wearer, gap: float, rng: np.random.Generator) -> tuple[Prop, ...]:
    """Six panels, a button and a bent visor."""
    crown = _crown_above(wearer, rng.uniform(0.45, 0.95), rng.uniform(-0.004, 0.006), rng.uniform(-0.03, -0.015))
    radius = _dome(crown, gap + 0.001, rng.uniform(0.098, 0.108), 2.3)
    row = np.linspace(0, 1, _ROWS)[:, None]
    seam = np.abs(((crown.azimuth * 3 / np.pi) + 0.5) % 1 - 0.5)[None]
    radius = radius - 0.0012 * np.exp(-((seam / 0.03) ** 2)) * np.clip(4 * row, 0, 1)
    half = np.radians(64)
    ahead = (crown.azimuth + np.pi) % (2 * np.pi) - np.pi
    at = np.flatnonzero(np.abs(ahead) <= half)
    at = at[np.argsort(ahead[at])]
    edge = crown.points(radius)[-1, at]
    length, bend = rng.uniform(0.06, 0.075), rng.uniform(2.0, 5.5)
    reach = length * np.cos(ahead[at] / half * np.pi / 2) ** 0.6
    out = np.linspace(0, 1, 14)[:, None]
    visor = edge + (out * reach)[..., None] * np.array([0, 0, 1.0])
    rim = edge[len(edge) // 2, 1]
    level = rim - bend * (edge[:, 0] - crown.centre[0]) ** 2 - rng.uniform(0.0, 0.25) * reach
    visor[..., 1] = edge[:, 1] + out * (level - edge[:, 1]) * np.clip(reach / (0.5 * length), 0, 1)
    colour = _cloth(rng)
    button = crown.points(radius)[0].mean(0)
    dots = np.stack([button + [0, 0.0005, 0], button + [0, 0.003, 0]])
    solids = crown.solid(radius), tube(dots, (0.006, 0.006), np.array([0, 0, 1.0]), sides=12)
    two = rng.random() < 0.35
    return (
        prop("hat:cap", joined(*solids), colour, 0.85),
        prop("hat:visor", _thick(visor, 0.0022, closed=False), _cloth(rng) if two else colour, 0.8),
    )


def mask(wearer: Wearer, subject: Subject, rng: np.random.Generator) -> tuple[Prop, ...]:
    """A medical mask: pleated cloth from the nose to below the chin, and its loops about the ears."""
    marks = wearer.landmarks
    axis = np.array([0.0, 0.0, float(marks[[234, 454], 2].mean()) + 0.012])
    columns, rows = 96, 56
    azimuth = np.linspace(-np.radians(76), np.radians(76), columns)
    side = np.abs(azimuth) / azimuth[-1]
    high = marks[_NOSE_BRIDGE, 1] - rng.uniform(0.0, 0.012)
    low = marks[_CHIN, 1] - 0.002
    top = high - 0.026 * side**1.3 - 0.003 * np.exp(-(((side - 0.3) / 0.15) ** 2))
    bottom = low + 0.034 * side**1.7
    share = np.linspace(0, 1, rows)[:, None]
    height = top + share * (bottom - top)
    flat = np.stack([np.sin(azimuth), np.zeros(columns), np.cos(azimuth)], -1)
    start = np.stack([np.zeros_like(height), height, np.full_like(height, axis[2])], -1)
    far = start + 0.3 * flat
    depth = wearer.reach(far.reshape(-1, 3), np.broadcast_to(-flat, far.shape).reshape(-1, 3)).reshape(height.shape)
    skin = np.where(np.isfinite(depth), 0.3 - depth, 0.01)
    cloth = draped(skin + 0.0012, closed=False)
    # three folds across, flat at both sides
    fade = np.clip(1 - side**3, 0, 1)[None] * np.clip(8 * share, 0, 1) * np.clip(8 * (1 - share), 0, 1)
    fold = ((share * 4.2 + 0.2) % 1.0) * 0.0026 * ((share > 0.2) & (share < 0.88))
    puff = rng.uniform(0.001, 0.005) * np.sin(np.pi * share) * (1 - side**2)[None]
    radius = cloth + 0.0008 + fade * (fold + puff)
    points = start + radius[..., None] * flat
    colours = np.array([(0.33, 0.55, 0.66), (0.33, 0.55, 0.66), (0.78, 0.78, 0.77), (0.015, 0.015, 0.016), (0.55, 0.30, 0.35)])
    loops = []
    for end, sign in ((0, -1), (-1, 1)):
        ear = wearer.carried(_EAR * [sign, 1, 1])
        upper, lower = points[3, end], points[-4, end]
        path = curve(np.concatenate([upper[None], ear, lower[None]]), 48)
        for _ in range(3):
            path[1:-1] = wearer.outside(path[1:-1], 0.0016)
            path[1:-1] = 0.25 * path[:-2] + 0.5 * path[1:-1] + 0.25 * path[2:]
        loops.append(tube(path, (0.0012, 0.0012), np.array([sign, 0.0, 0.0]), sides=6))
    vertices, triangles = joined(*loops)
    return (
        prop("mask", (points.reshape(-1, 3), sheet_triangles(rows, columns)), colours[rng.integers(len(colours))], 0.8),
        prop("mask:loops", (wearer.outside(vertices, 0.0), triangles), (0.75, 0.75, 0.74), 0.8),
    )


def headscarf(wearer: Wearer, subject: Subject, rng: np.random.Generator) -> tuple[Prop, ...]:
    """Cloth about head, neck and shoulders that leaves the face open."""
    colour = _cloth(rng)
    vertices, triangles = joined(_hood(wearer, rng), _cape(wearer, rng))
    return (prop("headscarf", (wearer.outside(vertices, 1e-3), triangles), colour, 0.75),)


def _hood(wearer: Wearer, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The part about the head: from an oval on the face back over the crown and under the chin."""
    columns, rows = 144, 56
    centre = wearer.carried(np.array([[0.0, 0.01, -0.005]]))[0]
    oval = wearer.landmarks[wearer.model.oval_landmarks.numpy()]
    oval = curve(np.concatenate([oval, oval[:1]]), columns + 1)[:-1]
    middle = oval.mean(0)
    up = (oval[:, 1] - middle[1]) / np.abs(oval[:, 1] - middle[1]).max()
    low, high = rng.uniform(0.0, 0.006), rng.uniform(-0.008, 0.004)
    edge = middle + (oval - middle) * np.where(up > 0, 1 + high / 0.085, 1 + low / 0.085)[:, None] * [0.95, 1, 1]
    start, back = unit(edge - centre), unit(np.array([0, -0.2, -1.0]))
    whole = np.arccos(np.clip(start @ back, -1, 1))
    share = np.linspace(0, 1, rows)[:, None] ** 1.25 * 0.985
    turn = lambda part: (np.sin(part * whole) / np.sin(whole))[..., None]  # noqa: E731
    rays = unit(turn(1 - share) * start + turn(share) * back)
    skin = np.clip(wearer.radius(centre, rays), 0.03, 0.125)
    cloth = draped(skin + 0.001, closed=True)
    phase = rng.uniform(0, 6, 3)
    around = np.arange(columns) * 2 * np.pi / columns
    waves = zip((6, 11, 17), (0.0016, 0.0012, 0.0007), phase, strict=True)
    folds = sum(size * np.sin(count * around + 9 * share + at) for count, size, at in waves)
    rising = np.clip(14 * share, 0, 1) ** 0.5
    cloth = cloth + rising * (0.0045 + folds * (0.6 + 1.2 * np.clip(-up, 0, 1)) * np.clip(5 * share, 0, 1))
    points = centre + cloth[..., None] * rays
    return points.reshape(-1, 3), sheet_triangles(rows, columns, closed=True)[:, ::-1]


def _cape(wearer: Wearer, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The part about neck and shoulders."""
    columns, rows = 144, 44
    axis = wearer.carried(np.array([[0.0, -0.1, -0.01]]))[0]
    around = np.arange(columns) * 2 * np.pi / columns
    flat = np.stack([np.sin(around), np.zeros(columns), np.cos(around)], -1)
    chin = wearer.landmarks[_CHIN, 1]
    share = np.linspace(0, 1, rows)[:, None]
    height = chin + 0.012 + share * (-0.2 - chin)
    start = axis * [1, 0, 1] + height[..., None] * [0, 1.0, 0] + np.zeros((rows, columns, 1))
    far = start + 0.4 * flat
    rays = np.broadcast_to(-flat, far.shape)
    skin = 0.4 - wearer.reach(far.reshape(-1, 3), rays.reshape(-1, 3)).reshape(rows, columns)
    skin = np.where(np.isfinite(skin), skin, 0.05).clip(0.05, 0.2)
    skin[height[:, 0] > chin - 0.03] = np.minimum(skin[height[:, 0] > chin - 0.03], 0.062)
    cloth = draped(skin + 0.004, closed=True)
    phase = rng.uniform(0, 6, 3)
    waves = zip((4, 9, 15), (0.004, 0.003, 0.0015), phase, strict=True)
    folds = sum(size * np.sin(count * around + 5 * share + at) for count, size, at in waves)
    cloth = cloth + np.maximum(0.006 + folds * (0.3 + share), 0.002)
    points = start + cloth[..., None] * flat
    return points.reshape(-1, 3), sheet_triangles(rows, columns, closed=True)

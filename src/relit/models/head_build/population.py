"""The population that the identity modes are learned from: MakeHuman combinations, ICT people, smooth residual."""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from relit.models.head_build.sources import GENDERS, KINDS, MakeHuman

CAP_MM = {  # the largest displacement that one standard deviation of a local target may cause
    "head": 2.2, "forehead": 1.8, "ears": 2.0, "neck": 2.5, "asym": 0.5, "eyes": 0.6, "eyebrows": 1.2, "mouth": 1.1,
    "nose": 1.5, "cheek": 1.6, "chin": 2.0,
}  # fmt: skip
CARICATURE = ("pointed", "triangle", "laugh-lines", "cleft", "square", "diamond")  # kept small
RESIDUAL = ((60.0, 0.9), (28.0, 0.55), (13.0, 0.3))  # length and amplitude of the smooth residual, mm


def similarity(source: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation [3, 3] and translation [3] that take points [V, 3] to others: s R x + t.

    Args:
        weight: [V] of each pair.

    Source: Umeyama 1991.
    """
    weight = weight / weight.sum()
    a, b = weight @ source, weight @ target
    u, sigma, vt = np.linalg.svd(((source - a) * weight[:, None]).T @ (target - b))
    sign = np.array([1, 1, np.sign(np.linalg.det(vt.T @ u.T))])
    rotation = (vt.T * sign) @ u.T
    scale = (sigma * sign).sum() / (weight @ ((source - a) ** 2).sum(1))
    return scale, rotation, b - scale * rotation @ a


def makehuman_blend(data: MakeHuman, gender: float, age: float, kinds: np.ndarray, muscle: float, weight: float) -> np.ndarray:
    """[B, 3] a face from MakeHuman's macro targets.

    Args:
        gender: 0 female, 1 male.
        age: 0 baby, 0.1875 child, 0.5 young adult, 1 old.
        kinds: [3] convex weights of the three macro face kinds.
        muscle, weight: 0 least, 0.5 average, 1 most.
    """
    out = data.base.copy()
    stops = (("baby", 0.0), ("child", 0.1875), ("young", 0.5), ("old", 1.0))
    ages = {}
    for (low, a), (high, b) in itertools.pairwise(stops):
        if a <= age <= b:
            ages = {low: (b - age) / (b - a), high: (age - a) / (b - a)}
    for sex, share in zip(GENDERS, (1 - gender, gender), strict=True):
        for when, w in ages.items():
            for kind, k in zip(KINDS, kinds, strict=True):
                out += share * w * k * data.macro[f"{kind}-{sex}-{when}"]
            for m, wm in _thirds(muscle, "muscle").items():
                for h, wh in _thirds(weight, "weight").items():
                    if share * w * wm * wh > 1e-6:
                        out += share * w * wm * wh * data.macro[f"universal-{sex}-{when}-{m}-{h}"]
    return out


def _thirds(value: float, name: str) -> dict[str, float]:
    return {
        f"min{name}": max(0, 1 - 2 * value),
        f"average{name}": 1 - abs(2 * value - 1),
        f"max{name}": max(0, 2 * value - 1),
    }


def draw_makehuman(data: MakeHuman, rng: np.random.Generator, amplitude: dict[str, float]) -> np.ndarray:
    """[B, 3] a random face: macro targets of any age, then local targets as signed directions, left like right."""
    age = float(np.clip(rng.choice([rng.normal(0.5, 0.1), rng.uniform(0.12, 0.95)]), 0.08, 0.95))
    body = np.clip(rng.normal(0.5, [0.15, 0.2]), 0, 1)
    out = makehuman_blend(data, rng.beta(0.7, 0.7), age, rng.dirichlet([0.8] * 3), *body)
    done = set()
    for name in data.local:
        if name in done:
            continue
        other = _other_side(name)
        z = rng.normal()
        out += data.local[name] * (z * amplitude[name])
        done.add(name)
        if other in data.local and other not in done:
            out += data.local[other] * ((z + 0.2 * rng.normal()) * amplitude[name])
            done.add(other)
    return out


def amplitudes(data: MakeHuman, skin: int) -> dict[str, float]:
    """The standard deviation of each local target's weight, capped so that no face becomes a caricature."""
    out = {}
    for name, move in data.local.items():
        size = np.linalg.norm(move[:skin], axis=1)
        size = size[size > 0.05]
        top = np.percentile(size, 95) if len(size) else 1.0
        cap = CAP_MM[name.split("/")[0]] * (0.4 if any(word in name for word in CARICATURE) else 1.0)
        out[name] = min(0.5, cap / top)
    return out


def _other_side(name: str) -> str:
    return name.replace("/l-", "/r-") if "/l-" in name else name.replace("/r-", "/l-")


def principal(factors: np.ndarray, metric: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """[count, V, 3] principal modes of the Gaussian with covariance `factors' factors`, and the share they explain.

    Args:
        factors: [F, V, 3] independent directions, one standard deviation each.
        metric: [V] weight of a vertex' squared displacement.
    """
    flat = (factors * np.sqrt(metric)[None, :, None]).reshape(len(factors), -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    order = np.argsort(-values)[:count]
    return np.tensordot(vectors[:, order].T, factors, 1), float(values[order].sum() / values.sum())


def mirrored(modes: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """[K, V, 3] the same displacement fields on the mirrored head, by each vertex' partner [V]."""
    return modes[:, mirror] * np.array([-1.0, 1.0, 1.0])


def smooth_residual(points: np.ndarray, region: np.ndarray, count: int, asymmetry: float = 0.25) -> np.ndarray:
    """[F, V, 3] factors of a Gaussian process on the surface, fading outside `region`, mostly mirror symmetric.

    Args:
        points: [V, 3] mm, mirror symmetric about x = 0.
        region: [V] bool, where the residual has its full size.
        count: scalar functions per symmetry.

    Source: Luthi et al. 2018, Gaussian process morphable models.
    """
    from scipy.spatial import cKDTree

    fade = np.exp(-((cKDTree(points[region]).query(points)[0] / 40) ** 2))
    flipped = points * [-1.0, 1.0, 1.0]
    squared = lambda a, b: (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T  # noqa: E731
    kernel = lambda d2: sum(a * a * np.exp(-d2 / (2 * s * s)) for s, a in RESIDUAL)  # noqa: E731
    same, across = kernel(squared(points, points)), kernel(squared(points, flipped))
    start = np.ones(len(points))
    functions = {}
    for sign in (1, -1):
        matrix = (0.5 * (same + sign * across) * fade[:, None] * fade[None]).astype(np.float32)
        operator = LinearOperator(matrix.shape, matvec=lambda x, m=matrix: m @ x.astype(np.float32), dtype=np.float32)
        first = start if sign == 1 else points[:, 0] / 50
        values, vectors = eigsh(operator, count, v0=first.astype(np.float32), tol=1e-4)
        functions[sign] = (vectors * np.sqrt(np.maximum(values, 0))).T
    factors = []
    for axis in range(3):
        for sign in (1, -1):
            field = np.zeros((count, len(points), 3))
            symmetric = sign == (-1 if axis == 0 else 1)
            field[:, :, axis] = functions[sign] * (1.0 if symmetric else asymmetry)
            factors.append(field)
    return np.concatenate(factors)


@dataclass(frozen=True)
class Population:
    """A Gaussian population of faces: mean and independent directions of one standard deviation."""

    mean: np.ndarray  # [V, 3]
    factors: np.ndarray  # [F, V, 3]


def from_samples(samples: np.ndarray, keep: int, metric: np.ndarray) -> Population:
    """The population with the mean and covariance of samples [N, V, 3], reduced to `keep` directions.

    Args:
        metric: [V] what a square displacement of each vertex counts.
    """
    mean = samples.mean(0)
    return Population(mean, principal((samples - mean) / np.sqrt(len(samples)), metric, keep)[0])


def mix(first: Population, second: Population, share: float = 0.5) -> Population:
    """The Gaussian with the mean and covariance of a mixture of two populations."""
    between = np.sqrt(share * (1 - share)) * (first.mean - second.mean)[None]
    factors = [np.sqrt(share) * first.factors, np.sqrt(1 - share) * second.factors, between]
    return Population(share * first.mean + (1 - share) * second.mean, np.concatenate(factors))

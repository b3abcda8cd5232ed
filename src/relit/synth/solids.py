"""Simple solids and draped cloth, from which what people wear is put together. Metres, numpy arrays."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from relit.geometry.transforms import unit

_DRAPING_STEPS = 60  # on each level


@dataclass(frozen=True)
class Prop:
    """Triangles with one material, in the head frame, fitted to a posed head."""

    name: str  # kind, a colon, and the part of it: "glasses:lenses"
    vertices_m: Tensor  # (V, 3)
    triangles: Tensor  # (T, 3) int64
    colour: np.ndarray  # (3,) linear: albedo, of metal F0, of what is see-through the tint that light takes on
    roughness: float  # perceptual
    opacity: float = 1.0  # (0, 1]; what is not opaque lets the rest through, tinted
    metallic: bool = False


def prop(name: str, solid: tuple[np.ndarray, np.ndarray], colour, roughness: float, **more) -> Prop:
    """A Prop of a mesh in numpy arrays."""
    vertices, triangles = solid
    return Prop(
        name,
        torch.from_numpy(np.ascontiguousarray(vertices, np.float32)),
        torch.from_numpy(np.ascontiguousarray(triangles, np.int64)),
        np.asarray(colour, np.float32),
        roughness,
        **more,
    )


def sheet_triangles(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """(T, 3) two triangles per cell of a grid of points in reading order; `closed` joins its last column to its first."""
    i, j = np.mgrid[0 : rows - 1, 0 : columns if closed else columns - 1]
    right = (j + 1) % columns
    a, b, c, d = i * columns + j, i * columns + right, (i + 1) * columns + right, (i + 1) * columns + j
    return np.stack([np.stack([a, d, c], -1), np.stack([a, c, b], -1)], 2).reshape(-1, 3)


def joined(*solids: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One mesh of several."""
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in solids[:-1])])
    triangles = [faces + start for (_, faces), start in zip(solids, starts, strict=True)]
    return np.concatenate([vertices for vertices, _ in solids]), np.concatenate(triangles)


def tube(
    path: np.ndarray, radii: tuple[float, float], up: np.ndarray, closed: bool = False, square: float = 2.0, sides: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """A rod along a path (N, 3).

    Args:
        radii: across and along `up` (3,).
        closed: whether its end joins its start; else both ends are capped.
        square: exponent of the superellipse of its section; 2 is round, more is boxy.
    """
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    ahead = unit(ahead)
    across = unit(np.cross(np.broadcast_to(up, path.shape), ahead))
    lift = np.cross(ahead, across)
    angle = np.arange(sides) * 2 * np.pi / sides
    bent = lambda wave: np.sign(wave) * np.abs(wave) ** (2 / square)  # noqa: E731
    ring = bent(np.cos(angle))[None, :, None] * radii[0] * across[:, None]
    ring = path[:, None] + ring + bent(np.sin(angle))[None, :, None] * radii[1] * lift[:, None]
    if closed:
        ring = np.concatenate([ring, ring[:1]])
    faces = sheet_triangles(len(ring), sides, closed=True)[:, ::-1]
    vertices = ring.reshape(-1, 3)
    if closed:
        return vertices, faces
    last = np.array([[0, k, k + 1] for k in range(1, sides - 1)])
    return vertices, np.concatenate([faces, last[:, ::-1], last + len(vertices) - sides])


def ball(centre: np.ndarray, radii: np.ndarray, frame: np.ndarray, rings: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid whose axes are the rows of `frame` (3, 3)."""
    v, u = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.arange(2 * rings) * np.pi / rings, indexing="ij")
    points = np.stack([np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v)], -1).reshape(-1, 3)
    return centre + (points * radii) @ frame, sheet_triangles(rings + 1, 2 * rings, closed=True)


def curve(points: np.ndarray, count: int) -> np.ndarray:
    """(count, 3) a smooth line through points (N, 3), Catmull-Rom."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    place = np.linspace(0, len(points) - 1, count)
    k = np.minimum(place.astype(int), len(points) - 2)
    t = (place - k)[:, None]
    a, b, c, d = (ends[k + n] for n in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * (b - c) + d - a) * t**3)


def draped(obstacle: np.ndarray, closed: bool) -> np.ndarray:
    """(H, W) cloth drawn tight over an obstacle of heights (H, W); its first and last row lie on the obstacle.

    Args:
        closed: whether the columns go round.

    Source: the obstacle problem of a membrane by projected Jacobi steps, from coarse to fine.
    """
    height = obstacle.copy()
    if min(obstacle.shape) >= 16:
        rows, columns = (size // 2 for size in obstacle.shape)
        coarse = draped(cv2.resize(obstacle, (columns, rows), interpolation=cv2.INTER_LINEAR), closed)
        height[1:-1] = np.maximum(height, cv2.resize(coarse, obstacle.shape[::-1], interpolation=cv2.INTER_LINEAR))[1:-1]
    for _ in range(_DRAPING_STEPS):
        left, right = np.roll(height, 1, 1), np.roll(height, -1, 1)
        if not closed:
            left[:, 0], right[:, -1] = height[:, 0], height[:, -1]
        mean = (left[1:-1] + right[1:-1] + height[:-2] + height[2:]) / 4
        height[1:-1] = np.maximum(obstacle[1:-1], mean)
    return height

"""Single strands of hair, grown along the strands that the textures of hair cards show."""

from functools import lru_cache

import cv2
import numpy as np
import torch

from relit.geometry.uv import rasterise_uv
from relit.synth.hair_cards import load_style

STRANDS = 12000
POINTS = 9
LENGTH_M = (0.02, 0.07)
RADIUS_M = 1.1e-4  # strands are 0.07 mm thick: each stands for a few
LIFT_M = (-0.002, 0.0025)  # from the card: those inside are seen around the face
BACK_M, BELOW_M, UNSEEN = -0.07, -0.20, 0.1  # behind and below this hair is thinner: no portrait shows it
_SIZE = 512


def strands(name: str, vertices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, POINTS, 3) points along strands on the cards of a style.

    Args:
        vertices: (H, 3) of the cards, worn.

    Source: streamlines of the texture's dominant orientation, which is the eigenvector of the smoothed structure tensor
    (Kass & Witkin, "Analyzing oriented patterns", CVGIP 37, 1987).
    """
    style = load_style(name)
    triangle, barycentric, area = _charts(style, vertices)
    along = _orientation(name)
    place = vertices[style.triangles[triangle.clip(0)]]
    position = (place * barycentric[..., None]).sum(2)
    normal = np.cross(place[..., 1, :] - place[..., 0, :], place[..., 2, :] - place[..., 0, :])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    normal *= np.sign((normal * (position - vertices.mean(0) * [1, 0.8, 1])).sum(-1, keepdims=True))
    inside = triangle >= 0
    shown = np.where((position[..., 2] > BACK_M) & (position[..., 1] > BELOW_M), 1.0, UNSEEN)
    weight = np.where(inside, area * style.texture[..., 1] * shown, 0).ravel()
    seeds = rng.choice(len(weight), STRANDS, p=weight / weight.sum())
    start = np.stack(np.divmod(seeds, _SIZE), 1)[:, ::-1] + rng.uniform(0, 1, (STRANDS, 2))  # x, y in texels
    length = rng.uniform(*LENGTH_M, STRANDS) / 2
    step = length / (POINTS // 2)
    halves = []
    for sign in (-1.0, 1.0):
        at, heading, path = start.copy(), None, []
        for _ in range(POINTS // 2):
            texel = at.astype(int).clip(0, _SIZE - 1)
            direction = along[texel[:, 1], texel[:, 0]]
            turn = sign if heading is None else np.sign((direction * heading).sum(1, keepdims=True) + 1e-9)
            heading = direction * turn
            # texels per metre along the way, from the chart's own stretch
            ahead = (at + 2 * heading).astype(int).clip(0, _SIZE - 1)
            stretch = np.linalg.norm(position[ahead[:, 1], ahead[:, 0]] - position[texel[:, 1], texel[:, 0]], axis=1) / 2
            moved = at + heading * np.minimum(step / np.maximum(stretch, 2e-4), 30)[:, None]
            new = moved.astype(int).clip(0, _SIZE - 1)
            free = inside[new[:, 1], new[:, 0]]
            jump = np.linalg.norm(position[new[:, 1], new[:, 0]] - position[texel[:, 1], texel[:, 0]], axis=1)
            at = np.where((free & (jump < 3 * step))[:, None], moved, at)
            path.append(at)
        halves.append(path)
    way = np.stack([*halves[0][::-1], start, *halves[1]], 1)
    texel = way.astype(int).clip(0, _SIZE - 1)
    points = _smooth(position, inside, way)
    lean = rng.normal(0, 0.0006, (STRANDS, 1, 1)) * np.linspace(-1, 1, POINTS)[None, :, None]
    lift = rng.uniform(*LIFT_M, (STRANDS, 1, 1)) + lean
    points = points + lift * normal[texel[..., 1], texel[..., 0]]
    parts = np.linalg.norm(np.diff(points, axis=1), axis=2)
    whole = (parts.max(1) < 4 * step) & (parts.sum(1) > 0.4 * LENGTH_M[0])  # neither torn between charts nor stuck
    return points[whole].astype(np.float32)


def _smooth(position: np.ndarray, inside: np.ndarray, way: np.ndarray) -> np.ndarray:
    """(N, P, 3) positions between texels."""
    filled = np.where(inside[..., None], position, 0).astype(np.float32)
    x, y = (way[..., axis].astype(np.float32) - 0.5 for axis in (0, 1))
    found = cv2.remap(np.dstack([filled, inside.astype(np.float32)]), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found[..., :3] / np.maximum(found[..., 3:], 1e-3)


def _charts(style, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangle, barycentric coordinates and area (m^2) of each texel; -1 outside."""
    uv = torch.from_numpy(np.ascontiguousarray(style.uv))
    triangle, barycentric = rasterise_uv(uv, torch.from_numpy(style.triangles), _SIZE, _SIZE)
    triangle = triangle.numpy()
    corner = vertices[style.triangles]
    size = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    flat = style.uv[style.triangles]
    first, second = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    chart = 0.5 * np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) * _SIZE**2
    return triangle, barycentric.numpy(), (size / np.maximum(chart, 0.5))[triangle.clip(0)]


@lru_cache(maxsize=8)
def _orientation(name: str) -> np.ndarray:
    """(S, S, 2) unit direction of the strands in each texel."""
    style = load_style(name)
    grey = cv2.GaussianBlur(style.texture[..., 0], (0, 0), 1.0)
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    inner = cv2.erode((style.texture[..., 1] > 0.8).astype(np.float32), np.ones((5, 5)))
    xx, yy, xy = (cv2.GaussianBlur(product * inner, (0, 0), 7.0) for product in (dx * dx, dy * dy, dx * dy))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2  # across the gradient
    return np.stack([np.cos(angle), np.sin(angle)], -1)

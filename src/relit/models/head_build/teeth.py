"""Front teeth with full corners."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

CORNER_SHARE = 0.45  # of a crown's height, from the cutting edge, that gets wider
FULL_WIDTH = 0.98  # of the crown's greatest width, at the cutting edge
FRONT_RAD = 0.9  # how far along the arch teeth count as front teeth, from the middle
BINS = 10


def full_corners(points: np.ndarray, quads: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """[T, 3] teeth whose cutting edges are nearly as wide as their crowns; the source cuts the corners off.

    Args:
        quads: [Q, 4] of the teeth without gums.
        lower: [T] 1 for the lower jaw.
    """
    sides = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    graph = coo_matrix((np.ones(len(sides)), sides.T), (len(points), len(points)))
    tooth = connected_components(graph, directed=False)[1]
    used = np.unique(quads)
    middle = points[used].mean(0)
    out = points.copy()
    for label in np.unique(tooth[used]):
        ids = np.where(tooth == label)[0]
        centre = points[ids].mean(0)
        arm = centre - middle
        angle = np.arctan2(arm[0], arm[2])
        if abs(angle) > FRONT_RAD:
            continue
        along = np.array([np.cos(angle), 0.0, -np.sin(angle)])
        across = (points[ids] - centre) @ along
        up = points[ids, 1] * (1 if lower[ids].mean() < 0.5 else -1)
        rise = (up - up.min()) / np.ptp(up)
        edges = np.linspace(0, 1, BINS + 1)
        widths = np.array([np.abs(across)[np.abs(rise - e) < 0.7 / BINS].max(initial=0) for e in edges])
        near = rise < CORNER_SHARE
        width = np.interp(rise, edges, widths)
        goal = widths.max() * (FULL_WIDTH + (1 - FULL_WIDTH) * rise / CORNER_SHARE)
        factor = np.where(near, np.clip(goal / np.maximum(width, 1e-3), 1.0, 2.0), 1.0)
        out[ids] += ((factor - 1) * across)[:, None] * along
    return out

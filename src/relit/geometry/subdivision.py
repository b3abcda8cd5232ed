"""Catmull-Clark subdivision of quad meshes as a sparse matrix."""

import numpy as np
import scipy.sparse as sparse


def catmull_clark(quads: np.ndarray, count: int, linear: bool = False) -> tuple[sparse.csr_matrix, np.ndarray]:
    """The matrix that takes control vertices to subdivided ones, and the new quads.

    Args:
        quads: [Q, 4] indices into `count` vertices.
        count: number of control vertices.
        linear: midpoints only, without smoothing (for UV coordinates).

    Returns:
        [count + E + Q, count] matrix whose rows sum to 1 (vertices, then edge points, then face points), and [4 Q, 4]
        quads: face f becomes 4f .. 4f+3, the k-th one at the k-th corner.

    Source: Catmull & Clark 1978; boundary edges by the cubic B-spline rule of Hoppe et al. 1994.
    """
    faces = len(quads)
    sides = np.stack([quads, np.roll(quads, -1, 1)], -1).reshape(-1, 2)
    edges, edge_of_side = np.unique(np.sort(sides, 1), axis=0, return_inverse=True)
    edge_of_side = edge_of_side.reshape(faces, 4)
    valence = np.bincount(edge_of_side.ravel(), minlength=len(edges))
    face_of_corner = np.repeat(np.arange(faces), 4)
    corner = sparse.csr_matrix((np.full(4 * faces, 0.25), (face_of_corner, quads.ravel())), (faces, count))
    ends = sparse.csr_matrix(
        (np.full(2 * len(edges), 0.5), (np.repeat(np.arange(len(edges)), 2), edges.ravel())), (len(edges), count)
    )
    if linear:
        points, middles = sparse.identity(count, format="csr"), ends
    else:
        inner = valence == 2
        beside = sparse.csr_matrix(
            (np.full(4 * faces, 0.5), (edge_of_side.ravel(), np.repeat(np.arange(faces), 4))), (len(edges), faces)
        )
        smooth = 0.5 * ends + 0.5 * beside @ corner
        middles = sparse.diags(inner * 1.0) @ smooth + sparse.diags(~inner * 1.0) @ ends
        points = _vertex_rule(quads, edges, valence, corner, ends, count)
    n, m = count, len(edges)
    after, before = edge_of_side, np.roll(edge_of_side, 1, 1)
    centre = np.repeat(np.arange(faces)[:, None], 4, 1)
    new = np.stack([quads, n + after, n + m + centre, n + before], -1).reshape(-1, 4)
    return sparse.vstack([points, middles, corner]).tocsr(), new


def _vertex_rule(quads, edges, valence, corner, ends, count):
    faces_at = np.maximum(np.bincount(quads.ravel(), minlength=count), 1)
    rows = quads.ravel()
    face_sum = sparse.csr_matrix((np.ones(rows.size), (rows, np.repeat(np.arange(len(quads)), 4))), (count, len(quads)))
    edge_sum = sparse.csr_matrix(
        (np.ones(edges.size), (edges.ravel(), np.repeat(np.arange(len(edges)), 2))), (count, len(edges))
    )
    n = faces_at.astype(float)
    around = sparse.diags(1 / n**2) @ face_sum @ corner + sparse.diags(2 / n**2) @ edge_sum @ ends
    inner = sparse.diags((n - 3) / n) + around
    border_edges = valence == 1
    on_border = np.zeros(count, bool)
    on_border[edges[border_edges].ravel()] = True
    border_sum = edge_sum @ sparse.diags(border_edges * 1.0)
    degree = np.asarray(border_sum.sum(1)).ravel()
    simple = on_border & (degree == 2)
    curve = 0.5 * sparse.identity(count) + 0.25 * border_sum @ ends
    used = np.bincount(quads.ravel(), minlength=count) > 0
    keep = ~used | (on_border & ~simple)
    pick = lambda mask: sparse.diags(mask * 1.0)  # noqa: E731
    return (pick(used & ~on_border) @ inner + pick(simple) @ curve + pick(keep)).tocsr()

"""Landmarks, lids, face weight and mirror pairs of the subdivided head."""

import numpy as np
from scipy.spatial import cKDTree

from relit.geometry.subdivision import catmull_clark
from relit.models.contours import OVAL
from relit.models.head import PARTS, eyeball_radius_mm
from relit.models.head_build import eyes

UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292)
LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324, 96, 89, 179, 86, 15, 316, 403, 319, 325)  # inner rows of lips
UPPER_LID = (246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398)  # MediaPipe's, right and left
LOWER_LID = (33, 7, 163, 144, 145, 153, 154, 155, 133, 263, 249, 390, 373, 374, 380, 381, 382, 362)  # and corners
TRAGUS_VERTEX = 3235  # of the control mesh, left ear
HOLD = (1.0, 1.0, 0.85, 0.6, 0.35, 0.15, 0.05)  # how far the rings around the lids keep their distance from the eyeball
COLUMNS = 15
LASH_OFFSET_MM = 0.25  # the detector's upper lid lies this far above the lash line, over 25 portraits
LID_SIGMA_MM = 0.45  # the shape of an opening of 10 mm is what makes a gaze
LIP_RINGS = 14  # how far a lip reaches from its line, in faces
# Photos scatter more than the rendered heads on which offsets and noise were measured; the oval slides on the skin.
NOISE_SCALE, LEAST_SIGMA_MM, OVAL_SIGMA_MM = 1.4, 0.7, 3.0


def embed(points: np.ndarray, data: dict) -> np.ndarray:
    """[468, 3] MediaPipe's canonical landmarks on the control mesh."""
    corners = points[data["mediapipe_triangle"].astype(np.int64)]
    return np.einsum("pk,pkc->pc", data["mediapipe_barycentric"], corners)


def face_weight(points: np.ndarray, anchor: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """[V] 1 near the landmarks of the face, falling smoothly to 0 within 18 mm; 0 off the skin."""
    t = np.clip((cKDTree(anchor).query(points)[0] - 8) / 18, 0, 1)
    return np.where(skin, 1 - t * t * (3 - 2 * t), 0.0)


def closest_on_mesh(query: np.ndarray, points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[P] triangles and [P, 3] barycentric coordinates of the closest surface points.

    Source: Ericson, Real-Time Collision Detection, section 5.1.5, over the 40 triangles with the nearest centres.
    """
    _, near = cKDTree(points[triangles].mean(1)).query(query, k=40)
    a, b, c = (points[triangles[near][..., k]] for k in range(3))
    e1, e2, arm = b - a, c - a, query[:, None] - a
    d00, d01, d11 = (e1 * e1).sum(-1), (e1 * e2).sum(-1), (e2 * e2).sum(-1)
    d20, d21 = (arm * e1).sum(-1), (arm * e2).sum(-1)
    area = np.maximum(d00 * d11 - d01**2, 1e-12)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inside = np.stack([1 - v - w, v, w], -1)
    options = [inside]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p, q = (a, b, c)[i], (a, b, c)[j]
        t = np.clip(((query[:, None] - p) * (q - p)).sum(-1) / np.maximum(((q - p) ** 2).sum(-1), 1e-12), 0, 1)
        edge = np.zeros_like(inside)
        edge[..., i], edge[..., j] = 1 - t, t
        options.append(edge)
    options = np.stack(options, -2)  # [P, 40, 4, 3]
    place = options[..., :1] * a[:, :, None] + options[..., 1:2] * b[:, :, None] + options[..., 2:] * c[:, :, None]
    distance = ((place - query[:, None, None]) ** 2).sum(-1)
    distance[..., 0] = np.where((inside >= 0).all(-1), distance[..., 0], np.inf)
    best = distance.reshape(len(query), -1).argmin(1)
    row = np.arange(len(query))
    return near[row, best // 4], options.reshape(len(query), -1, 3)[row, best]


def fine_arrays(arrays: dict, data: dict, loops: list[np.ndarray], lips: list[np.ndarray]) -> dict:
    """What head.safetensors stores about the subdivided mesh.

    Args:
        loops: the lid openings of both eyes.
        lips: the lines where the upper and the lower lip meet the lining of the mouth.
    """
    control, quads = arrays["mean_mm"].astype(np.float64), arrays["quads"].astype(np.int64)
    smooth, fine = catmull_clark(quads, len(control))
    points = smooth @ control
    part = np.repeat(arrays["quad_part"], 4)
    skin = np.zeros(len(points), bool)
    skin[fine[part == 0]] = True
    mirror = _mirror_pairs(points, arrays["teeth_mm"].astype(np.float64), arrays["eye_mm"].astype(np.float64))
    first_eye = len(points) + len(arrays["teeth_mm"])

    triangles = fine[part == 0][:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    anchor = embed(control, data)
    rings = [eyes.rings_around(quads[arrays["quad_part"] == 0], loop, 4, len(control)) for loop in loops]
    lash_lines = [_lash_line(ring, points) for ring in rings]
    upper = list(UPPER_LID)
    anchor[upper] = [points_at(lash_lines[int(anchor[i, 0] < 0)], anchor[i, 0]) for i in upper]
    face, share = closest_on_mesh(anchor, points, triangles)
    # closed lips touch: each lip's landmarks are looked for on that lip only
    near = [eyes.rings_around(quads[arrays["quad_part"] == 0], arc, LIP_RINGS, len(control)) for arc in lips]
    lower_nearer = smooth @ np.sign(near[0] - near[1]).astype(float)
    for ids, sign in ((list(UPPER_LIP), 1), (list(LOWER_LIP), -1)):
        own = np.where((sign * lower_nearer[triangles] <= 0.5).all(1))[0]
        found, share[ids] = closest_on_mesh(anchor[ids], points, triangles[own])
        face[ids] = own[found]
    iris, iris_share = _iris(first_eye, len(arrays["eye_mm"]))
    offset = np.zeros((478, 3), np.float32)
    offset[:468] = data["landmark_offset_mm"]
    offset[upper, 1:] = LASH_OFFSET_MM, 0.0  # the table holds distances from the inner edge of the lid
    sigma = np.maximum(NOISE_SCALE * data["landmark_noise_mm"], LEAST_SIGMA_MM).astype(np.float32)
    sigma[upper + list(LOWER_LID)] = LID_SIGMA_MM
    sigma[list(OVAL)] = np.maximum(sigma[list(OVAL)], OVAL_SIGMA_MM)
    weight = np.zeros(len(mirror), np.float32)
    weight[: len(points)] = face_weight(points, points[triangles[face[:, None], :][:, 0]].mean(1), skin)
    return {
        "mirror": mirror.astype(np.int32),
        "landmark_triangles": np.concatenate([triangles[face], iris]).astype(np.int32),
        "landmark_barycentric": np.concatenate([share, iris_share]).astype(np.float32),
        "landmark_offset_mm": offset,
        "landmark_sigma_mm": sigma,
        "oval_landmarks": np.array(OVAL, np.int32),
        "face_weight": weight,
    } | _lids(arrays, smooth, points, mirror, loops)


def points_at(path: np.ndarray, x: float) -> np.ndarray:
    """[3] the point of a path that runs along +X, at a given x."""
    return np.array([np.interp(x, path[:, 0], path[:, axis]) for axis in range(3)])


def _lash_line(rings: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[n, 3] the outer edge of the upper lid's margin, from smaller to larger x."""
    points = points[: len(rings)]
    middle = points[rings == 0].mean(0)
    edges = [points[(rings == ring) & (points[:, 1] > middle[1])] for ring in (2, 3)]
    first, second = (edge[edge[:, 0].argsort()] for edge in edges)
    return np.array([(p + points_at(second, p[0])) / 2 for p in first])


def _mirror_pairs(points: np.ndarray, teeth: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """[V] the vertex on the other side, of subdivided mesh, teeth, left and right eyeball."""
    flip = np.array([-1.0, 1.0, 1.0])
    pairs = []
    for block in (points, teeth, eye):
        distance, other = cKDTree(block).query(block * flip)
        if (other[other] != np.arange(len(block))).any():
            raise ValueError(f"the mesh has no mirror pairs: largest distance {distance.max():.3f} mm")
        pairs.append(other)
    start = len(points) + len(teeth)
    left, right = start + np.arange(len(eye)), start + len(eye) + np.arange(len(eye))
    return np.concatenate([pairs[0], len(points) + pairs[1], right[pairs[2]], left[pairs[2]]])


def _iris(first_eye: int, eye_count: int) -> tuple[np.ndarray, np.ndarray]:
    """[10, 3] triangles and barycentric coordinates of MediaPipe's iris points: right eye, then left."""
    limbus = 1 + eyes.LIMBUS_RING * eyes.SEGMENTS
    quarter = eyes.SEGMENTS // 4
    ids = []
    for side in (1, 0):
        start = first_eye + side * eye_count
        ring = [limbus, limbus + quarter, limbus + 2 * quarter, limbus + 3 * quarter]
        ids += [start, *(start + v for v in ring)]
    triangles = np.stack([ids, np.array(ids) + 1, np.array(ids) + 2], 1)
    return triangles, np.tile([1.0, 0.0, 0.0], (10, 1))


def _lids(arrays: dict, smooth, points: np.ndarray, mirror: np.ndarray, loops: list[np.ndarray]) -> dict:
    """The lid tables of `HeadModel`, from the left eye; the right eye is its mirror image."""
    quads, part = arrays["quads"].astype(np.int64), arrays["quad_part"]
    skin_quads = quads[part == 0]
    rings = eyes.rings_around(skin_quads, loops[0], len(HOLD), len(arrays["mean_mm"]))
    hold = np.append(np.array(HOLD), 0.0)[rings]
    sockets = np.unique(quads[part == PARTS.index("eye_sockets")])
    hold[sockets[arrays["mean_mm"][sockets, 0] > 0]] = 1.0
    fine_hold = smooth @ hold
    ids = np.where(fine_hold > 0.004)[0]
    centre = arrays["eye_centre_mm"][0].astype(np.float64)
    arm = points[ids] - centre
    distance = np.linalg.norm(arm, axis=1)
    gap = np.clip(distance - eyeball_radius_mm(arm[:, 2] / distance), eyes.MARGIN_GAP_MM[0], 1.0)

    upper, lower = _lid_paths(skin_quads, rings, loops[0], points)
    inner, outer = points[upper[0], 0], points[upper[-1], 0]
    margin = 0.07 * (outer - inner)
    places = np.linspace(inner + margin, outer - margin, COLUMNS)
    column = np.clip((points[ids, 0] - places[0]) / (places[-1] - places[0]) * (COLUMNS - 1), 0, COLUMNS - 1)
    edges, shares = [], []
    for path in (upper, lower):
        along = np.maximum.accumulate(points[path, 0])
        index = np.clip(np.searchsorted(along, places) - 1, 0, len(path) - 2)
        edges.append(np.stack([path[index], path[index + 1]], 1))
        shares.append((places - along[index]) / np.maximum(along[index + 1] - along[index], 1e-9))
    edges, shares = np.stack(edges), np.stack(shares)
    return {
        "lid_vertices": np.stack([ids, mirror[ids]]).astype(np.int32),
        "lid_distance_mm": np.maximum(distance, eyeball_radius_mm(arm[:, 2] / distance) + gap).astype(np.float32),
        "lid_hold": fine_hold[ids].astype(np.float32),
        "lid_gap_mm": gap.astype(np.float32),
        "lid_column": column.astype(np.float32),
        "lid_edges": np.stack([edges, mirror[edges]]).astype(np.int32),
        "lid_edge_share": np.stack([shares, shares]).astype(np.float32),
    }


def _lid_paths(quads: np.ndarray, rings: np.ndarray, loop: np.ndarray, points: np.ndarray) -> tuple:
    """The lid margin (the ring next to the opening) from the inner to the outer corner: above and below."""
    sides = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    sides = np.concatenate([sides, sides[:, ::-1]])
    margin = np.array([sides[(sides[:, 0] == v) & (rings[sides[:, 1]] == 1), 1][0] for v in loop])
    start, end = points[margin, 0].argmin(), points[margin, 0].argmax()
    around = np.roll(margin, -start)
    end = (end - start) % len(margin)
    one, two = around[: end + 1], np.concatenate([around[:1], around[end:][::-1]])
    return (one, two) if points[one, 1].mean() > points[two, 1].mean() else (two, one)

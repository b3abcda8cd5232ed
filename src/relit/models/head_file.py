"""From the stored control mesh to the subdivided head model."""

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from relit.geometry.subdivision import catmull_clark
from relit.models.head import EYE_UV_CENTRES, PARTS, HeadModel


def assemble(data: dict[str, np.ndarray]) -> HeadModel:
    """The head model of the stored arrays (millimetres, float16 modes); see models/build_head.py for their meaning.

    Vertices are ordered: subdivided control mesh, teeth and gums, left eyeball, right eyeball.
    """
    quads, eye_quads = data["quads"].astype(np.int64), data["eye_quads"].astype(np.int64)
    smooth, fine = catmull_clark(quads, len(data["mean_mm"]))
    control, corner_uv = split_by_uv(quads, data["corner_uv"], data["quad_part"])
    linear, fine_render = catmull_clark(control, len(corner_uv), linear=True)
    teeth = data["teeth_quads"].astype(np.int64)
    teeth_render, teeth_uv = split_by_uv(teeth, data["teeth_corner_uv"], data["teeth_part"])

    sizes = [smooth.shape[0], len(data["teeth_mm"]), len(data["eye_mm"]), len(data["eye_mm"])]
    render_sizes = [linear.shape[0], len(teeth_uv), *sizes[2:]]
    first, render_first = np.cumsum([0, *sizes[:-1]]), np.cumsum([0, *render_sizes[:-1]])
    all_quads = np.concatenate([q + f for q, f in zip((fine, teeth, eye_quads, eye_quads), first, strict=True)])
    all_render = np.concatenate(
        [q + f for q, f in zip((fine_render, teeth_render, eye_quads, eye_quads), render_first, strict=True)]
    )
    eye_part = np.repeat([PARTS.index("left_eye"), PARTS.index("right_eye")], len(eye_quads))
    quad_part = np.concatenate([np.repeat(data["quad_part"], 4), data["teeth_part"], eye_part])
    uv = np.concatenate([linear @ corner_uv, teeth_uv, *(data["eye_uv"] + np.array(EYE_UV_CENTRES)[:, None])])
    # a quad that is not convex in UV is cut along its other diagonal
    folded = _folded(uv[all_render])
    all_quads[folded], all_render[folded] = np.roll(all_quads[folded], -1, 1), np.roll(all_render[folded], -1, 1)
    render_vertex = np.zeros(len(uv), np.int64)
    render_vertex[all_render.ravel()] = all_quads.ravel()

    eyes = np.stack([np.arange(sizes[2]) + start for start in first[2:]])
    mean = np.concatenate(
        [smooth @ data["mean_mm"], data["teeth_mm"], *(data["eye_mm"] + centre for centre in data["eye_centre_mm"])]
    )
    as_long = lambda array: torch.from_numpy(np.ascontiguousarray(array, np.int64))  # noqa: E731
    as_float = lambda array: torch.from_numpy(np.ascontiguousarray(array, np.float32))  # noqa: E731
    return HeadModel(
        name="relit",
        mean=as_float(mean / 1000),
        identity_modes=_modes(data, smooth, "identity", data["eye_centre_identity_mm"]),
        expression_modes=_modes(data, smooth, "expression", np.zeros((len(data["expression_mm"]), 2, 3))),
        quads=as_long(all_quads),
        triangles=as_long(all_quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)),
        uv=as_float(uv),
        render_vertex=as_long(render_vertex),
        render_quads=as_long(all_render),
        render_triangles=as_long(all_render[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)),
        part=as_long(np.repeat(quad_part, 2)),
        mirror=as_long(data["mirror"]),
        landmark_triangles=as_long(data["landmark_triangles"]),
        landmark_barycentric=as_float(data["landmark_barycentric"]),
        landmark_offset=as_float(data["landmark_offset_mm"] / 1000),
        landmark_sigma=as_float(data["landmark_sigma_mm"] / 1000),
        oval_landmarks=as_long(data["oval_landmarks"]),
        face_weight=as_float(data["face_weight"]),
        eye_vertices=as_long(eyes),
        eye_template=as_float(data["eye_mm"] / 1000),
        lid_vertices=as_long(data["lid_vertices"]),
        lid_distance=as_float(data["lid_distance_mm"] / 1000),
        lid_hold=as_float(data["lid_hold"]),
        lid_gap=as_float(data["lid_gap_mm"] / 1000),
        lid_column=as_float(data["lid_column"]),
        lid_edges=as_long(data["lid_edges"]),
        lid_edge_share=as_float(data["lid_edge_share"]),
    )


def _folded(corners: np.ndarray) -> np.ndarray:
    """[Q] whether cutting a quad from its first corner to its third gives triangles of opposite orientation."""
    a, b, c, d = (corners[:, k] for k in range(4))
    cross = lambda p, q: p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]  # noqa: E731
    return cross(b - a, c - a) * cross(c - a, d - a) < 0


def split_by_uv(quads: np.ndarray, corner_uv: np.ndarray, quad_part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[Q, 4] quads over render vertices, and [N, 2] their UV: corners share one where vertex, part and UV agree.

    Args:
        quads: [Q, 4] over welded vertices.
        corner_uv: [Q, 4, 2] of each corner.
        quad_part: [Q] index into PARTS.
    """
    rounded = np.round(corner_uv.reshape(-1, 2) * 1e6).astype(np.int64)
    keys = np.column_stack([np.repeat(quad_part, 4).astype(np.int64), quads.ravel(), rounded])
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return index.reshape(-1, 4), corner_uv.reshape(-1, 2)[first].astype(np.float64)


def teeth_field(points_mm: np.ndarray, lower: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """[K, T, 3] displacements of teeth and gums (mm): two affine maps per mode, blended by the share of the lower jaw.

    Args:
        maps: [K, 2, 4, 3] of the upper and the lower jaw; rows: displacement per 100 mm along x, y, z; a shift.
    """
    places = np.concatenate([points_mm / 100, np.ones((len(points_mm), 1))], 1).astype(np.float32)
    upper, lower = places * (1 - lower)[:, None], places * lower[:, None]
    return np.concatenate([upper, lower], 1) @ maps.reshape(len(maps), 8, 3).astype(np.float32)


def _modes(data: dict[str, np.ndarray], smooth: sparse.csr_matrix, kind: str, eye_shift_mm: np.ndarray) -> Tensor:
    """[K, V, 3] modes in metres of all vertices."""
    control = data[f"{kind}_mm"]
    count = len(control)
    flat = np.ascontiguousarray(control.transpose(1, 0, 2), np.float32).reshape(control.shape[1], -1)
    out = np.empty((count, len(data["mirror"]), 3), np.float32)
    subdivided = smooth.shape[0]
    out[:, :subdivided] = (smooth.astype(np.float32) @ flat).reshape(-1, count, 3).transpose(1, 0, 2)
    teeth = subdivided + len(data["teeth_mm"])
    out[:, subdivided:teeth] = teeth_field(data["teeth_mm"], data["teeth_lower"], data[f"teeth_{kind}"])
    eye = len(data["eye_mm"])
    for side in (0, 1):
        out[:, teeth + side * eye : teeth + (side + 1) * eye] = eye_shift_mm[:, side, None]
    out /= 1000
    return torch.from_numpy(out)

"""Carries the MakeHuman skin textures to the head's UV layout (build time only)."""

from pathlib import Path

import cv2
import numpy as np
import torch

from relit.appearance.colour import linear_from_srgb
from relit.geometry.uv import rasterise_uv
from relit.models.head import HeadModel


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3), texture coordinates (N, 2), quads (Q, 4) and texture quads (Q, 4) of a quad OBJ file."""
    points, coordinates, faces, texture_faces = [], [], [], []
    for line in path.read_text().splitlines():
        key, *rest = line.split() or ["#"]
        if key == "v":
            points.append([float(x) for x in rest[:3]])
        elif key == "vt":
            coordinates.append([float(x) for x in rest[:2]])
        elif key == "f":
            corners = [tuple(int(x) - 1 for x in corner.split("/")[:2]) for corner in rest]
            corners = (corners + corners[-1:])[:4]  # a triangle becomes a quad with a double corner
            faces.append([c[0] for c in corners])
            texture_faces.append([c[1] for c in corners])
    return np.array(points), np.array(coordinates), np.array(faces), np.array(texture_faces)


def control_quads(model: HeadModel, part: int = 0) -> np.ndarray:
    """(Q, 4) control-level quads of a part, as welded vertices of the subdivided mesh."""
    quads = model.quads.numpy()[model.part.numpy()[::2] == part]
    return quads.reshape(-1, 4, 4)[:, :, 0]  # the k-th child of a quad starts at its k-th corner


def match_quads(quads: np.ndarray, others: np.ndarray, start: tuple[int, int, int]) -> np.ndarray:
    """(Q, 4) for each corner of `quads` the vertex of `others` that it corresponds to, walking from one known pair.

    Args:
        quads, others: (Q, 4), (P, 4) faces of two meshes, the first one a part of the second (numbered differently).
        start: a face of `quads`, the face of `others` it equals, and by how many corners that one is turned.

    Raises:
        ValueError: the walk does not reach every face or contradicts itself.
    """
    sides = {(face[k], face[(k + 1) % 4]): (f, k) for f, face in enumerate(others.tolist()) for k in range(4)}
    own_sides = {(face[k], face[(k + 1) % 4]): f for f, face in enumerate(quads.tolist()) for k in range(4)}
    first, other, turn = start
    partner = {int(v): int(w) for v, w in zip(quads[first], np.roll(others[other], -turn), strict=True)}
    todo, done = [first], {first}
    while todo:
        face = quads[todo.pop()].tolist()
        for k in range(4):
            a, b = face[k], face[(k + 1) % 4]
            neighbour = own_sides.get((b, a))
            if neighbour is None or neighbour in done:
                continue
            found = sides.get((partner[b], partner[a]))
            if found is None:
                raise ValueError("the head's faces are not those of base.obj")
            corners = np.roll(others[found[0]], -found[1]).tolist()
            mine = np.roll(quads[neighbour], -quads[neighbour].tolist().index(b)).tolist()
            for v, w in zip(mine, corners, strict=True):
                if partner.setdefault(v, w) != w:
                    raise ValueError("the head's faces contradict those of base.obj")
            done.add(neighbour)
            todo.append(neighbour)
    if len(done) < len(quads):
        raise ValueError(f"only {len(done)} of {len(quads)} faces of the head were found in base.obj")
    return np.vectorize(partner.__getitem__)(quads)


def base_texture(model: HeadModel, base: Path, size: int) -> np.ndarray:
    """(S, S, 2) MakeHuman texture coordinate (v up) of each skin texel, NaN outside."""
    points, coordinates, faces, texture_faces = read_obj(base)
    quads = control_quads(model)
    matched = _match_from_nose(model, quads, points, faces)
    texture_of = {
        tuple(sorted(face)): dict(zip(face, texture, strict=True))
        for face, texture in zip(faces.tolist(), texture_faces.tolist(), strict=True)
    }
    corner = np.array([[texture_of[tuple(sorted(face))][v] for v in face] for face in matched.tolist()])
    values = coordinates[corner]  # [Q, 4, 2]
    middle = (values + np.roll(values, -1, 1)) / 2
    centre = np.repeat(values.mean(1, keepdims=True), 4, 1)
    fine = np.stack([values, middle, centre, np.roll(middle, 1, 1)], 2).reshape(-1, 4, 2)  # as catmull_clark orders
    triangles = fine[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 2)
    on_skin = model.part == 0
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles[on_skin], size, size)
    picked = triangles[triangle.clamp_min(0).numpy()]
    found = (picked * barycentric.numpy()[..., None]).sum(2)
    found[triangle.numpy() < 0] = np.nan
    return found


def _match_from_nose(model: HeadModel, quads: np.ndarray, points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Starts the walk at the frontmost face beside the midline, trying the faces of base.obj around its nose tip."""
    middle = model.mean.numpy()[quads].mean(1)
    first = int(np.argmax(np.where((middle[:, 0] > 0) & (middle[:, 0] < 0.01), middle[:, 2], -1)))
    centres = points[faces].mean(1)
    beside = (centres[:, 0] > 0) & (centres[:, 0] < 0.2) & (centres[:, 1] > 5)
    for other in np.argsort(np.where(beside, -centres[:, 2], np.inf))[:12]:
        for turn in range(4):
            try:
                return match_quads(quads, faces, (first, int(other), turn))
            except ValueError:
                continue
    raise ValueError("the head's faces were not found in base.obj")


def read_linear(path: Path) -> np.ndarray:
    """(h, w, 3) linear picture."""
    srgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    return linear_from_srgb(torch.from_numpy(srgb)).numpy()


def carry_skin(path: Path, texture: np.ndarray, crop: dict) -> np.ndarray:
    """(S, S, 3) a MakeHuman skin in the head's layout; NaN where the crop does not cover it.

    Args:
        path: picture file, a crop of the full texture.
        texture: (S, S, 2) texture coordinates from `base_texture`.
        crop: the content of crop.json.
    """
    width, height = crop["full_texture_px"]
    left, top, right, bottom = crop["crop_box_px"]
    x = texture[..., 0] * width - left - 0.5
    y = (1 - texture[..., 1]) * height - top - 0.5
    inside = (x > 2) & (y > 2) & (x < right - left - 3) & (y < bottom - top - 3)
    x, y = (np.where(inside, t, -9).astype(np.float32) for t in (x, y))
    carried = cv2.remap(read_linear(path), x, y, cv2.INTER_LINEAR)
    return np.where(inside[..., None], carried, np.nan)

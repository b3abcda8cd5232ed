"""Linear head models that users bring: ICT-FaceKit (MIT) and Google's GNM Head (Apache-2.0), both free to download."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from relit.errors import AssetCorrupt, AssetMissing
from relit.models.head_build.sources import ICT_URL, obj_vertices, read_ict

GNM_URL = "https://huggingface.co/google/gnm-v3"


@dataclass(frozen=True)
class ImportedHead:
    """The linear part of a head model, in metres, +X to the subject's left, +Y up, +Z out of the face."""

    name: str
    mean: Float[Tensor, "V 3"]
    identity_modes: Float[Tensor, "K V 3"]  # one standard deviation each
    expression_modes: Float[Tensor, "E V 3"]  # weight 1
    expression_names: tuple[str, ...]
    triangles: Int[Tensor, "T 3"]
    landmark_vertices: Int[Tensor, "L"]  # iBUG's 68 where the model states them, else none


def load_ict(folder: Path) -> ImportedHead:
    """ICT-FaceKit Light from its folder `FaceXModel`, or from a folder with `ict_facekit.npz`.

    Raises:
        AssetMissing: the folder holds neither.
    """
    folder = Path(folder)
    if not folder.exists():
        raise AssetMissing(f"{folder} is missing; get FaceXModel from {ICT_URL}")
    ict = read_ict(folder)
    packed = folder / "ict_facekit.npz"
    if packed.is_file():
        with np.load(packed) as data:
            names = tuple(str(name) for name in data["expression_names"])
            expressions = data["expression_cm"].astype(np.float64) / 100
            polygons = data["polygons"].astype(np.int64)
        triangles = _triangles(polygons)
    else:
        root = folder if (folder / "generic_neutral_mesh.obj").is_file() else folder / "FaceXModel"
        described = json.loads((root / "vertex_indices.json").read_text(encoding="utf-8"))
        names = tuple(described["expressions"])
        neutral = ict.neutral / 1000
        expressions = np.stack([obj_vertices(root / f"{name}.obj") / 100 - neutral for name in names])
        triangles = _obj_triangles(root / "generic_neutral_mesh.obj")
    return ImportedHead(
        name="ict-facekit",
        mean=_float(ict.neutral / 1000),
        identity_modes=_float(ict.identity / 1000),
        expression_modes=_float(expressions),
        expression_names=names,
        triangles=torch.from_numpy(triangles),
        landmark_vertices=torch.from_numpy(_ict_landmarks(folder)),
    )


def load_gnm(file: Path) -> ImportedHead:
    """Google's GNM Head, version 3, from `gnm_head.npz`: its linear part, without joints.

    Raises:
        AssetMissing: the file is not there.
        AssetCorrupt: it lacks the arrays of version 3.
    """
    file = Path(file)
    if not file.is_file():
        raise AssetMissing(f"{file} is missing; get v3_0/gnm_head.npz from {GNM_URL}")
    needed = ("template_vertex_positions", "vertex_identity_basis", "expression_basis", "triangles")
    with np.load(file, allow_pickle=False) as data:
        lacking = [key for key in needed if key not in data.files]
        if lacking:
            raise AssetCorrupt(f"{file} lacks {lacking[0]}; get v3_0/gnm_head.npz from {GNM_URL}")
        expressions = data["expression_basis"]
        names = data["expression_names"] if "expression_names" in data.files else range(len(expressions))
        return ImportedHead(
            name="gnm-head",
            mean=_float(data["template_vertex_positions"]),
            identity_modes=_float(data["vertex_identity_basis"]),
            expression_modes=_float(expressions),
            expression_names=tuple(str(name) for name in names),
            triangles=torch.from_numpy(data["triangles"].astype(np.int64)),
            landmark_vertices=torch.zeros(0, dtype=torch.int64),
        )


def imported_vertices(
    model: ImportedHead, identity: Float[Tensor, "K"], expression: Float[Tensor, "E"] | None = None
) -> Float[Tensor, "V 3"]:
    """The vertices of an identity (standard deviations) with an expression. Differentiable."""
    flat = identity @ model.identity_modes.flatten(1)
    if expression is not None:
        flat = flat + expression @ model.expression_modes.flatten(1)
    return model.mean + flat.view_as(model.mean)


def _ict_landmarks(folder: Path) -> np.ndarray:
    listed = next((p for p in (folder, folder / "FaceXModel") if (p / "vertex_indices.json").is_file()), None)
    if listed is None:
        return np.zeros(0, np.int64)
    described = json.loads((listed / "vertex_indices.json").read_text(encoding="utf-8"))
    found = [value for key, value in described.items() if "landmark" in key.lower() and len(value) == 68]
    return np.array(found[0] if found else [], np.int64)


def _obj_triangles(path: Path) -> np.ndarray:
    faces = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("f "):
                corners = [int(word.split("/")[0]) - 1 for word in line.split()[1:]]
                faces += [[corners[0], a, b] for a, b in itertools.pairwise(corners[1:])]
    return np.array(faces, np.int64)


def _triangles(polygons: np.ndarray) -> np.ndarray:
    """Triangles of [P, 4] polygons whose last index is -1 in a triangle."""
    return np.concatenate([polygons[:, :3], polygons[polygons[:, 3] >= 0][:, [0, 2, 3]]])


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))

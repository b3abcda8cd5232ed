"""Panoramas as lights and backdrops: those that are shipped, and a user's own."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from relit.appearance.lighting import LUMINANCE, diffuse_irradiance, exposed, lighting_from_equirect, read_equirect
from relit.errors import InputError
from relit.models.registry import load_tensors
from relit.synth.split import TEST_LIGHTS, of_split
from relit.types import Lighting

BACKDROP_ROWS = 96
BACKDROP_PEAK = 4.0  # radiance after exposure that the brightest code stands for
_QUALITY = 80
_FIELDS = ("sh", "directions", "irradiance")


def panorama_names(split: str, folders: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The panoramas of a split; those of the folders belong to the training split."""
    own = sorted(name for folder in folders for name in _read(folder)) if split == "train" else []
    return (*_shipped_names(split), *own)


def stored_lighting(name: str, folders: tuple[str, ...] = ()) -> Lighting:
    """The light of a panorama as it is stored."""
    found = _tensors(name, folders)
    return Lighting(*(found[field] for field in _FIELDS))


def backdrop(name: str, folders: tuple[str, ...] = ()) -> np.ndarray:
    """(BACKDROP_ROWS, 2 BACKDROP_ROWS, 3) linear radiance of a panorama."""
    coded = cv2.imdecode(_tensors(name, folders)["backdrop"].numpy(), cv2.IMREAD_COLOR)[..., ::-1]
    return (coded / np.float32(255)) ** 3 * BACKDROP_PEAK


def panorama_tensors(path: Path) -> dict[str, Tensor]:
    """A panorama as it is stored: its light, exposed for skin, and a small coded backdrop.

    Raises:
        InputError: the file is no panorama.
    """
    panorama = read_equirect(path)
    raw = lighting_from_equirect(panorama, max_directional=3)
    light = exposed(raw)
    scale = luminance_at_front(light) / luminance_at_front(raw)
    small = cv2.resize(panorama.numpy() * scale, (2 * BACKDROP_ROWS, BACKDROP_ROWS), interpolation=cv2.INTER_AREA)
    code = np.round(255 * (np.clip(small, 0, BACKDROP_PEAK) / BACKDROP_PEAK) ** (1 / 3)).astype(np.uint8)
    coded = cv2.imencode(".webp", code[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
    fields = {field: getattr(light, field).float().contiguous() for field in _FIELDS}
    return fields | {"backdrop": torch.from_numpy(coded.ravel().copy())}


def luminance_at_front(lighting: Lighting) -> float:
    """Mean irradiance (luminance) on surfaces that face the camera's half, relative to any exposure."""
    normals = torch.nn.functional.normalize(torch.tensor([[0, 0, 1.0], [0.6, 0, 1], [-0.6, 0, 1], [0, 0.5, 1]]), dim=1)
    total = diffuse_irradiance(lighting.sh, normals).clamp_min(0)
    total = total + (normals @ lighting.directions.T).clamp_min(0) @ lighting.irradiance
    return float((total @ LUMINANCE).mean().clamp_min(1e-6))


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Tensor]:
    return load_tensors("scenes")


@lru_cache(maxsize=2)
def _shipped_names(split: str) -> tuple[str, ...]:
    return tuple(of_split(sorted({key.split(".")[0] for key in _shipped()}), split, TEST_LIGHTS))


def _tensors(name: str, folders: tuple[str, ...]) -> dict[str, Tensor]:
    for folder in folders:
        if name in _read(folder):
            return _read(folder)[name]
    return {field: _shipped()[f"{name}.{field}"] for field in (*_FIELDS, "backdrop")}


@lru_cache(maxsize=16)
def _read(folder: str) -> dict[str, dict[str, Tensor]]:
    """The panoramas of a user's folder by file name.

    Raises:
        InputError: there are none, or one cannot be read; names the file.
    """
    files = [path for path in sorted(Path(folder).glob("*")) if path.suffix.lower() in (".hdr", ".exr")]
    if not files:
        raise InputError(f"{folder} holds no lights; give a folder of equirectangular .hdr or .exr panoramas")
    found = {}
    for path in files:
        panorama = panorama_tensors(path)
        light = Lighting(*(panorama[field] for field in _FIELDS))
        if luminance_at_front(light) <= 1e-6 or not light.sh.isfinite().all():
            raise InputError(f"{path} is black or holds no finite light; take it out of the folder")
        found[path.name] = panorama
    return found

"""What is kept of a case besides its figures: pictures to judge by, errors per vertex and per texel, embeddings."""

from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from relit.evaluation.case import Case, coded_8bit
from relit.evaluation.sheets import row, save
from relit.models.head import load_head_model

STRIP_PX = 288
ERROR_TEXELS = 128
WORST_LEVEL, WORST_MM = 60.0, 4.0  # brightest colours of the error maps
SHOWN_LIGHT = "sun"
UNKNOWN = -1.0  # in per-vertex and per-texel errors
STRIP = ("photo", "true albedo", "recovered", "error", "true, new light", "recovered", "own light")


def keep_evidence(case: Case, stem: Path) -> None:
    """Writes `stem`.safetensors with the errors and, where there is a head, `stem`.jpg."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    distance = torch.full((len(load_head_model().mean),), UNKNOWN)
    distance[torch.from_numpy(case.scan[2])] = torch.from_numpy(case.shape_error.distance_mm).float()
    arrays = {"distance_mm": distance.half()}
    if case.answer.head is not None:
        arrays["albedo_error"] = torch.from_numpy(_albedo_error(case)).half()
        strip = row(_pictures(case), STRIP_PX, [f"{stem.name}", *STRIP[1:]])
        save(strip, stem.with_suffix(".jpg"))
    save_file(arrays, stem.with_suffix(".safetensors"))


def read_evidence(stem: Path) -> dict[str, np.ndarray]:
    """The errors of a case by name, NaN where they are unknown."""
    arrays = load_file(stem.with_suffix(".safetensors"))
    return {name: np.where(values >= 0, values, np.nan) for name, values in ((n, a.float().numpy()) for n, a in arrays.items())}


def embeddings(case: Case) -> dict[str, dict[str, list[float] | None]]:
    """Unit-free embeddings of the photo and of the render in its own light, by network."""
    looks = {"photo": case.reference.photo_look, "own": case.render_looks["own"]}
    rounded = lambda values: None if values is None else [round(value, 4) for value in values.tolist()]  # noqa: E731
    return {network: {name: rounded(getattr(look, network)) for name, look in looks.items()} for network in ("dlib", "sface")}


def heat(values: np.ndarray, worst: float) -> np.ndarray:
    """(H, W, 3) uint8: black for 0 over violet and orange to yellow for `worst`; grey where NaN."""
    level = np.nan_to_num(values / worst).clip(0, 1)
    colour = cv2.applyColorMap(np.round(255 * level).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.where(np.isnan(values)[..., None], 214, colour).astype(np.uint8)


def face_crop(texture: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(h, w, 3) the part of a texture (H, W, 3) in which the face (H, W) lies, in the layout's own proportions."""
    rows, columns = (np.flatnonzero(face.any(axis)) for axis in (1, 0))
    part = texture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cv2.resize(part, (part.shape[1], round(1.5 * part.shape[0])), interpolation=cv2.INTER_LINEAR)


def _level_error(case: Case) -> np.ndarray:
    """(H, W) mean over channels of |recovered - true| in levels of the sRGB-coded albedo."""
    found, true = (coded_8bit(maps["diffuse_albedo"]) for maps in (case.found_maps, case.reference.maps))
    return np.abs(found - true).mean(-1)


def _albedo_error(case: Case) -> np.ndarray:
    """(ERROR_TEXELS, ERROR_TEXELS) mean error of the face's texels in each cell, UNKNOWN where there are none."""
    size, face = (ERROR_TEXELS, ERROR_TEXELS), case.reference.face.astype(np.float32)
    shrunk = lambda image: cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)  # noqa: E731
    share = shrunk(face)
    return np.where(share > 0.05, shrunk(_level_error(case) * face) / np.maximum(share, 0.05), UNKNOWN).astype(np.float32)


def _pictures(case: Case) -> list[np.ndarray]:
    shown = lambda linear: coded_8bit(linear).astype(np.uint8)  # noqa: E731
    before_grey = lambda rgba: shown(rgba[..., :3] + (1 - rgba[..., 3:]) * 0.18)  # noqa: E731
    error = np.where(case.reference.face, _level_error(case), np.nan)
    found, true = case.relit_pairs[SHOWN_LIGHT]
    return [
        shown(case.reference.photos[0].photo.linear.numpy()),
        face_crop(shown(case.reference.maps["diffuse_albedo"]), case.reference.face),
        face_crop(shown(case.found_maps["diffuse_albedo"]), case.reference.face),
        face_crop(heat(error, WORST_LEVEL), case.reference.face),
        before_grey(true),
        before_grey(found),
        case.render_looks["own"].picture,
    ]

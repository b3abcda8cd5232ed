"""Detail statistics from portraits of people who do not exist (SFHQ collages), warped to the UV layout by landmarks."""

from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial import Delaunay

from relit.appearance.colour import linear_from_srgb
from relit.models.head import HeadModel
from relit.models.landmarks import detect_faces, detect_landmarks
from relit.models.regions import landmark_uv

# Sheets and rows that are labelled as adults.
_SHEETS = {
    "SFHQ_variability_age.jpg": (4, 5),
    "SFHQ_variability_age_X_ethnicity_1.jpg": (4, 5),
    "SFHQ_variability_age_X_ethnicity_2.jpg": (4, 5),
    "SFHQ_variability_ethnicity.jpg": (0, 1, 2, 3, 4, 5),
}
_TILE, _LEFT, _TOP, _ACROSS, _DOWN, _COLUMNS = 270, 12, 145, 281, 304, 13
MAX_YAW = 0.35  # sine of the head's turn that is still unwrapped
_ENLARGED = 2  # landmarks are steadier on a larger picture


def portraits(folder: Path):
    """Yields (270, 270, 3) sRGB-coded uint8 portraits of adults."""
    for name, rows in _SHEETS.items():
        sheet = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
        for row in rows:
            for column in range(_COLUMNS):
                y, x = _TOP + _DOWN * row, _LEFT + _ACROSS * column
                yield sheet[y : y + _TILE, x : x + _TILE]


def unwrapped_portraits(folder: Path, head: HeadModel, size: int) -> np.ndarray:
    """(N, size, size, 3) linear colour of near-frontal portraits in the UV layout, NaN outside the landmarks."""
    uv = landmark_uv(head).numpy()[:468]
    mesh = Delaunay(uv)
    texels = (np.stack(np.meshgrid(*[np.arange(size)] * 2), -1) + 0.5) / size
    simplex = mesh.find_simplex(texels)
    to_barycentric = mesh.transform[simplex]
    first = np.einsum("hwij,hwj->hwi", to_barycentric[:, :, :2], texels - to_barycentric[:, :, 2])
    barycentric = np.concatenate([first, 1 - first.sum(-1, keepdims=True)], -1)
    found = []
    for portrait in portraits(folder):
        large = cv2.resize(portrait, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
        faces = detect_faces(large)
        if len(faces) != 1:
            continue
        landmarks = detect_landmarks(large, faces[0])
        points = np.c_[landmarks.points_px.numpy(), landmarks.depth_px.numpy()]
        across = points[454] - points[234]
        if abs(across[2]) > MAX_YAW * np.linalg.norm(across):
            continue
        at = (points[:468, :2][mesh.simplices[simplex]] * barycentric[..., None]).sum(2).astype(np.float32) - 0.5
        linear = linear_from_srgb(torch.from_numpy(large.astype(np.float32) / 255)).numpy()
        warped = cv2.remap(linear, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
        found.append(np.where((simplex >= 0)[..., None], warped, np.nan))
    return np.array(found)

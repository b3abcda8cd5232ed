"""Builds assets/skin_detail.safetensors: python -m relit.synth.build_detail --data FOLDER (sources: its card).

Each source skin is carried to the head's UV layout, freed of tone and of everything softer than 10 mm, which holds the
painted light, and coded as a picture of log albedo detail.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from scipy.interpolate import RBFInterpolator

from relit.errors import run_script
from relit.models import registry
from relit.models.head import HeadModel, load_head_model
from relit.models.skin_transfer import base_texture, carry_skin, read_linear
from relit.synth.detail import LIMIT, SIZE
from relit.synth.detail_source import calm, detail_of
from relit.synth.layout import Layout, blurred, layout

LEFT_OUT = ("GothMakeup", "darthfurby", "creamy", "Bronze")  # painted over
SHARED_MM = 1.2  # softer structure that all skins have is light in folds, nostrils and lids
QUALITY = 88
# Places in textures with their own layout, in shares of its edge; the right half is mirrored. MediaPipe indices.
_REOM = {
    33: (0.3095, 0.3635), 133: (0.4258, 0.3709), 159: (0.368, 0.3553), 145: (0.368, 0.3846), 129: (0.4304, 0.5064),
    2: (0.5, 0.5265), 1: (0.5, 0.489), 61: (0.389, 0.630), 0: (0.5, 0.586), 17: (0.5, 0.682), 152: (0.5, 0.785),
    168: (0.5, 0.372), 10: (0.5, 0.135), 234: (0.178, 0.45), 172: (0.235, 0.68), 54: (0.25, 0.21), 116: (0.27, 0.43),
}  # fmt: skip
_ANTONIA = {
    33: (0.3905, 0.3325), 133: (0.4478, 0.3330), 159: (0.4175, 0.3175), 145: (0.419, 0.3445), 129: (0.4545, 0.389),
    2: (0.5, 0.4095), 1: (0.5, 0.385), 61: (0.4585, 0.4545), 0: (0.5, 0.437), 17: (0.5, 0.4685), 152: (0.5, 0.514),
    168: (0.5, 0.330), 10: (0.5, 0.235), 234: (0.347, 0.385), 172: (0.385, 0.475), 54: (0.375, 0.265),
    116: (0.375, 0.360),
}  # fmt: skip


def build_detail(data: Path, output: Path) -> dict[str, float]:
    """Writes the atlas of skin detail and returns figures about it.

    Args:
        data: the folder that holds makehuman_skins/, makehuman_mesh/, reom/ and antonia/.
    """
    head, here = load_head_model(), layout(SIZE)
    found = {name: detail_of(skin, here) for name, skin in _sources(data, head, here)}
    shared = blurred(np.mean(list(found.values()), 0), SHARED_MM, here.texel_mm)
    tensors, contrast = {}, []
    for name, own in found.items():
        detail, deviation = calm(own - shared, here)
        contrast.append(deviation)
        code = np.clip(np.round(128 + 127 * detail / LIMIT), 1, 255).astype(np.uint8)
        coded = cv2.imencode(".webp", code[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
        tensors[name] = torch.from_numpy(coded.ravel().copy())
    save_file(tensors, output)
    output.chmod(0o644)
    return {"skins": len(tensors), "mean_contrast": round(float(np.mean(contrast)), 4), "rows_of_layout": SIZE}


def _sources(data: Path, head: HeadModel, here: Layout):
    """Yields name and (S, S, 3) linear skin in the layout, NaN where it is unknown."""
    texture = base_texture(head, data / "makehuman_mesh" / "base.obj", SIZE)
    folder = data / "makehuman_skins"
    crop = json.loads((folder / "crop.json").read_text())
    for path in sorted(folder.glob("*.jpg")):
        if not any(word in path.stem for word in LEFT_OUT):
            yield path.stem, carry_skin(path, texture, crop)
    for path, places in (
        (data / "reom" / "LightSkin_Face_BaseColor.jpg", _REOM),
        (data / "reom" / "DarkSkin_Face_BaseColor.jpg", _REOM),
        (data / "antonia" / "head_albedo.png", _ANTONIA),
    ):
        yield path.stem, _warped(read_linear(path), places, here)


def _warped(picture: np.ndarray, places: dict[int, tuple[float, float]], here: Layout) -> np.ndarray:
    """(S, S, 3) a picture with its own layout, bent by a thin-plate spline through landmarks; NaN outside it."""
    at = here.landmarks[list(places)].astype(float)
    to = np.array(list(places.values()))
    off = np.abs(at[:, 0] - 0.5) > 0.01
    at = np.concatenate([at, np.c_[1 - at[off, 0], at[off, 1]]])
    to = np.concatenate([to, np.c_[1 - to[off, 0], to[off, 1]]])
    coarse = (np.stack(np.meshgrid(*[np.arange(128)] * 2), -1).reshape(-1, 2) + 0.5) / 128
    place = RBFInterpolator(at, to, kernel="thin_plate_spline", smoothing=1e-6)(coarse).reshape(128, 128, 2)
    fine = cv2.resize(place.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    factor = max(1, round(picture.shape[0] * 0.6 / SIZE))  # the face fills about half of these textures
    picture = cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    pixel = fine * picture.shape[0] - 0.5
    found = cv2.remap(picture, pixel[..., 0], pixel[..., 1], cv2.INTER_LINEAR, borderValue=(-1, -1, -1))
    return np.where(found.min(-1, keepdims=True) < 0, np.nan, found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    metrics = build_detail(given.data, registry.assets_folder() / "skin_detail.safetensors")
    registry.record(
        "skin_detail",
        "skin_detail.safetensors",
        licence="CC0-1.0 AND CC-BY AND CC-BY-3.0",
        sources=[
            "MakeHuman skins and base mesh (CC0: MakeHuman core, community assets)",
            '"Reom" by ComplexAce (mesh) and Hope (textures), via CharMorph (CC-BY)',
            "Antonia Polygon by Olaf Delgado-Friedrichs (odf) and others (CC-BY 3.0)",
        ],
        command="python -m relit.synth.build_detail --data FOLDER",
        metrics=metrics,
    )
    print(json.dumps(metrics))


if __name__ == "__main__":
    run_script(main)

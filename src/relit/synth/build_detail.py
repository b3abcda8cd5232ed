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

from relit.models import registry
from relit.models.build_skin import fill
from relit.models.head import HeadModel, load_head_model
from relit.models.skin_transfer import base_texture, carry_skin, read_linear
from relit.synth.detail import BOX, LIMIT, SIZE, box_slices
from relit.synth.layout import Layout, blurred, layout

LEFT_OUT = ("GothMakeup", "darthfurby", "creamy", "Bronze")  # painted over
SOFTEST_MM = 8.0
SHARED_MM = 1.2  # softer structure that all skins have is light in folds, nostrils and lids
CONTRAST, HUE = 0.050, 0.35  # largest standard deviation on plain skin; of hue against lightness: the rest is coding
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
    found = {name: _detail(skin, here) for name, skin in _sources(data, head, here)}
    shared = blurred(np.mean(list(found.values()), 0), SHARED_MM, here.texel_mm)
    tensors, contrast = {}, []
    for name, own in found.items():
        detail, deviation = _calm(own - shared, here)
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


def _detail(skin: np.ndarray, here: Layout) -> np.ndarray:
    """(h, w, 3) log albedo detail inside the box, fading out at the rim of the face."""
    masks = here.masks
    eyes_and_mouth = _openings(here)
    valid = np.isfinite(skin).all(-1) & (masks["scalp"] < 0.5) & ~eyes_and_mouth
    log = fill(np.log(np.clip(np.nan_to_num(skin, nan=0.5), 0.01, 1)), valid).astype(np.float32)
    weight = np.where(valid, 1 - 0.9 * np.maximum(masks["lips"], masks["nostrils"]), 0.02).astype(np.float32)
    total = blurred(weight, SOFTEST_MM, here.texel_mm)
    soft = blurred(log * weight[..., None], SOFTEST_MM, here.texel_mm) / np.maximum(total, 1e-3)[..., None]
    detail = log - soft
    # lips: their redness belongs to the statistical model, their own soft shade and the painted gap do not belong here
    lips = np.clip(1.3 * masks["lips"], 0, 1)
    inner = log - blurred(log, 2.0, here.texel_mm)
    detail += lips[..., None] * (inner - detail)
    detail *= (1 - np.clip(1.3 * masks["nostrils"], 0, 1) * 0.8)[..., None]
    # a highlight painted or photographed into a texture brightens without colour
    bright = detail.min(-1)
    detail -= (np.clip(bright, 0, None) - 0.08 * np.tanh(np.clip(bright, 0, None) / 0.08))[..., None]
    detail = LIMIT * np.tanh(detail / LIMIT)
    hair = blurred(np.clip(2 * masks["scalp"], 0, 1), 4.0, here.texel_mm)
    keep = masks["face"] * np.clip(1 - 1.6 * hair, 0, 1) * (1 - masks["ears"]) * (1 - eyes_and_mouth)
    keep = blurred(keep.astype(np.float32), 1.5, here.texel_mm)
    rows, columns = box_slices(SIZE)
    return (detail * keep[..., None] * _window(here))[rows, columns]


def _calm(detail: np.ndarray, here: Layout) -> tuple[np.ndarray, float]:
    """Detail with its contrast and hue limited to what skin shows, and its standard deviation on plain skin."""
    plain = here.bare("brows", "lips", "eyelids", "nostrils", "scalp", "beard")[box_slices(SIZE)] > 0.9
    grey = detail.mean(-1, keepdims=True)
    hue = detail - grey
    hue = hue * min(1.0, HUE * grey[plain].std() / hue[plain].std())
    calm = grey + hue
    calm = calm * min(1.0, CONTRAST / calm[plain].std())
    return (LIMIT * np.tanh(calm / LIMIT)).astype(np.float32), float(calm[plain].std())


def _openings(here: Layout) -> np.ndarray:
    """(S, S) bool: between the lids and between the lips, where textures show eyes and teeth."""
    eyes = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
    mouth = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
    drawn = np.zeros((here.size, here.size), np.uint8)
    for outline in (eyes, mouth):
        points = np.round(here.landmarks[list(outline)] * here.size).astype(np.int32)
        for side in (points, np.array([here.size, 0]) + points * np.array([-1, 1])):
            cv2.fillPoly(drawn, [side.astype(np.int32)], 1)
    return cv2.dilate(drawn, np.ones((11, 15), np.uint8)) > 0


def _window(here: Layout) -> np.ndarray:
    """(S, S, 1) falls to 0 at the edges of the box."""
    v, u = (np.mgrid[0 : here.size, 0 : here.size] + 0.5) / here.size
    (top, bottom), (left, right) = BOX
    inside = np.minimum(np.minimum(v - top, bottom - v), np.minimum(u - left, right - u)) / 0.03
    return np.clip(inside, 0, 1)[..., None].astype(np.float32)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    metrics = build_detail(given.data, registry.assets_folder() / "skin_detail.safetensors")
    registry.record(
        "skin_detail",
        "skin_detail.safetensors",
        licence="CC0-1.0 AND CC-BY",
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
    main()

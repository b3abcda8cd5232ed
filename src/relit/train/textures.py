"""Lit textures of 512 x 512 beside the reflectance and the relief that they show, several lights to a subject."""

import argparse
from pathlib import Path

import numpy as np

from relit.appearance.colour import srgb_from_linear
from relit.maps.mesostructure import blur_mm
from relit.models.head import load_head_model
from relit.models.texture_inference import F0_SPAN, HIGH_SPAN_MM, MID_MM, MID_SPAN_MM, ROWS, SIZE
from relit.synth.camera import draw_shot, towards_camera
from relit.synth.geometry import pose
from relit.synth.light import draw_scene
from relit.synth.skin import maps_of
from relit.synth.split import stream
from relit.synth.subject import draw_subject
from relit.synth.uv_pair import baked_occlusion, light_texture, photographed
from relit.train.arrays import PER_FILE, as_bytes, write_arrays

HEIGHT = ROWS.stop - ROWS.start
LIGHTS = 3  # of a subject
_SHOT, _SCENE, _DEVELOP = 1000, 2000, 3000  # purposes of random numbers, plus the number of the light
RECORD = np.dtype(
    [
        ("lit", "u1", (LIGHTS, HEIGHT, SIZE, 3)),  # sRGB, as photographed
        ("visible", "u1", (LIGHTS, HEIGHT, SIZE)),
        ("albedo", "u1", (HEIGHT, SIZE, 3)),  # sRGB
        ("specular", "u1", (HEIGHT, SIZE)),  # F0, 255 is F0_SPAN
        ("mid", "u1", (HEIGHT, SIZE)),  # relief in two bands, 0 and 255 are their spans down and up
        ("high", "u1", (HEIGHT, SIZE)),
    ]
)


def record_of(seed: int, index: int, split: str) -> np.void:
    """One subject in `LIGHTS` lights, each with its own camera."""
    record = np.zeros((), RECORD)
    subject = draw_subject(seed, index, split)
    posed = pose(subject, load_head_model())
    maps = maps_of(subject, SIZE, baked_occlusion(posed, SIZE))
    for k in range(LIGHTS):
        shot = draw_shot(stream(split, seed, index, _SHOT + k))
        scene = draw_scene(split, towards_camera(shot), stream(split, seed, index, _SCENE + k))
        lit = light_texture(posed, maps, scene.lighting, shot)
        record["lit"][k] = photographed(lit, shot, stream(split, seed, index, _DEVELOP + k))[ROWS]
        record["visible"][k] = as_bytes(lit.visible)[ROWS]
    record["albedo"] = as_bytes(srgb_from_linear(maps.diffuse_albedo).numpy())[ROWS]
    record["specular"] = as_bytes(maps.specular_albedo.numpy() / F0_SPAN)[ROWS]
    relief = maps.displacement_mm.numpy()
    mid = blur_mm(relief, MID_MM)
    record["mid"] = as_bytes(0.5 + 0.5 * mid / MID_SPAN_MM)[ROWS]
    record["high"] = as_bytes(0.5 + 0.5 * (relief - mid) / HIGH_SPAN_MM)[ROWS]
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=30, help=f"of {PER_FILE} subjects in {LIGHTS} lights each")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--split", default="train")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    write_arrays(given.folder, record_of, given.files, given.seed, given.split, given.workers)


if __name__ == "__main__":
    main()

"""Lit textures beside their diffuse albedo, many lights to a subject, in arrays that training reads at random."""

import argparse
import os
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from relit.appearance.colour import srgb_from_linear
from relit.models.delighting import ROWS, SIZE
from relit.models.head import load_head_model
from relit.progress import SILENT, Progress
from relit.synth.camera import draw_shot, towards_camera
from relit.synth.geometry import pose
from relit.synth.light import draw_scene
from relit.synth.skin import maps_of
from relit.synth.split import stream
from relit.synth.subject import draw_subject
from relit.synth.uv_pair import baked_occlusion, light_texture, photographed

HEIGHT = ROWS.stop - ROWS.start
SUBJECTS, LIGHTS = 32, 4  # of a file
POSITION_ORIGIN_M, POSITION_SPAN_M = -0.2, 0.4  # what 0 and 255 stand for, head frame
_SHOT, _SCENE, _DEVELOP = 1000, 2000, 3000  # purposes of random numbers, plus the number of the light
RECORD = np.dtype(
    [
        ("lit", "u1", (LIGHTS, HEIGHT, SIZE, 3)),  # sRGB, as photographed
        ("visible", "u1", (LIGHTS, HEIGHT, SIZE)),
        ("albedo", "u1", (HEIGHT, SIZE, 3)),  # sRGB
        ("normal", "u1", (HEIGHT, SIZE, 3)),  # 127.5 + 127.5 n, head frame, without relief
        ("position", "u1", (HEIGHT, SIZE, 3)),
    ]
)


def write_pairs(folder: Path, files: int, seed: int, split: str = "train", workers: int = 1, progress: Progress = SILENT):
    """Writes `files` arrays of `SUBJECTS` records each; those that are there already stay, so that a run can go on."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(folder, k, seed, split) for k in range(files) if not _path(folder, split, k).exists()]
    with progress.stage("pairs") as step, get_context("spawn").Pool(workers) as pool:
        for done, _ in enumerate(pool.imap_unordered(_write_file, missing), files - len(missing) + 1):
            step(done, files)


def read_pairs(folder: Path, split: str = "train") -> list[np.ndarray]:
    """The finished arrays of a split, mapped, not read."""
    return [np.load(path, mmap_mode="r") for path in sorted(folder.glob(f"{split}-*.npy"))]


def _path(folder: Path, split: str, number: int) -> Path:
    return folder / f"{split}-{number:05d}.npy"


def _write_file(job: tuple[Path, int, int, str]) -> None:
    folder, number, seed, split = job
    torch.set_num_threads(1)
    records = np.zeros(SUBJECTS, RECORD)
    for k in range(SUBJECTS):
        records[k] = record_of(seed, number * SUBJECTS + k, split)
    path = _path(folder, split, number)
    partial = path.with_suffix(f".{os.getpid()}")
    with open(partial, "wb") as stream_out:
        np.save(stream_out, records)
    partial.replace(path)


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
        record["visible"][k] = _byte(lit.visible)[ROWS]
    record["albedo"] = _byte(srgb_from_linear(maps.diffuse_albedo).numpy())[ROWS]
    record["normal"] = _byte(0.5 + 0.5 * lit.normal)[ROWS]
    record["position"] = _byte((lit.position_m - POSITION_ORIGIN_M) / POSITION_SPAN_M)[ROWS]
    return record


def _byte(values: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=80, help=f"of {SUBJECTS} subjects in {LIGHTS} lights each")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--split", default="train")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    write_pairs(given.folder, given.files, given.seed, given.split, given.workers)


if __name__ == "__main__":
    main()

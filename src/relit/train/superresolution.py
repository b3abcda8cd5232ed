"""Trains the super-resolution network on patches of maps of 2048 x 2048 beside the same at 512 x 512.

    python -m relit.train.superresolution records PATCHES --files 2
    python -m relit.train.superresolution records PATCHES --files 1 --split test --seed 9
    python -m relit.train.superresolution train PATCHES RUN
"""

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from relit.appearance.colour import as_bytes, linear_from_srgb, srgb_from_linear
from relit.maps.mesostructure import blur_mm
from relit.models.delighting import DARKEST
from relit.models.head import load_head_model
from relit.models.superresolution import FACTOR, SuperResolution
from relit.models.texture_inference import F0_SPAN, HIGH_SPAN_MM, MID_MM, MID_SPAN_MM, SIZE, WINDOW
from relit.synth.geometry import pose
from relit.synth.skin import maps_of
from relit.synth.split import stream
from relit.synth.subject import draw_subject
from relit.synth.uv_pair import baked_occlusion
from relit.train.arrays import Records, write_arrays
from relit.train.command import records_or_train
from relit.train.loop import Schedule, device_of, finish, train


@dataclass(frozen=True)
class Config:
    """A named size of the network and of its training."""

    width: int
    blocks: int
    schedule: Schedule


CONFIGS = {
    "cpu": Config(32, 4, Schedule(600, 12, 8e-4, warm_up=50)),
    "gpu": Config(64, 12, Schedule(20000, 64, 4e-4)),
}
PATCH, PATCHES = 256, 24  # edge of a patch in texels of 2048 x 2048, and how many a subject gives
SUBJECTS = 8  # of a file
_WHERE = 4000  # purpose of random numbers
RECORD = np.dtype(
    [("albedo", "u1", (PATCHES, PATCH, PATCH, 3))]
    + [(name, "u1", (PATCHES, PATCH, PATCH)) for name in ("specular", "mid", "high")]
)


def record_of(seed: int, index: int, split: str) -> np.void:
    """Patches of one subject's maps, coded as in `relit.train.textures`."""
    record = np.zeros((), RECORD)
    subject = draw_subject(seed, index, split)
    posed, size = pose(subject, load_head_model()), FACTOR * SIZE
    maps = maps_of(subject, size, baked_occlusion(posed, size))
    relief = maps.displacement_mm.numpy()
    mid = blur_mm(relief, MID_MM)
    planes = {
        "albedo": as_bytes(srgb_from_linear(maps.diffuse_albedo).numpy()),
        "specular": as_bytes(maps.specular_albedo.numpy() / F0_SPAN),
        "mid": as_bytes(0.5 + 0.5 * mid / MID_SPAN_MM),
        "high": as_bytes(0.5 + 0.5 * (relief - mid) / HIGH_SPAN_MM),
    }
    rng = stream(split, seed, index, _WHERE)
    for k in range(PATCHES):
        row, column = (FACTOR * int(rng.integers(s.start, s.stop - PATCH // FACTOR)) for s in WINDOW)
        for name, plane in planes.items():
            record[name][k] = plane[row : row + PATCH, column : column + PATCH]
    return record


def maps_of_patches(planes: dict[str, Tensor]) -> Tensor:
    """(B, 6, H, W) as the network reads and says them: log albedo, and the surface in shares of its spans."""
    albedo = linear_from_srgb(planes["albedo"]).clamp_min(DARKEST).log()
    return torch.cat([albedo, planes["specular"], planes["mid"], planes["high"]], 1)


def losses_of(found: Tensor, true: Tensor) -> dict[str, Tensor]:
    """Mean absolute errors and those of gradients."""
    error = found - true
    return {"texel": error.abs().mean(), "edge": sum(error.diff(dim=axis).abs().mean() for axis in (2, 3))}


def main() -> None:
    given = records_or_train(__doc__, CONFIGS, f"{SUBJECTS} subjects, {PATCHES} patches each", files=2, seed=12)
    if given.step == "records":
        write_arrays(given.records, record_of, given.files, given.seed, given.split, given.workers, SUBJECTS)
    else:
        _train(given)


def _train(given: argparse.Namespace) -> None:
    config, device = CONFIGS[given.config], device_of(given.config)
    torch.manual_seed(0)
    records, held_out = Records(given.records, "train", device), Records(given.records, "test", device)
    network = SuperResolution(config.width, config.blocks).to(device, memory_format=torch.channels_last)
    every = records.files[0].dtype.names

    def met(network, records, generator, size):
        picks = generator.integers(len(records), size=size), generator.integers(PATCHES, size=size)
        true = maps_of_patches(records.planes(*picks, of_light=every))
        return network(avg_pool2d(true, FACTOR).contiguous(memory_format=torch.channels_last)).float(), true

    def losses(network, step):
        return losses_of(*met(network, records, np.random.default_rng([1, step]), config.schedule.batch))

    def validate(network):
        with torch.no_grad():
            found, true = met(network, held_out, np.random.default_rng(2), 48)
        plain = interpolate(avg_pool2d(true, FACTOR), scale_factor=FACTOR, mode="bicubic", align_corners=False)
        gain = lambda part: 10 * ((plain - true)[:, part].square().mean() / (found - true)[:, part].square().mean()).log10()  # noqa: E731
        parts = {"albedo": slice(0, 3), "specular": slice(3, 4), "mid": slice(4, 5), "high": slice(5, 6)}
        return {f"db_over_bicubic_{name}": float(gain(part)) for name, part in parts.items()}

    mean = train(network, losses, validate, config.schedule, given.run / "superresolution", given.minutes)
    command = f"python -m relit.train.superresolution train PATCHES RUN --config {given.config} --ship; see docs/training.md"
    path, facts = given.run / "yamaguchi_superresolution.safetensors", {"subjects": len(records)}
    finish(mean, path, given.run / "superresolution", facts, command, given.ship)


if __name__ == "__main__":
    main()

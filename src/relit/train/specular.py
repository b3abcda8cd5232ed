"""Trains the specular network of AvatarMe on faces of 1024 x 1024 texels.

    python -m relit.train.specular records RECORDS --files 6
    python -m relit.train.specular records RECORDS --files 1 --split test --seed 9
    python -m relit.train.specular train RECORDS RUN
"""

import argparse
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from relit.appearance.colour import as_bytes, linear_from_srgb, srgb_bytes
from relit.maps.infer import SKIN_F0, TAKEN, region_properties
from relit.maps.mesostructure import enlarge
from relit.models.completion import mean_of_seen
from relit.models.delighting import BRIGHTEST, DARKEST
from relit.models.specular import (
    CELL,
    CELL_PLANES,
    SHAPE,
    SIZE,
    WINDOW,
    cells_of,
    factor_of,
    new_specular,
    over_cells,
    specular_input,
)
from relit.models.texture_inference import F0_SPAN
from relit.synth.layout import layout
from relit.train.arrays import Records, write_arrays
from relit.train.command import records_or_train
from relit.train.lit_subject import lit_subject
from relit.train.loop import Schedule, device_of, finish, train


@dataclass(frozen=True)
class Config:
    """A named size of the network and of its training."""

    widths: tuple[int, ...]
    schedule: Schedule


CONFIGS = {
    "cpu": Config((48, 96), Schedule(600, 32, 5e-4, warm_up=50, decay=1e-2)),
    "gpu": Config((96, 192), Schedule(6000, 128, 4e-4, decay=1e-2)),
}
LIGHTS, PHOTOS = 2, 3  # of a subject, and in each light, of different sharpness
COARSEST = 4.0  # times as far that photos seem to be taken from, at most
LIGHT_CELLS = (16, 32, 64)  # texels: light that is finer than such cells is left in the albedo
HIDDEN, BLURRED, MISTAKEN = 0.5, 0.15, 0.1  # share of samples; standard deviations of the log contrast and of the log tone
RECORD = np.dtype(
    [
        ("lit", "u1", (LIGHTS, *SHAPE, 3)),  # sRGB, as photographed
        ("visible", "u1", (LIGHTS, *SHAPE)),
        ("albedo", "u1", (*SHAPE, 3)),  # sRGB
        ("specular", "u1", SHAPE),  # F0, 255 is F0_SPAN
    ]
)


def record_of(seed: int, index: int, split: str) -> np.void:
    """One subject in `LIGHTS` lights, each with its own camera."""
    record = np.zeros((), RECORD)
    maps, textures = lit_subject(seed, index, split, SIZE, LIGHTS)
    for k, (lit, photo) in enumerate(textures):
        record["lit"][k] = photo[WINDOW]
        record["visible"][k] = as_bytes(lit.visible)[WINDOW]
    record["albedo"] = srgb_bytes(maps.diffuse_albedo)[WINDOW]
    record["specular"] = as_bytes(maps.specular_albedo.numpy() / F0_SPAN)[WINDOW]
    return record


@dataclass(frozen=True)
class Task:
    """A batch as the network meets it, (B, C, h, w)."""

    cells: Tensor
    tone: Tensor
    true: Tensor  # specular albedo of each cell, in shares of F0_SPAN

    def __getitem__(self, chosen: Tensor) -> "Task":
        return Task(self.cells[chosen], self.tone[chosen], self.true[chosen])


def tasks_of(records: Records) -> Task:
    """All records in all their lights, photographed `PHOTOS` times."""
    found: list[tuple[Tensor, ...]] = []
    for number in range(len(records)):
        for light in range(LIGHTS):
            planes = records.planes(np.array([number]), np.array([light]))
            true, known = avg_pool2d(planes["specular"], CELL), planes["visible"]
            for photo in range(PHOTOS):
                generator = torch.Generator().manual_seed((number * LIGHTS + light) * PHOTOS + photo)
                log = seen_albedo(planes, generator)
                tone = mean_of_seen(log, known)
                found.append((cells_of(log, known, tone), tone, true))
    return Task(*(torch.cat(planes) for planes in zip(*found, strict=True)))


def seen_albedo(planes: dict[str, Tensor], generator: torch.Generator) -> Tensor:
    """(B, 3, H, W) log of the albedo that a photo leaves whose light is known but for what is fine; unsharp as photos are."""
    lit, known = planes["lit"], planes["visible"]
    farther = COARSEST ** float(torch.rand((), generator=generator))
    small = interpolate(lit, scale_factor=1 / farther, mode="bilinear", antialias=True)
    photo = _log(interpolate(small, size=lit.shape[2:], mode="bicubic", align_corners=False).clamp(0, 1))
    cell = LIGHT_CELLS[int(torch.randint(len(LIGHT_CELLS), (1,), generator=generator))]
    light = avg_pool2d((photo - _log(planes["albedo"])) * known, cell) / avg_pool2d(known, cell).clamp_min(1e-2)
    return photo - interpolate(light, size=lit.shape[2:], mode="bilinear", align_corners=False)


def _log(coded: Tensor) -> Tensor:
    return linear_from_srgb(coded).clamp(DARKEST, BRIGHTEST).log()


def spoiled(task: Task, generator: torch.Generator) -> Task:
    """The batch mirrored, with parts hidden, of other contrast and tone than it is."""
    count, _, height, width = task.cells.shape
    draw = lambda *shape: torch.rand(count, *shape, generator=generator).to(task.cells.device)  # noqa: E731
    noise = lambda *shape: torch.randn(count, *shape, generator=generator).to(task.cells.device)  # noqa: E731
    blobs = interpolate(draw(1, 4, 5), size=(height, width), mode="bicubic", align_corners=True)
    kept = ((blobs > 0.6 * draw(1, 1, 1)) | (draw(1, 1, 1) > HIDDEN)).float()
    contrast = torch.zeros(count, CELL_PLANES, 1, 1, device=task.cells.device)
    contrast[:, 3:-1] = BLURRED * noise(CELL_PLANES - 4, 1, 1)
    cells = (task.cells + contrast * (task.cells[:, -1:] > 0)) * kept
    flip = draw(1, 1, 1) < 0.5
    turned = lambda planes: torch.where(flip, planes.flip(3), planes)  # noqa: E731
    return Task(turned(cells), task.tone + MISTAKEN * noise(3, 1, 1), turned(task.true))


@lru_cache(maxsize=1)
def by_rule() -> tuple[Tensor, Tensor]:
    """Of each cell, (1, 1, h, w), the specular albedo by region in shares of F0_SPAN, and [0, 1] whether it is face."""
    here = layout(SIZE)
    gloss = enlarge(region_properties()[0], SIZE, SIZE) * (1 - TAKEN * here.masks["face"]) * SKIN_F0 / F0_SPAN
    face = here.masks["face"] * (1 - here.masks["scalp"]) * (1 - here.masks["nostrils"]) * (here.part == 0)
    planes = (torch.from_numpy(np.ascontiguousarray(plane[WINDOW])).float()[None, None] for plane in (gloss, face))
    return tuple(avg_pool2d(plane, CELL) for plane in planes)


def squares_of(network: torch.nn.Module | None, task: Task) -> Tensor:
    """(B,) mean squared error of the cells' specular albedo on the face; by rule without a network."""
    rule, face = (plane.to(task.true.device) for plane in by_rule())
    if network is not None:
        rule = rule * over_cells(factor_of(network(specular_input(task.cells, task.tone))), rule.shape[2:])
    return ((rule - task.true).square() * face).sum((1, 2, 3)) / face.sum()


def main() -> None:
    given = records_or_train(__doc__, CONFIGS, "32 subjects", files=6, seed=21)
    if given.step == "records":
        write_arrays(given.records, record_of, given.files, given.seed, given.split, given.workers)
    else:
        _train(given)


def _train(given: argparse.Namespace) -> None:
    config, device = CONFIGS[given.config], device_of(given.config)
    torch.manual_seed(0)
    records, held_out = (tasks_of(Records(given.records, split, device)) for split in ("train", "test"))
    network = new_specular(config.widths).to(device, memory_format=torch.channels_last)

    def losses(network, step):
        generator = torch.Generator().manual_seed(step)
        chosen = torch.randint(len(records.true), (config.schedule.batch,), generator=generator)
        return {"square": 1000 * squares_of(network, spoiled(records[chosen], generator)).mean()}

    def validate(network):
        db = lambda squares: float(-10 * squares.log10().mean())  # noqa: E731
        with torch.no_grad():
            return {"psnr_cells": db(squares_of(network, held_out)), "psnr_cells_by_rule": db(squares_of(None, held_out))}

    mean = train(network, losses, validate, config.schedule, given.run, given.minutes)
    command = f"python -m relit.train.specular train RECORDS RUN --config {given.config} --ship; see docs/training.md"
    facts = {"subjects": len(records.true) // (LIGHTS * PHOTOS), "lights_each": LIGHTS}
    finish(mean, given.run / "avatarme_specular.safetensors", given.run, facts, command, given.ship)


if __name__ == "__main__":
    main()

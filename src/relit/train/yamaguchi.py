"""Trains the inference and completion networks, all together, on records of `relit.train.textures`.

    python -m relit.train.textures RECORDS --files 25
    python -m relit.train.textures RECORDS --files 2 --split test --seed 9
    python -m relit.train.yamaguchi RECORDS RUN --config cpu

Each network learns from its own losses: no gradient goes from one to another. Together they read a batch once.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from relit.appearance.colour import srgb_from_linear
from relit.models.completion import Completed, new_completion
from relit.models.delighting import Delit, load_delighting
from relit.models.texture_inference import (
    ROWS,
    SIZE,
    Near,
    halved,
    near_albedo,
    near_input,
    new_near,
    read_whole,
    surface_planes,
    window_of,
)
from relit.models.unet import UNet
from relit.synth.layout import layout
from relit.train.arrays import Records
from relit.train.loop import Schedule, device_of, finish, train
from relit.train.spoil import Planes, covered, mirrored, misplaced, out_of_focus, pigmented
from relit.train.textures import LIGHTS
from relit.train.yamaguchi_losses import Task, coded, completion_losses, diffuse_losses, surface_losses, task_of


@dataclass(frozen=True)
class Config:
    """A named size of the networks and of their training."""

    near: tuple[int, ...]
    completion: tuple[int, ...]
    schedule: Schedule


CONFIGS = {
    "cpu": Config((48, 96, 144), (48, 96, 128), Schedule(600, 4, 8e-4, warm_up=30)),
    "gpu": Config((96, 192, 288), (96, 192, 256), Schedule(15000, 32, 4e-4, warm_up=500)),
}
PARTS = ("diffuse", "surface")  # the two pipelines
NAMES = (*PARTS, *(f"completion_{part}" for part in PARTS))
MOVING = ("lit", "visible", "bare", "albedo", "specular", "mid", "high")
FAR = (2, 3, 5)  # times as far that photos without focus seem to be taken from
BESIDE = 0.3  # weight of what lies around the face, whose maps are not taken from completion


class Textures(Records):
    """Batches of lit textures."""

    def batch(self, numbers: np.ndarray, lights: np.ndarray) -> Planes:
        """Records by their running number, each in one of its lights."""
        planes = self.planes(numbers, lights)
        skin = torch.from_numpy(layout(SIZE).part[ROWS] == 0).to(self.device).float()
        return planes | {"inside": skin.expand(len(numbers), 1, -1, -1), "bare": torch.ones_like(planes["visible"])}

    def random(self, size: int, step: int) -> Planes:
        generator = np.random.default_rng([1, step])
        return self.batch(generator.integers(len(self), size=size), generator.integers(LIGHTS, size=size))


def spoiled(planes: Planes, generator: torch.Generator) -> Planes:
    """The batch as real photos spoil it; what is seen and what is true move together against the layout."""
    planes = covered(mirrored(pigmented(planes, generator), generator), generator)
    moving = tuple(name for name in MOVING if name in planes)
    return out_of_focus(misplaced(planes, moving, generator), generator, FAR)


def new_networks(config: Config) -> nn.ModuleDict:
    """The untrained networks by the names of their files."""
    return nn.ModuleDict(
        {
            "diffuse": new_near("diffuse", config.near),
            "surface": new_near("surface", config.near),
            "completion_diffuse": new_completion(config.completion, config.completion),
            "completion_surface": new_completion(config.completion, config.completion),
        }
    )


@dataclass(frozen=True)
class Said:
    """What the networks say of a batch."""

    first: Delit
    near: Near
    surface: Tensor | None
    tasks: dict[str, Task]
    completed: dict[str, Completed]


def said_by(networks: nn.ModuleDict, first: UNet, planes: Planes, parts: tuple[str, ...] = PARTS) -> Said:
    """What the networks of some pipelines make of a batch, each of what those before it made."""
    lit, visible = planes["lit"], planes["visible"]
    with torch.no_grad():
        whole, delit = read_whole(first, halved(lit), halved(visible))
    read = near_input(lit, visible, whole)
    out = {part: networks[part](read).float() for part in {"diffuse", *parts}}
    with torch.autocast(lit.device.type, enabled=False):
        near = near_albedo(out["diffuse"], lit, whole)
        surface = surface_planes(out["surface"]) if "surface" in parts else None
        with torch.no_grad():
            tasks = {part: task_of(part, near, planes, surface) for part in parts}
    completed = {part: networks[f"completion_{part}"](task.seen, task.known) for part, task in tasks.items()}
    return Said(delit, near, surface, tasks, completed)


def losses_of(said: Said, planes: Planes, face: Tensor) -> dict[str, Tensor]:
    """All losses by network and name."""
    parts = {"diffuse": diffuse_losses(said.near, planes)}
    if said.surface is not None:
        parts["surface"] = surface_losses(said.surface, planes)
    parts |= {f"completion_{p}": completion_losses(p, said.completed[p], task, face) for p, task in said.tasks.items()}
    terms = {f"{part}.{name}": value for part, losses in parts.items() for name, value in losses.items()}
    return {name: value for name, value in terms.items() if value.requires_grad}


def face_weight(device: torch.device) -> Tensor:
    """(1, 1, h, w) weight of each texel of the window in completion."""
    here = layout(SIZE)
    face = here.masks["face"] * (1 - here.masks["scalp"])
    whole = (BESIDE + (1 - BESIDE) * face) * (here.part == 0)
    return window_of(torch.from_numpy(whole[ROWS]).float()[None, None]).to(device)


def psnr_db(said: Said, planes: Planes, face: Tensor) -> dict[str, Tensor]:
    """Peak signal-to-noise ratio of each sample on the face, of what is seen and of what is completed."""
    seen, here = window_of(planes["visible"]), {name: window_of(plane) for name, plane in planes.items()}
    first = (srgb_from_linear(said.first.albedo) - halved(planes["albedo"])).square()
    squares = {"first": torch.nn.functional.interpolate(window_of(first), scale_factor=2)}
    squares["albedo"] = (srgb_from_linear(said.near.albedo) - here["albedo"]).square()
    unseen = {}
    if "diffuse" in said.tasks:
        made = coded("diffuse", said.completed["diffuse"].fine, said.tasks["diffuse"].tone)
        unseen["albedo"] = (made - here["albedo"]).square()
    for k, name in enumerate(("specular", "mid", "high") if "surface" in said.tasks else ()):
        squares[name] = (said.surface[:, k : k + 1] - here[name]).square()
        unseen[name] = (said.completed["surface"].fine - said.tasks["surface"].true)[:, k : k + 1].square()
    result = {}
    for share, parts, word in ((seen, squares, ""), (1 - seen, unseen, "_unseen")):
        mask = share * (face > 0.9)
        for name, square in parts.items():
            error = (square.mean(1, keepdim=True) * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1)
            result[f"psnr_{name}{word}"] = -10 * error.clamp_min(1e-9).log10()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("run", type=Path, help="folder of checkpoints and of the results")
    parser.add_argument("--config", choices=CONFIGS, default="cpu")
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--start", type=Path, help="folder with weights of an earlier run to begin with")
    parser.add_argument("--learn", nargs="+", choices=NAMES, default=NAMES, help="which networks; the others stay as they are")
    parser.add_argument("--ship", action="store_true", help="put the results, with their cards, among the package's assets")
    given = parser.parse_args()
    config, device = CONFIGS[given.config], device_of(given.config)
    torch.manual_seed(0)
    learn, held_out = (Textures(given.records, split, device) for split in ("train", "test"))
    networks = new_networks(config)
    for path in sorted(given.start.glob("yamaguchi_*.safetensors")) if given.start else ():
        name = path.stem.removeprefix("yamaguchi_")
        if name in networks:
            networks[name].load_state_dict({k: v.float() for k, v in load_file(path).items()})
    parts = tuple(part for part in PARTS if any(name.endswith(part) for name in given.learn))
    for name in set(NAMES) - set(given.learn):
        networks[name].requires_grad_(False)
    networks, face = networks.to(device, memory_format=torch.channels_last), face_weight(device)
    first = load_delighting().to(device)

    def losses(networks, step):
        if step % 100 == 0:
            learn.refresh()
        planes = spoiled(learn.random(config.schedule.batch, step), torch.Generator().manual_seed(step))
        return losses_of(said_by(networks, first, planes, parts), planes, face)

    def validate(networks, count=48):
        figures = []
        for start in range(0, count, 4):
            planes = held_out.batch(np.arange(start, start + 4) % len(held_out), np.arange(4) % LIGHTS)
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
                figures.append(psnr_db(said_by(networks, first, planes, parts), planes, face))
        return {name: float(torch.cat([f[name] for f in figures]).mean()) for name in figures[0]}

    mean = train(networks, losses, validate, config.schedule, given.run, given.minutes)
    command = f"python -m relit.train.yamaguchi RECORDS RUN --config {given.config} --ship; see docs/training.md"
    for name in given.learn:
        path, facts = given.run / f"yamaguchi_{name}.safetensors", {"subjects": len(learn), "lights_each": LIGHTS}
        finish(mean[name], path, given.run, facts, command, given.ship)


if __name__ == "__main__":
    main()

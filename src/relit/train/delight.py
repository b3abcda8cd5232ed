"""Trains the de-lighting network on pairs of `relit.train.pairs`.

    python -m relit.train.pairs PAIRS --files 44 && python -m relit.train.pairs PAIRS --files 3 --split test --seed 9
    python -m relit.train.delight PAIRS RUN --config cpu
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import avg_pool2d

from relit.appearance.colour import srgb_from_linear
from relit.models.delighting import Delit, delighting_input, delit, new_delighting
from relit.train.arrays import Records
from relit.train.loop import Schedule, device_of, finish, train
from relit.train.pairs import LIGHTS, POSITION_ORIGIN_M, POSITION_SPAN_M
from relit.train.spoil import covered, mirrored, misplaced, out_of_focus, pigmented


@dataclass(frozen=True)
class Config:
    """A named size of the network and of its training."""

    widths: tuple[int, ...]
    schedule: Schedule


CONFIGS = {
    "cpu": Config((48, 96, 160, 224), Schedule(steps=2200, batch=8, rate=5e-4)),
    "gpu": Config((96, 192, 320, 448), Schedule(steps=40000, batch=64, rate=4e-4, warm_up=500)),
}
UNSEEN_WEIGHT = 0.15  # of texels that the camera does not see


class Pairs(Records):
    """Batches of pairs."""

    def batch(self, numbers: np.ndarray, lights: np.ndarray) -> dict[str, Tensor]:
        """Records by their running number, each in one of its lights."""
        planes = self.planes(numbers, lights)
        inside = (planes["normal"] - 0.5).abs().amax(1, keepdim=True) > 0.01
        planes["normal"] = (planes["normal"] * 2 - 1) * inside
        planes["position"] = (planes["position"] * POSITION_SPAN_M + POSITION_ORIGIN_M) * inside
        return planes | {"inside": inside.float(), "bare": torch.ones_like(planes["visible"])}

    def random(self, size: int, generator: np.random.Generator) -> dict[str, Tensor]:
        return self.batch(generator.integers(len(self), size=size), generator.integers(LIGHTS, size=size))


def spoiled(planes: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """The batch as real photos spoil it, with the geometry misplaced by millimetres."""
    planes = mirrored(pigmented(planes, generator), generator, across=("normal", "position"))
    planes = misplaced(planes, ("normal", "position"), generator)
    return out_of_focus(covered(planes, generator), generator, (3,))


def losses_of(network: torch.nn.Module, planes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mean absolute errors of the coded albedo: each texel, its surroundings, its gradients, and the network's own.

    Beside them the cross-entropy of what lies before the skin, which the augmentation knows.
    """
    return delit_losses(predicted(network, planes), planes)


def delit_losses(found: Delit, planes: dict[str, Tensor]) -> dict[str, Tensor]:
    """`losses_of` of what a network said."""
    weight = planes["inside"] * (UNSEEN_WEIGHT + (1 - UNSEEN_WEIGHT) * planes["visible"])
    share = weight.mean().clamp_min(0.05)
    error = (srgb_from_linear(found.albedo) - planes["albedo"]) * weight
    own = (srgb_from_linear(found.own) - planes["albedo"]) * weight
    edges = [error.diff(dim=axis).abs().mean() for axis in (2, 3)]
    return {
        "texel": error.abs().mean() / share,
        "tone": 0.7 * avg_pool2d(error, 16).abs().mean() / share,
        "edge": 0.7 * sum(edges) / share,
        "own": 0.3 * own.abs().mean() / share,
        "bare": 0.05 * cross_entropy(found.bare, planes["bare"], planes["visible"]),
    }


def cross_entropy(found: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """Mean of -log of the probability that was given to what is true."""
    found = found.clamp(1e-4, 1 - 1e-4)
    terms = true * found.log() + (1 - true) * (1 - found).log()
    return -(terms * weight).sum() / weight.sum().clamp_min(1)


def predicted(network: torch.nn.Module, planes: dict[str, Tensor]) -> Delit:
    """What the network makes of a batch."""
    seen = planes["lit"], planes["visible"]
    read = delighting_input(*seen, planes["normal"], planes["position"]).contiguous(memory_format=torch.channels_last)
    out = network(read).float()
    with torch.autocast(out.device.type, enabled=False):
        return delit(out, *seen)


def psnr_db(network: torch.nn.Module, pairs: Pairs, count: int = 96) -> dict[str, float]:
    """Peak signal-to-noise ratio of the coded albedo of held-out subjects, mean of the samples, seen and unseen."""
    figures: dict[str, list[Tensor]] = {"seen": [], "unseen": []}
    for first in range(0, count, 8):
        planes = pairs.batch(np.arange(first, first + 8), np.arange(8) % LIGHTS)
        with torch.no_grad(), torch.autocast(pairs.device.type, torch.bfloat16):
            squared = (srgb_from_linear(predicted(network, planes).albedo) - planes["albedo"]).square().mean(1, keepdim=True)
        for name, share in (("seen", planes["visible"]), ("unseen", 1 - planes["visible"])):
            mask = share * planes["inside"]
            error = (squared * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1)
            figures[name].append(-10 * error.log10())
    return {f"psnr_{name}": float(torch.cat(values).mean()) for name, values in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("run", type=Path, help="folder of checkpoints and of the result")
    parser.add_argument("--config", choices=CONFIGS, default="cpu")
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--start", type=Path, help="weights of an earlier run to begin with")
    parser.add_argument("--ship", action="store_true", help="put the result, with its card, among the package's assets")
    given = parser.parse_args()
    config = CONFIGS[given.config]
    device = device_of(given.config)
    torch.manual_seed(0)
    learn, held_out = Pairs(given.pairs, "train", device), Pairs(given.pairs, "test", device)
    network = new_delighting(config.widths)
    if given.start:
        network.load_state_dict({name: value.float() for name, value in load_file(given.start).items()})
    network = network.to(device, memory_format=torch.channels_last)

    def losses(network, step):
        if step % 250 == 0:
            learn.refresh()
        planes = learn.random(config.schedule.batch, np.random.default_rng([1, step]))
        return losses_of(network, spoiled(planes, torch.Generator().manual_seed(step)))

    mean = train(network, losses, lambda m: psnr_db(m, held_out), config.schedule, given.run, given.minutes)
    command = f"python -m relit.train.delight PAIRS RUN --config {given.config} --ship; see docs/training.md"
    facts = {"subjects": len(learn), "lights_each": LIGHTS}
    finish(mean, given.run / "delighting.safetensors", given.run, facts, command, given.ship)


if __name__ == "__main__":
    main()

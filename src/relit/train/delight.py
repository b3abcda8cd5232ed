"""Trains the de-lighting network on pairs of `relit.train.pairs`.

    python -m relit.train.pairs PAIRS --files 80 && python -m relit.train.pairs PAIRS --files 3 --split test --seed 9
    python -m relit.train.delight PAIRS RUN --config cpu
"""

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from relit.appearance.colour import linear_from_srgb, srgb_from_linear
from relit.models import registry
from relit.models.delighting import Delit, delighting_input, delit, new_delighting
from relit.train.loop import Schedule, train
from relit.train.pairs import LIGHTS, POSITION_ORIGIN_M, POSITION_SPAN_M, read_pairs


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
PIGMENT, PIGMENT_CELLS = 0.35, (6, 12, 24, 48)  # log albedo at most, and the cells of its noise across the layout
HIDDEN, LOW_RESOLUTION, MISPLACED = 0.6, 0.35, 0.7  # shares of the samples


class Pairs:
    """Batches from the arrays in a folder; files that appear while training are taken up."""

    def __init__(self, folder: Path, split: str, device: torch.device):
        self.folder, self.split, self.device = folder, split, device
        self.refresh()

    def refresh(self) -> None:
        self.files = read_pairs(self.folder, self.split)
        if not self.files:
            raise SystemExit(f"there are no pairs of the split {self.split!r} in {self.folder}; make them first")

    def batch(self, numbers: np.ndarray, lights: np.ndarray) -> dict[str, Tensor]:
        """Records by their running number, each in one of its lights."""
        per_file = len(self.files[0])
        chosen = [self.files[n // per_file][n % per_file] for n in numbers]
        fields = {name: np.stack([r[name] for r in chosen]) for name in ("albedo", "normal", "position")}
        for name in ("lit", "visible"):
            fields[name] = np.stack([r[name][k] for r, k in zip(chosen, lights, strict=True)])
        planes = {name: self._planes(value) for name, value in fields.items()}
        inside = (planes["normal"] - 0.5).abs().amax(1, keepdim=True) > 0.01
        planes["normal"] = (planes["normal"] * 2 - 1) * inside
        planes["position"] = (planes["position"] * POSITION_SPAN_M + POSITION_ORIGIN_M) * inside
        return planes | {"inside": inside.float(), "bare": torch.ones_like(planes["visible"])}

    def random(self, size: int, generator: np.random.Generator) -> dict[str, Tensor]:
        total = len(self.files) * len(self.files[0])
        return self.batch(generator.integers(total, size=size), generator.integers(LIGHTS, size=size))

    def _planes(self, values: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(values).to(self.device).float() / 255
        return tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()


def pigmented(planes: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """The batch with random pigment in skin and photo alike: people differ more than the skins we have.

    Light falls on pigment as on any skin, so both change by one factor, whatever their exposure. Without this a network
    takes for light whatever it has not seen on a skin: a beard, a blush, lips of another colour.
    """
    count, _, height, width = planes["lit"].shape
    device = planes["lit"].device
    total = torch.zeros(count, 3, height, width, device=device)
    for cells in PIGMENT_CELLS:
        shape = round(cells * height / width), cells
        grey, hue = (torch.randn(count, c, *shape, generator=generator).to(device) for c in (1, 3))
        strength = PIGMENT * torch.rand(count, 1, 1, 1, generator=generator).to(device) ** 2
        total += strength * interpolate(grey + 0.4 * hue, size=(height, width), mode="bicubic", align_corners=False)
    factor = (total * planes["inside"]).clamp(-0.9, 0.9).exp()
    changed = lambda coded: srgb_from_linear((linear_from_srgb(coded) * factor).clamp(0, 1))  # noqa: E731
    return planes | {"lit": changed(planes["lit"]), "albedo": changed(planes["albedo"])}


def augmented(planes: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """The batch as real photos spoil it: mirrored, geometry misplaced by millimetres, hidden in parts, out of focus."""
    planes = pigmented(planes, generator)
    count, _, height, width = planes["lit"].shape
    device = planes["lit"].device
    draw = lambda *shape: torch.rand(*shape, generator=generator).to(device)  # noqa: E731
    pick = lambda share: (draw(count, 1, 1, 1) < share).float()  # noqa: E731
    flip, one = pick(0.5), torch.tensor([-1.0, 1.0, 1.0], device=device)[:, None, None]
    mirrored = {name: plane.flip(3) * (one if name in ("normal", "position") else 1) for name, plane in planes.items()}
    planes = {name: flip * mirrored[name] + (1 - flip) * plane for name, plane in planes.items()}
    bend = (draw(count, 2, 5, 6) - 0.5) * 10 / torch.tensor([width, height], device=device)[:, None, None]
    bend = interpolate(bend * pick(MISPLACED), size=(height, width), mode="bicubic", align_corners=True)
    base = torch.nn.functional.affine_grid(torch.eye(2, 3, device=device)[None], (1, 1, height, width), align_corners=False)
    moved = grid_sample(
        torch.cat([planes["normal"], planes["position"]], 1), base + bend.permute(0, 2, 3, 1), align_corners=False
    )
    # What covers the face has a soft rim and reaches beyond its mask, or falls short of it.
    blobs = interpolate(draw(count, 1, 7, 9), size=(height, width), mode="bicubic", align_corners=True)
    edge = 0.95 - 0.45 * draw(count, 1, 1, 1)
    slope = 4 + 40 * draw(count, 1, 1, 1)
    covered = pick(HIDDEN) * ((blobs - edge) * slope + 0.5).clamp(0, 1)
    masked = pick(HIDDEN) * ((blobs - edge + 0.06 * draw(count, 1, 1, 1)) * slope + 0.5).clamp(0, 1)
    hidden = torch.maximum(masked, (covered * 2 - 1).clamp_min(0))
    patches = interpolate(draw(count, 1, height // 16, width // 16), size=(height, width))
    cover = (draw(count, 3, 1, 1) * (0.5 + patches)).clamp(0, 1)
    lit = planes["lit"] + covered * (cover - planes["lit"])
    small = interpolate(lit, scale_factor=1 / 3, mode="area")
    coarse = interpolate(small, size=(height, width), mode="bicubic", align_corners=False).clamp(0, 1)
    low = pick(LOW_RESOLUTION)
    return planes | {
        "normal": moved[:, :3],
        "position": moved[:, 3:],
        "visible": planes["visible"] * (1 - hidden),
        "bare": 1 - covered,
        "lit": low * coarse + (1 - low) * lit,
    }


def losses_of(network: torch.nn.Module, planes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mean absolute errors of the coded albedo: each texel, its surroundings, its gradients, and the network's own.

    Beside them the cross-entropy of what lies before the skin, which the augmentation knows.
    """
    found = predicted(network, planes)
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
        "bare": 0.05 * _cross_entropy(found.bare, planes["bare"], planes["visible"]),
    }


def _cross_entropy(found: Tensor, true: Tensor, weight: Tensor) -> Tensor:
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
    device = torch.device("cuda" if given.config == "gpu" and torch.cuda.is_available() else "cpu")
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
        return losses_of(network, augmented(planes, torch.Generator().manual_seed(step)))

    mean = train(network, losses, lambda m: psnr_db(m, held_out), config.schedule, given.run, given.minutes)
    path = given.run / "delighting.safetensors"
    save_file(
        {name: value.half().cpu().contiguous() for name, value in mean.state_dict().items()},
        path,
        metadata={"widths": ",".join(map(str, config.widths))},
    )
    if given.ship:
        shutil.copyfile(path, registry.assets_folder() / path.name)
        last = json.loads((given.run / "log.jsonl").read_text().splitlines()[-1])
        registry.record(
            "delighting",
            path.name,
            licence="Apache-2.0",
            sources=["relit synth, split train (sources of the assets head, skin, skin_detail, scenes)"],
            command=f"python -m relit.train.delight PAIRS RUN --config {given.config} --ship; see docs/training.md",
            metrics={"subjects": len(learn.files) * len(learn.files[0]), "lights_each": LIGHTS, **last},
        )


if __name__ == "__main__":
    main()

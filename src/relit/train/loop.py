"""The training loop of every network: bfloat16 where it helps, a running mean of the weights, resumable in slices."""

import copy
import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from relit.models import registry

SOURCES = ("relit synth, split train (sources of the assets head, skin, skin_detail, skin_portraits, scenes)",)
KEEP_EVERY = 500  # steps between checkpoints, at most: the eighth part of a short training
EMA_HALF_LIFE = 400  # steps, at most: the tenth part of a short training
LARGEST_FILE = 15 << 20  # bytes: a checkpoint is split into files no larger


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network learns."""

    steps: int
    batch: int
    rate: float
    warm_up: int = 200
    betas: tuple[float, float] = (0.9, 0.98)  # of the means of gradients and of their squares
    decay: float = 1e-3  # of the weights
    bound: float = 1.0  # of the gradients' norm


def train(
    network: nn.Module,
    losses: Callable[[nn.Module, int], dict[str, Tensor]],
    validate: Callable[[nn.Module], dict[str, float]],
    schedule: Schedule,
    folder: Path,
    minutes: float,
) -> nn.Module:
    """The running mean of the network's weights after training on from the last checkpoint in `folder`.

    Args:
        losses: from the network and the step number (which seeds the batch) to weighted terms, summed here.
        validate: called on the running mean at every checkpoint; its figures go to `folder/log.jsonl`.
        minutes: stop after this time with a checkpoint, so that the next call goes on.

    Source: AdamW (Loshchilov & Hutter 2019), cosine rate, exponential moving average of the weights.
    """
    end = time.monotonic() + 60 * minutes
    device = next(network.parameters()).device
    mean = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), schedule.rate, betas=schedule.betas, weight_decay=schedule.decay)
    step = _restore(network, mean, optimiser, folder)
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, float] = {}
    keep_every, half_life = min(KEEP_EVERY, -(-schedule.steps // 8)), min(EMA_HALF_LIFE, max(1, schedule.steps // 10))
    while step < schedule.steps and time.monotonic() < end:
        rate = schedule.rate * _factor(step, schedule)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16):
            terms = losses(network, step)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), schedule.bound)
        if torch.isfinite(norm):  # a batch that overflows teaches nothing
            optimiser.step()
        step += 1
        decay = min(0.5 ** (1 / half_life), step / (step + 10))
        with torch.no_grad():
            for kept, new in zip(mean.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        for name, value in {name: term.item() for name, term in terms.items()}.items():
            told[name] = 0.98 * told.get(name, value) + 0.02 * value
        if step % keep_every == 0 or step == schedule.steps:
            _keep(network, mean, optimiser, step, folder)
            _log(folder, {"step": step, "rate": rate, **told, **validate(mean)})
    _keep(network, mean, optimiser, step, folder)
    return mean


def device_of(config: str) -> torch.device:
    """Where a named configuration is trained."""
    return torch.device("cuda" if config == "gpu" and torch.cuda.is_available() else "cpu")


def finish(mean: nn.Module, path: Path, folder: Path, facts: dict, command: str, ship: bool) -> None:
    """Writes the weights in half precision and, to `ship` them, copies them among the package's assets with a card.

    Args:
        path: of the file; its stem is the name of the asset.
        folder: whose `log.jsonl` ends with the figures for the card.
        facts: further figures.
    """
    save_file({name: value.half().cpu().contiguous() for name, value in mean.state_dict().items()}, path)
    if ship:
        shutil.copyfile(path, registry.assets_folder() / path.name)
        last = json.loads((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        facts = {"licence": "Apache-2.0", "sources": list(SOURCES), "command": command, "metrics": {**facts, **last}}
        registry.record(path.stem, path.name, **facts)


def _factor(step: int, schedule: Schedule) -> float:
    return min(1.0, (step + 1) / schedule.warm_up) * 0.5 * (1 + math.cos(math.pi * step / schedule.steps)) + 1e-3


def _log(folder: Path, figures: dict) -> None:
    line = json.dumps({name: round(value, 6) for name, value in figures.items()})
    print(line, flush=True)
    with open(folder / "log.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")


def _keep(network: nn.Module, mean: nn.Module, optimiser: torch.optim.Optimizer, step: int, folder: Path) -> None:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"mean.{name}": value for name, value in mean.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors["step"] = torch.tensor(step)
    save_shards(tensors, folder / "checkpoint")


def save_shards(tensors: dict[str, Tensor], stem: Path) -> None:
    """Writes tensors to `stem`-0.safetensors, -1 and so on, none larger than LARGEST_FILE."""
    parts: list[dict[str, Tensor]] = [{}]
    for name, value in tensors.items():
        if sum(v.nbytes for v in parts[-1].values()) + value.nbytes > LARGEST_FILE:
            parts.append({})
        parts[-1][name] = value.detach().cpu().contiguous()
    for number, part in enumerate(parts):
        partial = stem.with_name(f"{stem.name}-{number}.partial")
        save_file(part, partial)
        partial.replace(partial.with_suffix(".safetensors"))


def load_shards(stem: Path) -> dict[str, Tensor]:
    """The tensors of `save_shards`; none where there are no files."""
    paths = sorted(stem.parent.glob(f"{stem.name}-*.safetensors"))
    return {name: value for path in paths for name, value in load_file(path).items()}


def _restore(network: nn.Module, mean: nn.Module, optimiser: torch.optim.Optimizer, folder: Path) -> int:
    tensors = load_shards(folder / "checkpoint")
    if not tensors:
        return 0
    of = lambda prefix: {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}  # noqa: E731
    network.load_state_dict(of("network."))
    mean.load_state_dict(of("mean."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in of("optimiser.").items():
        index, field = name.split(".", 1)
        state.setdefault(int(index), {})[field] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    return int(tensors["step"])

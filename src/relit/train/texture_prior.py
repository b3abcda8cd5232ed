"""Trains a texture prior on maps of `relit.train.prior_maps`.

    python -m relit.train.prior_maps MAPS --files 64 --workers 2
    python -m relit.train.prior_maps MAPS --files 4 --split test --seed 9
    python -m relit.train.texture_prior MAPS RUN --prior fitme --config cpu       # goes on where it was stopped
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from relit.models.texture_discriminator import TextureDiscriminator
from relit.models.texture_prior import PRIORS, Mapping, PriorShape, Statistics, TexturePrior
from relit.train.adversarial import (
    adapted,
    draw_augmentation,
    fooling_loss,
    frozen,
    gradient_penalty,
    path_penalty,
    telling_loss,
)
from relit.train.linear import known_latents, statistics_of
from relit.train.loop import Schedule, device_of, load_shards, save_shards, train
from relit.train.prior_maps import PriorMaps, face_weight


@dataclass(frozen=True)
class Config:
    """A named size of a prior, of its critic and of the training."""

    latent: int
    trunk: tuple[int, ...]
    fine: dict[str, tuple[int, ...]]  # by prior: one branch can be wider than each of three
    judges: tuple[int, int, int]
    schedules: dict[str, Schedule]  # by prior
    adapt_pictures: int  # that move the augmentation from never to always
    path_every: int = 0  # steps between penalties on path lengths; 0 is none

    def shape(self, kind: str, latent: int) -> PriorShape:
        """Of a prior whose maps have `latent` principal components."""
        return PriorShape(PRIORS[kind], latent, self.trunk, self.fine[kind])


def _schedule(steps: int, batch: int) -> Schedule:
    # no momentum, as always against a critic; the penalties keep critics smooth, so that gradients need no bound
    return Schedule(steps, batch, 2e-3, warm_up=50, betas=(0.0, 0.99), decay=0.0, bound=1e4)


CONFIGS = {
    "cpu": Config(
        256, (128, 128, 128, 96), {"ganfit": (64, 32), "fitme": (32, 16)}, (32, 64, 96),
        {"ganfit": _schedule(2400, 2), "fitme": _schedule(1800, 2)}, 100_000,
    ),
    "gpu": Config(
        256, (384, 384, 384, 256, 128), {"ganfit": (64, 32), "fitme": (48, 24)}, (64, 128, 192),
        {"ganfit": _schedule(6000, 32), "fitme": _schedule(6000, 32)}, 300_000, path_every=8,
    ),
}  # fmt: skip
PENALTY_EVERY, PENALTY = 16, 0.5  # steps between penalties on the critics' gradients
MAPPING_STEPS, MAPPING_BATCH, MAPPING_RATE = 600, 128, 2e-3
LATENT_NOISE = 0.3  # standard deviation of what is added to latents whose likelihood is learned: they are few
JITTER = 16  # texels that pictures are moved by before the critic sees them
TEXEL, TONE, FOOLING, PATH = 30.0, 10.0, 1.0, 0.01  # weights of the terms; that of the others is 1
HELD_OUT = 16  # subjects


class Players(nn.Module):
    """A prior and its critic, with what the training remembers between steps."""

    def __init__(self, shape: PriorShape, statistics: Statistics, judges: tuple[int, int, int]):
        super().__init__()
        self.prior = TexturePrior(shape, statistics)
        self.judge = TextureDiscriminator(shape, judges)
        self.register_buffer("augmented", torch.zeros(()))  # probability of each augmentation
        self.register_buffer("path", torch.zeros(()))  # running mean of path lengths


def losses_of(players: Players, codes: Tensor, latents: Tensor, step: int, config: Config) -> dict[str, Tensor]:
    """Terms for all players, each of which teaches one of them: one sum, one step for all.

    The first half of the batch is reconstructed, without noise, so that texels teach what latents tell and nothing else; the
    second half is shown to the critic, beside as many textures that are drawn, with noise: half from the mapping, half from
    the latents of real people. All judge each other as they were before the step.

    Args:
        codes: (B, C, H, W) coded maps in [0, 1].
        latents: (at least B / 2, D) of people.
    """
    device, half = codes.device, len(codes) // 2
    drawn = torch.Generator(device).manual_seed(step)
    normal = lambda n: torch.randn(n, players.prior.shape.latent, generator=drawn, device=device)  # noqa: E731
    prior, judge = players.prior, players.judge
    rebuilt_of, real = prior.deviation(codes).split((half, len(codes) - half))
    error = prior(prior.encode(rebuilt_of)) - rebuilt_of
    people = (half + step % 2) // 2
    w = torch.cat([latents[:people], prior.mapping(normal(half - people))]).detach()
    made = prior(w, drawn)

    chance = torch.Generator().manual_seed(step)
    probability = float(players.augmented)
    augment, augment_made = (draw_augmentation(len(x), x.shape[1], probability, chance) for x in (real, made))
    # moved: else what is made follows the grid of the critic's patches
    jitter = torch.randint(JITTER, (2,), generator=chance).tolist()
    shown, pretended = (change(x).roll(jitter, (2, 3)) for change, x in ((augment, real), (augment_made, made)))
    of_real, of_made = judge(shown), judge(pretended.detach())
    with frozen(judge):
        fooled = judge(pretended)
    players.augmented.copy_(adapted(players.augmented, of_real["joint"], config.adapt_pictures))

    terms = {
        "texel": TEXEL * error.abs().mean(),
        "tone": TONE * avg_pool2d(error, 16).abs().mean(),
        "fooling": FOOLING * fooling_loss(fooled),
        "telling": telling_loss(of_real, of_made),
    }
    if step % PENALTY_EVERY == 0:
        terms["smooth"] = PENALTY * PENALTY_EVERY * gradient_penalty(judge, shown)
    if config.path_every and step % config.path_every == 0:
        paths = path_penalty(prior, w[: max(1, half // 4)], players.path, drawn)
        terms["path"] = PATH * config.path_every * paths
    return terms


def fit_mapping(mapping: Mapping, latents: Tensor) -> None:
    """Teaches an untrained mapping how likely latents (N, D) are: seconds, before all else.

    Trained along with the generator, against the critic, it drew latents three times as long as any of the people's.
    """
    optimiser = torch.optim.Adam(mapping.parameters(), MAPPING_RATE, betas=(0.9, 0.99))
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, MAPPING_STEPS)
    chance = torch.Generator().manual_seed(0)
    for _ in range(MAPPING_STEPS):
        some = latents[torch.randint(len(latents), (MAPPING_BATCH,), generator=chance)]
        spread = some + LATENT_NOISE * torch.randn(some.shape, generator=chance).to(some)
        optimiser.zero_grad()
        (mapping.normal(spread)[1].mean() / latents.shape[1]).backward()
        optimiser.step()
        rate.step()


def reconstruction_db(prior: TexturePrior, maps: PriorMaps, numbers: np.ndarray) -> dict[str, float]:
    """Peak signal-to-noise ratio of coded maps of the face against what latents of the encoder give, by branch."""
    errors, weight = [], face_weight(maps.rows).to(maps.device)
    for first in range(0, len(numbers), 4):
        codes = maps.codes(numbers[first : first + 4], np.zeros(4, int)[: len(numbers) - first])
        with torch.no_grad():
            found = prior.codes(prior(prior.encode(prior.deviation(codes))))
        errors.append(((found - codes).square() * weight).sum((2, 3)) / weight.sum())
    parts = torch.cat(errors).split(prior.shape.channels, 1)
    return {name: float(-10 * part.mean(1).log10().mean()) for name, part in zip(maps.branches, parts, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", type=Path)
    parser.add_argument("run", type=Path, help="folder of checkpoints and of the result")
    parser.add_argument("--prior", choices=PRIORS, required=True)
    parser.add_argument("--config", choices=CONFIGS, default="cpu")
    parser.add_argument("--minutes", type=float, default=1e6)
    given = parser.parse_args()
    config = CONFIGS[given.config]
    schedule, device = config.schedules[given.prior], device_of(given.config)
    torch.manual_seed(0)
    learn, held_out = (PriorMaps(given.maps, split, PRIORS[given.prior], device) for split in ("train", "test"))
    players = new_players(learn, given.prior, config, given.run).to(device, memory_format=torch.channels_last)

    known = known_latents(players.prior, learn)
    fit_mapping(players.prior.mapping, known.flatten(0, 2))

    def losses(players, step):
        chance = np.random.default_rng([1, step])
        codes = learn.random(schedule.batch, chance)
        numbers, lights, flips = learn.draw(schedule.batch // 2, chance)
        latents = known[numbers, lights % known.shape[1], flips.astype(int)]
        return losses_of(players, codes, latents, step, config)

    def validate(players):
        figures = reconstruction_db(players.prior, held_out, np.arange(min(HELD_OUT, len(held_out))))
        return {f"psnr_{name}": value for name, value in figures.items()}

    prior = train(players, losses, validate, schedule, given.run, given.minutes).prior
    save_prior(prior, given.run)


def new_players(maps: PriorMaps, kind: str, config: Config, run: Path) -> Players:
    """Untrained players for the maps, whose statistics are kept in the folder of the run.

    Raises:
        SystemExit: the maps are of another size than the configuration's textures.
    """
    run.mkdir(parents=True, exist_ok=True)
    if not load_shards(run / "statistics"):
        save_shards(vars(statistics_of(maps, config.latent)), run / "statistics")
    statistics = Statistics(**load_shards(run / "statistics"))
    shape = config.shape(kind, len(statistics.modes))
    if shape.size[0] != maps.rows:
        raise SystemExit(f"this configuration needs maps of {shape.size[0]} rows, these have {maps.rows}; make others")
    return Players(shape, statistics, config.judges)


def save_prior(prior: TexturePrior, folder: Path) -> None:
    """Writes the weights in half precision, in files of `prior-*.safetensors`, with the mean of 4096 drawn latents."""
    z = torch.randn(4096, prior.shape.latent, generator=torch.Generator().manual_seed(0)).to(prior.centre)
    with torch.no_grad():
        prior.centre.copy_(prior.mapping(z).mean(0))
    save_shards({name: value.half() for name, value in prior.state_dict().items()}, folder / "prior")


if __name__ == "__main__":
    main()

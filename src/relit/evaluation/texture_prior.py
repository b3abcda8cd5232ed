"""Judges a texture prior beside its linear baseline, principal components of the same maps with a latent of equal size.

    python -m relit.evaluation.texture_prior MAPS RUN docs/priors --prior fitme --ship

Writes figures, and pictures: samples at truncation 1.0 and 0.7, samples beside the training subjects nearest to them, held-out
subjects beside both reconstructions, walks between people. With `--ship` the weights become the package's.
"""

import argparse
import json
import shutil
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from relit.evaluation.frechet import frechet_distance, texture_features
from relit.models import registry
from relit.models.texture_prior import BASE_SIZE, CHANNELS, PRIORS, TexturePrior, draw_latents, load_prior
from relit.train.linear import batches, fit_mirrored
from relit.train.loop import SOURCES
from relit.train.prior_maps import TONES, PriorMaps, face_weight, mirrored, tone_bin, tone_of

HELD_OUT, NEAREST, DRAWN = 64, 64, 256  # subjects
REFINE_STEPS, REFINE_RATE, REFINED = 30, 0.05, 12  # of latents, beyond what the encoder says; subjects
_AT_ONCE = 8


def judge(prior: TexturePrior, learn: PriorMaps, held_out: PriorMaps, out: Path, kind: str) -> dict:
    """Figures of a prior and of its baseline; they and pictures go to a folder, in files whose names begin with the kind."""
    out.mkdir(parents=True, exist_ok=True)
    show = partial(write_sheet, branches=prior.shape.branches)
    numbers = np.arange(min(HELD_OUT, len(held_out)))
    truth = torch.cat([held_out.codes(part, part * 0) for part in _parts(numbers)])
    baseline = fit_mirrored(learn, prior.shape.latent, prior.scale)
    linear, drawn_linear = baseline.reconstructed(truth), baseline.drawn(DRAWN, truth.shape[2], 4)
    w = torch.cat([prior.encode(prior.deviation(part)) for part in truth.split(_AT_ONCE)])
    encoded = made(prior, w)
    few = slice(0, min(REFINED, len(truth)))
    refined = made(prior, refined_latents(prior, truth[few], w[few]))
    samples = {psi: made(prior, draw_latents(prior, DRAWN, 1, psi), seed=2) for psi in (1.0, 0.7)}
    real = torch.cat(list(islice(batches(learn), -(-DRAWN // 16))))
    apart, beside = _memorised(prior, learn, samples[1.0], truth)
    figures = {
        "latent": prior.shape.latent,
        "psnr_db": {
            "encoder": psnr_db(encoded, truth, prior),
            "linear": psnr_db(linear, truth, prior),
            f"refined, first {len(refined)}": psnr_db(refined, truth[few], prior),
            f"linear, first {len(refined)}": psnr_db(linear[few], truth[few], prior),
        },
        "frechet_delighting_features": _frechet(
            real, {"truncation 1.0": samples[1.0], "truncation 0.7": samples[0.7], "linear": drawn_linear, "held out": truth}
        ),
        "nearest_training_subject": apart,
        "surprise": _surprise(prior, w),
        "tones": {
            "bounds_deg": TONES.tolist(),
            "training": tone_shares(real),
            "truncation 1.0": tone_shares(samples[1.0]),
            "linear": tone_shares(drawn_linear),
        },
    }
    show(out / f"{kind}_samples.jpg", samples[1.0][:8], across=4)
    show(out / f"{kind}_samples_0.7.jpg", samples[0.7][:12], across=6, shrink=2)
    show(out / f"{kind}_linear_samples.jpg", drawn_linear[:12], across=6, shrink=2)
    show(out / f"{kind}_nearest.jpg", beside, across=6, shrink=2)
    shown = torch.stack([truth[few], refined, encoded[few], linear[few]], 1)[:4].flatten(0, 1)
    show(out / f"{kind}_reconstructed.jpg", shown, across=4)
    people = draw_latents(prior, 6, 3)
    steps = torch.linspace(0, 1, 6)[:, None]
    walk = torch.cat([a + steps * (b - a) for a, b in zip(people[::2], people[1::2], strict=True)])
    show(out / f"{kind}_walk.jpg", made(prior, walk, seed=2), across=6, shrink=2)
    (out / f"{kind}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def made(prior: TexturePrior, w: Tensor, seed: int | None = None) -> Tensor:
    """(B, C, H, W) coded maps in [0, 1] of latents."""
    noise = None if seed is None else torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return torch.cat([prior.codes(prior(part, noise)) for part in w.split(_AT_ONCE)])


def refined_latents(prior: TexturePrior, truth: Tensor, w: Tensor) -> Tensor:
    """Latents moved so that what they stand for comes nearer to coded maps, by gradient descent from those given."""
    found = []
    for target, start in zip(truth.split(_AT_ONCE), w.split(_AT_ONCE), strict=True):
        code = start.detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([code], REFINE_RATE)
        goal = prior.deviation(target)
        for _ in range(REFINE_STEPS):
            optimiser.zero_grad()
            (prior(code) - goal).square().mean().backward()
            optimiser.step()
        found.append(code.detach())
    return torch.cat(found)


def psnr_db(found: Tensor, truth: Tensor, prior: TexturePrior) -> dict[str, float]:
    """Peak signal-to-noise ratio of coded maps on the face, mean of the subjects, by branch."""
    weight = face_weight(truth.shape[2])
    errors = ((found - truth).square() * weight).sum((2, 3)) / weight.sum()
    parts = zip(prior.shape.branches, errors.split(prior.shape.channels, 1), strict=True)
    return {name: round(float(-10 * part.mean(1).log10().mean()), 2) for name, part in parts}


def tone_shares(codes: Tensor) -> list[float]:
    """Share of the pictures in each bin of TONES, by the typology angle of their first three channels."""
    pictures = (codes[:, :3] * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    counts = np.bincount(tone_bin(np.array([tone_of(picture) for picture in pictures])), minlength=len(TONES) - 1)
    return (counts / len(pictures)).round(3).tolist()


def write_sheet(path: Path, codes: Tensor, branches: tuple[str, ...], across: int, shrink: int = 1) -> None:
    """Pictures side by side, the branches of each below each other, `across` in a row, so many times smaller."""
    codes = avg_pool2d(codes, shrink)
    channels = [CHANNELS[name] for name in branches]
    tiles = [np.vstack([_shown(*pair) for pair in zip(branches, one.split(channels), strict=True)]) for one in codes]
    rows = [np.hstack(tiles[at : at + across]) for at in range(0, len(tiles) - across + 1, across)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def _shown(name: str, codes: Tensor) -> np.ndarray:
    if name == "specular":
        codes = codes.expand(3, -1, -1)
    if name == "normal":
        codes = torch.cat([codes, torch.ones_like(codes[:1])])
    return (codes * 255).round().byte().permute(1, 2, 0).numpy()


def _frechet(real: Tensor, others: dict[str, Tensor]) -> dict[str, float]:
    """Distances to the training maps in colour; between two halves of these it would be what chance leaves."""
    of = lambda codes: torch.cat([texture_features(part[:, :3]) for part in codes.split(_AT_ONCE)])  # noqa: E731
    features = of(real)
    distances = {name: frechet_distance(of(codes), features) for name, codes in others.items()}
    distances["halves of training"] = frechet_distance(features[::2], features[1::2])
    return {name: round(value, 4) for name, value in distances.items()}


def _surprise(prior: TexturePrior, w: Tensor) -> dict[str, float]:
    """Negative log density of held-out people's latents for each dimension, but for a constant: lower knows them better."""
    with torch.no_grad():
        found = {"mapping": prior.mapping.normal(w)[1], "standard normal": 0.5 * w.square().sum(1)}
    return {name: round(float(value.mean() / w.shape[1]), 3) for name, value in found.items()}


def _memorised(prior: TexturePrior, learn: PriorMaps, samples: Tensor, truth: Tensor) -> tuple[dict[str, float], Tensor]:
    """Distances of samples, and of real held-out subjects, to the nearest training subject; the pairs nearest to each other.

    Distances are root mean squares of deviations at 72 x 48, mirror images included. Samples that come much nearer to a
    training subject than held-out people do were learned by heart.
    """
    small = lambda codes: adaptive_avg_pool2d(prior.deviation(codes), BASE_SIZE).flatten(1)  # noqa: E731
    known = torch.cat([small(x) for codes in batches(learn) for x in (codes, mirrored(codes, learn.branches))])
    apart = {}
    for name, codes in (("samples", samples[:NEAREST]), ("held out", truth)):
        distance = torch.cdist(torch.cat([small(part) for part in codes.split(_AT_ONCE)]), known) / known.shape[1] ** 0.5
        apart[name], nearest = distance.min(1)
        if name == "samples":
            closest = apart[name].argsort()[:6]
            order = _subjects_of_rows(learn, nearest[closest])
    figures = {f"{name}, {what}": round(float(value), 3)
               for name, d in apart.items() for what, value in (("median", d.median()), ("least", d.min()))}  # fmt: skip
    return figures, torch.stack([samples[:NEAREST][closest], order], 1).flatten(0, 1)


def _subjects_of_rows(learn: PriorMaps, rows: Tensor) -> Tensor:
    """The maps behind rows of what `batches` yields, each batch followed by its mirror image."""
    wanted, at, found = rows.tolist(), 0, {}
    for codes in batches(learn):
        for plane in (codes, mirrored(codes, learn.branches)):
            found |= {row: plane[row - at] for row in wanted if at <= row < at + len(plane)}
            at += len(plane)
    return torch.stack([found[row] for row in wanted])


def _parts(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers[at : at + _AT_ONCE] for at in range(0, len(numbers), _AT_ONCE)]


def ship(run: Path, kind: str, figures: dict) -> None:
    """Copies the weights of a run among the package's assets, each file with its card; the first one's holds the figures."""
    told = json.loads((run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    for path in sorted(run.glob("prior-*.safetensors")):
        name = f"prior_{kind}-{path.stem.removeprefix('prior-')}"
        shutil.copyfile(path, registry.assets_folder() / f"{name}.safetensors")
        registry.record(
            name,
            f"{name}.safetensors",
            licence="Apache-2.0",
            sources=list(SOURCES),
            command=f"python -m relit.train.texture_prior MAPS RUN --prior {kind} --config cpu",
            metrics={"steps": told["step"], **figures} if name.endswith("-0") else {"part of": f"prior_{kind}-0"},
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", type=Path)
    parser.add_argument("run", type=Path, help="folder of relit.train.texture_prior")
    parser.add_argument("out", type=Path)
    parser.add_argument("--prior", choices=PRIORS, required=True)
    parser.add_argument("--ship", action="store_true", help="put the weights among the package's assets")
    given = parser.parse_args()
    prior = load_prior(given.prior, given.run)
    learn, held_out = (PriorMaps(given.maps, split, PRIORS[given.prior], torch.device("cpu")) for split in ("train", "test"))
    figures = judge(prior, learn, held_out, given.out, given.prior)
    print(json.dumps(figures, indent=1))
    if given.ship:
        ship(given.run, given.prior, figures)


if __name__ == "__main__":
    main()

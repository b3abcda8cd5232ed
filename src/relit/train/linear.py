"""Principal components of aligned maps: the linear base of the texture priors, and the baseline that they must beat."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from relit.models.texture_prior import BASE_SIZE, CHANNELS, MEAN_ROWS, Statistics, TexturePrior
from relit.train.prior_maps import LIGHTS, PriorMaps, mirrored

_BLOCK = 1 << 14  # values of a sample that are worked on at once


@dataclass(frozen=True)
class LinearModel:
    """A Gaussian of K dimensions in a space of P: the mean, and orthogonal modes of one standard deviation."""

    mean: Tensor  # (P,)
    modes: Tensor  # (K, P)

    def coefficients(self, samples: Tensor) -> Tensor:
        """(N, K) of samples (N, P), in standard deviations."""
        power = self.modes.square().sum(1).clamp_min(1e-12)
        return (samples - self.mean) @ self.modes.T / power

    def samples(self, coefficients: Tensor) -> Tensor:
        """(N, P) what coefficients (N, K) stand for."""
        return self.mean + coefficients @ self.modes


def fit_linear(samples: Tensor, count: int, weight: Tensor | None = None, centred: bool = False) -> LinearModel:
    """The `count` strongest principal components of samples (N, P); fewer where the samples span fewer.

    Args:
        samples: of any type; worked on in single precision, some columns at a time.
        weight: (P,) by which each value is multiplied first.
        centred: the mean is known to be 0.
    """
    total = samples.shape[1]
    blocks = [slice(at, min(at + _BLOCK, total)) for at in range(0, total, _BLOCK)]
    part = lambda block: samples[:, block].float() * (1 if weight is None else weight[block])  # noqa: E731
    mean = torch.cat([part(block).mean(0) * (not centred) for block in blocks])
    gram = sum(_gram(part(block) - mean[block]) for block in blocks)
    power, vectors = torch.linalg.eigh(gram.double())
    power, vectors = power.flip(0)[:count], vectors.flip(1)[:, :count]
    # half a count of the samples is lost to the mean; what rounding leaves is no mode
    vectors = vectors[:, power > 1e-6 * power[0]].float()
    modes = torch.cat([vectors.T @ (part(block) - mean[block]) for block in blocks], 1)
    return LinearModel(mean, modes / len(samples) ** 0.5)


@dataclass(frozen=True)
class MirroredModel:
    """Principal components of textures and their mirror images: each even or odd, so that halves of textures suffice."""

    even: LinearModel
    odd: LinearModel
    weight: Tensor  # (P,) of the values of a half
    branches: tuple[str, ...]

    def reconstructed(self, codes: Tensor) -> Tensor:
        """What the components keep of coded maps (B, C, H, W)."""
        parts = zip((self.even, self.odd), halves(codes, self.branches), strict=True)
        return self._joined([m.samples(m.coefficients(x.flatten(1) * self.weight)) for m, x in parts], codes.shape[2])

    def drawn(self, count: int, rows: int, seed: int) -> Tensor:
        """(count, C, H, W) coded maps of the Gaussian."""
        chance = torch.Generator().manual_seed(seed)
        z = [torch.randn(count, len(m.modes), generator=chance) for m in (self.even, self.odd)]
        chunks = zip(z[0].split(16), z[1].split(16), strict=True)
        return torch.cat([self._joined([self.even.samples(a), self.odd.samples(b)], rows) for a, b in chunks])

    def _joined(self, parts: list[Tensor], rows: int) -> Tensor:
        even, odd = ((part / self.weight / 255).view(len(part), -1, rows, rows // 3) for part in parts)
        left, right = (even + odd) / 2, (even - odd) / 2
        whole = mirrored(torch.cat([right, right], 3), self.branches)[..., rows // 3 :]
        return torch.cat([left, whole], 3).clamp(0, 1)


def fit_mirrored(maps: PriorMaps, count: int, scale: Tensor) -> MirroredModel:
    """The `count` strongest components of all maps and their mirror images.

    Args:
        scale: (C,) that each channel is divided by first.
    """
    parts = [halves(codes, maps.branches) for codes in batches(maps)]
    shape = parts[0][0].shape[1:]
    weight = (1 / (255 * scale))[:, None].expand(-1, shape[1] * shape[2]).flatten()
    sides = (torch.cat([p.flatten(1) for p in side]) for side in zip(*parts, strict=True))
    even, odd = (fit_linear(side, count, weight, centred) for side, centred in zip(sides, (False, True), strict=True))
    least = torch.cat([model.modes.square().sum(1) for model in (even, odd)]).sort(descending=True).values[:count][-1]
    kept = (LinearModel(m.mean, m.modes[m.modes.square().sum(1) >= least]) for m in (even, odd))
    return MirroredModel(*kept, weight, maps.branches)


def halves(codes: Tensor, branches: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """(B, C, H, W/2) int16 sum of the left half in 255ths and the mirrored right half, and their difference."""
    width = codes.shape[3] // 2
    left, right = ((x[..., :width] * 255).round().short() for x in (codes, mirrored(codes, branches)))
    return left + right, left - right


def _gram(block: Tensor) -> Tensor:
    return block @ block.T


def statistics_of(maps: PriorMaps, count: int) -> Statistics:
    """Mean, scale and principal components of all maps and their mirror images."""
    channels = [CHANNELS[name] for name in maps.branches]
    rows = min(maps.rows, MEAN_ROWS)
    sums = squares = torch.zeros(1)
    small, total = [], 0
    for codes in batches(maps):
        fitted = adaptive_avg_pool2d(codes, (rows, rows * 2 // 3))
        sums, squares, total = sums + fitted.sum(0), squares + fitted.square().sum(0), total + len(codes)
        small.append(adaptive_avg_pool2d(codes, BASE_SIZE))
    mean = sums / total
    mean = (mean + mirrored(mean[None], maps.branches)[0]) / 2
    spread = (squares / total - mean.square()).clamp_min(0)
    scale = torch.cat([part.mean().sqrt().expand(len(part)) for part in spread.split(channels)])
    samples = torch.cat(small)
    samples = torch.cat([samples, mirrored(samples, maps.branches)]) / scale[:, None, None]
    modes = fit_linear(samples.flatten(1), count).modes
    return Statistics(mean, scale, modes.view(-1, *samples.shape[1:]).half())


def known_latents(prior: TexturePrior, maps: PriorMaps) -> Tensor:
    """(subjects, lights, 2, D) the principal components of all maps and of their mirror images; lights of `lit` only."""
    found = []
    for codes in batches(maps):
        pair = (prior.components(prior.deviation(x)) for x in (codes, mirrored(codes, maps.branches)))
        found.append(torch.stack(list(pair), 1))
    return torch.cat(found).unflatten(0, (len(maps), -1))


def batches(maps: PriorMaps, size: int = 16):
    """Yields the coded maps of all subjects once, lit textures in each light."""
    lights = LIGHTS if "lit" in maps.branches else 1
    order = [(n, k) for n in range(len(maps)) for k in range(lights)]
    for at in range(0, len(order), size):
        numbers, chosen = zip(*order[at : at + size], strict=True)
        yield maps.codes(numbers, chosen)

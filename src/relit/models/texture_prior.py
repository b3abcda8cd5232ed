"""The generative priors of the skin: style-based generators of aligned textures of the face, and their encoders.

Two of one kind: `ganfit` makes one picture, the texture with the light in it; `fitme` makes diffuse albedo, specular albedo
and normals, three branches of one trunk. A latent w of unit scale stands for a person, or one w for each level (W+).

Source: StyleGAN2 (Karras et al., CVPR 2020): mapping network, modulated convolutions, noise, pictures as a sum over levels.
GANFIT (Gecer et al., CVPR 2019): a generator of UV textures of 576 x 384 as prior. FitMe (Lattas et al., CVPR 2023): the
branches. SWAGAN (Gal et al., SIGGRAPH 2021): each level says Haar coefficients of the next.

Differs, because the published ones saw millions of pictures and these see thousands, all in one layout:
- A linear base: w begins as the principal components of the maps at 72 x 48, and the generator as their Gaussian model. The
  convolutions see it, add to it and begin at zero, so that no time goes into learning means, tones and layout.
- Learned features of every place beside it: in one layout, where a texel lies says most of what it is.
- Noise has a strength for each channel, once in a level, and only in levels of branches: coarse things are the latent's.
- An encoder beside the generator, likewise principal components plus a learned correction: maps are reconstructed, which
  teaches from every texel, and a fit starts from what the encoder says of an unwrapped photo.
- The mapping network is invertible and learns the distribution of the encoder's codes by its likelihood: hundreds of steps
  do what a critic of latents did not begin to do, and a fit can ask how likely a latent is.
- One latent for each level, not for each layer; the linear base reads the first.
- Levels above 72 x 48 are made for each branch; a level's features are half as large as the picture it adds to.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pixel_unshuffle

from relit.appearance.colour import linear_from_srgb
from relit.errors import AssetCorrupt, AssetMissing, InputError
from relit.models.registry import load_parts
from relit.models.style import (
    Conv,
    Dense,
    Halving,
    ModulatedConv,
    StyleLayer,
    StyleLevel,
    activated,
    doubled,
    unfolded,
    without_grids,
)

CHANNELS = {"lit": 3, "albedo": 3, "specular": 1, "normal": 2}  # of each branch, in the order of their channels
PRIORS = {"ganfit": ("lit",), "fitme": ("albedo", "specular", "normal")}
BOX = 0.125, 0.875  # of the layout, along u and v: from the crown to the collar, without ears
SMALLEST = 9, 6  # texels of the first level: rows, columns
BASE_LEVEL, BASE_SIZE = 2, (72, 48)  # the first level that adds to the picture, and the picture's size there
MEAN_ROWS = 576  # the mean is stored no larger
F0_SPAN = 0.08  # F0 that the code 1 stands for
_ENCODED, _ENCODER_WIDTHS, _ENCODER_OUT = (288, 192), (64, 96, 128, 128), 32


@dataclass(frozen=True)
class PriorShape:
    """What a prior consists of."""

    branches: tuple[str, ...]  # names in CHANNELS
    latent: int  # size of w, and the number of principal components
    trunk: tuple[int, ...]  # channels of the levels from 9 x 6 on
    fine: tuple[int, ...]  # of each branch's levels after the trunk

    @property
    def levels(self) -> int:
        return len(self.trunk) + len(self.fine)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the textures: twice those of the last level."""
        return SMALLEST[0] << self.levels, SMALLEST[1] << self.levels

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(CHANNELS[name] for name in self.branches)


@dataclass(frozen=True)
class Statistics:
    """First and second moments of the coded maps (see `coded`): what a prior starts from."""

    mean: Tensor  # (C, h, w)
    scale: Tensor  # (C,) standard deviation about the mean, one value for each branch
    modes: Tensor  # (D, C, 72, 48) principal components, one standard deviation each, in units of `scale`


def box_slices(size: int) -> tuple[slice, slice]:
    """Rows and columns of the textures' box in a square layout."""
    return (slice(round(BOX[0] * size), round(BOX[1] * size)),) * 2


class TexturePrior(nn.Module):
    """Latents (B, D) or (B, levels, D) -> deviations (B, C, H, W) of the coded maps from their mean, in units of `scale`."""

    def __init__(self, shape: PriorShape, statistics: Statistics):
        super().__init__()
        self.shape, latent, total = shape, shape.latent, sum(shape.channels)
        self.register_buffer("mean", statistics.mean.clone())
        self.register_buffer("scale", statistics.scale.clone())
        self.register_buffer("modes", statistics.modes.flatten(1).half())  # most of what a prior stores
        self.register_buffer("power", self.modes.float().square().sum(1).clamp_min(1e-12))
        self.register_buffer("centre", torch.zeros(latent))  # the mean latent
        self.mapping = Mapping(latent)
        self.encoder = Encoder(total, latent)
        self.constant = nn.Parameter(torch.randn(shape.trunk[0], *SMALLEST))
        self.first = StyleLayer(shape.trunk[0], shape.trunk[0], latent)
        pairs = list(zip(shape.trunk, shape.trunk[1:], strict=False))
        self.trunk = nn.ModuleList(StyleLevel(a, b, latent, noisy=False) for a, b in pairs)
        self.look = Conv(4 * total, shape.trunk[BASE_LEVEL], 1)
        sizes = [(width, SMALLEST[0] << k, SMALLEST[1] << k) for k, width in enumerate(shape.trunk)][BASE_LEVEL:]
        self.places = nn.ParameterList(torch.zeros(size) for size in sizes)
        self.heads = nn.ModuleList(_head(width, total, latent) for width in shape.trunk[BASE_LEVEL:])
        steps = list(zip((shape.trunk[-1], *shape.fine), shape.fine, strict=False))
        branch = lambda channels: nn.ModuleList(  # noqa: E731
            nn.ModuleDict({"level": StyleLevel(a, b, latent, noisy=True), "head": _head(b, channels, latent)}) for a, b in steps
        )
        self.branches = nn.ModuleDict({name: branch(CHANNELS[name]) for name in shape.branches})

    def forward(self, w: Tensor, noise: torch.Generator | None = None) -> Tensor:
        w = w[:, None].expand(-1, self.shape.levels, -1) if w.ndim == 2 else w
        x = self.first(self.constant.expand(len(w), -1, -1, -1), w[:, 0], noise)
        base = self.linear(w[:, 0])
        picture = None
        for k, level in enumerate(self.trunk, 1):
            x = level(x, w[:, k], noise)
            if k >= BASE_LEVEL:
                x = x + self.places[k - BASE_LEVEL].to(x.dtype)
                x = x + self.look(pixel_unshuffle(base, 2)) if picture is None else x
                added = unfolded(without_grids(self.heads[k - BASE_LEVEL](x, w[:, k]))).float()
                picture = added + (base if picture is None else doubled(picture))
        parts = picture.split(self.shape.channels, 1)
        return torch.cat([self._branch(name, x, part, w, noise) for name, part in zip(self.branches, parts, strict=True)], 1)

    def _branch(self, name: str, x: Tensor, picture: Tensor, w: Tensor, noise: torch.Generator | None) -> Tensor:
        for k, step in enumerate(self.branches[name], len(self.shape.trunk)):
            x = step["level"](x, w[:, k], noise)
            picture = doubled(picture) + unfolded(without_grids(step["head"](x, w[:, k]))).float()
        return picture

    def linear(self, w: Tensor) -> Tensor:
        """(B, C, 72, 48) the linear base of latents (B, D)."""
        with torch.autocast(w.device.type, enabled=False):
            return (w.float() @ self.modes.float()).view(len(w), -1, *BASE_SIZE)

    def encode(self, deviation: Tensor) -> Tensor:
        """(B, D) the latents of deviations (B, C, H, W): principal components and the learned correction."""
        return self.components(deviation) + self.encoder(deviation).float()

    def components(self, deviation: Tensor) -> Tensor:
        """(B, D) the principal components alone."""
        with torch.autocast(deviation.device.type, enabled=False):
            small = adaptive_avg_pool2d(deviation.float(), BASE_SIZE)
            return small.flatten(1) @ self.modes.float().T / self.power

    def deviation(self, codes: Tensor) -> Tensor:
        """(B, C, H, W) in units of `scale`, of coded maps (B, C, H, W) in [0, 1]."""
        return (codes - self._mean()) / self.scale[:, None, None]

    def codes(self, deviation: Tensor) -> Tensor:
        """(B, C, H, W) the coded maps in [0, 1] of deviations: undoes `deviation`, but for what no map can hold."""
        return (self._mean() + deviation * self.scale[:, None, None]).clamp(0, 1)

    def _mean(self) -> Tensor:
        if self.mean.shape[1:] == self.shape.size:
            return self.mean
        return interpolate(self.mean[None], self.shape.size, mode="bilinear", align_corners=False)[0]


class Mapping(nn.Module):
    """Standard normal (B, D) -> latents (B, D), and back: an invertible network, the identity at first.

    Source: affine coupling layers, Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", ICLR 2017.
    """

    def __init__(self, latent: int, layers: int = 4, width: int = 64):
        super().__init__()
        half = latent // 2
        kept = [latent - half if layer % 2 == 0 else half for layer in range(layers)]
        self.layers = nn.ModuleList(
            nn.ModuleList([Dense(k, width), Dense(width, width), Dense(width, 2 * (latent - k))]) for k in kept
        )
        for layer in self.layers:
            nn.init.zeros_(layer[-1].weight)

    def forward(self, z: Tensor) -> Tensor:
        for number in range(len(self.layers)):
            kept, changed = z[:, number % 2 :: 2], z[:, 1 - number % 2 :: 2]
            scale, shift = self._coupled(number, kept)
            z = _interleaved(kept, changed * scale.exp() + shift, number % 2)
        return z

    def normal(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) what latents come from, and (B,) the surprise at them: their negative log density, but for a constant."""
        volume = torch.zeros(len(w), device=w.device)
        for number in reversed(range(len(self.layers))):
            kept, changed = w[:, number % 2 :: 2], w[:, 1 - number % 2 :: 2]
            scale, shift = self._coupled(number, kept)
            w = _interleaved(kept, (changed - shift) * (-scale).exp(), number % 2)
            volume = volume + scale.sum(1)
        return w, 0.5 * w.square().sum(1) + volume

    def _coupled(self, number: int, kept: Tensor) -> tuple[Tensor, Tensor]:
        first, second, last = self.layers[number]
        scale, shift = last(activated(second(activated(first(kept))))).float().chunk(2, 1)
        return torch.tanh(scale), shift


def _interleaved(kept: Tensor, changed: Tensor, first: int) -> Tensor:
    """Columns of the two in turn; `kept` begins if `first` is 0."""
    joined = torch.empty(len(kept), kept.shape[1] + changed.shape[1], device=kept.device)
    joined[:, first::2], joined[:, 1 - first :: 2] = kept, changed
    return joined


class Encoder(nn.Module):
    """Deviations (B, C, H, W) -> what principal components miss of the latents (B, D); zero at first."""

    def __init__(self, channels: int, latent: int):
        super().__init__()
        widths = _ENCODER_WIDTHS
        self.enter = Conv(channels, widths[0], 4, patches=True)
        self.down = nn.ModuleList(Halving(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.narrow = Conv(widths[-1], _ENCODER_OUT, 1)
        self.leave = Dense(_ENCODER_OUT * SMALLEST[0] * SMALLEST[1], latent)
        nn.init.zeros_(self.leave.weight)

    def forward(self, deviation: Tensor) -> Tensor:
        x = activated(self.enter(adaptive_avg_pool2d(deviation, _ENCODED)))
        for block in self.down:
            x = block(x)
        return self.leave(activated(self.narrow(x)).flatten(1))


def _head(inputs: int, channels: int, latent: int) -> ModulatedConv:
    """What a level adds to the picture; nothing at first."""
    head = ModulatedConv(inputs, 4 * channels, latent, kernel=1, demodulate=False)
    nn.init.zeros_(head.weight)
    return head


def draw_latents(prior: TexturePrior, count: int, seed: int, truncation: float = 1.0) -> Tensor:
    """(count, D) latents of people who do not exist.

    Args:
        truncation: 1 draws from the whole distribution, 0 gives the mean latent each time.
    """
    z = torch.randn(count, prior.shape.latent, generator=torch.Generator().manual_seed(seed))
    w = prior.mapping(z.to(prior.centre.device))
    return prior.centre + truncation * (w - prior.centre)


def textures_of(prior: TexturePrior, w: Tensor, seed: int | None = None) -> dict[str, Tensor]:
    """The maps of latents (B, D) or (B, levels, D), each (B, channels, H, W); differentiable.

    "lit" is sRGB-coded; "albedo" is linear; "specular" is F0; "normal" has 3 channels, unit, in tangent space.

    Args:
        seed: of the noise inputs; None leaves noise out.

    Raises:
        InputError: the latents are of another size, or no numbers.
    """
    allowed = (prior.shape.latent,), (prior.shape.levels, prior.shape.latent)
    if w.shape[1:] not in allowed:
        wanted = " or ".join(" x ".join(map(str, size)) for size in allowed)
        raise InputError(f"a latent of this prior has {wanted} values, got {' x '.join(map(str, w.shape[1:]))}")
    if not torch.isfinite(w).all():
        raise InputError("the latent holds values that are no numbers")
    noise = None if seed is None else torch.Generator(w.device).manual_seed(seed)
    return decoded(prior, prior.codes(prior(w, noise)))


def decoded(prior: TexturePrior, codes: Tensor) -> dict[str, Tensor]:
    """The maps, as `textures_of` gives them, of coded maps (B, C, H, W)."""
    return {name: _DECODED[name](part) for name, part in zip(prior.branches, codes.split(prior.shape.channels, 1), strict=True)}


def _normal(codes: Tensor) -> Tensor:
    along = codes * 2 - 1
    up = (1 - along.square().sum(1, keepdim=True)).clamp_min(0.01).sqrt()
    # all but unit already; torch's norm over few channels is slow
    return torch.cat([along, up], 1) / (along.square().sum(1, keepdim=True) + up.square()).sqrt()


_DECODED = {
    "lit": lambda codes: codes,
    "albedo": linear_from_srgb,
    "specular": lambda codes: codes * F0_SPAN,
    "normal": _normal,
}


def no_statistics(shape: PriorShape) -> Statistics:
    """Zeros of the right sizes, to be filled with stored ones."""
    total, rows = sum(shape.channels), min(MEAN_ROWS, shape.size[0])
    modes = torch.zeros(shape.latent, total, *BASE_SIZE)
    return Statistics(torch.zeros(total, rows, rows * 2 // 3), torch.ones(total), modes)


@lru_cache(maxsize=4)
def load_prior(kind: str, folder: Path | None = None) -> TexturePrior:
    """The trained prior, in single precision and for inference.

    Args:
        kind: of PRIORS.
        folder: of a training run, whose result is read instead of the shipped weights.

    Raises:
        InputError: there is no such prior.
        AssetMissing: its weights are not there.
        AssetCorrupt: they are not the recorded ones, or those of another prior or architecture.
    """
    if kind not in PRIORS:
        raise InputError(f"there is no prior {kind!r}; choose one of {', '.join(PRIORS)}")
    if folder is None:
        return prior_from(load_parts(f"prior_{kind}"), kind)
    paths = sorted(folder.glob("prior-*.safetensors"))
    if not paths:
        raise AssetMissing(f"{folder} holds no prior-*.safetensors; train one with relit.train.texture_prior")
    return prior_from({name: value for path in paths for name, value in load_file(path).items()}, kind)


def prior_from(tensors: dict[str, Tensor], kind: str) -> TexturePrior:
    """The prior with stored weights, in single precision and for inference; its sizes are read off them.

    Args:
        kind: of PRIORS.

    Raises:
        AssetCorrupt: the weights are those of another prior or architecture, or hold what is no number.
    """
    remedy = "train it anew with relit.train.texture_prior or reinstall relit"
    wrong = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if wrong:
        raise AssetCorrupt(f"the weights {wrong[0]!r} of the {kind} prior hold values that are no numbers; {remedy}")
    found = {name.split(".")[1] for name in tensors if name.startswith("branches.")}
    if found != set(PRIORS[kind]):
        listed = ", ".join(sorted(found)) or "none"
        raise AssetCorrupt(f"the {kind} prior makes {', '.join(PRIORS[kind])}, but the weights make {listed}; {remedy}")
    try:
        width = lambda name: tensors[f"{name}.refine.conv.weight"].shape[0]  # noqa: E731
        steps = len({name.split(".")[1] for name in tensors if name.startswith("trunk.")})
        fine = len({name.split(".")[2] for name in tensors if name.startswith(f"branches.{PRIORS[kind][0]}.")})
        trunk = len(tensors["constant"]), *(width(f"trunk.{k}") for k in range(steps))
        widths = tuple(width(f"branches.{PRIORS[kind][0]}.{k}.level") for k in range(fine))
        shape = PriorShape(PRIORS[kind], len(tensors["centre"]), trunk, widths)
        prior = TexturePrior(shape, no_statistics(shape))
        prior.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (IndexError, KeyError, RuntimeError):
        raise AssetCorrupt(f"the weights are no {kind} prior of this version; {remedy}") from None
    # modes, stored in half precision, in single, too: every picture multiplies by them
    return prior.float().eval().requires_grad_(False).to(memory_format=torch.channels_last)

"""Parts of style-based networks: equalised layers, modulated convolutions with noise, pictures of Haar coefficients."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, leaky_relu, linear, pixel_shuffle

_HADAMARD = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
_SLOPE, _GAIN = 0.2, math.sqrt(2 / (1 + 0.2**2))
_LOCAL = 6  # texels of a local mean
NOISE, STYLE = 0.3, 0.1  # at first, standard deviations of the noise's strengths, and of the scales of unit latents


def activated(x: Tensor) -> Tensor:
    """Leaky rectifier that keeps the second moment of standard normal input."""
    return leaky_relu(x, _SLOPE) * _GAIN


def doubled(x: Tensor) -> Tensor:
    """(B, C, 2 H, 2 W) by linear interpolation: the binomial filter (1, 3, 3, 1) of StyleGAN2."""
    return interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def unfolded(coefficients: Tensor) -> Tensor:
    """(B, C, 2 H, 2 W) the picture of Haar coefficients (B, 4 C, H, W), orthonormal, the C coarse ones first.

    Source: generators that say wavelets, SWAGAN (Gal et al., SIGGRAPH 2021).
    """
    groups = coefficients.unflatten(1, (4, coefficients.shape[1] // 4))
    return pixel_shuffle(torch.einsum("kj,bkchw->bcjhw", _HADAMARD.to(groups), groups).flatten(1, 2), 2)


def without_grids(coefficients: Tensor) -> Tensor:
    """Haar coefficients (B, 4 C, H, W) whose fine ones have lost their local means, which would draw grids on the picture.

    Slopes, which do have such means, belong to the smaller picture. Without this, generators began with grids.
    """
    coarse, fine = coefficients.split([coefficients.shape[1] // 4, coefficients.shape[1] // 4 * 3], 1)
    mean = interpolate(avg_pool2d(fine, _LOCAL), scale_factor=_LOCAL, mode="bilinear", align_corners=False)
    return torch.cat([coarse, fine - mean], 1)


class Dense(nn.Module):
    """A linear layer with equalised learning rate, `rate` times that of others (Karras et al. 2018, section 4.1)."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.rate, self.gain = rate, rate / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * self.gain, self.bias * self.rate)


class Conv(nn.Module):
    """A convolution with equalised learning rate: of equal size, or of patches that lie side by side."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, patches: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain = 1 / math.sqrt(inputs * kernel**2)
        self.stride, self.padding = (kernel, 0) if patches else (1, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight * self.gain, self.bias.to(x.dtype), self.stride, self.padding)


class ModulatedConv(nn.Module):
    """(B, inputs, H, W) and latents (B, D) -> (B, outputs, H, W): the latent scales each channel of the kernel.

    Source: StyleGAN2 (Karras et al., CVPR 2020), section 2.2: scales s_i of the input channels, and outputs divided by
    the norm of the scaled kernel. Scaling input and output instead of the kernel is the same, and one convolution for all.
    Differs: the bias is added before the division, where it costs nothing. Scales begin near 1, so that what is learned of one
    person serves all: with scales as different as those of StyleGAN2, 400 steps taught each latent for itself.
    """

    def __init__(self, inputs: int, outputs: int, latent: int, kernel: int = 3, demodulate: bool = True):
        super().__init__()
        self.style = Dense(latent, inputs, bias=1.0)
        with torch.no_grad():
            self.style.weight.mul_(STYLE)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if demodulate else None
        self.gain, self.demodulate = 1 / math.sqrt(inputs * kernel**2), demodulate

    def forward(self, x: Tensor, w: Tensor, gain: float = 1.0) -> Tensor:
        scale = self.style(w)
        kernel = self.weight * self.gain
        bias = None if self.bias is None else self.bias.to(x.dtype)
        out = conv2d(x * scale[:, :, None, None].to(x.dtype), kernel, bias, padding=kernel.shape[-1] // 2)
        if self.demodulate:
            power = (scale.float().square()[:, None] * kernel.square().sum((2, 3))).sum(2)
            out = out * (gain * torch.rsqrt(power + 1e-8))[:, :, None, None].to(out.dtype)
        return out


class StyleLayer(nn.Module):
    """A modulated convolution and a rectifier; if `up` twice as large, if `noisy` with a learned strength for each channel."""

    def __init__(self, inputs: int, outputs: int, latent: int, up: bool = False, noisy: bool = False):
        super().__init__()
        self.conv, self.up = ModulatedConv(inputs, outputs, latent), up
        self.noise = nn.Parameter(NOISE * torch.randn(outputs)) if noisy else None

    def forward(self, x: Tensor, w: Tensor, noise: torch.Generator | None) -> Tensor:
        out = self.conv(x, w, _GAIN)  # the rectifier lets positive factors pass
        out = doubled(out) if self.up else out
        if self.noise is not None and noise is not None:
            drawn = torch.randn(len(out), 1, *out.shape[2:], generator=noise, device=out.device)
            out = torch.addcmul(out, drawn.to(out.dtype), self.noise[:, None, None].to(out.dtype))
        return leaky_relu(out, _SLOPE)


class StyleLevel(nn.Module):
    """Two style layers, the first of which doubles the size and may add noise."""

    def __init__(self, inputs: int, outputs: int, latent: int, noisy: bool):
        super().__init__()
        self.enter = StyleLayer(inputs, outputs, latent, up=True, noisy=noisy)
        self.refine = StyleLayer(outputs, outputs, latent)

    def forward(self, x: Tensor, w: Tensor, noise: torch.Generator | None) -> Tensor:
        return self.refine(self.enter(x, w, noise), w, noise)


class Halving(nn.Module):
    """A residual block that halves the size (StyleGAN2, section 4.1), by means of four texels."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first, self.second = Conv(inputs, inputs), Conv(inputs, outputs)
        self.skip = Conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        detail = activated(self.second(avg_pool2d(activated(self.first(x)), 2)))
        return (detail + self.skip(avg_pool2d(x, 2))) / math.sqrt(2)

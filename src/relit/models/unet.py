"""The one network shape of all map-to-map steps: a residual U-Net on folded pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu

from relit.errors import AssetCorrupt


@dataclass(frozen=True)
class UNetShape:
    """What a U-Net consists of; stored beside its weights."""

    inputs: int  # channels
    outputs: int
    widths: tuple[int, ...]  # channels of each level, finest first
    fold: int = 4  # this many pixels along each edge become channels: most of the speed on CPUs


class UNet(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H, W).

    Source: Ronneberger et al. 2015 (skip connections), He et al. 2016 (residual blocks, activation first), Shi et al. 2016
    (pixel shuffle). Without normalisation layers: brightness carries meaning here. The last layer starts at zero.
    """

    def __init__(self, shape: UNetShape):
        super().__init__()
        self.shape = shape
        first, squared = shape.widths[0], shape.fold**2
        pairs = list(zip(shape.widths, shape.widths[1:], strict=False))
        self.enter = nn.Conv2d(shape.inputs * squared, first, 3, padding=1)
        self.down = nn.ModuleList([_Residual(width) for width in shape.widths])
        self.shrink = nn.ModuleList([nn.Conv2d(a, b, 2, 2) for a, b in pairs])
        self.grow = nn.ModuleList([nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairs])
        self.up = nn.ModuleList([_Residual(a) for a, _ in pairs])
        self.leave = nn.Conv2d(first, shape.outputs * squared, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(pixel_unshuffle(x, self.shape.fold))
        kept = []
        for level, block in enumerate(self.down):
            x = self.across(level, block(x))
            if level < len(self.shrink):
                kept.append(x)
                x = self.shrink[level](x)
        for level in reversed(range(len(self.grow))):
            x = self.up[level](self.grow[level](x) + kept[level])
        return pixel_shuffle(self.leave(x), self.shape.fold)


    def across(self, level: int, x: Tensor) -> Tensor:
        """What goes down from a level: all that came up to it; a kind of network may mix in more."""
        return x


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(silu(self.first(silu(x))))


def unet_from(tensors: dict[str, Tensor], inputs: int, outputs: int, kind: type[UNet] = UNet) -> UNet:
    """The network with stored weights, in single precision and for inference; its shape is read off them.

    Raises:
        AssetCorrupt: the weights are those of another architecture.
    """
    levels = sum(name.startswith("down.") and name.endswith("first.weight") for name in tensors)
    try:
        widths = tuple(tensors[f"down.{level}.first.weight"].shape[0] for level in range(levels))
        fold = round((tensors["enter.weight"].shape[1] / inputs) ** 0.5)
        network = kind(UNetShape(inputs, outputs, widths, fold))
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (IndexError, KeyError, RuntimeError):
        raise AssetCorrupt("the weights are those of another network than this version expects; reinstall relit") from None
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

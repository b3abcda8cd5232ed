"""The super-resolution network: the maps of a face at 512 x 512 in, at 2048 x 2048 out, tile by tile.

Source: Yamaguchi et al., SIGGRAPH 2018, section 5: super-resolution from 512 to 2048 after completion. Residual blocks
without normalisation and pixel shuffle as EDSR (Lim et al. 2017).
Differs: one network for all maps, so that edges of lips and brows lie at the same place in each.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_shuffle, silu

from relit.errors import AssetCorrupt
from relit.models.registry import load_tensors

CHANNELS, FACTOR = 6, 4  # log albedo, specular albedo, two bands of relief
TILE = 128  # texels of the input along an edge that are worked on at once


class SuperResolution(nn.Module):
    """(B, 6, H, W) -> (B, 6, 4 H, 4 W): the bicubic picture and what a small convolutional network adds to it."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.enter = nn.Conv2d(CHANNELS, width, 3, padding=1)
        self.first = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks)])
        self.second = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks)])
        self.leave = nn.Conv2d(width, CHANNELS * FACTOR**2, 3, padding=1)
        for layer in (*self.second, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def reach(self) -> int:
        """Texels of the input that decide a texel of the output, to each side; bicubic interpolation needs 2."""
        return 2 * len(self.first) + 2

    def forward(self, x: Tensor) -> Tensor:
        features = self.enter(x)
        for first, second in zip(self.first, self.second, strict=True):
            features = features + second(silu(first(features)))
        coarse = interpolate(x, scale_factor=FACTOR, mode="bicubic", align_corners=False)
        return coarse + pixel_shuffle(self.leave(silu(features)), FACTOR)


def superresolved(network: SuperResolution, maps: Tensor, tile: int = TILE) -> Tensor:
    """(1, 6, 4 H, 4 W) of maps (1, 6, H, W), worked on in tiles with enough of their surroundings: no seam.

    The picture goes on beyond its edge as at it.
    """
    around = network.reach
    _, channels, height, width = maps.shape
    padded = pad(maps, (around,) * 4, mode="replicate")
    result = maps.new_zeros(1, channels, FACTOR * height, FACTOR * width)
    with torch.no_grad():
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                rows, columns = min(tile, height - top), min(tile, width - left)
                part = padded[..., top : top + rows + 2 * around, left : left + columns + 2 * around]
                made = network(part.contiguous(memory_format=torch.channels_last))
                inner = made[..., FACTOR * around : -FACTOR * around, FACTOR * around : -FACTOR * around]
                result[..., FACTOR * top : FACTOR * (top + rows), FACTOR * left : FACTOR * (left + columns)] = inner
    return result


def superresolution_from(tensors: dict[str, Tensor]) -> SuperResolution:
    """The network with stored weights, for inference.

    Raises:
        AssetCorrupt: the weights are those of another architecture.
    """
    try:
        blocks = sum(name.startswith("first.") and name.endswith("weight") for name in tensors)
        network = SuperResolution(tensors["enter.weight"].shape[0], blocks)
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (KeyError, RuntimeError):
        raise AssetCorrupt("the weights are those of another network than this version expects; reinstall relit") from None
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@lru_cache(maxsize=1)
def load_superresolution() -> SuperResolution:
    """The shipped network."""
    return superresolution_from(load_tensors("yamaguchi_superresolution"))

"""The completion networks: reflectance of the seen part of a face in, of the whole face out, coarse first, then fine.

A face is about symmetric. So both stages put what they know of every place beside what they know of its mirror image, at
every level of their U-Nets: what one side shows, the other may take, and nothing forces both to be the same.

Source: Yamaguchi et al., SIGGRAPH 2018, section 5: coarse completion, then refinement; features flipped about the centre
line of the layout and concatenated; one pipeline for diffuse albedo, one for the rest.
Differs: albedo is completed relative to the mean of what is seen, so that the tone of a skin is never completed.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from relit.models.registry import load_tensors
from relit.models.unet import UNet, UNetShape, unet_from

CHANNELS = 3  # of both pipelines: RGB, or specular albedo and two bands of relief
COARSE = 4  # times as small is the picture that the first stage completes
CODE = 3.0  # factor on what the networks read


class SymmetricUNet(UNet):
    """A U-Net that concatenates the features of every level with their mirror image (about the last axis)."""

    def __init__(self, shape: UNetShape):
        super().__init__(shape)
        self.mix = nn.ModuleList([nn.Conv2d(2 * width, width, 1) for width in shape.widths])
        for convolution, width in zip(self.mix, shape.widths, strict=True):
            nn.init.normal_(convolution.weight, std=0.02)
            nn.init.zeros_(convolution.bias)
            convolution.weight.data[:, :width, 0, 0] += torch.eye(width)

    def across(self, level: int, x: Tensor) -> Tensor:
        return self.mix[level](torch.cat([x, x.flip(3)], 1))


class Completion(nn.Module):
    """Both stages of a pipeline."""

    def __init__(self, coarse: UNet, fine: UNet):
        super().__init__()
        self.coarse, self.fine = coarse, fine

    def forward(self, seen: Tensor, known: Tensor) -> "Completed":
        """The completed picture.

        Args:
            seen: (B, 3, H, W) around 0, H and W multiples of 32.
            known: (B, 1, H, W) [0, 1] how far to trust it.
        """
        held = seen * known
        total = avg_pool2d(known, COARSE)
        small = avg_pool2d(held, COARSE) / total.clamp_min(1e-3)
        coarse = self.coarse(_read(small * (total > 0.05), total)).float()
        guess = interpolate(coarse, scale_factor=COARSE, mode="bicubic", align_corners=False)
        merged = guess + known * (seen - guess)
        fine = self.fine(torch.cat([_read(held, known), CODE * merged], 1).contiguous(memory_format=torch.channels_last))
        return Completed(coarse, merged + fine.float())


class Completed(NamedTuple):
    """What both stages say."""

    coarse: Tensor  # (B, 3, H / 4, W / 4)
    fine: Tensor  # (B, 3, H, W)


def _read(held: Tensor, known: Tensor) -> Tensor:
    return torch.cat([CODE * held, known], 1).contiguous(memory_format=torch.channels_last)


def new_completion(coarse: tuple[int, ...], fine: tuple[int, ...]) -> Completion:
    """An untrained pipeline with the widths of its stages."""
    first = SymmetricUNet(UNetShape(CHANNELS + 1, CHANNELS, coarse, fold=2))
    return Completion(first, SymmetricUNet(UNetShape(2 * CHANNELS + 1, CHANNELS, fine)))


def completion_from(tensors: dict[str, Tensor]) -> Completion:
    """A pipeline with stored weights, for inference.

    Raises:
        AssetCorrupt: the weights are those of another architecture.
    """
    of = lambda stage: {n.removeprefix(f"{stage}."): v for n, v in tensors.items() if n.startswith(f"{stage}.")}  # noqa: E731
    first = unet_from(of("coarse"), CHANNELS + 1, CHANNELS, SymmetricUNet)
    return Completion(first, unet_from(of("fine"), 2 * CHANNELS + 1, CHANNELS, SymmetricUNet))


@lru_cache(maxsize=2)
def load_completion(part: str) -> Completion:
    """A shipped pipeline: "diffuse" or "surface"."""
    return completion_from(load_tensors(f"yamaguchi_completion_{part}"))


def mean_of_seen(values: Tensor, known: Tensor) -> Tensor:
    """(B, C, 1, 1) mean of a picture (B, C, H, W) over what is known of it."""
    return (values * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1e-3)

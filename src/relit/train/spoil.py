"""What real photos do to textures and renders do not: pigment of other people, misplacement, covers, little resolution.

A batch is a dictionary of planes (B, C, H, W): "lit" and "albedo" sRGB-coded, "visible", "inside" and "bare" in [0, 1],
and whatever else belongs to the texels.
"""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from relit.appearance.colour import linear_from_srgb, srgb_from_linear

PIGMENT, PIGMENT_CELLS = 0.35, (6, 12, 24, 48)  # log albedo at most, and the cells of its noise across the layout
PIGMENT_ROWS = 192  # at which this noise, which is smooth, is made
HIDDEN, LOW_RESOLUTION, MISPLACED = 0.6, 0.35, 0.7  # shares of the samples
MISPLACED_BY = 2.5 / 256  # of the layout's width, at most
PATCHES = 16  # cells of the pattern on what covers the face, along an edge of the layout

Planes = dict[str, Tensor]


def pigmented(planes: Planes, generator: torch.Generator) -> Planes:
    """The batch with random pigment in skin and photo alike: people differ more than the skins we have.

    Light falls on pigment as on any skin, so both change by one factor, whatever their exposure. Without this a network
    takes for light whatever it has not seen on a skin: a beard, a blush, lips of another colour.
    """
    count, _, height, width = planes["lit"].shape
    device = planes["lit"].device
    total = torch.zeros(count, 3, PIGMENT_ROWS, round(PIGMENT_ROWS * width / height), device=device)
    for cells in PIGMENT_CELLS:
        shape = round(cells * height / width), cells
        grey, hue = (torch.randn(count, c, *shape, generator=generator).to(device) for c in (1, 3))
        strength = PIGMENT * torch.rand(count, 1, 1, 1, generator=generator).to(device) ** 2
        total += strength * interpolate(grey + 0.4 * hue, size=total.shape[2:], mode="bicubic", align_corners=False)
    total = interpolate(total, size=(height, width), mode="bilinear", align_corners=False)
    factor = (total * planes["inside"]).clamp(-0.9, 0.9).exp()
    changed = lambda coded: srgb_from_linear((linear_from_srgb(coded) * factor).clamp(0, 1))  # noqa: E731
    return planes | {"lit": changed(planes["lit"]), "albedo": changed(planes["albedo"])}


def mirrored(planes: Planes, generator: torch.Generator, across: tuple[str, ...] = ()) -> Planes:
    """The batch with half of it mirrored.

    Args:
        across: names of planes of vectors, whose x changes its sign.
    """
    count, device = len(planes["lit"]), planes["lit"].device
    flip, one = _picked(count, 0.5, generator, device), torch.tensor([-1.0, 1.0, 1.0], device=device)[:, None, None]
    other = {name: plane.flip(3) * (one if name in across else 1) for name, plane in planes.items()}
    return {name: flip * other[name] + (1 - flip) * plane for name, plane in planes.items()}


def misplaced(planes: Planes, names: tuple[str, ...], generator: torch.Generator) -> Planes:
    """The batch with some planes bent against the others by up to `MISPLACED_BY`."""
    moving = [planes[name] for name in names]
    count, _, height, width = moving[0].shape
    device = moving[0].device
    span = 4 * MISPLACED_BY * torch.tensor([1.0, width / height], device=device)[:, None, None]
    bend = (torch.rand(count, 2, 5, 6, generator=generator).to(device) - 0.5) * span
    bend = interpolate(
        bend * _picked(count, MISPLACED, generator, device), size=(height, width), mode="bicubic", align_corners=True
    )
    base = affine_grid(torch.eye(2, 3, device=device)[None], (1, 1, height, width), align_corners=False)
    moved = grid_sample(torch.cat(moving, 1), base + bend.permute(0, 2, 3, 1), align_corners=False)
    return planes | dict(zip(names, moved.split([plane.shape[1] for plane in moving], 1), strict=True))


def covered(planes: Planes, generator: torch.Generator) -> Planes:
    """The batch with things before the skin: they have a soft rim and reach beyond their mask, or fall short of it."""
    count, _, height, width = planes["lit"].shape
    device = planes["lit"].device
    draw = lambda *shape: torch.rand(*shape, generator=generator).to(device)  # noqa: E731
    blobs = interpolate(draw(count, 1, 7, 9), size=(height, width), mode="bicubic", align_corners=True)
    edge = 0.95 - 0.45 * draw(count, 1, 1, 1)
    slope = 4 + 40 * draw(count, 1, 1, 1)
    cover = _picked(count, HIDDEN, generator, device) * ((blobs - edge) * slope + 0.5).clamp(0, 1)
    reach = (blobs - edge + 0.06 * draw(count, 1, 1, 1)) * slope + 0.5
    masked = _picked(count, HIDDEN, generator, device) * reach.clamp(0, 1)
    hidden = torch.maximum(masked, (cover * 2 - 1).clamp_min(0))
    patches = interpolate(draw(count, 1, round(PATCHES * height / width), PATCHES), size=(height, width))
    colour = (draw(count, 3, 1, 1) * (0.5 + patches)).clamp(0, 1)
    lit = planes["lit"] + cover * (colour - planes["lit"])
    return planes | {"lit": lit, "visible": planes["visible"] * (1 - hidden), "bare": 1 - cover}


def out_of_focus(planes: Planes, generator: torch.Generator, factors: tuple[int, ...]) -> Planes:
    """The batch with some photos as coarse as if taken from so many times as far."""
    lit = planes["lit"]
    factor = factors[int(torch.randint(len(factors), (1,), generator=generator))]
    small = interpolate(lit, scale_factor=1 / factor, mode="area")
    coarse = interpolate(small, size=lit.shape[2:], mode="bicubic", align_corners=False).clamp(0, 1)
    low = _picked(len(lit), LOW_RESOLUTION, generator, lit.device)
    return planes | {"lit": low * coarse + (1 - low) * lit}


def _picked(count: int, share: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """(B, 1, 1, 1) 1 for a random share of the batch, 0 for the rest."""
    return (torch.rand(count, 1, 1, 1, generator=generator) < share).float().to(device)

"""Procedural eyeball colours: radial iris structure, limbal ring, sclera with faint veins."""

import math

import torch
from torch import Tensor

from relit.geometry.smoothstep import smoothstep

IRIS_RADIUS_M = 0.0059  # horizontal visible iris diameter is 11.8 mm (Ruefer et al., Cornea 24, 2005)
PUPIL_RATIO = 0.30  # of the iris radius, in room light


def iris_texture(colour: Tensor, size: int) -> Tensor:
    """(size, size, 3) linear albedo of an iris seen from the front; the iris fills the inscribed circle.

    Args:
        colour: (3,) linear mean colour of the iris.
        size: edge length in texels. Outside the circle the sclera begins.
    """
    grid = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(-grid, grid, indexing="ij")
    return iris_albedo(torch.stack([x, y], -1), colour)


def iris_albedo(offset: Tensor, colour: Tensor) -> Tensor:
    """(..., 3) linear albedo at (..., 2) offsets from the iris centre, in iris radii (+X to the subject's left, +Y up).

    The stroma's fibres are sums of angular harmonics that bend with the radius; a brighter collarette surrounds the
    pupil and a dark limbal ring blends into the sclera.
    """
    radius = offset.norm(dim=-1)
    angle = torch.atan2(offset[..., 1], offset[..., 0])
    depth = ((radius - PUPIL_RATIO) / (1 - PUPIL_RATIO)).clamp(0, 1)
    fibres = torch.zeros_like(radius)
    generator = torch.Generator().manual_seed(7)
    for harmonic in (9, 14, 23, 31, 47, 61, 83, 109):
        phase, bend = (torch.rand(2, generator=generator) * 2 * math.pi).tolist()
        fibres = fibres + torch.sin(harmonic * angle + phase + (bend - 3) * 1.2 * torch.sin(5 * depth + bend)) / 4
    fibres = fibres * (0.5 + 0.5 * torch.sin(math.pi * depth))
    collarette = torch.exp(-(((depth - 0.28 - 0.03 * torch.sin(7 * angle)) / 0.12) ** 2))
    warm = torch.tensor([1.25, 1.0, 0.7])
    tone = colour * (0.95 + 0.28 * fibres + 0.25 * (1 - depth))[..., None]
    tone = tone * (1 + collarette[..., None] * (0.35 * warm - 0.1))
    tone = tone * (1 - 0.62 * smoothstep(0.72, 1.0, radius))[..., None]
    pupil = smoothstep(PUPIL_RATIO - 0.03, PUPIL_RATIO + 0.03, radius)[..., None]
    tone = tone.clamp_min(0.004) * pupil + 0.004 * (1 - pupil)
    outside = smoothstep(0.88, 1.10, radius)[..., None]
    return (tone * (1 - outside) + SCLERA * outside).clamp(0, 1)


SCLERA = torch.tensor([0.47, 0.41, 0.37])
_VEIN = torch.tensor([0.55, 0.16, 0.13])


def eye_albedo(offset_m: Tensor, iris_colour: Tensor) -> Tensor:
    """(..., 3) linear albedo of an eyeball at points given by their (..., 3) offset in metres from its centre.

    The eyeball looks along +Z. The sclera reddens and darkens away from the iris, with branching veins.
    """
    direction = offset_m / offset_m.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    angle = torch.atan2(direction[..., :2].norm(dim=-1), direction[..., 2])
    arc = angle / math.asin(IRIS_RADIUS_M / 0.012)  # 1 at the limbus
    plane = direction[..., :2] / direction[..., :2].norm(dim=-1, keepdim=True).clamp_min(1e-9) * arc[..., None]
    iris = iris_albedo(plane, iris_colour)
    around = torch.atan2(direction[..., 1], direction[..., 0])
    veins = torch.zeros_like(arc)
    for count, phase, wave in ((5, 0.3, 3.1), (8, 1.9, 4.7), (13, 0.8, 7.3)):
        course = around * count + phase + 0.5 * torch.sin(wave * arc + phase) + 0.25 * torch.sin(2.7 * wave * arc)
        veins = veins + 0.4 * (1 - torch.sin(course / 2).abs()).clamp_min(0) ** 24
    outward = smoothstep(1.0, 2.6, arc)
    veins = (veins * outward * 0.45).clamp(0, 0.4)[..., None]
    flesh = torch.tensor([0.86, 0.64, 0.58])
    sclera = SCLERA * (1 - (1 - flesh) * outward[..., None]) * (1 - veins) + _VEIN * veins
    inside = 1 - smoothstep(1.06, 1.16, arc)[..., None]
    return (iris * inside + sclera * (1 - inside)).clamp(0, 1)



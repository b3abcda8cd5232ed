"""Colour: the sRGB transfer, luminance, CIELAB and the individual typology angle. Differentiable, any leading shape.

8-bit codes, for networks and files, are rounded.
"""

import math

import numpy as np
import torch
from torch import Tensor

# Linear sRGB primaries to CIE XYZ, white point D65 (IEC 61966-2-1).
XYZ_FROM_RGB = torch.tensor(
    [[0.4123908, 0.3575843, 0.1804808], [0.2126390, 0.7151687, 0.0721923], [0.0193308, 0.1191948, 0.9505322]]
)
_WHITE = XYZ_FROM_RGB.sum(1)


def linear_from_srgb(srgb: Tensor) -> Tensor:
    """Linear light from sRGB-coded values, both with black 0 and white 1.

    Args:
        srgb: any shape; values below 0 are continued by the linear segment.

    Source: IEC 61966-2-1, section 5.2: exact piecewise curve.
    Convention: 0.5 becomes 0.2140.
    """
    power = ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, power)


def srgb_from_linear(linear: Tensor) -> Tensor:
    """sRGB-coded values from linear light, the inverse of `linear_from_srgb`.

    Source: IEC 61966-2-1, section 5.2.
    """
    power = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, power)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """uint8 codes of numbers of any shape: 0 to 255 for 0 to 1, clipped outside."""
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def srgb_bytes(linear: Tensor) -> np.ndarray:
    """uint8 sRGB codes of linear light of any shape, clipped as a camera does."""
    return as_bytes(srgb_from_linear(linear).numpy())


def luminance(linear: Tensor) -> Tensor:
    """Relative luminance (...) of linear RGB (..., 3): CIE Y with white 1."""
    return linear @ XYZ_FROM_RGB[1].to(linear)


def lab_from_linear(linear: Tensor) -> Tensor:
    """CIELAB (..., 3), L* in [0, 100], of linear RGB (..., 3) under D65.

    Source: CIE 15:2004, section 8.2.1.
    """
    xyz = linear @ XYZ_FROM_RGB.T.to(linear) / _WHITE.to(linear)
    d = 6 / 29
    f = torch.where(xyz > d**3, xyz.clamp_min(d**3) ** (1 / 3), xyz / (3 * d**2) + 4 / 29)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def linear_from_lab(lab: Tensor) -> Tensor:
    """Linear RGB (..., 3) of CIELAB (..., 3) under D65; may leave [0, 1] for colours outside the sRGB gamut."""
    lightness, a, b = lab.unbind(-1)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], -1)
    d = 6 / 29
    xyz = torch.where(f > d, f**3, 3 * d**2 * (f - 4 / 29)) * _WHITE.to(lab)
    return xyz @ torch.linalg.inv(XYZ_FROM_RGB.double()).T.to(lab)


def typology_angle_deg(linear: Tensor) -> Tensor:
    """Individual typology angle in degrees (...) of linear RGB albedo (..., 3): high is light, low is dark skin.

    Above 55 very light, 41 light, 28 intermediate, 10 tan, -30 brown, below dark.

    Source: Chardon, Cretois, Hourseau, "Skin colour typology and suntanning pathways",
    Int. J. Cosmetic Science 13, 1991: ITA = atan((L* - 50) / b*).
    Differs: atan2 with b* kept positive, so that grey is defined.
    Convention: L* = 70, b* = 15 gives 53.1 degrees.
    """
    lightness, _, b = lab_from_linear(linear).unbind(-1)
    return torch.atan2(lightness - 50, b.clamp_min(1e-3)) * (180 / math.pi)

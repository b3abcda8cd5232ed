"""Lights: spherical harmonics with a few directional lights, from and to panoramas, and the built-in ones.

An equirectangular picture shows at its centre what the face looks at (+Z), at its top what is above, and at its left
what lies to the subject's left.
"""

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import OpenEXR
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.harmonics import (
    BAND,
    COEFFICIENTS,
    diffuse_irradiance,
    prefilter,
    rotation_of_harmonics,
    sh_basis,
    specular_radiance,
    sphere_directions,
    table_irradiance,
)
from relit.errors import InputError
from relit.models.registry import load_tensors
from relit.types import Lighting

__all__ = [
    "LIGHT_NAMES",
    "diffuse_irradiance",
    "equirect_from_lighting",
    "exposed",
    "lighting_from_equirect",
    "load_lighting",
    "prefilter",
    "read_equirect",
    "rotate_lighting",
    "sh_basis",
    "specular_radiance",
    "table_irradiance",
    "uniform_lighting",
    "without_ringing",
]
LIGHT_NAMES = (
    "studio", "window", "rim", "sun", "softbox", "interior", "overcast", "sunset", "night", "forest", "chapel", "alley",
)  # fmt: skip
LIGHT_RADIUS_RAD = 0.045  # apparent radius given to directional lights: a softbox seen from afar, larger than the sun
LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])
WHITE_LEVEL = 1.35  # radiance of a white plane facing the camera's side, after exposure
MERGE_DEG = 25.0
MAX_WIDTH = 1024  # larger panoramas are reduced first: degree 8 and lights of 2 degrees need no more


def uniform_lighting(radiance: float = 1.0) -> Lighting:
    """Equal radiance from everywhere. Convention: radiance 1 has coefficient sqrt(4 pi) at index 0."""
    sh = torch.zeros(COEFFICIENTS, 3)
    sh[0] = radiance * math.sqrt(4 * math.pi)
    return Lighting(sh, torch.zeros(0, 3), torch.zeros(0, 3))


@lru_cache(maxsize=32)
def load_lighting(name_or_path: str | Path) -> Lighting:
    """A built-in light (one of LIGHT_NAMES) or an equirectangular .hdr or .exr file, exposed for skin.

    Raises:
        InputError: neither a known name nor a readable panorama.
    """
    if str(name_or_path) in LIGHT_NAMES:
        tensors = load_tensors("lights")
        return Lighting(*(tensors[f"{name_or_path}.{field}"] for field in ("sh", "directions", "irradiance")))
    return exposed(lighting_from_equirect(read_equirect(Path(name_or_path)), max_directional=3))


def read_equirect(path: Path) -> Float[Tensor, "H W 3"]:
    """Linear radiance of an equirectangular Radiance .hdr or OpenEXR file; negative values are cut to 0.

    Raises:
        InputError: it is missing, in another format or not twice as wide as high.
    """
    known = f"{path}: give an equirectangular .hdr or .exr file, or one of: {', '.join(LIGHT_NAMES)}"
    if not path.is_file():
        raise InputError(f"no light is called {known}")
    try:
        picture = _read_exr(path) if path.suffix.lower() == ".exr" else _read_hdr(path.read_bytes())
    except (ValueError, IndexError, KeyError, OSError, RuntimeError) as problem:
        raise InputError(f"cannot read {known} ({problem})") from None
    if abs(picture.shape[1] / picture.shape[0] - 2) > 0.05:
        raise InputError(f"{path} is {picture.shape[1]} x {picture.shape[0]}; a panorama is twice as wide as high")
    return torch.from_numpy(np.nan_to_num(picture, posinf=65504.0)).clamp_min(0)


def lighting_from_equirect(rgb: Float[Tensor, "H W 3"], max_directional: int = 0) -> Lighting:
    """The light of a panorama.

    Args:
        rgb: linear radiance, orientation as at the top of this file.
        max_directional: how many small bright sources become directional lights, so that their shadows and highlights
            stay crisp; the rest goes into the harmonics, free of negative radiance.
    """
    factor = -(-rgb.shape[1] // MAX_WIDTH)
    if factor > 1:
        rows, columns = rgb.shape[0] // factor * factor, rgb.shape[1] // factor * factor
        rgb = rgb[:rows, :columns].unflatten(0, (-1, factor)).unflatten(2, (-1, factor)).mean((1, 3))
    directions, solid_angle = equirect_grid(*rgb.shape[:2])
    pixels, directions = rgb.flatten(0, 1), directions.flatten(0, 1)
    area = solid_angle[:, None].expand(rgb.shape[:2]).flatten()
    rest, lights, power = _take_sources(pixels, directions, area, max_directional)
    sh = torch.zeros(COEFFICIENTS, 3)
    for part in torch.arange(len(rest)).split(1 << 16):
        sh += sh_basis(directions[part]).T @ (rest[part] * area[part, None])
    return Lighting(without_ringing(sh), lights, power)


def equirect_from_lighting(lighting: Lighting, height: int) -> Float[Tensor, "H W 3"]:
    """A panorama (height x 2 height) of a light; directional ones become disks that hold their energy."""
    directions, solid_angle = equirect_grid(height, 2 * height)
    picture = (sh_basis(directions) @ lighting.sh).clamp_min(0)
    for direction, irradiance in zip(lighting.directions, lighting.irradiance, strict=True):
        cosine = directions @ direction
        disk = (cosine >= min(math.cos(LIGHT_RADIUS_RAD), float(cosine.max()))).float()
        picture += disk[..., None] * irradiance / (disk.sum(1) * solid_angle).sum()
    return picture


def rotate_lighting(lighting: Lighting, rotation: Float[Tensor, "3 3"]) -> Lighting:
    """The light after the whole scene has been turned: what came from `d` comes from `rotation @ d`."""
    return Lighting(
        rotation_of_harmonics(rotation) @ lighting.sh, lighting.directions @ rotation.T, lighting.irradiance
    )


def exposed(lighting: Lighting, compensation: float = 1.0) -> Lighting:
    """The light scaled so that white surfaces facing the front shine with WHITE_LEVEL * compensation on average."""
    normals = sphere_directions(512)
    normals = normals[normals[:, 2] > 0.3]
    irradiance = diffuse_irradiance(lighting.sh, normals).clamp_min(0)
    irradiance = irradiance + (normals @ lighting.directions.T).clamp_min(0) @ lighting.irradiance
    mean = (irradiance @ LUMINANCE * normals[:, 2]).sum() / normals[:, 2].sum() / math.pi
    scale = WHITE_LEVEL * compensation / mean.clamp_min(1e-8)
    return replace(lighting, sh=lighting.sh * scale, irradiance=lighting.irradiance * scale)


def without_ringing(sh: Float[Tensor, "81 3"]) -> Float[Tensor, "81 3"]:
    """Coefficients damped just enough in the high bands that no direction is negative; one window for all channels.

    Source: Sloan 2017, "Deringing spherical harmonics", with the window 1 / (1 + lambda l^2 (l + 1)^2).
    """
    directions = sphere_directions(3000)
    basis = sh_basis(directions)
    floor = -0.01 * sh[0].clamp_min(0) / math.sqrt(4 * math.pi)

    def damped(strength: float) -> Tensor:
        return sh / (1 + strength * (BAND * (BAND + 1.0)) ** 2)[:, None]

    def positive(strength: float) -> bool:
        return bool((basis @ damped(strength) >= floor).all())

    if positive(0.0):
        return sh
    low, high = -14.0, 4.0  # log2 of the window's strength
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (low, middle) if positive(2**middle) else (middle, high)
    return damped(2**high)


def equirect_grid(height: int, width: int) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H"]]:
    """Directions of the texel centres, and the solid angle of a texel of each row."""
    polar = (torch.arange(height) + 0.5) / height * math.pi
    azimuth = (0.5 - (torch.arange(width) + 0.5) / width) * 2 * math.pi
    ring = polar.sin()[:, None]
    x, z = ring * azimuth.sin(), ring * azimuth.cos()
    edges = torch.linspace(0, math.pi, height + 1).cos()
    return torch.stack([x, polar.cos()[:, None].expand_as(x), z], -1), (edges[:-1] - edges[1:]) * 2 * math.pi / width


def _take_sources(pixels: Tensor, directions: Tensor, area: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The picture without its small bright sources, and these as directions and irradiances, strongest first.

    A source is what exceeds four times its surroundings (the ring of 12 to 24 degrees) within 12 degrees of the
    brightest texel, and gives more than 2 % of the whole flux.
    """
    rest, lights, power = pixels.clone(), [], []
    total = (pixels @ LUMINANCE * area).sum()
    for _ in range(count):
        luminance = rest @ LUMINANCE
        cosine = directions @ directions[luminance.argmax()]
        disk = (cosine > math.cos(math.radians(12))).nonzero()[:, 0]
        ring = (cosine > math.cos(math.radians(24))) & (cosine <= math.cos(math.radians(12)))
        surround = rest[ring].mean(0)
        bright = disk[luminance[disk] > 4 * (surround @ LUMINANCE)]
        taken = (rest[bright] - surround).clamp_min(0) * area[bright, None]
        if float(taken.sum(0) @ LUMINANCE) < 0.02 * float(total):
            break
        rest[bright] = torch.minimum(rest[bright], surround)
        lights.append(normalize((taken @ LUMINANCE) @ directions[bright], dim=0))
        power.append(taken.sum(0))
    if not lights:
        return rest, pixels.new_zeros(0, 3), pixels.new_zeros(0, 3)
    return rest, *_merged(torch.stack(lights), torch.stack(power))


def _merged(directions: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """The lights with close ones made one: parts of a softbox would throw several hard shadows."""
    kept: list[tuple[Tensor, Tensor]] = []
    for direction, irradiance in zip(directions, power, strict=True):
        near = [i for i, (other, _) in enumerate(kept) if other @ direction > math.cos(math.radians(MERGE_DEG))]
        if near:
            other, held = kept[near[0]]
            middle = other * (held @ LUMINANCE) + direction * (irradiance @ LUMINANCE)
            kept[near[0]] = normalize(middle, dim=0), held + irradiance
        else:
            kept.append((direction, irradiance))
    return torch.stack([d for d, _ in kept]), torch.stack([p for _, p in kept])


def _read_exr(path: Path) -> np.ndarray:
    channels = OpenEXR.File(str(path)).channels()
    if "RGB" in channels or "RGBA" in channels:
        return np.asarray(channels.get("RGB", channels.get("RGBA")).pixels)[..., :3].astype(np.float32)
    return np.stack([np.asarray(channels[name].pixels) for name in "RGB"], -1).astype(np.float32)


def _read_hdr(data: bytes) -> np.ndarray:
    """Decode a Radiance picture (RGBE, run-length coded or flat).

    Source: Ward 1991, "Real pixels", and the format's description in Radiance's filefmts.
    """
    if not data.startswith((b"#?RADIANCE", b"#?RGBE")):
        raise ValueError("no Radiance header")
    header_end = data.index(b"\n\n") + 2
    line_end = data.index(b"\n", header_end)
    sign_y, height, sign_x, width = data[header_end:line_end].split()
    if (sign_y, sign_x) != (b"-Y", b"+X"):
        raise ValueError("only upright scan lines (-Y +X) are supported")
    height, width = int(height), int(width)
    if not 0 < height * width <= 1 << 27:
        raise ValueError(f"impossible size {width} x {height}")
    coded = np.frombuffer(data, np.uint8, offset=line_end + 1)
    if not (8 <= width < 32768 and len(coded) > 3 and coded[0] == coded[1] == 2):
        rgbe = coded[: height * width * 4].reshape(height, width, 4)
    else:
        rgbe = np.empty((height, width, 4), np.uint8)
        at = 0
        for row in range(height):
            at += 4
            for channel in range(4):
                filled = 0
                while filled < width:
                    run = int(coded[at])
                    if run > 128:
                        rgbe[row, filled : filled + run - 128, channel] = coded[at + 1]
                        at, filled = at + 2, filled + run - 128
                    elif run > 0:
                        rgbe[row, filled : filled + run, channel] = coded[at + 1 : at + 1 + run]
                        at, filled = at + 1 + run, filled + run
                    else:
                        raise ValueError("a run of length 0")
    scale = np.ldexp(1.0, rgbe[..., 3:].astype(np.int32) - 136).astype(np.float32)
    return np.where(rgbe[..., 3:] > 0, (rgbe[..., :3] + 0.5) * scale, 0.0).astype(np.float32)

"""What people wear at the neck in photographs: cloth painted over the shoulders, with a shadow at its collar."""

from dataclasses import replace

import numpy as np
import torch

from relit.geometry.smoothstep import smoothstep
from relit.synth.layout import layout
from relit.synth.noise import noise
from relit.types import ReflectanceMaps

WORN = 0.8  # share of photographs
_NECK_MM = (-128.0, -152.0)  # height of the collar at the side of the neck, close and wide
_F0, _ROUGHNESS = 0.04, 0.85


def dressed(maps: ReflectanceMaps, rng: np.random.Generator) -> tuple[ReflectanceMaps, np.ndarray]:
    """The maps with cloth on the shoulders, or as they are, and (S, S) [0, 1] where the cloth is.

    The true maps of a subject are those without it.
    """
    size = len(maps.roughness)
    here = layout(size)
    collar, slope, point = rng.uniform(*_NECK_MM[::-1]), rng.uniform(0.25, 0.5), rng.choice([0.0, 0.0, 0.9])
    colour = _cloth(rng)
    seed, striped = int(rng.integers(1 << 15)), rng.random() < 0.15
    if rng.random() > WORN:
        return maps, np.zeros((size, size), np.float32)
    x, y, z = (here.position_mm[..., axis] for axis in range(3))
    # the collar falls towards the front, to a point in a V-neck
    front = smoothstep(0, 40, z) * np.clip(60 - np.abs(x), 0, None) * point
    inside = collar - slope * z - front - y
    skin = here.part == 0
    cloth = smoothstep(0.0, 1.2, inside) * skin
    near = np.exp(-(((inside + 1.5) / 3.0) ** 2)) * (inside < 0.5) * skin  # the rib's shadow on the skin beside it
    weave = 1 + 0.10 * noise(here, 1.3, seed, cloth) + 0.10 * noise(here, 25.0, seed + 1)
    rib = 1 - 0.25 * smoothstep(9.0, 8.0, inside) * smoothstep(6.5, 7.5, inside)
    shade = np.clip(weave * rib, 0.3, 1.6)
    if striped:
        shade = shade * np.where(np.sin(y * (2 * np.pi / 14)) > 0, 1.0, 0.45)
    fabric = np.clip(colour * shade[..., None], 0.01, 0.9)
    albedo = maps.diffuse_albedo.numpy() * (1 - 0.35 * near[..., None])
    over = lambda below, above: torch.from_numpy((below + cloth * (above - below)).astype(np.float32))  # noqa: E731
    return replace(
        maps,
        diffuse_albedo=torch.from_numpy((albedo + cloth[..., None] * (fabric - albedo)).astype(np.float32)),
        specular_albedo=over(maps.specular_albedo.numpy(), _F0),
        roughness=over(maps.roughness.numpy(), _ROUGHNESS),
    ), cloth.astype(np.float32)


def _cloth(rng: np.random.Generator) -> np.ndarray:
    """(3,) linear albedo: mostly white, grey, black and navy, some colours."""
    plain = [(0.70, 0.69, 0.66), (0.02, 0.02, 0.022), (0.12, 0.12, 0.125), (0.015, 0.022, 0.05), (0.30, 0.30, 0.31)]
    if rng.random() < 0.6:
        return np.array(plain[rng.integers(len(plain))]) * rng.uniform(0.85, 1.2)
    hue = rng.uniform(0, 2 * np.pi)
    vivid = 0.5 + 0.45 * np.cos(hue + np.array([0.0, 2.1, 4.2]))
    return np.clip(rng.uniform(0.1, 0.6) * vivid ** rng.uniform(0.6, 2.0), 0.01, 0.8)

"""Lights of all kinds for synthetic subjects: panoramas turned and mixed, sun, window, flash, coloured lamps."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from relit.appearance.harmonics import BAND, COEFFICIENTS, DEGREE
from relit.appearance.lighting import LUMINANCE, diffuse_irradiance, exposed, rotate_lighting, sh_basis, uniform_lighting
from relit.geometry.transforms import rotation_from_yaw_pitch
from relit.synth.panoramas import BACKDROP_ROWS, backdrop, luminance_at_front, panorama_names, stored_lighting
from relit.types import Lighting

KINDS = {"panorama": 0.44, "mixed": 0.10, "sun": 0.14, "window": 0.12, "flash": 0.06, "ring": 0.04, "coloured": 0.10}
SUN_RAD, FLASH_RAD = math.radians(0.265), math.radians(0.5)  # the flash: 8 mm across at half a metre
POINT_RAD = math.radians(2.0)  # lamps up to this radius are directional lights
_DARKEST_FRONT = 0.35  # least share of the light that reaches the side turned to the camera: else all is noise


@dataclass(frozen=True)
class Layer:
    """A panorama in a scene."""

    name: str
    rotation: Tensor  # (3, 3) what came from `d` comes from `rotation @ d`
    gain: Tensor  # (3,) on the stored panorama


@dataclass(frozen=True)
class Lamp:
    """A disk of even radiance."""

    direction: Tensor  # (3,) unit, towards it, head frame
    radius_rad: float
    irradiance: Tensor  # (3,) on a surface facing it


@dataclass(frozen=True)
class Scene:
    """A light, what lies behind the subject, and how it was made."""

    kind: str
    names: tuple[str, ...]  # of the panoramas in it
    lighting: Lighting
    backdrop: np.ndarray  # (B, 2 B, 3) linear equirectangular radiance
    layers: tuple[Layer, ...]  # the same light, for renderers that need no harmonics
    lamps: tuple[Lamp, ...]


def draw_scene(
    split: str,
    towards_camera: np.ndarray,
    rng: np.random.Generator,
    kind: str | None = None,
    folders: tuple[str, ...] = (),
) -> Scene:
    """A scene.

    Args:
        towards_camera: (3,) unit, in the head frame: where flashes come from.
        kind: of KINDS; default a random one.
        folders: with further panoramas, for the training split.
    """
    kind = kind or str(rng.choice(list(KINDS), p=np.array(list(KINDS.values()))))
    layers, lighting, behind = _panoramas(panorama_names(split, folders), 2 if kind == "mixed" else 1, folders, rng)
    kept, lamps = 1.0, ()
    made = {"sun": _sun, "window": _window, "flash": _flash, "ring": _ring, "coloured": _coloured}.get(kind)
    if made is not None:
        lamps, kept = made(torch.from_numpy(np.asarray(towards_camera, np.float32)), rng)
        lighting = _sum(_scaled(lighting, kept), _lighting_of(lamps))
        behind = behind * kept
    before = luminance_at_front(lighting)
    lighting = exposed(lighting)
    gain = luminance_at_front(lighting) / before
    return Scene(
        kind=kind,
        names=tuple(layer.name for layer in layers),
        lighting=lighting,
        backdrop=behind * gain,
        layers=tuple(replace(layer, gain=layer.gain * kept * gain) for layer in layers),
        lamps=tuple(replace(lamp, irradiance=lamp.irradiance * gain) for lamp in lamps),
    )


def cap_harmonics(direction: Tensor, radius_rad: float, colour: Tensor) -> Tensor:
    """(81, 3) a disk of even radiance that gives the irradiance `colour` on a surface facing it, windowed.

    Source: the Funk-Hecke theorem; window of Lanczos, one third of its width, against ringing.
    """
    cosine = torch.linspace(math.cos(radius_rad), 1, 200, dtype=torch.float64)
    legendre = [torch.ones_like(cosine), cosine]
    for degree in range(2, DEGREE + 1):
        legendre.append(((2 * degree - 1) * cosine * legendre[-1] - (degree - 1) * legendre[-2]) / degree)
    factor = torch.stack([torch.trapezoid(p, cosine) for p in legendre]) * 2 * math.pi
    facing = math.pi * math.sin(radius_rad) ** 2
    band = torch.arange(DEGREE + 1, dtype=torch.float64) / (DEGREE + 1.5)
    window = torch.sinc(band)
    return ((factor * window / facing).float()[BAND] * sh_basis(direction[None])[0])[:, None] * colour


def _lighting_of(lamps: tuple[Lamp, ...]) -> Lighting:
    """Points become directional lights, broad lamps harmonics."""
    points = [lamp for lamp in lamps if lamp.radius_rad <= POINT_RAD]
    sh = torch.zeros(COEFFICIENTS, 3)
    for lamp in lamps:
        if lamp.radius_rad > POINT_RAD:
            sh = sh + cap_harmonics(lamp.direction, lamp.radius_rad, lamp.irradiance)
    stacked = lambda rows: torch.stack(rows) if rows else torch.zeros(0, 3)  # noqa: E731
    return Lighting(sh, stacked([p.direction for p in points]), stacked([p.irradiance for p in points]))


def _panoramas(
    names: tuple[str, ...], count: int, folders: tuple[str, ...], rng: np.random.Generator
) -> tuple[tuple[Layer, ...], Lighting, np.ndarray]:
    """One panorama or the mix of several, each turned about the vertical, brightness and white balance varied."""
    chosen = tuple(str(name) for name in rng.choice(names, count, replace=False))
    share = rng.dirichlet(np.full(count, 2.0))
    total, behind = _scaled(uniform_lighting(), 0.0), np.zeros((BACKDROP_ROWS, 2 * BACKDROP_ROWS, 3), np.float32)
    layers = []
    for name, weight in zip(chosen, share, strict=True):
        stored = stored_lighting(name, folders)
        light, azimuth, rotation = stored, 0.0, torch.eye(3)
        for _ in range(4):  # turned until some of the light comes from the front
            azimuth = rng.uniform(-math.pi, math.pi)
            rotation = rotation_from_yaw_pitch(azimuth, float(rng.normal(0, 0.12)))
            light = rotate_lighting(stored, rotation)
            if luminance_at_front(light) > _DARKEST_FRONT * float(stored.sh[0] @ LUMINANCE):
                break
        turned = np.roll(backdrop(name, folders), -round(azimuth / (2 * math.pi) * 2 * BACKDROP_ROWS), axis=1)
        total, behind = _sum(total, _scaled(light, float(weight))), behind + weight * turned
        layers.append(Layer(name, rotation, torch.tensor(float(weight))))
    tint = _temperature_tint(rng.normal(0, 0.5))
    balanced = _neutral(total) ** -float(rng.uniform(0.3, 1.0)) * tint  # a camera takes most of the tint out
    layers = tuple(replace(layer, gain=layer.gain * balanced) for layer in layers)
    return layers, _scaled(total, balanced), behind.astype(np.float32) * balanced.numpy()


def _neutral(lighting: Lighting) -> Tensor:
    """(3,) the light's mean colour at luminance 1."""
    normals = torch.nn.functional.normalize(torch.tensor([[0, 0, 1.0], [0.7, 0, 1], [-0.7, 0, 1]]), dim=1)
    mean = diffuse_irradiance(lighting.sh, normals).clamp_min(1e-4).mean(0)
    mean = mean + (normals @ lighting.directions.T).clamp_min(0).mean(0) @ lighting.irradiance
    return mean / (mean @ LUMINANCE)


def _temperature_tint(warmth: float) -> Tensor:
    """(3,) factor of a warmer (> 0) or cooler light at luminance 1: one unit is about 1500 K around daylight."""
    colour = torch.exp(torch.tensor([0.16, 0.0, -0.26]) * warmth)
    return colour / (colour @ LUMINANCE)


def _scaled(lighting: Lighting, factor) -> Lighting:
    return replace(lighting, sh=lighting.sh * factor, irradiance=lighting.irradiance * factor)


def _sum(first: Lighting, second: Lighting) -> Lighting:
    return Lighting(
        first.sh + second.sh,
        torch.cat([first.directions, second.directions]),
        torch.cat([first.irradiance, second.irradiance]),
    )


def _towards(azimuth_deg: float, elevation_deg: float) -> Tensor:
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    ring = math.cos(elevation)
    return torch.tensor([ring * math.sin(azimuth), math.sin(elevation), ring * math.cos(azimuth)])


def _sun(_, rng: np.random.Generator) -> tuple[tuple[Lamp, ...], float]:
    """Hard light of one direction over a dimmed panorama."""
    direction = _towards(float(rng.normal(0, 60)), float(rng.uniform(12, 70)))
    colour = _temperature_tint(float(rng.normal(0.3, 0.5))) * float(rng.uniform(2.0, 5.0))
    return (Lamp(direction, SUN_RAD, colour),), float(rng.uniform(0.2, 0.7))


def _window(_, rng: np.random.Generator) -> tuple[tuple[Lamp, ...], float]:
    """A broad soft light from one side, the room dim."""
    side = rng.choice([-1, 1])
    direction = _towards(float(side * rng.uniform(25, 105)), float(rng.uniform(-5, 40)))
    colour = _temperature_tint(float(rng.normal(-0.3, 0.6))) * float(rng.uniform(2.0, 4.0))
    return (Lamp(direction, math.radians(rng.uniform(18, 40)), colour),), float(rng.uniform(0.08, 0.35))


def _flash(towards_camera: Tensor, rng: np.random.Generator) -> tuple[tuple[Lamp, ...], float]:
    """A phone's flash: hard and frontal, a little beside the lens."""
    offset = torch.tensor(rng.normal(0, 0.05, 3), dtype=torch.float32)
    direction = torch.nn.functional.normalize(towards_camera + offset, dim=0)
    colour = _temperature_tint(float(rng.normal(-0.2, 0.3))) * float(rng.uniform(2.5, 5.0))
    return (Lamp(direction, FLASH_RAD, colour),), float(rng.uniform(0.1, 0.6))


def _ring(towards_camera: Tensor, rng: np.random.Generator) -> tuple[tuple[Lamp, ...], float]:
    """A ring light about the lens."""
    colour = _temperature_tint(float(rng.normal(0, 0.3))) * float(rng.uniform(2.0, 4.0))
    return (Lamp(towards_camera, math.radians(rng.uniform(12, 25)), colour),), float(rng.uniform(0.1, 0.5))


def _coloured(_, rng: np.random.Generator) -> tuple[tuple[Lamp, ...], float]:
    """Two lamps of different colours from both sides."""
    lamps = []
    for side in (-1, 1):
        hue = rng.uniform(0, 2 * math.pi)
        colour = torch.tensor([1 + 0.75 * math.cos(hue + k * 2.1) for k in range(3)]) ** rng.uniform(0.3, 1.5)
        direction = _towards(float(side * rng.uniform(20, 130)), float(rng.uniform(-10, 45)))
        strength = float(rng.uniform(0.8, 2.5)) / float(colour @ LUMINANCE)
        lamps.append(Lamp(direction, math.radians(rng.uniform(12, 35)), colour * strength))
    return tuple(lamps), float(rng.uniform(0.1, 0.4))

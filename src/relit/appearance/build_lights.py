"""Builds `assets/lights.safetensors`: python -m relit.appearance.build_lights --hdri FOLDER

The folder holds the CC0 panoramas of Poly Haven named below. The other lights are drawn here.
"""

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.harmonics import diffuse_irradiance, sh_basis, sphere_directions
from relit.appearance.lighting import (
    LIGHT_NAMES,
    LUMINANCE,
    equirect_grid,
    exposed,
    lighting_from_equirect,
    read_equirect,
    rotate_lighting,
    without_ringing,
)
from relit.errors import run_script
from relit.geometry.transforms import rotation_from_yaw_pitch
from relit.models.registry import assets_folder, record
from relit.types import Lighting

HEIGHT = 256
SOFT_RADIUS_DEG = 14.0
WHITE_BALANCE = 0.6


@dataclass(frozen=True)
class Panorama:
    """Where a built-in light comes from, and to which azimuth its strongest light is turned."""

    file: str
    key_azimuth_deg: float  # > 0 is the subject's left
    exposure: float = 1.0  # compensation
    crisp: float = 1.0  # share of a directional light that stays one; the rest becomes a disk of SOFT_RADIUS_DEG


PANORAMAS = {
    "softbox": Panorama("studio_small_03_1k", 42, 0.9, crisp=0.25),
    "interior": Panorama("lebombo_1k", -50),
    "overcast": Panorama("potsdamer_platz_1k", 30),
    "sunset": Panorama("quarry_01_1k", -55, 0.9, crisp=0.8),
    "night": Panorama("royal_esplanade_1k", 35, 0.8, crisp=0.5),
    "forest": Panorama("phalzer_forest_01_1k", 40, 0.9),
    "chapel": Panorama("sepulchral_chapel_rotunda_1k", -30),
    "alley": Panorama("urban_alley_01_1k", 35),
}


def towards(azimuth_deg: float, elevation_deg: float) -> Tensor:
    """The unit direction to a light; azimuth > 0 is the subject's left, 180 is behind."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    ring = math.cos(elevation)
    return torch.tensor([ring * math.sin(azimuth), math.sin(elevation), ring * math.cos(azimuth)])


def from_panorama(folder: Path, source: Panorama) -> Lighting:
    """The light of a panorama, turned so that its key light comes from the wanted side."""
    lighting = lighting_from_equirect(read_equirect(folder / f"{source.file}.hdr"), max_directional=4)
    key = lighting.sh[[3, 1, 2]] @ LUMINANCE * math.sqrt(4 * math.pi / 3)
    if len(lighting.directions):
        strength = lighting.irradiance @ LUMINANCE
        key = lighting.directions[strength.argmax()] if strength.max() > 0.3 * key.norm() else key
    azimuth = math.atan2(float(key[0]), float(key[2]))
    turn = rotation_from_yaw_pitch(math.radians(source.key_azimuth_deg) - azimuth, 0.0)
    return exposed(balanced(softened(rotate_lighting(lighting, turn), source.crisp)), source.exposure)


def balanced(lighting: Lighting) -> Lighting:
    """The light with its tint reduced as a camera's white balance does, by the share WHITE_BALANCE on a log scale."""
    normals = sphere_directions(500)
    normals = normals[normals[:, 2] > 0.3]
    mean = diffuse_irradiance(lighting.sh, normals).clamp_min(0).mean(0)
    mean = mean + (normals @ lighting.directions.T).clamp_min(0).mean(0) @ lighting.irradiance
    gain = (mean / (mean @ LUMINANCE)) ** -WHITE_BALANCE
    return replace(lighting, sh=lighting.sh * gain, irradiance=lighting.irradiance * gain)


def softened(lighting: Lighting, crisp: float) -> Lighting:
    """The light with all but the share `crisp` of its directional lights spread over disks in the harmonics."""
    if crisp == 1 or len(lighting.directions) == 0:
        return lighting
    grid, solid_angle = equirect_grid(HEIGHT, 2 * HEIGHT)
    disks = (grid @ lighting.directions.T > math.cos(math.radians(SOFT_RADIUS_DEG))).float()  # [H, W, L]
    disks = disks / (disks * solid_angle[:, None, None]).sum((0, 1))
    soft = lighting_from_equirect(disks @ (lighting.irradiance * (1 - crisp)))
    return replace(lighting, sh=without_ringing(lighting.sh + soft.sh), irradiance=lighting.irradiance * crisp)


def drawn() -> dict[str, Lighting]:
    """The lights that need no panorama."""
    grid, _ = equirect_grid(HEIGHT, 2 * HEIGHT)
    sky = (grid[..., 1:2] * 0.5 + 0.5).clamp(0, 1)
    white, warm, cool = torch.ones(3), torch.tensor([1.0, 0.86, 0.72]), torch.tensor([0.78, 0.89, 1.0])

    def panel(azimuth: float, elevation: float, radius: float, colour: Tensor) -> Tensor:
        cosine = grid @ towards(azimuth, elevation)
        edge = math.cos(math.radians(radius)), math.cos(math.radians(radius * 0.7))
        return ((cosine - edge[0]) / (edge[1] - edge[0])).clamp(0, 1)[..., None] * colour

    studio = panel(40, 30, 26, 5.0 * warm) + panel(-55, 5, 40, 0.9 * cool) + panel(165, 35, 18, 4.0 * white) + 0.12
    studio_keys = [(38, 32, 1.5 * warm), (-150, 30, 0.8 * cool)]
    window = panel(68, 12, 38, 4.0 * cool) + 0.10 * warm * (1.3 - sky)
    rim = panel(0, 10, 40, 0.5 * white) + panel(130, 15, 18, 3.0 * cool) + panel(-130, 15, 18, 3.0 * warm) + 0.05
    rim_keys = [(125, 18, 1.1 * cool), (-125, 18, 1.1 * warm)]
    ground = (grid[..., 1:2] < 0) * torch.tensor([0.30, 0.26, 0.20])
    sun = (grid[..., 1:2] >= 0) * (0.35 * cool * torch.tensor([0.7, 0.9, 1.2]) * (1.6 - sky)) + ground
    return {
        "studio": exposed(_lighting(studio, studio_keys)),
        "window": exposed(_lighting(window, [(62, 14, 0.45 * cool)]), 0.9),
        "rim": exposed(_lighting(rim, rim_keys), 0.7),
        "sun": exposed(_lighting(sun, [(38, 44, 3.3 * torch.tensor([1.0, 0.94, 0.84]))]), 0.95),
    }


def _lighting(panorama: Tensor, keys: list[tuple[float, float, Tensor]]) -> Lighting:
    soft = lighting_from_equirect(panorama)
    if not keys:
        return soft
    return replace(
        soft,
        directions=normalize(torch.stack([towards(a, e) for a, e, _ in keys]), dim=1),
        irradiance=torch.stack([colour for _, _, colour in keys]),
    )


def main() -> None:
    """Writes the asset and its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hdri", type=Path, required=True)
    folder = parser.parse_args().hdri
    lights = drawn() | {name: from_panorama(folder, source) for name, source in PANORAMAS.items()}
    tensors = {
        f"{name}.{field}": getattr(lights[name], field).float().contiguous()
        for name in LIGHT_NAMES
        for field in ("sh", "directions", "irradiance")
    }
    save_file(tensors, assets_folder() / "lights.safetensors")
    lowest = min(float((sh_basis(sphere_directions(2000)) @ light.sh).min()) for light in lights.values())
    record(
        "lights",
        "lights.safetensors",
        licence="CC0-1.0",
        sources=[f"Poly Haven (CC0): {', '.join(source.file for source in PANORAMAS.values())}; the others are drawn"],
        command="python -m relit.appearance.build_lights --hdri FOLDER",
        metrics={"lights": len(lights), "lowest_radiance": round(lowest, 4)},
    )


if __name__ == "__main__":
    run_script(main)

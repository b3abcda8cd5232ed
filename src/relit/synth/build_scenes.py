"""Builds assets/scenes.safetensors: python -m relit.synth.build_scenes --hdri FOLDER (panoramas of Poly Haven, CC0).

Each panorama becomes a light (harmonics and a few directional lights) and a small picture of the backdrop.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from relit.appearance.lighting import exposed, lighting_from_equirect, read_equirect
from relit.models.registry import assets_folder, record
from relit.synth.light import BACKDROP_PEAK, BACKDROP_ROWS, luminance_at_front

QUALITY = 80


def build_scenes(folder: Path, output: Path) -> dict[str, float]:
    """Writes all panoramas of a folder as scenes and returns figures about them."""
    tensors = {}
    for path in sorted(folder.glob("*.hdr")):
        panorama = read_equirect(path)
        raw = lighting_from_equirect(panorama, max_directional=3)
        light = exposed(raw)
        for field in ("sh", "directions", "irradiance"):
            tensors[f"{path.stem}.{field}"] = getattr(light, field).float().contiguous()
        scale = luminance_at_front(light) / luminance_at_front(raw)
        small = cv2.resize(panorama.numpy() * scale, (2 * BACKDROP_ROWS, BACKDROP_ROWS), interpolation=cv2.INTER_AREA)
        code = np.round(255 * (np.clip(small, 0, BACKDROP_PEAK) / BACKDROP_PEAK) ** (1 / 3)).astype(np.uint8)
        coded = cv2.imencode(".webp", code[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
        tensors[f"{path.stem}.backdrop"] = torch.from_numpy(coded.ravel().copy())
    save_file(tensors, output)
    output.chmod(0o644)
    return {"panoramas": len(tensors) // 4}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hdri", type=Path, required=True)
    given = parser.parse_args()
    metrics = build_scenes(given.hdri, assets_folder() / "scenes.safetensors")
    record(
        "scenes",
        "scenes.safetensors",
        licence="CC0-1.0",
        sources=["Poly Haven panoramas (CC0), reduced to spherical harmonics and a backdrop of 192 x 96"],
        command="python -m relit.synth.build_scenes --hdri FOLDER",
        metrics=metrics,
    )


if __name__ == "__main__":
    main()

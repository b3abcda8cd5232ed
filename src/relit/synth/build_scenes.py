"""Builds assets/scenes.safetensors: python -m relit.synth.build_scenes --hdri FOLDER (panoramas of Poly Haven, CC0).

Each panorama becomes a light (harmonics and a few directional lights) and a small picture of the backdrop.
"""

import argparse
from pathlib import Path

from safetensors.torch import save_file

from relit.errors import run_script
from relit.models.registry import assets_folder, record
from relit.synth.panoramas import panorama_tensors


def build_scenes(folder: Path, output: Path) -> dict[str, float]:
    """Writes all panoramas of a folder as scenes and returns figures about them."""
    tensors = {}
    for path in sorted(folder.glob("*.hdr")):
        tensors |= {f"{path.stem}.{field}": value for field, value in panorama_tensors(path).items()}
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
    run_script(main)

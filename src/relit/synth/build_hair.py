"""Builds assets/hair.safetensors: python -m relit.synth.build_hair --parts FOLDER (MakeHuman's hair, CC0).

Each style is moved and scaled onto the mean head and bound to the scalp's vertices, so that it follows every identity.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from relit.errors import run_script
from relit.geometry.mesh import vertex_normals
from relit.models.head import load_head_model
from relit.models.registry import assets_folder, record
from relit.models.skin_transfer import read_obj
from relit.synth.hair_cards import BOUND_TO

SCALE = 0.104  # metres per unit of the sources
STYLES = ("bob02", "long01", "ponytail01", "short01", "short02", "short03", "short04")
TEXTURE = 512
SHELL_M, CAP_M = 0.007, 0.11  # distance of hair from the scalp, and how far below the top it is asked for
QUALITY = 85


def build_hair(parts: Path, output: Path) -> dict[str, float]:
    """Writes the hair styles and returns figures about them."""
    head = load_head_model()
    skin = head.triangles[head.part == 0].unique()
    points = head.mean[skin].numpy()
    normals = vertex_normals(head.mean, head.triangles)[skin].numpy()
    tree, tensors, misfit = cKDTree(points), {}, []
    for name in STYLES:
        vertices, coordinates, faces, texture_faces = read_obj(parts / name / f"{name}.obj")
        texture = cv2.imread(str(parts / name / f"{name}_diffuse.webp"), cv2.IMREAD_UNCHANGED)
        fitted, error = _fitted(vertices * SCALE, points, normals, tree)
        misfit.append(error)
        corners = np.stack([faces, texture_faces], -1)[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 2)
        both, index = np.unique(corners, axis=0, return_inverse=True)
        triangles = index.reshape(-1, 3)
        triangles = triangles[(triangles[:, 0] != triangles[:, 2]) & (triangles[:, 1] != triangles[:, 2])]
        place = fitted[both[:, 0]]
        _, nearest = tree.query(place, BOUND_TO)
        uv = coordinates[both[:, 1]] * [1, -1] + [0, 1]
        tensors |= {
            f"{name}.points": torch.from_numpy(place).half(),
            f"{name}.uv": torch.from_numpy(uv).half(),
            f"{name}.triangles": torch.from_numpy(triangles).to(torch.int16),
            f"{name}.bound": skin[torch.from_numpy(nearest)].to(torch.int16),
            f"{name}.texture": torch.from_numpy(_coded(texture)),
        }
    save_file({key: value.contiguous() for key, value in tensors.items()}, output)
    output.chmod(0o644)
    return {"styles": len(STYLES), "mean_gap_error_mm": round(1000 * float(np.mean(misfit)), 2)}


def _fitted(hair: np.ndarray, points: np.ndarray, normals: np.ndarray, tree: cKDTree) -> tuple[np.ndarray, float]:
    """The hair moved up, forward and scaled so that its cap lies evenly above the scalp, and the mean error of its gap."""
    top = hair[:, 1].max()
    cap = hair[hair[:, 1] > top - CAP_M]
    start = np.array([1.0, points[:, 1].max() + SHELL_M - top, 0.0])

    def moved(at: np.ndarray, what: np.ndarray) -> np.ndarray:
        middle = np.array([0, top - CAP_M / 2, cap[:, 2].mean()])
        return (what - middle) * at[0] + middle + np.array([0, at[1], at[2]])

    def gap_error(at: np.ndarray) -> float:
        place = moved(at, cap)
        _, near = tree.query(place)
        gap = ((place - points[near]) * normals[near]).sum(1) - SHELL_M
        return float(np.where(gap < 0, 3 * np.abs(gap), np.minimum(gap, 0.03)).mean())

    found = minimize(gap_error, start, method="Nelder-Mead", options={"initial_simplex": start + np.array(
        [[0, 0, 0], [0.06, 0, 0], [0, 0.01, 0], [0, 0, 0.02]])})  # fmt: skip
    return moved(found.x, hair), float(found.fun)


def _coded(texture: np.ndarray) -> np.ndarray:
    """Grey strands at mean brightness 128 with their coverage, as WebP; colour comes from the subject."""
    small = cv2.resize(texture, (TEXTURE, TEXTURE), interpolation=cv2.INTER_AREA).astype(np.float32)
    grey, alpha = small[..., :3].mean(-1), small[..., 3]
    solid = alpha > 128
    soft = cv2.GaussianBlur(grey * solid, (0, 0), 20) / np.maximum(cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 20), 0.05)
    even = np.clip(128 * (grey + 8) / (soft + 8), 20, 250)  # painted highlights and shadows go, strands stay
    picture = np.dstack([even, even, even, alpha]).astype(np.uint8)
    return cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].ravel().copy()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=Path, required=True, help="the folder with one folder per style")
    given = parser.parse_args()
    metrics = build_hair(given.parts, assets_folder() / "hair.safetensors")
    record(
        "hair",
        "hair.safetensors",
        licence="CC0-1.0",
        sources=["MakeHuman hair (CC0: MakeHuman core and community assets)"],
        command="python -m relit.synth.build_hair --parts FOLDER",
        metrics=metrics,
    )
    print(metrics)


if __name__ == "__main__":
    run_script(main)

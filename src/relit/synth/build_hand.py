"""Builds assets/hand.safetensors: python -m relit.synth.build_hand --mesh base.obj (MakeHuman's base mesh, CC0).

The left hand and forearm, cut from the body and bent at the finger joints into a few poses.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from relit.errors import run_script
from relit.models.registry import assets_folder, record

SCALE = 0.1  # metres per unit of the mesh
FOREARM = 2.0  # units of it that are kept
# Bend of the three joints of each finger, thumb first, in degrees.
POSES = {
    "open": ((0, 5, 5), (4, 6, 4), (3, 6, 4), (5, 8, 5), (8, 10, 6)),
    "relaxed": ((4, 8, 8), (10, 16, 8), (12, 20, 10), (14, 22, 12), (16, 24, 14)),
    "fist": ((22, 28, 40), (72, 88, 52), (76, 92, 54), (78, 92, 54), (80, 90, 54)),
}


def build_hand(mesh: Path, output: Path) -> dict[str, int]:
    """Writes the poses and returns figures about them."""
    vertices, groups = _read(mesh)
    joint = {name: vertices[np.unique(faces)].mean(0) for name, faces in groups.items() if name.startswith("joint-l")}
    at = lambda finger, k: joint[f"joint-l-finger-{finger}-{k}"]  # noqa: E731
    wrist, elbow = joint["joint-l-hand"], joint["joint-l-elbow"]
    up = _unit(at(3, 1) - wrist)
    across = _unit(at(2, 1) - at(5, 1))
    across = _unit(across - (across @ up) * up)
    frame = np.stack([across, up, np.cross(across, up)])
    body = groups["body"]
    along = (vertices - wrist) @ _unit(wrist - elbow)
    side = np.abs((vertices - wrist) @ np.cross(_unit(wrist - elbow), frame[2])) < 2.0
    inside = (along > -FOREARM) & (vertices[:, 0] > 2.5) & side
    quads = body[inside[body].all(1)]
    used, quads = np.unique(quads, return_inverse=True)
    quads = quads.reshape(-1, 4)
    rest = vertices[used]
    still = [(wrist, elbow), *((wrist, at(f, 1)) for f in range(1, 6))]
    bones = still + [(at(f, k), at(f, k + 1)) for f in range(1, 6) for k in (1, 2, 3)]
    weight = 1 / np.stack([_distance(rest, *bone) for bone in bones], 1) ** 4
    weight /= weight.sum(1, keepdims=True)
    origin = at(3, 1)
    tensors = {}
    for name, bends in POSES.items():
        moves = [np.eye(4)] * len(still)
        for finger in range(1, 6):
            move = np.eye(4)
            axis = _unit(np.cross(frame[2], at(finger, 4) - at(finger, 1))) if finger > 1 else _thumb_axis(at, frame)
            for k in (1, 2, 3):
                move = move @ _about(at(finger, k), axis, np.radians(bends[finger - 1][k - 1]))
                moves.append(move)
        blended = np.einsum("vb,bij->vij", weight, np.stack(moves))
        posed = np.einsum("vij,vj->vi", blended, np.concatenate([rest, np.ones((len(rest), 1))], 1))[:, :3]
        tensors[name] = torch.from_numpy(((posed - origin) @ frame.T * SCALE).astype(np.float16))
    triangles = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    tensors["triangles"] = torch.from_numpy(triangles.astype(np.int16))
    save_file({key: value.contiguous() for key, value in tensors.items()}, output)
    output.chmod(0o644)
    return {"vertices": len(rest), "poses": len(POSES)}


def _read(mesh: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Vertices (V, 3), and the faces (F, 4) of each group."""
    vertices, groups, group = [], {}, ""
    for line in mesh.read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "v":
            vertices.append([float(x) for x in rest.split()])
        elif word in ("g", "o"):
            group = rest.split()[0]
        elif word == "f":
            groups.setdefault(group, []).append([int(corner.split("/")[0]) - 1 for corner in rest.split()])
    return np.array(vertices), {name: np.array(faces) for name, faces in groups.items()}


def _thumb_axis(at, frame: np.ndarray) -> np.ndarray:
    """The thumb bends across the palm."""
    return _unit(np.cross(frame[2] + 0.9 * frame[0], at(1, 4) - at(1, 1)))


def _distance(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(V,) distance of points from a line between two points."""
    line = end - start
    share = np.clip((points - start) @ line / (line @ line), 0, 1)
    return np.maximum(np.linalg.norm(points - start - share[:, None] * line, axis=1), 1e-3)


def _about(centre: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """(4, 4) rotation about an axis through a point (Rodrigues)."""
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = turn, centre - turn @ centre
    return move


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mesh", type=Path, required=True)
    given = parser.parse_args()
    metrics = build_hand(given.mesh, assets_folder() / "hand.safetensors")
    record(
        "hand",
        "hand.safetensors",
        licence="CC0-1.0",
        sources=["MakeHuman base mesh (CC0)"],
        command="python -m relit.synth.build_hand --mesh base.obj",
        metrics=metrics,
    )
    print(metrics)


if __name__ == "__main__":
    run_script(main)

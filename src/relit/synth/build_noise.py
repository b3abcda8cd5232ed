"""Builds the asset `observation_noise`: how photographs differ from what the landmark and embedding models expect.

    python -m relit.synth.build_noise --portraits FOLDER

FOLDER holds the collages of SFHQ. The photographs are drawn from the training split; each takes two seconds of one core.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from relit.appearance.colour import linear_from_srgb
from relit.errors import NoFaceFound, run_script
from relit.geometry.camera import project
from relit.models import registry
from relit.models.head import HeadModel, landmark_points, load_head_model
from relit.models.head_build.population import similarity
from relit.models.identity import NOISE
from relit.models.landmarks import detect_faces, detect_landmarks
from relit.models.recognition import align_face, load_recognition
from relit.observe.observe import observe
from relit.synth.camera import camera_of
from relit.synth.portrait_tiles import adult_tiles
from relit.synth.sample import Order, photo_of
from relit.synth.subject import neutral_of
from relit.types import Camera, Photo

SEED, PHOTOS = 77001, 400
RANK, LEAST_MM = 60, 0.4  # of the landmarks' covariance; of what is every landmark's own
COVERED_MM = 4.0  # root mean square of a photo's landmark errors from which they say nothing: masks, hands, dark lenses
SHAPE_MM, INDEPENDENT = 0.5, 200  # of true shapes that the modes do not hold, per independent vertex


@dataclass(frozen=True)
class Seen:
    """One synthetic photograph as observed, beside the truth."""

    embedding: np.ndarray  # (D,)
    identity: np.ndarray  # (K,) that comes nearest to the true shape
    error_mm: np.ndarray  # (468, 2) detected less true landmarks at the head, x and y along the head's own axes


def photographs(count: int) -> Iterator[Seen]:
    """Yields synthetic photographs of the training split in which a face is found."""
    model, order = load_head_model(), Order("photo", count, SEED)
    solve = _identity_solver(model)
    for index in range(count):
        subject, posed, shot, picture = photo_of(order, index)
        coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, shot.jpeg_quality])[1]
        rgb = np.ascontiguousarray(cv2.imdecode(coded, 1)[..., ::-1])
        size = rgb.shape[1::-1]
        try:
            seen = observe(Photo(str(index), linear_from_srgb(torch.from_numpy(rgb).float() / 255), None, size))
        except NoFaceFound:
            continue
        camera = camera_of(shot, size)
        error = error_mm(camera, landmark_points(model, posed.vertices), seen.landmarks.points_px)
        yield Seen(seen.identity_embedding.numpy(), solve(neutral_of(subject, model)), error)


def error_mm(camera: Camera, points: torch.Tensor, seen_px: torch.Tensor) -> np.ndarray:
    """(468, 2) detected less true landmarks in millimetres at the head, turned so that the head is upright."""
    pixels = project(camera, points)
    error = ((seen_px - pixels[:, :2]) * (1e3 * pixels[:, 2:] / camera.focal_px)).double().numpy()[:468]
    across = camera.camera_from_head[:2, 0].double().numpy()
    cosine, sine = across / np.linalg.norm(across)
    return error @ np.array([[cosine, -sine], [sine, cosine]])


def _identity_solver(model: HeadModel):
    """A function from a neutral head (V, 3) to the identity (K,) that comes nearest to its face, whatever its size."""
    weight = model.face_weight.double().numpy() + 0.02
    mean, modes = 1e3 * model.mean.double().numpy(), 1e3 * model.identity_modes.double().numpy()
    design = (modes * np.sqrt(weight)[:, None]).reshape(len(modes), -1)
    ridge = SHAPE_MM**2 * weight.sum() / INDEPENDENT
    inverse = np.linalg.solve(design @ design.T + ridge * np.eye(len(modes)), design)

    def solve(neutral: torch.Tensor) -> np.ndarray:
        true, fitted = 1e3 * neutral.double().numpy(), mean
        for _ in range(4):
            size, rotation, shift = similarity(true, fitted, weight)
            apart = (size * true @ rotation.T + shift - mean) * np.sqrt(weight)[:, None]
            identity = inverse @ apart.ravel()
            fitted = mean + np.tensordot(identity, modes, 1)
        return identity

    return solve


def portrait_embeddings(folder: Path) -> np.ndarray:
    """(n, D) of the adults on the collages."""
    network, found = load_recognition(), []
    for tile in adult_tiles(folder):
        faces = detect_faces(tile.srgb8)
        if faces:
            marks = detect_landmarks(tile.srgb8, max(faces, key=lambda face: face.box_px[2] - face.box_px[0]))
            linear = linear_from_srgb(torch.from_numpy(tile.srgb8).float() / 255)
            with torch.no_grad():
                found.append(network(align_face(linear, marks.points_px))[0].numpy())
    return np.array(found)


def embedding_noise(seen: list[Seen], portraits: np.ndarray) -> np.ndarray:
    """(D, D) mean square of what the response leaves of embeddings: half synthetic photographs, half portraits.

    Of portraits nobody knows the shapes: the response to the population's spread is taken off, and their average shape
    counts as the population's. About zero, not about the average: that photographs of all kinds are shifted against the
    renders from which the response was learned, and which way, tells nothing about a shape. No direction has less noise
    than those renders.
    """
    known = {name: value.double().numpy() for name, value in registry.load_tensors("identity").items()}
    response, floor = known["response"], np.linalg.cholesky(known["noise"])
    apart = np.array([s.embedding - known["embedding"] - response @ s.identity for s in seen])
    synthetic = apart.T @ apart / len(apart)
    apart = portraits - known["embedding"] - response @ known["mean"]
    real = apart.T @ apart / len(apart) - response @ known["covariance"] @ response.T
    return (_at_least(synthetic, floor) + _at_least(real, floor)) / 2


def _at_least(square: np.ndarray, root: np.ndarray) -> np.ndarray:
    """The matrix, raised to `root root^T` along the directions in which it is less."""
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(inverse @ square @ inverse.T)
    return root @ (vectors * np.maximum(values, 1)) @ vectors.T @ root.T


def landmark_errors(errors_mm: np.ndarray, model: HeadModel) -> dict[str, np.ndarray]:
    """Mean, principal factors and the rest of the landmarks' errors (n, 468, 2), each beside its mirror image."""
    index = np.setdiff1d(np.arange(468), model.oval_landmarks.numpy())
    errors_mm = np.concatenate([errors_mm, (errors_mm * [-1, 1])[:, _mirrored(model)]])[:, index]
    middle = errors_mm - errors_mm.mean(1, keepdims=True)
    clear = np.sqrt((middle**2).sum(-1).mean(1)) < COVERED_MM
    rows = errors_mm[clear].reshape(clear.sum(), -1)
    mean = rows.mean(0)
    _, spread, axes = np.linalg.svd((rows - mean) / np.sqrt(len(rows)), full_matrices=False)
    factors = axes[:RANK] * spread[:RANK, None]
    rest = np.sqrt(np.maximum((rows - mean).var(0) - (factors**2).sum(0), LEAST_MM**2))
    return {
        "landmark_index": index.astype(np.int32),
        "landmark_mean_mm": mean.reshape(-1, 2).astype(np.float16),
        "landmark_factors_mm": factors.reshape(RANK, -1, 2).astype(np.float16),
        "landmark_rest_mm": rest.reshape(-1, 2).astype(np.float16),
    }


def _mirrored(model: HeadModel) -> np.ndarray:
    """(468,) the landmark on the other side."""
    points = (landmark_points(model, model.mean) - model.landmark_offset)[:468]
    return torch.cdist(points * points.new_tensor([-1.0, 1.0, 1.0]), points).argmin(1).numpy()


def write(seen: list[Seen], portraits: np.ndarray) -> None:
    """Writes and records the asset."""
    from safetensors.numpy import save_file

    file = f"{NOISE}.safetensors"
    embedding = embedding_noise(seen, portraits).astype(np.float32)
    arrays = {"embedding": embedding} | landmark_errors(np.array([s.error_mm for s in seen]), load_head_model())
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, registry.assets_folder() / file)
    registry.record(
        NOISE,
        file,
        licence="Apache-2.0 AND MIT",
        sources=[
            "relit synth, split train (sources of the assets head, skin, skin_detail, skin_portraits, scenes)",
            "SFHQ portraits of people who do not exist (MIT), embeddings of adults",
        ],
        command="python -m relit.synth.build_noise --portraits FOLDER",
        metrics={"photographs": len(seen), "portraits": len(portraits)},
    )


def main() -> None:
    """Draws, observes, writes and records the asset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--portraits", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    given = parser.parse_args()
    seen = []
    for one in photographs(given.photos):
        seen.append(one)
        if len(seen) % 50 == 0:
            print(f"{len(seen)}/{given.photos}", flush=True)
    write(seen, portrait_embeddings(given.portraits))


if __name__ == "__main__":
    run_script(main)

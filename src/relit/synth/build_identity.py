"""Builds the asset `identity`: the population of shapes, and what a face embedding tells about a shape.

    python -m relit.synth.build_identity --ict FOLDER

FOLDER holds ICT-FaceKit. Everything else is drawn and rendered from the shipped head, skin and lights.
"""

import argparse
import json
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from relit.appearance.colour import linear_from_srgb, srgb_from_linear
from relit.appearance.lighting import LIGHT_NAMES, load_lighting, rotate_lighting
from relit.errors import run_script
from relit.geometry.camera import FULL_FRAME_DIAGONAL_MM
from relit.geometry.mesh import vertex_normals
from relit.geometry.transforms import rigid, rotation_from_vector
from relit.head.eyes import paint_eyes
from relit.models import registry
from relit.models.head import HeadModel, load_head_model, neutral_vertices, posed_vertices
from relit.models.head_build.population import similarity
from relit.models.head_build.sources import read_ict
from relit.models.landmarks import detect_faces, detect_landmarks
from relit.models.recognition import align_face, load_recognition
from relit.models.skin import load_skin_model, skin_albedo
from relit.render.occlusion import light_transfer
from relit.render.render import render_fit
from relit.types import Camera

SEED = 5
DRAWS = 4000
HELD_OUT = 0.1
SIZE_PX = 224
# Scanned people are closer to photographed ones than MakeHuman's sliders are: their share of the population.
SCANNED = 0.6
FIT_NOISE_MM = 0.5  # of a scan's expression in the head model's modes, per independent vertex
INDEPENDENT = 200  # vertices
RIDGE = 30.0
IRISES = ((0.06, 0.028, 0.014), (0.10, 0.05, 0.025), (0.17, 0.24, 0.30), (0.13, 0.17, 0.09))  # linear


def population(model: HeadModel, ict_folder: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean [K] and covariance [K, K] of identities: ICT's people mixed with the head model's own unit Gaussian."""
    registration = {name: value.numpy() for name, value in registry.load_tensors("head_build").items()}
    count = int(registration["skin_count"][0])
    share = registration["ict_barycentric"][:count].astype(float)
    share = np.concatenate([share, 1 - share.sum(1, keepdims=True)], 1)
    carry = lambda field: np.einsum("pk,pkc->pc", share, field[registration["ict_triangle"][:count]])  # noqa: E731
    ict = read_ict(ict_folder)
    neutral = carry(ict.neutral) + registration["ict_offset_mm"][:count]
    modes = np.stack([carry(mode) for mode in ict.identity])
    mean_mm, own = 1000 * model.mean[:count].double().numpy(), 1000 * model.identity_modes[:, :count].double().numpy()
    weight = model.face_weight[:count].double().numpy() + 0.02
    scale = np.sqrt(weight * INDEPENDENT / count)[:, None] / FIT_NOISE_MM
    design = (own * scale).reshape(len(own), -1).T
    solve = np.linalg.solve(design.T @ design + np.eye(len(own)), design.T)
    found = []
    for coefficients in rng.normal(size=(1000, len(modes))):
        scan, fitted = neutral + np.tensordot(coefficients, modes, 1), mean_mm
        for _ in range(4):
            size, rotation, shift = similarity(scan, fitted, weight)
            identity = solve @ ((size * scan @ rotation.T + shift - mean_mm) * scale).ravel()
            fitted = mean_mm + np.tensordot(identity, own, 1)
        found.append(identity)
    centre, spread = np.mean(found, 0), np.cov(np.array(found).T)
    between = SCANNED * (1 - SCANNED) * np.outer(centre, centre)
    return SCANNED * centre, SCANNED * spread + (1 - SCANNED) * np.eye(len(own)) + between


class Booth:
    """Photographs drawn heads: random skin, light, camera, expression and noise around given identities."""

    def __init__(self, seed: int):
        self.model, self.skin, self.network = load_head_model(), load_skin_model(), load_recognition()
        self.lights = [load_lighting(name) for name in LIGHT_NAMES]
        self.rng = np.random.default_rng(seed)
        nobody = torch.zeros(len(self.model.identity_modes))
        mean = posed_vertices(
            self.model, neutral_vertices(self.model, nobody), torch.zeros(52), torch.zeros(2, 2)
        )
        # One occlusion for all: it changes far less from head to head than with the light.
        self.normals = vertex_normals(mean, self.model.triangles)
        self.transfer = light_transfer(mean, self.model.triangles)

    def embedding(self, identity: Tensor) -> Tensor | None:
        """The embedding of one random photo; None where no face is found in it."""
        rng = self.rng
        expression = torch.zeros(52)
        if rng.random() < 0.6:
            expression[rng.permutation(52)[:4]] = torch.from_numpy(rng.uniform(0, 0.4, 4)).float()
        gaze = torch.from_numpy(rng.uniform(-0.12, 0.12, 2)).float().expand(2, 2)
        vertices = posed_vertices(self.model, neutral_vertices(self.model, identity), expression, gaze)
        albedo = skin_albedo(self.skin, torch.from_numpy(rng.normal(size=len(self.skin.names)).clip(-2, 2)).float())
        albedo = paint_eyes(self.model, albedo, torch.tensor(IRISES[rng.integers(len(IRISES))]))
        light = rotate_lighting(
            self.lights[rng.integers(len(self.lights))],
            rotation_from_vector(torch.tensor([0.0, rng.uniform(-math.pi, math.pi), 0.0])),
        )
        with torch.no_grad():
            picture, alpha, _ = render_fit(
                self.model, vertices, albedo, self._camera(), light, self.transfer, self.normals
            )
            picture = picture + torch.from_numpy(rng.uniform(0, 0.4, 3)).float() * (1 - alpha[..., None])
            photo = self._developed(picture.numpy())
            faces = detect_faces(photo)
            if not faces:
                return None
            seen = detect_landmarks(photo, max(faces, key=lambda face: face.box_px[2] - face.box_px[0]))
            linear = linear_from_srgb(torch.from_numpy(photo).float() / 255)
            return self.network(align_face(linear, seen.points_px))[0]

    def _camera(self) -> Camera:
        rng = self.rng
        focal = rng.uniform(28, 100) / FULL_FRAME_DIAGONAL_MM * SIZE_PX * math.sqrt(2)
        distance = 0.27 * focal / SIZE_PX * rng.uniform(0.9, 1.2)  # the head fills the picture
        turn = rotation_from_vector(torch.from_numpy(rng.normal(0, (0.12, 0.22, 0.05))).float())
        rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn
        centre = torch.tensor([rng.uniform(-0.01, 0.01), rng.uniform(-0.02, 0.01), 0.05]).float()
        middle = torch.full((2,), SIZE_PX / 2)
        shift = torch.tensor([0.0, 0.0, distance]) - rotation @ centre
        return Camera(torch.tensor(focal).float(), middle, (SIZE_PX, SIZE_PX), rigid(rotation, shift))

    def _developed(self, linear: np.ndarray) -> np.ndarray:
        """(H, W, 3) 8-bit sRGB: exposure, blur, noise."""
        rng = self.rng
        third = SIZE_PX // 3
        middle = linear[third : 2 * third, third : 2 * third].mean()
        linear = cv2.GaussianBlur(linear * 0.3 / max(middle, 1e-6) * rng.uniform(0.5, 1.4), (0, 0), rng.uniform(0.2, 1.2))
        coded = 255 * srgb_from_linear(torch.from_numpy(linear).clamp(0, 1)).numpy()
        return np.clip(np.round(coded + rng.normal(0, rng.uniform(0, 4), coded.shape)), 0, 255).astype(np.uint8)


def learn_response(identities: np.ndarray, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Response [D, K], embedding of identity 0 [D], noise covariance [D, D] and the held-out share explained."""
    held = int(len(identities) * HELD_OUT)
    design = np.concatenate([identities, np.ones((len(identities), 1))], 1)
    train = design[held:]
    weights = np.linalg.solve(train.T @ train + RIDGE * np.eye(train.shape[1]), train.T @ embeddings[held:])
    error = embeddings[:held] - design[:held] @ weights
    noise = error.T @ error / held
    noise += 0.05 * np.trace(noise) / len(noise) * np.eye(len(noise))
    explained = 1 - (error**2).sum() / ((embeddings[:held] - embeddings.mean(0)) ** 2).sum()
    return weights[:-1].T, weights[-1], noise, float(explained)


def main() -> None:
    """Draws, renders, learns, writes and records the asset."""
    from safetensors.numpy import save_file

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ict", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=DRAWS)
    given = parser.parse_args()
    rng = np.random.default_rng(SEED)
    model = load_head_model()
    mean, covariance = population(model, given.ict, rng)
    root = np.linalg.cholesky(covariance)
    booth, identities, embeddings = Booth(SEED), [], []
    for index in range(given.draws):
        identity = (mean + root @ rng.normal(size=len(mean))).clip(-3, 3)
        embedding = booth.embedding(torch.from_numpy(identity).float())
        if embedding is not None:
            identities.append(identity)
            embeddings.append(embedding.numpy())
        if index % 200 == 199:
            print(f"{index + 1}/{given.draws}", flush=True)
    response, centre, noise, explained = learn_response(np.array(identities), np.array(embeddings, np.float64))
    arrays = {"mean": mean, "covariance": covariance, "response": response, "embedding": centre, "noise": noise}
    save_file(
        {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()},
        registry.assets_folder() / "identity.safetensors",
        metadata={"relit": json.dumps({"draws": len(identities)})},
    )
    registry.record(
        "identity",
        "identity.safetensors",
        licence="Apache-2.0 AND MIT",
        sources=[
            "renders of relit's own head, skin and lights as the asset sface sees them",
            "ICT-FaceKit (MIT), identity statistics",
        ],
        command="python -m relit.synth.build_identity --ict FOLDER",
        metrics={"draws": len(identities), "embedding_variance_explained_held_out": round(explained, 3)},
    )


if __name__ == "__main__":
    run_script(main)

"""What is measured of the detector's and the recognition network's errors, on made-up errors."""

import numpy as np
import torch

from relit.geometry.camera import look_at_face, project
from relit.geometry.transforms import rigid, rotation_from_vector
from relit.models.head import landmark_points, load_head_model
from relit.models.registry import load_tensors
from relit.synth.build_noise import Seen, embedding_noise, error_mm, landmark_errors


def test_errors_are_measured_in_millimetres_along_the_heads_axes():
    model, camera = load_head_model(), look_at_face((512, 512), 0.8)
    roll = rigid(rotation_from_vector(torch.tensor([0.0, 0.0, 0.4])), torch.zeros(3))
    points = landmark_points(model, model.mean)
    for turn in (torch.eye(4), roll):
        turned = type(camera)(camera.focal_px, camera.centre_px, camera.size_px, turn @ camera.camera_from_head)
        pixels = project(turned, points)
        along = turned.camera_from_head[:2, 0] / turned.camera_from_head[:2, 0].norm()
        found = error_mm(turned, points, pixels[:, :2] + along * (0.002 * turned.focal_px / pixels[:, 2:]))
        assert np.allclose(found, [2.0, 0.0], atol=2e-3)


def test_the_landmarks_covariance_is_that_of_the_errors():
    model, rng = load_head_model(), np.random.default_rng(0)
    pattern = rng.normal(size=(468, 2))
    errors = rng.normal(size=(300, 1, 1)) * pattern + 0.5 * rng.normal(size=(300, 468, 2)) + [0.0, 0.3]
    found = landmark_errors(errors, model)
    factors, rest = found["landmark_factors_mm"].astype(float), found["landmark_rest_mm"].astype(float)
    total = (factors**2).sum(0) + rest**2
    own = pattern[found["landmark_index"]] ** 2
    assert np.corrcoef(total.ravel(), own.ravel())[0, 1] > 0.6  # each is half its mirror image's
    assert np.allclose(found["landmark_mean_mm"], [0.0, 0.3], atol=0.3)


def test_a_shift_of_all_photographs_counts_as_noise_and_none_is_less_than_the_renders():
    known = {name: value.double().numpy() for name, value in load_tensors("identity").items()}
    rng = np.random.default_rng(1)
    root, shift = np.linalg.cholesky(known["noise"]), np.full(len(known["noise"]), 0.05)
    identities = rng.normal(size=(400, known["response"].shape[1]))
    embeddings = known["embedding"] + identities @ known["response"].T + shift
    embeddings = embeddings + rng.normal(size=embeddings.shape) @ root.T
    seen = [Seen(e, i, np.zeros((468, 2))) for e, i in zip(embeddings, identities, strict=True)]
    noise = embedding_noise(seen, embeddings)
    inverse = np.linalg.inv(root)
    assert np.linalg.eigvalsh(inverse @ noise @ inverse.T)[0] > 1 - 1e-6
    assert shift @ noise @ shift > 0.4 * (shift @ shift) ** 2

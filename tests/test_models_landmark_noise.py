"""Landmarks that err together: the whitening, and that knowing of it helps the fit."""

import math
from dataclasses import replace

import torch

from relit.fit.landmark_fit import LandmarkOptions, fit_landmarks
from relit.geometry.camera import look_at_face
from relit.models.head import load_head_model, neutral_vertices
from relit.models.identity import identity_prior, load_identity_statistics
from relit.models.landmark_noise import landmark_noise, load_landmark_noise
from test_fit_landmarks import SIZE, seen


def test_whitened_errors_are_independent_and_of_unit_variance():
    generator = torch.Generator().manual_seed(0)
    factors, rest = torch.randn(3, 7, 2, generator=generator), torch.rand(7, 2, generator=generator) + 0.2
    noise = landmark_noise(torch.arange(7), torch.zeros(7, 2), factors, rest)
    flat = factors.double().flatten(1)
    covariance = flat.T @ flat + torch.diag(rest.double().flatten() ** 2)
    assert torch.allclose(noise.whiten @ covariance @ noise.whiten.T, torch.eye(14, dtype=torch.float64), atol=1e-9)


def test_the_shipped_noise_is_symmetric_and_leaves_the_oval_alone():
    model, noise = load_head_model(), load_landmark_noise()
    assert not set(noise.index.tolist()) & set(model.oval_landmarks.tolist())
    assert noise.mean.abs().max() < 0.006
    points = (model.mean[model.landmark_triangles] * model.landmark_barycentric[..., None]).sum(1)[noise.index]
    other = torch.cdist(points * torch.tensor([-1.0, 1.0, 1.0]), points).argmin(1)
    assert torch.allclose(noise.mean[other] * torch.tensor([-1.0, 1.0]), noise.mean, atol=2e-5)


def test_errors_that_are_known_to_come_together_mislead_less():
    """A head seen with errors drawn from the noise: distance and shape are nearer the truth if the fit knows of it."""
    model, noise = load_head_model(), load_landmark_noise()
    prior = identity_prior(load_identity_statistics())
    generator = torch.Generator().manual_seed(4)
    draws = torch.linalg.solve(noise.whiten, torch.randn(2 * len(noise.index), 4, generator=generator).double())
    face = model.face_weight > 0.5
    apart, distance = {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}
    for draw in draws.T:
        identity = prior.mean + 0.5 * torch.randn(len(prior.mean), generator=generator)
        camera = look_at_face(SIZE, distance_m=1.0)
        observation, _ = seen(model, identity, torch.zeros(52), camera)
        points = observation.landmarks.points_px.clone()
        error = draw.reshape(-1, 2) + noise.mean
        points[noise.index] += (error * camera.focal_px / camera.camera_from_head[2, 3]).float()
        told = replace(observation, landmarks=replace(observation.landmarks, points_px=points))
        truth = neutral_vertices(model, identity)[face]
        for known in (True, False):
            found = fit_landmarks(model, (told,), prior, LandmarkOptions(), noise if known else None)
            shape = neutral_vertices(model, found.identity)[face]
            shape = (shape - shape.mean(0)) / (shape - shape.mean(0)).norm() * (truth - truth.mean(0)).norm()
            apart[known] += float((shape - truth + truth.mean(0)).norm(dim=1).mean())
            ratio = found.cameras[0].camera_from_head[2, 3] / camera.camera_from_head[2, 3]
            distance[known] += abs(math.log(ratio))
    assert apart[True] < apart[False]
    assert distance[True] < 0.85 * distance[False]

"""Tie points: what two renders of one head have in common must be found at the same places, and tell the shape."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fixtures_device import OTHERS, other_device
from relit.appearance.lighting import uniform_lighting
from relit.evaluation.geometry import Surface, face_error, similarity_alignment
from relit.fit import ties as ties_module
from relit.fit.landmark_fit import LandmarkOptions, fit_landmarks
from relit.fit.photometric import PhotometricOptions, fit_photometric
from relit.fit.ties import ERROR_M, MOST, TiePoints, find_ties, linked
from relit.geometry.camera import look_at_face, project
from relit.models.head import load_head_model, neutral_vertices
from relit.models.identity import identity_prior, load_identity_statistics
from relit.models.skin import load_skin_model
from relit.render.occlusion import light_transfer
from relit.render.render import render_fit
from test_fit_landmarks import SIZE, seen

YAWS = 0.3, -0.3


@pytest.fixture(scope="module")
def photos():
    """Two observations of one head with freckles, in different light, and what they show."""
    model = load_head_model()
    generator = torch.Generator().manual_seed(4)
    identity = torch.randn(len(model.identity_modes), generator=generator) * 0.7
    freckles = torch.nn.functional.interpolate(
        torch.rand(1, 1, 400, 400, generator=generator), size=(1024, 1024), mode="bilinear"
    )[0, 0, ..., None]
    texture = (0.2 + 0.3 * freckles) * torch.tensor([1.0, 0.8, 0.7])
    found, heads = [], []
    for yaw in YAWS:
        camera = look_at_face(SIZE, distance_m=0.9, yaw_rad=yaw)
        observation, vertices = seen(model, identity, torch.zeros(52), camera, noise_px=3.0)
        light = uniform_lighting()
        light.sh[3] += 2 * yaw
        picture, alpha, _ = render_fit(model, vertices, texture, camera, light, light_transfer(vertices, model.triangles))
        photo = replace(observation.photo, linear=picture.clamp(0, 1))
        found.append(replace(observation, photo=photo, skin_mask=alpha))
        heads.append((vertices, camera))
    return model, identity, tuple(found), tuple(heads)


def test_ties_are_places_of_the_skin(photos):
    model, _, observations, heads = photos
    (ties,) = find_ties(model, observations, heads)
    assert ties.photos == (0, 1)
    assert MOST / 2 < len(ties.first_px) <= MOST
    deviation = linked(model, ties, heads)
    pixels = [project(camera, vertices[deviation.vertex])[:, :2] for vertices, camera in heads]
    size = deviation.deviation(*pixels).norm(dim=1)
    assert size.median() < 1  # ERROR_M
    assert (size < 2).float().mean() > 0.9


def test_matches_of_which_no_neighbours_agree_are_no_ties(photos, monkeypatch):
    model, _, observations, heads = photos
    generator = np.random.default_rng(7)
    monkeypatch.setattr(ties_module, "_shift", lambda *_: tuple(generator.uniform(-1e4, 1e4, 2)))
    assert find_ties(model, observations, heads) == ()


@pytest.mark.parametrize("name", OTHERS)
def test_another_device_finds_what_the_cpu_finds_in_two_photos(photos, name):
    model, _, observations, _ = photos
    prior, skin = identity_prior(load_identity_statistics()), load_skin_model()
    start = fit_landmarks(model, observations, prior)
    options = PhotometricOptions(size_px=64, steps=3)
    here = fit_photometric(model, skin, observations, start, prior, options)
    assert here[0].energies["ties"] > 0
    with other_device(name) as device:
        there = fit_photometric(model, skin, observations, start, prior, options, device=device)
    assert there[1].identity.device.type == "cpu"
    assert (there[1].identity - here[1].identity).abs().max() < 0.01
    assert there[1].energies == pytest.approx(here[1].energies, rel=0.01, abs=1e-3)


def test_sliding_on_the_skin_costs_nothing_and_leaving_it_does(photos):
    model, _, _, heads = photos
    triangles = model.triangles[(model.part == 0) & (model.face_weight[model.triangles].amin(1) > 0.9)]
    # between vertices: the middles of triangles, as both cameras see them
    middles = [project(camera, vertices[triangles].mean(1))[:, :2] for vertices, camera in heads]
    link = linked(model, TiePoints((0, 1), *middles), heads)
    deviation = lambda shift: link.deviation(  # noqa: E731
        *(project(camera, vertices[link.vertex] + shift)[:, :2] for vertices, camera in heads)
    ).norm(dim=1)
    assert deviation(torch.zeros(3)).median() < 0.1
    # 3 mm towards the viewer: between views 0.6 rad apart that is 1.7 mm to the side
    assert deviation(torch.tensor([0.0, 0.0, 0.003])).median() > 0.4 * 0.0017 / ERROR_M


def test_ties_tell_the_shape(photos):
    model, identity, observations, _ = photos
    prior = identity_prior(load_identity_statistics())
    face = model.face_weight > 0.5
    truth = neutral_vertices(model, identity)[face].double().numpy()
    errors = []
    for trust in (0.0, LandmarkOptions().ties_trust):
        # landmarks hardly count, as if they all erred alike
        options = LandmarkOptions(identity_trust=0.05, ties_trust=trust)
        found = fit_landmarks(model, observations, prior, options)
        shape = neutral_vertices(model, found.identity).double().numpy()
        start = similarity_alignment(shape[face], truth)
        errors.append(face_error(truth, np.ones(len(truth)), Surface(shape, model.triangles.numpy()), start).mean_mm)
    assert errors[1] < 0.8 * errors[0], errors


def test_photos_that_show_nothing_in_common_are_not_tied(photos):
    model, _, (one, other), heads = photos
    blank = replace(other, photo=replace(other.photo, linear=torch.full_like(other.photo.linear, 0.3)))
    assert find_ties(model, (one, blank), heads) == ()
    hidden = replace(other, skin_mask=torch.zeros_like(other.skin_mask))
    assert find_ties(model, (one, hidden), heads) == ()

"""Round trip: a head rendered with known skin and light must be explained again."""

from dataclasses import replace

import pytest
import torch

from fixtures_device import OTHERS, other_device
from relit.appearance.lighting import uniform_lighting
from relit.fit.crop import crop_picture, face_crop_px
from relit.fit.landmark_fit import fit_landmarks
from relit.fit.photometric import PhotometricOptions, fit_photometric
from relit.fit.terms import gaussian_term, identity_term, landmark_term, pixel_term
from relit.geometry.camera import look_at_face
from relit.models.head import load_head_model
from relit.models.identity import identity_prior, load_identity_statistics
from relit.models.skin import load_skin_model, skin_albedo, tone_colour
from relit.render.occlusion import light_transfer
from relit.render.render import render_fit
from test_fit_landmarks import SIZE, seen


@pytest.fixture(scope="module")
def rendered():
    """An observation of a rendered head, and what it was rendered from."""
    model, skin = load_head_model(), load_skin_model()
    identity = torch.randn(model.identity_modes.shape[0], generator=torch.Generator().manual_seed(2)) * 0.6
    camera = look_at_face(SIZE, distance_m=0.9)
    observation, vertices = seen(model, identity, torch.zeros(52), camera)
    albedo = torch.zeros(len(skin.names))
    albedo[0] = 0.8
    light = uniform_lighting()
    light.sh[3] += 0.8  # brighter from the subject's left
    light.sh[1] += 0.5  # and from above
    picture, alpha, _ = render_fit(
        model, vertices, skin_albedo(skin, albedo), camera, light, light_transfer(vertices, model.triangles)
    )
    photo = replace(observation.photo, linear=(picture + 0.2 * (1 - alpha[..., None])).clamp(0, 1))
    return replace(observation, photo=photo, skin_mask=alpha), albedo, light


def test_skin_and_light_are_explained_again(rendered):
    observation, albedo, light = rendered
    model, skin = load_head_model(), load_skin_model()
    prior = identity_prior(load_identity_statistics())
    start = fit_landmarks(model, (observation,), prior)
    options = PhotometricOptions(size_px=96, steps=25)
    history = []
    fit = fit_photometric(model, skin, (observation,), start, prior, options, lambda done, total: history.append(done))[0]
    assert history == list(range(1, 26))
    # tone and light explain the same brightness, so that the tone is known only about as well as the prior tells
    found, true = tone_colour(fit.albedo[:4]), tone_colour(albedo[:4])
    assert (found / true).log().abs().max() < 0.5
    sh = fit.lighting.sh.mean(1) / fit.lighting.sh[0].mean()
    assert sh[3] > 0.05 and sh[1] > 0.0  # the light comes from the side and from above
    assert fit.energies["pixel"] / options.pixel < 0.6  # under six tenths of a noise unit per pixel
    assert (fit.expression >= 0).all() and (fit.expression <= 1).all()
    assert torch.isfinite(fit.camera.camera_from_head).all()
    assert fit.camera.size_px == SIZE


def test_the_crop_is_square_and_contains_the_face(rendered):
    box = face_crop_px(rendered[0])
    assert box[2] - box[0] == pytest.approx(box[3] - box[1])
    points = rendered[0].landmarks.points_px
    assert (points[:, 0] > box[0]).all() and (points[:, 1] < box[3]).all()


def test_cropping_keeps_mean_brightness_and_positions():
    picture = torch.rand(60, 80, 3, generator=torch.Generator().manual_seed(0))
    whole = crop_picture(picture[:60, :60], (0.0, 0.0, 60.0, 60.0), 60)
    assert torch.allclose(whole, picture[:60, :60], atol=1e-5)
    half = crop_picture(picture[:60, :60], (0.0, 0.0, 60.0, 60.0), 30)
    assert torch.allclose(half.mean(), picture[:60, :60].mean(), atol=0.01)


def test_terms_are_zero_where_nothing_differs_and_grow_with_error():
    picture = torch.rand(8, 8, 3)
    assert pixel_term(picture, picture, torch.ones(8, 8)) == 0
    assert pixel_term(picture * 0.5, picture, torch.ones(8, 8)) > pixel_term(picture * 0.9, picture, torch.ones(8, 8))
    ones = torch.ones(478)
    assert landmark_term(torch.zeros(478, 2), ones) < 1e-9
    assert landmark_term(torch.full((478, 2), 10.0), ones) < 10 * 14.2  # Huber: linear far away
    direction = torch.randn(128)
    assert identity_term(direction, 3 * direction).abs() < 1e-6
    assert identity_term(direction, -direction) == pytest.approx(2)
    assert gaussian_term(torch.tensor([3.0, 4.0])) == 12.5


@pytest.mark.parametrize("name", OTHERS)
def test_another_device_finds_what_the_cpu_finds(rendered, name):
    observation = rendered[0]
    model, skin, prior = load_head_model(), load_skin_model(), identity_prior(load_identity_statistics())
    start = fit_landmarks(model, (observation,), prior)
    options = PhotometricOptions(size_px=64, steps=3)
    here = fit_photometric(model, skin, (observation,), start, prior, options)[0]
    with other_device(name) as device:
        there = fit_photometric(model, skin, (observation,), start, prior, options, device=device)[0]
    for name in ("identity", "expression", "albedo"):
        assert getattr(there, name).device.type == "cpu"
        # Adam makes steps of up to 0.06 of gradients that hardly differ from 0
        assert (getattr(there, name) - getattr(here, name)).abs().max() < 0.01, name
    assert (there.lighting.sh - here.lighting.sh).abs().max() < 0.005
    assert there.energies == pytest.approx(here.energies, rel=0.01, abs=1e-3)

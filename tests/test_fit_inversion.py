"""Inverting a prior: skin that it made is found again, photos share it, and what goes wrong stops the fit."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.nn.functional import interpolate

from fixtures_device import OTHERS, other_device
from relit.appearance.colour import linear_from_srgb
from relit.errors import FitDiverged
from relit.fit import inversion
from relit.fit.inversion import InversionOptions, Start, generator_weights, invert, made, start_latent
from relit.geometry.mesh import vertex_normals
from relit.models.head import neutral_vertices, posed_vertices
from relit.models.texture_prior import BOX, PRIORS, PriorShape, Statistics, TexturePrior, draw_latents, textures_of
from relit.render.boxed import render_lit, render_skin
from relit.render.occlusion import light_transfer
from test_maps_unwrap import photographed

QUICK = InversionOptions(size_px=64, latent_steps=2, level_steps=1, tuning_steps=1, told=0.0, latent_prior=0.0)


def smooth_prior(kind):
    """A prior of 144 x 96 whose textures vary smoothly in four ways."""
    torch.manual_seed(0)
    shape = PriorShape(PRIORS[kind], 4, trunk=(8, 8, 8), fine=(8,))
    channels = sum(shape.channels)
    mean = torch.tensor([0.6, 0.5, 0.4, 0.35, 0.5, 0.5])[:channels, None, None].expand(-1, *shape.size)
    modes = interpolate(torch.randn(4, channels, 3, 2), (72, 48), mode="bicubic")
    modes[:, 3:] *= 0.1
    modes = torch.linalg.qr(modes.flatten(1).T).Q.T.reshape(modes.shape) * (72 * 48 * 3) ** 0.5
    return TexturePrior(shape, Statistics(mean, torch.full((channels,), 0.06), modes)).requires_grad_(False)


OF = {kind: smooth_prior(kind) for kind in PRIORS}


@pytest.fixture(autouse=True)
def traced_once(monkeypatch):
    monkeypatch.setattr(inversion, "light_transfer", lambda vertices, triangles: _traced(float(vertices.sum())))


@cache
def _traced(key):
    model, _, fit, _ = photographed()
    vertices = posed_vertices(model, neutral_vertices(model, fit.identity), fit.expression, fit.gaze_rad)
    return light_transfer(vertices, model.triangles)


def portrayed(kind, w, yaw_rad=0.0, gain=None):
    """The model, an observation of a head with the textures of a latent, and its fit."""
    model, seen, fit, _ = photographed(yaw_rad)
    textures = {name: t[0].permute(1, 2, 0).contiguous() for name, t in textures_of(OF[kind], w).items()}
    vertices, camera = posed_vertices(model, neutral_vertices(model, fit.identity), fit.expression, fit.gaze_rad), fit.camera
    if kind == "ganfit":
        picture = render_lit(model, vertices, linear_from_srgb(textures["lit"]), BOX, camera, gain)
    else:
        skin = torch.cat([textures["albedo"], textures["specular"], textures["normal"][..., :2]], 2)
        transfer, normals = (of(vertices, model.triangles) for of in (inversion.light_transfer, vertex_normals))
        light = fit.lighting, transfer, normals
        picture = render_skin(model, vertices, skin, BOX, camera, light)
    photo = replace(seen.photo, linear=picture.linear.clamp(0, 1))
    return model, replace(seen, photo=photo, skin_mask=picture.inside), fit


def nowhere(prior):
    """A start that knows nothing."""
    return Start(prior.codes(torch.zeros(1, *prior.mean.shape))[0], torch.zeros(prior.shape.size))


@pytest.mark.parametrize("kind", PRIORS)
def test_skin_that_the_prior_made_is_found_again(kind):
    prior, w = OF[kind], draw_latents(OF[kind], 1, 5)
    model, seen, fit = portrayed(kind, w)
    done = []
    options = replace(QUICK, latent_steps=16, tuning_steps=0)
    found = invert(model, prior, (seen,), (fit,), nowhere(prior), options, lambda *step: done.append(step))
    assert done == [(k, 17) for k in range(1, 18)]
    assert (found.latent.mean(0) - w[0]).norm() < 0.5 * w[0].norm()
    assert found.energies["pixel"] / options.pixel < 0.15  # of the noise of a pixel
    if kind == "fitme":  # only fitme has a light of its own
        assert torch.allclose(found.fits[0].lighting.sh[0], fit.lighting.sh[0], rtol=0.2)
    assert torch.equal(found.fits[0].vertex_offset, fit.vertex_offset)


def test_a_seed_repeats_a_fit_and_tuning_leaves_the_given_prior_alone():
    prior, w = OF["fitme"], draw_latents(OF["fitme"], 1, 6)
    model, seen, fit = portrayed("fitme", w)
    options = replace(QUICK, latent_steps=1, other_view=1.0)
    before = [weight.clone() for weight in prior.parameters()]
    runs = [invert(model, prior, (seen,), (fit,), nowhere(prior), replace(options, seed=s)) for s in (1, 1, 2)]
    assert torch.equal(runs[0].latent, runs[1].latent) and not torch.equal(runs[0].latent, runs[2].latent)
    assert all(torch.equal(a, b) for a, b in zip(before, prior.parameters(), strict=True))
    pairs = zip(generator_weights(prior), generator_weights(runs[0].prior), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)
    other = draw_latents(prior, 1, 9)
    moved = (runs[0].prior(other) - prior(other)).abs().mean()
    assert 0 < moved < 0.1 * prior(other).abs().mean()  # a tuned generator still generates


def test_photos_in_different_light_share_a_texture_and_an_identity():
    prior, w = OF["ganfit"], draw_latents(OF["ganfit"], 1, 7)
    brighter = lambda normals: 1.0 + 0.4 * normals[:, :1].expand(-1, 3)  # noqa: E731
    model, *first = portrayed("ganfit", w)
    _, *second = portrayed("ganfit", w, 0.5, brighter)
    seen, fits = zip(first, second, strict=True)
    fits = tuple(replace(fit, identity=fits[0].identity) for fit in fits)
    found = invert(model, prior, seen, fits, nowhere(prior), replace(QUICK, latent_steps=3))
    assert len(found.fits) == 2 and torch.equal(found.fits[0].identity, found.fits[1].identity)
    assert not torch.equal(found.fits[0].camera.camera_from_head, found.fits[1].camera.camera_from_head)
    assert found.energies["gain_prior"] > 0


def test_a_fit_that_diverges_stops_with_the_term_and_the_step(monkeypatch):
    prior = OF["fitme"]
    model, seen, fit = portrayed("fitme", draw_latents(prior, 1, 5))
    broken = replace(seen, photo=replace(seen.photo, linear=seen.photo.linear * torch.nan))
    with pytest.raises(FitDiverged, match="pixel.*step 0"):
        invert(model, prior, (broken,), (fit,), nowhere(prior), QUICK)
    monkeypatch.setitem(inversion.RATES, "weights", 5.0)
    with pytest.raises(FitDiverged, match="tuning"):
        invert(model, prior, (seen,), (fit,), nowhere(prior), replace(QUICK, latent_steps=1, level_steps=0, tuning_steps=3))


def test_the_start_believes_trusted_texels_and_fills_the_rest():
    prior = OF["ganfit"]
    w = draw_latents(prior, 1, 3)
    codes = made(prior, w.expand(prior.shape.levels, -1), linear=True)[0]
    half = torch.ones(prior.shape.size)
    half[:, 48:] = 0
    spoiled = torch.where(half > 0, codes, torch.rand(codes.shape, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(start_latent(prior, Start(spoiled, half)), w[0], atol=0.1)
    assert start_latent(prior, nowhere(prior)).abs().max() < 1e-3


def test_ablations_change_the_result():
    prior, w = OF["fitme"], draw_latents(OF["fitme"], 1, 6)
    model, seen, fit = portrayed("fitme", w)
    options = replace(QUICK, level_steps=0, tuning_steps=0)
    textures = lambda **changed: invert(  # noqa: E731
        model, prior, (seen,), (fit,), nowhere(prior), replace(options, **changed)
    ).textures["albedo"]
    full = textures()
    for changed in ({"specular": False}, {"occlusion": False}, {"identity_network": 0.0}):
        assert not torch.equal(full, textures(**changed))


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", PRIORS)
def test_another_device_finds_what_the_cpu_finds(kind, name):
    prior, w = OF[kind], draw_latents(OF[kind], 1, 5)
    model, seen, fit = portrayed(kind, w)
    options = replace(QUICK, other_view=30.0)
    here = invert(model, prior, (seen,), (fit,), nowhere(prior), options)
    with other_device(name) as device:
        there = invert(model, prior, (seen,), (fit,), nowhere(prior), options, device=device)
    assert there.latent.device.type == "cpu"
    assert (there.latent - here.latent).abs().max() < 0.01
    assert (there.fits[0].identity - here.fits[0].identity).abs().max() < 0.005
    assert there.energies == pytest.approx(here.energies, rel=5e-3, abs=1e-3)
    for name, texture in here.textures.items():
        assert (there.textures[name] - texture).abs().max() < 0.01

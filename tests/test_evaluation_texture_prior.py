"""Judging a texture prior: the Fréchet distance, tones, what was learned by heart, the whole command on small maps."""

import json

import numpy as np
import pytest
import torch

import relit.evaluation.texture_prior as judging
from relit.evaluation.frechet import frechet_distance, texture_features
from relit.evaluation.prior_page import page
from relit.models import registry
from relit.models.texture_prior import PRIORS, load_prior
from relit.train.linear import statistics_of
from relit.train.prior_maps import PriorMaps
from relit.train.texture_prior import Players, save_prior
from test_models_texture_prior import small_shape
from test_train_texture_prior import CONFIG, write_maps


def test_the_frechet_distance_is_that_of_gaussians_in_closed_form():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 3, generator=generator)
    assert abs(frechet_distance(x, x)) < 1e-9
    assert abs(frechet_distance(x, x + torch.tensor([3.0, 0, 0])) - 9) < 1e-3
    # of one axis twice as wide: (2 - 1)^2
    wide = torch.randn(20_000, 3, generator=generator) * torch.tensor([2.0, 1, 1])
    assert abs(frechet_distance(x, wide) - 1) < 0.1
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    assert abs(frechet_distance(x @ turn, wide @ turn) - frechet_distance(x, wide)) < 1e-3


def test_features_tell_a_texture_from_its_negative_and_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    textures = torch.rand(2, 3, 6, 4).repeat_interleave(48, 2).repeat_interleave(48, 3)
    features = texture_features(textures)
    assert torch.allclose(texture_features(textures[1:]), features[1:], atol=1e-4)
    assert (texture_features(1 - textures) - features).abs().mean() > 0.01


def test_refined_latents_come_nearer_and_shares_add_up(tmp_path):
    prior, maps = _prior(tmp_path)
    codes = maps.codes(np.arange(2), np.zeros(2, int))
    w = prior.encode(prior.deviation(codes)) + 0.5
    error = lambda w: (judging.made(prior, w) - codes).square().mean()  # noqa: E731
    assert error(judging.refined_latents(prior, codes, w)) < error(w)
    assert abs(sum(judging.tone_shares(codes)) - 1) < 0.01


@pytest.mark.parametrize("kind", PRIORS)
def test_the_report_says_what_an_untrained_prior_is_worth(tmp_path, monkeypatch, kind):
    for name, value in {"HELD_OUT": 4, "NEAREST": 4, "DRAWN": 12, "REFINE_STEPS": 2, "REFINED": 2}.items():
        monkeypatch.setattr(judging, name, value)
    monkeypatch.setattr(judging, "batches", lambda maps: _few(maps))
    prior, maps = _prior(tmp_path, kind)
    figures = judging.judge(prior, maps, maps, tmp_path / "out", kind)
    assert json.loads((tmp_path / "out" / f"{kind}.json").read_text()) == figures
    assert set(figures["psnr_db"]["encoder"]) == set(PRIORS[kind])
    nearest = figures["nearest_training_subject"]
    assert nearest["held out, median"] == 0 and nearest["samples, median"] > 0
    text = page(tmp_path / "out")
    assert f"## {kind}: {', '.join(PRIORS[kind])}" in text and "encoder" in text and f"({kind}_walk.jpg)" in text
    sheets = ("linear_samples", "nearest", "reconstructed", "samples", "samples_0.7", "walk")
    assert {p.name for p in (tmp_path / "out").glob("*.jpg")} == {f"{kind}_{name}.jpg" for name in sheets}


def test_a_shipped_prior_is_the_one_that_is_loaded(tmp_path, monkeypatch):
    prior, _ = _prior(tmp_path)
    save_prior(prior, tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 3}\n')
    (tmp_path / "assets").mkdir()
    monkeypatch.setenv("RELIT_ASSETS", str(tmp_path / "assets"))
    judging.ship(tmp_path, "fitme", {"latent": 6})
    assert registry.cards()["prior_fitme-0"]["metrics"] == {"steps": 3, "latent": 6}
    load_prior.cache_clear()
    w = torch.randn(1, 6, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(load_prior("fitme")(w), prior(w), atol=0.05)
    load_prior.cache_clear()


def _few(maps):
    yield maps.codes(np.arange(12), np.zeros(12, int))


def _prior(folder, kind="fitme"):
    write_maps(folder)
    maps = PriorMaps(folder, "train", PRIORS[kind], torch.device("cpu"))
    torch.manual_seed(0)
    players = Players(small_shape(kind, 6), statistics_of(maps, 6), CONFIG.judges)
    return players.prior.requires_grad_(False), maps

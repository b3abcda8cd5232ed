"""The texture priors: laws of modulated convolutions and of Haar coefficients, latents, branches, weights that are refused."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import conv2d

from relit.appearance.colour import srgb_from_linear
from relit.errors import AssetCorrupt, AssetMissing, InputError
from relit.models import registry
from relit.models.style import ModulatedConv, StyleLayer, activated, doubled, unfolded, without_grids
from relit.models.texture_discriminator import TextureDiscriminator
from relit.models.texture_prior import (
    F0_SPAN,
    PRIORS,
    PriorShape,
    Statistics,
    TexturePrior,
    box_slices,
    draw_latents,
    load_prior,
    prior_from,
    textures_of,
)


def small_shape(kind="fitme", latent=7):
    return PriorShape(PRIORS[kind], latent, trunk=(8, 8, 8), fine=(8,))


def small_prior(kind="fitme", latent=7, trained=True):
    """A prior of 144 x 96 whose convolutions do something."""
    torch.manual_seed(0)
    shape, generator = small_shape(kind, latent), torch.Generator().manual_seed(1)
    channels = sum(shape.channels)
    mean = 0.4 + 0.2 * torch.rand(channels, *shape.size, generator=generator)
    modes = torch.linalg.qr(torch.randn(channels * 72 * 48, latent, generator=generator)).Q.T * 30
    statistics = Statistics(mean, torch.full((channels,), 0.05), modes.reshape(latent, channels, 72, 48))
    prior = TexturePrior(shape, statistics)
    for name, parameter in prior.named_parameters():
        if trained and (parameter == 0).all():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
            assert name
    return prior.requires_grad_(False)


def test_a_modulated_convolution_is_a_convolution_with_the_scaled_and_normed_kernel():
    torch.manual_seed(0)
    layer, x, w = ModulatedConv(5, 6, latent=4), torch.randn(3, 5, 8, 9), torch.randn(3, 4)
    for demodulate in (True, False):
        layer.demodulate = demodulate
        for one, latent, got in zip(x, w, layer(x, w), strict=True):
            kernel = layer.weight * layer.gain * layer.style(latent[None])[0][None, :, None, None]
            if demodulate:
                kernel = kernel / kernel.square().sum((1, 2, 3), keepdim=True).add(1e-8).sqrt()
            assert torch.allclose(got, conv2d(one[None], kernel, padding=1)[0], atol=1e-5)


def test_demodulated_output_has_unit_variance_whatever_the_style():
    torch.manual_seed(0)
    layer = ModulatedConv(32, 32, latent=16)
    for strength in (0.1, 1, 30):
        out = layer(torch.randn(8, 32, 40, 40), strength * torch.randn(8, 16))[:, :, 1:-1, 1:-1]
        assert torch.allclose(out.var(), torch.tensor(1.0), atol=0.1)


def test_style_layers_move_with_their_input_and_noise_is_repeatable():
    torch.manual_seed(0)
    layer, x, w = StyleLayer(3, 4, latent=5, up=True, noisy=True), torch.randn(1, 3, 12, 12), torch.randn(1, 5)
    moved = layer(x.roll((2, 3), (2, 3)), w, None).roll((-4, -6), (2, 3))
    assert torch.allclose(moved[:, :, 4:-8, 4:-10], layer(x, w, None)[:, :, 4:-8, 4:-10], atol=1e-5)
    drawn = [layer(x, w, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.allclose(drawn[0], drawn[2])


def test_the_rectifier_keeps_the_second_moment_and_doubling_keeps_the_mean():
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(activated(x).square().mean(), torch.tensor(1.0), atol=0.02)
    picture = x[: 6 * 8].view(1, 1, 6, 8)
    assert torch.allclose(doubled(picture)[..., 2:-2, 2:-2].mean(), picture[..., 1:-1, 1:-1].mean(), atol=0.15)
    # the binomial filter: three quarters of the nearest texel, one of its neighbour
    assert torch.allclose(doubled(picture)[0, 0, 0, 1], 0.75 * picture[0, 0, 0, 0] + 0.25 * picture[0, 0, 0, 1])


def test_haar_coefficients_keep_the_power_and_the_first_are_the_coarse_picture():
    x = torch.randn(2, 12, 8, 12, generator=torch.Generator().manual_seed(0))
    picture = unfolded(x)
    assert picture.shape == (2, 3, 16, 24)
    assert torch.allclose(picture.square().sum(), x.square().sum(), rtol=1e-5)
    assert torch.allclose(torch.nn.functional.avg_pool2d(picture, 2) * 2, x[:, :3], atol=1e-6)


@pytest.mark.parametrize("kind", PRIORS)
def test_an_untrained_prior_is_the_gaussian_model_of_its_maps(kind):
    prior, seed = small_prior(kind, trained=False), 3
    w = draw_latents(prior, 5, seed)
    made = prior(w, torch.Generator().manual_seed(0))
    assert torch.allclose(made, doubled(prior.linear(w)), atol=1e-5)
    z = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(w, z)
    assert torch.allclose(prior.encode(torch.nn.functional.interpolate(prior.linear(w), scale_factor=2)), w, atol=1e-4)


def test_the_mapping_is_invertible_and_its_density_is_that_of_the_change_of_variables():
    for latent in (6, 7):
        mapping = small_prior(latent=latent).mapping
        z = torch.randn(3, latent, generator=torch.Generator().manual_seed(0))
        w = mapping(z)
        back, surprise = mapping.normal(w)
        assert not torch.allclose(w, z, atol=1e-3) and torch.allclose(back, z, atol=1e-5)
        for one, value in zip(z, surprise, strict=True):
            jacobian = torch.autograd.functional.jacobian(mapping, one[None])[0, :, 0]
            assert torch.allclose(value, 0.5 * one.square().sum() + torch.linalg.slogdet(jacobian)[1], atol=1e-4)


def test_truncation_0_is_the_mean_latent_and_1_the_whole_distribution():
    prior = small_prior()
    prior.centre.copy_(prior.mapping(torch.randn(4096, 7)).mean(0))
    still, half, whole = (draw_latents(prior, 3, 1, truncation) for truncation in (0.0, 0.5, 1.0))
    assert torch.equal(still, prior.centre.expand(3, -1))
    assert torch.allclose(half, (still + whole) / 2, atol=1e-6)
    assert torch.equal(whole, draw_latents(prior, 3, 1)) and not torch.equal(whole, draw_latents(prior, 3, 2))


def test_one_latent_for_all_levels_is_the_same_latent_in_each_and_each_level_counts():
    prior = small_prior()
    w = draw_latents(prior, 1, 1)
    each = w[:, None].repeat(1, prior.shape.levels, 1)
    assert torch.allclose(prior(each), prior(w), atol=1e-5)
    for level in range(prior.shape.levels):
        changed = each.clone()
        changed[:, level] += 1
        assert not torch.allclose(prior(changed), prior(w), atol=1e-4)


def test_maps_are_physical_differentiable_and_repeatable():
    prior = small_prior()
    w = (3 * draw_latents(prior, 2, 1)).requires_grad_()
    maps = textures_of(prior, w, seed=4)
    assert {name: tuple(value.shape) for name, value in maps.items()} == {
        "albedo": (2, 3, 144, 96), "specular": (2, 1, 144, 96), "normal": (2, 3, 144, 96)
    }  # fmt: skip
    assert maps["albedo"].min() >= 0 and maps["albedo"].max() <= 1 and maps["specular"].max() <= F0_SPAN
    assert torch.allclose(maps["normal"].norm(dim=1), torch.tensor(1.0), atol=1e-5) and maps["normal"][:, 2].min() > 0
    assert torch.equal(maps["albedo"], textures_of(prior, w, seed=4)["albedo"])
    sum(value.sum() for value in maps.values()).backward()
    assert w.grad.abs().min() > 0


def test_codes_and_deviations_undo_each_other():
    prior = small_prior("ganfit")
    codes = torch.rand(2, 3, 144, 96, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(prior.codes(prior.deviation(codes)), codes, atol=1e-5)
    flat = textures_of(prior, prior.centre[None])["lit"]
    assert torch.allclose(flat, prior.codes(prior(prior.centre[None])))
    albedo = small_prior()
    linear = textures_of(albedo, albedo.centre[None])["albedo"]
    assert torch.allclose(srgb_from_linear(linear), albedo.codes(albedo(albedo.centre[None]))[:, :3], atol=1e-5)


@pytest.mark.parametrize(
    ("latent", "named"),
    [
        (torch.zeros(1, 8), "a latent of this prior has 7 or 4 x 7 values, got 8"),
        (torch.zeros(1, 3, 7), "got 3 x 7"),
        (torch.full((1, 7), float("nan")), "no numbers"),
    ],
)
def test_foreign_latents_are_refused_by_name(latent, named):
    with pytest.raises(InputError, match=named):
        textures_of(small_prior(), latent)


@pytest.mark.parametrize("kind", PRIORS)
def test_stored_weights_restore_the_prior(kind):
    prior = small_prior(kind)
    again = prior_from({name: value.half() for name, value in prior.state_dict().items()}, kind)
    assert again.shape == prior.shape
    w = draw_latents(prior, 2, 1)
    assert torch.allclose(again(w), prior(w), atol=0.05)


@pytest.mark.parametrize(
    ("spoil", "kind", "named"),
    [
        (lambda t: t, "ganfit", "makes lit, but the weights make albedo, normal, specular"),
        (lambda t: t | {"constant": t["constant"] * float("nan")}, "fitme", "'constant' of the fitme prior hold"),
        (lambda t: t | {"constant": t["constant"][:3]}, "fitme", "no fitme prior of this version"),
        (lambda t: {n: v for n, v in t.items() if n != "centre"}, "fitme", "no fitme prior of this version"),
        (lambda t: {"enter.weight": torch.zeros(8, 40, 3, 3)}, "fitme", "but the weights make none"),
    ],
)
def test_foreign_weights_are_refused_by_name(spoil, kind, named):
    with pytest.raises(AssetCorrupt, match=named):
        prior_from(spoil(small_prior().state_dict()), kind)


def test_a_prior_is_read_from_the_folder_of_a_run_in_several_files(tmp_path):
    prior = small_prior()
    halves = dict(list(prior.state_dict().items())[::2]), dict(list(prior.state_dict().items())[1::2])
    for number, part in enumerate(halves):
        save_file({name: value.half().contiguous() for name, value in part.items()}, tmp_path / f"prior-{number}.safetensors")
    again, w = load_prior("fitme", tmp_path), draw_latents(prior, 2, 1)
    assert torch.allclose(again(w), prior(w), atol=0.05) and load_prior("fitme", tmp_path) is again
    with pytest.raises(InputError, match="no prior 'gan'; choose one of ganfit, fitme"):
        load_prior("gan")
    with pytest.raises(AssetMissing, match="holds no prior"):
        load_prior("fitme", tmp_path / "none")
    with pytest.raises(AssetCorrupt, match="the ganfit prior makes lit"):
        load_prior("ganfit", tmp_path)


def test_shipped_parts_of_a_prior_are_verified_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setenv("RELIT_ASSETS", str(tmp_path))
    load_prior.cache_clear()
    for number, (name, value) in enumerate({"a": torch.ones(2), "b": torch.zeros(3)}.items()):
        save_file({name: value}, tmp_path / f"prior_fitme-{number}.safetensors")
        facts = {"licence": "Apache-2.0", "sources": ["a test"], "command": "none"}
        registry.record(f"prior_fitme-{number}", f"prior_fitme-{number}.safetensors", **facts)
    assert set(registry.load_parts("prior_fitme")) == {"a", "b"}
    (tmp_path / "prior_fitme-1.safetensors").write_bytes(b"other")
    with pytest.raises(AssetCorrupt, match="prior_fitme-1.safetensors is not the recorded file"):
        load_prior("fitme")
    with pytest.raises(AssetMissing, match="no asset is called 'prior_ganfit-0'"):
        load_prior("ganfit")


def test_each_modality_has_its_own_judge_that_the_others_do_not_reach():
    torch.manual_seed(0)
    shape = small_shape()
    judge, x = TextureDiscriminator(shape, (4, 6, 8), (8, 8)), torch.randn(2, 6, *shape.size)
    before, after = judge(x), judge(torch.cat([x[:, :4], -x[:, 4:]], 1))
    assert set(before) == {"albedo", "specular", "normal", "joint"} and before["albedo"].shape == (2, 36 * 24)
    assert torch.equal(before["albedo"], after["albedo"])
    assert not torch.allclose(before["normal"], after["normal"])
    assert not torch.allclose(before["joint"], after["joint"])


def test_the_box_is_the_middle_of_the_layout():
    rows, columns = box_slices(768)
    assert (rows, columns) == (slice(96, 672), slice(96, 672))


def test_grids_are_taken_off_fine_coefficients_and_nothing_off_coarse_ones():
    x = torch.randn(1, 8, 12, 18, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(without_grids(x + 3)[:, 2:], without_grids(x)[:, 2:], atol=1e-5)
    assert torch.equal(without_grids(x)[:, :2], x[:, :2]) and without_grids(torch.ones(1, 8, 12, 18))[:, 2:].abs().max() < 1e-6


@pytest.mark.parametrize("kind", PRIORS)
def test_shipped_priors_draw_skin_that_differs_and_know_their_own_draws(kind):
    load_prior.cache_clear()
    prior = load_prior(kind)
    w = draw_latents(prior, 2, 1, truncation=0.7)
    maps = textures_of(prior, w, seed=1)
    colour = maps[prior.shape.branches[0]]
    assert prior.shape.size == (576, 384) and colour.std((2, 3)).min() > 0.01
    assert (colour[0] - colour[1]).abs().mean() > 0.01
    with torch.no_grad():
        again = prior.encode(prior(w))
    assert torch.nn.functional.cosine_similarity(again, w).min() > 0.8

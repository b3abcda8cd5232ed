"""Training of the texture priors: penalties against finite differences, augmentation, components, slices, the data."""

import numpy as np
import pytest
import torch

import relit.train.texture_prior as training
from relit.models.texture_prior import PRIORS, Mapping, Statistics, prior_from
from relit.train.adversarial import (
    adapted,
    draw_augmentation,
    fooling_loss,
    frozen,
    gradient_penalty,
    path_penalty,
    telling_loss,
)
from relit.train.linear import fit_linear, fit_mirrored, statistics_of
from relit.train.loop import Schedule, load_shards, train
from relit.train.prior_maps import PER_FILE, PriorMaps, mirrored, record_of, record_type, tone_bin
from relit.train.texture_prior import Config, Players, losses_of, reconstruction_db, save_prior
from test_models_texture_prior import small_prior, small_shape

CONFIG = Config(7, (8, 8, 8), {"ganfit": (8,), "fitme": (8,)}, (4, 6, 8), {}, 1000, path_every=2)


def _players(kind="fitme"):
    prior = small_prior(kind)
    torch.manual_seed(2)
    return Players(small_shape(kind), Statistics(prior.mean, prior.scale, prior.modes.view(7, -1, 72, 48)), CONFIG.judges)


def test_r1_is_the_squared_slope_that_finite_differences_find():
    torch.manual_seed(0)
    network, x = torch.nn.Sequential(torch.nn.Linear(5, 9), torch.nn.Tanh(), torch.nn.Linear(9, 3)).double(), torch.randn(4, 5)
    network.float()
    judge = lambda x: {"a": network(x), "b": network(x)[:, :1]}  # noqa: E731
    value = lambda x: network(x).mean(1) + network(x)[:, 0]  # noqa: E731
    step, total = 1e-2, torch.zeros(4)
    for k in range(5):
        away = step * torch.nn.functional.one_hot(torch.tensor(k), 5)
        total += ((value(x + away) - value(x - away)) / (2 * step)).square()
    penalty = gradient_penalty(judge, x)
    assert torch.allclose(penalty, 0.5 * total.mean(), rtol=1e-3)
    penalty.backward()
    assert network[0].weight.grad.abs().max() > 0


def test_path_lengths_of_a_linear_generator_are_even_and_those_of_a_bent_one_are_not():
    usual = torch.zeros(())
    turn = torch.linalg.qr(torch.randn(48, 6, generator=torch.Generator().manual_seed(0))).Q.T
    make = lambda w: (w @ turn).view(-1, 1, 6, 8)  # noqa: E731
    drawn = torch.Generator().manual_seed(1)
    even = [path_penalty(make, torch.randn(64, 6), usual, drawn) for _ in range(3)]
    bent = path_penalty(lambda w: make(w * w.abs()), torch.randn(64, 6), usual, drawn)
    assert 0 < usual < 1 and bent > 3 * even[-1]


def test_losses_of_perfect_judges_and_of_ignorant_ones():
    sure = {"a": torch.full((3, 2), 40.0)}
    assert telling_loss(sure, {"a": -sure["a"]}) < 1e-6 and fooling_loss(sure) < 1e-6
    ignorant = {"a": torch.zeros(3, 2)}
    assert torch.allclose(telling_loss(ignorant, ignorant), 2 * torch.tensor(2.0).log())


def test_frozen_networks_pass_gradients_on_and_learn_nothing():
    network, x = torch.nn.Linear(3, 1), torch.randn(2, 3, requires_grad=True)
    with frozen(network):
        out = network(x).sum()
    out.backward()
    assert network.weight.grad is None and x.grad.abs().sum() > 0 and network.weight.requires_grad


def test_augmentation_never_changes_at_probability_0_and_is_the_same_for_the_same_part():
    x = torch.randn(3, 6, 48, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draw_augmentation(3, 6, 0.0, torch.Generator().manual_seed(0))(x), x)
    changed = draw_augmentation(3, 6, 1.0, torch.Generator().manual_seed(0))
    assert not torch.allclose(changed(x)[1], x[1])
    assert torch.equal(changed[[1]](x[1:2]), changed(x)[1:2])
    x.requires_grad_()
    changed(x).sum().backward()
    kept = (x.grad != 0).float().mean()
    assert 0.5 < kept < 1


def test_augmentation_grows_while_the_judge_knows_the_real_ones():
    p = torch.tensor(0.5)
    assert adapted(p, torch.ones(8, 1), 1000) == 0.508 and adapted(p, -torch.ones(8, 1), 1000) == 0.492
    assert adapted(torch.tensor(0.0), -torch.ones(8, 1), 1000) == 0


def test_components_reconstruct_their_own_span_and_are_ordered_and_orthogonal():
    generator = torch.Generator().manual_seed(0)
    basis, mean = torch.randn(4, 60, generator=generator), torch.randn(60, generator=generator)
    samples = mean + torch.randn(30, 4, generator=generator) @ basis
    linear = fit_linear(samples, 10)
    assert len(linear.modes) == 4
    other = mean + torch.randn(5, 4, generator=generator) @ basis
    assert torch.allclose(linear.samples(linear.coefficients(other)), other, atol=1e-4)
    assert torch.allclose(linear.coefficients(samples).std(0, correction=0), torch.ones(4), atol=1e-3)
    gram = linear.modes @ linear.modes.T
    assert (gram - gram.diag().diag()).abs().max() < 1e-3 * gram.max() and (gram.diag().diff() < 0).all()


def test_weighted_components_in_bytes_are_those_of_the_weighted_values():
    samples = torch.randint(0, 256, (20, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    weight = torch.linspace(0.5, 2, 40)
    first, second = fit_linear(samples, 3, weight), fit_linear(samples * weight, 3)
    assert torch.allclose(first.modes.abs(), second.modes.abs(), atol=1e-2)


def test_each_term_teaches_its_own_player_only():
    players, codes = _players(), torch.rand(4, 6, 144, 96, generator=torch.Generator().manual_seed(0))
    owners = {"texel": "prior", "fooling": "prior", "telling": "judge", "smooth": "judge",
              "path": "prior", "tone": "prior"}  # fmt: skip
    players.path.fill_(1)
    terms = losses_of(players, codes, torch.randn(5, 7), 0, CONFIG)
    assert set(terms) == set(owners)
    for name, term in terms.items():
        players.zero_grad(set_to_none=True)
        term.backward(retain_graph=True)
        taught = {n.split(".")[0] for n, p in players.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        assert taught == {owners[name]}, name


def test_a_fitted_mapping_finds_people_likelier_and_draws_what_belongs_together():
    torch.manual_seed(0)
    latents = torch.randn(600, 4).repeat_interleave(2, 1) + 0.3 * torch.randn(600, 8)
    mapping = Mapping(8)
    before = mapping.normal(latents[:100])[1].mean()
    training.fit_mapping(mapping, latents[100:])
    drawn = mapping(torch.randn(400, 8))
    assert mapping.normal(latents[:100])[1].mean() < before - 1
    assert torch.corrcoef(drawn[:, :2].T)[0, 1] > 0.6


def test_an_interruption_changes_no_byte_and_what_is_saved_can_be_loaded(tmp_path):
    codes = torch.rand(4, 6, 144, 96, generator=torch.Generator().manual_seed(0))

    def run(folder, steps):
        schedule = Schedule(3, 4, 1e-3, warm_up=2, betas=(0.0, 0.99), decay=0.0, bound=1e4)
        seen = []

        def losses(players, step):
            if len(seen) == steps:
                raise KeyboardInterrupt
            seen.append(step)
            return losses_of(players, codes, torch.ones(3, 7), step, CONFIG)

        return train(_players(), losses, lambda _: {}, schedule, folder, minutes=60)

    whole = run(tmp_path / "whole", 3)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 1)
    resumed = run(tmp_path / "cut", 3)
    for first, second in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(first, second)
    save_prior(resumed.prior, tmp_path)
    again = prior_from(load_shards(tmp_path / "prior"), "fitme")
    assert torch.allclose(again.centre, resumed.prior.centre, atol=1e-3)


def write_maps(folder, rows=144):
    generator = np.random.default_rng(0)
    records = np.zeros(PER_FILE, record_type(rows))
    for name in ("lit", "albedo", "specular", "normal"):
        coarse = generator.integers(0, 256, (*records[name].shape[:-3], 6, 4, records[name].shape[-1]))
        records[name] = coarse.repeat(rows // 6, -3).repeat(rows // 6, -2)
    records["ita_deg"] = generator.permutation(np.repeat([-50.0, 50.0], [PER_FILE - 4, 4]))
    np.save(folder / "train-00000.npy", records)
    return records


def test_batches_are_even_over_the_tones_and_mirroring_turns_normals(tmp_path):
    records = write_maps(tmp_path)
    maps = PriorMaps(tmp_path, "train", PRIORS["fitme"], torch.device("cpu"))
    codes = maps.codes(np.array([3]), np.array([0]))
    assert np.array_equal((codes[0, :3] * 255).round().byte().permute(1, 2, 0), records["albedo"][3])
    assert torch.allclose(mirrored(mirrored(codes, maps.branches), maps.branches), codes, atol=1e-6)
    assert torch.allclose(mirrored(codes, maps.branches)[:, 4].flip(2), 1 - codes[:, 4])
    drawn = maps.random(64, np.random.default_rng(0))
    maps.hold()
    assert torch.equal(maps.random(64, np.random.default_rng(0)), drawn)
    pale = {tuple(c) for c in records["albedo"][records["ita_deg"] > 0][:, 0, 0].tolist()}
    pale |= {tuple(c) for c in records["albedo"][records["ita_deg"] > 0][:, 0, -1].tolist()}
    corners = (drawn[:, :3, 0, 0] * 255).round().int().tolist()
    assert 20 < sum(tuple(c) in pale for c in corners) < 44
    assert tone_bin(np.array([-90, -50, 0.1, 90])).tolist() == [0, 0, 3, 5]


def test_statistics_start_a_prior_that_reconstructs(tmp_path):
    write_maps(tmp_path)
    maps = PriorMaps(tmp_path, "train", PRIORS["ganfit"], torch.device("cpu"))
    statistics = statistics_of(maps, 40)
    assert statistics.modes.shape == (40, 3, 72, 48) and (statistics.scale == statistics.scale[0]).all()
    few, many = (
        Players(small_shape("ganfit", k), Statistics(statistics.mean, statistics.scale, statistics.modes[:k]), CONFIG.judges)
        for k in (5, 40)
    )
    figures = [reconstruction_db(players.prior, maps, np.arange(6))["lit"] for players in (few, many)]
    assert figures[0] + 1 < figures[1]


def test_maps_of_another_size_are_refused(tmp_path):
    write_maps(tmp_path)
    maps = PriorMaps(tmp_path, "train", PRIORS["ganfit"], torch.device("cpu"))
    with pytest.raises(SystemExit, match="needs maps of 576 rows, these have 144"):
        training.new_players(maps, "ganfit", training.CONFIGS["cpu"], tmp_path / "run")


def test_records_are_repeatable_and_hold_what_the_branches_need():
    record = record_of(3, 1, "train", 144)
    again = record_of(3, 1, "train", 144)
    assert all(np.array_equal(record[name], again[name]) for name in record.dtype.names)
    assert -70 < record["ita_deg"] < 70 and record["lit"].max() > 60
    assert abs(float(record["normal"].mean()) - 127.5) < 4 and 60 < record["specular"].mean() < 130


def test_even_and_odd_components_are_those_of_all_maps_and_their_mirror_images(tmp_path):
    write_maps(tmp_path)
    maps = PriorMaps(tmp_path, "train", PRIORS["fitme"], torch.device("cpu"))
    codes = maps.codes(np.arange(PER_FILE), np.zeros(PER_FILE, int))
    scale = torch.tensor([0.1, 0.1, 0.1, 0.2, 0.3, 0.3])
    found = fit_mirrored(maps, 9, scale)
    both = torch.cat([codes, mirrored(codes, maps.branches)])
    whole = fit_linear(both.flatten(1), 9, (1 / scale)[:, None].expand(-1, 144 * 96).flatten())
    power = torch.cat([m.modes.square().sum(1) for m in (found.even, found.odd)]).sort(descending=True).values / 2
    assert len(power) == 9 and torch.allclose(power, whole.modes.square().sum(1), rtol=1e-2)
    weight = scale[:, None, None]
    expected = whole.samples(whole.coefficients((codes / weight).flatten(1))).view_as(codes) * weight
    assert torch.allclose(found.reconstructed(codes), expected.clamp(0, 1), atol=0.02)
    assert found.drawn(3, 144, 1).shape == (3, 6, 144, 96)

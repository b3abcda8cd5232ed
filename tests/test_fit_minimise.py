"""The optimiser loops on problems with known answers, and the light solver on light it should find again."""

import math

import pytest
import torch

from relit.errors import FitDiverged
from relit.fit.light import BANDS, light_prior, solve_light
from relit.fit.minimise import descend, least_squares


def test_least_squares_finds_the_rosenbrock_minimum():
    residuals = lambda x: torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])  # noqa: E731
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    wide = torch.full((2,), 10.0, dtype=torch.float64)
    assert torch.allclose(least_squares(residuals, start, -wide, wide, steps=100), torch.ones(2).double(), atol=1e-5)


def test_least_squares_keeps_bounds_and_still_solves_the_rest():
    residuals = lambda x: torch.stack([x[0] - 3, x[1] - 0.25, x[0] + x[1] - 2])  # noqa: E731
    start = torch.zeros(2, dtype=torch.float64)
    found = least_squares(residuals, start, start, start + 1)
    assert found[0] == 1 and math.isclose(float(found[1]), 0.625, abs_tol=1e-6)


def test_not_a_number_is_reported_by_name():
    with pytest.raises(FitDiverged, match="pixel"):
        descend(lambda step: {"pixel": torch.tensor(float("nan")) * x.sum()}, [(x := torch.ones(2), 0.1)], 3)


def test_descend_minimises_and_reports_energies():
    x = torch.tensor([4.0])
    energies = descend(lambda step: {"bowl": (x - 1).square().sum()}, [(x, 0.3)], 100)
    assert abs(float(x) - 1) < 0.05 and energies["bowl"] < 0.01


def test_uniform_white_light_is_found_again():
    generator = torch.Generator().manual_seed(0)
    transfer = torch.randn(400, 81, generator=generator) * 0.3
    transfer[:, 0] = math.sqrt(math.pi) * (0.6 + 0.4 * torch.rand(400, generator=generator))
    albedo = 0.3 + 0.3 * torch.rand(400, 3, generator=generator)
    truth = torch.zeros(81, 3)
    truth[0] = math.sqrt(4 * math.pi)
    radiance = albedo / math.pi * (transfer @ truth)
    found = solve_light(radiance, albedo, transfer, torch.ones(400))
    assert torch.allclose(found[0], truth[0], rtol=0.03)
    assert (found[1:].abs() < 0.15).all()


def test_the_prior_prefers_plain_well_exposed_light():
    plain = torch.zeros(81, 3)
    plain[0] = math.sqrt(4 * math.pi)
    coloured, dark, spiky = plain.clone(), plain * 0.1, plain.clone()
    coloured[0, 0] *= 2
    spiky[BANDS == 8] = 1.0
    assert light_prior(plain) < min(light_prior(coloured), light_prior(dark), light_prior(spiky))

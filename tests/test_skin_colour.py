"""Laws of colour and pigment."""

import math

import pytest
import torch

from relit.appearance.colour import (
    lab_from_linear,
    linear_from_lab,
    linear_from_srgb,
    luminance,
    srgb_from_linear,
    typology_angle_deg,
)
from relit.appearance.skin import Pigments, pigments_from_colour, skin_colour


def pigments(melanin: float, blood: float = 0.016, carotene: float = 0.6) -> Pigments:
    return Pigments(*(torch.tensor([value], dtype=torch.float64) for value in (melanin, blood, carotene)))


def test_srgb_round_trip_and_worked_number():
    coded = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert (srgb_from_linear(linear_from_srgb(coded)) - coded).abs().max() < 1e-6
    assert linear_from_srgb(torch.tensor(0.5)).item() == pytest.approx(0.2140, abs=1e-4)


def test_srgb_gradient_is_finite_at_black_and_right_everywhere():
    coded = torch.tensor([0.0, 0.02, 0.2, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(linear_from_srgb, coded)
    assert torch.autograd.gradcheck(srgb_from_linear, coded)


def test_lab_round_trip_and_white():
    rgb = torch.rand(100, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert (linear_from_lab(lab_from_linear(rgb)) - rgb).abs().max() < 1e-5
    assert torch.allclose(lab_from_linear(torch.ones(3)), torch.tensor([100.0, 0.0, 0.0]), atol=2e-3)
    assert luminance(torch.ones(3)).item() == pytest.approx(1, abs=1e-5)


def test_typology_angle_worked_numbers():
    colours = linear_from_lab(torch.tensor([[70.0, 10.0, 15.0], [50.0, 10.0, 18.0], [35.0, 10.0, 12.0]]))
    expected = [math.degrees(math.atan2(20, 15)), 0.0, math.degrees(math.atan2(-15, 12))]
    assert torch.allclose(typology_angle_deg(colours), torch.tensor(expected), atol=0.05)


def test_more_pigment_is_darker_in_every_channel():
    for colours in (
        torch.cat([skin_colour(pigments(m)) for m in (0.001, 0.01, 0.1, 1.0, 3.0)]),
        torch.cat([skin_colour(pigments(0.05, b)) for b in (0.002, 0.01, 0.03, 0.1)]),
    ):
        assert (colours.diff(dim=0) < 0).all()
        assert ((colours > 0) & (colours < 1)).all()


def test_blood_reddens_and_carotene_yellows():
    pale, flushed = lab_from_linear(torch.cat([skin_colour(pigments(0.02, b)) for b in (0.01, 0.03)]))
    plain, yellow = lab_from_linear(torch.cat([skin_colour(pigments(0.02, 0.016, c)) for c in (0.2, 2.0)]))
    assert flushed[1] > pale[1] + 2
    assert yellow[2] > plain[2] + 2


def test_measured_skins_are_reached():
    measured = torch.tensor([[66, 9.5, 15.0], [61, 10, 17.0], [50, 12.5, 18.5], [36, 10, 12.5], [29, 8, 9.0]])
    target = linear_from_lab(measured)
    found, brightness = pigments_from_colour(target)
    assert (lab_from_linear(skin_colour(found) * brightness[:, None]) - measured).norm(dim=1).max() < 3
    assert (found.melanin.diff() > 0).all()


def test_pigments_round_trip():
    given = Pigments(torch.tensor([0.02, 0.3]), torch.tensor([0.014, 0.02]), torch.tensor([0.6, 0.6]))
    found, brightness = pigments_from_colour(skin_colour(given))
    assert torch.allclose(found.melanin, given.melanin, rtol=0.1)
    assert torch.allclose(skin_colour(found) * brightness[:, None], skin_colour(given), rtol=0.03)


def test_skin_colour_gradient():
    start = tuple(torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (0.05, 0.02, 0.6))
    assert torch.autograd.gradcheck(lambda m, b, c: skin_colour(Pigments(m, b, c)), start)

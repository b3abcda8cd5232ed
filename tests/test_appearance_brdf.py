"""Laws of the reflection models: energy, reciprocity, and agreement with the textbook formulas."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from relit.appearance.brdf import (
    environment_reflectance,
    ggx,
    ggx_distribution,
    schlick_fresnel,
    smith_visibility,
)

UP = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


def hemisphere(rings: int = 500, columns: int = 200):
    """Directions and their solid angles, midpoint rule."""
    cosine = (torch.arange(rings, dtype=torch.float64) + 0.5) / rings
    angle = (torch.arange(columns, dtype=torch.float64) + 0.5) / columns * 2 * math.pi
    sine = (1 - cosine**2).sqrt()[:, None]
    parts = (sine * angle.cos(), sine * angle.sin(), cosine[:, None].expand(rings, columns))
    return torch.stack(parts, -1).flatten(0, 1), 2 * math.pi / (rings * columns)


def towards(cosine: float):
    return torch.tensor([math.sqrt(1 - cosine**2), 0.0, cosine], dtype=torch.float64)


def reflected(cosine: float, roughness: float, f0: float) -> float:
    directions, solid_angle = hemisphere()
    full = lambda value: torch.full((len(directions),), value, dtype=torch.float64)  # noqa: E731
    value = ggx(UP.expand_as(directions), directions, towards(cosine).expand_as(directions), full(f0), full(roughness))
    return float((value * directions[:, 2]).sum() * solid_angle)


@pytest.mark.parametrize("roughness", [0.3, 0.5, 0.8, 1.0])
def test_microfacet_areas_project_to_the_surface(roughness):
    directions, solid_angle = hemisphere(4000)
    density = ggx_distribution(directions[:, 2], torch.tensor(roughness**2, dtype=torch.float64))
    assert math.isclose(float((density * directions[:, 2]).sum() * solid_angle), 1, rel_tol=1e-3)


@pytest.mark.parametrize("roughness", [0.25, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("cosine", [0.1, 0.5, 0.95])
def test_white_furnace_never_gains_energy(roughness, cosine):
    value = reflected(cosine, roughness, 1.0)
    assert 0.3 < value <= 1.002


def test_reflection_is_reciprocal():
    torch.manual_seed(0)
    a, b = (normalize(torch.randn(500, 3, dtype=torch.float64) + 2 * UP, dim=1) for _ in range(2))
    f0, roughness = torch.rand(500, dtype=torch.float64), torch.rand(500, dtype=torch.float64)
    normal = UP.expand_as(a)
    assert torch.allclose(ggx(normal, a, b, f0, roughness), ggx(normal, b, a, f0, roughness))


def test_visibility_is_the_textbook_masking():
    """V = 1 / ((1 + L(l) + L(v)) 4 (n.l) (n.v)) with L = (sqrt(1 + alpha^2 tan^2) - 1) / 2."""
    n_dot_l, n_dot_v, alpha = torch.rand(3, 300, dtype=torch.float64).clamp(0.02, 0.99)
    smith = lambda c: ((1 + alpha**2 * (1 - c**2) / c**2).sqrt() - 1) / 2  # noqa: E731
    expected = 1 / ((1 + smith(n_dot_l) + smith(n_dot_v)) * 4 * n_dot_l * n_dot_v)
    assert torch.allclose(smith_visibility(n_dot_l, n_dot_v, alpha), expected)


def test_fresnel_runs_from_f0_to_one():
    f0 = torch.tensor([0.028, 0.5])
    assert torch.allclose(schlick_fresnel(f0, torch.ones(2)), f0)
    assert torch.allclose(schlick_fresnel(f0, torch.zeros(2)), torch.ones(2))


def test_nothing_shines_below_the_horizon():
    below = torch.tensor([[0.6, 0.0, -0.8]], dtype=torch.float64)
    one = torch.tensor([0.5], dtype=torch.float64)
    assert float(ggx(UP[None], below, towards(0.5)[None], one, one)) == 0
    assert float(ggx(UP[None], towards(0.5)[None], below, one, one)) == 0


@pytest.mark.parametrize("roughness", [0.35, 0.5, 0.8])
@pytest.mark.parametrize("cosine", [0.15, 0.4, 0.9])
def test_environment_reflectance_is_the_integral_of_the_brdf(roughness, cosine):
    table = environment_reflectance(torch.tensor([cosine]), torch.tensor([0.028]), torch.tensor([roughness]))
    assert math.isclose(float(table), reflected(cosine, roughness, 0.028), rel_tol=0.03, abs_tol=2e-4)


def test_environment_reflectance_is_differentiable_and_keeps_shapes():
    cosine = torch.rand(4, 5, requires_grad=True)
    value = environment_reflectance(cosine, torch.full((4, 5), 0.04), torch.full((4, 5), 0.5))
    value.sum().backward()
    assert value.shape == (4, 5) and (cosine.grad <= 1e-6).float().mean() > 0.8  # grazing reflects more


def test_disk_light_keeps_the_highlight_energy_bounded():
    directions, solid_angle = hemisphere()
    eye, light = towards(0.9), towards(0.7)
    full = lambda value: torch.full((len(directions),), value, dtype=torch.float64)  # noqa: E731
    total = lambda radius: float(  # noqa: E731
        (ggx(directions, light.expand_as(directions), eye.expand_as(directions), full(0.04), full(0.3), radius)).sum()
        * solid_angle
    )
    assert 0.8 * total(0.0) < total(0.1) < 1.2 * total(0.0)

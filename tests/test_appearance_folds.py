"""Folds of an expression come with it and go with it."""

from dataclasses import replace

import pytest
import torch

from fixtures_head import synthetic_head
from relit.appearance.folds import fold_ratio, fold_share
from relit.appearance.lighting import uniform_lighting
from relit.geometry.camera import look_at_face
from relit.models.head import ARKIT_NAMES
from relit.render.portrait import render_head


def smile(weight: float, jaw: float = 0.0) -> torch.Tensor:
    expression = torch.zeros(52)
    expression[[ARKIT_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right")]] = weight
    expression[ARKIT_NAMES.index("jawOpen")] = jaw
    return expression


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 0.0), (0.4, 0.5), (0.8, 1.0), (1.0, 1.0), (-0.3, 0.0)])
def test_folds_come_as_far_as_the_expression_does(weight, expected):
    head, _ = synthetic_head()
    assert fold_share(head.morphs, smile(weight), (smile(0.8),)) == pytest.approx(expected, abs=1e-5)


def test_folds_are_those_of_any_photo_and_of_none_where_all_are_calm():
    head, _ = synthetic_head()
    assert fold_share(head.morphs, smile(0.8), (smile(0.0), smile(0.8))) == pytest.approx(1.0)
    assert fold_share(head.morphs, smile(0.8), (smile(0.0),)) == 0 == fold_share(head.morphs, smile(0.8), ())
    assert fold_share(head.morphs, smile(0.0, 0.5), (smile(0.8),)) < 0.5


def test_folds_are_redder_than_shade_and_what_bulges_is_not():
    deep, none, ridge = fold_ratio(torch.tensor([-0.5, 0.0, 0.3]))
    assert deep[0] > deep[1] > deep[2] and deep.log().mean() == pytest.approx(-0.5, abs=1e-5)
    assert torch.equal(none, torch.ones(3)) and torch.allclose(ridge, ridge[:1].expand(3))
    assert torch.allclose(fold_ratio(torch.tensor([-0.5]), 0.0), torch.ones(3))


def test_a_render_has_the_folds_of_its_own_expression_alone():
    head, _ = synthetic_head()
    plain = replace(head.maps, diffuse_albedo=torch.full_like(head.maps.diffuse_albedo, 0.4), folds=None)
    folded = replace(plain, folds=torch.full_like(plain.roughness, -0.5))
    fits = (replace(head.fits[0], expression=smile(0.8)),)
    shown = [
        render_head(replace(head, maps=maps, fits=fits), look_at_face((64, 64)), uniform_lighting(), smile(weight))
        for maps in (plain, folded)
        for weight in (0.0, 0.8)
    ]
    calm, smiling, calm_folded, smiling_folded = (picture[24:40, 24:40, :3].mean() for picture in shown)
    assert calm_folded == calm and smiling_folded < 0.85 * smiling

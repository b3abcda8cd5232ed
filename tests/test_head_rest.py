"""Lids at rest: narrow eyes are narrow in the neutral head too, and in the photo's pose the head stays the same."""

from dataclasses import replace

import pytest
import torch

from fixtures_head import synthetic_head
from relit.head.rest import MOST, with_own_lids
from relit.models.head import ARKIT_NAMES, expression_morphs, lid_edge_points, load_head_model, neutral_vertices, posed_vertices


def opening(vertices):
    """[2] mean metres between the lid edges, left and right."""
    upper, lower = lid_edge_points(load_head_model(), vertices).unbind(1)
    return (upper - lower).norm(dim=-1).mean(-1)


def fit_with(**weights):
    expression = torch.zeros(52)
    for name, weight in weights.items():
        for side in ("Left", "Right") if not name.endswith(("Left", "Right")) else ("",):
            expression[ARKIT_NAMES.index(name + side)] = weight
    return replace(synthetic_head()[0].fits[0], expression=expression, gaze_rad=torch.zeros(2, 2))


def neutral_and_posed(fit):
    model = load_head_model()
    neutral = neutral_vertices(model, fit.identity, fit.vertex_offset)
    return neutral, posed_vertices(model, neutral, fit.expression, fit.gaze_rad, expression_morphs(model, neutral))


@pytest.mark.parametrize("weights", [{"eyeBlink": 0.25}, {"eyeSquint": 0.3}, {"eyeBlink": 0.2, "eyeSquint": 0.2}])
def test_narrow_eyes_are_narrow_at_rest_and_the_posed_head_stays(weights):
    fit = fit_with(**weights)
    (own,) = with_own_lids(load_head_model(), (fit,))
    neutral, posed = neutral_and_posed(fit)
    at_rest, again = neutral_and_posed(own)
    assert (opening(at_rest) / opening(posed) - 1).abs().max() < 0.06
    assert (opening(at_rest) < 0.95 * opening(neutral)).all()
    assert (again - posed).norm(dim=1).max() < 5e-4


def test_what_not_every_photo_or_not_both_eyes_show_is_an_expression():
    model, narrow, usual = load_head_model(), fit_with(eyeBlink=0.2), fit_with()
    wink = fit_with(eyeBlinkLeft=0.8)
    assert with_own_lids(model, (narrow, usual))[0] is narrow
    assert with_own_lids(model, (wink,))[0] is wink


def test_a_smile_explains_squints_and_closed_lids_are_not_kept_closed():
    model = load_head_model()
    smiling = fit_with(eyeSquint=0.3, mouthSmile=1.0)
    assert with_own_lids(model, (smiling,))[0] is smiling
    (blinking,) = with_own_lids(model, (fit_with(eyeBlink=1.0),))
    neutral, posed = neutral_and_posed(blinking)
    usual, _ = neutral_and_posed(fit_with())
    assert (opening(neutral) > (0.9 - MOST) * opening(usual)).all() and opening(posed).max() < 5e-4

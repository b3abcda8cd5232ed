"""Eyes: the opening and the gaze that landmarks show are those of the fitted head."""

import pytest
import torch

from relit.fit.eyes import LIDS, settled_gaze, settled_lids
from relit.geometry.camera import look_at_face, project
from relit.models.head import (
    ARKIT_NAMES,
    expression_morphs,
    landmark_points,
    lid_edge_points,
    load_head_model,
    neutral_vertices,
    posed_vertices,
)

STRAIGHT = torch.zeros(2, 2)


def opening(model, vertices):
    """[2, M] metres between the lid edges, left and right."""
    upper, lower = lid_edge_points(model, vertices).unbind(1)
    return (upper - lower).norm(dim=-1)


@pytest.mark.parametrize("blink", [0.4, 0.15, 0.0])
def test_lids_are_as_open_as_their_landmarks_say_and_nothing_else_moves(blink):
    model, camera = load_head_model(), look_at_face((640, 640), distance_m=0.9)
    identity = torch.randn(len(model.identity_modes), generator=torch.Generator().manual_seed(4)) * 0.7
    neutral = neutral_vertices(model, identity)
    morphs = expression_morphs(model, neutral)
    at = ARKIT_NAMES.index
    true, fitted = torch.zeros(52), torch.zeros(52)
    for side in ("Left", "Right"):
        true[at(f"eyeBlink{side}")] = blink
        fitted[at(f"eyeBlink{side}")] = 0.1
    fitted[at("jawOpen")] = 0.3
    shown = posed_vertices(model, neutral, true, STRAIGHT, morphs)
    seen = project(camera, landmark_points(model, shown))[:, :2]
    found = settled_lids(model, neutral, (fitted, STRAIGHT), camera, seen)
    others = [k for k in range(52) if k not in LIDS]
    assert torch.equal(found[others], fitted[others])
    before, after = (
        (opening(model, posed_vertices(model, neutral, e, STRAIGHT, morphs)) / opening(model, shown) - 1)[:, 4:11]
        for e in (fitted, found)
    )
    assert after.abs().max() < 0.06
    assert after.abs().mean() < 0.4 * before.abs().mean()


@pytest.mark.parametrize("true", [[[0.2, 0.1], [0.17, 0.1]], [[-0.3, -0.2], [-0.35, -0.2]]])
def test_eyes_look_where_the_irises_say(true):
    model, camera = load_head_model(), look_at_face((640, 640), distance_m=0.9, yaw_rad=0.3)
    neutral = neutral_vertices(model, torch.zeros(len(model.identity_modes)))
    true, nothing = torch.tensor(true), torch.zeros(52)
    seen = project(camera, landmark_points(model, posed_vertices(model, neutral, nothing, true)))[:, :2]
    found = settled_gaze(model, neutral, (nothing, torch.zeros(2, 2)), camera, seen)
    assert (found - true).abs().max() < 0.02

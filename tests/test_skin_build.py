"""Laws of the parts that build the skin model."""

import numpy as np
import pytest
import torch

from relit.models.build_skin import fill
from relit.models.head import load_head_model
from relit.models.regions import landmark_uv
from relit.models.skin_transfer import control_quads, match_quads


def grid(rows: int, columns: int) -> np.ndarray:
    corner = np.arange(rows * columns).reshape(rows, columns)
    return np.stack([corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]], -1).reshape(-1, 4)


def test_faces_are_matched_whatever_their_numbering():
    generator = np.random.default_rng(1)
    quads = grid(5, 7)
    renumbering = generator.permutation(35)
    order = generator.permutation(len(quads))
    others = np.array([np.roll(renumbering[quads[f]], generator.integers(4)) for f in order])
    other = int(np.flatnonzero(order == 0)[0])
    turn = others[other].tolist().index(renumbering[quads[0][0]])
    assert np.array_equal(match_quads(quads, others, (0, other, turn)), renumbering[quads])


def test_a_wrong_start_is_refused():
    with pytest.raises(ValueError, match="head"):
        match_quads(grid(5, 7), grid(7, 5), (0, 0, 0))


def test_control_quads_are_a_quarter_of_the_skin():
    model = load_head_model()
    quads = control_quads(model)
    assert len(quads) * 8 == int((model.part == 0).sum())
    assert len(np.unique(quads)) < quads.size / 3


def test_fill_keeps_the_valid_and_continues_smoothly():
    row = np.linspace(0.2, 0.8, 64, dtype=np.float32)
    picture = np.repeat(np.repeat(row[None, :, None], 64, 0), 3, 2)
    valid = np.ones((64, 64), bool)
    valid[20:40, 20:40] = False
    filled = fill(np.where(valid[..., None], picture, 9), valid)
    assert np.array_equal(filled[valid], picture[valid])
    assert abs(filled - picture).max() < 0.12


def test_landmarks_mirror_in_the_layout():
    uv = landmark_uv(load_head_model())
    right, left = uv[[33, 61, 129, 70]], uv[[263, 291, 358, 300]]
    assert torch.allclose(right * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0]), left, atol=4e-3)
    assert abs(uv[1, 0].item() - 0.5) < 2e-3

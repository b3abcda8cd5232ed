"""Grain is told from wrinkles by being everywhere."""

import numpy as np
import torch

from relit.maps.grain import without_grain

SIDE = 512


def field(strength: float) -> torch.Tensor:
    noise = np.random.default_rng(0).standard_normal((SIDE, SIDE, 1)).astype(np.float32)
    return torch.from_numpy(strength * noise).expand(-1, -1, 3).contiguous()


def test_smooth_skin_and_a_wrinkle_stay_as_they_are():
    ratio = field(0.01)
    ratio[250:253, 100:400] -= 0.5
    assert torch.equal(without_grain(ratio, torch.ones(SIDE, SIDE)), ratio)


def test_grain_is_reduced_to_what_skin_has_and_its_mean_stays():
    ratio = field(0.6)
    less = without_grain(ratio, torch.ones(SIDE, SIDE))
    assert less.std() < 0.5 * ratio.std()
    torch.testing.assert_close(less.mean(), ratio.mean(), atol=1e-3, rtol=0)
    again = without_grain(less, torch.ones(SIDE, SIDE))
    assert (again - less).abs().mean() < 0.25 * (less - ratio).abs().mean()


def test_without_plain_skin_nothing_changes():
    ratio = field(0.6)
    assert torch.equal(without_grain(ratio, torch.zeros(SIDE, SIDE)), ratio)

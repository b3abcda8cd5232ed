"""PSNR and SSIM against cases worked by hand and against scikit-image."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from relit.evaluation.pictures import BEST_DB, best_gain, psnr, ssim, ssim_map

RNG = np.random.default_rng(5)
WHOLE = np.ones((40, 50), bool)


def pair(channels=3):
    first = RNG.random((40, 50, channels))
    return first, (first + 0.1 * RNG.normal(size=first.shape)).clip(0, 1)


def test_a_difference_of_a_tenth_of_the_range_is_twenty_decibels():
    picture = RNG.random((40, 50, 3)) * 0.5
    assert psnr(picture, picture + 0.1, WHOLE, 1.0) == pytest.approx(20)
    assert psnr(255 * picture, 255 * picture + 25.5, WHOLE, 255.0) == pytest.approx(20)
    assert psnr(picture, picture, WHOLE, 1.0) == BEST_DB


def test_psnr_sees_its_mask_only():
    first, second = np.zeros((4, 4)), np.zeros((4, 4))
    second[0, :2], second[3, 3] = 0.5, 1.0
    mask = np.zeros((4, 4), bool)
    mask[0] = True  # mean squared difference 2 * 0.25 / 4
    assert psnr(first, second, mask, 1.0) == pytest.approx(10 * math.log10(8))
    assert math.isnan(psnr(first, second, np.zeros((4, 4), bool), 1.0))


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_both_agree_with_scikit_image(data_range):
    first, second = (data_range * picture for picture in pair())
    theirs = peak_signal_noise_ratio(first, second, data_range=data_range)
    assert psnr(first, second, WHOLE, data_range) == pytest.approx(theirs)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    _, theirs = structural_similarity(first, second, data_range=data_range, full=True, **settings)
    ours = ssim_map(first, second, WHOLE, data_range)
    assert np.abs(ours - theirs.mean(-1))[5:-5, 5:-5].max() < 1e-9


def test_ssim_of_flat_pictures_is_the_luminance_term():
    a, b = np.full((20, 20), 0.4), np.full((20, 20), 0.6)
    expected = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    assert ssim(a, b, np.ones((20, 20), bool), 1.0) == pytest.approx(expected)


def test_ssim_does_not_depend_on_what_lies_outside_the_mask():
    first, second = pair(1)
    mask = np.zeros((40, 50), bool)
    mask[8:30, 5:44] = True
    before = ssim(first[..., 0], second[..., 0], mask, 1.0)
    first[~mask] = RNG.random(first[~mask].shape)
    assert ssim(first[..., 0], second[..., 0], mask, 1.0) == pytest.approx(before, abs=1e-12)
    assert ssim(first, first, mask, 1.0) == pytest.approx(1)


def test_best_gains_are_least_squares():
    truth = RNG.random((40, 50, 3))
    found = truth / [2.0, 4.0, 0.5]
    assert np.allclose(best_gain(found, truth, WHOLE, True), [2, 4, 0.5])
    single = best_gain(found, truth, WHOLE, False)
    cost = lambda gain: ((gain * found - truth) ** 2).sum()  # noqa: E731
    assert single[0] == single[1] == single[2]
    assert cost(single[0]) < min(cost(single[0] * 1.01), cost(single[0] * 0.99))

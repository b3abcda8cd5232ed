"""The methods: each names itself, starts from the same fit, and gives a head of the wanted size."""

import pytest
import torch

from relit.methods import METHODS, load_method
from relit.methods.fitted import Fitted
from relit.progress import Stopwatch
from test_maps_unwrap import photographed


@pytest.mark.parametrize("name", METHODS)
def test_a_method_makes_a_head_of_a_fit_and_says_its_name(name):
    model, seen, fit, truth = photographed()
    watch = Stopwatch()
    result = load_method(name).finish(Fitted(model, (seen,), (fit,)), (256, 256), 0, watch)
    head = result.head
    assert head.fits[0].method == name and {"maps", "head"} <= set(watch.seconds)
    assert head.maps.diffuse_albedo.shape == (256, 256, 3)
    assert head.maps.diffuse_albedo.min() >= 0 and head.maps.diffuse_albedo.max() <= 1
    # skin and light may both be wrong by a factor, but together they must look as the photo does
    shown = head.maps.diffuse_albedo[head.maps.confidence > 0.7].median(0).values * head.fits[0].lighting.sh[0]
    shown_true = truth.reshape(-1, 3)[::7].median(0).values * fit.lighting.sh[0]
    assert ((shown / shown_true).log().abs() < 0.35).all()
    assert torch.equal(result.observations[0].photo.linear, seen.photo.linear)

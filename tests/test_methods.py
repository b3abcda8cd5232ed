"""The methods: each names itself, starts from the same fit, and gives a head of the wanted size."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch

from fixtures_device import ELSEWHERE
from relit.errors import DifferentPeople
from relit.methods import METHODS, load_method
from relit.methods.fitted import LEAST_ALIKE, Fitted, check_one_person
from relit.progress import Stopwatch
from test_fit_inversion import OF, QUICK
from test_maps_unwrap import photographed


@pytest.fixture
def small_priors(monkeypatch):
    for name in ("fitme", "ganfit"):
        module = import_module(f"relit.methods.{name}")
        monkeypatch.setattr(module, "load_prior", OF.__getitem__)
        monkeypatch.setattr(module, "OPTIONS", replace(QUICK, told=20.0))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_makes_a_head_of_a_fit_and_says_its_name(name, small_priors):
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


@pytest.mark.parametrize("name", ["fitme", "ganfit"])
def test_generators_are_inverted_on_the_device_of_the_start(name, small_priors, monkeypatch):
    class Asked(Exception):
        pass

    def invert(*given):
        raise Asked(given[-1])

    monkeypatch.setattr(f"relit.methods.{name}.invert", invert)
    model, seen, fit, _ = photographed()
    with pytest.raises(Asked, match="meta"):
        load_method(name).finish(Fitted(model, (seen,), (fit,), ELSEWHERE), (256, 256), 0, Stopwatch())


def test_photos_of_two_people_are_refused_by_the_names_of_the_least_alike():
    _, seen, _, _ = photographed()
    unit = lambda *features: torch.nn.functional.normalize(torch.tensor(features), dim=0)  # noqa: E731
    named = lambda name, *features: replace(  # noqa: E731
        seen, photo=replace(seen.photo, name=name), identity_embedding=unit(*features)
    )
    one, alike, other = named("a.jpg", 1.0, 0.0), named("b.jpg", 1.0, 1.5), named("c.jpg", 0.2, -1.0)
    assert one.identity_embedding @ alike.identity_embedding > LEAST_ALIKE
    check_one_person((one,))
    check_one_person((one, alike))
    with pytest.raises(DifferentPeople, match="b.jpg and c.jpg.*--same-person"):
        check_one_person((one, alike, other))

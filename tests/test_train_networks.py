"""The networks: shapes, laws of the de-lighting's parameters, training that can be interrupted."""

import numpy as np
import pytest
import torch
from torch import nn

from relit.appearance.colour import linear_from_srgb, srgb_from_linear
from relit.errors import AssetCorrupt, InputError
from relit.models.delighting import (
    BRIGHTEST,
    INPUTS,
    OUTPUTS,
    TYPICAL,
    delight_texture,
    delighting_input,
    delit,
    new_delighting,
)
from relit.models.unet import UNet, UNetShape, unet_from
from relit.train.delight import losses_of, spoiled
from relit.train.loop import Schedule, train
from relit.train.spoil import pigmented

WIDTHS = (8, 12, 16)


def _planes(count=2, height=64, width=64):
    generator = torch.Generator().manual_seed(3)
    draw = lambda channels: torch.rand(count, channels, height, width, generator=generator)  # noqa: E731
    normal = torch.nn.functional.normalize(draw(3) - 0.5, dim=1)
    return {
        "lit": draw(3), "visible": draw(1).round(), "albedo": draw(3) * 0.5 + 0.2, "normal": normal,
        "position": draw(3) * 0.2 - 0.1, "inside": torch.ones(count, 1, height, width),
        "bare": torch.ones(count, 1, height, width),
    }  # fmt: skip


def test_an_untrained_network_takes_white_light_for_granted_and_hidden_texels_for_typical_skin():
    planes = _planes()
    lit, visible = planes["lit"].clamp_min(0.1), planes["visible"]
    out = new_delighting(WIDTHS)(delighting_input(lit, visible, planes["normal"], planes["position"]))
    found = delit(out, lit, visible)
    assert torch.allclose(found.albedo[visible.expand_as(found.albedo) == 0], torch.tensor(TYPICAL))
    sure = delit(out + 50 * (torch.arange(OUTPUTS) == 6)[:, None, None], lit, torch.ones_like(visible))
    assert torch.allclose(sure.albedo, linear_from_srgb(lit).clamp_max(BRIGHTEST), atol=1e-4)


def test_albedo_is_the_photo_over_the_light_and_the_light_is_smooth():
    generator = torch.Generator().manual_seed(5)
    prediction = torch.randn(1, OUTPUTS, 32, 32, generator=generator) * 0.2
    prediction[:, 6] = 50
    lit = 0.4 + 0.2 * torch.rand(1, 3, 32, 32, generator=generator)
    brighter = srgb_from_linear(linear_from_srgb(lit) * 1.3)
    one = torch.ones(1, 1, 32, 32)
    assert torch.allclose(delit(prediction, brighter, one).albedo / delit(prediction, lit, one).albedo, torch.tensor(1.3))
    light = (linear_from_srgb(lit) / delit(prediction, lit, one).albedo).log()
    assert light.diff(dim=3).abs().max() < 0.6 * prediction[:, :3].diff(dim=3).abs().max()


def test_albedo_stays_physical_whatever_the_network_says():
    for prediction in (-50.0, 50.0):
        out = torch.full((1, OUTPUTS, 32, 32), prediction)
        albedo = delit(out, torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)).albedo
        assert albedo.min() > 0 and albedo.max() < 1


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda p: p | {"lit": p["lit"][..., :64]}, "the lit texture must be 3 x 192 x 256"),
        (lambda p: p | {"normal": p["normal"] * float("nan")}, "the normal texture holds values that are no numbers"),
        (lambda p: p | {"lit": torch.full_like(p["lit"], 0.5)}, "one colour everywhere"),
        (lambda p: p | {"visible": p["visible"] * 0}, "nothing of the face is seen"),
    ],
)
def test_textures_that_show_no_face_are_refused_by_name(spoil, named):
    planes = spoil(_planes(1, 192, 256))
    with pytest.raises(InputError, match=named):
        delight_texture(new_delighting(WIDTHS), *(planes[name] for name in ("lit", "visible", "normal", "position")))


def test_hidden_texels_do_not_reach_the_network():
    planes = _planes()
    other = planes | {"lit": torch.where(planes["visible"] > 0, planes["lit"], 1 - planes["lit"])}
    first, second = (delighting_input(p["lit"], p["visible"], p["normal"], p["position"]) for p in (planes, other))
    assert torch.equal(first, second)


def test_stored_weights_restore_the_network_and_foreign_ones_are_refused():
    network = UNet(UNetShape(INPUTS, 3, WIDTHS, fold=2))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    x = torch.randn(1, INPUTS, 32, 48)
    again = unet_from(network.state_dict(), INPUTS, 3)
    assert torch.allclose(again(x), network(x), atol=1e-5)
    assert again.shape == network.shape
    with pytest.raises(AssetCorrupt):
        unet_from({"enter.weight": torch.zeros(8, 40, 3, 3)}, INPUTS, 3)


def test_augmentation_mirrors_geometry_with_the_picture():
    planes = _planes(64)
    planes["lit"] = planes["position"][:, :1].repeat(1, 3, 1, 1) + 0.5
    planes["albedo"] = planes["lit"]
    planes["inside"] = torch.zeros_like(planes["inside"])  # so that no pigment is added
    found = spoiled(planes, torch.Generator().manual_seed(0))
    flipped = (found["albedo"] - planes["albedo"]).abs().amax((1, 2, 3)) > 1e-3
    assert 10 < flipped.sum() < 54
    assert (found["visible"] <= torch.maximum(planes["visible"], planes["visible"].flip(3))).all()
    assert ((found["lit"] >= 0) & (found["lit"] <= 1)).all()


def test_pigment_changes_skin_and_photo_by_the_same_factor():
    planes = _planes()
    planes["lit"] = srgb_from_linear(linear_from_srgb(planes["albedo"]) * 0.5)
    changed = pigmented(planes, torch.Generator().manual_seed(1))
    assert (changed["albedo"] - planes["albedo"]).abs().max() > 0.02
    whole = changed["albedo"].amax(1, keepdim=True) < 0.99
    ratio = linear_from_srgb(changed["lit"]) / linear_from_srgb(changed["albedo"])
    assert torch.allclose(ratio[whole.expand_as(ratio)], torch.tensor(0.5), atol=1e-3)


def test_training_lowers_the_loss_and_an_interruption_changes_nothing(tmp_path):
    planes = _planes()

    def run(folder, slices):
        torch.manual_seed(0)
        network = new_delighting(WIDTHS)
        schedule = Schedule(steps=12, batch=2, rate=3e-3, warm_up=2)
        for minutes in slices:
            mean = train(network, lambda n, _: losses_of(n, planes), lambda _: {}, schedule, folder, minutes)
        return mean

    whole = run(tmp_path / "whole", [1])
    start, end = losses_of(new_delighting(WIDTHS), planes), losses_of(whole, planes)
    assert sum(end.values()) < sum(start.values())
    counted = []

    def stop_at_six(network, step):
        counted.append(step)
        if len(counted) == 7:
            raise KeyboardInterrupt
        return losses_of(network, planes)

    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        import relit.train.loop as loop

        original, loop.KEEP_EVERY = loop.KEEP_EVERY, 6
        try:
            schedule = Schedule(steps=12, batch=2, rate=3e-3, warm_up=2)
            train(new_delighting(WIDTHS), stop_at_six, lambda _: {}, schedule, tmp_path / "cut", 1)
        finally:
            loop.KEEP_EVERY = original
    resumed = run(tmp_path / "cut", [1])
    for first, second in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(first, second, atol=2e-4)


def test_pairs_are_repeatable_and_consistent():
    from relit.train.pairs import LIGHTS, record_of

    record = record_of(3, 1, "train")
    assert np.array_equal(record["lit"][0], record_of(3, 1, "train")["lit"][0])
    assert record["visible"].shape[0] == LIGHTS and record["visible"].max() == 255
    seen = record["visible"][0] > 200
    assert (record["lit"][0][seen].max(-1) > 0).mean() > 0.99

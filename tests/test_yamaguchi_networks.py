"""The networks of Yamaguchi et al. 2018: laws of their inputs and outputs, completion, super-resolution, their training."""

import numpy as np
import pytest
import torch
from torch import nn

from relit.appearance.colour import linear_from_srgb, srgb_from_linear
from relit.errors import AssetCorrupt, InputError
from relit.maps.inferred import RIM, in_layout, window_mask
from relit.models.completion import completion_from, mean_of_seen, new_completion
from relit.models.delighting import new_delighting
from relit.models.superresolution import SuperResolution, superresolution_from, superresolved
from relit.models.texture_inference import (
    FLAT,
    NEAR_INPUTS,
    ROWS,
    SIZE,
    WINDOW,
    Whole,
    check_texture,
    halved,
    inference_from,
    near_albedo,
    near_input,
    new_near,
    read_whole,
    surface_planes,
    window_of,
)
from relit.train.loop import Schedule
from relit.train.yamaguchi import Config, losses_of, new_networks, said_by, spoiled

WIDTHS = (8, 12, 16)
HEIGHT = ROWS.stop - ROWS.start
INNER = WINDOW[0].stop - WINDOW[0].start, WINDOW[1].stop - WINDOW[1].start


def _planes(count=1):
    generator = torch.Generator().manual_seed(3)
    draw = lambda channels: torch.rand(count, channels, HEIGHT, SIZE, generator=generator)  # noqa: E731
    one = torch.ones(count, 1, HEIGHT, SIZE)
    coarse = torch.nn.functional.interpolate(draw(3)[..., ::32, ::32], size=(HEIGHT, SIZE), mode="bilinear")
    return {
        "lit": (coarse * 0.6 + 0.2), "albedo": draw(3) * 0.3 + 0.4, "visible": draw(1).round(), "inside": one, "bare": one,
        "specular": draw(1) * 0.1 + 0.45, "mid": draw(1) * 0.1 + 0.3, "high": draw(1) * 0.1 + 0.6,
    }  # fmt: skip


def _whole(light=0.0):
    half = torch.zeros(1, 3, HEIGHT // 2, SIZE // 2)
    return Whole(half + light, half - 1.4, torch.full_like(half[:, :1], 0.9))


def _shaken(network):
    torch.manual_seed(1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network.requires_grad_(False)


def test_the_window_is_the_same_at_both_sizes_and_symmetric():
    x = torch.rand(1, 2, HEIGHT, SIZE)
    assert torch.allclose(window_of(halved(x)), halved(window_of(x)), atol=1e-6)
    assert window_of(x).shape[2:] == INNER and WINDOW[1].start == SIZE - WINDOW[1].stop
    mask = window_mask()
    assert torch.equal(mask, mask.flip(1)) and mask[0].max() == 0 and mask[SIZE // 2, SIZE // 2] == 1
    assert (mask[WINDOW[0].start, WINDOW[1]] < 1 / RIM).all()


def test_light_divides_the_photo_and_highlights_of_its_colour_come_off():
    planes, flat = _planes(), torch.zeros(1, 6, *INNER)
    flat[:, 0] = -50  # no highlight
    lit = srgb_from_linear(torch.full((1, 3, HEIGHT, SIZE), 0.2) * torch.tensor([1.5, 1.0, 0.7])[:, None, None])
    plain = near_albedo(flat, lit, _whole())
    assert torch.allclose(plain.albedo, linear_from_srgb(window_of(lit)), atol=1e-5)
    assert torch.allclose(near_albedo(flat, lit, _whole(0.3)).albedo, plain.albedo * float(np.exp(-0.3)), rtol=1e-4)
    shiny = flat.clone()
    shiny[:, 0] = 3.0  # half of what may be white
    matt = near_albedo(shiny, lit, _whole()).albedo
    taken = plain.albedo - matt
    assert torch.allclose(taken, taken[:, :1].expand_as(taken), atol=1e-5) and (matt > 0).all()  # white, and not all
    for level in (-50.0, 50.0):
        extreme = near_albedo(torch.full((1, 6, *INNER), level), planes["lit"], _whole()).albedo
        assert extreme.min() > 0 and extreme.max() <= 1


def test_untrained_networks_say_nothing_of_their_own():
    planes = _planes()
    whole, _ = read_whole(new_delighting((8, 12, 16, 20)), halved(planes["lit"]), halved(planes["visible"]))
    assert whole.light.abs().max() == 0
    read = near_input(planes["lit"], planes["visible"], whole)
    assert read.shape == (1, NEAR_INPUTS, *INNER)
    surface = surface_planes(new_near("surface", WIDTHS)(read))
    assert torch.equal(surface, torch.tensor(FLAT)[:, None, None].expand_as(surface))


def test_hidden_texels_do_not_reach_the_networks():
    planes = _planes()
    other = torch.where(planes["visible"] > 0, planes["lit"], 1 - planes["lit"])
    first, second = (near_input(lit, planes["visible"], _whole()) for lit in (planes["lit"], other))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda lit, visible: (lit[..., :64], visible), "the lit texture must be"),
        (lambda lit, visible: (lit, visible * float("nan")), "the visible texture holds values that are no numbers"),
        (lambda lit, visible: (torch.full_like(lit, 0.5), visible), "one colour everywhere"),
        (lambda lit, visible: (lit, visible * 0), "nothing of the face is seen"),
    ],
)
def test_textures_that_show_no_face_are_refused_by_name(spoil, named):
    planes = _planes()
    with pytest.raises(InputError, match=named):
        check_texture(*spoil(planes["lit"], planes["visible"]))


def test_completion_keeps_what_is_known_and_hears_the_other_side():
    network = new_completion(WIDTHS, WIDTHS)
    seen, known = torch.randn(1, 3, 64, 96) * 0.2, torch.ones(1, 1, 64, 96)
    assert torch.allclose(network(seen, known).fine, seen)  # an untrained second stage adds nothing
    shaken = _shaken(network)
    known[..., 48:] = 0
    other = seen.clone()
    other[..., 8, 4] += 1
    difference = (shaken(other, known).fine - shaken(seen, known).fine).abs().sum(1)[0]
    assert difference[:24, 84:].max() > 0.2 * difference[40:, 40:56].max()  # the mirror image of the change is told of it
    hidden = torch.where(known > 0, seen, 9.0)
    assert torch.equal(shaken(hidden, known).fine, shaken(torch.where(known > 0, seen, 0.0), known).fine)


def test_means_count_what_is_seen():
    values, known = torch.tensor([1.0, 5.0]).view(1, 1, 1, 2), torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert mean_of_seen(values, known).item() == pytest.approx(1.0)


def test_super_resolution_in_tiles_is_that_of_the_whole_picture():
    network = _shaken(SuperResolution(8, 3))
    maps = torch.rand(1, 6, 70, 53)
    whole = superresolved(network, maps, tile=1000)
    assert whole.shape == (1, 6, 280, 212)
    assert (superresolved(network, maps, tile=16) - whole).abs().max() < 1e-5
    smooth = torch.linspace(0, 1, 53).expand(1, 6, 70, 53)
    plain = superresolved(SuperResolution(8, 3), smooth)  # untrained: a bicubic picture
    assert (torch.nn.functional.avg_pool2d(plain, 4) - smooth)[..., 4:-4].abs().max() < 1e-3


def test_the_window_lies_where_the_layout_has_it():
    rows, columns = WINDOW
    layout = torch.rand(1, 6, SIZE, SIZE)
    placed = in_layout(layout[..., rows, columns], (SIZE, SIZE))
    assert torch.equal(placed[rows, columns], layout[0, :, rows, columns].permute(1, 2, 0))
    assert in_layout(layout[..., rows, columns], (300, 200)).shape == (300, 200, 6)


def test_stored_weights_restore_the_networks_and_foreign_ones_are_refused():
    completion, finer = _shaken(new_completion(WIDTHS, WIDTHS)), _shaken(SuperResolution(8, 3))
    x, known = torch.randn(1, 3, 64, 64), torch.rand(1, 1, 64, 64)
    assert torch.allclose(completion_from(completion.state_dict())(x, known).fine, completion(x, known).fine, atol=1e-4)
    maps = torch.rand(1, 6, 16, 16)
    assert torch.allclose(superresolution_from(finer.state_dict())(maps), finer(maps), atol=1e-5)
    for load in (completion_from, superresolution_from, lambda t: inference_from(t, "diffuse")):
        with pytest.raises(AssetCorrupt):
            load({"enter.weight": torch.zeros(8, 40, 3, 3)})


def test_every_loss_reaches_its_network_and_falls():
    planes = spoiled(_planes(), torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    networks = new_networks(Config(WIDTHS, WIDTHS, Schedule(1, 1, 1e-3)))
    first, optimiser = new_delighting((8, 12, 16, 20)), torch.optim.Adam(networks.parameters(), 2e-4)
    told = []
    for _ in range(3):
        optimiser.zero_grad()
        losses = losses_of(said_by(networks, first, planes), planes, torch.ones(1, 1, *INNER))
        sum(losses.values()).backward()
        optimiser.step()
        told.append({part: sum(v.item() for name, v in losses.items() if name.startswith(part)) for part in networks})
    assert all(told[-1][part] < told[0][part] for part in networks), told


def test_records_are_repeatable_and_consistent():
    from relit.train.textures import LIGHTS, record_of

    record = record_of(3, 1, "train")
    assert np.array_equal(record["lit"][0], record_of(3, 1, "train")["lit"][0])
    assert record["visible"].shape == (LIGHTS, HEIGHT, SIZE) and record["visible"].max() == 255
    assert 60 < np.median(record["specular"]) < 130 and abs(np.median(record["mid"]) - 128) < 10

"""AvatarMe's specular network: laws of what it reads and says, how it goes into the surface, its training."""

import numpy as np
import pytest
import torch

from relit.appearance.colour import srgb_from_linear
from relit.errors import AssetCorrupt, InputError
from relit.maps.infer import SKIN_F0, TAKEN, infer_surface
from relit.maps.pyramid import at_size
from relit.maps.specular import read_factor
from relit.models.regions import region_masks
from relit.models.specular import (
    BLOCK,
    CELL,
    INPUTS,
    MOST,
    SHAPE,
    WINDOW,
    cells_of,
    load_specular,
    new_specular,
    specular_factor,
    specular_from,
)
from relit.train.arrays import Records, write_arrays
from relit.train.specular import LIGHT_CELLS, LIGHTS, PHOTOS, RECORD, seen_albedo, spoiled, squares_of, tasks_of

WIDTHS = (8, 12)
SKIN = torch.tensor([0.5, 0.33, 0.25])
ONE = torch.ones(1, 1, *SHAPE)


def _shaken():
    torch.manual_seed(1)
    network = new_specular(WIDTHS)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return network.eval().requires_grad_(False)


def _face(seed=0):
    return torch.rand(1, 3, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 0.5 + 0.1


def _record(seed, index, split):
    record, rng = np.zeros((), RECORD), np.random.default_rng([seed, index])
    for name in RECORD.names:
        record[name] = rng.integers(20, 200, RECORD[name].shape, dtype=np.uint8)
    return record


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write_arrays(folder, _record, 1, 3, per_file=1)
    return tasks_of(Records(folder, "train", torch.device("cpu")))


def test_an_untrained_network_changes_nothing_and_any_stays_within_its_bounds():
    assert torch.equal(specular_factor(new_specular(WIDTHS), _face(), ONE), ONE)
    said = specular_factor(_shaken(), _face(), ONE)
    assert said.shape == ONE.shape and said.log().abs().max() <= MOST and said.std() > 0
    varies = said.log().diff(dim=3).abs().max()
    assert varies <= 2 * MOST / (CELL * BLOCK) + 1e-6  # over centimetres, not from texel to texel


def test_what_no_photo_decided_says_nothing():
    known = ONE.clone()
    known[..., SHAPE[1] // 2 :] = 0
    other = _face() * known + _face(1) * (1 - known)
    first, second = (specular_factor(_shaken(), face, known) for face in (_face(), other))
    assert (first - second).abs().max() < 0.1 * (first - specular_factor(_shaken(), other, ONE)).abs().max()


def test_contrast_does_not_know_how_bright_the_skin_is():
    log, tone = _face().log(), torch.zeros(1, 3, 1, 1)
    shift = torch.tensor([0.3, 0.2, 0.1])[:, None, None]
    cells = cells_of(log - log.mean(), ONE, tone)
    assert torch.allclose(cells_of(log - log.mean() + shift, ONE, tone + shift), cells, atol=1e-3)
    assert cells.shape == (1, 8, SHAPE[0] // CELL, SHAPE[1] // CELL)


def test_wrong_textures_and_weights_are_refused_by_name():
    bad = _face()
    bad[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="albedo texture holds"):
        specular_factor(_shaken(), bad, ONE)
    with pytest.raises(InputError, match="confidence texture must be"):
        specular_factor(_shaken(), _face(), ONE[..., 1:])
    tensors = {name: value.half() for name, value in _shaken().state_dict().items()}
    assert specular_from(tensors).shape.inputs == INPUTS
    with pytest.raises(AssetCorrupt):
        specular_from({name: value for name, value in tensors.items() if name != "leave.bias"})


def test_the_face_is_read_whole_and_alike_at_any_size_of_the_maps():
    assert WINDOW[1].start == 1024 - WINDOW[1].stop and all(edge % (CELL * BLOCK) == 0 for edge in SHAPE)
    smooth = (SKIN + 0.05 * torch.randn(32, 32, 3, generator=torch.Generator().manual_seed(2))).clamp(0.05, 1)
    at = lambda size: read_factor(load_specular(), at_size(smooth, (size, size)), torch.ones(size, size))  # noqa: E731
    one, other = at(1024), at(2048)
    shrunk = torch.nn.functional.avg_pool2d(other[None, None], 2)[0, 0]
    assert ((shrunk - one).abs() < 1 / 255).float().mean() > 0.999
    assert (one[region_masks(1024, 1024)["face"] == 0] == 1).all()


def test_pores_show_in_the_specular_albedo_without_changing_its_mean_and_the_relief_stays():
    size, albedo = (512, 512), SKIN.expand(512, 512, 3).contiguous()
    by_rule = infer_surface(albedo, torch.ones(size))
    told = infer_surface(albedo, torch.ones(size), factor=torch.full(size, 0.9))
    inner = region_masks(*size)["cheeks"] > 0.99
    assert by_rule.specular_albedo[inner].mean().item() == pytest.approx(SKIN_F0 * (1 - TAKEN), rel=0.02)
    assert by_rule.specular_albedo[inner].std() > 1e-4
    assert torch.allclose(told.specular_albedo, 0.9 * by_rule.specular_albedo, rtol=1e-3)
    for name in ("displacement_mm", "roughness", "diffuse_normal", "specular_normal"):
        assert torch.equal(getattr(told, name), getattr(by_rule, name))


def test_even_light_leaves_the_albedo_as_it_is():
    size = LIGHT_CELLS[-1] * 2
    albedo = SKIN[:, None, None].expand(1, 3, size, size) * (1 + 0.2 * torch.sin(torch.arange(size) / 20))
    planes = {"lit": srgb_from_linear(albedo * 0.7), "albedo": srgb_from_linear(albedo)}
    found = seen_albedo(planes | {"visible": torch.ones(1, 1, size, size)}, torch.Generator().manual_seed(0))
    inner = slice(8, -8)
    assert torch.allclose(found[..., inner, inner].exp(), albedo[..., inner, inner], atol=2e-2)


def test_tasks_teach_the_network_and_spoiling_keeps_the_truth_but_for_its_side(task):
    assert len(task.true) == LIGHTS * PHOTOS and task.cells.isfinite().all()
    changed = spoiled(task, torch.Generator().manual_seed(0))
    off = [(changed.true - side).abs().amax((1, 2, 3)) for side in (task.true, task.true.flip(3))]
    assert (torch.minimum(*off) == 0).all()
    network = new_specular(WIDTHS)
    assert torch.equal(squares_of(network, task), squares_of(None, task))
    squares_of(network, changed).mean().backward()
    assert network.leave.weight.grad.abs().sum() > 0

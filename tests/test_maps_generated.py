"""Textures of priors in the layout: boxes, relief from normals, and what is seen staying seen."""

import numpy as np
import torch

from relit.maps.generated import (
    DARKER,
    LAYOUT,
    Generated,
    beside_hair,
    bounded,
    coded_light,
    coded_reflectance,
    in_box,
    in_layout,
    of_even_hue,
    tone_of_generated,
)
from relit.maps.knowledge import FITTED_LIGHT
from relit.maps.learned import LearnedLight, Told
from relit.maps.maps import build_maps
from relit.maps.mesostructure import normals_from_height
from relit.maps.pyramid import at_size
from relit.maps.relief import height_of_normals
from relit.maps.sighting import sighted
from relit.maps.unwrap import Unwrapped
from relit.models.regions import region_masks
from relit.models.skin import load_skin_model, skin_albedo
from relit.models.texture_prior import F0_SPAN
from test_maps_unwrap import photographed


def test_a_box_goes_into_the_layout_and_comes_back():
    smooth = torch.stack(torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 32), indexing="ij"), -1)
    whole = in_layout(smooth, (256, 256))
    assert whole.shape == (256, 256, 2) and torch.allclose(whole[0, 0], smooth[0, 0], atol=0.02)
    assert (in_box(whole, (48, 32)) - smooth).abs().max() < 0.02


def test_relief_of_normals_is_the_relief_that_made_them():
    rows = columns = 384
    v, u = np.mgrid[0:rows, 0:columns].astype(np.float32)
    height = 0.05 * np.sin(u / 3.1) * np.cos(v / 4.3) * np.exp(-((u - 192) ** 2 + (v - 170) ** 2) / 60**2)
    found = height_of_normals(normals_from_height(height.astype(np.float32)))
    face = region_masks(rows, columns)["face"].numpy() > 0.9
    assert np.corrcoef(found[face], height[face])[0, 1] > 0.97
    assert 0.8 < found[face].std() / height[face].std() < 1.2
    assert np.abs(height_of_normals(torch.tensor([0.0, 0.0, 1.0]).expand(96, 96, 3))).max() < 1e-6


def test_the_photo_decides_where_it_is_trusted_and_the_generator_elsewhere():
    model, seen, fit, truth = photographed()
    told = (Told(torch.zeros(256, 256, 3), torch.zeros(3)),)
    green = torch.tensor([0.2, 0.5, 0.2]).expand(48, 32, 3)
    flat = torch.tensor([0.0, 0.0, 1.0]).expand(48, 32, 3)
    known = Generated(torch.zeros(3), told, green, torch.full((48, 32), 0.05), flat)
    maps = build_maps(model, sighted(model, (seen,), (fit,)), (256, 256), knowledge=known)
    face = region_masks(256, 256)["face"] > 0.9
    inner = torch.zeros(256, 256, dtype=torch.bool)
    inner[50:200, 50:200] = True
    hidden, shown = face & inner & (maps.confidence < 0.01), maps.confidence > 0.9
    assert torch.allclose(maps.diffuse_albedo[hidden].median(0).values, green[0, 0], atol=0.05)
    brown = maps.diffuse_albedo[shown].median(0).values
    hue = lambda colour: (colour[0] / colour[1]).log()  # noqa: E731
    assert (hue(brown) - hue(green[0, 0])).abs() < 0.1  # the generator's hue, the photo's own brightness
    assert (brown.mean() / green.mean()).log().abs() > 0.1
    assert ((maps.specular_albedo[face & inner].median() - 0.5 * (0.05 + 0.028)).abs() < 0.004).all()
    plain = build_maps(model, sighted(model, (seen,), (fit,)), (256, 256))
    assert (plain.specular_albedo[face].median() - 0.028).abs() < 0.005


def test_the_tone_of_generated_skin_is_that_of_its_plain_parts():
    _, _, fit, _ = photographed()
    shift = torch.tensor([-0.3, -0.4, -0.5])
    statistical = skin_albedo(load_skin_model(), fit.albedo) * shift.exp()
    boxed = in_box(at_size(statistical, (LAYOUT, LAYOUT)), (576, 384))
    boxed[380:430, 120:260] = 0.9  # lips and chin
    assert torch.allclose(tone_of_generated(boxed, fit), shift, atol=0.02)


def test_codes_that_an_inversion_starts_from_are_those_of_the_maps_and_of_the_photo():
    model, seen, fit, truth = photographed()
    maps = build_maps(model, sighted(model, (seen,), (fit,)), (LAYOUT, LAYOUT), knowledge=FITTED_LIGHT)
    codes, trust = coded_reflectance(maps, (144, 96))
    assert codes.shape == (6, 144, 96) and trust.shape == (144, 96) and trust.max() <= 1 and trust.min() >= 0
    assert torch.allclose(codes[3].median() * F0_SPAN, maps.specular_albedo.median(), atol=2e-3)
    assert (codes[4:] - 0.5).abs().mean() < 0.05
    lit, trust = coded_light(model, (seen,), (fit,), (144, 96))
    assert lit.shape == (3, 144, 96)
    shown = seen.photo.linear[seen.photo.linear.sum(-1) > 0.05].median(0).values
    linear = (lit.permute(1, 2, 0)[trust > 0.9].median(0).values) ** 2.2
    assert ((linear / shown).log().abs() < 0.4).all()
    assert LearnedLight.of((Told(torch.zeros(256, 256, 3), torch.ones(3)),)).tone.mean() > 0.5


def test_hairs_over_the_skin_are_outliers_and_moles_and_lips_are_not():
    generator = torch.Generator().manual_seed(0)
    grain = 0.05 * torch.randn(64, 64, 1, generator=generator)
    tone, blue = torch.tensor([-0.1, -0.2, -0.3]), torch.tensor([-1.0, -1.0, 2.0])
    ratio = (grain + tone + 0.002 * torch.randn(64, 64, 3, generator=generator)).clone()
    ratio[10, :32] += 0.8  # a hair
    ratio[40:42, 10:12] -= 0.3  # a mole
    ratio[20, 20] += 0.3 * blue
    plain, trust = torch.ones(64, 64), torch.ones(64, 64)
    plain[50:] = 0
    ratio[50:] += 0.8
    found = bounded(ratio, trust, plain)
    level, light = tone.mean(), found.mean(-1)
    assert (light[10, :32] - level).max() < 0.15
    assert (light[40:42, 10:12] - level).max() < -0.15 and DARKER > 4
    assert torch.allclose(light[50:], ratio[50:].mean(-1), atol=0.01)
    usual = (ratio.mean(-1) - level).abs() < 0.05
    assert (light - ratio.mean(-1))[usual].abs().max() < 0.02
    assert ((found - light[..., None])[20, 20]).abs().max() < 0.03
    assert (found - light[..., None])[:50].median(0).values.median(0).values.abs().max() < 1e-2  # the generator's hue


def test_photos_are_doubted_beside_hair_and_nothing_else():
    one = torch.ones(200, 200)
    seen = Unwrapped(one[..., None], one[..., None], one[..., None], one.clone(), one, one.clone())
    seen.confidence[:, :50] = 0  # hair
    seen.visible[:, 150:], seen.confidence[:, 150:] = 0, 0  # the far side
    near = beside_hair(seen, one)
    row = 44  # of the forehead
    assert near[row, 40] > 0.9 and near[row, 51] > 0.7 and near[row, 62] < 0.01 and near[row, 148] < 0.01
    seen.confidence[80:90, 80:120] = 0
    assert beside_hair(seen, one)[74:96, 74:126].max() < 0.05  # what covers a nose is no hair
    assert beside_hair(seen, torch.zeros(200, 200)).max() == 0


def test_a_patch_of_hue_on_one_side_is_light_and_one_on_both_is_skin():
    log, hue = torch.full((256, 256, 3), -1.0), torch.tensor([0.2, 0.0, -0.2])
    skin = torch.ones(256, 256)
    both, left = log.clone(), log.clone()
    both[80:140, 40:90] += hue
    both[80:140, 166:216] += hue
    left[80:140, 40:90] += hue
    assert torch.allclose(of_even_hue(both, skin), both, atol=0.02)
    evened = of_even_hue(left, skin)
    assert (evened[110, 65] - log[110, 65]).abs().max() < 0.05 and torch.allclose(evened[110, 190], log[110, 190], atol=0.02)
    assert torch.allclose(evened.mean(-1), log.mean(-1), atol=1e-4)
    assert torch.equal(of_even_hue(left, torch.zeros(256, 256)), left)

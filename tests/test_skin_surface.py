"""Laws of the inferred surface maps."""

import pytest
import torch

from relit.maps.infer import CAVITY_MM, CAVITY_TAKES, SECOND, SKIN_F0, TAKEN, Known, infer_surface
from relit.maps.mesostructure import creases_mm, face_texel_mm, normals_from_height, texel_mm
from relit.models.regions import region_masks

SIZE = 512


@pytest.fixture(scope="module")
def flat():
    albedo = torch.tensor([0.5, 0.33, 0.25]).expand(SIZE, SIZE, 3).contiguous()
    return albedo, infer_surface(albedo, torch.ones(SIZE, SIZE))


def test_ranges_and_unit_normals(flat):
    _, surface = flat
    for field in (surface.specular_albedo, surface.roughness, surface.displacement_mm):
        assert field.shape == (SIZE, SIZE) and field.dtype == torch.float32 and field.isfinite().all()
    assert surface.specular_albedo.min() > 0 and surface.specular_albedo.max() <= 0.08
    assert surface.roughness.min() >= 0.05 and surface.roughness.max() <= 1
    assert surface.displacement_mm.abs().max() < 0.5
    for normal in (surface.specular_normal, surface.diffuse_normal):
        assert (normal.norm(dim=-1) - 1).abs().max() < 1e-5
        assert normal[..., 2].min() > 0.5


def test_same_seed_same_skin_and_another_seed_another(flat):
    albedo, surface = flat
    again = infer_surface(albedo, torch.ones(SIZE, SIZE))
    other = infer_surface(albedo, torch.ones(SIZE, SIZE), seed=1)
    assert torch.equal(surface.displacement_mm, again.displacement_mm)
    assert not torch.equal(surface.displacement_mm, other.displacement_mm)


def test_regions_are_ordered_by_gloss(flat):
    _, surface = flat
    masks = region_masks(SIZE, SIZE)
    rough = lambda name: (surface.roughness * masks[name]).sum() / masks[name].sum()  # noqa: E731
    order = [rough(name) for name in ("eyes", "teeth", "lips", "nose", "cheeks", "scalp")]
    assert order == sorted(order)
    cheeks = (surface.specular_albedo * masks["cheeks"]).sum() / masks["cheeks"].sum()
    assert cheeks.item() == pytest.approx(SKIN_F0 * (1 - TAKEN), rel=0.05)


def test_cavities_take_from_a_specular_albedo_that_is_known(flat):
    albedo, _ = flat
    one = torch.ones(SIZE, SIZE)
    surface = infer_surface(albedo, one, known=Known(0.02 * one, torch.zeros_like(one), one))
    cavity = (-surface.displacement_mm / CAVITY_MM).clamp(0, 1)
    assert torch.allclose(surface.specular_albedo, 0.02 * (1 - CAVITY_TAKES * cavity), atol=1e-6)


def test_a_specular_albedo_that_holds_its_cavities_is_averaged_with_the_rule_and_loses_nothing_more(flat):
    albedo, by_rule = flat
    one = torch.ones(SIZE, SIZE)
    known = Known(0.02 * one, torch.zeros_like(one), 0.5 * one, whole=True)
    surface = infer_surface(albedo, one, known=known)
    share = 0.5 * SECOND
    expected = (1 - share) * by_rule.specular_albedo + share * 0.02
    assert torch.allclose(surface.specular_albedo, expected, atol=1e-6)


def test_eyes_and_teeth_are_smooth(flat):
    _, surface = flat
    masks = region_masks(SIZE, SIZE)
    inner = -torch.nn.functional.max_pool2d(-(masks["eyes"] + masks["teeth"])[None, None], 9, 1, 4)[0, 0] > 0.99
    assert surface.specular_normal[inner][:, 2].min() > 0.9999


def test_diffuse_normals_are_softer_than_specular_ones(flat):
    _, surface = flat
    cheeks = region_masks(SIZE, SIZE)["cheeks"] > 0.8
    tilt = lambda normal: (1 - normal[cheeks][:, 2]).mean()  # noqa: E731
    assert tilt(surface.diffuse_normal) < 0.3 * tilt(surface.specular_normal)


def test_a_dark_line_becomes_a_valley_only_where_the_photo_is_trusted(flat):
    albedo, before = flat
    lined = albedo.clone()
    row = int(0.17 * SIZE)  # on the forehead
    lined[row, 230:282] *= 0.8
    trusted = infer_surface(lined, torch.ones(SIZE, SIZE)).displacement_mm - before.displacement_mm
    doubted = infer_surface(lined, torch.zeros(SIZE, SIZE)).displacement_mm
    plain = infer_surface(albedo, torch.zeros(SIZE, SIZE)).displacement_mm
    assert trusted[row, 256] < -0.003
    assert torch.equal(doubted, plain)


def test_skin_that_no_photo_shows_is_as_wrinkled_as_what_they_show(flat):
    albedo, _ = flat
    trust = torch.ones(SIZE, SIZE)
    trust[:, : SIZE // 2] = 0
    lines = torch.where(torch.arange(SIZE)[:, None, None] % 8 < 3, 0.75, 1.0)
    unseen = region_masks(SIZE, SIZE)["forehead"][:, : SIZE // 2 - 8] > 0.9

    def depth(albedo):
        return infer_surface(albedo, trust).displacement_mm[:, : SIZE // 2 - 8][unseen].std()

    smooth, wrinkled = depth(albedo), depth(albedo * lines)
    assert wrinkled > 1.2 * smooth
    nothing = infer_surface(albedo, torch.zeros(SIZE, SIZE)).displacement_mm[:, : SIZE // 2 - 8][unseen].std()
    assert smooth < nothing < wrinkled


def test_creases_of_a_mirrored_picture_are_mirrored():
    generator = torch.Generator().manual_seed(2)
    albedo = 0.3 + 0.05 * torch.rand(128, 128, 3, generator=generator).numpy()
    weight = torch.ones(128, 128).numpy()
    there, back = creases_mm(albedo, weight), creases_mm(albedo[:, ::-1].copy(), weight)
    assert abs(there - back[:, ::-1]).max() < 1e-6


def test_normals_of_a_ramp_have_its_slope_in_millimetres():
    across, along = texel_mm(SIZE, SIZE)
    face = region_masks(SIZE, SIZE)["cheeks"] > 0.9
    columns = torch.arange(SIZE).float().expand(SIZE, SIZE).contiguous()
    right = normals_from_height(0.01 * columns.numpy())[face]
    down = normals_from_height(0.01 * columns.T.contiguous().numpy())[face]
    assert torch.allclose(right[:, 0] / right[:, 2], -0.01 / torch.from_numpy(across)[face], rtol=1e-3)
    assert torch.allclose(down[:, 1] / down[:, 2], 0.01 / torch.from_numpy(along)[face], rtol=1e-3)


def test_texels_of_the_face_have_plausible_size():
    across, along = face_texel_mm(2048, 2048)
    assert 0.1 < across < 0.25 and 0.1 < along < 0.3


def test_sizes_must_match():
    with pytest.raises(ValueError, match="do not match"):
        infer_surface(torch.rand(8, 8, 3), torch.ones(4, 4))

"""Laws of the statistical skin model, its region masks and the eye colours."""

import pytest
import torch

from relit.appearance.colour import typology_angle_deg
from relit.models.eye_texture import IRIS_RADIUS_M, SCLERA, eye_albedo, iris_texture
from relit.models.skin import REGIONS, TONE_NAMES, load_skin_model, region_masks, skin_albedo, tone_colour

SKIN_REGIONS = REGIONS[: REGIONS.index("eyes")]


@pytest.fixture(scope="module")
def model():
    return load_skin_model()


def mean_over(albedo: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (albedo * mask[..., None]).sum((0, 1)) / mask.sum()


def test_mean_is_valid_symmetric_skin(model):
    albedo = skin_albedo(model, torch.zeros(len(model.names)))
    skin = albedo[: model.mode_rows]
    assert albedo.isfinite().all() and albedo.min() > 0 and albedo.max() < 1
    assert (skin - skin.flip(1)).abs().max() < 2e-3
    cheek = mean_over(albedo, region_masks(*albedo.shape[:2])["cheeks"])
    assert cheek[0] > cheek[1] > cheek[2]


def test_draws_stay_within_zero_and_one(model):
    generator = torch.Generator().manual_seed(3)
    for _ in range(8):
        albedo = skin_albedo(model, 1.5 * torch.randn(len(model.names), generator=generator))
        assert albedo.isfinite().all() and albedo.min() > 0 and albedo.max() < 1


def test_mean_has_brows_and_lips(model):
    albedo = skin_albedo(model, torch.zeros(len(model.names)))
    masks = region_masks(*albedo.shape[:2])
    skin, brows, lips = (mean_over(albedo, masks[name]) for name in ("cheeks", "brows", "lips"))
    assert brows[1] < 0.7 * skin[1]
    assert lips[0] / lips[1] > 1.15 * skin[0] / skin[1]


def test_melanin_axis_spans_the_typology_angles_and_is_monotonic():
    tone = torch.zeros(41, len(TONE_NAMES))
    tone[:, 0] = torch.linspace(-2.6, 2.6, 41)
    angle = typology_angle_deg(tone_colour(tone))
    assert (angle.diff() < 0).all()
    assert angle[0] > 55 and angle[-1] < -60


def test_eyes_and_teeth_do_not_take_the_skin_tone(model):
    dark = torch.zeros(len(model.names))
    dark[0] = 2
    masks = region_masks(*model.mean.shape[:2])
    change = (skin_albedo(model, dark) - skin_albedo(model, torch.zeros(len(dark)))).abs().amax(-1)
    assert change[masks["cheeks"] > 0.9].min() > 0.05
    assert change[(masks["eyes"] + masks["teeth"]) > 0.9].max() < 1e-6


def test_one_sided_modes_never_lighten_below_bare_skin(model):
    for name in ("beard_shadow", "scalp_shadow"):
        coefficients = torch.zeros(len(model.names))
        coefficients[model.names.index(name)] = -4
        bare = skin_albedo(model, coefficients)
        region = region_masks(*bare.shape[:2])["beard" if name == "beard_shadow" else "scalp"]
        cheek = region_masks(*bare.shape[:2])["forehead"]
        assert mean_over(bare, region).mean() < 1.1 * mean_over(bare, cheek).mean()


def test_gradient_against_finite_differences(model):
    generator = torch.Generator().manual_seed(5)
    start = 0.5 * torch.randn(len(model.names), generator=generator)
    weight = torch.rand(*model.mean.shape, generator=generator)
    value = lambda c: (skin_albedo(model, c) * weight).mean()  # noqa: E731
    gradient = torch.autograd.functional.jacobian(value, start)
    for k in (0, 1, 3, 4, model.names.index("beard_shadow"), len(start) - 1):
        step = torch.zeros(len(start))
        step[k] = 0.02
        difference = (value(start + step) - value(start - step)) / 0.04
        assert gradient[k].item() == pytest.approx(difference.item(), rel=0.02, abs=2e-6)


def test_wrong_count_is_refused(model):
    with pytest.raises(ValueError, match="coefficients"):
        skin_albedo(model, torch.zeros(3))


def test_masks_have_their_names_range_size_and_symmetry():
    masks = region_masks(200, 300)
    assert tuple(masks) == REGIONS
    for name, mask in masks.items():
        assert mask.shape == (200, 300)
        assert mask.min() >= 0 and mask.max() <= 1 and mask.max() > 0.9, name
        if name in SKIN_REGIONS:
            assert (mask - mask.flip(1)).abs().mean() < 0.01, name


def test_masks_agree_between_sizes():
    small, large = region_masks(128, 128), region_masks(512, 512)
    for name in REGIONS:
        pooled = torch.nn.functional.avg_pool2d(large[name][None, None], 4)[0, 0]
        assert (pooled - small[name]).abs().mean() < 0.02, name


def test_masks_lie_where_they_should():
    masks = region_masks(256, 256)
    row = lambda name: (masks[name].sum(1) * torch.arange(256)).sum() / masks[name].sum()  # noqa: E731
    order = [row(name) for name in ("forehead", "brows", "under_eye", "nostrils", "lips", "chin", "eyes")]
    assert order == sorted(order)
    face = masks["face"] > 0.5
    for name in ("nose", "lips", "cheeks", "chin", "brows"):
        assert (masks[name] * face).sum() > 0.95 * masks[name].sum(), name
    assert (masks["scalp"] * masks["lips"]).max() == 0


def test_iris_is_dark_in_the_pupil_coloured_around_and_ends_in_sclera():
    colour = torch.tensor([0.05, 0.12, 0.2])
    texture = iris_texture(colour, 128)
    assert texture.min() >= 0 and texture.max() <= 1
    assert texture[60:68, 60:68].max() < 0.02
    ring = texture[64, 90:100].mean(0)
    assert ring[2] > ring[0]
    assert torch.allclose(texture[0, 0], SCLERA, atol=1e-3) and SCLERA.min() > ring.max()
    assert torch.equal(texture, iris_texture(colour, 128))


def test_eyeball_shows_the_iris_in_front_and_sclera_at_the_side():
    points = torch.tensor([[0, 0, 0.012], [0.8 * IRIS_RADIUS_M, 0, 0.0108], [0.011, 0, 0.0048]])
    pupil, iris, sclera = eye_albedo(points, torch.tensor([0.1, 0.06, 0.03]))
    assert pupil.max() < iris.max() < sclera.max()

"""Laws of the neutral head and its eyes."""

from dataclasses import replace

import torch

from fixtures_head import synthetic_head
from relit.appearance.lighting import uniform_lighting
from relit.geometry.uv import rasterise_uv
from relit.head.assemble import assemble_head
from relit.head.eyes import BROWN, DARKEST, REFLECTED, SHADE, iris_colour, paint_eyes
from relit.head.mouth import paint_mouth
from relit.head.occlusion import with_eyes_and_mouth
from relit.models.head import EYE_UV_CENTRES, EYE_UV_RADIUS, PARTS, expression_morphs, load_head_model, neutral_vertices

GREEN = torch.tensor([0.05, 0.09, 0.04])


def with_irises(radius_px: float, colour: torch.Tensor):
    """An observation whose irises are discs of this albedo under uniform light, with a white highlight on each."""
    head, (seen,) = synthetic_head()
    points = seen.landmarks.points_px.clone()
    y, x = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(160) + 0.5, indexing="ij")
    picture = torch.full((200, 160, 3), 0.5)
    fit = replace(head.fits[0], lighting=uniform_lighting(), exposure=torch.tensor([0.8, 1.0, 1.2]))
    lids = (
        (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
        (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    )
    for iris, edge, centre in ((473, lids[0], (110.0, 80.0)), (468, lids[1], (50.0, 80.0))):
        middle = torch.tensor(centre)
        rim = radius_px * torch.tensor([[1.0, 0], [0, 1.0], [-1.0, 0], [0, -1.0]])
        points[iris : iris + 5] = torch.cat([middle[None], middle + rim])
        angle = torch.arange(16) / 16 * 2 * torch.pi
        opening = torch.stack([2.2 * angle.cos(), 1.3 * angle.sin()], 1) * radius_px
        points[list(edge)] = middle + opening
        distance = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2).sqrt()
        picture[distance < radius_px] = (colour + REFLECTED) * SHADE * fit.exposure
        picture[distance < 0.4 * radius_px] = 0.004
        spot = ((x - centre[0] - 0.5 * radius_px) ** 2 + (y - centre[1] + 0.4 * radius_px) ** 2).sqrt()
        picture[spot < 0.15 * radius_px] = 1.0
    seen = replace(
        seen, photo=replace(seen.photo, linear=picture), landmarks=replace(seen.landmarks, points_px=points)
    )
    return head, seen, fit


def test_iris_colour_is_read_past_highlights_exposure_and_pupil():
    _, seen, fit = with_irises(12.0, GREEN)
    assert torch.allclose(iris_colour(seen, fit), GREEN, rtol=0.05)


def test_small_irises_tell_no_colour():
    _, seen, fit = with_irises(2.0, GREEN)
    assert iris_colour(seen, fit) is None
    head, _, _ = with_irises(2.0, GREEN)
    assert torch.equal(assemble_head(load_head_model(), (seen,), (fit,), head.maps).iris_colour, BROWN)


def test_dark_irises_keep_their_hue():
    _, seen, fit = with_irises(12.0, torch.tensor([0.012, 0.007, 0.005]))
    found = iris_colour(seen, fit)
    assert torch.allclose(found.mean(), torch.tensor(DARKEST), rtol=0.01) and found[0] > 1.5 * found[2]


def test_teeth_are_whiter_than_gums_and_symmetric():
    model = load_head_model()
    size = 512, 512
    painted = paint_mouth(model, torch.full((*size, 3), 0.3))
    triangle, _ = rasterise_uv(model.uv, model.render_triangles, *size)
    part = torch.where(triangle >= 0, model.part[triangle.clamp_min(0)], -1)
    mean = {name: painted[part == PARTS.index(name)].mean(0) for name in ("upper_teeth", "lower_teeth", "mouth", "tongue")}
    for jaw in ("upper_teeth", "lower_teeth"):
        assert (mean[jaw] > 1.2 * mean["mouth"]).all() and mean[jaw][2] > 0.55 * mean[jaw][0]
    assert mean["tongue"][0] > 1.8 * mean["tongue"][1]
    assert torch.equal(painted[part == PARTS.index("skin")], torch.full((*size, 3), 0.3)[part == PARTS.index("skin")])


def test_only_the_eyes_are_painted():
    model = load_head_model()
    before = torch.full((256, 192, 3), 0.3)
    after = paint_eyes(model, before, GREEN)
    triangle, _ = rasterise_uv(model.uv, model.render_triangles, 256, 192)
    part = torch.where(triangle >= 0, model.part[triangle.clamp_min(0)], -1)
    eyes = (part == PARTS.index("left_eye")) | (part == PARTS.index("right_eye"))
    sockets = part == PARTS.index("eye_sockets")
    changed = (after != before).any(-1)
    assert changed[eyes].float().mean() > 0.98
    assert not changed[(part >= 0) & ~eyes & ~sockets].any()
    assert torch.allclose(after.flip(1)[eyes.flip(1) & eyes].mean(0), after[eyes.flip(1) & eyes].mean(0), atol=0.02)


def test_the_neutral_head_has_the_identity_and_no_expression():
    model = load_head_model()
    head, seen, fit = with_irises(12.0, GREEN)
    offset = torch.zeros_like(model.mean)
    offset[:, 2] = 1e-3
    fit = replace(fit, vertex_offset=offset)
    built = assemble_head(model, (seen,), (fit,), head.maps)
    assert torch.allclose(built.vertices, neutral_vertices(model, fit.identity) + offset, atol=1e-7)
    assert built.morphs.shape == (52, len(model.mean), 3)
    assert built.fits == (fit,)
    assert torch.equal(built.maps.roughness, head.maps.roughness)


def test_lids_darken_the_baked_eyes_and_an_open_mouth_lights_the_teeth():
    model = load_head_model()
    neutral = neutral_vertices(model, torch.zeros(len(model.identity_modes)))
    size = 512, 512
    baked = with_eyes_and_mouth(model, torch.full(size, 0.5), neutral, expression_morphs(model, neutral))
    triangle, _ = rasterise_uv(model.uv, model.render_triangles, *size)
    part = torch.where(triangle >= 0, model.part[triangle.clamp_min(0)], -1)
    assert (baked[part == PARTS.index("skin")] == 0.5).all()
    assert baked[part == PARTS.index("upper_teeth")].max() > 0.4
    (u, v), radius = EYE_UV_CENTRES[0], EYE_UV_RADIUS * 0.5  # about as far as the lids
    across = lambda dv: float(baked[round((v + dv * radius * 2 / 3) * 512), round(u * 512)])  # noqa: E731
    assert across(0) > 0.8 and across(-1) < 0.8 * across(0)

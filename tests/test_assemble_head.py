"""Laws of the neutral head and its eyes."""

from dataclasses import replace
from functools import lru_cache

import torch

from fixtures_head import synthetic_head, synthetic_maps
from relit.appearance.lighting import load_lighting
from relit.geometry.camera import look_at_face, project
from relit.geometry.uv import rasterise_uv
from relit.head.assemble import assemble_head
from relit.head.eyes import paint_eyes
from relit.head.iris import BROWN, iris_colour
from relit.head.mouth import paint_mouth
from relit.head.occlusion import with_eyes_and_mouth
from relit.maps.pyramid import at_size
from relit.models.head import (
    EYE_UV_CENTRES,
    EYE_UV_RADIUS,
    PARTS,
    expression_morphs,
    landmark_points,
    load_head_model,
    neutral_vertices,
    posed_vertices,
)
from relit.render.portrait import render_head

GREEN, DARK, BLUE = torch.tensor([0.08, 0.09, 0.055]), torch.tensor([0.02, 0.02, 0.02]), torch.tensor([0.08, 0.10, 0.13])


@lru_cache(maxsize=3)
def photographed(colour: torch.Tensor, side_px: int = 400):
    """A head, an observation of a render of it with irises of this albedo, and its fit."""
    model = load_head_model()
    head, (seen,) = synthetic_head()
    head = replace(head, maps=replace(head.maps, diffuse_albedo=torch.full_like(head.maps.diffuse_albedo, 0.4)))
    camera, lighting = look_at_face((side_px, side_px)), load_lighting("overcast")
    fit = replace(head.fits[0], lighting=lighting, camera=camera, exposure=torch.tensor([0.8, 1.0, 1.2]))
    eyes = paint_eyes(model, at_size(head.maps.diffuse_albedo, (768, 512)), colour)
    maps = replace(synthetic_maps(768, 512), diffuse_albedo=eyes, roughness=torch.full((768, 512), 0.5))
    shown = replace(head, maps=maps)
    picture = render_head(shown, camera, lighting, fit.expression, fit.gaze_rad)[..., :3] * fit.exposure
    vertices = posed_vertices(model, head.vertices, fit.expression, fit.gaze_rad, head.morphs)
    points = project(camera, landmark_points(model, vertices))[:, :2]
    photo = replace(seen.photo, linear=picture, original_size_px=(side_px, side_px))
    return head, replace(seen, photo=photo, landmarks=replace(seen.landmarks, points_px=points)), fit


def test_the_colour_of_irises_is_found_again():
    head, seen, fit = photographed(GREEN)
    found = iris_colour(load_head_model(), head, seen, fit)
    assert torch.allclose(found, GREEN, rtol=0.12)


def test_no_iris_is_blue_in_dark_skin():
    head, seen, fit = photographed(BLUE)
    dark = torch.tensor([0.10, 0.06, 0.045]).expand_as(head.maps.diffuse_albedo)
    light, brown = (
        iris_colour(load_head_model(), replace(head, maps=replace(head.maps, diffuse_albedo=skin)), seen, fit)
        for skin in (head.maps.diffuse_albedo, dark)
    )
    assert light[2] > 1.2 * light[0] and brown[2] < 1.05 * brown[0]


def test_small_irises_tell_no_colour():
    head, seen, fit = photographed(GREEN, 100)
    assert iris_colour(load_head_model(), head, seen, fit) is None
    assert torch.equal(assemble_head(load_head_model(), (seen,), (fit,), head.maps).iris_colour, BROWN)


def test_dark_grey_irises_are_taken_for_brown():
    head, seen, fit = photographed(DARK)
    found = iris_colour(load_head_model(), head, seen, fit)
    assert torch.allclose(found.mean(), DARK.mean(), rtol=0.2) and found[0] > 1.5 * found[2]


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
    head, seen, fit = photographed(GREEN)
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

"""Laws of occlusion, shading and the whole renders."""

import math
from dataclasses import fields, replace

import pytest
import torch
from torch.nn.functional import normalize

from fixtures_head import synthetic_maps
from relit.appearance.harmonics import BAND, cosine_lobe, diffuse_irradiance, sh_basis, sphere_directions
from relit.appearance.lighting import LIGHT_NAMES, load_lighting, uniform_lighting
from relit.geometry.camera import look_at_face, project
from relit.geometry.mesh import vertex_normals
from relit.models.head import (
    ARKIT_NAMES,
    expression_morphs,
    eye_centres,
    eyeball_radius_mm,
    lid_edge_points,
    load_head_model,
    neutral_vertices,
    posed_vertices,
)
from relit.render.eye_light import at_eye, eye_transfer, lash_shade, posed_eye_centres
from relit.render.lashes import drawn_lashes, lash_colour
from relit.render.lid_shade import lid_shades, shade_coverage
from relit.render.occlusion import ambient_occlusion, light_transfer, multiple_bounces
from relit.render.portrait import reduced_maps, render_posed, tonemap_srgb
from relit.render.rasterise import rasterise
from relit.render.render import render_fit, render_head
from relit.render.scatter import _profile, scatter
from relit.render.shade import Surface, relief_masking, shade, specular_visibility
from relit.render.shadows import sun_visibility
from relit.types import Head, ReflectanceMaps
from test_render_rasterise import sphere


@pytest.fixture(scope="module")
def model():
    return load_head_model()


@pytest.fixture(scope="module")
def transfer(model):
    return light_transfer(model.mean, model.triangles)


def plain_head(model, size: int = 64, albedo: float = 0.4, roughness: float = 0.5, f0: float = 0.028) -> Head:
    full = lambda value: torch.full((size, size), value)  # noqa: E731
    flat = torch.zeros(size, size, 3)
    flat[..., 2] = 1
    colour = torch.full((size, size, 3), albedo)
    maps = ReflectanceMaps(colour, full(f0), full(roughness), flat, flat, full(0.0), full(1.0), full(1.0))
    return Head(model.mean, expression_morphs(model, model.mean), maps, (), torch.tensor([0.1, 0.06, 0.03]))


def points_on(normal: torch.Tensor, lights: int = 0, **changes) -> Surface:
    count = len(normal)
    full = lambda value: torch.full((count,), value)  # noqa: E731
    surface = Surface(
        towards_eye=torch.tensor([0.0, 0.0, 1.0]).expand(count, 3),
        geometry_normal=normal,
        diffuse_normal=normal,
        specular_normal=normal,
        albedo=torch.zeros(count, 3),
        f0=full(0.028),
        roughness=full(0.5),
        irradiance=torch.full((count, 3), math.pi),
        visibility=full(1.0),
        open_direction=normal,
        lit=torch.ones(count, lights),
    )
    return replace(surface, **changes)


def test_open_surface_receives_the_whole_cosine_lobe():
    points, triangles = sphere(16, torch.float32)
    triangles = triangles.flip(1)
    if (vertex_normals(points, triangles) * points).sum() < 0:
        triangles = triangles.flip(1)
    transfer = light_transfer(points * 0.1, triangles)
    normals = vertex_normals(points * 0.1, triangles)
    assert torch.allclose(transfer, sh_basis(normals) * cosine_lobe()[BAND], atol=1e-4)
    assert torch.allclose(ambient_occlusion(transfer), torch.ones(len(points)), atol=1e-4)


def test_wall_hides_half_of_the_sky():
    """A floor point at the foot of a high, wide wall sees half of uniform light, and nothing from behind the wall."""
    floor = torch.tensor([[-9.0, 0, 0.0005], [9, 0, 0.0005], [0, 0, 9.0], [0.0, 0, 0.01]])
    wall = torch.tensor([[-900.0, -1, 0], [900, -1, 0], [900, 900, 0], [-900, 900, 0]])
    triangles = torch.tensor([[0, 3, 1], [1, 3, 2], [2, 3, 0], [4, 5, 6], [4, 6, 7]])
    vertices = torch.cat([floor, wall])
    if vertex_normals(vertices, triangles)[3, 1] < 0:
        triangles = triangles.flip(1)
    transfer = light_transfer(vertices, triangles, bounce_albedo=0.0)
    assert math.isclose(float(ambient_occlusion(transfer)[3]), 0.5, abs_tol=0.03)
    behind, before = (sh_basis(torch.tensor([0.0, 0.6, z])) for z in (-0.8, 0.8))
    assert float(transfer[3] @ before) > 4 * abs(float(transfer[3] @ behind))


def test_bounces_brighten_but_never_beyond_open_sky():
    seen = torch.linspace(0, 1, 21)
    dark, bright = multiple_bounces(seen, torch.zeros(21)), multiple_bounces(seen, torch.full((21,), 0.8))
    assert torch.allclose(dark, seen, atol=0.12) and (bright >= dark - 1e-6).all()
    assert (bright <= 1.01).all() and math.isclose(float(bright[-1]), 1, abs_tol=0.01)


def test_faces_have_dark_nostrils_and_open_foreheads(model, transfer):
    seen = ambient_occlusion(transfer)
    front = (model.mean[:, 2] > 0.06) & (model.mean[:, 1] > 0.05) & (model.face_weight > 0.9)
    assert seen[front].mean() > 0.9
    assert seen[model.eye_vertices].max() > 0.35  # eyes lie in shade, not in the dark
    assert ((transfer @ uniform_lighting().sh)[:, 0] >= -0.05).all()


def test_uniform_light_on_a_white_open_surface_shines_with_one():
    normal = torch.tensor([[0.0, 0.0, 1.0]])
    irradiance, specular = shade(points_on(normal), uniform_lighting())
    assert torch.allclose(irradiance / math.pi, torch.ones(1, 3), rtol=1e-3)
    assert torch.allclose(specular, torch.full((1, 3), 0.027), atol=0.006)  # F0, a little lost to masking


def test_white_furnace_of_both_layers_stays_below_one():
    angle = torch.linspace(0, 1.4, 30)
    normal = torch.stack([angle.sin(), torch.zeros(30), angle.cos()], 1)
    for roughness in (0.1, 0.5, 0.9):
        _, specular = shade(
            points_on(normal, f0=torch.ones(30), roughness=torch.full((30,), roughness)), uniform_lighting()
        )
        assert specular.max() <= 1.01


def test_normal_map_acts_and_shadow_removes_directional_light():
    light = load_lighting("sun")
    normal = torch.tensor([[0.0, 0.0, 1.0]])
    tilted = normalize(light.directions[:1] + normal, dim=1)
    start = points_on(normal, 1, irradiance=diffuse_irradiance(light.sh, normal))
    bumped = replace(start, diffuse_normal=tilted)
    shaded = replace(start, lit=torch.zeros(1, 1))
    assert (shade(bumped, light)[0] > shade(start, light)[0]).all()
    assert torch.allclose(shade(shaded, light)[0], start.irradiance, rtol=0.02)
    assert (shade(shaded, light)[1] < shade(start, light)[1]).all()


def test_reflections_of_hidden_directions_go_dark():
    normal, away = torch.tensor([[0.0, 0.0, 1.0]]), normalize(torch.tensor([[1.0, 0.0, 0.2]]), dim=1)
    rough = torch.tensor([0.3])
    whole = specular_visibility(torch.ones(1), normal, normal, away, rough)
    towards_open = specular_visibility(torch.tensor([0.4]), away, normal, away, rough)
    towards_hidden = specular_visibility(torch.tensor([0.4]), away * torch.tensor([-1.0, 1, 1]), normal, away, rough)
    assert float(whole) > 0.98 and float(towards_open) > 0.9 and float(towards_hidden) < 0.05


def test_shading_is_differentiable():
    torch.manual_seed(0)
    normal = normalize(torch.randn(40, 3) * 0.4 + torch.tensor([0.0, 0.0, 1.0]), dim=1).requires_grad_()
    light = load_lighting("studio")
    sh = light.sh.clone().requires_grad_()
    irradiance, specular = shade(points_on(normal, 2), replace(light, sh=sh))
    (irradiance.sum() + specular.sum()).backward()
    assert torch.isfinite(normal.grad).all() and torch.isfinite(sh.grad).all() and normal.grad.abs().sum() > 0


def test_plane_casts_a_soft_shadow():
    """A square above a floor, light from straight above: dark below, light beside, in between at the edge."""
    square = torch.tensor([[-0.05, 0.05, -0.05], [0.05, 0.05, -0.05], [0.05, 0.05, 0.05], [-0.05, 0.05, 0.05]])
    floor = torch.tensor([[-0.2, 0, -0.2], [0.2, 0, -0.2], [0.2, 0, 0.2], [-0.2, 0, 0.2]])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    at = torch.tensor([0.0, 0.03, 0.07, 0.15]).repeat_interleave(400)
    edge = torch.full((400,), 0.05)
    place = torch.cat([at, edge])
    points = torch.stack([place, torch.zeros_like(place), torch.linspace(-0.01, 0.01, len(place))], 1)
    up = torch.tensor([0.0, 1.0, 0.0])
    lit = sun_visibility(torch.cat([square, floor]), triangles, points, up.expand_as(points), up)
    middle = [float(part.mean()) for part in lit.view(5, 400)]
    assert middle[0] == 0 and middle[1] == 0 and middle[2] == 1 and middle[3] == 1
    assert 0.3 < middle[4] < 0.7


def test_convex_body_does_not_shadow_itself():
    points, triangles = sphere(60, torch.float32)
    direction = normalize(torch.tensor([0.3, 0.8, 0.5]), dim=0)
    lit = sun_visibility(points * 0.1, triangles, points * 0.1, points, direction)
    assert lit[points @ direction > 0.25].min() > 0.9
    assert lit[points @ direction < -0.2].max() == 0


def test_scattering_conserves_light_and_reddens_edges():
    _, weight = _profile()
    assert abs(weight.sum(0) - 1).max() < 1e-6
    depth, skin = torch.full((40, 120), 0.6), torch.ones(40, 120, dtype=torch.bool)
    edge = torch.zeros(40, 120, 3)
    edge[:, 60:] = 1
    spread = scatter(edge, depth, skin, focal_px=1800.0)  # 3 pixels per millimetre
    assert torch.allclose(spread.mean((0, 1)), torch.full((3,), 0.5), atol=0.01)
    assert spread[20, 57, 0] > spread[20, 57, 1] + 0.02 > spread[20, 57, 2] + 0.02
    assert torch.equal(scatter(edge, depth, ~skin, 1800.0), edge)


def test_tone_mapping_keeps_hue_and_order():
    ramp = torch.linspace(0, 20, 400)[:, None] * torch.tensor([0.8, 0.5, 0.4])
    shown = tonemap_srgb(ramp)
    assert (shown[1:] >= shown[:-1] - 1e-6).all() and shown.max() <= 1
    assert torch.allclose(tonemap_srgb(torch.tensor([0.2140, 0.2140, 0.2140])), torch.tensor(0.5), atol=1e-3)


def test_fitting_render_has_true_gradients(model, transfer):
    """Shape, skin texture and light: directional derivatives of the whole picture against finite differences."""
    torch.manual_seed(0)
    camera = look_at_face((512, 512), yaw_rad=0.3)
    light = load_lighting("window")
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    texture = 0.4 + 0.1 * torch.stack([(row / 5).sin(), (column / 4).sin(), (row / 6 + column / 7).cos()], -1)
    y, x = torch.meshgrid(torch.arange(512.0), torch.arange(512.0), indexing="ij")
    weight = (torch.sin(x / 51) + torch.cos(y / 64))[..., None]

    before = vertex_normals(model.mean, model.triangles)

    def loss(vertices, albedo, sh):
        image, _, _ = render_fit(model, vertices, albedo, camera, replace(light, sh=sh), transfer, reference=before)
        return (image * weight).double().sum()

    inputs = [model.mean.clone(), texture.clone(), light.sh.clone()]
    leaves = [x.requires_grad_() for x in inputs]
    loss(*leaves).backward()
    fixed = [x.detach() for x in leaves]
    cases = [
        (0, torch.tensor([1.0, 0.0, 0.0]).expand_as(model.mean), 4e-4, 0.1),
        (0, torch.tensor([0.0, 1.0, 0.0]).expand_as(model.mean), 4e-4, 0.1),
        (0, model.mean, 4e-3, 0.1),
        (1, torch.rand_like(texture), 0.05, 0.002),
        (2, torch.randn_like(light.sh) * 0.1, 0.1, 0.01),
    ]
    for index, direction, step, tolerance in cases:
        ahead, behind = (list(fixed) for _ in range(2))
        ahead[index], behind[index] = fixed[index] + step * direction, fixed[index] - step * direction
        with torch.no_grad():
            expected = float(loss(*ahead) - loss(*behind)) / (2 * step)
        found = float((leaves[index].grad * direction).sum())
        assert math.isclose(found, expected, rel_tol=tolerance), (index, found, expected)


def test_vertex_albedo_and_texture_give_the_same_picture(model, transfer):
    camera, light = look_at_face((64, 64)), load_lighting("overcast")
    per_vertex = render_fit(model, model.mean, torch.full((len(model.mean), 3), 0.3), camera, light, transfer)
    textured = render_fit(model, model.mean, torch.full((8, 8, 3), 0.3), camera, light, transfer)
    assert torch.allclose(per_vertex[0], textured[0], atol=1e-4)


def test_final_render_is_a_lit_head_on_transparent_ground(model):
    head, camera = plain_head(model), look_at_face((96, 96))
    for name in ("studio", "overcast"):
        picture = render_head(head, camera, load_lighting(name))
        assert picture.shape == (96, 96, 4) and torch.isfinite(picture).all() and (picture >= -1e-6).all()
        assert picture[0, 0, 3] == 0 and picture[48, 48, 3] == 1
    solid = render_head(head, camera, uniform_lighting(), background=torch.tensor([0.0, 1.0, 0.0]), supersample=1)
    assert (solid[..., 3] == 1).all() and torch.equal(solid[0, 0, :3], torch.tensor([0.0, 1.0, 0.0]))


def test_final_and_fitting_render_agree(model, transfer):
    """Same light, matt constant skin: the fit sees what the final picture shows."""
    camera, light = look_at_face((128, 128)), load_lighting("overcast")
    final = render_head(plain_head(model, albedo=0.35, f0=0.028), camera, light)
    fitted, coverage, _ = render_fit(model, model.mean, torch.full((8, 8, 3), 0.35), camera, light, transfer)
    inside = coverage > 0.99
    difference = (final[..., :3] - fitted)[inside].abs()
    assert float(difference.mean()) < 0.06 * float(fitted[inside].mean())
    assert float((final[..., 3] - coverage).abs().mean()) < 0.01


def test_light_traced_where_the_camera_looks_is_that_of_the_whole_head(model):
    head, light = plain_head(model), load_lighting("window")
    everywhere = light_transfer(head.vertices, model.triangles, 0.0)
    for yaw in (0.0, 1.2, -2.5):  # each view adds what comes into view
        camera = look_at_face((160, 200), yaw_rad=yaw)
        whole = render_posed(head.maps, head.vertices, everywhere, camera, light)
        difference = (render_posed(head.maps, head.vertices, None, camera, light) - whole).abs()
        assert difference.max() < 0.01 and difference.mean() < 1e-6  # rays that Embree traces together share its rounding


def test_far_away_head_and_head_behind_the_camera_are_empty_or_small(model):
    camera = look_at_face((64, 64))
    behind = replace(
        camera, camera_from_head=torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])) @ camera.camera_from_head
    )
    assert render_head(plain_head(model), behind, uniform_lighting(), supersample=1)[..., 3].max() == 0


def test_mirrors_resolve_sources_and_keep_the_mean():
    light = load_lighting("studio")
    normals = sphere_directions(600)
    seen = points_on(normals, f0=torch.ones(600), roughness=torch.full((600,), 0.1), towards_eye=normals)
    rough = replace(seen, roughness=torch.full((600,), 0.13))
    light = replace(light, directions=light.directions[:0], irradiance=light.irradiance[:0])
    sharp, soft = (shade(surface, light)[1] for surface in (seen, rough))
    assert sharp.max() > 1.5 * soft.max() and sharp.median() < soft.median()
    assert torch.allclose(sharp.mean(), soft.mean(), rtol=0.25)
    same = shade(seen, uniform_lighting())[1]
    assert torch.allclose(same, shade(rough, uniform_lighting())[1], rtol=0.05)


def test_lids_shade_the_eyeball_and_the_upper_one_most(model):
    neutral = neutral_vertices(model, torch.zeros(len(model.identity_modes)))
    centres = eye_centres(model, neutral)
    transfer = eye_transfer(model, neutral, centres)
    upper, lower = lid_edge_points(model, neutral)[0, :, 7] - centres[0]
    steps = torch.linspace(0, 1, 9)[:, None]
    seen = ambient_occlusion(at_eye(transfer, lower + steps * (upper - lower), torch.zeros(9, dtype=torch.int64)))
    assert seen[2:7].min() > 0.6 and seen[7] < 0.8 * seen[4] and seen[7] < seen[1]
    assert (transfer[0, 0] - transfer[1, 0].flip(1)).abs().mean() < 0.02
    above = lash_shade(model, neutral, centres, normalize(torch.tensor([0.0, 0.8, 0.6]), dim=0))
    ahead = lash_shade(model, neutral, centres, torch.tensor([0.0, 0.0, 1.0]))
    assert at_eye(above, torch.tensor([[0.0, 0.0, 0.012]]), torch.zeros(1, dtype=torch.int64)) < 0.5
    assert at_eye(ahead, torch.tensor([[0.0, 0.0, 0.012]]), torch.zeros(1, dtype=torch.int64)) == 1


def test_lashes_are_drawn_at_the_eyes_alone_and_hidden_behind_the_head(model):
    maps, sky = plain_head(model).maps, uniform_lighting()
    camera = look_at_face((256, 256), field_m=0.22)
    depth_in = lambda view: rasterise(project(view, model.mean), model.triangles, view.size_px).depth  # noqa: E731
    strands = drawn_lashes(maps, model.mean, camera, sky, depth_in(camera))
    assert strands.shape == (256, 256, 4) and 0 <= float(strands.min()) and float(strands[..., 3].max()) <= 1
    eyes = project(camera, eye_centres(model, model.mean))[:, :2]
    y, x = (strands[..., 3] > 0.05).nonzero().float().split(1, 1)
    far = torch.cdist(torch.cat([x, y], 1), eyes).min(1).values / 256 * 0.22
    assert len(far) > 100 and far.max() < 0.025
    behind = look_at_face((256, 256), field_m=0.22, yaw_rad=math.pi)
    assert drawn_lashes(maps, model.mean, behind, sky, depth_in(behind))[..., 3].max() == 0


@pytest.mark.parametrize("pitch", [-0.3, 0.0, 0.3])
def test_the_shade_of_lids_lies_on_the_eyeball_and_goes_with_the_lids(model, pitch):
    shut = torch.zeros(52)
    shut[[ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]] = 0.5
    heights = []
    for expression in (torch.zeros(52), shut):
        vertices = posed_vertices(model, model.mean, expression, torch.tensor([[0.0, pitch]] * 2))
        centres = posed_eye_centres(model, vertices)
        points, uv, triangles = lid_shades(model, vertices)
        points = torch.from_numpy(points).float()
        assert triangles.max() == len(points) - 1 and uv.min() == 0 and uv.max() == 1
        ahead = normalize(vertices[model.eye_vertices[:, 0]] - centres, dim=1)
        offset = points[:, None] - centres
        nearest = offset.norm(dim=2).argmin(1)
        offset, ahead = offset[torch.arange(len(points)), nearest], ahead[nearest]
        cosine = (normalize(offset, dim=1) * ahead).sum(1)
        assert (1000 * offset.norm(dim=1) > eyeball_radius_mm(cosine)).all()
        heights.append(points[uv[:, 0] < 0.5, 1].mean())
    assert heights[1] < heights[0] - 0.002
    assert shade_coverage(24)[:, [0, 11, 12, 23]].max() < 1e-6 < shade_coverage(24).max() <= 1


def test_no_light_of_harmonics_leaves_a_surface_black(model):
    sky = torch.zeros(81, 3)
    sky[0], sky[2] = 1.0, 3.0  # far below zero opposite the source
    lit = render_head(plain_head(model), look_at_face((48, 48), yaw_rad=math.pi), replace(uniform_lighting(), sh=sky))
    assert lit[18:30, 18:30, :3].min() > 0


def test_lashes_are_darker_than_the_brows_they_go_with(model):
    fair, dark = (lash_colour(plain_head(model, albedo=tone).maps) for tone in (0.4, 0.01))
    assert fair.mean() < 0.06 and torch.allclose(dark, torch.full((3,), 0.01))


def test_the_centre_of_a_turned_eyeball_is_found(model):
    gaze = torch.tensor([[0.3, -0.2], [-0.1, 0.25]])
    posed = posed_vertices(model, model.mean, torch.zeros(52), gaze)
    assert torch.allclose(posed_eye_centres(model, posed), eye_centres(model, model.mean), atol=2e-5)


def test_the_outline_of_skin_does_not_glow_but_wet_eyes_may():
    cosine = torch.linspace(0.02, 1, 50)
    skin, wet = relief_masking(cosine, torch.full((50,), 0.5)), relief_masking(cosine, torch.full((50,), 0.09))
    assert (skin.diff() > 0).all() and skin.max() <= 1 and skin[-1] == 1
    assert skin[0] < 0.2 and skin[cosine > 0.6].min() > 0.9 and wet[cosine > 0.1].min() > 0.99


def test_the_loop_shades_as_the_differentiable_path_does():
    torch.manual_seed(0)
    count, light = 4000, load_lighting(LIGHT_NAMES[0])
    direction = lambda: normalize(torch.randn(count, 3), dim=1)  # noqa: E731
    near = lambda normal, by: normalize(normal + by * torch.randn(count, 3), dim=1)  # noqa: E731
    normal = direction()
    lamps = normalize(torch.randn(2, 3), dim=1)
    light = replace(light, directions=lamps, irradiance=torch.rand(2, 3) + 0.5)
    surface = Surface(
        near(normal, 0.5), normal, near(normal, 0.1), near(normal, 0.2), torch.rand(count, 3), 0.08 * torch.rand(count),
        torch.rand(count), 3 * torch.rand(count, 3), torch.rand(count), near(normal, 0.3), torch.rand(count, 2).round(),
        torch.rand(count, 3),
    )  # fmt: skip
    fast = shade(surface, light)
    slow = shade(replace(surface, f0=surface.f0.clone().requires_grad_()), light)
    for one, other in zip(fast, slow, strict=True):
        assert torch.allclose(one, other.detach(), rtol=2e-3, atol=1e-4)


def test_reduced_maps_are_the_same_skin():
    maps = replace(synthetic_maps(96, 64), folds=None)
    assert reduced_maps(maps, 96) is maps
    small = reduced_maps(maps, 48)
    assert small.folds is None
    for field in fields(maps):
        whole, less = getattr(maps, field.name), getattr(small, field.name)
        if whole is not None:
            assert less.shape == (48, 32, *whole.shape[2:])
            assert torch.allclose(less, whole.view(48, 2, 32, 2, *whole.shape[2:]).mean((1, 3)), atol=1e-5)

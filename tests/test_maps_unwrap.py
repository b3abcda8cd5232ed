"""Laws of the way from a photo to the maps, on photos rendered from known heads."""

import math
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate as resize
from torch.nn.functional import max_pool2d

from fixtures_head import synthetic_head
from relit.appearance.folds import FOLD_HUE
from relit.appearance.lighting import load_lighting
from relit.geometry.camera import camera_centre, look_at_face, project
from relit.geometry.mesh import vertex_normals
from relit.maps import maps as maps_module
from relit.maps.bare_skin import SIDE, _cut_off, find_bare_skin
from relit.maps.beard import beard_area, beard_ratio, bearded, plain_area, without_grey
from relit.maps.complete import complete
from relit.maps.delight import BRIGHTER, Regions, delight, of_skin_hue, with_beard
from relit.maps.folds import _with_hue_around, _wrinkled, calm_face, fold_darkening
from relit.maps.learned import (
    ANCHOR_HUE,
    ANCHOR_LIGHT,
    FITTED_HUE,
    LearnedLight,
    Told,
    dimmed,
    finer_light,
    over_beard,
    read_light,
    shared_tone,
    with_fitted_hue,
)
from relit.maps.maps import build_maps
from relit.maps.mesostructure import texel_mm
from relit.maps.rim import rim_trust
from relit.maps.sighting import sighted
from relit.maps.skin_detail import carried_detail, unseen_detail
from relit.maps.solid_noise import solid_noise
from relit.maps.unwrap import Unwrapped, texels, unwrap, view_of
from relit.models.delighting import new_delighting
from relit.models.head import landmark_points, load_head_model, neutral_vertices, posed_vertices
from relit.models.regions import region_masks
from relit.models.skin import load_skin_model, skin_albedo
from relit.render.occlusion import light_transfer
from relit.render.render import render_fit
from relit.types import Lighting

SIZE = 384
EVERYWHERE = Regions(
    *torch.ones(2, SIZE, SIZE), torch.zeros(SIZE, SIZE), torch.ones(SIZE, SIZE), torch.zeros(SIZE, SIZE)
)


@lru_cache(maxsize=4)
def photographed(yaw_rad: float = 0.0, freckled: bool = True, exposure: float = 1.0):
    """A model, an observation of a rendered photo, the true fit, and the true albedo texture."""
    torch.manual_seed(0)
    model, skin = load_head_model(), load_skin_model()
    head, (seen,) = synthetic_head()
    coefficients = torch.zeros(len(skin.names))
    coefficients[0] = -0.5
    truth = skin_albedo(skin, coefficients)
    if freckled:
        spots = resize(torch.rand(1, 1, 96, 96), truth.shape[:2], mode="bicubic")[0, 0, ..., None]
        truth = truth * (0.75 + 0.4 * spots).clamp(0.5, 1.2)
    still = load_lighting("overcast")
    light = Lighting(still.sh, still.directions[:0], still.irradiance[:0])
    camera = look_at_face((720, 720), yaw_rad=yaw_rad, field_m=0.28)
    fit = replace(
        head.fits[0],
        camera=camera,
        expression=torch.zeros(52),
        gaze_rad=torch.zeros(2, 2),
        albedo=coefficients,
        lighting=light,
        exposure=torch.full((3,), exposure),
    )
    vertices = posed_vertices(model, neutral_vertices(model, fit.identity), fit.expression, fit.gaze_rad)
    transfer = light_transfer(vertices, model.triangles)
    with torch.no_grad():
        image, _, _ = render_fit(model, vertices, truth, camera, light, transfer)
    photo = replace(seen.photo, linear=(image * exposure).contiguous(), original_size_px=(720, 720))
    landmarks = replace(seen.landmarks, points_px=project(camera, landmark_points(model, vertices))[:, :2])
    box, mask = (180.0, 150.0, 540.0, 600.0), torch.ones(720, 720)
    observation = replace(seen, photo=photo, skin_mask=mask, face_box_px=box, landmarks=landmarks)
    return model, observation, fit, truth


def at_size(texture, size):
    planes = texture.permute(2, 0, 1)[None]
    return resize(planes, (size, size), mode="bilinear", align_corners=False, antialias=True)[0].permute(1, 2, 0)


def true_albedo(unwrapped):
    return (unwrapped.radiance - unwrapped.specular) * math.pi / unwrapped.irradiance.clamp_min(1e-3)


def psnr(a, b):
    return float(-10 * ((a - b) ** 2).mean().log10())


def test_visible_texels_return_the_albedo_that_was_photographed():
    model, observation, fit, truth = photographed()
    seen = unwrap(model, observation, view_of(model, fit), texels(model, SIZE, SIZE))
    sure = (seen.confidence > 0.5) & (seen.irradiance.amin(-1) > 0.15)  # deep shadow says nothing about colour
    sure = ~max_pool2d((~sure)[None].float(), 5, 1, 2)[0].bool()  # the photo mixes the rims of eyes and mouth
    assert sure.float().mean() > 0.1
    assert psnr(true_albedo(seen)[sure], at_size(truth, SIZE)[sure]) > 35


def test_exposure_of_the_photo_does_not_matter():
    model, observation, fit, _ = photographed()
    fragments = texels(model, 128, 128)
    bright = replace(observation, photo=replace(observation.photo, linear=observation.photo.linear * 0.5))
    a = unwrap(model, observation, view_of(model, fit), fragments)
    b = unwrap(model, bright, view_of(model, replace(fit, exposure=fit.exposure * 0.5)), fragments)
    assert torch.allclose(a.radiance, b.radiance, atol=1e-5)
    assert torch.equal(a.confidence, b.confidence)


def test_visibility_agrees_with_ray_casts():
    from embreex import rtcore_scene
    from embreex.mesh_construction import TriangleMesh

    model, observation, fit, _ = photographed(yaw_rad=0.6)
    fragments = texels(model, 320, 320)
    seen = unwrap(model, observation, view_of(model, fit), fragments)
    vertices = neutral_vertices(model, fit.identity)
    corners = model.triangles[fragments.triangle.clamp_min(0)]
    points = (vertices[corners] * fragments.barycentric[..., None]).sum(-2)
    normals = (vertex_normals(vertices, model.triangles)[corners] * fragments.barycentric[..., None]).sum(-2)
    towards = torch.nn.functional.normalize(camera_centre(fit.camera) - points, dim=-1)
    asked = (fragments.triangle >= 0) & (model.part[fragments.triangle.clamp_min(0)] == 0)
    asked &= (normals * towards).sum(-1) > 0.4
    asked &= (model.face_weight[corners] * fragments.barycentric).sum(-1) > 0.3
    scene = rtcore_scene.EmbreeScene()
    TriangleMesh(scene, vertices.numpy(), model.triangles.numpy().astype(np.int32))
    start = (points + 4e-3 * towards)[asked].numpy().astype(np.float32)  # lips that touch hide each other: no matter
    hidden = torch.from_numpy(np.asarray(scene.run(start, towards[asked].contiguous().numpy(), query="OCCLUDED")) >= 0)
    assert hidden.any() and (~hidden).any()
    assert (seen.visible[asked][hidden] < 0.5).float().mean() > 0.93
    # the rim before occluding contours is refused on purpose
    assert (seen.visible[asked][~hidden] > 0.5).float().mean() > 0.75


def test_the_side_away_from_the_camera_is_not_seen():
    model, observation, fit, _ = photographed(yaw_rad=0.6)  # turned to the subject's left: its right cheek is in view
    seen = unwrap(model, observation, view_of(model, fit), texels(model, 128, 128))
    assert seen.confidence[:, :64].sum() > 1.5 * seen.confidence[:, 64:].sum()


def test_minified_photos_are_averaged_not_picked():
    model, observation, fit, _ = photographed()
    noisy = torch.rand(720, 720, 3, generator=torch.Generator().manual_seed(1))
    observation = replace(observation, photo=replace(observation.photo, linear=noisy))
    coarse = unwrap(model, observation, view_of(model, fit), texels(model, 48, 48))
    fine = unwrap(model, observation, view_of(model, fit), texels(model, SIZE, SIZE))
    assert coarse.radiance[coarse.confidence > 0.8].std() < 0.5 * fine.radiance[fine.confidence > 0.8].std()


def test_light_taken_out_leaves_the_ratio_to_the_statistical_skin():
    model, observation, fit, truth = photographed(freckled=False)
    seen = unwrap(model, observation, view_of(model, fit), texels(model, SIZE, SIZE))
    base = at_size(truth, SIZE)
    ratio, trust = delight(seen, base, EVERYWHERE)
    assert ratio[trust > 0.5].abs().mean() < 0.03


def test_a_shadow_on_one_side_is_light_and_a_mole_is_skin():
    model, observation, fit, truth = photographed(freckled=False)
    seen = unwrap(model, observation, view_of(model, fit), texels(model, SIZE, SIZE))
    base = at_size(truth, SIZE)
    u = torch.linspace(-1, 1, SIZE)
    shaded = replace(seen, radiance=seen.radiance * (1 - 0.3 * torch.sigmoid(8 * u))[None, :, None])
    shaded.radiance[200:203, 150:152] *= 0.5
    ratio, trust = delight(shaded, base, EVERYWHERE)
    broad = ratio.mean(-1) * (trust > 0.5)
    left, right = broad[:, : SIZE // 2], broad[:, SIZE // 2 :]
    known = [(trust[:, : SIZE // 2] > 0.5).sum(), (trust[:, SIZE // 2 :] > 0.5).sum()]
    assert (left.sum() / known[0] - right.sum() / known[1]).abs() < 0.08  # the shadow alone is 0.36
    assert trust[201, 150] > 0.5 and ratio[201, 150].mean() < ratio[195:208, 140:160].mean() - 0.3


def test_light_of_another_colour_turns_no_skin_green_or_blue():
    model, observation, fit, truth = photographed(freckled=False)
    seen = unwrap(model, observation, view_of(model, fit), texels(model, SIZE, SIZE))
    base = at_size(truth, SIZE)
    tinted = replace(seen, radiance=seen.radiance.clone(), specular=seen.specular * 4)  # and reflection overrated
    tinted.radiance[120:160, 100:140] *= torch.tensor([0.4, 1.0, 1.3])
    tinted.radiance[120:160, 180:220] *= torch.tensor([1.0, 0.92, 0.95])  # a blush
    ratio, trust = delight(tinted, base, EVERYWHERE)
    skin = ratio[trust > 0.5]
    hue = torch.stack([skin[:, 0] - skin[:, 1], skin[:, 1] - skin[:, 2]], -1)
    assert (hue - hue.median(0).values).abs().max() < 0.3
    blush = (ratio[..., 0] - ratio[..., 1])[120:160, 180:220].mean() - hue[:, 0].median()
    assert blush > 0.03


def completed(trust, ratio):
    everywhere = torch.ones(SIZE, SIZE)
    detail = unseen_detail(ratio, trust, ((everywhere, everywhere),), seed=3)
    return complete(ratio, trust, EVERYWHERE, detail=detail)


def test_what_is_far_brighter_than_the_persons_skin_is_light_and_a_mole_or_a_white_beard_is_not():
    ratio = torch.full((60, 60, 3), 0.2)
    ratio[10, 10], ratio[20, 20], ratio[30, 30], ratio[40, 40] = 1.2, 0.3, -0.8, 1.0
    hued = torch.ones(60, 60)
    hued[40, 40] = 0
    found = of_skin_hue(ratio, torch.ones(60, 60), hued).mean(-1)
    assert 0.2 + 0.8 * BRIGHTER < found[10, 10] <= 0.2 + BRIGHTER
    assert abs(found[20, 20] - 0.3) < 0.002 and abs(found[30, 30] + 0.8) < 1e-5 and abs(found[0, 0] - 0.2) < 1e-5
    assert found[40, 40] > 0.85


def test_completion_keeps_what_is_known_and_shows_no_seam():
    v, u = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    trust = torch.sigmoid((0.45 - (u**2 + (v + 0.2) ** 2).sqrt()) * 40)
    noise = 0.05 * torch.randn(SIZE, SIZE, 1, generator=torch.Generator().manual_seed(0))
    ratio = torch.stack([0.3 * u, 0.2 * v, 0.1 * u * v], -1) + noise
    ratio = torch.where(trust[..., None] > 0.01, ratio, 5.0)  # rubbish where nothing is known
    full = completed(trust, ratio)
    assert torch.allclose(full[trust > 0.9], ratio[trust > 0.9], atol=1e-5)
    step = (full[:, 1:] - full[:, :-1]).abs().mean(-1)
    border = (trust[:, 1:] > 0.02) & (trust[:, 1:] < 0.5)
    inside = trust[:, 1:] > 0.9
    assert step[border].quantile(0.99) < 1.1 * step[inside].quantile(0.99)


def test_the_mirrored_side_completes_before_the_statistics():
    u = torch.linspace(-1, 1, SIZE)[None, :].expand(SIZE, SIZE)
    trust = ((u < -0.02) & (u > -0.6)).float().contiguous()
    ratio = (0.5 * (u * 9).cos()[..., None] * trust[..., None]).expand(-1, -1, 3).contiguous()
    full = completed(trust, ratio)
    mirrored = full.flip(1)
    part = trust > 0
    assert torch.allclose(mirrored[part], ratio[part], atol=1e-4)


def test_completion_of_a_complete_map_changes_nothing():
    ratio = torch.randn(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(2)) * 0.1
    assert torch.allclose(completed(torch.ones(SIZE, SIZE), ratio), ratio, atol=1e-6)


def test_what_touches_a_cover_and_differs_from_the_skin_around_belongs_to_it():
    model, observation, fit, _ = photographed()
    seen = unwrap(model, observation, view_of(model, fit), texels(model, SIDE, SIDE))
    masks = region_masks(SIDE, SIDE)
    row = torch.arange(SIDE)[:, None].expand(SIDE, SIDE)
    column = torch.arange(SIDE)[None, :].expand(SIDE, SIDE)
    forehead = row[masks["forehead"] > 0.5]
    hairline = int(forehead.float().quantile(0.3))
    fringe = (row < hairline) & (seen.visible > 0)
    strand = (row < hairline + 12) & (column - 150 < 5) & (column >= 150)  # hangs from the fringe, not in the mask
    mole = (row - 190).abs().maximum((column - 120).abs()) < 3
    dark = torch.where((fringe | strand | mole)[..., None], 0.15, 1.0)
    hairy = replace(seen, radiance=seen.radiance * dark, bare=seen.bare * ~fringe, confidence=seen.confidence * ~fringe)
    bare = find_bare_skin(hairy)
    assert bare.mask[fringe & (masks["face"] > 0.9) & (seen.visible > 0.5)].mean() < 0.1
    assert bare.mask[strand & (seen.visible > 0.5)].mean() < 0.2
    assert bare.mask[(masks["cheeks"] > 0.5) & (seen.visible > 0.5) & (seen.bare > 0.9)].quantile(0.1) > 0.8
    assert bare.mask[mole].min() > 0.9
    assert bare.hair_colour is not None and bare.hair_colour.mean() < 0.1


def test_noise_has_unit_deviation_and_no_seam():
    points = np.random.default_rng(0).uniform(-100, 100, (200_000, 3)).astype(np.float32)
    noise = solid_noise(points, 2.0, 5)
    assert abs(noise.std() - 1) < 0.03 and abs(noise.mean()) < 0.02
    assert np.abs(solid_noise(points + np.float32(1e-3), 2.0, 5) - noise).max() < 0.05
    assert abs(np.corrcoef(noise, solid_noise(points, 2.0, 6))[0, 1]) < 0.02


def test_maps_of_a_photo_are_physical_and_do_not_depend_on_the_order_of_photos():
    model, front, fit, _ = photographed()
    _, side, fit_side, _ = photographed(yaw_rad=0.6)
    one = build_maps(model, sighted(model, (front, side), (fit, fit_side)), (256, 256))
    assert one.diffuse_albedo.shape == (256, 256, 3)
    for name, low, high in (("diffuse_albedo", 0, 1), ("specular_albedo", 0, 0.1), ("roughness", 0, 1),
                            ("occlusion", 0, 1), ("confidence", 0, 1)):  # fmt: skip
        values = getattr(one, name)
        assert torch.isfinite(values).all() and values.min() >= low and values.max() <= high, name
    again = build_maps(model, sighted(model, (side, front), (fit_side, fit)), (256, 256))
    assert torch.allclose(one.diffuse_albedo, again.diffuse_albedo, atol=2e-2)
    assert one.confidence.mean() > 0.1


def test_maps_larger_than_photos_add_pits_and_change_nothing_else(monkeypatch):
    model, seen, fit, _ = photographed()
    monkeypatch.setattr(maps_module, "PHOTO_SIDE", 256)
    small, large = (build_maps(model, sighted(model, (seen,), (fit,)), (side, side)) for side in (256, 512))
    assert large.diffuse_albedo.shape == (512, 512, 3) and large.confidence.shape == (512, 512)
    halved = at_size(large.diffuse_albedo, 256)
    assert (halved - small.diffuse_albedo).abs().mean() < 0.004
    assert large.displacement_mm.min() < small.displacement_mm.min()


def test_a_tone_that_a_network_tells_is_the_tone_of_the_skin_and_the_light_makes_up_for_it():
    model, seen, fit, _ = photographed()
    shift = torch.tensor([-0.3, -0.4, -0.5])
    sightings = sighted(model, (seen,), (fit,))
    plain = read_light(new_delighting((8, 12, 16)), sightings[0])
    told = Told(plain.light - shift, plain.tone + shift)
    first, second = (build_maps(model, sightings, (256, 256), knowledge=LearnedLight.of((one,))) for one in (plain, told))
    face = first.confidence > 0.5
    change = (second.diffuse_albedo[face] / first.diffuse_albedo[face]).log().median(0).values
    assert torch.allclose(change, shared_tone((told,)) - shared_tone((plain,)), atol=0.03)
    again = dimmed(fit, shift)
    assert torch.allclose(again.lighting.sh * shift.exp(), fit.lighting.sh)


def test_a_tone_is_that_of_most_photos():
    told = lambda *tone: Told(torch.zeros(1), torch.tensor(tone))  # noqa: E731
    one, near, far = told(0.1, 0.0, -0.1), told(0.12, 0.03, -0.1), told(-1.0, -1.1, -0.9)
    own = shared_tone((one,))
    assert torch.equal(own, (1 - ANCHOR_LIGHT) * one.tone.mean() + (1 - ANCHOR_HUE) * (one.tone - one.tone.mean()))
    assert torch.equal(shared_tone((one, one)), own) and torch.equal(shared_tone((one, far, one)), own)  # copies add nothing
    assert torch.equal(shared_tone((near, far, one)), shared_tone((one, near, far)))
    assert (shared_tone((near, far, one)) - own).abs().max() < 0.03
    assert torch.allclose(shared_tone((one, far)), (own + shared_tone((far,))) / 2, atol=1e-6)  # nobody knows who is wrong


def test_of_the_fitted_light_only_what_is_finer_than_the_networks_counts():
    even, none = torch.ones(512, 512), torch.zeros(512, 512, 3)
    seen = lambda irradiance, trust=even: Unwrapped(none, irradiance, none, trust, trust, trust)  # noqa: E731
    down = torch.linspace(0, 1, 512)[:, None, None].expand(512, 512, 3)
    assert finer_light(seen((0.3 * down).exp())).abs().max() < 0.02
    shaded = torch.ones(512, 512, 3)
    shaded[250:258] = 0.6  # narrower than a cell of 32 texels
    finer = finer_light(seen(shaded))
    assert (finer[252:256] - finer[240]).mean() < 0.8 * math.log(0.6)
    assert torch.allclose(finer, finer_light(seen(3 * shaded)), atol=1e-5)
    half = even.clone()
    half[:, 256:] = 0
    assert (finer_light(seen(shaded, half))[:, 256:] == 0).all()


def test_a_part_of_the_lights_local_hue_is_fitted_and_its_brightness_is_the_networks():
    none, even = torch.zeros(64, 64, 3), torch.ones(64, 64)
    fitted = Unwrapped(none, torch.full((64, 64, 3), 0.7), none, even, even, even)
    light = torch.full((64, 64, 3), -0.4) + torch.tensor([0.3, 0.0, -0.2])  # warm everywhere: that is kept
    assert torch.allclose(with_fitted_hue(light, fitted), light, atol=1e-5)
    light[10:20, 10:20] += torch.tensor([0.1, -0.05, -0.05])  # a blush taken for red light
    light[40:50] -= 0.5  # a shadow
    found = with_fitted_hue(light, fitted)
    assert torch.allclose(found.mean(-1), light.mean(-1), atol=1e-5)
    blush = found[15, 15] - found[30, 30]
    assert torch.allclose(blush, (1 - FITTED_HUE) * torch.tensor([0.1, -0.05, -0.05]), atol=1e-5)
    assert torch.equal(with_fitted_hue(light, replace(fitted, confidence=0 * even)), light)


def test_dark_lines_are_folds_and_moles_are_not():
    light = np.zeros((512, 512), np.float32)
    light[200, 200:300] = light[201, 200:300] = -0.5  # a wrinkle
    light[240:244, 240:243] = -0.5  # a mole
    light[280:286, 200:300] = -0.5  # a brow
    skin = np.ones_like(light)
    skin[280:286, 200:300] = 0
    darkening = fold_darkening(light, skin)
    assert darkening[200:202, 210:290].mean() > 0.3
    assert darkening[236:248, 236:248].max() < 0.05
    assert darkening[275:291, 195:305].max() < 0.05
    assert np.abs(fold_darkening(light[:, ::-1].copy(), skin[:, ::-1].copy())[:, ::-1] - darkening).max() < 0.05
    assert darkening.min() >= 0 and fold_darkening(np.zeros_like(light), skin).max() == 0
    assert np.allclose(fold_darkening(light, 0.8 * skin), darkening)  # where few have a beard


def test_a_fold_is_taken_whole_down_to_lines_finer_than_its_grid():
    light = np.zeros((1024, 1024), np.float32)
    light[400:412, 300:700] = -0.2
    light[405:407, 300:700] = -0.6  # half a millimetre
    left = light + fold_darkening(light, np.ones_like(light))
    assert left[380:430, 340:660].min() > -0.06 and left.max() < 0.06


def test_a_beard_is_told_by_its_texture():
    masks = region_masks(512, 512)
    rng = np.random.default_rng(0)
    light = torch.from_numpy(rng.normal(0, 0.01, (512, 512)).astype(np.float32))
    everywhere, white = torch.ones(512, 512), torch.ones(512, 512, 3)
    jaw = masks["beard"] > 0.01
    folded = light.clone()
    folded[300:304] = -0.5
    told = lambda light, sure=everywhere: bearded(  # noqa: E731
        Unwrapped(light.exp()[..., None].expand(-1, -1, 3), white, 0 * white, sure, sure, sure), masks
    )
    grown = torch.where(jaw, 5 * light, light)
    assert told(grown) == 1 and told(light) == 0 == told(folded)
    assert told(grown, everywhere * ~jaw) == 0


def test_a_beard_is_told_by_its_grey_and_a_shadow_on_the_jaw_is_none():
    masks = region_masks(SIZE, SIZE)
    jaw = (masks["beard"] > 0.01)[..., None]
    even, white = torch.ones(SIZE, SIZE), torch.ones(SIZE, SIZE, 3)
    skin = torch.tensor([0.5, 0.3, 0.2]).expand(SIZE, SIZE, 3)
    told = lambda radiance: bearded(Unwrapped(radiance, white, 0 * white, even, even, even), masks)  # noqa: E731
    assert told(torch.where(jaw, torch.tensor([0.6, 0.55, 0.5]), skin)) > 0.99
    assert told(torch.where(jaw, 0.5 * skin, skin)) < 0.01 and told(skin) < 0.01


def test_the_light_on_a_beard_is_that_of_the_skin_beside_it():
    v = torch.linspace(-1, 1, SIZE)[:, None, None].expand(SIZE, SIZE, 3)
    even, true = torch.ones(SIZE, SIZE), 0.4 - 0.5 * v  # the light comes from above
    beard = torch.zeros(SIZE, SIZE)
    beard[250:330, 100:280] = 1
    seen = Unwrapped(0 * v, true.exp(), 0 * v, even, even, even)
    told = true + 0.2 - 0.6 * beard[..., None]  # as a network that takes the hair for shade
    grown = with_beard(EVERYWHERE._replace(plain=1 - beard), beard)
    assert (over_beard(told, seen, grown) - (true + 0.2)).abs().max() < 0.05
    assert torch.equal(over_beard(told, seen, EVERYWHERE), told)


def test_single_grey_hairs_at_the_rim_are_not_skin_and_ridges_between_wrinkles_are():
    v, u = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    everywhere, seen = torch.ones(SIZE, SIZE), ((u**2 + v**2).sqrt() < 0.5).float()
    hair = ((u + 0.48).abs() < 0.004) & (v.abs() < 0.1)
    inside = (u.abs() < 0.004) & (v.abs() < 0.1)
    lines = (hair | inside)[..., None]
    grey = torch.where(lines, torch.tensor([0.4, 0.5, 0.6]), torch.zeros(3))
    trust = rim_trust(grey, seen, everywhere, everywhere)
    assert trust[hair].max() < 0.2 and trust[inside].min() > 0.99
    assert rim_trust(torch.where(lines, torch.tensor(0.5), torch.zeros(3)), seen, everywhere, everywhere)[hair].min() > 0.99
    wrinkled = grey + 0.4 * torch.sin(v * 2 * math.pi * 12)[..., None]
    assert rim_trust(wrinkled, seen, everywhere, everywhere)[hair].mean() > trust[hair].mean() + 0.2


def test_a_beard_goes_on_where_it_is_not_seen():
    masks = region_masks(SIZE, SIZE)
    seen = (torch.arange(SIZE) < SIZE // 2)[None, :].expand(SIZE, SIZE)
    ratio = 0.1 + beard_area(masks)[..., None] * torch.tensor([-0.5, -0.6, -0.7])
    grown = beard_area(masks)
    beard = beard_ratio(ratio, seen, grown, masks)
    assert (beard - (ratio - 0.1)).abs().max() < 0.02
    assert not beard_ratio(ratio, seen, 0 * grown, masks).any()
    assert not beard_ratio(ratio, seen & (grown < 0.1), grown, masks).any()


def test_carried_detail_looks_and_measures_as_its_source_and_closes_around_the_head():
    size = 512
    across, along = texel_mm(size, size)
    rng = np.random.default_rng(1)
    detail = cv2.GaussianBlur(rng.normal(0, 1, (size, size, 3)).astype(np.float32), (0, 0), 1.5)
    detail *= 0.03 / detail.std()
    sources = plain_area(region_masks(size, size)).numpy() > 0.7
    carried = np.zeros_like(detail)
    wanted = np.ones((size, size), bool)
    carried[wanted] = carried_detail(detail, sources, wanted, 0)
    face = region_masks(size, size)["face"].numpy() > 0.7
    assert 0.7 < carried[face].std() / detail[sources].std() < 1.05  # of the calmer half
    assert np.abs(carried[face].mean(0)).max() < 0.003
    wide = (across > 2 * np.median(across[face])) & (across < 999 * 1.3 / size)  # a finer map has finer detail there
    slope = lambda area: np.abs(np.diff(carried, axis=1))[area[:, 1:]].mean()  # noqa: E731
    assert slope(wide) > 1.2 * slope(face)
    seam, inside = np.abs(carried[:, 0] - carried[:, -1]), np.abs(np.diff(carried, axis=1))[:, :20]
    assert seam.mean() < 1.2 * inside.mean()
    assert not carried_detail(detail, np.zeros_like(sources), wanted, 0).any()


def test_the_rim_is_not_believed_where_it_is_dark_or_off_and_a_mole_in_the_middle_is():
    v, u = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    radius = (u**2 + v**2).sqrt()
    confidence = (radius < 0.5).float()
    hole = ((u - 0.1).abs() < 0.04) & (v.abs() < 0.04)
    confidence[hole] = 0  # an eye has no rim
    everywhere = torch.ones(SIZE, SIZE)
    ratio = torch.zeros(SIZE, SIZE, 3)
    mole, shade, green, red = (
        ((u - x).abs() < 0.04) & ((v - y).abs() < 0.04) for x, y in ((0, 0), (0.46, 0), (-0.46, 0), (0, 0.46))
    )
    beside = torch.nn.functional.max_pool2d(hole[None].float(), 9, 1, 4)[0] > 0
    ratio[mole | shade | (beside & ~hole)] = -0.5
    ratio[green] = torch.tensor([-0.1, 0.1, -0.1])
    trust = rim_trust(ratio, confidence, everywhere, everywhere)
    shown = confidence > 0
    assert trust[mole].min() > 0.99 and trust[beside & shown].min() > 0.99
    assert trust[shade & shown].mean() < 0.3 and trust[green & shown].mean() < 0.5 and trust[red & shown].min() > 0.99
    bearded_rim = rim_trust(ratio, confidence, everywhere, 0 * everywhere)
    assert bearded_rim[shade & shown].min() > 0.99 and bearded_rim[green & shown].mean() < 0.5


def test_a_fold_that_is_gone_leaves_the_hue_around_it():
    ratio = torch.zeros(SIZE, SIZE, 3)
    gone = torch.zeros(SIZE, SIZE)
    gone[190:194, 100:200] = 0.3
    ratio[190:194, 100:200] = torch.tensor([-0.1, 0.1, 0.0])
    left = _with_hue_around(ratio, gone, torch.ones(SIZE, SIZE))
    assert left.abs().max() < 1e-3 and torch.equal(_with_hue_around(ratio, 0 * gone, torch.ones(SIZE, SIZE)), ratio)


def test_a_calm_face_and_its_folds_make_the_face_of_the_photo():
    v, u = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    everywhere, nowhere = torch.ones(SIZE, SIZE), torch.zeros(SIZE, SIZE)
    fold = -0.3 * torch.exp(-((u / 0.01) ** 2)) * (v.abs() < 0.5)
    bulge = 0.2 * torch.exp(-((u - 0.1) ** 2 + v**2) / 0.05**2)
    moved_mm = 10 * torch.exp(-(u**2 + v**2) / 0.4**2)
    ratio = fold[..., None] * torch.tensor(FOLD_HUE) + bulge[..., None]
    calm = calm_face(ratio, everywhere, moved_mm, everywhere, nowhere, nowhere)
    middle = moved_mm > 9
    assert calm.ratio[middle].abs().mean() < 0.4 * ratio[middle].abs().mean()
    assert ((calm.ratio.mean(-1) + calm.folds) - ratio.mean(-1))[middle].abs().max() < 0.03
    still = calm_face(ratio, everywhere, 0 * moved_mm, everywhere, nowhere, nowhere)
    assert not still.folds.any() and torch.allclose(still.ratio - still.wrinkles, ratio, atol=1e-5)
    beard = calm_face(ratio, everywhere, moved_mm, everywhere, everywhere, nowhere)
    assert not beard.folds.any()


def test_lines_on_a_forehead_that_nothing_moves_are_lasting():
    young, old, still = torch.full((8, 8), 0.01), torch.full((8, 8), 0.2), torch.ones(8, 8) > 0
    assert _wrinkled(young, still) == 0 and _wrinkled(old, still) == 1 and _wrinkled(old, ~still) == 0


def test_jaws_lose_the_grey_of_many_skins_and_keep_their_brightness():
    masks = region_masks(128, 128)
    base = torch.full((128, 128, 3), 1.0) * torch.tensor([0.5, 0.33, 0.25])
    grey = base.clone()
    jaw = masks["beard"] > 0.02
    grey[jaw] = torch.tensor([0.36, 0.32, 0.29])
    change = without_grey(grey, masks)
    sure = masks["beard"] * (1 - masks["lips"]) > 0.95
    inner = masks["cheeks"] * (1 - masks["beard"]) > 0.99
    hue = lambda albedo: (albedo[..., 0] / albedo[..., 2])[sure].log().mean()  # noqa: E731
    assert hue(grey) < hue(grey * change.exp()) < hue(base)
    assert change.mean(-1).abs().max() < 1e-5 and change[inner].abs().max() < 0.02
    assert without_grey(base, masks).abs().max() < 1e-5


def test_lids_between_an_eye_and_a_rim_are_not_read_and_wide_ones_are():
    y, x = np.mgrid[:320, :320]
    far = np.hypot((x - 100) / 1.8, y - 100)
    lids = (far < 22).astype(np.float32)
    ring, open_face = (far > 12) & (far < 14), far > 12
    assert _cut_off(ring, lids).sum() > 0.9 * ring.sum() and not _cut_off(open_face, lids).any()


def test_a_drawn_feature_does_not_tell_its_surroundings_tone():
    ratio, trust = torch.zeros(SIZE, SIZE, 3), torch.zeros(SIZE, SIZE)
    trust[:, : SIZE // 4] = 1
    row, column = SIZE // 2, SIZE // 2 + 40
    island = slice(row, row + 4), slice(column, column + 4)
    ratio[island], trust[island] = -1.0, 1.0
    lid = torch.ones(SIZE, SIZE)
    lid[island] = 0
    lid = torch.minimum(lid, lid.flip(1))  # as in the layout
    plain = EVERYWHERE._replace(plain=torch.zeros(SIZE, SIZE))
    spread, kept = (complete(ratio, trust, plain._replace(going_on=r)) for r in (EVERYWHERE.going_on, lid))
    beside = row + 8, column + 8
    assert kept[beside].abs().max() < 1e-4 and spread[beside].max() < -0.1
    assert torch.allclose(kept[island], ratio[island], atol=1e-4)

"""Laws of synthetic subjects: reproducible draws, disjoint splits, even skin tones, physical maps."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from relit.appearance.colour import typology_angle_deg
from relit.errors import InputError
from relit.geometry.camera import project
from relit.models.head import landmark_points, load_head_model
from relit.models.skin import tone_colour
from relit.synth.ageing import aged
from relit.synth.camera import camera_of, developed, draw_shot
from relit.synth.detail import BOX, _integrated, atlas, places
from relit.synth.expressions import draw_expression, draw_gaze
from relit.synth.hair import _scalp
from relit.synth.layout import layout
from relit.synth.light import KINDS, cap_harmonics, draw_scene
from relit.synth.panoramas import backdrop, panorama_names, stored_lighting
from relit.synth.pattern import SIZE as PATTERN_SIZE
from relit.synth.pattern import face_share, pattern_of, patterns, plain_skin
from relit.synth.skin import maps_of
from relit.synth.split import SPLITS, TEST_LIGHTS, TEST_SKINS, stream
from relit.synth.subject import ITA_DEG, draw_subject, neutral_of, record_of

SIZE = 128


@pytest.fixture(scope="module")
def subjects():
    return [draw_subject(5, index) for index in range(300)]


@pytest.fixture(scope="module")
def mapped(subjects):
    return [(subject, maps_of(subject, SIZE, torch.ones(SIZE, SIZE))) for subject in subjects[:16]]


def test_splits_share_no_skin_no_light_and_no_random_numbers():
    skins = [set(atlas(split, SIZE)[0]) for split in SPLITS]
    lights = [set(panorama_names(split)) for split in SPLITS]
    assert skins[0].isdisjoint(skins[1]) and lights[0].isdisjoint(lights[1])
    assert skins[1] == TEST_SKINS and lights[1] == TEST_LIGHTS
    assert len(skins[0]) > 2 * len(skins[1]) and len(lights[0]) > 2 * len(lights[1])
    scenes = [draw_scene(split, (0, 0, 1), stream(split, 0, k, 0)) for split in SPLITS for k in range(40)]
    used = {name for scene in scenes for name in scene.names}
    assert len(used & lights[0]) > 10 and len(used & lights[1]) > 5
    streams = [stream(split, *numbers) for split in SPLITS for numbers in itertools.product((0, 1), repeat=3)]
    assert len({int(rng.integers(1 << 62)) for rng in streams}) == 16
    with pytest.raises(InputError, match="train, test"):
        stream("validation", 0, 0, 0)


def test_splits_share_no_portrait():
    train, test = (patterns(split) for split in SPLITS)
    assert set(train.names).isdisjoint(test.names)
    assert len(train.names) > 150 and len(test.names) > 25
    for known in (train, test):
        assert known.male.any() and (~known.male).any() and known.old.any()
        assert known.ita_deg.min() < -20 and known.ita_deg.max() > 35


def test_soft_patterns_change_faces_but_not_tones(subjects):
    plain, outside = plain_skin(PATTERN_SIZE), face_share(PATTERN_SIZE) == 0
    found = np.stack([pattern_of(subject, PATTERN_SIZE) for subject in subjects[:40]])
    assert np.abs(np.median(found[:, plain], 1)).max() < 0.02
    assert np.abs(found[:, outside]).max() < 1e-3
    assert 0.02 < found[:, plain].std() < 0.12 and np.abs(found).max() < 2
    flat = found[:, plain].reshape(len(found), -1)
    similar = np.corrcoef(flat - flat.mean(0)) - np.eye(len(found))
    assert np.quantile(similar, 0.95) < 0.7  # few share their people
    assert np.array_equal(found[3], pattern_of(draw_subject(5, 3), PATTERN_SIZE))


def test_a_subject_depends_on_its_number_alone(subjects):
    again = draw_subject(5, 7)
    assert record_of(again) == record_of(subjects[7])
    assert record_of(draw_subject(6, 7)) != record_of(again) != record_of(draw_subject(5, 7, "test"))


def test_skin_tones_are_even_over_the_typology_angle(subjects):
    wanted = np.array([s.ita_deg for s in subjects])
    given = typology_angle_deg(torch.stack([tone_colour(torch.from_numpy(s.tone)) for s in subjects])).numpy()
    assert np.abs(given - wanted).max() < 1.0
    counts, _ = np.histogram(given, 6, ITA_DEG)
    expected = len(subjects) / 6
    assert ((counts - expected) ** 2 / expected).sum() < 15.1  # 1 % of the chi-squared distribution with 5 degrees


def test_the_maps_keep_the_tone(mapped):
    area = layout(SIZE).bare("brows", "lips", "eyelids", "nostrils", "beard", "under_eye", "nose", "scalp") > 0.8
    plain = [(s, m) for s, m in mapped if s.marks.makeup + s.marks.age_spots + s.marks.freckles < 0.4]
    for subject, maps in plain:
        found = float(typology_angle_deg(maps.diffuse_albedo[torch.from_numpy(area)].median(0).values))
        assert abs(found - subject.ita_deg) < 7, (subject.index, found, subject.ita_deg)


def test_maps_conserve_energy_and_normals_are_unit(mapped):
    for _, maps in mapped:
        assert maps.diffuse_albedo.min() > 0 and maps.diffuse_albedo.max() < 0.99
        skin = torch.from_numpy(layout(SIZE).part == 0)
        assert (maps.diffuse_albedo.amax(-1)[skin] + maps.specular_albedo[skin] < 1).all()
        assert 0 < maps.specular_albedo.min() and maps.specular_albedo.max() < 0.081
        assert 0.01 < maps.specular_albedo[skin].min() and maps.specular_albedo[skin].max() < 0.05
        assert maps.roughness.min() > 0.03 and maps.roughness.max() <= 1
        assert maps.displacement_mm.abs().max() < 1.5
        for normal in (maps.diffuse_normal, maps.specular_normal):
            assert torch.allclose(normal.norm(dim=-1), torch.ones(SIZE, SIZE), atol=1e-5)
            assert (normal[..., 2] > 0).all()
        rough = (1 - maps.specular_normal[..., 2]).mean(), (1 - maps.diffuse_normal[..., 2]).mean()
        assert rough[1] <= rough[0]  # light below the skin softens relief


def test_no_skin_is_a_copy(mapped):
    albedo = torch.stack([m.diffuse_albedo[20:90].log().flatten() for _, m in mapped])
    albedo = albedo - albedo.mean(1, keepdim=True)
    similar = torch.corrcoef(albedo) - torch.eye(len(mapped))
    assert similar.max() < 0.97


def test_bald_heads_keep_their_sides_and_long_hair_hides_none(subjects):
    here = layout(SIZE)
    balding = [s for s in subjects if s.marks.receding]
    assert 5 < len(balding) < 60 and not any(s.hair_style or not s.marks.shave_shadow for s in balding)
    before = replace(balding[0], marks=replace(balding[0].marks, receding=0.0, crown=0.0, shaved_scalp=1.0))
    after = replace(before, marks=replace(before.marks, receding=0.9, crown=0.9))
    covers = [_scalp(s, here) for s in (before, after)]
    scalp, up = here.masks["scalp"] > 0.95, here.position_mm[..., 1]
    top, sides = scalp & (up > 122), scalp & (up < 60)
    assert covers[1][top].mean() < 0.25 * covers[0][top].mean()
    assert np.array_equal(covers[1][sides], covers[0][sides])


def test_wrinkles_deepen_relief_and_hardly_change_the_colour(subjects):
    smooth = replace(subjects[0], marks=replace(subjects[0].marks, wrinkles=0.02))
    old = replace(subjects[0], marks=replace(subjects[0].marks, wrinkles=1.4))
    first, second = (maps_of(s, SIZE, torch.ones(SIZE, SIZE)) for s in (smooth, old))
    assert second.displacement_mm.std() > 1.2 * first.displacement_mm.std()
    assert (first.diffuse_albedo / second.diffuse_albedo).log().abs().mean() < 0.03


def test_further_skins_teach_the_training_split_alone(tmp_path):
    rng = np.random.default_rng(0)
    spots = np.clip(120 + 14 * rng.standard_normal((256, 256, 3)), 0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "spots.png"), spots)
    folders = (str(tmp_path),)
    names, skins = atlas("train", SIZE, folders)
    assert "spots" in names and skins[names.index("spots")].std() > 0
    assert atlas("test", SIZE, folders)[0] == atlas("test", SIZE)[0]
    with pytest.raises(InputError, match="holds no skins"):
        atlas("train", SIZE, (str(tmp_path / "nowhere"),))
    plain = cv2.imencode(".png", np.full_like(spots, 120))[1]
    for content, said in ((plain, "one colour"), (b"text", "no readable picture")):
        folder = tmp_path / said
        folder.mkdir()
        (folder / "a.png").write_bytes(bytes(content))
        with pytest.raises(InputError, match=said):
            atlas("train", SIZE, (str(folder),))


def test_gradients_are_integrated_back_to_their_picture():
    rng = np.random.default_rng(0)
    picture = rng.standard_normal((40, 60, 3)).astype(np.float32)
    across, along = np.zeros_like(picture), np.zeros_like(picture)
    across[:, :-1], along[:-1] = np.diff(picture, axis=1), np.diff(picture, axis=0)
    found = _integrated(across, along)
    centred = picture - picture.mean((0, 1))
    assert np.abs(found - found.mean((0, 1)) - centred).mean() < 0.02


def test_regions_of_the_detail_share_out_every_texel():
    share = places(SIZE)
    assert np.allclose(share.sum(0), 1, atol=1e-5) and share.min() >= 0
    assert np.allclose(share, share[:, :, ::-1], atol=0.05)
    assert 0 < BOX[0][0] < BOX[0][1] < 0.88


def test_expressions_are_possible():
    rng = np.random.default_rng(1)
    drawn = np.stack([draw_expression(rng) for _ in range(400)])
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert (drawn.mean(0) > 0.002).sum() > 30  # most of the rig is used
    assert np.median(drawn.sum(1)) < 6  # and most faces are calm
    gaze = np.stack([draw_gaze(rng) for _ in range(200)])
    assert np.abs(gaze).max() < 0.5 and (gaze[:, 0, 0] <= gaze[:, 1, 0] + 0.03).all()  # eyes never diverge


def test_heads_differ_and_asymmetry_scales(subjects):
    model = load_head_model()
    heads = torch.stack([neutral_of(s, model) for s in subjects[:12]])
    assert (heads - heads.mean(0)).norm(dim=-1).mean() > 0.001
    mirrored = lambda v: (v - v[model.mirror] * torch.tensor([-1.0, 1, 1])).norm(dim=-1).mean()  # noqa: E731
    even, odd = (neutral_of(replace(subjects[0], asymmetry=a), model) for a in (0.0, 2.0))
    assert mirrored(even) < 0.1 * mirrored(odd)


def test_every_kind_of_light_is_drawn_and_positive():
    scenes = [draw_scene("train", np.array([0, 0, 1.0]), np.random.default_rng(k)) for k in range(80)]
    assert {scene.kind for scene in scenes} == set(KINDS)
    for scene in scenes:
        assert torch.isfinite(scene.lighting.sh).all() and (scene.lighting.irradiance >= 0).all()
        assert scene.backdrop.min() >= 0
        assert torch.allclose(scene.lighting.directions.norm(dim=1), torch.ones(len(scene.lighting.directions)), atol=1e-4)


def test_a_lamp_gives_the_irradiance_it_is_asked_for():
    from relit.appearance.lighting import diffuse_irradiance

    towards = torch.nn.functional.normalize(torch.tensor([0.3, 0.5, 0.8]), dim=0)
    sh = cap_harmonics(towards, 0.4, torch.tensor([1.0, 2.0, 3.0]))
    assert torch.allclose(diffuse_irradiance(sh, towards[None])[0], torch.tensor([1.0, 2.0, 3.0]), rtol=0.12)


def test_faces_are_in_the_picture(subjects):
    model = load_head_model()
    for index in range(40):
        shot = draw_shot(np.random.default_rng(index))
        points = project(camera_of(shot, (512, 512)), landmark_points(model, model.mean))[:, :2]
        assert ((points > 0) & (points < 512)).all(1).float().mean() > 0.95
        assert 24 <= shot.focal_35mm <= 85


def test_development_is_reproducible_and_noise_has_the_model_s_variance():
    shot = replace(
        draw_shot(np.random.default_rng(0)), exposure=1.0, white_balance=(1.0, 1.0, 1.0), blur_px=0.05, contrast=0.0,
        saturation=1.0, sharpening=0.0, rescale=1.0, chroma_smoothing_px=0.01, shot_noise=4e-4, read_noise=2e-3,
    )  # fmt: skip
    grey = np.full((256, 256, 3), 0.2, np.float32)
    first, second = (developed(grey, shot, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    from relit.appearance.colour import linear_from_srgb

    linear = linear_from_srgb(torch.from_numpy(first.astype(np.float32) / 255))
    assert abs(float(linear.mean()) - 0.2) < 0.002
    assert float(linear.std()) == pytest.approx((4e-4 * 0.2 + 4e-6) ** 0.5, rel=0.1)


def test_age_changes_the_shape_evenly_and_replaces_what_age_an_identity_shows(subjects):
    model = load_head_model()
    young, middle, old = (neutral_of(replace(subjects[0], age_years=age), model) for age in (20.0, 50.0, 80.0))
    face = model.face_weight > 0.5
    assert (old - young)[face].norm(dim=1).mean() > 8e-4
    # but for the lids, which are laid on the eyes
    assert ((old - middle) - (middle - young))[face].norm(dim=1).median() < 1e-6
    plain, change = aged(torch.from_numpy(subjects[0].identity), model, 32.0, 0.5)
    assert change.abs().max() < 1e-9
    again, _ = aged(plain, model, 60.0, 0.5)
    assert torch.allclose(plain, again, atol=1e-5)


def test_further_lights_light_the_training_split_alone_and_bad_ones_are_refused_by_name(tmp_path):
    rows, columns = 32, 64
    rgbe = np.full((rows, columns, 4), 128, np.uint8)
    rgbe[8:12, 30:40, 3] = 133
    header = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 32 +X 64\n"
    (tmp_path / "own.hdr").write_bytes(header + rgbe.tobytes())
    folders = (str(tmp_path),)
    assert "own.hdr" in panorama_names("train", folders) and "own.hdr" not in panorama_names("test", folders)
    assert panorama_names("train") == panorama_names("train", folders)[:-1]
    light = stored_lighting("own.hdr", folders)
    assert torch.isfinite(light.sh).all() and float(light.sh[0].mean()) > 0
    assert backdrop("own.hdr", folders).max() > 0
    names = {n for k in range(80) for n in draw_scene("train", (0, 0, 1), np.random.default_rng(k), folders=folders).names}
    assert "own.hdr" in names
    other = tmp_path / "bad"
    other.mkdir()
    with pytest.raises(InputError, match="holds no lights"):
        panorama_names("train", (str(other),))
    (other / "broken.hdr").write_bytes(b"no picture")
    with pytest.raises(InputError, match="broken.hdr"):
        panorama_names("train", (str(other),))
    (other / "broken.hdr").write_bytes(header + bytes(rows * columns * 4))
    with pytest.raises(InputError, match="black"):
        panorama_names("train", (str(other),))

"""Laws of synthetic data sets: same bytes, nothing lost by an interrupt, every file read back."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from relit.appearance.lighting import uniform_lighting
from relit.cli import main
from relit.errors import InputError, OutputRefused
from relit.geometry.camera import look_at_face
from relit.models.head import PARTS, load_head_model
from relit.render.cards import drawn_cards
from relit.synth import writer
from relit.synth.camera import draw_shot
from relit.synth.geometry import pose
from relit.synth.hair_cards import load_style, style_names, worn
from relit.synth.layout import layout
from relit.synth.photo import GARMENT, region_labels
from relit.synth.sample import FILES, MICRON_ZERO, Order, make_sample
from relit.synth.skin import maps_of
from relit.synth.subject import draw_subject
from relit.synth.uv_pair import BACK_MM, baked_occlusion, light_texture
from relit.synth.writer import MANIFEST, read_dataset, write_dataset
from relit.types import Lighting

SMALL = Order("uv", count=5, seed=3, size=128, shard_size=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "set"
    write_dataset(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def posed():
    return pose(draw_subject(1, 0), load_head_model())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def image(data, flags=cv2.IMREAD_UNCHANGED):
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def test_same_seed_same_bytes(whole):
    samples = dict(read_dataset(whole))
    assert list(samples) == [f"{k:08d}" for k in range(5)]
    assert samples["00000003"] == make_sample(SMALL, 3)
    assert make_sample(replace(SMALL, seed=4), 3) != samples["00000003"]


@pytest.mark.parametrize("cut", [0, 700, 150_000, -1])
def test_an_interrupt_loses_nothing(whole, tmp_path, cut, monkeypatch):
    folder = tmp_path / "set"
    shutil.copytree(whole, folder)
    last, middle = folder / "shard-000002.tar", folder / "shard-000001.tar"
    last.unlink()
    data = middle.read_bytes()
    middle.unlink()
    middle.with_suffix(".tar.partial").write_bytes(data[:cut] if cut >= 0 else data[:-1024])
    made = []
    monkeypatch.setattr(writer, "make_sample", lambda order, index: made.append(index) or make_sample(order, index))
    write_dataset(folder, SMALL)
    assert contents(folder) == contents(whole)
    assert made == ([4] if cut < 0 else [2, 3, 4] if cut < 500_000 and cut < len(data) // 2 else [3, 4])


def test_a_crash_while_writing_can_be_resumed(whole, tmp_path, monkeypatch):
    folder = tmp_path / "set"

    def failing(order, index):
        if index == 3:
            raise KeyboardInterrupt
        return make_sample(order, index)

    monkeypatch.setattr(writer, "make_sample", failing)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(folder, SMALL)
    monkeypatch.undo()
    write_dataset(folder, SMALL)
    assert contents(folder) == contents(whole)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(whole, tmp_path):
    folder = tmp_path / "set"
    write_dataset(folder, SMALL, workers=2)
    assert contents(folder) == contents(whole)


def test_a_folder_with_something_else_is_refused(whole, tmp_path):
    with pytest.raises(OutputRefused, match="another data set"):
        write_dataset(whole, replace(SMALL, seed=9))
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(OutputRefused, match=MANIFEST):
        write_dataset(tmp_path, SMALL)


@pytest.mark.parametrize("wrong", [{"kind": "film"}, {"split": "dev"}, {"count": 0}, {"size": 32}])
def test_impossible_orders_are_refused(wrong, tmp_path):
    with pytest.raises(InputError):
        write_dataset(tmp_path / "set", replace(SMALL, **wrong))


def test_pairs_read_back_as_what_they_say(whole):
    coded = dict(read_dataset(whole))["00000000"]
    assert tuple(coded) == FILES["uv"]
    subject = draw_subject(SMALL.seed, 0)
    maps = maps_of(subject, 128, baked_occlusion(pose(subject, load_head_model()), 128))
    albedo = image(coded["albedo.png"])[..., ::-1] / np.float32(255)
    from relit.appearance.colour import srgb_from_linear

    assert np.abs(albedo - srgb_from_linear(maps.diffuse_albedo).numpy()).max() < 0.003
    relief = image(coded["displacement.png"]).astype(np.float32) - MICRON_ZERO
    assert np.abs(relief / 1000 - maps.displacement_mm.numpy()).max() < 6e-4
    normal = image(coded["specular_normal.png"])[..., ::-1] / 127.5 - 1
    assert np.abs(normal - maps.specular_normal.numpy()).max() < 0.005
    facts = json.loads(coded["json"])
    assert facts["subject"]["ita_deg"] == pytest.approx(subject.ita_deg, abs=1e-4)
    assert np.shape(facts["light"]["sh"]) == (81, 3) and len(facts["landmarks_px"]) == 478


def test_photos_and_their_labels_agree():
    files = make_sample(Order("photo", count=1, size=128), 0)
    assert tuple(files) == FILES["photo"]
    photo, mask, region = image(files["photo.jpg"]), image(files["mask.png"]), image(files["region.png"])
    coverage, hair, depth = (image(files[f"{name}.png"]) for name in ("coverage", "hair", "depth"))
    assert photo.shape == (512, 512, 3) and photo.std() > 5
    assert ((mask > 0) == (depth > 0)).all()
    inside, outside = cv2.erode(mask, np.ones((5, 5))) > 0, cv2.dilate(mask, np.ones((5, 5))) == 0
    more = coverage.astype(int) - hair  # what is covered by skin alone
    assert coverage[inside].min() > 200 and np.abs(more[outside]).max() <= 1 and more.min() >= -1
    eye = 1 + PARTS.index("left_eye")
    assert (mask == 1).mean() > 0.1 and set(np.unique(mask)) <= set(range(GARMENT + 1)) and eye in mask
    assert (region[mask == 0] == 0).all() and len(np.unique(region)) > 8
    assert region_labels().max() <= 18


def test_hair_stays_outside_the_skin_and_hides_behind_the_head(posed):
    model = load_head_model()
    for name in style_names():
        style = load_style(name)
        place = worn(style, model, posed)
        near = style.bound[:, 0]
        gap = ((place - posed.vertices[near]) * posed.normals[near]).sum(1)
        close = (place - posed.vertices[near]).norm(dim=1) < 0.02
        assert gap[close].min() > 0.003 and (place - style.points).norm(dim=1).max() < 0.06
        assert int(style.triangles.max()) < len(place) and style.texture[..., 1].max() <= 1
    camera, sky = look_at_face((64, 64)), uniform_lighting()
    white = np.ones(3, np.float32)
    free = drawn_cards(style, place, white, camera, sky, torch.full((64, 64), torch.inf))
    hidden = drawn_cards(style, place, white, camera, sky, torch.full((64, 64), 0.5))
    assert free[..., 3].max() > 0.9 and free.min() >= 0 and free[..., 3].max() <= 1 and hidden.max() == 0
    assert free[..., :3].mean() <= 1.15 * free[..., 3].mean()  # white strands send out about what falls on them


def test_light_is_linear_and_shadow_is_dark(posed):
    maps, shot = maps_of(draw_subject(1, 0), 128, baked_occlusion(posed, 128)), draw_shot(np.random.default_rng(0))
    sh = torch.zeros(81, 3)
    sh[0] = 1.0
    sun = Lighting(sh, torch.tensor([[0.0, 0.6, 0.8]]), torch.ones(1, 3))
    once = light_texture(posed, maps, sun, shot)
    twice = light_texture(posed, maps, replace(sun, sh=2 * sh, irradiance=2 * sun.irradiance), shot)
    assert np.allclose(twice.radiance, 2 * once.radiance, rtol=1e-3, atol=1e-5)
    assert once.radiance.min() >= 0
    ambient = light_texture(posed, maps, Lighting(sh, torch.zeros(0, 3), torch.zeros(0, 3)), shot)
    skin = layout(128).part == 0
    away = skin & (layout(128).position_mm[..., 2] > BACK_MM) & (once.normal @ np.array([0.0, 0.6, 0.8]) < -0.3)
    # but for relief and the light that skin carries round the edge
    assert np.isclose(once.radiance[away], ambient.radiance[away], rtol=0.05, atol=2e-3).mean() > 0.97
    # what skin sends out is less than what falls on it: radiance below that of a white, fully lit surface
    assert (ambient.radiance[skin] <= 1.02 * float(sh[0, 0]) / np.sqrt(4 * np.pi)).all()


def test_what_the_camera_sees_faces_it(posed):
    maps, shot = maps_of(draw_subject(1, 0), 128, baked_occlusion(posed, 128)), draw_shot(np.random.default_rng(0))
    front = replace(shot, yaw_rad=0.0, pitch_rad=0.0)
    lit = light_texture(posed, maps, Lighting(torch.zeros(81, 3), torch.zeros(0, 3), torch.zeros(0, 3)), front)
    skin = layout(128).part == 0
    assert 0.15 < lit.visible[skin].mean() < 0.7
    assert lit.visible[skin & (lit.normal[..., 2] < -0.1)].max() == 0
    nose = layout(128).masks["nose"] > 0.9
    assert lit.visible[nose & (lit.normal[..., 2] > 0.6)].mean() > 0.9


def test_the_command_line_makes_sets_and_sheets(tmp_path, capsys):
    assert main(["synth", str(tmp_path / "set"), "--count", "1", "--size", "128", "--workers", "1", "--json"]) == 0
    assert len(dict(read_dataset(tmp_path / "set"))) == 1
    assert main(["synth", "sheet", str(tmp_path / "sheet.png"), "--count", "2", "--size", "128"]) == 0
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (256, 512, 3)
    assert main(["synth", "sheet", str(tmp_path / "sheet.jpg")]) == 2
    assert main(["synth", str(tmp_path / "x"), "--split", "dev"]) == 2
    assert "train, test" in capsys.readouterr().err

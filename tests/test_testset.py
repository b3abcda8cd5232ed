"""Laws of the path-traced test sets: apart from training, true to their light and shape, read back as written."""

import hashlib
import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from relit.appearance.lighting import diffuse_irradiance, equirect_from_lighting, equirect_grid
from relit.errors import InputError
from relit.models.head import eye_centres, lid_edge_points, load_head_model
from relit.synth.light import Lamp, draw_scene
from relit.synth.panoramas import panorama_names, stored_lighting
from relit.synth.split import SPLITS, TEST_LIGHTS, TEST_SKINS, of_split, stream
from relit.synth.subject import neutral_of
from relit.testset import build
from relit.testset.build import prepared, samples_of, write_set
from relit.testset.files import SHAPE_UNIT_M, SHARD_BYTES, metered, write_shards
from relit.testset.labels import Labels
from relit.testset.scene_file import SENT_BACK, TAKEN_BY_GLOSS, base_colour, scene_arrays, surroundings
from relit.testset.sets import SETS, SPLIT, hard_share, subjects_of, takes_of
from relit.testset.sets import test_set as set_of
from relit.testset.shape import DEVIATION_M, LIPS, true_neutral

SHIPPED = Path(__file__).resolve().parents[1] / "testsets"
BLENDER = Path(os.environ.get("RELIT_BLENDER", ".blender"))


class FromHarmonics:
    """Panoramas made of the stored lights: no original files are needed."""

    def read(self, name: str) -> np.ndarray:
        return equirect_from_lighting(stored_lighting(name), 128).numpy()


@pytest.fixture(scope="module")
def swap():
    """The first subject of the texture-swap set, prepared."""
    return prepared(SETS["texture_swap"], 0)


def test_sets_share_nothing_with_training_or_with_each_other():
    from relit.synth.detail import atlas

    assert SPLIT == "test" and SPLITS.index("test") != SPLITS.index("train")
    assert len({wanted.seed for wanted in SETS.values()}) == len(SETS)
    people = [(s.split, s.seed, s.index) for wanted in SETS.values() for s in subjects_of(wanted)]
    assert len(set(people)) == len(people) == sum(wanted.subjects for wanted in SETS.values())
    takes = [take for wanted in SETS.values() for k in range(0, wanted.subjects, 5) for take in takes_of(wanted, k)]
    lights = {layer.name for take in takes for layer in take.scene.layers}
    assert lights and lights <= TEST_LIGHTS and not lights & set(panorama_names("train"))
    assert not set(atlas("train", 128)[0]) & set(atlas("test", 128)[0])
    assert not set(of_split(TEST_SKINS, "train", TEST_SKINS))
    seed = SETS["independent"].seed
    assert stream("test", seed, 0, 0).integers(1 << 62) != stream("train", seed, 0, 0).integers(1 << 62)


def test_tones_and_ages_are_spread_evenly_and_independently():
    people = subjects_of(SETS["independent"])
    tone = np.array([s.ita_deg for s in people])
    age = np.array([s.age_years for s in people])
    assert np.histogram(tone, 6, (-60, 60))[0].min() >= 9
    assert np.histogram(age, 3, (18, 82))[0].min() >= 14
    assert abs(np.corrcoef(tone, age)[0, 1]) < 0.25
    assert sum(bool(s.hair_style) for s in people) == 32
    assert 24 <= sum(s.marks.shave_shadow > 0 for s in people) <= 40


def test_photos_are_as_promised():
    wanted = SETS["independent"]
    takes = [takes_of(wanted, k) for k in range(0, wanted.subjects, 3)]
    assert all(abs(t.shot.yaw_rad) <= np.radians(25.01) for several in takes for t in several[:2])
    assert all("hard_shadow" not in several[0].tags for several in takes)
    assert sum("hard_shadow" in several[1].tags for several in takes) > len(takes) / 2
    assert sum(len(takes_of(wanted, k)) == 3 for k in range(0, wanted.subjects, 4)) == wanted.three
    for k in (0, 7):
        hard, soft = takes_of(SETS["texture_swap"], k)
        assert hard.shot == soft.shot and np.array_equal(hard.subject.expression, soft.subject.expression)
        assert hard_share(hard.scene) > 0.5 > hard_share(soft.scene)
    with pytest.raises(InputError, match="independent"):
        set_of("dependent")


def test_true_shapes_are_no_shapes_of_the_model():
    model = load_head_model()
    subject = subjects_of(SETS["independent"])[1]
    neutral, plain = true_neutral(subject, model), neutral_of(subject, model)
    offset = (neutral - plain).norm(dim=1)
    face = model.face_weight > 0.9
    assert 0.5 * DEVIATION_M < float(offset[face].square().mean().sqrt()) < 1.2 * DEVIATION_M
    assert float(offset.max()) < 5 * DEVIATION_M
    lids = lid_edge_points(model, neutral) - lid_edge_points(model, plain)
    assert float(lids.norm(dim=-1).max()) < 1e-5
    lips = (offset[model.landmark_triangles[list(LIPS)]] * model.landmark_barycentric[list(LIPS)]).sum(1)
    assert float(lips.max()) < 2e-4
    assert torch.allclose(eye_centres(model, neutral), eye_centres(model, plain))
    modes = model.identity_modes[:, face].flatten(1).T
    difference = (neutral - plain)[face].flatten()
    left = difference - modes @ torch.linalg.lstsq(modes, difference).solution
    assert float(left.norm() / difference.norm()) > 0.8


@pytest.mark.parametrize("kind", ["panorama", "mixed", "window", "coloured"])
def test_surroundings_shine_like_the_light_in_the_record(kind):
    scene = draw_scene("test", np.array([0.0, 0.1, 1.0]), np.random.default_rng(5), kind)
    picture = torch.from_numpy(surroundings(scene, FromHarmonics()))
    directions, area = equirect_grid(*picture.shape[:2])
    normals = torch.nn.functional.normalize(torch.tensor([[0, 0, 1.0], [1, 0, 0.3], [-1, 0.2, 0], [0, 1, 0]]), dim=1)
    cosine = torch.einsum("hwc,nc->nhw", directions, normals).clamp_min(0)
    found = torch.einsum("nhw,hwc,h->nc", cosine, picture, area)
    told = diffuse_irradiance(scene.lighting.sh, normals) + (normals @ scene.lighting.directions.T).clamp_min(
        0
    ) @ scene.lighting.irradiance
    assert torch.allclose(found, told, rtol=0.08, atol=0.05 * float(told.max()))


def test_a_lamp_has_its_place_size_and_power():
    from relit.testset.scene_file import _disk

    lamp = Lamp(torch.tensor([0.6, 0.0, 0.8]), 0.2, torch.tensor([1.0, 2.0, 3.0]))
    directions, area = equirect_grid(512, 1024)
    disk = torch.from_numpy(_disk(lamp, directions))
    cosine = (directions @ lamp.direction).clamp_min(0)
    assert torch.allclose(torch.einsum("hw,hwc,h->c", cosine, disk, area), lamp.irradiance, rtol=0.01)
    assert not disk[cosine < np.cos(0.21)].any()


def test_base_colour_undoes_what_the_path_tracer_takes():
    assert (np.diff(SENT_BACK) > 0).all()
    albedo, f0 = np.full((1, 1, 3), 0.0987), np.zeros((1, 1))
    assert np.allclose(base_colour(albedo, f0), 0.12, atol=1e-3)
    assert (base_colour(albedo, f0 + 0.03) > base_colour(albedo, f0)).all() and 1 - 0.03 * TAKEN_BY_GLOSS > 0.95


def test_skin_is_neither_burnt_out_nor_lost(swap):
    labels = Labels(np.ones((8, 8), np.uint8), np.zeros((8, 8)), np.zeros((8, 8)))
    for radiance in (0.001, 0.2, 30.0):
        shot = metered(swap.takes[0].shot, np.full((8, 8, 3), radiance, np.float32), labels)
        assert 0.035 < shot.exposure * radiance < 0.8


def test_scene_files_hold_a_whole_subject(swap):
    arrays = scene_arrays(swap.takes[0], swap.posed[0], swap.maps, FromHarmonics(), swap.props[0])
    assert arrays["quads"].max() < len(arrays["vertices"]) == len(arrays["cornea"])
    assert arrays["quad_uv"].shape == (len(arrays["quads"]), 4, 2) and len(arrays["quad_part"]) == len(arrays["quads"])
    iris = arrays["iris_vertices"]
    assert 20 < len(iris) and np.linalg.norm(iris - iris.mean(0), axis=1).max() < 0.05
    assert np.isfinite(arrays["lash_vertices"]).all() and len(arrays["lamp_radii"]) == 1
    if "strands" in arrays:
        strands = arrays["strands"]
        assert len(strands) > 4000 and np.isfinite(strands).all()
        assert np.linalg.norm(np.diff(strands, axis=1), axis=2).max() < 0.08


def test_a_set_is_read_back_as_it_was_written(swap, tmp_path, monkeypatch):
    wanted = replace(SETS["texture_swap"], subjects=1)
    monkeypatch.setattr(build, "prepared", lambda *_: swap)
    for take in swap.takes:
        np.save(tmp_path / f"{take.key}.npy", np.full((512, 512, 4), 0.3, np.float16))
    samples = samples_of(wanted, tmp_path)
    write_set(wanted, samples, tmp_path / "set")
    manifest = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert manifest["seed"] == wanted.seed and manifest["photos"] == 2
    assert "Test set `texture_swap`" in (tmp_path / "set" / "README.md").read_text(encoding="utf-8")
    before = (tmp_path / "set" / "shard-000.tar").read_bytes()
    (tmp_path / "t00.tar").unlink()
    write_set(wanted, samples_of(wanted, tmp_path), tmp_path / "set")
    assert (tmp_path / "set" / "shard-000.tar").read_bytes() == before
    check_folder(tmp_path / "set")
    steps = np.load(io.BytesIO(samples["t00"]["shape.npz"]))["steps"]
    read = np.cumsum(steps.astype(np.int32), 0) * SHAPE_UNIT_M
    assert np.abs(read - swap.neutral.numpy()).max() < 1.01 * SHAPE_UNIT_M


def test_shards_are_cut_between_samples(tmp_path):
    samples = {f"s{k:02d}": {"a.bin": bytes(SHARD_BYTES // 3)} for k in range(5)}
    shards = write_shards(samples, tmp_path)
    assert [shard["samples"] for shard in shards] == [2, 2, 1]
    assert all(shard["bytes"] <= SHARD_BYTES + 20480 for shard in shards)


@pytest.mark.parametrize("name", list(SETS))
def test_shipped_sets_are_whole(name):
    folder = SHIPPED / name
    if not folder.exists():
        pytest.skip("the sets are not part of this copy")
    keys = check_folder(folder)
    wanted = SETS[name]
    assert sum("_" not in key for key in keys) == wanted.subjects
    assert sum("_" in key for key in keys) == 2 * wanted.subjects + wanted.three


def check_folder(folder: Path) -> list[str]:
    """The keys of a set after its hashes, its manifest and its first photo were checked."""
    manifest = json.loads((folder / "dataset.json").read_text())
    files: dict[str, dict[str, bytes]] = {}
    for shard in manifest["shards"]:
        data = (folder / shard["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == shard["sha256"] and len(data) <= 16 * 2**20
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                assert extension in manifest["files"]
                files.setdefault(key, {})[extension] = tar.extractfile(member).read()
    photo = next(key for key in files if "_" in key)
    image = lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # noqa: E731
    assert image(files[photo]["photo.jpg"]).shape == (512, 512, 3)
    record = json.loads(files[photo]["json"])
    assert np.shape(record["landmarks_px"]) == (478, 2) and np.shape(record["light"]["sh"]) == (81, 3)
    owner = files[record["subject"]]
    assert image(owner["displacement.png"]).dtype == np.uint16
    assert image(owner["albedo.webp"]).shape == image(owner["specular_normal.webp"]).shape == (512, 512, 3)
    part = image(files[photo]["mask.png"])
    points = np.array(record["landmarks_px"])[[1, 199, 4]].astype(int)
    assert (part[points[:, 1], points[:, 0]] == 1).all()  # nose and chin are skin
    return list(files)


@pytest.mark.slow
@pytest.mark.skipif(not (BLENDER / "bin" / "python").exists(), reason="no environment with bpy")
@pytest.mark.parametrize("albedo", [(0.57, 0.36, 0.27), (0.08, 0.045, 0.03)])
def test_under_uniform_light_the_path_traced_skin_shows_its_albedo(albedo, swap, tmp_path):
    from relit.testset.blender import Cycles

    f0, size = 0.028, swap.maps.roughness.shape
    maps = replace(
        swap.maps,
        diffuse_albedo=torch.tensor(albedo).expand(*size, 3).contiguous(),
        specular_albedo=torch.full(size, f0),
        roughness=torch.full(size, 0.5),
        specular_normal=torch.tensor([0.0, 0.0, 1.0]).expand(*size, 3).contiguous(),
    )
    bare = replace(swap.takes[0], subject=replace(swap.takes[0].subject, hair_style=""))
    arrays = scene_arrays(bare, swap.posed[0], maps, FromHarmonics(), ())
    arrays |= {
        "panorama": np.ones((32, 64, 3), np.float32),
        "lamp_directions": np.zeros((0, 3)),
        "lamp_radii": np.zeros(0),
        "lamp_irradiances": np.zeros((0, 3)),
        "albedo": base_colour(maps.diffuse_albedo.numpy(), maps.specular_albedo.numpy()),
        "f0": maps.specular_albedo.numpy(),
        "roughness": maps.roughness.numpy(),
    }
    np.savez(tmp_path / "scene.npz", **arrays)
    with Cycles(BLENDER, 16, 1) as cycles:
        cycles.ask(tmp_path / "scene.npz", tmp_path / "picture.npy")
        cycles.wait()
    rendered = np.load(tmp_path / "picture.npy").astype(float)
    from relit.geometry.camera import project
    from relit.synth.camera import camera_of

    model = load_head_model()
    marks = (swap.posed[0].vertices[model.landmark_triangles] * model.landmark_barycentric[..., None]).sum(1)
    x, y = project(camera_of(bare.shot, (512, 512)), marks)[[9, 151, 4]].numpy().astype(int)[:, :2].T  # brow to nose tip
    seen = rendered[y, x, :3].mean(0) - f0
    assert np.allclose(seen / albedo, 1, atol=0.12)  # the face is no sphere: it shades itself and reflects itself

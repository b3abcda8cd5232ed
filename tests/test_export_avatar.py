"""The avatar folder: complete, valid for the Khronos validator, and the same head when read back."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import torch

from fixtures_head import synthetic_head
from relit.errors import InputError, OutputRefused
from relit.export import avatar as avatars
from relit.export import preview
from relit.export.glb import LASHES, MATERIALS, NORMAL_STEP, POSITION_STEP_M, write_glb
from relit.export.schema import MADE, MAPS
from relit.geometry.camera import project
from relit.methods import WEIGHTS
from relit.models.head import ARKIT_NAMES, landmark_points, load_head_model, posed_vertices
from relit.render.lashes import lashes_of
from relit.types import Head

CONTRACT = """avatar.json head.glb head.obj head.mtl maps/diffuse_albedo.png maps/specular_albedo.png maps/roughness.png
    maps/diffuse_normal.png maps/specular_normal.png maps/displacement.exr maps/lashes.png preview.png report.html""".split()


def a_disc(head, camera, lighting, expression=None, gaze_rad=None, background=None, supersample=2):
    """In place of the renderer, whose own tests judge it: a disc of skin colour."""
    width, height = camera.size_px
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = ((x - width / 2) ** 2 + (y - height / 2) ** 2 < (0.3 * width) ** 2).float()[..., None]
    return inside * torch.tensor([0.4, 0.25, 0.2, 1.0])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    head, observations = synthetic_head()
    folder = tmp_path_factory.mktemp("made") / "avatar"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preview, "render_head", a_disc)
        avatars.write_avatar(head, observations, folder, {"fit": 1.5})
    return head, observations, folder


def test_the_folder_holds_what_the_contract_names(written):
    _, _, folder = written
    assert [name for name in CONTRACT if not (folder / name).is_file()] == []
    assert [path for path in folder.parent.iterdir() if path != folder] == []


def test_the_record_tells_how_the_head_came_to_be(written):
    head, _, folder = written
    record = json.loads((folder / "avatar.json").read_text())
    assert record["schema"] == "relit-avatar" and record["schema_version"] == 1
    assert record["method"] == "classical" and re.fullmatch(r"[0-9a-f]{64}", record["asset_sha256"]["head"])
    assert record["seconds"]["fit"] == 1.5 and record["seconds"]["files"] > 0
    assert record["warnings"] == ["small <photo>", "the face is small"]
    photo = record["photos"][0]
    assert photo["pose"]["yaw_deg"] == pytest.approx(0, abs=0.01) and photo["pose"]["distance_m"] > 0.5
    assert photo["expression"]["jawOpen"] == head.fits[0].expression[ARKIT_NAMES.index("jawOpen")] == 0.25
    assert len(photo["lighting"]["sh"]) == 81


def test_what_made_each_map_names_weights_of_the_method(written):
    record = json.loads((written[2] / "avatar.json").read_text(encoding="utf-8"))
    assert all(record["maps"][name]["made"] for name in MAPS)
    for method, maps in MADE.items():
        names = [name for made in maps.values() for name in re.findall(r"[a-z]+_[a-z_]+|delighting", made)]
        assert set(maps) <= set(MAPS) and set(names) <= set(WEIGHTS[method])


def test_an_avatar_read_back_is_the_same_head(written):
    head, _, folder = written
    read = avatars.load_avatar(folder)
    assert torch.equal(read.vertices, head.vertices) and torch.equal(read.iris_colour, head.iris_colour)
    assert (read.morphs - head.morphs).abs().max() < 2e-5  # half-float millimetres
    for name in vars(head.maps):
        assert (getattr(read.maps, name) - getattr(head.maps, name)).abs().max() < 0.006, name
    ours, theirs = head.fits[0], read.fits[0]
    for name in ("identity", "expression", "gaze_rad", "vertex_offset", "albedo", "exposure"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    for name in ("sh", "directions", "irradiance"):
        assert torch.equal(getattr(ours.lighting, name), getattr(theirs.lighting, name)), name
    assert torch.equal(ours.camera.camera_from_head, theirs.camera.camera_from_head)
    assert (ours.method, ours.energies, ours.warnings) == (theirs.method, theirs.energies, theirs.warnings)


@pytest.mark.parametrize("name", ["avatar.json", "head.safetensors", "maps/roughness.png", "maps/displacement.exr"])
def test_a_damaged_avatar_is_one_line(written, tmp_path, name):
    shutil.copytree(written[2], tmp_path / "avatar")
    (tmp_path / "avatar" / name).write_bytes(b"{}")
    with pytest.raises(InputError) as caught:
        avatars.load_avatar(tmp_path / "avatar")
    assert "\n" not in str(caught.value) and "avatar" in str(caught.value)


def test_a_failure_in_the_middle_leaves_nothing(written, tmp_path, monkeypatch):
    head, observations, _ = written

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(avatars, "write_obj", full)
    with pytest.raises(OutputRefused, match="disk is full"):
        avatars.write_avatar(head, observations, tmp_path / "avatar")
    assert list(tmp_path.iterdir()) == []


def test_two_photos_of_one_head_are_written_and_read_back(written, tmp_path, monkeypatch):
    head, observations, _ = written
    monkeypatch.setattr(preview, "render_head", a_disc)
    two = replace(head, fits=head.fits * 2)  # which share all that belongs to the person
    avatars.write_avatar(two, observations * 2, tmp_path / "avatar")
    found = avatars.load_avatar(tmp_path / "avatar")
    assert len(found.fits) == 2
    assert all(torch.equal(fit.vertex_offset, head.fits[0].vertex_offset) for fit in found.fits)


def test_the_report_needs_no_other_file_and_escapes_names(written):
    page = (written[2] / "report.html").read_text()
    assert len(page) < 6e6
    assert not re.search(r'(src|href)="(?!data:)', page) and "url(" not in page
    assert "small &lt;photo&gt;" in page and "<photo>" not in page
    for text in ("New light", "New views", "Maps", "Time", "Camera and pose", 'name="viewport"'):
        assert text in page


def test_the_preview_is_five_tiles(written):
    import cv2

    width, height = preview.TILE_PX
    assert cv2.imread(str(written[2] / "preview.png")).shape == (height, 5 * width, 3)


def test_photos_called_alike_stay_apart():
    assert preview.distinct(["a.jpg", "b.jpg", "a.jpg", "a.jpg"]) == ["a.jpg", "b.jpg", "a.jpg (2)", "a.jpg (3)"]


def test_obj_keeps_quads_and_every_position(written):
    head, _, folder = written
    model, lines = load_head_model(), (folder / "head.obj").read_text().splitlines()
    rows = {word: [line.split()[1:] for line in lines if line.split()[0] == word] for word in ("v", "vt", "vn", "f")}
    assert np.abs(np.array(rows["v"], float)[: len(head.vertices)] - head.vertices.numpy()).max() < 1e-6
    corners = np.array([[corner.split("/") for corner in face] for face in rows["f"] if len(face) == 4], int) - 1
    assert corners.shape == (len(model.quads), 4, 3)
    by_corner = {tuple(quad): render for quad, render in zip(model.quads.tolist(), model.render_quads.tolist(), strict=True)}
    uv = np.array(rows["vt"], float)
    for face in corners[::997]:
        render = by_corner[tuple(face[:, 0].tolist())]
        assert np.allclose(uv[face[:, 1]], model.uv.numpy()[render] * [1, -1] + [0, 1], atol=1e-6)
    materials = set(re.findall(r"^newmtl (.*)$", (folder / "head.mtl").read_text(), re.M))
    assert materials == {*MATERIALS, LASHES} == {line.split()[1] for line in lines if line.startswith("usemtl")}
    factors = re.findall(r"^K[ds] (.*)$", (folder / "head.mtl").read_text(), re.M)
    assert set(factors) == {"1 1 1"}  # the maps say everything


def test_glb_holds_the_head_in_metres_with_named_morphs(written):
    head, _, folder = written
    document = pygltflib.GLTF2.load_binary(str(folder / "head.glb"))
    mesh = document.meshes[0]
    assert mesh.extras["targetNames"] == list(ARKIT_NAMES) and len(mesh.primitives) == len(MATERIALS) + 1
    assert [material.name for material in document.materials] == [*MATERIALS, LASHES]
    assert document.extensionsUsed == ["KHR_materials_ior", "KHR_materials_specular"]
    assert document.nodes[0].rotation is None and document.nodes[0].scale is None
    model, skin = load_head_model(), mesh.primitives[0]
    triangles = model.render_triangles[model.part == 0].numpy()
    rows = np.unique(triangles)
    weld = model.render_vertex.numpy()[rows]
    position = _read(document, skin.attributes.POSITION)
    assert np.array_equal(position, head.vertices.numpy()[weld])
    index = _read(document, skin.indices).reshape(-1, 3)
    assert np.array_equal(rows[index], triangles)
    jaw = ARKIT_NAMES.index("jawOpen")
    moved = _read(document, skin.targets[jaw]["POSITION"])
    assert np.abs(moved - head.morphs[jaw].numpy()[weld]).max() <= POSITION_STEP_M
    assert np.abs(moved).max() > 0.005
    normal, turn = _read(document, skin.attributes.NORMAL), _read(document, skin.targets[jaw]["NORMAL"])
    assert np.abs(np.linalg.norm(normal + turn, axis=1) - 1).max() < 2 * NORMAL_STEP
    tangent = _read(document, skin.attributes.TANGENT)
    assert np.abs((tangent[:, :3] * normal).sum(1)).max() < 1e-4


def test_lashes_close_with_the_lids(written):
    head, _, folder = written
    document = pygltflib.GLTF2.load_binary(str(folder / "head.glb"))
    lashes, material = document.meshes[0].primitives[-1], document.materials[-1]
    assert material.alphaMode == "BLEND" and document.images[-1].mimeType == "image/png"
    placed = _read(document, lashes.attributes.POSITION)
    closed = [_read(document, lashes.targets[ARKIT_NAMES.index(f"eyeBlink{side}")]["POSITION"]) for side in ("Left", "Right")]
    assert not _read(document, lashes.targets[ARKIT_NAMES.index("jawOpen")]["POSITION"]).any()
    for moved, side in zip(closed, (placed[:, 0] > 0, placed[:, 0] < 0), strict=True):
        assert not moved[~side].any() and np.quantile(moved[side][:, 1], 0.1) < -0.005  # the upper lid goes down
    cards, at = lashes_of(load_head_model(), head.vertices)
    assert np.array_equal(placed, at.numpy()) and len(cards.uv) == len(placed)
    text = (folder / "head.obj").read_text().split("usemtl lashes\n")[1].splitlines()
    corner = np.array([[c.split("/") for c in line.split()[1:]] for line in text], int)
    assert (corner[..., 0] - len(head.vertices) > 0).all() and corner[..., 0].max() == len(head.vertices) + len(placed)


def test_reflectance_in_the_glb_is_the_map(written):
    head, _, folder = written
    document = pygltflib.GLTF2.load_binary(str(folder / "head.glb"))
    ior = document.materials[0].extensions["KHR_materials_ior"]["ior"]
    peak = ((ior - 1) / (ior + 1)) ** 2
    assert peak == pytest.approx(max(0.04, float(head.maps.specular_albedo.max())), rel=1e-4)


def test_the_khronos_validator_finds_nothing(written, tmp_path):
    validator = _validator()
    head = synthetic_head((64, 64))[0]
    square = tmp_path / "square.glb"
    write_glb(head, load_head_model(), square)
    script = (
        "const v=require(process.argv[1]),fs=require('fs');"
        "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2]))).then(r=>console.log(JSON.stringify(r.issues)))"
    )
    for file in (square, written[2] / "head.glb"):
        said = subprocess.run(["node", "-e", script, validator, str(file)], capture_output=True, text=True, check=True).stdout
        issues = json.loads(said)
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"][:5]


def test_a_portrait_is_lit_by_the_renderer():
    head: Head = synthetic_head((64, 64))[0]
    from relit.appearance.lighting import uniform_lighting

    picture = preview.portrait(head, uniform_lighting(), yaw_deg=20, size_px=(96, 96), backdrop=False)
    assert picture.shape == (96, 96, 4) and picture.dtype == np.uint8
    assert picture[48, 48, 3] == 255 and picture[0, 0, 3] == 0 and picture[48, 48, :3].min() > 20


def _read(document, number) -> np.ndarray:
    """The numbers of an accessor, dense or sparse, read by the letter of the glTF specification."""
    accessor, blob = document.accessors[number], document.binary_blob()
    kinds = {5126: np.float32, 5123: np.uint16, 5125: np.uint32}
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor.type]

    def view(index, kind, count):
        start = document.bufferViews[index].byteOffset
        return np.frombuffer(blob, kind, count, start)

    kind = kinds[accessor.componentType]
    if accessor.bufferView is not None:
        return view(accessor.bufferView, kind, accessor.count * width).reshape(-1, width)
    values = np.zeros((accessor.count, width), kind)
    if accessor.sparse:
        some = accessor.sparse
        rows = view(some.indices.bufferView, kinds[some.indices.componentType], some.count)
        values[rows] = view(some.values.bufferView, kind, some.count * width).reshape(-1, width)
    return values


def _validator() -> str:
    """The path of npm's gltf-validator, installed into a cache outside the project on first use."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not here: the Khronos validator cannot run")
    cache = Path.home() / ".cache" / "relit" / "gltf-validator"
    module = cache / "node_modules" / "gltf-validator"
    if not module.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(cache)]
        try:
            done = subprocess.run([*command, "gltf-validator@2.0.0-dev.3.10"], capture_output=True, timeout=60)
        except subprocess.TimeoutExpired:
            pytest.skip("npm did not answer: the Khronos validator cannot be installed")
        if done.returncode or not module.exists():
            pytest.skip(f"npm could not install the Khronos validator: {done.stderr.decode()[-200:]}")
    return str(module)


def test_the_overlay_keeps_what_covers_the_face(written, monkeypatch):
    head, (seen, *_), _ = written
    monkeypatch.setattr(preview, "render_head", lambda head, camera, *_, **__: torch.ones(*camera.size_px[::-1], 4))
    model, fit = load_head_model(), head.fits[0]
    vertices = posed_vertices(model, head.vertices, fit.expression, fit.gaze_rad, head.morphs)
    points = project(fit.camera, landmark_points(model, vertices))[:, :2]
    seen = replace(seen, landmarks=replace(seen.landmarks, points_px=points))
    photo, camera = preview.photo_tile(seen, fit.camera)
    photo = torch.full_like(photo, 0.25)
    shown = lambda mask: preview.overlay(head, 0, photo, replace(seen, skin_mask=mask), camera)  # noqa: E731
    covered, bare = shown(torch.zeros_like(seen.skin_mask)), shown(torch.ones_like(seen.skin_mask))
    changed, all_face = ((picture - photo).abs().amax(-1) > 0.02 for picture in (covered, bare))
    assert 0 < changed.sum() < 0.15 * all_face.sum()  # eyes and mouth are the face's own
    hat = torch.ones_like(seen.skin_mask)
    hat[: hat.shape[0] // 2] = 0
    changed = (shown(hat) - photo).abs().amax(-1) > 0.02
    pictured = replace(seen.photo, linear=hat[..., None].repeat(1, 1, 3))
    shows = preview.photo_tile(replace(seen, photo=pictured), fit.camera)[0][..., 0] > 0.9
    assert torch.equal(changed[shows], all_face[shows])

"""The harness end to end on a set of one subject: reading, judging, resuming, and what it says when something is wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fixtures_testset import write_small_set
from relit.cli import main
from relit.errors import InputError
from relit.evaluation.case import Case
from relit.evaluation.contenders import Answer, Contender, canonical_face, contender, model_mesh, true_answer
from relit.evaluation.harness import Item, Plan, items_of, measured, recorded, spread, timed
from relit.evaluation.reference import Reference, face_mask
from relit.evaluation.testset import open_testset, read_photo, read_subject
from relit.methods import METHODS, WEIGHTS
from relit.models import registry
from relit.models.head import load_head_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_small_set(tmp_path_factory.mktemp("sets") / "small", letters=("a", "b", "c"))


@pytest.fixture(scope="module")
def case(folder):
    """The truth itself as the answer."""
    data = open_testset(folder)
    subject, photo = read_subject(data, "s00"), read_photo(data, "s00_a")
    return Case(Reference(subject, (photo,)), true_answer(subject, (photo,)))


def run(capsys, *arguments):
    code = main(["evaluate", "--json", *map(str, arguments)])
    return code, capsys.readouterr().out.strip().splitlines()[-1]


def test_truth_is_read_with_its_codings(folder):
    data = open_testset(folder)
    assert data.photos == ("s00_a", "s00_b", "s00_c") and data.subjects == ("s00",)
    subject, photo = read_subject(data, "s00"), read_photo(data, "s00_b")
    assert subject.neutral.shape == load_head_model().mean.shape
    assert subject.maps.diffuse_normal.norm(dim=-1).sub(1).abs().max() < 1e-5
    assert 0.01 < float(subject.maps.specular_albedo[torch.from_numpy(face_mask(512))].mean()) < 0.05
    assert photo.photo.linear.shape == (512, 512, 3) and photo.photo.focal_35mm is None
    assert (photo.part > 0).mean() > 0.2 and 0 <= photo.cover.min() <= photo.cover.max() <= 1


def test_the_truth_has_no_error(case):
    figures = measured(case)["metrics"]
    assert figures["albedo_psnr"]["whole"] == 100 and figures["albedo_ssim"]["visible"] == pytest.approx(1)
    assert figures["specular_normal_angle"]["whole"] < 0.1
    assert figures["surface_normal_angle"]["whole"] < 0.1 and figures["ita_error"]["absolute"] == 0
    assert figures["relit_psnr"]["mean"] == 100 and figures["relit_ssim"]["sun"] == pytest.approx(1)
    assert figures["now"]["mean"] < 1e-3 and figures["size_error"] < 1e-3 and figures["realy"]["nose"] < 1e-3


def test_the_camera_sees_about_half_of_the_face_and_nothing_outside_it(case):
    regions = case.reference.regions
    assert 0.4 < regions["visible"].sum() / regions["whole"].sum() < 0.95
    assert not (regions["visible"] & regions["unseen"]).any()
    assert np.array_equal(regions["visible"] | regions["unseen"], regions["whole"])


def test_the_canonical_face_has_the_size_of_a_face():
    vertices, triangles = canonical_face()
    assert vertices.shape == (468, 3) and triangles.shape == (898, 3) and triangles.max() == 467
    assert 0.13 < np.ptp(vertices[:, 0]) < 0.17


def test_results_are_resumed_and_stale_ones_made_again(folder, tmp_path, capsys):
    arguments = ("--method", "canonical", "--data", folder, "--output", tmp_path)
    code, last = run(capsys, *arguments, "--limit", 1)
    assert code == 0 and json.loads(last)["summary"]["canonical"]["solved"] == 1
    lines = tmp_path / "canonical.jsonl"
    first = lines.read_text()
    marked = first.replace('"tags"', '"kept": true, "tags"')
    lines.write_text(marked + first[:40])  # a line that an interrupt cut off
    code, last = run(capsys, *arguments, "--limit", 2)
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [r["key"] for r in records] == ["s00_a", "s00_b"] and records[0]["kept"] and "kept" not in records[1]
    assert json.loads(last)["summary"]["canonical"]["solved"] == 2
    plan = Plan(str(folder), tmp_path)
    assert [record["key"] for record in recorded(["canonical"], plan)["canonical"]] == ["s00_a", "s00_b"]
    lines.write_text(marked.replace('"version": "', '"version": "older'))
    assert recorded(["canonical"], plan) == {}
    assert run(capsys, *arguments, "--limit", 1)[0] == 0
    assert "kept" not in json.loads(lines.read_text())


def test_every_method_names_the_weights_that_its_results_hold_for(monkeypatch):
    parts = {f"prior_{kind}-{part}": {"sha256": f"{kind} {part}"} for kind in ("fitme", "ganfit") for part in (0, 1)}
    known = {**parts, **registry.cards()}
    monkeypatch.setattr(registry, "cards", lambda: known)
    assert set(WEIGHTS) == set(METHODS)
    versions = {name: contender(name).version for name in METHODS}
    assert len(set(versions.values())) == len({frozenset(names) for names in WEIGHTS.values()})


def test_what_is_wrong_is_told_in_one_line(folder, tmp_path, capsys):
    code, last = run(capsys, "--method", "clasical", "--data", folder, "--output", tmp_path)
    assert code == 2 and "no method 'clasical'" in last and "mediapipe" in last
    code, last = run(capsys, "--data", "nowhere", "--output", tmp_path)
    assert code == 2 and "nowhere is no test set" in last
    code, last = run(capsys, "--data", folder, "--size", "256", "--output", tmp_path)
    assert code == 2 and "--size must be 512 or more" in last
    with pytest.raises(InputError, match="no subject of small has three photos"):
        items_of(replace(open_testset(folder), photos=("s00_a", "s00_b")), 3)
    code, last = run(capsys, "--data", folder, "--method", "no.such.module:fit", "--output", tmp_path)
    assert code == 2 and "cannot be imported" in last


def test_altered_and_missing_shards_are_refused(folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    shard = copy / "shard-000.tar"
    altered = bytearray(shard.read_bytes())
    altered[len(altered) // 2] ^= 1
    shard.write_bytes(bytes(altered))
    with pytest.raises(InputError, match="SHA-256 differs"):
        open_testset(copy)
    shard.unlink()
    with pytest.raises(InputError, match="is missing"):
        open_testset(copy)


def test_three_photos_are_judged_as_one(folder, tmp_path, capsys):
    code, last = run(capsys, "--method", "canonical", "--data", folder, "--photos", "3", "--output", tmp_path)
    assert code == 0 and json.loads(last)["summary"]["canonical"]["photos"] == 1
    assert json.loads((tmp_path / "canonical.jsonl").read_text())["key"] == "s00_abc"


def test_a_swap_set_is_judged_by_its_pairs(folder):
    swap = replace(open_testset(folder), photos=("t00_hard", "t00_soft", "t01_hard", "t01_soft"))
    assert [(item.key, item.target) for item in items_of(swap, 1)] == [("t00_hard", "t00_soft"), ("t01_hard", "t01_soft")]


def outside(photos, size):
    """An outside method that knows the mean head only."""
    return Answer(model_mesh(load_head_model(), load_head_model().mean))


def broken(photos, size):
    """An outside method with a mistake in it."""
    return photos[7]


def test_a_method_that_crashes_is_told_and_tried_again(folder, tmp_path, capsys):
    arguments = ("--method", "test_evaluation_harness:broken", "--data", folder, "--output", tmp_path, "--limit", 1)
    for _ in range(2):
        code, last = run(capsys, *arguments)
        summary = json.loads(last)["summary"]["test_evaluation_harness.broken"]
        assert code == 0 and (summary["photos"], summary["solved"]) == (1, 0)
        lines = (tmp_path / "test_evaluation_harness.broken.jsonl").read_text().splitlines()
        assert len(lines) == 1 and json.loads(lines[0])["failure"].startswith("IndexError")


SEEN = []


def first(photos, size):
    """An outside method that notes what it was given."""
    SEEN.append(("first", photos[0]))
    return outside(photos, size)


def second(photos, size):
    """Another one."""
    SEEN.append(("second", photos[0]))
    return outside(photos, size)


def test_all_methods_of_a_photo_come_one_after_the_other_and_see_the_same_object(folder, tmp_path, capsys):
    arguments = ("--data", folder, "--output", tmp_path, "--limit", 2)
    methods = [("--method", f"test_evaluation_harness:{name}") for name in ("first", "second")]
    SEEN.clear()
    assert run(capsys, *methods[0], *methods[1], *arguments)[0] == 0
    assert [name for name, _ in SEEN] == ["first", "second"] * 2
    assert SEEN[0][1] is SEEN[1][1] is not SEEN[2][1] and SEEN[2][1] is SEEN[3][1]
    lines = tmp_path / "test_evaluation_harness.second.jsonl"
    lines.write_text(lines.read_text().splitlines()[0] + "\n")  # interrupted before the second method of the second photo
    SEEN.clear()
    assert run(capsys, *methods[0], *methods[1], *arguments)[0] == 0
    assert [(name, photo.name) for name, photo in SEEN] == [("second", "s00_b")]
    assert [json.loads(line)["key"] for line in lines.read_text().splitlines()] == ["s00_a", "s00_b"]


@pytest.mark.parametrize("count", [1, 2, 3, 24, 143, 144])
def test_every_beginning_of_a_run_is_spread_over_the_set(count):
    items = [Item(str(index), "", ()) for index in range(count)]
    order = [int(item.key) for item in spread(items)]
    assert sorted(order) == list(range(count))
    for length in range(1, count + 1):
        done = sorted(order[:length])
        assert np.diff([*done, done[0] + count]).max() <= 3 * count / length  # no gap is three times the mean one


def test_a_stage_that_was_shared_counts_in_the_total():
    answer = replace(outside([], (512, 512)), seconds={"fit": 20.0, "maps": 0.0})
    method = Contender("shared", "0", "", lambda photos, size: answer)
    assert timed(method, [], (512, 512))[1]["seconds"] == {"fit": 20.0, "maps": 0.0, "total": 20.0}


def test_an_outside_function_is_judged(folder, tmp_path, capsys):
    code, last = run(
        capsys, "--method", "test_evaluation_harness:outside", "--data", folder, "--output", tmp_path, "--limit", 1
    )
    figures = json.loads(last)["summary"]["test_evaluation_harness.outside"]["figures"]
    assert code == 0 and figures["now.mean"]["mean"] > 0.1 and "albedo_psnr.whole" not in figures
    kept = recorded(["test_evaluation_harness:outside"], Plan(str(folder), tmp_path))
    assert [record["key"] for record in kept["test_evaluation_harness.outside"]] == ["s00_a"]

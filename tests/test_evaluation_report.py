"""Laws of the landmark residual, the sheets and the results page."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from relit.evaluation.landmarks import landmark_residual, worst_landmarks
from relit.evaluation.portraits import GREY, crop
from relit.evaluation.report import bars, results_page, table, typology_group
from relit.evaluation.results import likeness
from relit.evaluation.shapes import ShapeRecord
from relit.evaluation.sheets import row, stack
from relit.geometry.camera import look_at_face, project
from relit.models.head import landmark_points, load_head_model
from relit.types import FaceFit, Landmarks, Lighting


@pytest.fixture(scope="module")
def model():
    return load_head_model()


@pytest.fixture(scope="module")
def fit(model):
    return FaceFit(
        method="test",
        camera=look_at_face((512, 512)),
        identity=torch.zeros(len(model.identity_modes)),
        expression=torch.zeros(52),
        gaze_rad=torch.zeros(2, 2),
        vertex_offset=torch.zeros_like(model.mean),
        albedo=torch.zeros(4),
        lighting=Lighting(torch.zeros(81, 3), torch.zeros(0, 3), torch.zeros(0, 3)),
        exposure=torch.ones(3),
        energies={},
    )


def seen_by(model, fit):
    points = project(fit.camera, landmark_points(model, model.mean))[:, :2]
    return Landmarks(points, torch.zeros(478), torch.zeros(52), 1.0)


def test_a_fit_explains_its_own_landmarks(model, fit):
    residual = landmark_residual(model, fit, seen_by(model, fit))
    assert residual.mean_percent < 1e-2
    assert residual.visible.sum() > 350


def test_a_shift_by_a_part_of_the_eye_distance_is_that_many_per_cent(model, fit):
    seen = seen_by(model, fit)
    unit = (seen.points_px[33] - seen.points_px[263]).norm()
    moved = replace(seen, points_px=seen.points_px + torch.tensor([0.02, 0.0]) * unit)
    assert landmark_residual(model, fit, moved).mean_percent == pytest.approx(2, abs=0.02)


def test_half_of_a_profile_is_hidden(model, fit):
    turned = replace(fit, camera=look_at_face((512, 512), yaw_rad=1.2))
    hidden = landmark_residual(model, turned, seen_by(model, turned)).visible
    assert not hidden[33] and hidden[263]  # turned to the subject's left: the right eye's corner faces away
    assert all(hidden[index] for index, _ in worst_landmarks(landmark_residual(model, turned, seen_by(model, turned))))


def test_tone_groups_follow_the_published_bounds():
    assert [typology_group(a) for a in (60, 50, 30, 20, 0, -50)] == [
        "very light", "light", "intermediate", "tan", "brown", "dark",
    ]  # fmt: skip


def test_crop_pads_with_grey_and_keeps_the_middle():
    picture = torch.rand(40, 60, 3)
    assert torch.allclose(crop(picture, (10, 5, 40, 35), 30), picture[5:35, 10:40], atol=1e-5)
    outside = crop(picture, (-20, -20, 20, 20), 40)
    assert (outside[:20, :20] - GREY).abs().max() < 1e-6 and torch.allclose(outside[20:, 20:], picture[:20, :20], atol=1e-5)


def test_sheets_line_up():
    small, wide = np.zeros((20, 30, 3), np.uint8), np.zeros((40, 100, 3), np.uint8)
    line = row([small, wide], 20)
    assert line.shape == (20, 80, 3)
    assert stack([line, small], gap=2).shape == (44, 80, 3)


def record(name, own, failed=False):
    if failed:
        return {"name": name, "failure": "NoFaceFound: none"}
    return {
        "name": name, "identity_own": own, "identity_new_mean": own + 0.1, "identity_new_worst": own + 0.2,
        "landmark_percent": 1.5, "skin_typology_deg": 35.0, "seconds": {"total": 50.0}, "peak_rss_gb": 2.0,
    }  # fmt: skip


def test_page_tells_what_was_met_and_what_failed():
    records = [record("a", 0.3), record("b", 0.7), record("c", 0, failed=True)]
    shapes = [ShapeRecord("ict_00", 1.0, 2.0, 1.2, 2.2, 1.0, 1.0, 0.5)]
    cost = {"size": 2048, "cold": {"fit": 60.0, "total": 80.0}, "warm": {"fit": 40.0, "total": 50.0}, "peak_rss_gb": 2.0}
    issues = {"a": {"numErrors": 0, "numWarnings": 0}, "b": {"numErrors": 0, "numWarnings": 0}}
    met = {line[0]: line[3] for line in bars(records, shapes, issues, cost)}
    assert met["portraits that become an avatar"] == "**no**" and met["landmark residual, visible points"] == "yes"
    assert met["gltf-validator on every GLB"] == "yes"
    quick = {"observe": 1.0, "landmarks": 4.0, "fit": 30.0, "maps": 14.0, "total": 49.0}
    costs = dict.fromkeys(("fit", "ganfit", "fitme"), cost) | {
        "yamaguchi": {**cost, "cold": {**quick, "total": 55.0}, "warm": quick},
        "command": {"size": "6144x4096", "runs": [{"wall": w, "pictures": 12.0, "peak_rss_gb": 5.0} for w in (95.0, 85.0)]},
    }
    page = results_page(records, shapes, issues, costs, "told apart")
    assert "| yamaguchi, after the fit | 15 | 20.00 | 14.00 | yes |" in page
    assert "| 83 s | 73 s | yes |" in page and "| 95 s | 85 s | **no** |" in page and "| 5.0 GB |  | yes |" in page
    assert "| ganfit | 60 | 80.00 | 50.00 | yes |" in page
    assert "told apart" in page and "NoFaceFound" in page and "50% less than 2.00 mm" in page and "/" + "work" not in page


def test_likeness_tells_how_far_people_are_apart(tmp_path):
    at = lambda x: [x, 0.0]  # noqa: E731
    people = [record(str(x), 0.1) | {"embeddings": {"photo": at(x), "own": at(x + 0.1)}} for x in (0.0, 0.5, 1.5)]
    worse = [person | {"identity_new_worst": 0.7} for person in people]
    text = likeness({"avatarme": people, "fitme": worse}, tmp_path)
    assert "| fitme | 3 | 0.10 | 0.20 | 3 of 3 | 0 of 3 | 0.0 % |" in text
    assert "at 0.50 to 1.50 from each other" in text and "right one in 100% of cases" in text
    assert "(pictures/pairs_portraits.png)" in text and (tmp_path / "pictures" / "pairs_portraits.png").is_file()


def test_table_is_markdown():
    assert table(["a", "b"], [["x", 1.0]]) == "| a | b |\n|---|---|\n| x | 1.00 |\n"

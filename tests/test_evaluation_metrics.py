"""Each metric on answers whose error is known: the truth, changed by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from fixtures_testset import write_small_set
from relit.appearance.colour import typology_angle_deg
from relit.evaluation.case import Case, coded_8bit
from relit.evaluation.contenders import Mesh, model_mesh, true_answer
from relit.evaluation.metrics import METRICS
from relit.evaluation.metrics.tone import true_ita_deg
from relit.evaluation.reference import Reference, visible_texels
from relit.evaluation.testset import open_testset, read_photo, read_subject
from relit.models.head import load_head_model


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    data = open_testset(write_small_set(tmp_path_factory.mktemp("sets") / "small"))
    return read_subject(data, "s00"), read_photo(data, "s00_a")


def case_of(truth, mesh=None, **maps):
    """The truth as the answer, with another mesh or other maps."""
    subject, photo = truth
    answer = true_answer(subject, (photo,))
    head = replace(answer.head, maps=replace(answer.head.maps, **maps))
    return Case(Reference(subject, (photo,)), replace(answer, head=head, mesh=mesh or answer.mesh))


def figure(name, case):
    return METRICS[name].function(case)


def test_every_metric_says_its_range_and_best_direction():
    for metric in METRICS.values():
        assert metric.best in ("high", "low") and len(metric.function.__doc__) > 40


def test_half_the_albedo_is_an_error_that_a_gain_forgives(truth):
    albedo = truth[0].maps.diffuse_albedo
    case = case_of(truth, diffuse_albedo=0.5 * albedo)
    found, true = coded_8bit(0.5 * albedo.numpy())[case.reference.face], coded_8bit(albedo.numpy())[case.reference.face]
    expected = 10 * math.log10(255**2 / np.square(found - true).mean())
    assert figure("albedo_psnr", case)["whole"] == pytest.approx(expected)
    assert figure("albedo_psnr_gain", case)["whole"] > 55  # rounding alone is left
    tinted = case_of(truth, diffuse_albedo=albedo * torch.tensor([0.5, 0.7, 0.9]))
    assert figure("albedo_psnr_gains", tinted)["whole"] > 55 > figure("albedo_psnr_gain", tinted)["whole"]


def test_f0_and_roughness_are_compared_in_their_own_range(truth):
    maps = truth[0].maps
    off = case_of(truth, specular_albedo=maps.specular_albedo + 0.008, roughness=maps.roughness + 0.05)
    assert figure("specular_psnr", off)["whole"] == pytest.approx(20, abs=1e-3)  # 0.008 of 0.08 is a tenth of the range
    assert figure("roughness_psnr", off)["unseen"] == pytest.approx(-20 * math.log10(0.05), abs=1e-3)


def test_turned_normals_are_off_by_their_angle(truth):
    normals = truth[0].maps.diffuse_normal
    turn = math.radians(10)
    x, y, z = normals.unbind(-1)
    turned = torch.stack([math.cos(turn) * x + math.sin(turn) * z, y, math.cos(turn) * z - math.sin(turn) * x], -1)
    case = case_of(truth, diffuse_normal=normalize(turned, dim=-1))
    expected = math.degrees(
        2 * math.asin(math.sin(turn / 2) * float((1 - y**2).sqrt()[torch.from_numpy(case.reference.face)].mean()))
    )
    assert figure("diffuse_normal_angle", case)["whole"] == pytest.approx(expected, abs=0.02)


def test_a_larger_head_has_the_same_shape_but_another_size(truth):
    model = load_head_model()
    grown = model_mesh(model, 1.1 * truth[0].neutral)
    case = case_of(truth, mesh=grown)
    assert figure("now", case)["mean"] < 0.01 and figure("size_error", case) == pytest.approx(100 * (1 - 1 / 1.1), abs=0.05)
    assert figure("now_metrical", case)["mean"] > 1
    pixels = replace(grown, vertices=2000 * grown.vertices, landmarks=2000 * grown.landmarks, metric=False)
    shapeless = case_of(truth, mesh=pixels)
    assert figure("now", shapeless)["mean"] < 0.01 and not METRICS["now_metrical"].applies(shapeless)


def test_scan_to_mesh_is_the_distance_that_brute_force_finds(truth):
    case = case_of(truth, mesh=model_mesh(load_head_model(), load_head_model().mean))
    error, points = case.shape_error, case.scan[0]
    rng = np.random.default_rng(4)
    corners = error.alignment(case.answer.mesh.vertices)[case.answer.mesh.triangles]
    chosen = rng.choice(len(points), 12, replace=False)
    weights = np.concatenate([np.eye(3), rng.dirichlet(np.ones(3), 400)])
    for index in chosen:
        near = corners[np.linalg.norm(corners.mean(1) - points[index], axis=1) < 0.01]
        samples = np.einsum("sk,tkc->tsc", weights, near).reshape(-1, 3)
        nearest = 1e3 * np.linalg.norm(samples - points[index], axis=1).min()
        assert error.distance_mm[index] <= nearest + 1e-6 and error.distance_mm[index] > nearest - 0.12
    share = case.scan[1] / case.scan[1].sum()
    assert figure("now", case)["mean"] == pytest.approx(share @ error.distance_mm)
    assert figure("now", case)["std"] == pytest.approx(math.sqrt(share @ (error.distance_mm - error.mean_mm) ** 2))


def test_a_flattened_nose_is_told_from_the_rest_of_the_face(truth):
    subject, _ = truth
    tip = subject.neutral[load_head_model().landmark_triangles[4]].mean(0)
    near = torch.exp(-(((subject.neutral - tip).norm(dim=1) / 0.012) ** 2))
    moved = subject.neutral - 0.006 * near[:, None] * torch.tensor([0.0, 0.0, 1.0])
    found = figure("realy", case_of(truth, mesh=model_mesh(load_head_model(), moved)))
    assert found["nose"] > 0.5 and found["nose"] > 4 * max(found["forehead"], found["cheeks"])
    assert found["mean"] == pytest.approx(np.mean([found[name] for name in ("nose", "mouth", "forehead", "cheeks")]))


def test_tone_error_is_the_difference_of_two_angles(truth):
    albedo = torch.full_like(truth[0].maps.diffuse_albedo, 0.3) * torch.tensor([1.4, 1.0, 0.8])
    case = case_of(truth, diffuse_albedo=albedo)
    true = float(typology_angle_deg(torch.tensor([0.42, 0.3, 0.24])))
    found = figure("ita_error", case)
    assert found["signed"] == pytest.approx(true - true_ita_deg(case), abs=1e-3) and found["absolute"] == abs(found["signed"])


def test_darker_skin_is_seen_in_every_new_light(truth):
    found = figure("relit_psnr", case_of(truth, diffuse_albedo=0.7 * truth[0].maps.diffuse_albedo))
    assert len(found) == 5 and all(10 < value < 45 for value in found.values())
    assert found["mean"] == pytest.approx(np.mean([value for name, value in found.items() if name != "mean"]))


def test_swapping_nothing_loses_nothing(truth):
    case = case_of(truth)
    known = replace(case.reference, target=truth[1])
    swapped = replace(case, reference=known, target=case.answer)
    found = figure("texture_swap", swapped)
    assert found["loss"] == 0 and found["source"] == found["target"] == found["own"] > 10
    darker = case_of(truth, diffuse_albedo=0.5 * truth[0].maps.diffuse_albedo)
    worse = figure("texture_swap", replace(darker, reference=known, target=case.answer))
    assert worse["own"] == found["own"] and worse["target"] == worse["source"] != found["source"]


def test_what_covers_the_face_is_not_seen(truth):
    subject, photo = truth
    case = case_of(truth)
    left = photo.cover.copy()
    left[:, : photo.cover.shape[1] // 2] = 1
    covered = visible_texels(replace(photo, cover=left), case.reference.posed[0], 512)
    assert 0.2 < (covered & case.reference.face).sum() / case.reference.regions["visible"].sum() < 0.8
    assert not (covered & case.reference.face & ~case.reference.regions["visible"]).any()


def test_a_mesh_alone_gets_no_figures_of_skin(truth):
    model = load_head_model()
    points = model_mesh(model, model.mean)
    case = replace(case_of(truth), answer=replace(case_of(truth).answer, head=None))
    assert isinstance(points, Mesh)
    assert {name for name, metric in METRICS.items() if metric.applies(case)} == {"now", "now_metrical", "size_error", "realy"}

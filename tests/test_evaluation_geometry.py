"""Laws of the geometry metric: alignment recovers what was applied, distances are exact on known shapes."""

import numpy as np
import pytest

from relit.evaluation.geometry import Similarity, Surface, closest_points, face_error, similarity_alignment, vertex_areas

RNG = np.random.default_rng(3)


def rotation(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def sphere(steps=24, radius=0.1):
    """A latitude-longitude sphere."""
    v, u = np.meshgrid(np.linspace(0, np.pi, steps + 1), np.arange(2 * steps) * np.pi / steps, indexing="ij")
    points = radius * np.stack([np.sin(v) * np.cos(u), np.cos(v), np.sin(v) * np.sin(u)], -1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(steps), np.arange(2 * steps), indexing="ij")
    at = lambda r, c: (r * 2 * steps + c % (2 * steps)).ravel()  # noqa: E731
    a, b, c, d = at(row, column), at(row, column + 1), at(row + 1, column + 1), at(row + 1, column)
    return points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def test_alignment_recovers_a_similarity():
    points = RNG.normal(size=(30, 3))
    applied = Similarity(1.7, rotation(RNG), np.array([0.3, -2.0, 0.5]))
    found = similarity_alignment(points, applied(points))
    assert found.scale == pytest.approx(1.7)
    assert np.allclose(found.rotation, applied.rotation) and np.allclose(found.translation, applied.translation)


def test_alignment_never_mirrors_and_may_keep_the_size():
    points = RNG.normal(size=(30, 3))
    found = similarity_alignment(points, points * [-1, 1, 1], with_scale=False)
    assert np.linalg.det(found.rotation) == pytest.approx(1) and found.scale == 1


def test_alignment_is_a_least_squares_minimum():
    source, target, weight = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 3)), RNG.uniform(0.1, 1, 20)
    cost = lambda s: weight @ ((s(source) - target) ** 2).sum(1)  # noqa: E731
    best = similarity_alignment(source, target, weight)
    for _ in range(50):
        turn, _ = np.linalg.qr(np.eye(3) + 0.02 * RNG.normal(size=(3, 3)))
        turn *= np.sign(np.diag(turn))
        if np.linalg.det(turn) < 0:
            continue
        near = Similarity(best.scale * (1 + 0.02 * RNG.normal()), turn @ best.rotation, best.translation)
        assert cost(near) >= cost(best) - 1e-12


def test_closest_point_equals_brute_force():
    vertices, triangles = RNG.normal(size=(60, 3)), RNG.integers(0, 60, (90, 3))
    triangles = triangles[(np.diff(np.sort(triangles, 1), axis=1) > 0).all(1)]
    points = 2 * RNG.normal(size=(200, 3))
    found = closest_points(points, vertices, triangles)
    weights = RNG.dirichlet(np.ones(3), (4000, len(triangles)))
    samples = np.einsum("stk,tkc->stc", weights, vertices[triangles]).reshape(-1, 3)
    distance = np.linalg.norm(found - points, axis=1)
    for point, own in zip(points[:40], distance[:40], strict=True):
        nearest = np.sqrt(((samples - point) ** 2).sum(1).min())
        assert own <= nearest + 1e-9 and own >= nearest - 0.1


def test_points_off_a_plane_have_their_height_as_distance():
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0), indexing="ij"), -1).reshape(-1, 2)
    vertices = np.c_[grid, np.zeros(25)]
    index = np.arange(25).reshape(5, 5)
    a, b, c, d = (x.ravel() for x in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    points = np.c_[RNG.uniform(0, 4, (50, 2)), RNG.uniform(-2, 2, 50)]
    found = closest_points(points, vertices, triangles)
    assert np.allclose(found, points * [1, 1, 0], atol=1e-12)
    assert vertex_areas(vertices, triangles).sum() == pytest.approx(16)


def test_a_face_is_at_no_distance_from_itself_wherever_it_stands():
    points, triangles = sphere()
    points = points * [1, 1.3, 0.8] + 0.01 * np.sin(40 * points[:, :1])
    moved = Similarity(1 / 1.2, rotation(RNG), np.array([0.1, 0.2, 0.3]))
    inverse = Similarity(1.2, moved.rotation.T, -1.2 * moved.rotation.T @ moved.translation)
    rough = Similarity(inverse.scale * 1.03, inverse.rotation, inverse.translation + 0.004)
    error = face_error(points, vertex_areas(points, triangles), Surface(moved(points), triangles), rough)
    assert error.mean_mm < 0.3 and error.scale == pytest.approx(1.2, rel=0.01)


def test_concentric_spheres_differ_by_their_radii_when_size_counts():
    truth, triangles = sphere(radius=0.101)
    inner, _ = sphere(radius=0.1)
    identity = Similarity(1.0, np.eye(3), np.zeros(3))
    weight = vertex_areas(truth, triangles)
    rigid = face_error(truth, weight, Surface(inner, triangles), identity, with_scale=False)
    assert rigid.mean_mm == pytest.approx(1.0, abs=0.03) and rigid.scale == 1
    scaled = face_error(truth, weight, Surface(inner, triangles), identity)
    assert scaled.mean_mm < 0.1

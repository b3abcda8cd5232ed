"""Laws of the head model: symmetry, topology, UV layout, lids, gaze, landmarks, gradients."""

import math

import pytest
import torch

from relit.geometry.mesh import vertex_normals, vertex_tangents
from relit.geometry.uv import rasterise_uv
from relit.models.head import (
    ARKIT_NAMES,
    EYE_RADIUS_MM,
    LOOK_RAD,
    PARTS,
    expression_morphs,
    eye_centres,
    eyeball_radius_mm,
    landmark_points,
    lid_edge_points,
    load_head_model,
    neutral_vertices,
    posed_vertices,
    render_vertices,
)

FLIP = torch.tensor([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def model():
    return load_head_model()


@pytest.fixture(scope="module")
def people(model):
    generator = torch.Generator().manual_seed(4)
    draws = 0.8 * torch.randn(12, len(model.identity_modes), generator=generator)
    return [neutral_vertices(model, identity) for identity in draws]


def test_mirror_is_an_involution_and_the_mean_is_symmetric(model):
    count = torch.arange(len(model.mean))
    assert torch.equal(model.mirror[model.mirror], count)
    assert (model.mean[model.mirror] * FLIP - model.mean).norm(dim=1).max() < 2e-5


def test_identity_modes_are_symmetric_or_antisymmetric(model):
    mirrored = model.identity_modes[:, model.mirror] * FLIP
    size = model.identity_modes.flatten(1).norm(dim=1)
    same = (mirrored - model.identity_modes).flatten(1).norm(dim=1) / size
    opposite = (mirrored + model.identity_modes).flatten(1).norm(dim=1) / size
    assert torch.minimum(same, opposite).max() < 0.05


def test_left_and_right_expressions_mirror_each_other(model):
    for name in ("mouthSmile", "browDown", "eyeSquint", "noseSneer"):
        left, right = (model.expression_modes[ARKIT_NAMES.index(name + side)] for side in ("Left", "Right"))
        assert (left[model.mirror] * FLIP - right).norm(dim=1).max() < 1.5e-3


def test_names_and_shapes(model):
    assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == len(model.expression_modes) == 52
    assert ARKIT_NAMES[-1] == "tongueOut" and "jawOpen" in ARKIT_NAMES
    assert set(model.part.tolist()) == set(range(len(PARTS)))
    assert torch.equal(model.render_vertex[model.render_triangles], model.triangles)
    assert torch.equal(model.quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3), model.triangles)


def test_frame_is_the_one_of_the_conventions(model):
    nose = model.mean[model.mean[:, 2].argmax()]
    assert torch.allclose(nose, torch.tensor([0.0, -0.01, 0.11]), atol=0.015)
    left, right = eye_centres(model, model.mean)
    assert left[0] > 0.025 and right[0] < -0.025


def test_uv_lie_in_the_unit_square_and_triangles_keep_one_orientation_per_chart(model):
    assert model.uv.min() >= 0 and model.uv.max() <= 1
    a, b, c = model.uv[model.render_triangles].double().unbind(1)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    for part, name in enumerate(PARTS):
        signs = area[model.part == part]
        assert (signs < 1e-13).all(), f"{name} has {int((signs >= 1e-13).sum())} flipped triangles"
    skin = model.uv[model.render_triangles[model.part == 0]]
    strip = model.uv[model.render_triangles[model.part != 0]]
    assert skin[..., 1].max() <= 0.8801 and strip[..., 1].min() > 0.88


def test_uv_triangles_do_not_overlap(model):
    size = 1024
    triangle, _ = rasterise_uv(model.uv, model.render_triangles, size, size)
    a, b, c = model.uv[model.render_triangles].double().unbind(1)
    area = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs()
    covered = (triangle >= 0).double().mean()
    assert abs(area.sum() - covered) < 0.004 * covered


def test_skin_uv_is_symmetric_about_the_centre_line(model):
    skin = model.render_triangles[model.part == 0].unique()
    other = (model.uv[skin] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])).double()
    distance = torch.cdist(other, model.uv[skin].double()).min(1).values
    assert distance.max() < 2e-5


def test_subdivision_keeps_constants(model):
    moved = neutral_vertices(model, torch.zeros(len(model.identity_modes)), torch.full_like(model.mean, 0.01))
    still = neutral_vertices(model, torch.zeros(len(model.identity_modes)))
    assert (moved - still - 0.01).abs().max() < 1e-6


def test_lids_lie_on_the_eyeballs_of_random_people(model, people):
    for vertices in people:
        for ids, centre in zip(model.lid_vertices, eye_centres(model, vertices), strict=True):
            arm = vertices[ids] - centre
            length = arm.norm(dim=1)
            above = 1000 * length - eyeball_radius_mm(arm[:, 2] / length)
            assert above.min() > -0.3  # behind the margin the lid dips into the eyeball, so that no gap is seen
            assert above[model.lid_gap > 1e-4].min() > 0.05
        edges = lid_edge_points(model, vertices)
        for side, centre in enumerate(eye_centres(model, vertices)):
            gap = 1000 * (edges[side] - centre).norm(dim=-1) - EYE_RADIUS_MM
            assert gap.max() < 2.0


def test_a_blink_closes_the_lids_of_random_people(model, people):
    for vertices in people:
        morphs = expression_morphs(model, vertices)
        weights = torch.zeros(52)
        for side in ("Left", "Right"):
            weights[ARKIT_NAMES.index(f"eyeBlink{side}")] = 1.0
        closed = posed_vertices(model, vertices, weights, torch.zeros(2, 2), morphs)
        upper, lower = lid_edge_points(model, closed)[..., 1].unbind(1)
        opening = 1000 * (upper - lower)[:, 1:-1]
        assert opening.abs().max() < 0.45


def test_some_expressions_are_the_same_as_among_all(model, people):
    shapes = tuple(ARKIT_NAMES.index(name) for name in ("jawOpen", "eyeBlinkRight", "eyeLookInLeft"))
    whole = expression_morphs(model, people[0])
    assert torch.equal(expression_morphs(model, people[0], shapes), whole[list(shapes)])


def test_half_a_blink_on_straight_lines_clears_the_eyeball(model, people):
    margin = model.lid_gap > 1e-4
    for vertices in people:
        blink = expression_morphs(model, vertices)[ARKIT_NAMES.index("eyeBlinkLeft")]
        centre = eye_centres(model, vertices)[0]
        for share in (0.25, 0.5, 0.75):
            arm = (vertices + share * blink)[model.lid_vertices[0][margin]] - centre
            length = arm.norm(dim=1)
            assert (eyeball_radius_mm(arm[:, 2] / length) - 1000 * length).max() < 1.0


def test_gaze_turns_the_eyeballs_about_their_centres(model):
    neutral = neutral_vertices(model, torch.zeros(len(model.identity_modes)))
    gaze = torch.tensor([[0.3, 0.1], [0.3, 0.1]])
    posed = posed_vertices(model, neutral, torch.zeros(52), gaze)
    for ids, centre in zip(model.eye_vertices, eye_centres(model, neutral), strict=True):
        pupil = torch.nn.functional.normalize(posed[ids[0]] - centre, dim=0)
        expected = torch.tensor([math.sin(0.3) * math.cos(0.1), math.sin(0.1), math.cos(0.3) * math.cos(0.1)])
        assert torch.allclose(pupil, expected, atol=1e-4)
        assert torch.allclose((posed[ids] - centre).norm(dim=1), (neutral[ids] - centre).norm(dim=1), atol=1e-6)


def test_look_morphs_turn_the_eyeball_by_the_stated_angle(model):
    neutral = neutral_vertices(model, torch.zeros(len(model.identity_modes)))
    morphs = expression_morphs(model, neutral)
    left = model.eye_vertices[0]
    centre = eye_centres(model, neutral)[0]
    up = (neutral + morphs[ARKIT_NAMES.index("eyeLookUpLeft")])[left[0]] - centre
    assert math.atan2(up[1], up[2]) == pytest.approx(LOOK_RAD, abs=1e-3)
    out = (neutral + morphs[ARKIT_NAMES.index("eyeLookOutLeft")])[left[0]] - centre
    assert math.atan2(out[0], out[2]) == pytest.approx(LOOK_RAD, abs=1e-3)


def test_the_jaw_takes_the_lower_teeth_and_the_tongue_with_it(model):
    move = model.expression_modes[ARKIT_NAMES.index("jawOpen"), :, 1]
    at = lambda name: move[model.triangles[model.part == PARTS.index(name)].unique()]  # noqa: E731
    assert at("lower_teeth").mean() < -0.01 and at("tongue").mean() < -0.005
    assert at("upper_teeth").abs().max() < 0.002


def test_landmarks_lie_on_the_surface_at_barycentric_coordinates(model):
    share = model.landmark_barycentric
    assert torch.allclose(share.sum(1), torch.ones(478), atol=1e-5) and share.min() > -1e-5
    points = landmark_points(model, model.mean) - model.landmark_offset
    right, left = points[468], points[473]
    assert right[0] < 0 < left[0]
    assert (points[[33, 133]].mean(0) - right).norm() < 0.012
    assert len(model.oval_landmarks) == 36 and (model.landmark_sigma > 0).all()


def test_face_weight_trusts_the_face_only(model):
    weight = model.face_weight
    assert weight.min() >= 0 and weight.max() <= 1
    assert weight[model.mean[:, 2].argmax()] == 1
    assert weight[model.mean[:, 1].argmax()] == 0
    assert weight[model.triangles[model.part != 0].unique()].mean() < 0.05


def test_vertices_are_differentiable(model):
    identity = (0.3 * torch.randn(len(model.identity_modes), generator=torch.Generator().manual_seed(1))).requires_grad_()
    expression = torch.full((52,), 0.1, requires_grad=True)
    gaze = torch.full((2, 2), 0.1, requires_grad=True)
    probe = torch.randn(model.mean.shape, generator=torch.Generator().manual_seed(2))

    def value(i, e, g):
        return (posed_vertices(model, neutral_vertices(model, i), e, g) * probe).sum()

    gradients = torch.autograd.grad(value(identity, expression, gaze), (identity, expression, gaze))
    for which, place, step in ((0, 5, 0.05), (1, 24, 0.05), (2, (0, 1), 0.02)):
        inputs = [identity.detach(), expression.detach(), gaze.detach()]
        ahead, behind = inputs[which].clone(), inputs[which].clone()
        ahead[place] += step
        behind[place] -= step
        plus = value(*(ahead if i == which else x for i, x in enumerate(inputs)))
        minus = value(*(behind if i == which else x for i, x in enumerate(inputs)))
        assert float(gradients[which][place]) == pytest.approx(float((plus - minus) / (2 * step)), rel=0.05, abs=2e-3)


def test_normals_and_tangents_are_orthonormal(model):
    normals = vertex_normals(model.mean, model.triangles)
    positions, at_render = render_vertices(model, model.mean), render_vertices(model, normals)
    tangents = vertex_tangents(positions, model.uv, model.render_triangles, at_render)
    assert torch.allclose(normals.norm(dim=1), torch.ones(len(normals)), atol=1e-4)
    assert torch.allclose(tangents[:, :3].norm(dim=1), torch.ones(len(tangents)), atol=1e-4)
    assert (tangents[:, :3] * at_render).sum(1).abs().max() < 1e-4
    assert set(tangents[:, 3].unique().tolist()) <= {-1.0, 1.0}


def test_each_lips_landmarks_move_with_that_lip_and_lids_follow_the_gaze(model):
    at = lambda name: (landmark_points(model, model.mean + model.expression_modes[ARKIT_NAMES.index(name)]))[:, 1]  # noqa: E731
    rest = landmark_points(model, model.mean)[:, 1]
    opened = at("jawOpen") - rest
    assert opened[[80, 81, 82, 13, 312, 311, 310]].abs().max() < 0.006
    assert opened[[88, 178, 87, 14, 317, 402, 318]].max() < -0.02
    up, down = at("eyeLookUpRight") - rest, at("eyeLookDownRight") - rest
    assert up[159] > 0.002 and down[159] < -0.002

"""Laws of rotations and the pinhole camera."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relit.geometry.camera import camera_centre, cropped, focal_from_35mm, look_at_face, orbit, project, scaled
from relit.geometry.transforms import apply, inverse_rigid, rigid, rotation_from_vector, rotation_from_yaw_pitch, yaw_of

vectors = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(lambda v: torch.tensor(v, dtype=torch.float64))


@given(vectors)
@settings(max_examples=30, deadline=None)
def test_rotations_are_orthonormal_and_negation_inverts(vector):
    rotation = rotation_from_vector(vector)
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(rotation_from_vector(-vector), rotation.T, atol=1e-9)
    assert math.isclose(float(torch.linalg.det(rotation)), 1.0, abs_tol=1e-9)


@pytest.mark.parametrize("size", [0.0, 1e-7, 1e-3, 0.5])
def test_rotation_is_differentiable_also_at_zero(size):
    vector = torch.tensor([size, -size, 0.3 * size], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotation_from_vector, (vector,), eps=1e-5, atol=1e-5)


def test_rigid_inverse_is_the_identity():
    transform = rigid(rotation_from_vector(torch.tensor([0.3, -0.8, 0.2])), torch.tensor([1.0, 2.0, -0.5]))
    assert torch.allclose(inverse_rigid(transform) @ transform, torch.eye(4), atol=1e-6)


def test_yaw_turns_the_face_to_the_subjects_left_and_pitch_tips_it_up():
    forward = torch.tensor([0.0, 0.0, 1.0])
    assert rotation_from_yaw_pitch(0.4, 0.0) @ forward @ torch.tensor([1.0, 0, 0]) > 0
    assert rotation_from_yaw_pitch(0.0, 0.4) @ forward @ torch.tensor([0, 1.0, 0]) > 0
    assert math.isclose(yaw_of(look_at_face((64, 64), yaw_rad=0.4).camera_from_head), 0.4, abs_tol=1e-6)


def test_worked_number_of_the_camera_frame():
    camera = look_at_face((512, 512))
    x, y, _ = project(camera, torch.tensor([0.0, -0.005, 0.11]))
    assert (round(float(x)), round(float(y))) == (256, 256)
    left_ear, chin = project(camera, torch.tensor([[0.07, 0, 0], [0, -0.1, 0.05]]))
    assert left_ear[0] > 256 and chin[1] > 256


def test_cropping_and_scaling_move_pixels_as_the_picture_moves():
    camera = look_at_face((640, 480), yaw_rad=0.2)
    points = torch.randn(5, 3) * 0.05
    seen = project(camera, points)[:, :2]
    assert torch.allclose(project(scaled(camera, 0.5), points)[:, :2], seen * 0.5, atol=1e-3)
    crop = cropped(camera, (100.0, 50.0, 300.0, 250.0), (400, 400))
    assert torch.allclose(project(crop, points)[:, :2], (seen - torch.tensor([100.0, 50.0])) * 2, atol=1e-3)
    with pytest.raises(ValueError, match="one aspect"):
        cropped(camera, (0.0, 0.0, 100.0, 200.0), (100, 100))


def test_orbit_keeps_the_centre_and_the_camera_centre_maps_to_zero():
    camera = look_at_face((512, 512))
    centre = torch.tensor([0.01, -0.02, 0.03])
    turned = orbit(camera, 0.5, -0.2, centre)
    assert torch.allclose(project(turned, centre), project(camera, centre), atol=1e-3)
    assert torch.allclose(apply(turned.camera_from_head, camera_centre(turned)), torch.zeros(3), atol=1e-6)


def test_50_mm_on_full_frame():
    assert math.isclose(focal_from_35mm(43.27, (3000, 4000)), 5000.0)

"""Round trip: landmarks projected from a known head must lead back to it."""

from dataclasses import replace

import pytest
import torch

from relit.fit.landmark_fit import LandmarkOptions, fit_landmarks, landmark_residual_px
from relit.geometry.camera import camera_centre, look_at_face, project
from relit.geometry.mesh import vertex_normals
from relit.geometry.transforms import yaw_of
from relit.models.head import ARKIT_NAMES, landmark_points, load_head_model, neutral_vertices, posed_vertices
from relit.models.identity import identity_prior, load_identity_statistics
from relit.types import Landmarks, Observation, Photo

SIZE = (640, 640)
PRIOR = identity_prior(load_identity_statistics())
EXACT = LandmarkOptions(identity_trust=1.0)  # these landmarks have no error in common


def seen(model, identity, expression, camera, focal_35mm=None, noise_px=0.0):
    """An observation that holds nothing but the landmarks of a known head."""
    vertices = posed_vertices(model, neutral_vertices(model, identity), expression, torch.zeros(2, 2))
    points = project(camera, as_detected(model, vertices, camera))
    noise = torch.randn(478, 2, generator=torch.Generator().manual_seed(1)) * noise_px
    depth = (points[:, 2] - points[:, 2].mean()) * camera.focal_px / camera.camera_from_head[2, 3]
    return Observation(
        photo=Photo("synthetic", torch.zeros(SIZE[1], SIZE[0], 3), focal_35mm, SIZE),
        landmarks=Landmarks(points[:, :2] + noise, depth, expression, 1.0),
        face_box_px=(0.0, 0.0, 1.0, 1.0),
        skin_mask=torch.ones(SIZE[1], SIZE[0]),
        identity_embedding=torch.zeros(128),
    ), vertices


def as_detected(model, vertices, camera):
    """Landmark points as a detector reports them: oval points on or behind the rim move to the nearest silhouette."""
    points = landmark_points(model, vertices)
    towards = torch.nn.functional.normalize(camera_centre(camera) - vertices, dim=-1)
    facing = (vertex_normals(vertices, model.triangles) * towards).sum(-1)
    silhouette = vertices[(facing.abs() < 0.12) & (model.face_weight > 0)]
    for index in model.oval_landmarks.tolist():
        if facing[model.landmark_triangles[index]].mean() < 0.2:
            points[index] = silhouette[(silhouette - points[index]).norm(dim=1).argmin()]
    return points


@pytest.fixture(scope="module")
def model():
    return load_head_model()


@pytest.mark.parametrize("yaw", [0.0, 0.5, -0.7])
def test_pose_and_shape_are_found_again(model, yaw):
    identity = torch.randn(model.identity_modes.shape[0], generator=torch.Generator().manual_seed(3)) * 0.7
    expression = torch.zeros(52)
    expression[ARKIT_NAMES.index("jawOpen")] = 0.4
    expression[ARKIT_NAMES.index("mouthSmileLeft")] = 0.5
    camera = look_at_face(SIZE, distance_m=0.9, yaw_rad=yaw)
    observation, vertices = seen(model, identity, expression, camera, noise_px=0.3)
    found = fit_landmarks(model, (observation,), PRIOR, EXACT)
    assert abs(yaw_of(found.cameras[0].camera_from_head) - yaw) < 0.06
    fitted = posed_vertices(model, neutral_vertices(model, found.identity), found.expressions[0], found.gazes_rad[0])
    distance_px = landmark_residual_px(model, fitted, found.cameras[0], observation.landmarks)
    inter_ocular = (observation.landmarks.points_px[33] - observation.landmarks.points_px[263]).norm()
    assert distance_px.mean() < 0.012 * inter_ocular
    face = model.face_weight > 0.5
    a, b = fitted[face], vertices[face]
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = torch.linalg.svd(a.T @ b)
    aligned = a @ u @ vt * (s.sum() / (a * a).sum())
    mean_head = posed_vertices(model, model.mean, found.expressions[0], found.gazes_rad[0])[face]
    mean_head = mean_head - mean_head.mean(0)
    u, s, vt = torch.linalg.svd(mean_head.T @ b)
    baseline = (mean_head @ u @ vt * (s.sum() / (mean_head * mean_head).sum()) - b).norm(dim=1).mean()
    assert (aligned - b).norm(dim=1).mean() < 0.75 * baseline


def test_several_photos_share_one_identity_and_know_it_better(model):
    identity = torch.randn(model.identity_modes.shape[0], generator=torch.Generator().manual_seed(5)) * 0.7
    views = [
        seen(model, identity, torch.zeros(52), look_at_face(SIZE, distance_m=0.9, yaw_rad=yaw), noise_px=1.0)[0]
        for yaw in (0.0, 0.6, -0.6)
    ]
    face = model.face_weight > 0.5
    truth = neutral_vertices(model, identity)[face]
    errors = []
    for chosen in (views[:1], views):
        found = fit_landmarks(model, tuple(chosen), PRIOR, EXACT)
        assert len(found.cameras) == len(chosen)
        shape = neutral_vertices(model, found.identity)[face]
        errors.append(float(((shape - shape.mean(0)) - (truth - truth.mean(0))).norm(dim=1).mean()))
    assert errors[1] < errors[0]


def test_exif_focal_length_is_kept(model):
    camera = look_at_face(SIZE, distance_m=0.5)
    observation, _ = seen(model, torch.zeros(model.identity_modes.shape[0]), torch.zeros(52), camera)
    equivalent = float(camera.focal_px) * 43.27 / (SIZE[0] ** 2 + SIZE[1] ** 2) ** 0.5
    told = replace(observation, photo=replace(observation.photo, focal_35mm=equivalent))
    found = fit_landmarks(model, (told,), PRIOR).cameras[0]
    assert abs(float(found.focal_px / camera.focal_px) - 1) < 0.05

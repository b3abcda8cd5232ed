"""Observing a real face: laws of equivariance, choices among faces, refusals, and what counts as skin."""

import math
from functools import cache

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from relit.appearance.colour import linear_from_srgb
from relit.errors import NoFaceFound
from relit.models.landmarks import detect_faces, detect_landmarks, mirror_partners
from relit.observe.glasses import closed_path
from relit.observe.observe import blur_ratio, head_yaw_rad, observe
from relit.observe.regions import face_size_px, openings
from relit.observe.skin_mask import random_walk, skin_mask
from relit.types import Photo


@cache
def astronaut() -> np.ndarray:
    """Eileen Collins, 8-bit; the face and hair are about 170 px wide after doubling."""
    return cv2.resize(skimage.data.astronaut()[0:256, 100:356], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def photo(rgb8: np.ndarray, name: str = "a.png") -> Photo:
    linear = linear_from_srgb(torch.from_numpy(rgb8.astype(np.float32) / 255))
    return Photo(name, linear, None, (rgb8.shape[1], rgb8.shape[0]))


@cache
def seen():
    return observe(photo(astronaut()))


def landmarks_of(rgb8: np.ndarray):
    (face,) = detect_faces(rgb8)
    return detect_landmarks(rgb8, face)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean landmark distance over the distance of the eyes."""
    return float(np.linalg.norm(a - b, axis=1).mean() / np.linalg.norm(b[33] - b[263]))


def test_one_face_with_plausible_landmarks():
    points = seen().landmarks.points_px.numpy()
    assert points.shape == (478, 2)
    assert seen().landmarks.score > 0.9
    right_eye, left_eye, nose, chin = points[33], points[263], points[1], points[152]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_eye[1] < nose[1] < chin[1]
    assert abs(float(seen().identity_embedding.norm()) - 1) < 1e-5


def test_mirror_partners_are_an_involution():
    partner = mirror_partners()
    assert np.array_equal(partner[partner], np.arange(478))
    assert partner[33] == 263 and partner[468] == 473 and partner[1] == 1


def test_mirrored_photo_gives_mirrored_landmarks_and_expressions():
    from relit.models.head import ARKIT_NAMES

    rgb8 = astronaut()
    mirrored = landmarks_of(np.ascontiguousarray(rgb8[:, ::-1]))
    back = mirrored.points_px.numpy()[mirror_partners()]
    back[:, 0] = rgb8.shape[1] - back[:, 0]
    assert distance(back, landmarks_of(rgb8).points_px.numpy()) < 0.012
    swap = {"Left": "Right", "Right": "Left"}
    other = [
        ARKIT_NAMES.index(next((n[: -len(s)] + swap[s] for s in swap if n.endswith(s) and len(n) > 9), n)) for n in ARKIT_NAMES
    ]
    difference = mirrored.blendshapes[other] - landmarks_of(rgb8).blendshapes
    assert float(difference.abs().mean()) < 0.03


@pytest.mark.parametrize("scale", [0.6, 1.7])
def test_scaled_photo_gives_scaled_landmarks(scale):
    rgb8 = astronaut()
    other = cv2.resize(rgb8, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    factor = np.array([other.shape[1] / rgb8.shape[1], other.shape[0] / rgb8.shape[0]])
    assert distance(landmarks_of(other).points_px.numpy() / factor, landmarks_of(rgb8).points_px.numpy()) < 0.012


def test_shifted_and_turned_photos_move_the_landmarks_along():
    rgb8 = astronaut()
    here = landmarks_of(rgb8).points_px.numpy()
    for angle, shift in ((0, (37, 21)), (25, (0, 0)), (-25, (0, 0))):
        matrix = cv2.getRotationMatrix2D((255.5, 255.5), angle, 1.0)
        matrix[:, 2] += shift
        moved = cv2.warpAffine(rgb8, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
        expected = (here - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
        assert distance(landmarks_of(moved).points_px.numpy(), expected) < 0.015


def test_smile_is_seen():
    from relit.models.head import ARKIT_NAMES

    expression = dict(zip(ARKIT_NAMES, seen().landmarks.blendshapes.tolist(), strict=True))
    assert expression["mouthSmileLeft"] > 0.5 and expression["mouthSmileRight"] > 0.5
    assert expression["jawOpen"] < 0.3 and expression["eyeBlinkLeft"] < 0.4
    assert expression["tongueOut"] == 0


def test_small_face_in_a_large_photo():
    """A face of 2 % of the width is found, and where it is."""
    rgb8 = np.full((1600, 3000, 3), 90, np.uint8)
    face = cv2.resize(astronaut(), (150, 150), interpolation=cv2.INTER_AREA)
    rgb8[1200:1350, 2500:2650] = face
    expected = seen().landmarks.points_px.numpy() * 150 / 512 + [2500, 1200]
    assert distance(landmarks_of(rgb8).points_px.numpy(), expected) < 0.03


def two_faces() -> np.ndarray:
    rgb8 = np.full((512, 900, 3), 128, np.uint8)
    rgb8[:, 388:] = astronaut()
    rgb8[150:450, 40:340] = cv2.resize(astronaut(), (300, 300), interpolation=cv2.INTER_AREA)
    return rgb8


def test_the_largest_of_several_faces_is_taken_and_said():
    result = observe(photo(two_faces(), "pair.png"))
    assert result.face_box_px[0] > 400
    assert any("2 faces" in told and "number 2" in told and "--face" in told for told in result.warnings)
    assert observe(photo(two_faces()), face=1).face_box_px[2] < 340
    assert observe(photo(two_faces()), face=2).face_box_px[0] > 400
    for wrong in (0, 3):
        with pytest.raises(NoFaceFound, match="shows 2 faces"):
            observe(photo(two_faces()), face=wrong)


def test_refusals_name_the_reason():
    with pytest.raises(NoFaceFound, match="no face"):
        observe(photo(skimage.data.coffee()))
    tiny = cv2.resize(astronaut(), (140, 140), interpolation=cv2.INTER_AREA)
    with pytest.raises(NoFaceFound, match="px high"):
        observe(photo(tiny))
    size = face_size_px(seen().landmarks.points_px.numpy())
    with pytest.raises(NoFaceFound, match="blurred"):
        observe(photo(cv2.GaussianBlur(astronaut(), (0, 0), 0.042 * size)))


def test_blur_is_measured():
    points = seen().landmarks.points_px.numpy()
    size = face_size_px(points)
    for sigma in (0.015, 0.03):
        blurred = cv2.GaussianBlur(astronaut(), (0, 0), sigma * size)
        assert 0.7 * sigma < blur_ratio(blurred, points) < 1.6 * sigma


@pytest.mark.parametrize("yaw_deg", [-60, -30, 0, 30, 60])
def test_yaw_of_projected_heads(yaw_deg):
    """The head model's own landmarks, turned and photographed, tell how far they were turned."""
    from relit.models.head import landmark_points, load_head_model
    from relit.types import Landmarks

    model = load_head_model()
    head = landmark_points(model, model.mean).numpy()
    yaw = math.radians(yaw_deg)
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    camera = head @ turn.T * [1, -1, -1] + [0.05, 0.02, 0.7]
    points = camera[:, :2] / camera[:, 2:] * 700 + [256, 256]
    flat = Landmarks(torch.from_numpy(points).float(), torch.zeros(478), torch.zeros(52), 1.0)
    measured = head_yaw_rad(flat, (512, 512), focal_35mm=36 * 700 / 512)
    assert abs(math.degrees(measured) - yaw_deg) < 2


def test_skin_is_face_without_hair_eyes_and_teeth():
    mask, points = seen().skin_mask.numpy(), seen().landmarks.points_px.numpy()
    at = lambda place: float(mask[int(place[1]), int(place[0])])  # noqa: E731
    for skin in (50, 280, 4, 9, 199, 117, 346, 0, 17, 105, 334):
        assert at(points[skin]) > 0.8, skin
    eyes = [points[list(pair)].mean(0) for pair in ((159, 145), (386, 374))]
    assert max(at(place) for place in eyes) < 0.2
    up = points[10] - points[152]
    assert at(points[10] + 0.25 * up) < 0.1  # hair
    assert at(points[152] - 0.25 * up) < 0.1  # collar
    assert 0 <= mask.min() and mask.max() <= 1


def test_fringe_and_glasses_painted_on_the_face_are_no_skin():
    points = seen().landmarks.points_px.numpy()
    size = face_size_px(points)
    painted = astronaut().copy()
    band = np.array([points[54], points[10] + 0.2 * (points[10] - points[152]), points[284], points[334], points[105]])
    cv2.fillPoly(painted, [band.round().astype(np.int32)], (60, 45, 30))
    for eye in ((33, 133), (362, 263)):
        centre = points[list(eye)].mean(0).round().astype(int).tolist()
        cv2.circle(painted, centre, int(0.15 * size), (15, 15, 20), max(2, int(0.02 * size)))
    between = [points[i].round().astype(int).tolist() for i in (133, 362)]
    cv2.line(painted, *between, (15, 15, 20), max(2, int(0.02 * size)))
    mask = skin_mask(photo(painted).linear, seen().landmarks).numpy()
    at = lambda place: float(mask[int(place[1]), int(place[0])])  # noqa: E731
    assert at(points[151]) < 0.3  # forehead
    eye = points[[33, 133]].mean(0)
    assert at(eye + [0, 0.15 * size]) < 0.5  # lower rim
    assert at(points[50]) > 0.8 and at(points[4]) > 0.8


def test_hair_over_half_the_face_is_no_skin():
    points = seen().landmarks.points_px.numpy()
    size = face_size_px(points)
    up, left = np.array([0, -0.4 * size]), np.array([-0.3 * size, 0])  # to the picture's left: the subject's right side
    sweep = np.array([points[10] + up + left, points[10] + up, points[8], points[36], points[172], points[172] + left])
    painted = astronaut().copy()
    cv2.fillPoly(painted, [sweep.round().astype(np.int32)], (60, 45, 30))
    mask = skin_mask(photo(painted).linear, seen().landmarks).numpy()
    at = lambda index: float(mask[tuple(points[index].astype(int)[::-1])])  # noqa: E731
    assert max(at(index) for index in (117, 123, 105, 223)) < 0.1  # cheek, brow and lid below it
    assert min(at(index) for index in (346, 352, 334, 443, 4, 18)) > 0.7  # the same on the other side, nose, chin


def test_lines_seen_through_glasses_are_skin():
    """Wrinkles beneath the eyes are as dark as a frame, but the rim runs around them."""
    points = seen().landmarks.points_px.numpy()
    size = face_size_px(points)
    painted = astronaut().copy()
    for eye in ((33, 133), (362, 263)):
        centre = points[list(eye)].mean(0).round().astype(int)
        rim = (centre + [0, int(0.045 * size)]).tolist(), (int(0.16 * size), int(0.12 * size))
        cv2.ellipse(painted, *rim, 0, 0, 360, (15, 15, 20), 2)
        ends = (centre + [-int(0.06 * size), int(0.085 * size)], centre + [int(0.06 * size), int(0.085 * size)])
        cv2.line(painted, *(end.tolist() for end in ends), (60, 30, 20), 2)
    between = [(points[i] + [0, 0.03 * size]).round().astype(int).tolist() for i in (133, 362)]
    cv2.line(painted, *between, (15, 15, 20), 3)
    mask = skin_mask(photo(painted).linear, seen().landmarks).numpy()
    at = lambda place: float(mask[int(place[1]), int(place[0])])  # noqa: E731
    for eye in ((33, 133), (362, 263)):
        middle = points[list(eye)].mean(0)
        assert at(middle + [0, 0.085 * size]) > 0.7  # the wrinkle
        assert at(middle + [0, 0.165 * size]) < 0.5  # the rim


def test_a_closed_path_follows_what_stands_out_and_closes():
    rows, columns = np.mgrid[:128, :56]
    ring = 28 + 8 * np.sin(2 * np.pi * rows / 128)
    gain = np.exp(-((columns - ring) ** 2) / 4)
    gain[30:60, 10] = 2  # brighter, but it leads nowhere
    path = closed_path(gain)
    assert np.abs(path - ring[:, 0]).max() <= 1.5 and abs(path[0] - path[-1]) <= 2


@pytest.mark.parametrize("colour", [(235, 240, 240), (120, 170, 200), (35, 35, 38)])
def test_a_mask_over_the_mouth_is_no_skin(colour):
    points = seen().landmarks.points_px.numpy()
    painted = astronaut().copy()
    outline = points[[227, 116, 197, 345, 447, 365, 152, 136]]
    cv2.fillPoly(painted, [outline.round().astype(np.int32)], colour)
    mask = skin_mask(photo(painted).linear, seen().landmarks).numpy()
    at = lambda place: float(mask[int(place[1]), int(place[0])])  # noqa: E731
    assert max(at(points[i]) for i in (0, 17, 199, 50, 280)) < 0.2
    assert at(points[151]) > 0.8 and at(points[9]) > 0.8


def test_a_cover_that_leaves_no_skin_is_none(monkeypatch):
    monkeypatch.setattr("relit.observe.skin_mask._mouth_cover", lambda colour, lips, *_: np.ones(lips.shape, bool))
    mask = skin_mask(photo(astronaut()).linear, seen().landmarks).numpy()
    points = seen().landmarks.points_px.numpy()
    assert min(mask[tuple(points[i].astype(int)[::-1])] for i in (4, 50, 280)) > 0.8


def test_a_bright_frame_is_no_skin():
    points = seen().landmarks.points_px.numpy()
    size = face_size_px(points)
    painted = astronaut().copy()
    for eye in ((33, 133), (362, 263)):
        centre = points[list(eye)].mean(0).round().astype(int).tolist()
        cv2.circle(painted, centre, int(0.15 * size), (250, 250, 255), max(2, int(0.02 * size)))
    between = [points[i].round().astype(int).tolist() for i in (133, 362)]
    cv2.line(painted, *between, (250, 250, 255), max(2, int(0.02 * size)))
    mask = skin_mask(photo(painted).linear, seen().landmarks).numpy()
    eye = points[[33, 133]].mean(0)
    assert mask[int(eye[1] + 0.15 * size), int(eye[0])] < 0.5 and mask[tuple(points[50].astype(int)[::-1])] > 0.8


def test_openings_cover_eyes_only_when_open():
    points = seen().landmarks.points_px.numpy().copy()
    opened = openings(points, 512, 512).sum()
    for upper, lower in zip((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155), strict=True):
        points[upper] = points[lower]
    assert openings(points, 512, 512).sum() < opened


def test_a_walk_goes_on_to_an_edge_and_halts_there():
    features, seeds = np.zeros((20, 80, 3)), np.zeros((20, 80), int)
    features[:, 30:, 0] = 1.0
    seeds[:, :20], seeds[:, 60:] = 1, -1
    probability = random_walk(features, np.full((20, 80), 0.5), seeds)
    assert probability[:, :30].min() > 0.75
    assert probability[:, 30:].max() < 0.5


def test_a_high_forehead_is_skin_up_to_the_hair():
    points = seen().landmarks.points_px.numpy()
    up = 0.16 * (points[10] - points[152])
    outline = [points[54], *(points[[67, 10, 297]] + up), points[284], points[334], points[105]]
    painted = astronaut().copy()
    skin = painted[tuple(points[9].astype(int)[::-1])].tolist()
    cv2.fillPoly(painted, [np.array(outline).round().astype(np.int32)], skin)
    mask = skin_mask(photo(painted).linear, seen().landmarks).numpy()
    at = lambda place: float(mask[int(place[1]), int(place[0])])  # noqa: E731
    assert at(points[10] + 0.7 * up) > 0.8
    assert at(points[10] + 1.6 * up) < 0.1

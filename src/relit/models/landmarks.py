"""Faces, their 478 landmarks and 52 expression hints, by MediaPipe's Face Landmarker networks run with LiteRT.

The task file is MediaPipe's own (Apache-2.0); the code around its three networks is written here, because the
mediapipe package brings about 540 MB and libGL.
"""

import math
import os
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from jaxtyping import Float, UInt8

from relit.models.head import landmark_points, load_head_model
from relit.models.registry import asset_path
from relit.types import Landmarks

RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)  # corners of the subject's eyes, from the image's left to its right
DETECTOR_PX, LANDMARK_PX = 128, 256
# Sides of the searched squares over the photo's long side. The detector finds faces of about 15 to 90 % of its input.
SEARCH_SCALES, DEEP_SCALES = (1.5, 1.0, 0.5, 0.25), (0.125,)
MIN_DETECTION, MIN_LANDMARK_SCORE = 0.5, 0.9
MAX_OVERLAP = 0.3
ROI_SCALE = 1.5  # side of the landmark network's view over the face box (face_landmarker_graph.cc)
REFINEMENTS = 2
# Views that are averaged: rotation (radians), scale, shift (of the view's side), mirrored.
VIEWS = (
    (0.0, 1.0, (0.0, 0.0), False),
    (0.0, 1.0, (0.0, 0.0), True),
    (0.05, 0.94, (0.012, -0.008), False),
    (-0.05, 0.94, (-0.012, -0.008), True),
    (-0.05, 1.07, (-0.008, 0.012), False),
    (0.05, 1.07, (0.008, 0.012), True),
)
# fmt: off
BLENDSHAPE_LANDMARKS = (  # what the blendshape network reads: kLandmarksSubsetIdxs of face_blendshapes_graph.cc
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251,
    263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318,
    321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)
# fmt: on


@dataclass(frozen=True)
class Detection:
    """A face as the detector saw it, in pixels."""

    box_px: tuple[float, float, float, float]  # left, top, right, bottom
    eyes_px: tuple[tuple[float, float], tuple[float, float]]  # the subject's right eye, then the left
    score: float


@dataclass(frozen=True)
class _View:
    """A square of the image in the network's eyes: rotated, perhaps mirrored."""

    centre: np.ndarray  # (2,)
    side: float
    angle: float
    mirrored: bool = False

    def image_from_unit(self) -> np.ndarray:
        """The 2x3 matrix from view coordinates in [0, 1] to pixels."""
        cosine, sine = math.cos(self.angle) * self.side, math.sin(self.angle) * self.side
        turn = np.array([[cosine, -sine], [sine, cosine]])
        if self.mirrored:
            turn = turn * [-1, 1]
        return np.c_[turn, self.centre - turn @ [0.5, 0.5]]


def detect_faces(rgb8: UInt8[np.ndarray, "H W 3"]) -> tuple[Detection, ...]:
    """The faces of an upright image, numbered from the left.

    Squares of several sizes are searched, down to an eighth of the long side when nothing larger is found. Of
    overlapping finds the best is kept, if the landmark network, too, sees a face there.

    Source: Bazarevsky et al. 2019, "BlazeFace" (the network and its anchors).
    Differs: the published pipeline looks once at the whole frame and so misses faces below about 15 % of it.
    """
    for scales in (SEARCH_SCALES, DEEP_SCALES):
        found = _best_of_overlapping([face for scale in scales for face in _search(rgb8, scale)])
        found = _best_of_overlapping([known for face in found if (known := _recognised(rgb8, face))])
        if found:
            break
    return tuple(sorted(found, key=lambda face: face.box_px[0] + face.box_px[2]))


def detect_landmarks(rgb8: UInt8[np.ndarray, "H W 3"], face: Detection) -> Landmarks:
    """The landmarks of a detected face: the mean over several views of it.

    The view follows the landmarks, as in MediaPipe's tracking, and then is turned, scaled, shifted and mirrored a little.
    `score` is the landmark network's own belief that it sees a face.

    Source: Kartynnik et al. 2019 (landmarks), Grishchenko et al. 2020 (attention mesh with irises).
    """
    view = _first_view(face)
    for _ in range(REFINEMENTS):
        view = _follow(_read(rgb8, view)[0])
    turned = [
        _View(view.centre + np.array(shift) * view.side, view.side * scale, view.angle + angle, mirrored)
        for angle, scale, shift, mirrored in VIEWS
    ]
    results = [_read(rgb8, each) for each in turned]
    points = np.mean([result[0] for result in results], 0)
    return Landmarks(
        points_px=torch.from_numpy(points[:, :2].astype(np.float32)),
        depth_px=torch.from_numpy(points[:, 2].astype(np.float32)),
        blendshapes=torch.from_numpy(_blendshapes(points, view)),
        score=float(np.mean([result[1] for result in results])),
    )


@lru_cache(maxsize=1)
def mirror_partners() -> np.ndarray:
    """Index (478,) of the landmark on the other side of the face; midline landmarks are their own."""
    model = load_head_model()
    points = landmark_points(model, model.mean).numpy() - model.landmark_offset.numpy()
    partner = np.zeros(478, np.int64)
    for group in (slice(0, 468), slice(468, 478)):
        here = points[group]
        distance = np.linalg.norm(here[:, None] * [-1, 1, 1] - here[None], axis=-1)
        partner[group] = distance.argmin(1) + group.start
    return partner


@lru_cache(maxsize=3)
def _network(name: str) -> Interpreter:
    with zipfile.ZipFile(asset_path("face_landmarker")) as task:
        weights = task.read(f"{name}.tflite")
    with _quiet_stderr():
        network = Interpreter(model_content=weights, num_threads=2)
        network.allocate_tensors()
    return network


@contextmanager
def _quiet_stderr():
    """LiteRT announces its delegate on the process's standard error, where users expect errors only."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _run(name: str, given: np.ndarray) -> list[np.ndarray]:
    network = _network(name)
    network.set_tensor(network.get_input_details()[0]["index"], given.astype(np.float32)[None])
    network.invoke()
    return [network.get_tensor(out["index"]) for out in network.get_output_details()]


def _search(rgb8: np.ndarray, scale: float) -> list[Detection]:
    """Detections in all squares of one size, half overlapping."""
    height, width = rgb8.shape[:2]
    side = max(height, width) * scale
    if side < DETECTOR_PX and scale < 1:
        return []
    shrink = min(1.0, DETECTOR_PX / side)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(rgb8, size, interpolation=cv2.INTER_AREA) if shrink < 1 else rgb8
    factor = np.array([width / small.shape[1], height / small.shape[0]])
    step = side * shrink
    found = []
    for left in _starts(small.shape[1], step):
        for top in _starts(small.shape[0], step):
            corner = np.array([left, top])
            tile = _warp(small, np.array([[step, 0, left], [0, step, top]]), DETECTOR_PX, cv2.BORDER_CONSTANT)
            for box, eyes, score in _detector(tile):
                if not _cut_by_tile(box, corner, step, small.shape):
                    box, eyes = (box * step + corner) * factor, (eyes * step + corner) * factor
                    found.append(Detection(tuple(box.ravel().tolist()), tuple(map(tuple, eyes.tolist())), score))
    return found


def _starts(length: float, step: float) -> np.ndarray:
    """Where tiles begin along one axis: half overlapping, or centred when one covers it all."""
    if length <= step:
        return np.array([(length - step) / 2])
    return np.linspace(0, length - step, math.ceil((length - step) / (step / 2)) + 1)


def _cut_by_tile(box: np.ndarray, corner: np.ndarray, step: float, shape: tuple) -> bool:
    """Whether a face leaves its tile on a side where the image goes on (another tile sees it whole)."""
    limit = np.array(shape[1::-1])
    before = (box[0] < -0.02) & (corner > 0.5)
    after = (box[1] > 1.02) & (corner + step < limit - 0.5)
    return bool((before | after).any())


@lru_cache(maxsize=1)
def _anchors() -> np.ndarray:
    """Centres (896, 2) of the detector's anchors: 2 per cell of a 16x16 grid, then 6 per cell of an 8x8 grid."""
    grids = []
    for cells, copies in ((16, 2), (8, 6)):
        y, x = np.mgrid[:cells, :cells]
        grids.append(np.repeat((np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells, copies, 0))
    return np.concatenate(grids)


def _detector(tile: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Boxes (2, 2), eyes (2, 2), both in [0, 1] of the tile, and scores."""
    regressors, logits = _run("face_detector", tile / 127.5 - 1)
    scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -80, 80)))
    found = []
    for index in np.flatnonzero(scores > MIN_DETECTION):
        values, anchor = regressors[0, index].reshape(8, 2) / DETECTOR_PX, _anchors()[index]
        centre, half = values[0] + anchor, values[1] / 2
        found.append((np.stack([centre - half, centre + half]), values[2:4] + anchor, float(scores[index])))
    return found


def _best_of_overlapping(faces: list[Detection]) -> list[Detection]:
    """Non-maximum suppression; overlap counts over the smaller box, so a part of a face is no second face."""
    kept: list[Detection] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(_overlap(face.box_px, other.box_px) < MAX_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _recognised(rgb8: np.ndarray, face: Detection) -> Detection | None:
    """The face with the box of its landmarks, if the landmark network sees one and still does where it points to.

    Two finds of one face then coincide, and textures that resemble a face at first sight drop out.
    """
    view = _first_view(face)
    for _ in range(2):
        points, score = _read(rgb8, view)
        if score < MIN_LANDMARK_SCORE:
            return None
        view = _follow(points)
    low, high = points[:468, :2].min(0).tolist(), points[:468, :2].max(0).tolist()
    eyes = tuple(tuple(points[list(eye), :2].mean(0).tolist()) for eye in (RIGHT_EYE, LEFT_EYE))
    return Detection((*low, *high), eyes, face.score)


def _overlap(a: tuple, b: tuple) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return width * height / max(smaller, 1e-9)


def _angle(direction: np.ndarray) -> float:
    return math.atan2(direction[1], direction[0])


def _first_view(face: Detection) -> _View:
    """The view that the detector's box and eyes ask for."""
    eyes, box = np.array(face.eyes_px), np.array(face.box_px)
    return _View((box[:2] + box[2:]) / 2, ROI_SCALE * float((box[2:] - box[:2]).max()), _angle(eyes[1] - eyes[0]))


def _follow(points: np.ndarray) -> _View:
    """The view that the landmarks ask for: upright in the face's own frame, centred on their box."""
    angle = _angle(points[LEFT_EYE[1], :2] - points[RIGHT_EYE[0], :2])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    upright = points[:468, :2] @ turn
    low, high = upright.min(0), upright.max(0)
    return _View(turn @ ((low + high) / 2), ROI_SCALE * float((high - low).max()), angle)


def _warp(rgb8: np.ndarray, image_from_unit: np.ndarray, size: int, border: int) -> np.ndarray:
    """The square view, `size` pixels wide, reduced without aliasing."""
    scale = float(np.linalg.norm(image_from_unit[:, 0])) / size
    matrix = image_from_unit
    if scale >= 2:
        corners = (matrix @ np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]])).T
        low = np.clip(np.floor(corners.min(0)).astype(int) - 2, 0, None)
        high = np.clip(np.ceil(corners.max(0)).astype(int) + 2, 0, rgb8.shape[1::-1])
        part = rgb8[low[1] : high[1], low[0] : high[0]]
        if part.size:
            width, height = (max(1, round(side / int(scale))) for side in part.shape[1::-1])
            factor = np.array([width / part.shape[1], height / part.shape[0]])
            rgb8 = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
            matrix = np.c_[matrix[:, :2], matrix[:, 2] - low] * factor[:, None]
    linear = matrix[:, :2] / size
    # OpenCV counts pixel centres at integers, relit at half-integers
    centred = np.c_[linear, matrix[:, 2] + linear @ [0.5, 0.5] - 0.5]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(rgb8, centred, (size, size), flags=flags, borderMode=border)


def _read(rgb8: np.ndarray, view: _View) -> tuple[np.ndarray, float]:
    """Landmarks (478, 3) in pixels and the network's face score, from one view."""
    matrix = view.image_from_unit()
    crop = _warp(rgb8, matrix, LANDMARK_PX, cv2.BORDER_REPLICATE)
    landmarks, presence, _ = _run("face_landmarks_detector", crop / 255.0)
    points = landmarks.reshape(478, 3) / LANDMARK_PX
    points = np.c_[points[:, :2] @ matrix[:, :2].T + matrix[:, 2], points[:, 2] * view.side]
    if view.mirrored:
        points = points[mirror_partners()]
    return points, float(1 / (1 + np.exp(-np.clip(presence.item(), -80, 80))))


def _blendshapes(points: np.ndarray, view: _View) -> Float[np.ndarray, "52"]:
    """Expression hints in the order of ARKIT_NAMES.

    The network's own order is a neutral entry, then ARKIT_NAMES without its last, tongueOut, which it does not know.
    """
    turn = view.image_from_unit()[:, :2] / view.side
    upright = (points[list(BLENDSHAPE_LANDMARKS), :2] - view.centre) @ turn / view.side * LANDMARK_PX
    (values,) = _run("face_blendshapes", upright)
    return np.append(np.clip(values[1:], 0, 1), 0).astype(np.float32)

"""Photo -> Observation: the face, its landmarks, what is visible skin, and who it is."""

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from relit.appearance.colour import srgb_bytes
from relit.errors import NoFaceFound
from relit.models.head import landmark_points, load_head_model
from relit.models.landmarks import Detection, detect_faces, detect_landmarks
from relit.models.recognition import align_face, load_recognition
from relit.observe.regions import face_size_px
from relit.observe.skin_mask import skin_mask
from relit.types import Landmarks, Observation, Photo

SMALLEST_FACE_PX, COARSE_FACE_PX = 64, 200
FARTHEST_YAW_RAD, WIDE_YAW_RAD = math.radians(75), math.radians(45)
# Finest detail over the face's size at which it is still seen, as the standard deviation of the blur that a perfectly
# sharp photo would need to look like this one.
BLURRED, SOFT = 0.035, 0.012
UPRIGHT = "use a photo that shows the face upright, uncovered and from the front"


def observe(photo: Photo, face: int | None = None) -> Observation:
    """What a photo shows of one face.

    Args:
        face: which face, counted from the left from 1; the largest if None.

    Raises:
        NoFaceFound: no face, the wanted one does not exist, or it is too small, too blurred or turned too far.
    """
    rgb8 = srgb_bytes(photo.linear)
    chosen, told = _choose(photo.name, detect_faces(rgb8), face)
    landmarks = detect_landmarks(rgb8, chosen)
    points = landmarks.points_px.numpy()
    warnings = [*photo.warnings, *told]
    warnings += _size_warnings(photo.name, points)
    warnings += _pose_warnings(photo, landmarks)
    warnings += _sharpness_warnings(photo.name, rgb8, points)
    warnings += _crop_warnings(photo.name, points, rgb8.shape)
    with torch.no_grad():
        embedding = load_recognition()(align_face(photo.linear, landmarks.points_px))[0]
    low, high = points[:468].min(0).tolist(), points[:468].max(0).tolist()
    return Observation(
        photo=photo,
        landmarks=landmarks,
        face_box_px=(*low, *high),
        skin_mask=skin_mask(photo.linear, landmarks),
        identity_embedding=embedding,
        warnings=tuple(warnings),
    )


def head_yaw_rad(landmarks: Landmarks, size_px: tuple[int, int], focal_35mm: float | None = None) -> float:
    """How far the head is turned to its left against the camera's axis, from the mean head's landmarks.

    Args:
        size_px: width and height of the photo.
        focal_35mm: of the photo; that of a short portrait lens if None.
    """
    model = load_head_model()
    head = landmark_points(model, model.mean)[:468].double().numpy()
    long_side = max(size_px)
    focal = long_side * (focal_35mm or 50.0) / 36.0
    intrinsics = np.array([[focal, 0, size_px[0] / 2], [0, focal, size_px[1] / 2], [0, 0, 1]])
    seen = landmarks.points_px[:468].double().numpy()
    _, turn, _ = cv2.solvePnP(head, seen, intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)
    forward = cv2.Rodrigues(turn)[0][:, 2]
    return math.atan2(forward[0], -forward[2])


def blur_ratio(rgb8: UInt8[np.ndarray, "H W 3"], points_px: Float[np.ndarray, "478 2"]) -> float:
    """The standard deviation of the photo's blur over the face's size, estimated from its eyes, brows, nose and mouth.

    The strongest edges of a face are steps; blurring once more by a known amount weakens a step of blur s by the factor
    s / sqrt(s^2 + t^2), which gives s.

    Source: Zhuo & Sim 2011, "Defocus map estimation from a single image", equation 5.
    """
    low = np.floor(points_px[:468].min(0)).astype(int).clip(0)
    high = np.ceil(points_px[:468].max(0)).astype(int)
    part = rgb8[low[1] : high[1], low[0] : high[0]]
    size = face_size_px(points_px)
    blur = 0.0
    for working_px in (256, 64):  # the coarse look only for what the fine one finds blurred beyond its reach
        scale = min(1.0, working_px / size)
        if min(part.shape[:2]) * scale < 8:
            return blur
        small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        blur = _edge_blur_px(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)) / (size * scale)
        if blur < SOFT:
            return blur
    return blur


def _edge_blur_px(grey: np.ndarray, more_px: float = 1.5) -> float:
    """The blur of the strongest edges."""
    slope = lambda image: np.hypot(cv2.Sobel(image, -1, 1, 0), cv2.Sobel(image, -1, 0, 1))  # noqa: E731
    sharp = slope(cv2.GaussianBlur(grey, (0, 0), 0.5))
    soft = slope(cv2.GaussianBlur(grey, (0, 0), math.hypot(0.5, more_px)))
    strong = sharp >= np.quantile(sharp, 0.97)
    ratio = float(np.median(sharp[strong] / np.maximum(soft[strong], 1e-3)))
    return more_px / math.sqrt(max(ratio**2 - 1, 1e-6))


def _choose(name: str, faces: tuple[Detection, ...], face: int | None) -> tuple[Detection, list[str]]:
    if not faces:
        raise NoFaceFound(f"{name} shows no face that could be found; {UPRIGHT}")
    if face is not None:
        if not 1 <= face <= len(faces):
            known = "one face" if len(faces) == 1 else f"{len(faces)} faces"
            raise NoFaceFound(f"{name} shows {known}, not a face {face}; count from the left, from 1 to {len(faces)}")
        return faces[face - 1], []
    largest = max(range(len(faces)), key=lambda i: faces[i].box_px[2] - faces[i].box_px[0])
    if len(faces) == 1:
        return faces[0], []
    told = f"{name} shows {len(faces)} faces; the largest, number {largest + 1} from the left, is used (--face N chooses)"
    return faces[largest], [told]


def _size_warnings(name: str, points: np.ndarray) -> list[str]:
    size = face_size_px(points)
    if size < SMALLEST_FACE_PX:
        raise NoFaceFound(
            f"the face in {name} is only {size:.0f} px high; give a photo where it has at least {SMALLEST_FACE_PX} px, "
            "better 500"
        )
    if size < COARSE_FACE_PX:
        return [f"the face in {name} is only {size:.0f} px high; likeness and skin detail suffer below 200 px"]
    return []


def _pose_warnings(photo: Photo, landmarks: Landmarks) -> list[str]:
    height, width = photo.linear.shape[:2]
    yaw = abs(head_yaw_rad(landmarks, (width, height), photo.focal_35mm))
    turned = f"the head in {photo.name} is turned by {math.degrees(yaw):.0f} degrees"
    if yaw > FARTHEST_YAW_RAD:
        raise NoFaceFound(f"{turned}; give a photo turned by at most {math.degrees(FARTHEST_YAW_RAD):.0f}")
    return [f"{turned}; the far side is completed by symmetry"] if yaw > WIDE_YAW_RAD else []


def _sharpness_warnings(name: str, rgb8: np.ndarray, points: np.ndarray) -> list[str]:
    blur = blur_ratio(rgb8, points)
    if blur > BLURRED:
        raise NoFaceFound(f"the face in {name} is too blurred to be fitted; give a sharper photo")
    return [f"the face in {name} is soft; its skin detail will be synthesised"] if blur > SOFT else []


def _crop_warnings(name: str, points: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    """A warning when the frame cuts the face."""
    outside = (points[:468] < 0).any(1) | (points[:468] > [shape[1], shape[0]]).any(1)
    return [f"the frame of {name} cuts the face; what lies outside is completed"] if outside.mean() > 0.03 else []

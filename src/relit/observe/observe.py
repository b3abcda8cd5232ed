"""Photo -> Observation: the face, its landmarks, what is visible skin, and who it is."""

import math
from dataclasses import replace

import cv2
import numpy as np
import torch

from relit.appearance.colour import srgb_from_linear
from relit.errors import NoFaceFound
from relit.models.landmarks import Detection, detect_faces, detect_landmarks
from relit.models.recognition import align_face, load_recognition
from relit.observe.skin_mask import skin_mask
from relit.types import Landmarks, Observation, Photo

SMALLEST_FACE_PX = 64
PROFILE_RAD, TURNED_RAD = math.radians(75), math.radians(45)
# Variance of the Laplacian of the face at 128 px in 8-bit grey: portraits measure 150 to 3000.
BLURRED, SOFT = 6.0, 40.0


def observe(photo: Photo, face: int | None = None) -> Observation:
    """What a photo shows of one face.

    Args:
        face: which face, counted from the left from 1; the largest if None.

    Raises:
        NoFaceFound: no face, the wanted one does not exist, or it is too small, too blurred or turned too far.
    """
    rgb = (srgb_from_linear(photo.linear).clamp(0, 1) * 255).round().byte().numpy()
    faces = detect_faces(rgb)
    if not faces:
        raise NoFaceFound(f"{photo.name}: no face was found; use a photo that shows one face upright and unobstructed")
    chosen, warnings = _choose(photo.name, faces, face)
    left, top, right, bottom = chosen.box_px
    if min(right - left, bottom - top) < SMALLEST_FACE_PX:
        raise NoFaceFound(
            f"{photo.name}: the face is {min(right - left, bottom - top):.0f} px wide, at least {SMALLEST_FACE_PX} px "
            "are needed; use a larger picture"
        )
    landmarks = detect_landmarks(rgb, chosen)
    if landmarks.score < 0.5:
        raise NoFaceFound(f"{photo.name}: what looked like a face has no face's features; use a clearer photo")
    warnings += _check_pose(photo.name, landmarks) + _check_sharpness(photo.name, rgb, landmarks)
    points = landmarks.points_px[:468]
    with torch.no_grad():
        embedding = load_recognition()(align_face(photo.linear, landmarks.points_px))[0]
    low, high = points.min(0).values.tolist(), points.max(0).values.tolist()
    return Observation(
        photo=replace(photo),
        landmarks=landmarks,
        face_box_px=(low[0], low[1], high[0], high[1]),
        skin_mask=skin_mask(photo.linear, landmarks),
        identity_embedding=torch.nn.functional.normalize(embedding, dim=0),
        warnings=photo.warnings + warnings,
    )


def _choose(name: str, faces: list[Detection], face: int | None) -> tuple[Detection, tuple[str, ...]]:
    area = lambda f: (f.box_px[2] - f.box_px[0]) * (f.box_px[3] - f.box_px[1])  # noqa: E731
    if face is not None:
        if not 1 <= face <= len(faces):
            raise NoFaceFound(f"{name}: face {face} was asked for, but {len(faces)} found; count from the left from 1")
        return faces[face - 1], ()
    largest = max(range(len(faces)), key=lambda i: area(faces[i]))
    if len(faces) == 1:
        return faces[0], ()
    told = f"{name}: {len(faces)} faces, the largest (number {largest + 1} from the left) was taken; --face N chooses"
    return faces[largest], (told,)


def _check_pose(name: str, landmarks: Landmarks) -> tuple[str, ...]:
    """Warnings about a turned head; yaw from the detector's relative 3D points."""
    points = torch.cat([landmarks.points_px, landmarks.depth_px[:, None]], 1)
    across = points[454] - points[234]  # from the subject's right ear to the left one
    yaw = abs(math.atan2(float(across[2]), float(across[0])))
    if yaw > PROFILE_RAD:
        raise NoFaceFound(f"{name}: the head is turned by {math.degrees(yaw):.0f} degrees; at most 75 can be fitted")
    if yaw > TURNED_RAD:
        return (f"{name}: the head is turned by {math.degrees(yaw):.0f} degrees; the far side is completed by symmetry",)
    return ()


def _check_sharpness(name: str, rgb: np.ndarray, landmarks: Landmarks) -> tuple[str, ...]:
    points = landmarks.points_px[:468].numpy()
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int)
    crop = rgb[max(low[1], 0) : high[1], max(low[0], 0) : high[0]]
    grey = cv2.cvtColor(cv2.resize(crop, (128, 128), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    sharpness = cv2.Laplacian(grey.astype(np.float32), cv2.CV_32F).var()
    if sharpness < BLURRED:
        raise NoFaceFound(f"{name}: the face is too blurred to be fitted; use a sharper photo")
    return (f"{name}: the face is soft; skin detail will be synthesised",) if sharpness < SOFT else ()

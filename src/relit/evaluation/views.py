"""What heads look like: recovered and true ones through relit's renderer, and who recognition networks see in them."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from relit.appearance.colour import linear_from_srgb, srgb_bytes
from relit.appearance.lighting import load_lighting, rotate_lighting
from relit.errors import AssetError
from relit.evaluation.identity import identity_embedding
from relit.evaluation.portraits import picture_of
from relit.evaluation.testset import TruePhoto, TrueSubject
from relit.geometry.camera import look_at_face, project, scaled
from relit.models.head import load_head_model, posed_vertices
from relit.models.landmarks import detect_faces, detect_landmarks
from relit.models.recognition import align_face, load_recognition
from relit.render.portrait import render_head, render_posed
from relit.render.rasterise import interpolate, rasterise
from relit.types import Camera, Head, Lighting

RELIGHTS = ("sun", "window", "sunset", "overcast")  # none made from a panorama of the test split
NEW_LIGHT = "studio"
YAW_DEG = 30.0
RELIT_PX = 384
LIKENESS_PX = 400
SEEN = 0.999  # least coverage of a pixel that is compared
FRONTAL = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # head axes -> camera axes of a frontal face


def facing(camera: Camera, light: str) -> Lighting:
    """A built-in light that stands fixed to the camera, in the frame of the head before it."""
    return rotate_lighting(load_lighting(light), camera.camera_from_head[:3, :3].T @ FRONTAL)


def small(camera: Camera, longest_px: int = RELIT_PX) -> Camera:
    """The camera with the longest side of its picture reduced."""
    return scaled(camera, min(1.0, longest_px / max(camera.size_px)))


def true_render(subject: TrueSubject, photo: TruePhoto, posed: Tensor, light: str) -> np.ndarray:
    """(H, W, 4) linear RGBA of the true head, its vertices as `posed`, in the photo's camera and another light."""
    camera = small(photo.camera)
    return render_posed(subject.maps, posed, None, camera, facing(camera, light), 1).numpy()


def found_render(head: Head, fit_index: int, light: str) -> np.ndarray:
    """(H, W, 4) linear RGBA of the recovered head, without lashes as the true one, in its camera and another light."""
    camera = small(head.fits[fit_index].camera)
    posed = found_vertices(head, fit_index)
    return render_posed(head.maps, posed, None, camera, facing(camera, light), 1, folded=1.0).numpy()


def fitted_render(head: Head, dressed_as: Head) -> np.ndarray:
    """(H, W, 4) RGBA, as linear as the photo: a head's first fit, with its own maps or those of another head."""
    fit = head.fits[0]
    worn = replace(head, maps=dressed_as.maps)
    picture = render_head(worn, fit.camera, fit.lighting, fit.expression, fit.gaze_rad, supersample=1)
    return torch.cat([picture[..., :3] * fit.exposure, picture[..., 3:]], -1).numpy()


def found_vertices(head: Head, fit_index: int = 0) -> Tensor:
    """(V, 3) the recovered head as in a photo."""
    fit = head.fits[fit_index]
    return posed_vertices(load_head_model(), head.vertices, fit.expression, fit.gaze_rad, head.morphs)


def face_pixels(vertices: Tensor, camera: Camera, face: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels that show a texel of the face mask."""
    model = load_head_model()
    fragments = rasterise(project(camera, vertices), model.triangles, camera.size_px)
    uv = interpolate(model.uv, model.render_triangles, fragments).numpy()
    at = (uv * len(face)).astype(int).clip(0, len(face) - 1)
    return (fragments.triangle >= 0).numpy() & face[at[..., 1], at[..., 0]]


@dataclass(frozen=True)
class Look:
    """A picture of somebody, and what the networks say of it; None where no face is found or a network is missing."""

    picture: np.ndarray  # (H, W, 3) uint8
    dlib: Tensor | None
    sface: Tensor | None
    found: bool


def look_at(linear: Tensor) -> Look:
    """A linear picture (H, W, 3) as a stranger's program would take it: the face is detected and aligned anew."""
    coded = srgb_bytes(linear)
    faces = detect_faces(coded)
    if not faces:
        return Look(coded, None, None, False)
    largest = max(faces, key=lambda face: face.box_px[2] - face.box_px[0])
    points = detect_landmarks(coded, largest).points_px
    stored = linear_from_srgb(torch.from_numpy(coded) / 255)
    try:
        dlib = identity_embedding(stored, points)
    except AssetError:
        dlib = None
    with torch.no_grad():
        sface = load_recognition()(align_face(stored, points))[0]
    return Look(coded, dlib, sface, True)


def likenesses(head: Head) -> dict[str, Tensor]:
    """Linear renders before grey: in the photo's pose and light, in another light, and turned by 30 degrees both ways.

    All have the photo's expression; none has a pixel of it.
    """
    fit = head.fits[0]
    camera = small(fit.camera, LIKENESS_PX)
    own = picture_of(head, camera, fit.lighting, fit.expression, fit.gaze_rad) * fit.exposure
    renders = {"own": own, "new_light": picture_of(head, camera, facing(camera, NEW_LIGHT), fit.expression, fit.gaze_rad)}
    for name, sign in (("yaw_left", 1), ("yaw_right", -1)):
        turned = look_at_face((LIKENESS_PX, LIKENESS_PX), yaw_rad=sign * math.radians(YAW_DEG))
        renders[name] = picture_of(head, turned, load_lighting(NEW_LIGHT), fit.expression)
    return renders

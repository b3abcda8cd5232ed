"""One judged case: a subject's truth, the photos a method was given, its answer, and what metrics share of them."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.colour import srgb_from_linear
from relit.evaluation.contenders import Answer
from relit.evaluation.geometry import FaceError, Similarity, face_error, similarity_alignment, vertex_areas
from relit.evaluation.testset import GARMENT, TruePhoto, TrueSubject
from relit.evaluation.truth import SEVEN_OF_MEDIAPIPE
from relit.evaluation.views import (
    RELIGHTS,
    Look,
    face_pixels,
    fitted_render,
    found_render,
    found_vertices,
    likenesses,
    look_at,
    small,
    true_render,
    true_transfer,
)
from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.geometry.uv import rasterise_uv
from relit.models.head import PARTS, expression_morphs, landmark_points, load_head_model, posed_vertices
from relit.models.regions import region_masks
from relit.render.rasterise import Fragments, interpolate, rasterise

GRAZING = 0.2  # least cosine to the camera of a texel that counts as seen
DEPTH_SLACK_M = 0.002
COVERED = 0.25  # of a pixel, by hair or things worn, from which the skin behind does not count as seen
NOW_RADIUS = 0.7  # of the sum of eye distance and nose length, Sanyal et al. 2019
MARGIN_M = 0.04
LABELLED_M = 0.012  # how far around the lips REALY's mouth reaches here


@dataclass(frozen=True)
class Target:
    """The other photo of a texture swap, with its own answer."""

    photo: TruePhoto
    answer: Answer


@dataclass(frozen=True)
class Case:
    """What metrics look at. Textures are compared at the truth's size, in numpy, over the face."""

    subject: TrueSubject
    photos: tuple[TruePhoto, ...]
    answer: Answer
    target: Target | None = None

    @cached_property
    def face(self) -> np.ndarray:
        """(H, W) bool: the texels that are compared, see `face_mask`."""
        return face_mask(self.subject.maps.roughness.shape[0])

    @cached_property
    def regions(self) -> dict[str, np.ndarray]:
        """(H, W) bool masks: the whole face, what the photos show of it, and what they do not."""
        seen = np.zeros_like(self.face)
        for photo, vertices in zip(self.photos, self.posed[: len(self.photos)], strict=True):
            seen |= visible_texels(photo, vertices, len(self.face))
        return {"whole": self.face, "visible": self.face & seen, "unseen": self.face & ~seen}

    @cached_property
    def posed(self) -> tuple[Tensor, ...]:
        """(V, 3) the true head as each photo shows it, and as the target photo does."""
        model = load_head_model()
        morphs = expression_morphs(model, self.subject.neutral)
        photos = (*self.photos, *([self.target.photo] if self.target else []))
        return tuple(posed_vertices(model, self.subject.neutral, photo.expression, photo.gaze_rad, morphs) for photo in photos)

    @cached_property
    def bare(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) bool: pixels that show bare skin of the face, in the first photo and in the target photo."""
        photos = self.photos[0], self.target.photo
        return tuple(
            face_pixels(vertices, photo.camera, self.face) & (photo.part == 1) & (photo.cover < COVERED)
            for photo, vertices in zip(photos, (self.posed[0], self.posed[-1]), strict=True)
        )

    @cached_property
    def found_maps(self) -> dict[str, np.ndarray]:
        """The recovered maps at the truth's size, area-averaged; normals are made unit again."""
        size = self.subject.maps.roughness.shape
        maps = self.answer.head.maps
        return {
            name: np.asarray(_unit(resized) if name.endswith("normal") else resized)
            for name in MAPS
            for resized in [at_size(getattr(maps, name), size)]
        }

    @cached_property
    def true_maps(self) -> dict[str, np.ndarray]:
        """The true maps."""
        return {name: getattr(self.subject.maps, name).numpy() for name in MAPS}

    @cached_property
    def scan(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Points, area of each, their vertex numbers, and seven landmarks of the true face that meshes are measured from.

        The skin within 0.7 (eye distance + nose length) of the tip of the nose, without neck and scalp: neutral, or as
        in the photo where the method gives the face as in the photo.
        """
        model = load_head_model()
        vertices = self.posed[0] if self.answer.mesh.posed else self.subject.neutral
        points = (landmark_points(model, vertices) - model.landmark_offset).double().numpy()
        seven, tip, bridge = points[list(SEVEN_OF_MEDIAPIPE)], points[4], points[6]
        radius = NOW_RADIUS * (np.linalg.norm(seven[0] - seven[3]) + np.linalg.norm(bridge - seven[4]))
        triangles = model.triangles[model.part == PARTS.index("skin")].numpy()
        places = vertices.double().numpy()
        near = np.zeros(len(places), bool)
        near[np.unique(triangles)] = True
        near &= (np.linalg.norm(places - tip, axis=1) < radius) & (model.face_weight.numpy() > 0)
        return places[near], vertex_areas(places, triangles)[near], np.flatnonzero(near), seven

    @cached_property
    def shape_error(self) -> FaceError:
        """Scan to mesh with a free scale."""
        return self._error(True)

    @cached_property
    def rigid_error(self) -> FaceError:
        """Scan to mesh without scaling."""
        return self._error(False)

    def _error(self, with_scale: bool) -> FaceError:
        points, area, _, _ = self.scan
        mesh = self.answer.mesh
        return face_error(points, area, mesh.vertices, self.near_triangles, self.landmark_alignment, with_scale)

    @cached_property
    def near_triangles(self) -> np.ndarray:
        """(T, 3) the recovered mesh without what lies so far from the true face that no closest point can lie on it."""
        points, mesh = self.scan[0], self.answer.mesh
        centres = self.landmark_alignment(mesh.vertices)[mesh.triangles].mean(1)
        low, high = points.min(0) - MARGIN_M, points.max(0) + MARGIN_M
        return mesh.triangles[((centres > low) & (centres < high)).all(1)]

    @cached_property
    def photo_look(self) -> Look:
        """The first photo as recognition networks see it."""
        return look_at(self.photos[0].photo.linear)

    @cached_property
    def render_looks(self) -> dict[str, Look]:
        """Renders of the recovered head as recognition networks see them, by name; see `views.likenesses`."""
        return {name: look_at(picture) for name, picture in likenesses(self.answer.head).items()}

    @cached_property
    def relit_pairs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By new light: (H, W, 4) linear renders of the recovered and of the true head."""
        transfer = true_transfer(self.posed[0])
        return {
            light: (
                found_render(self.answer.head, 0, light),
                true_render(self.subject, self.photos[0], (self.posed[0], transfer), light),
            )
            for light in RELIGHTS
        }

    @cached_property
    def relit_mask(self) -> np.ndarray:
        """(H, W) bool: pixels of those renders that show the face in both."""
        head = self.answer.head
        found = face_pixels(found_vertices(head), small(head.fits[0].camera), self.face)
        return found & face_pixels(self.posed[0], small(self.photos[0].camera), self.face)

    @cached_property
    def own_picture(self) -> np.ndarray:
        """(H, W, 4) the recovered head in the camera and light that were fitted to the first photo."""
        return fitted_render(self.answer.head, self.answer.head)

    @cached_property
    def target_picture(self) -> np.ndarray:
        """(H, W, 4) the same of the target photo."""
        return fitted_render(self.target.answer.head, self.target.answer.head)

    @cached_property
    def swapped_picture(self) -> np.ndarray:
        """(H, W, 4) the target photo's fit with the maps recovered from the source."""
        return fitted_render(self.target.answer.head, self.answer.head)

    @cached_property
    def landmark_alignment(self) -> Similarity:
        """The recovered frame -> the true one, by seven landmarks."""
        return similarity_alignment(self.answer.mesh.landmarks, self.scan[3])


MAPS = ("diffuse_albedo", "specular_albedo", "roughness", "diffuse_normal", "specular_normal")


@lru_cache(maxsize=2)
def face_mask(size: int) -> np.ndarray:
    """(S, S) bool: skin inside the landmarks' oval, brows, lips and lids included.

    Holes of eyes and mouth are none of the skin's texels; nostrils are left out.
    """
    model = load_head_model()
    triangle, _ = rasterise_uv(model.uv, model.render_triangles, size, size)
    skin = (triangle >= 0) & (model.part[triangle.clamp_min(0)] == PARTS.index("skin"))
    masks = region_masks(size, size)
    return (skin & (masks["face"] > 0.5) & (masks["nostrils"] < 0.5)).numpy()


def visible_texels(photo: TruePhoto, vertices: Tensor, size: int) -> np.ndarray:
    """(S, S) bool: texels of the skin that the true camera sees at more than a grazing angle, uncovered, in the frame."""
    model, camera = load_head_model(), photo.camera
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, size, size)
    pixels = project(camera, vertices)
    depth = rasterise(pixels, model.triangles, camera.size_px).depth.numpy()
    normals = vertex_normals(vertices, model.triangles)
    facing = (normals * normalize(camera_centre(camera) - vertices, dim=-1)).sum(-1, keepdim=True)
    values = interpolate(torch.cat([pixels, facing], 1), model.triangles, Fragments(triangle, barycentric, torch.zeros(())))
    x, y, own, cosine = values.numpy().transpose(2, 0, 1)
    width, height = camera.size_px
    inside = (triangle.numpy() >= 0) & (x > 0.5) & (x < width - 0.5) & (y > 0.5) & (y < height - 0.5)
    column, row = (np.where(inside, at, 0).astype(int) for at in (x, y))
    slack = DEPTH_SLACK_M + 1.5 * own / float(camera.focal_px) / np.maximum(cosine, GRAZING)  # half a pixel of slope
    clear = own < depth[row, column] + slack
    bare = (photo.cover[row, column] < COVERED) & (photo.part[row, column] != GARMENT)
    return inside & clear & bare & (cosine > GRAZING)


def at_size(texture: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The texture at another size: averaged over areas where it shrinks, bicubic where it grows."""
    values = texture.detach().numpy()
    if values.shape[:2] == tuple(size):
        return values
    shrinks = size[0] <= values.shape[0]
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def coded_8bit(linear: np.ndarray) -> np.ndarray:
    """sRGB-coded values rounded to 0..255, as floats."""
    return np.round(255 * srgb_from_linear(torch.from_numpy(np.ascontiguousarray(linear)).clamp(0, 1)).numpy())


def _unit(normals: np.ndarray) -> np.ndarray:
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)

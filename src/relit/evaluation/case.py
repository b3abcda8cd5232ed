"""One judged case: what is known, a method's answer, and what metrics share of both."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from relit.appearance.colour import srgb_from_linear
from relit.evaluation.contenders import Answer
from relit.evaluation.geometry import FaceError, Similarity, Surface, face_error, similarity_alignment, vertex_areas
from relit.evaluation.reference import MAPS, Reference
from relit.evaluation.truth import SEVEN_OF_MEDIAPIPE
from relit.evaluation.views import Look, face_pixels, fitted_render, found_render, found_vertices, likenesses, look_at, small
from relit.models.head import PARTS, landmark_points, load_head_model

NOW_RADIUS = 0.7  # of the sum of eye distance and nose length, Sanyal et al. 2019
MARGIN_M = 0.04
LABELLED_M = 0.012  # how far around the lips REALY's mouth reaches here


@dataclass(frozen=True)
class Case:
    """What metrics look at. Textures are compared at the truth's size, in numpy, over the face."""

    reference: Reference
    answer: Answer
    target: Answer | None = None  # to the other photo of a texture swap

    @cached_property
    def found_maps(self) -> dict[str, np.ndarray]:
        """The recovered maps at the truth's size, area-averaged; normals are made unit again."""
        size = self.reference.subject.maps.roughness.shape
        maps = self.answer.head.maps
        return {
            name: np.asarray(_unit(resized) if name.endswith("normal") else resized)
            for name in MAPS
            for resized in [at_size(getattr(maps, name), size)]
        }

    @cached_property
    def scan(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Points, area of each, their vertex numbers, and seven landmarks of the true face that meshes are measured from.

        The skin within 0.7 (eye distance + nose length) of the tip of the nose, without neck and scalp: neutral, or as
        in the photo where the method gives the face as in the photo.
        """
        model = load_head_model()
        vertices = self.reference.posed[0] if self.answer.mesh.posed else self.reference.subject.neutral
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
        return face_error(points, area, self.surface, self.landmark_alignment, with_scale)

    @cached_property
    def surface(self) -> Surface:
        """The recovered skin near the face."""
        return Surface(self.answer.mesh.vertices, self.near_triangles)

    @cached_property
    def near_triangles(self) -> np.ndarray:
        """(T, 3) the recovered mesh without what lies so far from the true face that no closest point can lie on it."""
        points, mesh = self.scan[0], self.answer.mesh
        centres = self.landmark_alignment(mesh.vertices)[mesh.triangles].mean(1)
        low, high = points.min(0) - MARGIN_M, points.max(0) + MARGIN_M
        return mesh.triangles[((centres > low) & (centres < high)).all(1)]

    @cached_property
    def render_looks(self) -> dict[str, Look]:
        """Renders of the recovered head as recognition networks see them, by name; see `views.likenesses`."""
        return {name: look_at(picture) for name, picture in likenesses(self.answer.head).items()}

    @cached_property
    def relit_pairs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By new light: (H, W, 4) linear renders of the recovered and of the true head."""
        return {light: (found_render(self.answer.head, 0, light), true) for light, true in self.reference.relit.items()}

    @cached_property
    def relit_mask(self) -> np.ndarray:
        """(H, W) bool: pixels of those renders that show the face in both."""
        head = self.answer.head
        return self.reference.relit_mask & face_pixels(found_vertices(head), small(head.fits[0].camera), self.reference.face)

    @cached_property
    def own_picture(self) -> np.ndarray:
        """(H, W, 4) the recovered head in the camera and light that were fitted to the first photo."""
        return fitted_render(self.answer.head, self.answer.head)

    @cached_property
    def target_picture(self) -> np.ndarray:
        """(H, W, 4) the same of the target photo."""
        return fitted_render(self.target.head, self.target.head)

    @cached_property
    def swapped_picture(self) -> np.ndarray:
        """(H, W, 4) the target photo's fit with the maps recovered from the source."""
        return fitted_render(self.target.head, self.answer.head)

    @cached_property
    def landmark_alignment(self) -> Similarity:
        """The recovered frame -> the true one, by seven landmarks."""
        return similarity_alignment(self.answer.mesh.landmarks, self.scan[3])


def at_size(texture: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The texture (H, W, ...) at another size (rows, columns): averaged over areas to shrink, bicubic to grow."""
    values = texture.detach().numpy()
    if values.shape[:2] == tuple(size):
        return values
    shrinks = size[0] <= values.shape[0]
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def coded_8bit(linear: np.ndarray) -> np.ndarray:
    """sRGB-coded values of linear light of any shape, rounded to 0..255, as floats."""
    return np.round(255 * srgb_from_linear(torch.from_numpy(np.ascontiguousarray(linear)).clamp(0, 1)).numpy())


def _unit(normals: np.ndarray) -> np.ndarray:
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)

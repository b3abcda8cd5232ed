"""What is known of photos before anybody answers: the subject, the photos, and what every method is compared with."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from relit.evaluation.testset import GARMENT, TruePhoto, TrueSubject
from relit.evaluation.views import RELIGHTS, Look, face_pixels, look_at, small, true_render
from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.geometry.uv import rasterise_uv
from relit.models.head import PARTS, expression_morphs, load_head_model, posed_vertices
from relit.models.regions import region_masks
from relit.render.rasterise import Fragments, interpolate, rasterise

GRAZING = 0.2  # least cosine to the camera of a texel that counts as seen
DEPTH_SLACK_M = 0.002
COVERED = 0.25  # of a pixel, by hair or things worn, from which the skin behind does not count as seen
MAPS = ("diffuse_albedo", "specular_albedo", "roughness", "diffuse_normal", "specular_normal")


@dataclass(frozen=True)
class Reference:
    """The truth of one item, worked out once for all the methods that are judged by it."""

    subject: TrueSubject
    photos: tuple[TruePhoto, ...]  # given together
    target: TruePhoto | None = None  # the other photo of a texture swap

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
        photos = (*self.photos, *([self.target] if self.target else []))
        return tuple(posed_vertices(model, self.subject.neutral, photo.expression, photo.gaze_rad, morphs) for photo in photos)

    @cached_property
    def bare(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) bool: pixels that show bare skin of the face, in the first photo and in the target photo."""
        photos = self.photos[0], self.target
        return tuple(
            face_pixels(vertices, photo.camera, self.face) & (photo.part == 1) & (photo.cover < COVERED)
            for photo, vertices in zip(photos, (self.posed[0], self.posed[-1]), strict=True)
        )

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """The true maps."""
        return {name: getattr(self.subject.maps, name).numpy() for name in MAPS}

    @cached_property
    def photo_look(self) -> Look:
        """The first photo as recognition networks see it."""
        return look_at(self.photos[0].photo.linear)

    @cached_property
    def relit(self) -> dict[str, np.ndarray]:
        """By new light: (H, W, 4) linear renders of the true head as in the first photo."""
        return {light: true_render(self.subject, self.photos[0], self.posed[0], light) for light in RELIGHTS}

    @cached_property
    def relit_mask(self) -> np.ndarray:
        """(H, W) bool: pixels of those renders that show the face."""
        return face_pixels(self.posed[0], small(self.photos[0].camera), self.face)


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

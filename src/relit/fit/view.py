"""One photo's crop with what a fit by rendering changes about it: pose, expression and light."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from relit.fit import terms
from relit.fit.crop import crop_picture, face_crop_px
from relit.fit.eyes import settled_gaze, settled_lids
from relit.fit.landmark_fit import expression_prior
from relit.fit.ties import LinkedTies, find_ties, linked
from relit.geometry.camera import cropped, project
from relit.geometry.transforms import rigid, rotation_from_vector
from relit.models.head import HeadModel, landmark_points, neutral_vertices, posed_vertices
from relit.models.landmark_noise import LandmarkNoise, load_landmark_noise
from relit.models.recognition import SFace, align_face
from relit.types import Camera, Lighting, Observation


@dataclass
class View:
    """One photo's crop and its unknowns, which a fit changes in place; views never leave `relit.fit`."""

    camera: Camera  # of the crop, at the start
    photo: Tensor  # [S, S, 3]
    weight: Tensor  # [S, S]
    landmarks_px: Tensor  # [478, 2] in the crop
    noise_px: Tensor  # [478]
    detector: LandmarkNoise
    landmark_weight: Tensor  # [478]
    embedding: Tensor
    content: tuple[Tensor, ...]  # features of the recognition network
    hint: Tensor  # [52] prior mean of the expression
    hint_sd: Tensor  # [52]
    expression: Tensor
    gaze_rad: Tensor
    pose: Tensor  # [7] rotation vector, relative shift (2), log depth, log focal
    sh: Tensor  # [81, 3]
    transfer: Tensor  # [V, 81]
    transfer_normals: Tensor  # [V, 3] of the shape that the transfer was computed for

    def current_camera(self) -> Camera:
        """The crop's camera after the pose update."""
        turn = rotation_from_vector(self.pose[:3])
        old = self.camera.camera_from_head
        depth = old[2, 3] * self.pose[5].exp()
        lateral = (old[:2, 3] / old[2, 3] + self.pose[3:5]) * depth
        moved = rigid(turn @ old[:3, :3], torch.cat([lateral, depth[None]]))
        return replace(self.camera, camera_from_head=moved, focal_px=self.camera.focal_px * self.pose[6].exp())

    def photo_camera(self, observation: Observation) -> Camera:
        """The whole photo's camera after the pose update."""
        box, camera, shape = face_crop_px(observation), self.current_camera(), observation.photo.linear.shape
        factor = (box[2] - box[0]) / camera.size_px[0]
        return replace(
            camera,
            focal_px=(camera.focal_px * factor).detach(),
            centre_px=camera.centre_px * factor + torch.tensor(box[:2]),
            size_px=(shape[1], shape[0]),
            camera_from_head=camera.camera_from_head.detach(),
        )


def new_view(
    model: HeadModel,
    observation: Observation,
    camera: Camera,
    pose: tuple[Tensor, Tensor],
    network: SFace,
    size_px: int,
) -> View:
    """The crop of a photo, without light.

    Args:
        camera: of the whole photo.
        pose: expression (52,) and gaze (2, 2) in radians.
    """
    box = face_crop_px(observation)
    camera = cropped(camera, box, (size_px, size_px))
    corner, factor = torch.tensor(box[:2]), size_px / (box[2] - box[0])
    photo = crop_picture(observation.photo.linear, box, size_px)
    landmarks = (observation.landmarks.points_px - corner) * factor
    metre_px = camera.focal_px / camera.camera_from_head[2, 3]
    weight = torch.ones(478)
    weight[model.oval_landmarks] = 0.1
    weight[468:] = 0.5
    with torch.no_grad():
        embedding, content = network.read(align_face(photo, landmarks))
    return View(
        camera=camera,
        photo=photo,
        weight=crop_picture(observation.skin_mask[..., None], box, size_px)[..., 0],
        landmarks_px=landmarks,
        noise_px=(model.landmark_sigma * metre_px).clamp_min(0.5),
        detector=load_landmark_noise(),
        landmark_weight=weight,
        embedding=embedding[0],
        content=content,
        hint=pose[0].clone(),
        hint_sd=expression_prior(observation.landmarks)[1],
        expression=pose[0].clone(),
        gaze_rad=pose[1],
        pose=torch.zeros(7),
        sh=torch.zeros(81, 3),
        transfer=torch.zeros(0),
        transfer_normals=torch.zeros(0),
    )


def pose_terms(model: HeadModel, shape: Tensor, view: View) -> dict[str, Tensor]:
    """How badly a neutral shape (V, 3) in the view's pose meets the landmarks, and how improbable that pose is.

    Oval and irises count one by one, the others with what is known of how they err together: taken one by one, errors
    that the detector makes all over the face would pass for shape.
    """
    marked = posed_vertices(model, shape, view.expression, view.gaze_rad)
    error_px = project(view.current_camera(), landmark_points(model, marked))[:, :2] - view.landmarks_px
    known, placed = view.detector, view.camera.camera_from_head
    together = known.deviation(error_px, placed[:3, :3], view.camera.focal_px / placed[2, 3])
    deviation = (error_px / view.noise_px[:, None]).index_copy(0, known.index, together)
    return {
        "landmark": terms.landmark_term(deviation, view.landmark_weight),
        "expression_prior": terms.gaussian_term((view.expression - view.hint) / view.hint_sd),
        "pose_prior": terms.gaussian_term(view.pose[5:] / 0.1),
    }


def link_views(
    model: HeadModel, neutral: Tensor, observations: tuple[Observation, ...], views: list[View]
) -> tuple[LinkedTies, ...]:
    """The tie points of every two photos in their crops, linked to the shape (V, 3) as the views now pose it."""
    posed = [posed_vertices(model, neutral, view.expression, view.gaze_rad) for view in views]
    whole = tuple((v, view.photo_camera(o)) for v, view, o in zip(posed, views, observations, strict=True))

    def in_crop(points_px: Tensor, index: int) -> Tensor:
        left, top, right, _ = face_crop_px(observations[index])
        return (points_px - torch.tensor([left, top])) * (views[index].camera.size_px[0] / (right - left))

    found = []
    for ties in find_ties(model, observations, whole):
        one, other = ties.photos
        cropped_ties = replace(ties, first_px=in_crop(ties.first_px, one), second_px=in_crop(ties.second_px, other))
        heads = tuple((posed[index], views[index].current_camera()) for index in ties.photos)
        found.append(linked(model, cropped_ties, heads))
    return tuple(found)


def ties_term(model: HeadModel, shape: Tensor, views: list[View], links: tuple[LinkedTies, ...]) -> Tensor:
    """How badly the neutral shape (V, 3) in the views' poses meets the tie points, summed over these.

    Half the squared deviations, Huber beyond 3 of them. 0 for one photo.
    """
    total = shape.new_zeros(())
    if not links:
        return total
    posed = [posed_vertices(model, shape, view.expression, view.gaze_rad) for view in views]
    pixels = [project(view.current_camera(), vertices)[:, :2] for view, vertices in zip(views, posed, strict=True)]
    for link in links:
        off = link.deviation(*(pixels[index][link.vertex] for index in link.photos))
        total = total + len(off) * terms.landmark_term(off, torch.ones_like(off[:, 0]))
    return total


def settle_eyes(model: HeadModel, identity: Tensor, views: list[View]) -> None:
    """Turns and opens the eyes of each view, in place, as its landmarks say; the last step of a fit with that identity (K,)."""
    neutral = neutral_vertices(model, identity)
    for view in views:
        given = view.current_camera(), view.landmarks_px
        view.gaze_rad = settled_gaze(model, neutral, (view.expression.detach(), view.gaze_rad), *given)
        view.expression = settled_lids(model, neutral, (view.expression.detach(), view.gaze_rad), *given)


def lighting_of(sh: Tensor) -> Lighting:
    """An environment (81, 3) without directional lights."""
    return Lighting(sh=sh, directions=sh.new_zeros(0, 3), irradiance=sh.new_zeros(0, 3))

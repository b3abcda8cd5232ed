"""Camera, pose, identity, expression and gaze from landmarks alone, for one or several photos of one person."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from relit.fit.minimise import least_squares
from relit.fit.ties import TiePoints, find_ties, linked
from relit.geometry.camera import focal_from_35mm, project
from relit.geometry.mesh import vertex_normals
from relit.geometry.transforms import rigid, rotation_from_vector
from relit.models.head import ARKIT_NAMES, HeadModel, eye_centres, landmark_points, neutral_vertices
from relit.models.identity import IdentityPrior
from relit.models.landmark_noise import LandmarkNoise
from relit.types import Camera, Landmarks, Observation

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))  # head axes -> OpenCV axes of a frontal head
IRIS = slice(468, 478)
RIM = 0.4  # cosine to the camera under which an oval landmark is seen as contour
POSE = 7  # rotation vector (3), shift of the head origin in the picture (2), log scale (px per m), log distance (m)
OWN = POSE + 52 + 4  # of each photo, after the identity: pose, expression and gaze


@dataclass(frozen=True)
class LandmarkOptions:
    """Priors of the landmark stage."""

    identity_trust: float = 0.3  # in landmarks that err alike as if they did not, about the identity
    known_trust: float = 0.4  # in those of which is known how they err together
    ties_trust: float = 0.7  # in tie points of two photos, whose matches err alike nearby
    expression_sd: float = 0.18  # how far an expression may lie from the detector's blendshape hint
    lid_sd: float = 0.1  # the same for the lids
    rest: float = 0.15  # hints below are how a face looks at rest, not an expression
    squint_rest: float = 0.6  # the same for eyeSquint: the detector sees half a squint in calm faces
    blink_rest: float = 0.25  # and for eyeBlink
    distance_m: float = 1.0  # portraits are taken from about here
    log_distance_sd: float = 0.45
    exif_log_sd: float = 0.08  # EXIF gives the focal length unless the photo was cropped
    gaze_sd_rad: float = 0.35
    pixel_sd_ratio: float = 0.006  # detector noise as a part of the inter-ocular distance, where the model states none


@dataclass(frozen=True)
class LandmarkFit:
    """The unknowns that landmarks determine, one camera, expression and gaze per photo."""

    identity: Tensor  # [K]
    cameras: tuple[Camera, ...]
    expressions: tuple[Tensor, ...]  # [52] each
    gazes_rad: tuple[Tensor, ...]  # [2, 2] each


@dataclass(frozen=True)
class _Basis:
    """The head model at its landmarks, in double precision."""

    mean: Tensor  # [478, 3]
    identity: Tensor  # [K, 478, 3]
    expression: Tensor  # [52, 478, 3]
    eye_mean: Tensor  # [2, 3]
    eye_identity: Tensor  # [K, 2, 3]


def _basis(model: HeadModel) -> _Basis:
    at = lambda vertices: landmark_points(model, vertices).double()  # noqa: E731
    zero = torch.zeros(len(model.identity_modes))
    origin = at(torch.zeros_like(model.mean))
    neutral = neutral_vertices(model, zero)
    mean_eyes = eye_centres(model, neutral).double()
    return _Basis(
        mean=at(neutral),
        identity=torch.stack([at(mode) for mode in model.identity_modes]) - origin,
        expression=torch.stack([at(mode) for mode in model.expression_modes]) - origin,
        eye_mean=mean_eyes,
        eye_identity=torch.stack([eye_centres(model, neutral + mode).double() for mode in model.identity_modes])
        - mean_eyes,
    )


def fit_landmarks(
    model: HeadModel,
    observations: tuple[Observation, ...],
    prior: IdentityPrior,
    options: LandmarkOptions = LandmarkOptions(),
    noise: LandmarkNoise | None = None,
) -> LandmarkFit:
    """The most probable cameras, poses, identity, expressions and gazes given the landmarks.

    The residuals are landmark distances in pixels over their expected noise and the priors' deviations; oval
    landmarks are compared along the normal of the contour only, with whatever part of the surface forms the contour.
    Several photos are tied to each other by what their skin shows in common (`relit.fit.ties`).

    Args:
        noise: how the detector errs; if None, every landmark by itself.

    Raises:
        FitDiverged: a landmark is not a number.

    Source: analysis by synthesis with sliding contour landmarks, after Zhu et al. 2015 and Bas et al. 2016.
    """
    basis = _basis(model)
    count = len(model.identity_modes)
    starts = [_initial_pose(basis, obs.landmarks, obs.photo.linear.shape) for obs in observations]
    x = torch.cat([prior.mean.double()] + [start for start, _ in starts])
    frames = [frame for _, frame in starts]
    lower, upper = _bounds(count, len(observations))

    # Pose first; then everything, with little trust, in the end with what ties several photos to each other; then, for that
    # identity, pose and expression as precisely as seen.
    pose, everything = (False, 1.0, False), (True, options.identity_trust, False)
    with_ties = [(True, options.identity_trust, True)] * (len(observations) > 1)
    for free_identity, trust, tied in [pose, *3 * [everything], *with_ties, pose]:
        links = _links(model, observations, x, frames) if tied else []
        contours = [
            _contour(model, basis, x[:count].float(), _own(x, count, index), frames[index], obs)
            for index, obs in enumerate(observations)
        ]

        def residuals(unknowns: Tensor, contours=contours, links=links, trust=trust) -> Tensor:
            identity = unknowns[:count]
            parts = [prior.deviation(identity)]
            for index, obs in enumerate(observations):
                own = _own(unknowns, count, index)
                measured, expected = _photo_residuals(
                    model, basis, identity, own, frames[index], obs, contours[index], options, noise
                )
                parts += [trust * part for part in measured] + expected
            parts += [options.ties_trust * link(unknowns) for link in links]
            return torch.cat(parts)

        still = x[:count].clone()
        lower[:count], upper[:count] = (-3.0, 3.0) if free_identity else (still, still)
        x = least_squares(residuals, x, lower, upper, steps=12)

    identity = x[:count]
    blocks = [_own(x, count, index) for index in range(len(observations))]
    return LandmarkFit(
        identity=identity.float(),
        cameras=tuple(
            _camera(own[:POSE], frame, obs.photo) for own, frame, obs in zip(blocks, frames, observations, strict=True)
        ),
        expressions=tuple(own[POSE : POSE + 52].float() for own in blocks),
        gazes_rad=tuple(own[POSE + 52 :].reshape(2, 2).float() for own in blocks),
    )


def _own(unknowns: Tensor, identities: int, photo: int) -> Tensor:
    """[OWN] those of one photo."""
    return unknowns[identities + photo * OWN :][:OWN]


def _bounds(identities: int, photos: int) -> tuple[Tensor, Tensor]:
    """[n] lowest and highest values of the unknowns: identity (s.d.), then per photo pose, expression and gaze (rad)."""
    highest = torch.tensor([20.0] * POSE + [1.0] * 52 + [0.8] * 4, dtype=torch.float64)
    lowest = torch.tensor([-20.0] * POSE + [0.0] * 52 + [-0.8] * 4, dtype=torch.float64)
    people = torch.full((identities,), 3.0, dtype=torch.float64)
    return torch.cat([-people, lowest.repeat(photos)]), torch.cat([people, highest.repeat(photos)])


def expression_prior(landmarks: Landmarks, options: LandmarkOptions = LandmarkOptions()) -> tuple[Tensor, Tensor]:
    """[52] mean and [52] standard deviation of the expression, given the detector's blendshape hints.

    The detector compares with an average face: narrow eyes score as half blinks, low brows as frowns. What stays under
    a resting level is therefore left to the identity, most strictly at the lids, or the neutral head would stare.
    """
    lids = torch.tensor([name.startswith(("eyeBlink", "eyeSquint", "eyeWide", "eyeLook")) for name in ARKIT_NAMES])
    at_rest = {"eyeSquint": options.squint_rest, "eyeBlink": options.blink_rest, "eyeLook": 0.0}  # lids follow the gaze
    rest = [next((v for k, v in at_rest.items() if name.startswith(k)), options.rest) for name in ARKIT_NAMES]
    rest = torch.tensor(rest)
    mean = (landmarks.blendshapes - rest).clamp_min(0) / (1 - rest)
    return mean, torch.where(lids, options.lid_sd, options.expression_sd)


def landmark_residual_px(model: HeadModel, vertices: Tensor, camera: Camera, landmarks: Landmarks) -> Tensor:
    """[478] distances in pixels between projected model landmarks and detected ones. Differentiable."""
    return (project(camera, landmark_points(model, vertices))[:, :2] - landmarks.points_px).norm(dim=1)


@dataclass(frozen=True)
class _Frame:
    """What a photo's pose unknowns are relative to."""

    rotation: Tensor  # [3, 3] camera <- head
    centre_px: Tensor  # [2] principal point
    unit_px: float  # inter-ocular distance in the picture


def _initial_pose(basis: _Basis, landmarks: Landmarks, shape) -> tuple[Tensor, _Frame]:
    """Start values of one photo's block by aligning the mean landmarks to the detector's relative 3D points.

    Source: Umeyama 1991.
    """
    seen = torch.cat([landmarks.points_px, landmarks.depth_px[:, None]], 1).double()[:468]
    mean = basis.mean[:468]
    a, b = mean - mean.mean(0), seen - seen.mean(0)
    u, s, vt = torch.linalg.svd(b.T @ a)
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.linalg.det(u @ vt)
    rotation = u @ torch.diag(sign) @ vt
    scale = float((s * sign).sum() / (a * a).sum())
    shift = seen.mean(0)[:2] - scale * (rotation @ mean.mean(0))[:2]
    height, width = shape[:2]
    unit = float((seen[33, :2] - seen[263, :2]).norm())
    frame = _Frame(rotation, torch.tensor([width / 2, height / 2], dtype=torch.float64), max(unit, 1.0))
    own = torch.zeros(OWN, dtype=torch.float64)
    own[3:5] = (shift - frame.centre_px) / frame.unit_px
    own[5] = math.log(scale)
    own[POSE : POSE + 52] = landmarks.blendshapes.double() * 0.5
    return own, frame


def _camera(pose: Tensor, frame: _Frame, photo) -> Camera:
    distance = pose[6].exp()
    focal = pose[5].exp() * distance
    translation = torch.cat([pose[3:5] * frame.unit_px * distance / focal, distance[None]])
    height, width = photo.linear.shape[:2]
    return Camera(
        focal_px=focal.float(),
        centre_px=frame.centre_px.float(),
        size_px=(width, height),
        camera_from_head=rigid(rotation_from_vector(pose[:3]) @ frame.rotation, translation).float(),
    )


def _project(points: Tensor, pose: Tensor, frame: _Frame) -> Tensor:
    """[..., 2] pixels of head-frame points, with the camera of a pose block."""
    distance = pose[6].exp()
    rotated = points @ (rotation_from_vector(pose[:3]) @ frame.rotation).T
    shrink = distance / (distance + rotated[..., 2:])
    origin = frame.centre_px + pose[3:5] * frame.unit_px
    # the head origin lies at depth `distance`; off-axis shift and perspective act together
    return frame.centre_px + (origin - frame.centre_px + pose[5].exp() * rotated[..., :2]) * shrink


def _landmarks_of(basis: _Basis, identity: Tensor, expression: Tensor, gaze: Tensor) -> Tensor:
    points = basis.mean + torch.einsum("k,kpc->pc", identity, basis.identity)
    points = points + torch.einsum("e,epc->pc", expression, basis.expression)
    centres = basis.eye_mean + torch.einsum("k,kpc->pc", identity, basis.eye_identity)
    irises = []
    for eye, first in ((1, 468), (0, 473)):  # MediaPipe lists the subject's right iris first
        yaw, pitch = gaze[2 * eye], gaze[2 * eye + 1]
        zero = torch.zeros_like(yaw)
        turn = rotation_from_vector(torch.stack([zero, yaw, zero])) @ rotation_from_vector(
            torch.stack([-pitch, zero, zero])
        )
        arm = points[first : first + 5] - centres[eye]
        irises.append(arm @ turn.T + centres[eye])
    return torch.cat([points[:468], *irises])


def _photo_residuals(
    model, basis, identity, own, frame, obs, contour, options, known
) -> tuple[list[Tensor], list[Tensor]]:
    """What the detector measured, and what the priors expect, both in standard deviations."""
    pose, expression, gaze = own[:POSE], own[POSE : POSE + 52], own[POSE + 52 :]
    points = _landmarks_of(basis, identity, expression, gaze)
    seen = obs.landmarks.points_px.double()
    noise = (model.landmark_sigma.double() * pose[5].detach().exp()).clamp_min(options.pixel_sd_ratio * frame.unit_px)
    error = _project(points, pose, frame) - seen
    weight = torch.ones(478, dtype=torch.float64)
    weight[model.oval_landmarks] = 0.5
    weight[contour.index] = 0.1  # a contour has no fixed place on the skin: only its distance along the normal counts
    # 468 strongly correlated landmarks are far fewer independent measurements
    alone = error / noise[:, None] * weight[:, None] * 0.6
    measured = [alone.flatten()]
    if known is not None:
        rest = torch.ones(478, dtype=torch.bool)
        rest[known.index] = False
        # all that is measured will be multiplied by the other trust
        whitened = known.deviation(error, frame.rotation, pose[5].detach().exp())
        measured = [alone[rest].flatten(), whitened.flatten() * (options.known_trust / options.identity_trust)]
    if len(contour.points):
        on_surface = contour.points + torch.einsum("k,kpc->pc", identity - contour.identity, contour.modes)
        off = ((_project(on_surface, pose, frame) - contour.target_px) * contour.normal).sum(1)
        measured.append(0.6 * off / noise[contour.index])
    hint, spread = expression_prior(obs.landmarks, options)
    expected = [
        (expression - hint.double()) / spread.double(),
        gaze / options.gaze_sd_rad,
        (gaze[[0, 1]] - gaze[[2, 3]]) / 0.05,
    ]
    log_distance = pose[6]
    if obs.photo.focal_35mm is None:
        expected.append(((log_distance - math.log(options.distance_m)) / options.log_distance_sd)[None])
    else:
        size = (obs.photo.linear.shape[1], obs.photo.linear.shape[0])
        focal = math.log(focal_from_35mm(obs.photo.focal_35mm, size))
        expected.append(((pose[5] + log_distance - focal) / options.exif_log_sd)[None])
    return measured, expected


@dataclass(frozen=True)
class _Contour:
    index: Tensor  # [n] which landmarks
    points: Tensor  # [n, 3] surface points that form the contour there, at the present identity
    identity: Tensor  # [K] that identity
    modes: Tensor  # [K, n, 3]
    target_px: Tensor  # [n, 2]
    normal: Tensor  # [n, 2] outward


def _contour(model, basis, identity, own, frame, obs) -> _Contour:
    """For every lower oval landmark on the rim of the visible surface, the nearby vertex that lies furthest out.

    A landmark that still faces the camera (in front of the near ear of a turned head) is no contour: its embedding
    alone speaks, and so it does for the hairline, which is no silhouette.
    """
    pose, vertices = own[:POSE], _posed(model, identity, own)
    pixels = _project(vertices.double(), pose, frame)
    facing = _facing(model, vertices, pose, frame)
    oval = model.oval_landmarks
    target = obs.landmarks.points_px.double()[oval]
    normal = _outward(target)
    embedded = landmark_points(model, vertices)[oval]
    on_rim = facing[model.landmark_triangles[oval]].mean(1) < RIM
    skin = torch.zeros(len(vertices), dtype=torch.bool)
    skin[model.triangles[model.part == 0].flatten()] = True
    near = (torch.cdist(embedded, vertices) < 0.03) & skin
    reach = (pixels @ normal.T).T.masked_fill(~near, -torch.inf)  # [36, V]
    below_eyes = basis.mean[oval, 1] < basis.eye_mean[:, 1].mean()
    keep = below_eyes & on_rim & near.any(1)
    best = reach.argmax(1)[keep]
    return _Contour(
        index=oval[keep],
        points=vertices[best].double(),
        identity=identity.double(),
        modes=model.identity_modes[:, best].double(),
        target_px=target[keep],
        normal=normal[keep],
    )


def _posed(model: HeadModel, identity: Tensor, own: Tensor) -> Tensor:
    """[V, 3] vertices, single precision, with a photo's expression."""
    vertices = neutral_vertices(model, identity.float())
    return vertices + (own[POSE : POSE + 52].float() @ model.expression_modes.flatten(1)).view_as(vertices)


def _links(model, observations, x, frames) -> list[Callable[[Tensor], Tensor]]:
    """For every two photos the deviation of their tie points as a function of all unknowns."""
    count = len(model.identity_modes)
    owns = [_own(x, count, index) for index in range(len(observations))]
    heads = tuple(
        (_posed(model, x[:count], own), _camera(own[:POSE], frame, obs.photo))
        for own, frame, obs in zip(owns, frames, observations, strict=True)
    )
    return [_link(model, ties, heads, frames) for ties in find_ties(model, observations, heads)]


def _link(model, ties: TiePoints, heads, frames) -> Callable[[Tensor], Tensor]:
    link = linked(model, ties, tuple(heads[index] for index in ties.photos))
    mean, *modes = (
        part.double()
        for part in (
            neutral_vertices(model, torch.zeros(len(model.identity_modes)))[link.vertex],
            model.identity_modes[:, link.vertex],
            model.expression_modes[:, link.vertex],
        )
    )

    def deviation(unknowns: Tensor) -> Tensor:
        identity = unknowns[: len(modes[0])]
        neutral = mean + torch.einsum("k,kpc->pc", identity, modes[0])
        pixels = []
        for index in ties.photos:
            own = _own(unknowns, len(identity), index)
            points = neutral + torch.einsum("e,epc->pc", own[POSE : POSE + 52], modes[1])
            pixels.append(_project(points, own[:POSE], frames[index]))
        return link.deviation(*pixels).flatten()

    return deviation


def _facing(model, vertices, pose, frame) -> Tensor:
    """[V] cosine between the vertex normal and the direction to the camera."""
    rotation = (rotation_from_vector(pose[:3]) @ frame.rotation).float()
    distance = pose[6].exp().float()
    shift = (pose[3:5] * frame.unit_px / pose[5].exp()).float()  # metres: lateral place of the head origin
    in_camera = vertices @ rotation.T + torch.cat([shift, distance[None]])
    normals = vertex_normals(vertices, model.triangles) @ rotation.T
    return -(normals * torch.nn.functional.normalize(in_camera, dim=-1)).sum(-1)


def _outward(polygon: Tensor) -> Tensor:
    """[n, 2] unit normals of a closed polygon's corners, away from its middle."""
    along = torch.roll(polygon, -1, 0) - torch.roll(polygon, 1, 0)
    normal = torch.nn.functional.normalize(torch.stack([along[:, 1], -along[:, 0]], 1), dim=1)
    return normal * ((polygon - polygon.mean(0)) * normal).sum(1, keepdim=True).sign()

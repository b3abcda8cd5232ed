"""Shape, skin, light and expression together, by comparing renders with the photos."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from relit.fit import terms
from relit.fit.landmark_fit import LandmarkFit, expression_prior
from relit.fit.light import light_prior, solve_light
from relit.fit.minimise import descend
from relit.geometry.camera import camera_centre, cropped, project
from relit.geometry.mesh import vertex_normals
from relit.geometry.transforms import rigid, rotation_from_vector
from relit.models.head import HeadModel, landmark_points, neutral_vertices, posed_vertices
from relit.models.identity import IdentityPrior
from relit.models.recognition import align_face, load_recognition
from relit.models.skin import SkinModel, skin_albedo
from relit.render.occlusion import light_transfer
from relit.render.rasterise import sample
from relit.render.render import render_fit
from relit.types import Camera, FaceFit, Lighting, Observation


@dataclass(frozen=True)
class PhotometricOptions:
    """Weights of the energy, in the units of relit.fit.terms, and the schedule."""

    size_px: int = 224  # of the crop that is compared
    steps: int = 90
    pixel: float = 60.0
    coverage: float = 100.0  # skin that the head leaves uncovered
    landmark: float = 40.0
    identity_trust: float = 0.1  # part of the landmark term's pull that reaches the identity
    identity_network: float = 30.0
    identity_prior: float = 0.7
    expression_prior: float = 0.5
    albedo_prior: float = 0.4
    light_prior: float = 0.4


@dataclass
class _View:
    """One photo's crop and its unknowns (the only mutable state of the fit; it never leaves this file)."""

    camera: Camera  # of the crop, at the start
    photo: Tensor  # [S, S, 3]
    weight: Tensor  # [S, S]
    landmarks_px: Tensor  # [478, 2] in the crop
    noise_px: Tensor  # [478]
    landmark_weight: Tensor  # [478]
    embedding: Tensor
    hint: Tensor  # [52] prior mean of the expression
    hint_sd: Tensor  # [52]
    expression: Tensor
    gaze_rad: Tensor
    pose: Tensor  # [7] rotation vector, relative shift (2), log depth, log focal
    sh: Tensor  # [81, 3]
    transfer: Tensor  # [V, 81]
    transfer_vertices: Tensor  # [V, 3] the shape that the transfer was computed for

    def current_camera(self) -> Camera:
        """The crop's camera after the pose update."""
        turn = rotation_from_vector(self.pose[:3])
        old = self.camera.camera_from_head
        depth = old[2, 3] * self.pose[5].exp()
        lateral = (old[:2, 3] / old[2, 3] + self.pose[3:5]) * depth
        moved = rigid(turn @ old[:3, :3], torch.cat([lateral, depth[None]]))
        return replace(self.camera, camera_from_head=moved, focal_px=self.camera.focal_px * self.pose[6].exp())


def face_crop_px(observation: Observation, margin: float = 1.5) -> tuple[float, float, float, float]:
    """The square (left, top, right, bottom) around the landmarks, `margin` times their extent; may leave the photo."""
    points = observation.landmarks.points_px[:468]
    low, high = points.min(0).values, points.max(0).values
    centre, half = (low + high) / 2, float((high - low).max()) * margin / 2
    return tuple(float(v) for v in (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half))


def crop_picture(picture: Tensor, box_px: tuple[float, float, float, float], size_px: int) -> Tensor:
    """[S, S, C] the part of a picture, area-filtered when it shrinks, edge-replicated outside."""
    height, width = picture.shape[:2]
    left, top, right, bottom = box_px
    factor = size_px / (right - left)
    planes = picture.permute(2, 0, 1)[None]
    if factor < 1:
        planes = resize(planes, scale_factor=factor, mode="area" if factor < 0.5 else "bilinear", antialias=False)
    grid = (torch.arange(size_px) + 0.5) / size_px
    x = (left + grid * (right - left)) / width * 2 - 1
    y = (top + grid * (bottom - top)) / height * 2 - 1
    at = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    return torch.nn.functional.grid_sample(planes, at, padding_mode="border", align_corners=False)[0].permute(1, 2, 0)


def fit_photometric(
    model: HeadModel,
    skin: SkinModel,
    observations: tuple[Observation, ...],
    start: LandmarkFit,
    prior: IdentityPrior,
    options: PhotometricOptions = PhotometricOptions(),
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[FaceFit, ...]:
    """One fit per photo, all with one identity and one skin.

    The energy compares colour, landmarks and the recognition network's embedding, and keeps shape, expression, skin and
    light probable. Occlusion of the light is computed for the shape at the start.

    Raises:
        FitDiverged: an energy became not a number.

    Source: analysis by synthesis, Blanz & Vetter 1999; the identity term GANFIT (Gecer et al. 2019), equation 5.
    """
    network = load_recognition()
    identity = start.identity.clone()
    views = [_view(model, obs, start, index, network, options) for index, obs in enumerate(observations)]
    neutral = neutral_vertices(model, identity)
    albedo = _start_skin_and_light(model, skin, neutral, views)

    def energy(step: int) -> dict[str, Tensor]:
        texture = skin_albedo(skin, albedo)
        shape = neutral_vertices(model, identity)
        total: dict[str, Tensor] = {
            "identity_prior": options.identity_prior * terms.gaussian_term(prior.deviation(identity)),
            "albedo_prior": options.albedo_prior * terms.gaussian_term(albedo),
        }
        parts = [_view_energy(model, shape, texture, view, network, options) for view in views]
        return total | {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}

    def project_onto_bounds(step: int, energies: dict[str, Tensor]) -> None:
        identity.clamp_(-3.5, 3.5)
        for view in views:
            view.expression.clamp_(0, 1)
        on_step(step + 1, options.steps)

    unknowns = [(identity, 0.04), (albedo, 0.06)]
    for view in views:
        unknowns += [(view.expression, 0.01), (view.pose, 0.002), (view.sh, 0.02)]
    energies = descend(energy, unknowns, options.steps, project_onto_bounds)
    return tuple(
        FaceFit(
            method="",
            camera=_uncrop(view.current_camera(), face_crop_px(obs), obs.photo.linear.shape),
            identity=identity.detach(),
            expression=view.expression.detach(),
            gaze_rad=view.gaze_rad,
            vertex_offset=torch.zeros_like(model.mean),
            albedo=albedo.detach(),
            lighting=_lighting(view.sh.detach()),
            exposure=torch.ones(3),
            energies=energies,
            warnings=obs.warnings,
        )
        for view, obs in zip(views, observations, strict=True)
    )


def _lighting(sh: Tensor) -> Lighting:
    return Lighting(sh=sh, directions=sh.new_zeros(0, 3), irradiance=sh.new_zeros(0, 3))


def _view(model, obs, start, index, network, options) -> _View:
    box = face_crop_px(obs)
    size = options.size_px
    camera = cropped(start.cameras[index], box, (size, size))
    corner, factor = torch.tensor(box[:2]), size / (box[2] - box[0])
    photo = crop_picture(obs.photo.linear, box, size)
    landmarks = (obs.landmarks.points_px - corner) * factor
    metre_px = camera.focal_px / camera.camera_from_head[2, 3]
    weight = torch.ones(478)
    weight[model.oval_landmarks] = 0.1
    weight[468:] = 0.5
    with torch.no_grad():
        embedding = network(align_face(photo, landmarks))[0]
    return _View(
        camera=camera,
        photo=photo,
        weight=crop_picture(obs.skin_mask[..., None], box, size)[..., 0],
        landmarks_px=landmarks,
        noise_px=(model.landmark_sigma * metre_px).clamp_min(0.5),
        landmark_weight=weight,
        embedding=embedding,
        hint=start.expressions[index].clone(),
        hint_sd=expression_prior(obs.landmarks)[1],
        expression=start.expressions[index].clone(),
        gaze_rad=start.gazes_rad[index],
        pose=torch.zeros(7),
        sh=torch.zeros(81, 3),
        transfer=torch.zeros(0),
        transfer_vertices=torch.zeros(0),
    )


def _start_skin_and_light(model, skin, neutral, views) -> Tensor:
    """Skin coefficients after a search along the tone axis; fills each view's light and occlusion.

    Tone and light explain the same brightness; the priors of both decide, so the search compares their sum.
    """
    best: tuple[float, Tensor, list[Tensor]] | None = None
    samples = []
    uv_of_vertex = torch.zeros(len(neutral), 2)
    uv_of_vertex[model.render_vertex] = model.uv
    for view in views:
        vertices = posed_vertices(model, neutral, view.expression, view.gaze_rad)
        view.transfer, view.transfer_vertices = light_transfer(vertices, model.triangles), vertices
        normals = vertex_normals(vertices, model.triangles)
        towards = torch.nn.functional.normalize(camera_centre(view.camera) - vertices, dim=-1)
        facing = (normals * towards).sum(-1)
        pixels = project(view.camera, vertices)[:, :2]
        inside = ((pixels > 1) & (pixels < view.photo.shape[0] - 1)).all(1)
        chosen = (facing > 0.25) & (model.face_weight > 0.3) & inside
        at = pixels[chosen] / view.photo.shape[0]
        colour = sample(view.photo, at)
        trust = sample(view.weight[..., None], at)[..., 0] * facing[chosen]
        samples.append((chosen, colour, trust))
    for tone in torch.linspace(-2.0, 2.0, 9):
        coefficients = torch.zeros(len(skin.names))
        coefficients[0] = tone
        texture = skin_albedo(skin, coefficients)
        score, lights = 0.5 * float(tone) ** 2, []
        for view, (chosen, colour, trust) in zip(views, samples, strict=True):
            local = sample(texture, uv_of_vertex[chosen])
            light = solve_light(colour, local, view.transfer[chosen], trust)
            explained = local / math.pi * (view.transfer[chosen] @ light)
            error = ((colour - explained).abs().sum(-1) * trust).sum() / trust.sum()
            score += float(light_prior(light)) + float(error) * 100
            lights.append(light)
        if best is None or score < best[0]:
            best = (score, coefficients, lights)
    for view, light in zip(views, best[2], strict=True):
        view.sh = light
    return best[1]


def _view_energy(model, shape, texture, view: _View, network, options) -> dict[str, Tensor]:
    camera = view.current_camera()
    vertices = posed_vertices(model, shape, view.expression, view.gaze_rad)
    rendered, alpha, _ = render_fit(
        model, vertices, texture, camera, _lighting(view.sh), view.transfer, view.transfer_vertices
    )
    composed = rendered + view.photo * (1 - alpha[..., None])
    # the detector errs alike at many landmarks of a person: they tell pose and expression, but less about the shape
    held = shape.detach() + options.identity_trust * (shape - shape.detach())
    marked = posed_vertices(model, held, view.expression, view.gaze_rad)
    pixels = project(camera, landmark_points(model, marked))[:, :2]
    return {
        "pixel": options.pixel * terms.pixel_term(composed, view.photo, view.weight),
        "coverage": options.coverage * ((1 - alpha) * view.weight).sum() / view.weight.sum(),
        "landmark": options.landmark
        * terms.landmark_term(pixels, view.landmarks_px, view.noise_px, view.landmark_weight),
        "identity_network": options.identity_network
        * terms.identity_term(network(align_face(composed, view.landmarks_px))[0], view.embedding),
        "expression_prior": options.expression_prior
        * terms.gaussian_term((view.expression - view.hint) / view.hint_sd),
        "pose_prior": terms.gaussian_term(view.pose[5:] / 0.1),
        "light_prior": options.light_prior * light_prior(view.sh),
    }


def _uncrop(camera: Camera, box: tuple[float, float, float, float], shape) -> Camera:
    """The whole photo's camera from its crop's."""
    factor = (box[2] - box[0]) / camera.size_px[0]
    return replace(
        camera,
        focal_px=(camera.focal_px * factor).detach(),
        centre_px=camera.centre_px * factor + torch.tensor(box[:2]),
        size_px=(shape[1], shape[0]),
        camera_from_head=camera.camera_from_head.detach(),
    )

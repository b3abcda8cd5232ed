"""Shape, skin, light and expression together, by comparing renders with the photos."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from relit.devices import CPU, moved
from relit.fit import terms
from relit.fit.landmark_fit import LandmarkFit
from relit.fit.light import light_prior, solve_light
from relit.fit.minimise import descend
from relit.fit.view import View, lighting_of, link_views, new_view, pose_terms, settle_eyes, ties_term
from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.models.head import HeadModel, neutral_vertices, posed_vertices
from relit.models.identity import IdentityPrior
from relit.models.recognition import align_face, load_recognition
from relit.models.skin import SkinModel, skin_albedo
from relit.render.occlusion import light_transfer
from relit.render.rasterise import sample
from relit.render.render import render_fit
from relit.types import FaceFit, Observation


@dataclass(frozen=True)
class PhotometricOptions:
    """Weights of the energy, in the units of relit.fit.terms, and the schedule."""

    size_px: int = 224  # of the crop that is compared
    steps: int = 90
    pixel: float = 60.0
    coverage: float = 100.0  # skin that the head leaves uncovered
    landmark: float = 40.0
    ties: float = 0.27  # of each tie point
    identity_network: float = 30.0
    identity_prior: float = 0.7
    expression_prior: float = 0.5
    albedo_prior: float = 0.4
    light_prior: float = 0.4


def fit_photometric(
    model: HeadModel,
    skin: SkinModel,
    observations: tuple[Observation, ...],
    start: LandmarkFit,
    prior: IdentityPrior,
    options: PhotometricOptions = PhotometricOptions(),
    on_step: Callable[[int, int], None] = lambda done, total: None,
    device: torch.device = CPU,
) -> tuple[FaceFit, ...]:
    """One fit per photo, all with one identity and one skin.

    The energy compares colour, landmarks, the recognition network's embedding and, of several photos, what their skin shows
    in common (`relit.fit.ties`), and keeps shape, expression, skin and light probable. Occlusion of the
    light is computed for the shape at the start. Lids follow their landmarks at the end.

    Args:
        device: where the descent computes; whatever comes before and after it is on the CPU.

    Raises:
        FitDiverged: an energy became not a number.

    Source: analysis by synthesis, Blanz & Vetter 1999; the identity term GANFIT (Gecer et al. 2019), equation 5.
    """
    network = load_recognition()
    identity = start.identity.clone()
    views = [
        new_view(model, obs, camera, (expression, gaze), network, options.size_px)
        for obs, camera, expression, gaze in zip(
            observations, start.cameras, start.expressions, start.gazes_rad, strict=True
        )
    ]
    neutral = neutral_vertices(model, identity)
    albedo = _start_skin_and_light(model, skin, neutral, views)
    links = link_views(model, neutral, observations, views)
    given = model
    model, skin, prior, network, views, links, identity, albedo = moved(
        (model, skin, prior, network, views, links, identity, albedo), device
    )

    def energy(step: int) -> dict[str, Tensor]:
        texture = skin_albedo(skin, albedo)
        shape = neutral_vertices(model, identity)
        total: dict[str, Tensor] = {
            "identity_prior": options.identity_prior * terms.gaussian_term(prior.deviation(identity)),
            "albedo_prior": options.albedo_prior * terms.gaussian_term(albedo),
            "ties": options.ties * ties_term(model, shape, views, links),
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
    views, identity, albedo = moved((views, identity, albedo), CPU)
    settle_eyes(given, identity.detach(), views)
    return tuple(
        FaceFit(
            method="",
            camera=view.photo_camera(obs),
            identity=identity.detach(),
            expression=view.expression.detach(),
            gaze_rad=view.gaze_rad,
            vertex_offset=torch.zeros_like(given.mean),
            albedo=albedo.detach(),
            lighting=lighting_of(view.sh.detach()),
            exposure=torch.ones(3),
            energies=energies,
            warnings=obs.warnings,
        )
        for view, obs in zip(views, observations, strict=True)
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
        normals = vertex_normals(vertices, model.triangles)
        view.transfer, view.transfer_normals = light_transfer(vertices, model.triangles), normals
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


def _view_energy(model, shape, texture, view: View, network, options) -> dict[str, Tensor]:
    camera = view.current_camera()
    vertices = posed_vertices(model, shape, view.expression, view.gaze_rad)
    rendered, alpha, _ = render_fit(
        model, vertices, texture, camera, lighting_of(view.sh), view.transfer, view.transfer_normals
    )
    composed = rendered + view.photo * (1 - alpha[..., None])
    pose = pose_terms(model, shape, view)
    return {
        "pixel": options.pixel * terms.pixel_term(composed, view.photo, view.weight),
        "coverage": options.coverage * ((1 - alpha) * view.weight).sum() / view.weight.sum(),
        "landmark": options.landmark * pose["landmark"],
        "identity_network": options.identity_network
        * terms.identity_term(network(align_face(composed, view.landmarks_px))[0], view.embedding),
        "expression_prior": options.expression_prior * pose["expression_prior"],
        "pose_prior": pose["pose_prior"],
        "light_prior": options.light_prior * light_prior(view.sh),
    }

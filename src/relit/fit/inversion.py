"""Inverts a texture prior: the latent, then the weights of the generator, whose textures on the head look as the photos do.

One energy for both priors. What they make decides how it is rendered: reflectance under the fitted light, or a texture with
the light in it as it is.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from relit.appearance.colour import linear_from_srgb
from relit.appearance.harmonics import sh_basis
from relit.devices import CPU, moved
from relit.errors import FitDiverged
from relit.fit import terms
from relit.fit.light import light_prior
from relit.fit.minimise import descend
from relit.fit.other_view import OtherView, draw_other_view
from relit.fit.view import View, lighting_of, link_views, new_view, pose_terms, settle_eyes, ties_term
from relit.geometry.mesh import vertex_normals
from relit.models.head import HeadModel, neutral_vertices, posed_vertices
from relit.models.identity import IdentityPrior, identity_prior, load_identity_statistics
from relit.models.recognition import align_face, load_recognition
from relit.models.texture_prior import BASE_SIZE, BOX, TexturePrior, decoded, draw_latents
from relit.render.boxed import Picture, render_lit, render_skin
from relit.render.occlusion import light_transfer, transfer_at
from relit.types import FaceFit, Observation

RATES = {"latent": 0.05, "levels": 0.03, "weights": 2e-3, "identity": 0.01, "expression": 0.003, "pose": 5e-4, "light": 0.02}
GAINS = 9  # harmonics of what a photo's light differs by from that in a shared texture
NOISE, TEXELS_PER_MEASUREMENT = 0.3, 20.0  # of trusted textures, in standard deviations; neighbouring texels err alike
RISE = 0.2  # of the energy over a stage, from which the stage has failed


@dataclass(frozen=True)
class InversionOptions:
    """Weights of the energy, in the units of `relit.fit.terms`, the schedule, and switches for ablations."""

    size_px: int = 224  # of the crop that is compared
    latent_steps: int = 14  # one latent for all levels
    level_steps: int = 12  # one for each
    tuning_steps: int = 10  # of the generator's weights; 0 leaves the generator as it is
    pixel: float = 60.0
    coverage: float = 100.0  # skin that the head leaves uncovered
    told: float = 20.0  # distance from the textures at the start, at 72 x 48
    landmark: float = 40.0
    ties: float = 0.27  # of each tie point
    identity_network: float = 30.0
    other_view: float = 0.0  # the same in a second render, with another expression and pose
    content: float = 10.0
    latent_prior: float = 0.05
    level_prior: float = 0.5  # distance of the levels' latents from their mean
    identity_prior: float = 0.7
    expression_prior: float = 0.5
    light_prior: float = 0.4
    gain_prior: float = 1.0
    locality: float = 100.0  # what tuning changes for other latents
    specular: bool = True
    occlusion: bool = True
    linear: bool = False  # principal components alone instead of the generator
    seed: int = 0  # of second renders and of the latents that tuning is to leave alone


@dataclass(frozen=True)
class Start:
    """Textures to start from, at the size of the prior's, and where other knowledge of them counts."""

    codes: Tensor  # (C, h, w) coded maps in [0, 1]
    trust: Tensor  # (h, w) in [0, 1]


@dataclass(frozen=True)
class Inverted:
    """What the inversion found."""

    fits: tuple[FaceFit, ...]
    latent: Tensor  # (levels, D)
    prior: TexturePrior  # with the generator as tuned
    textures: dict[str, Tensor]  # as `decoded`, (C, H, W)
    energies: dict[str, float]


@dataclass
class _Unknowns:
    """What the energy depends on besides the views; changed in place, never leaves this file."""

    prior: TexturePrior
    latent: Tensor  # (D,) or (levels, D)
    identity: Tensor
    gains: list[Tensor]  # (9, 3) of each photo

    def levels(self) -> Tensor:
        return self.latent.expand(self.prior.shape.levels, -1) if self.latent.ndim == 1 else self.latent


def invert(
    model: HeadModel,
    prior: TexturePrior,
    observations: tuple[Observation, ...],
    fits: tuple[FaceFit, ...],
    start: Start,
    options: InversionOptions = InversionOptions(),
    on_step: Callable[[int, int], None] = lambda done, total: None,
    device: torch.device = CPU,
) -> Inverted:
    """Latent, tuned generator, identity, and of each photo camera, expression and light.

    Args:
        fits: of the photos, with a light that goes with the skin of `start`.
        device: where the descent computes; whatever comes before and after it is on the CPU.

    Raises:
        FitDiverged: an energy became not a number, or rose over a stage.

    Source: FitMe (Lattas et al., CVPR 2023), section 3.3: W, then W+ through diffuse and specular rendering, then the
    generator's weights; tuning with a locality term after Roich et al., "Pivotal tuning", ACM TOG 2022. Losses as GANFIT
    (Gecer et al., CVPR 2019), section 4.
    Differs: starts at what the prior's encoder says of textures that are known from elsewhere (`start_latent`), and stays
    near these where light and skin explain a photo alike (`told`).
    """
    views = [_view_of(model, o, fit, options) for o, fit in zip(observations, fits, strict=True)]
    people = identity_prior(load_identity_statistics(), tuple(seen.identity_embedding for seen in observations))
    unknowns = _Unknowns(prior, start_latent(prior, start), fits[0].identity.clone(), [torch.zeros(GAINS, 3) for _ in views])
    links = link_views(model, neutral_vertices(model, fits[0].identity), observations, views)
    generator = torch.Generator().manual_seed(options.seed)
    given = model
    model, prior, people, views, links, unknowns, start = moved((model, prior, people, views, links, unknowns, start), device)
    total = options.latent_steps + options.level_steps + options.tuning_steps
    geometry = [(unknowns.identity, RATES["identity"])]
    for view, gain in zip(views, unknowns.gains, strict=True):
        geometry += [(view.expression, RATES["expression"]), (view.pose, RATES["pose"])]
        geometry += [(gain, RATES["light"])] if "lit" in prior.branches else [(view.sh, RATES["light"])]
    energies: dict[str, float] = {}

    def run(stage: str, steps: int, done: int, parameters: list[tuple[Tensor, float]], tuned: bool = False) -> None:
        first: list[float] = []

        def energy(step: int) -> dict[str, Tensor]:
            found = _energy(model, people, views, links, unknowns, start, options, generator)
            return found | (_locality(prior, unknowns, options, generator) if tuned else {})

        def after(step: int, found: dict[str, Tensor]) -> None:
            first.append(float(sum(found.values())))
            unknowns.identity.clamp_(-3.5, 3.5)
            for view in views:
                view.expression.clamp_(0, 1)
            on_step(done + step + 1, total)

        if steps:
            energies.update(descend(energy, parameters, steps, after))
            if first[-1] - first[0] > RISE * abs(first[0]):
                raise FitDiverged(f"the energy rose from {first[0]:.3g} to {first[-1]:.3g} in {steps} steps of the {stage}")

    run("latent", options.latent_steps, 0, [(unknowns.latent, RATES["latent"]), *geometry])
    unknowns.latent = unknowns.levels().clone()
    run("levels", options.level_steps, options.latent_steps, [(unknowns.latent, RATES["levels"]), *geometry])
    if options.tuning_steps and not options.linear:
        unknowns.prior = copy.deepcopy(prior)
        weights = [(weight, RATES["weights"]) for weight in generator_weights(unknowns.prior)]
        run("tuning", options.tuning_steps, options.latent_steps + options.level_steps, weights, tuned=True)
    views, unknowns = moved((views, unknowns), CPU)
    settle_eyes(given, unknowns.identity.detach(), views)
    with torch.no_grad():
        textures = decoded(unknowns.prior, made(unknowns.prior, unknowns.levels(), options.linear))
    return Inverted(
        fits=tuple(_fit_of(fit, view, o, unknowns, energies) for fit, view, o in zip(fits, views, observations, strict=True)),
        latent=unknowns.levels(),
        prior=unknowns.prior,
        textures={name: texture[0] for name, texture in textures.items()},
        energies=energies,
    )


def start_latent(prior: TexturePrior, start: Start) -> Tensor:
    """(D,) the latent that the prior's encoder finds for textures of which only a part is trusted.

    The rest is first filled with the most probable combination of principal components, in the sense of ridge regression.
    """
    with torch.no_grad():
        weight = adaptive_avg_pool2d(start.trust[None], BASE_SIZE)
        apart = prior.deviation(start.codes[None])[0]
        small = adaptive_avg_pool2d(apart * start.trust, BASE_SIZE) / weight.clamp_min(1e-3)
        weight = (weight / TEXELS_PER_MEASUREMENT / NOISE**2).expand_as(small).flatten()
        modes = prior.modes.float()
        normal = (modes * weight) @ modes.T + torch.eye(len(modes))
        latent = torch.linalg.solve(normal, (modes * weight) @ small.flatten())
        filled = start.trust * apart + (1 - start.trust) * prior(latent[None])[0]
        return prior.encode(filled[None])[0]


def generator_weights(prior: TexturePrior) -> list[Tensor]:
    """The parameters that make textures of latents: not those of mapping and encoder."""
    return [weight for name, weight in prior.named_parameters() if name.split(".")[0] not in ("mapping", "encoder")]


def made(prior: TexturePrior, levels: Tensor, linear: bool = False) -> Tensor:
    """(1, C, H, W) coded maps in [0, 1] of a latent (levels, D), by the linear base alone if `linear`."""
    if not linear:
        return prior.codes(prior(levels[None]))
    return prior.codes(interpolate(prior.linear(levels[:1]), prior.shape.size, mode="bilinear", align_corners=False))


def _view_of(model: HeadModel, observation: Observation, fit: FaceFit, options: InversionOptions) -> View:
    pose = fit.expression, fit.gaze_rad
    view = new_view(model, observation, fit.camera, pose, load_recognition(), options.size_px)
    neutral = neutral_vertices(model, fit.identity, fit.vertex_offset)
    posed = posed_vertices(model, neutral, *pose)
    view.transfer_normals = vertex_normals(posed, model.triangles)
    if options.occlusion:
        view.transfer = light_transfer(posed, model.triangles)
    else:
        view.transfer = transfer_at(posed, view.transfer_normals, ())
    view.sh = fit.lighting.sh * fit.exposure
    return view


def _energy(
    model, people: IdentityPrior, views, links, unknowns: _Unknowns, start: Start, options, generator
) -> dict[str, Tensor]:
    prior, levels = unknowns.prior, unknowns.levels()
    codes = made(prior, levels, options.linear)
    textures = decoded(prior, codes)
    shape = neutral_vertices(model, unknowns.identity)
    total = {
        "told": options.told * _told_term(prior, codes, start),
        "latent_prior": options.latent_prior * prior.mapping.normal(levels.mean(0, keepdim=True))[1].sum(),
        "level_prior": options.level_prior * terms.gaussian_term(levels - levels.mean(0)),
        "identity_prior": options.identity_prior * terms.gaussian_term(people.deviation(unknowns.identity)),
        "ties": options.ties * ties_term(model, shape, views, links),
    }
    parts = []
    for view, gain in zip(views, unknowns.gains, strict=True):
        parts.append(_view_energy(model, shape, textures, view, gain, options, len(views) > 1))
    if options.other_view:
        other = draw_other_view(generator)
        parts[0]["other_view"] = options.other_view * _other_view_term(model, shape, textures, views, other, options)
    return total | {name: torch.stack([part[name] for part in parts if name in part]).mean() for name in parts[0]}


def _view_energy(model, shape, textures, view: View, gain: Tensor, options, several: bool) -> dict[str, Tensor]:
    vertices = posed_vertices(model, shape, view.expression, view.gaze_rad)
    picture = _pictured(model, vertices, textures, view, gain if several else None, options)
    composed = picture.linear + view.photo * (1 - picture.coverage[..., None])
    # beyond the textures the photo shows itself
    shown = view.photo + (composed - view.photo) * picture.inside[..., None]
    embedding, content = load_recognition(view.photo.device.type).read(align_face(shown, view.landmarks_px))
    pose = pose_terms(model, shape, view)
    terms_of_light = (
        {"gain_prior": options.gain_prior * terms.gaussian_term(gain / 0.3)}
        if "lit" in textures
        else {"light_prior": options.light_prior * light_prior(view.sh)}
    )
    return terms_of_light | {
        "pixel": options.pixel * terms.pixel_term(shown, view.photo, view.weight),
        "coverage": options.coverage * ((1 - picture.coverage) * view.weight).sum() / view.weight.sum(),
        "landmark": options.landmark * pose["landmark"],
        "identity_network": options.identity_network * terms.identity_term(embedding[0], view.embedding),
        "content": options.content * terms.content_term(content, view.content),
        "expression_prior": options.expression_prior * pose["expression_prior"],
        "pose_prior": pose["pose_prior"],
    }


def _pictured(model, vertices, textures, view: View, gain: Tensor | None, options) -> Picture:
    camera = view.current_camera()
    planes = {name: texture[0].permute(1, 2, 0).contiguous() for name, texture in textures.items()}
    if "lit" in planes:
        of_normals = None if gain is None else lambda normals: (sh_basis(normals)[:, :GAINS] @ gain).exp()
        return render_lit(model, vertices, linear_from_srgb(planes["lit"]), BOX, camera, of_normals)
    skin = torch.cat([planes["albedo"], planes["specular"], planes["normal"][..., :2]], 2)
    light = lighting_of(view.sh), view.transfer, view.transfer_normals
    return render_skin(model, vertices, skin, BOX, camera, light, options.specular)


def _other_view_term(model, shape, textures, views: list[View], other: OtherView, options) -> Tensor:
    """How little a second render, with another expression and from elsewhere, looks like the person."""
    view = views[int(other.chosen * len(views))]
    turned = other.view_of(view)
    vertices = posed_vertices(model, shape, turned.expression, turned.gaze_rad)
    picture = _pictured(model, vertices, textures, turned, None, options)
    landmarks = other.landmarks_px(model, vertices, turned.current_camera())
    recognition = load_recognition(view.photo.device.type)
    return terms.identity_term(recognition(align_face(picture.linear, landmarks))[0], view.embedding)


def _told_term(prior: TexturePrior, codes: Tensor, start: Start) -> Tensor:
    """Mean absolute distance from the textures at the start, in standard deviations of the population, at 72 x 48."""
    apart = (codes - start.codes) / prior.scale[:, None, None] * start.trust
    share = adaptive_avg_pool2d(start.trust[None, None], BASE_SIZE)
    return adaptive_avg_pool2d(apart, BASE_SIZE).abs().mean(1).sum() / share.sum().clamp_min(1)


def _locality(prior: TexturePrior, unknowns: _Unknowns, options: InversionOptions, generator) -> dict[str, Tensor]:
    """What tuning changed of the textures of a latent drawn at random, in standard deviations, squared."""
    seed = int(torch.randint(1 << 30, (1,), generator=generator))
    drawn = draw_latents(prior, 1, seed)[0].expand_as(unknowns.levels())
    with torch.no_grad():
        before = prior(drawn[None])
    return {"locality": options.locality * (unknowns.prior(drawn[None]) - before).square().mean()}


def _fit_of(fit: FaceFit, view: View, observation: Observation, unknowns: _Unknowns, energies) -> FaceFit:
    light = fit.lighting if "lit" in unknowns.prior.branches else lighting_of(view.sh / fit.exposure)
    return replace(
        fit,
        camera=view.photo_camera(observation),
        identity=unknowns.identity.detach(),
        expression=view.expression.detach(),
        lighting=light,
        energies=energies,
    )

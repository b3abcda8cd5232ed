"""What every method starts from: the photos observed, and shape, expression, camera, light and mean skin fitted."""

from dataclasses import dataclass

import torch

from relit.errors import InputError
from relit.fit.landmark_fit import fit_landmarks
from relit.fit.photometric import fit_photometric
from relit.models.head import HeadModel, load_head_model
from relit.models.identity import identity_prior, load_identity_statistics
from relit.models.skin import load_skin_model
from relit.observe.observe import observe
from relit.progress import Progress
from relit.types import FaceFit, Observation, Photo


@dataclass(frozen=True)
class Fitted:
    """One person's photos, each with its fit."""

    model: HeadModel
    observations: tuple[Observation, ...]
    fits: tuple[FaceFit, ...]


def observe_and_fit(photos: list[Photo], face: int | None, device: str, seed: int, progress: Progress) -> Fitted:
    """The photos of one person, observed and fitted; see `relit.methods.fit_photos` for the arguments.

    Source: landmarks, statistical shape, skin and light as Blanz & Vetter 1999; identity term as GANFIT (Gecer et al.
    2019).
    """
    if not photos:
        raise InputError("no photo was given; name at least one picture file")
    if device == "cuda":
        raise InputError("this method runs on the CPU only; give --device auto or cpu")
    torch.manual_seed(seed)
    with progress.stage("observe") as step:
        model, skin = load_head_model(), load_skin_model()
        observations = []
        for index, photo in enumerate(photos):
            observations.append(observe(photo, face=face))
            step(index + 1, len(photos))
        observations = tuple(observations)
    with progress.stage("landmarks") as step:
        prior = identity_prior(load_identity_statistics(), tuple(seen.identity_embedding for seen in observations))
        start = fit_landmarks(model, observations, prior)
        step(1, 1)
    with progress.stage("fit") as step:
        fits = fit_photometric(model, skin, observations, start, prior, on_step=step)
    return Fitted(model, observations, fits)

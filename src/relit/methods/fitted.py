"""What every method starts from: the photos observed, and shape, expression, camera, light and mean skin fitted."""

from dataclasses import dataclass
from itertools import combinations

import torch

from relit.devices import CPU
from relit.errors import DifferentPeople, InputError
from relit.fit.landmark_fit import fit_landmarks
from relit.fit.photometric import fit_photometric
from relit.models.head import HeadModel, load_head_model
from relit.models.identity import identity_prior, load_identity_statistics
from relit.models.landmark_noise import load_landmark_noise
from relit.models.skin import load_skin_model
from relit.observe.observe import observe
from relit.progress import Progress
from relit.types import FaceFit, Observation, Photo

# Cosine of two embeddings of the identity network. Of 95 pairs of path-traced photos that show one person the least alike
# have 0.56, of 66 pairs of portraits of different people one has more than 0.41. The network's own threshold is 0.363.
LEAST_ALIKE = 0.4


@dataclass(frozen=True)
class Fitted:
    """One person's photos, each with its fit."""

    model: HeadModel
    observations: tuple[Observation, ...]
    fits: tuple[FaceFit, ...]
    device: torch.device = CPU  # where further fits are to descend


def observe_and_fit(
    photos: list[Photo], face: int | None, seed: int, same_person: bool, progress: Progress, device: torch.device = CPU
) -> Fitted:
    """The photos of one person, observed and fitted; see `relit.methods.FitSettings` for the arguments.

    Source: landmarks, statistical shape, skin and light as Blanz & Vetter 1999; identity term as GANFIT (Gecer et al.
    2019).
    """
    if not photos:
        raise InputError("no photo was given; name at least one picture file")
    torch.manual_seed(seed)
    with progress.stage("observe") as step:
        model, skin = load_head_model(), load_skin_model()
        observations = []
        for index, photo in enumerate(photos):
            observations.append(observe(photo, face=face))
            step(index + 1, len(photos))
        observations = tuple(observations)
    if not same_person:
        check_one_person(observations)
    with progress.stage("landmarks") as step:
        prior = identity_prior(load_identity_statistics(), tuple(seen.identity_embedding for seen in observations))
        start = fit_landmarks(model, observations, prior, noise=load_landmark_noise())
        step(1, 1)
    with progress.stage("fit") as step:
        fits = fit_photometric(model, skin, observations, start, prior, on_step=step, device=device)
    return Fitted(model, observations, fits, device)


def check_one_person(observations: tuple[Observation, ...]) -> None:
    """Nothing, if every two of the photos may show one person.

    Raises:
        DifferentPeople: two of them hardly do; names the two that are least alike.
    """
    pairs = [(float(a.identity_embedding @ b.identity_embedding), a, b) for a, b in combinations(observations, 2)]
    alike, first, second = min(pairs, key=lambda pair: pair[0], default=(1.0, None, None))
    if alike < LEAST_ALIKE:
        raise DifferentPeople(
            f"{first.photo.name} and {second.photo.name} seem to show different people (likeness {alike:.2f}, "
            f"one person has {LEAST_ALIKE} or more); leave one out, or give --same-person if they do not"
        )

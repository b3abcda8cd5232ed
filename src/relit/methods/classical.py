"""The classical method: no trained generator, everything from landmarks, statistics, light transport and the photo.

    observe -> landmarks -> photometric fit -> de-lit, completed maps -> neutral head
"""

from dataclasses import replace

import torch

from relit.errors import InputError
from relit.fit.landmark_fit import fit_landmarks
from relit.fit.photometric import fit_photometric
from relit.head.assemble import assemble_head
from relit.maps.maps import build_maps
from relit.models.head import load_head_model
from relit.models.identity import identity_prior, load_identity_statistics
from relit.models.skin import load_skin_model
from relit.observe.observe import observe
from relit.progress import Stopwatch
from relit.types import FitResult, Photo


def run(photos: list[Photo], *, size: tuple[int, int], face: int | None, device: str, seed: int, progress) -> FitResult:
    """The head of one person from one or several photos; see `relit.methods.fit_photos` for the arguments.

    Source: landmarks, statistical shape, skin and light as Blanz & Vetter 1999; identity term as GANFIT (Gecer et al.
    2019); texture from the photo with the light removed as AvatarMe (Lattas et al. 2020) prepares its input.
    """
    if not photos:
        raise InputError("no photo was given; name at least one picture file")
    if device == "cuda":
        raise InputError("the classical method runs on the CPU only; give --device auto or cpu")
    torch.manual_seed(seed)
    watch = Stopwatch(progress)

    with watch.stage("observe") as step:
        model, skin = load_head_model(), load_skin_model()
        observations = []
        for index, photo in enumerate(photos):
            observations.append(observe(photo, face=face))
            step(index + 1, len(photos))
        observations = tuple(observations)

    with watch.stage("landmarks") as step:
        prior = identity_prior(load_identity_statistics(), tuple(seen.identity_embedding for seen in observations))
        start = fit_landmarks(model, observations, prior)
        step(1, 1)

    with watch.stage("fit") as step:
        fits = fit_photometric(model, skin, observations, start, prior, on_step=step)
        fits = tuple(replace(fit, method="classical") for fit in fits)

    with watch.stage("maps") as step:
        maps = build_maps(model, observations, fits, size, seed, step)

    with watch.stage("head") as step:
        head = assemble_head(model, observations, fits, maps)
        step(1, 1)
    return FitResult(head=head, observations=observations, seconds=watch.seconds)


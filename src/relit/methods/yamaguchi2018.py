"""Yamaguchi et al. 2018: networks turn the unwrapped, masked photo into reflectance and relief, complete and refine them.

    observe -> landmarks -> photometric fit -> inferred, completed, super-resolved texture -> maps -> neutral head
"""

from dataclasses import replace

from relit.head.assemble import assemble_head
from relit.maps.inferred import infer
from relit.maps.learned import dimmed
from relit.maps.maps import build_maps
from relit.maps.sighting import sighted
from relit.methods.fitted import Fitted
from relit.models.texture_inference import SIZE
from relit.progress import Stopwatch
from relit.types import FitResult


def finish(start: Fitted, size: tuple[int, int], seed: int, watch: Stopwatch) -> FitResult:
    """The head from the fitted photos.

    Source: Yamaguchi et al., "High-fidelity facial reflectance and geometry inference from an unconstrained image",
    SIGGRAPH 2018.
    Differs: trained on rendered subjects, not on scans. Detail of a photo that is sharper than 512 x 512 stays. What the
    relief network does not say follows by the classical rules: fine lines that the albedo shows, pores, roughness. Beyond
    the face (scalp, neck, ears) the maps go on as in the classical method.
    """
    model, observations = start.model, start.observations
    with watch.stage("infer") as step:
        sightings = sighted(model, observations, start.fits)
        inferred = infer(sightings, fine=min(size) > SIZE)
        step(1, 1)
    with watch.stage("maps") as step:
        maps = build_maps(model, sightings, size, seed, step, inferred)
    fits = tuple(replace(dimmed(fit, inferred.tone), method="yamaguchi") for fit in start.fits)
    with watch.stage("head") as step:
        head = assemble_head(model, observations, fits, maps)
        step(1, 1)
    return FitResult(head=head, observations=observations, seconds=watch.seconds)

"""The classical method: no trained generator, everything from landmarks, statistics, light transport and the photo.

    observe -> landmarks -> photometric fit -> de-lit, completed maps -> neutral head
"""

from dataclasses import replace

from relit.head.assemble import assemble_head
from relit.maps.maps import build_maps
from relit.maps.sighting import sighted
from relit.methods.fitted import Fitted
from relit.progress import Stopwatch
from relit.types import FitResult


def finish(start: Fitted, size: tuple[int, int], seed: int, watch: Stopwatch) -> FitResult:
    """The head from the fitted photos.

    Source: texture from the photo with the light removed as AvatarMe (Lattas et al. 2020) prepares its input.
    """
    fits = tuple(replace(fit, method="classical") for fit in start.fits)
    with watch.stage("maps") as step:
        maps = build_maps(start.model, sighted(start.model, start.observations, fits), size, seed, step)
    with watch.stage("head") as step:
        head = assemble_head(start.model, start.observations, fits, maps)
        step(1, 1)
    return FitResult(head=head, observations=start.observations, seconds=watch.seconds)

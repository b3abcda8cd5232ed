"""The classical method: no trained generator, everything from landmarks, statistics, light transport and the photo.

    observe -> landmarks -> photometric fit -> de-lit, completed maps -> neutral head
"""

from dataclasses import replace

from relit.head.assemble import assemble_head
from relit.maps.maps import build_maps
from relit.methods.fitted import Fitted, observe_and_fit
from relit.progress import Stopwatch
from relit.types import FitResult, Photo


def run(photos: list[Photo], *, size: tuple[int, int], face: int | None, device: str, seed: int, progress) -> FitResult:
    """The head of one person from one or several photos; see `relit.methods.fit_photos` for the arguments."""
    watch = Stopwatch(progress)
    return finish(observe_and_fit(photos, face, device, seed, watch), size, seed, watch)


def finish(start: Fitted, size: tuple[int, int], seed: int, watch: Stopwatch) -> FitResult:
    """The head from the fitted photos.

    Source: texture from the photo with the light removed as AvatarMe (Lattas et al. 2020) prepares its input.
    """
    fits = tuple(replace(fit, method="classical") for fit in start.fits)
    with watch.stage("maps") as step:
        maps = build_maps(start.model, start.observations, fits, size, seed, step)
    with watch.stage("head") as step:
        head = assemble_head(start.model, start.observations, fits, maps)
        step(1, 1)
    return FitResult(head=head, observations=start.observations, seconds=watch.seconds)

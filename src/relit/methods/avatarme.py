"""AvatarMe: a network that has seen thousands of lit heads tells the light in the photo from the tone of the skin.

    observe -> landmarks -> photometric fit -> light and tone by a network -> de-lit, completed maps -> neutral head
"""

from dataclasses import replace

from relit.head.assemble import assemble_head
from relit.maps.learned import dimmed, read_light, shared_tone
from relit.maps.maps import build_maps
from relit.methods.fitted import Fitted, observe_and_fit
from relit.models.delighting import load_delighting
from relit.progress import Stopwatch
from relit.types import FitResult, Photo


def run(photos: list[Photo], *, size: tuple[int, int], face: int | None, device: str, seed: int, progress) -> FitResult:
    """The head of one person from one or several photos; see `relit.methods.fit_photos` for the arguments."""
    watch = Stopwatch(progress)
    return finish(observe_and_fit(photos, face, device, seed, watch), size, seed, watch)


def finish(start: Fitted, size: tuple[int, int], seed: int, watch: Stopwatch) -> FitResult:
    """The head from the fitted photos.

    Source: AvatarMe, Lattas et al. 2020; training on rendered lit textures as AvatarMe++, Lattas et al. 2021.
    Differs: the starting texture is the photo's own, not a generator's. The network tells the smooth light and the tone,
    the fit what is finer of the light; the rest is told from skin by rule. Specular albedo, normals and displacement
    follow from the diffuse albedo by rule, too.
    """
    model, observations, network = start.model, start.observations, load_delighting()
    with watch.stage("light") as step:
        told = []
        for index, (observation, fit) in enumerate(zip(observations, start.fits, strict=True)):
            told.append(read_light(model, network, observation, fit))
            step(index + 1, len(observations))
        tone = shared_tone(tuple(told))
    with watch.stage("maps") as step:
        maps = build_maps(model, observations, start.fits, size, seed, step, tuple(told))
    fits = tuple(replace(dimmed(fit, tone), method="avatarme") for fit in start.fits)
    with watch.stage("head") as step:
        head = assemble_head(model, observations, fits, maps)
        step(1, 1)
    return FitResult(head=head, observations=observations, seconds=watch.seconds)

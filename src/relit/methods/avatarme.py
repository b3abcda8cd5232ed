"""AvatarMe: a network that has seen thousands of lit heads tells the light in the photo from the tone of the skin.

    observe -> landmarks -> photometric fit -> light and tone by a network -> de-lit, completed maps -> neutral head
"""

from dataclasses import replace

from relit.head.assemble import assemble_head
from relit.maps.learned import dimmed, read_lights
from relit.maps.maps import build_maps
from relit.maps.sighting import sighted
from relit.methods.fitted import Fitted
from relit.progress import Stopwatch
from relit.types import FitResult


def finish(start: Fitted, size: tuple[int, int], seed: int, watch: Stopwatch) -> FitResult:
    """The head from the fitted photos.

    Source: AvatarMe, Lattas et al. 2020; training on rendered lit textures as AvatarMe++, Lattas et al. 2021.
    Differs: the starting texture is the photo's own, not a generator's. The network tells the smooth light and the tone,
    the fit what is finer of the light; the rest is told from skin by rule. The specular albedo follows from the diffuse one
    by region and relief, and a network says how much the person's skin departs from that. Normals and displacement follow by
    rule: see docs/training.md for what networks made of them.
    """
    model, observations = start.model, start.observations
    with watch.stage("light") as step:
        sightings = sighted(model, observations, start.fits)
        light = read_lights(sightings, step)
    with watch.stage("maps") as step:
        maps = build_maps(model, sightings, size, seed, step, light)
    fits = tuple(replace(dimmed(fit, light.tone), method="avatarme") for fit in start.fits)
    with watch.stage("head") as step:
        head = assemble_head(model, observations, fits, maps)
        step(1, 1)
    return FitResult(head=head, observations=observations, seconds=watch.seconds)

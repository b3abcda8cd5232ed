"""GANFIT: a generator of lit textures is inverted until the head looks like the person; AvatarMe takes the light out.

    observe -> landmarks -> photometric fit -> lit texture -> latent -> light by a network -> maps -> neutral head
"""

from dataclasses import replace

from relit.fit.inversion import InversionOptions, Start, invert
from relit.head.assemble import assemble_head
from relit.maps.generated import Generated, coded_light, delit
from relit.maps.learned import dimmed, read_lights
from relit.maps.maps import build_maps
from relit.maps.sighting import sighted
from relit.methods.fitted import Fitted
from relit.models.texture_prior import load_prior
from relit.progress import Stopwatch
from relit.types import FitResult

OPTIONS = InversionOptions(other_view=30.0, tuning_steps=0)
NOTE = "GANFIT as published leaves the light in the texture; here it was taken out as in AvatarMe"


def finish(
    start: Fitted, size: tuple[int, int], seed: int, watch: Stopwatch, options: InversionOptions | None = None
) -> FitResult:
    """The head from the fitted photos.

    Source: GANFIT, Gecer et al., CVPR 2019; the light is taken out of its texture as AvatarMe, Lattas et al., CVPR 2020.
    Differs: starts from the photos' own texture, completed. Photos in different light share one texture; what the light of
    each changes is a smooth factor of its own.
    """
    model, observations, prior = start.model, start.observations, load_prior("ganfit")
    with watch.stage("start") as step:
        found = coded_light(model, observations, start.fits, prior.shape.size)
        step(1, 1)
    with watch.stage("invert") as step:
        options = replace(options or OPTIONS, seed=seed)
        inverted = invert(model, prior, observations, start.fits, Start(*found), options, step, start.device)
    with watch.stage("light") as step:
        sightings = sighted(model, observations, inverted.fits)
        light = read_lights(sightings, step)
        lit = inverted.textures["lit"].permute(1, 2, 0).contiguous()
        known = Generated(light.tone, light.told, delit(lit, sightings[0], light))
    with watch.stage("maps") as step:
        maps = build_maps(model, sightings, size, seed, step, known)
    lights = (dimmed(fit, light.tone) for fit in inverted.fits)
    fits = tuple(replace(fit, method="ganfit", warnings=(*fit.warnings, NOTE)) for fit in lights)
    with watch.stage("head") as step:
        head = assemble_head(model, observations, fits, maps)
        step(1, 1)
    return FitResult(head=head, observations=observations, seconds=watch.seconds)

"""FitMe: a generator of reflectance is inverted, then tuned, until its textures on the head look as the photos do.

    observe -> landmarks -> photometric fit -> light by a network -> latent -> tuned generator -> maps -> neutral head
"""

from dataclasses import replace

from relit.fit.inversion import InversionOptions, Start, invert
from relit.head.assemble import assemble_head
from relit.maps.generated import LAYOUT, Generated, coded_reflectance, tone_of_generated
from relit.maps.learned import dimmed, read_lights
from relit.maps.maps import build_maps
from relit.maps.sighting import sighted
from relit.methods.fitted import Fitted
from relit.models.texture_prior import load_prior
from relit.progress import Stopwatch
from relit.types import FitResult

OPTIONS = InversionOptions()


def finish(
    start: Fitted, size: tuple[int, int], seed: int, watch: Stopwatch, options: InversionOptions | None = None
) -> FitResult:
    """The head from the fitted photos.

    Source: FitMe, Lattas et al., CVPR 2023.
    Differs: starts from the albedo that `avatarme` finds, and stays near it where light and skin explain the photos alike;
    the light in the photos' own detail, which the maps carry beyond the generator's size, is told by the same network.
    """
    model, observations, prior = start.model, start.observations, load_prior("fitme")
    with watch.stage("light") as step:
        sightings = sighted(model, observations, start.fits)
        light = read_lights(sightings, step)
        fits = tuple(dimmed(fit, light.tone) for fit in start.fits)
    with watch.stage("start") as step:
        maps = build_maps(model, sightings, (LAYOUT, LAYOUT), seed, step, light)
        found = coded_reflectance(maps, prior.shape.size)
    with watch.stage("invert") as step:
        options = replace(options or OPTIONS, seed=seed)
        inverted = invert(model, prior, observations, fits, Start(*found), options, step, start.device)
    textures = {name: texture.permute(1, 2, 0).contiguous() for name, texture in inverted.textures.items()}
    surface = {"specular": textures["specular"][..., 0], "normal": textures["normal"]}
    # brightness passes freely between skin and light: how much is whose, the network tells best
    shift = light.tone - tone_of_generated(textures["albedo"], start.fits[0])
    albedo, fits = textures["albedo"] * shift.exp(), tuple(dimmed(fit, shift) for fit in inverted.fits)
    known = Generated(light.tone, light.told, albedo, **surface)
    with watch.stage("maps") as step:
        maps = build_maps(model, sighted(model, observations, fits), size, seed, step, known)
    fits = tuple(replace(fit, method="fitme") for fit in fits)
    with watch.stage("head") as step:
        head = assemble_head(model, observations, fits, maps)
        step(1, 1)
    return FitResult(head=head, observations=observations, seconds=watch.seconds)

"""What the de-lighting network says about unwrapped photos: the light at every texel, and the tone of the skin.

Source: AvatarMe (Lattas et al. 2020), section 3.3; see `relit.models.delighting` for the differences.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize, pad

from relit.appearance.colour import srgb_from_linear
from relit.geometry.mesh import vertex_normals
from relit.maps.delight import KEPT, Kept, Regions, delight
from relit.maps.knowledge import FittedLight
from relit.maps.pyramid import at_size, fill, weighted_blur
from relit.maps.sighting import Sighting
from relit.maps.specular import read_factor
from relit.maps.unwrap import Unwrapped, texels
from relit.models.delighting import COARSE, ROWS, SIZE, delight_texture, load_delighting
from relit.models.head import HeadModel, expression_morphs, neutral_vertices, posed_vertices
from relit.models.regions import region_masks
from relit.models.skin import load_skin_model, skin_albedo
from relit.models.specular import load_specular
from relit.models.unet import UNet
from relit.render.rasterise import interpolate
from relit.types import FaceFit

# Share of the fit in the tone's lightness and in its hue. In lightness the network errs half as much on path-traced photos;
# but it learned from skins spread evenly over all tones and draws light skin in well-lit portraits towards the middle, where
# the fit does not. In hue both are about as good, and err apart.
ANCHOR_LIGHT, ANCHOR_HUE = 0.2, 0.4
SURE = 0.3  # trust from which a texel tells tone
LEAST_SEEN, LEAST_SHARE = 0.05, 0.3  # confidence of texels, and share of them in a cell, from which the fitted light is read
DARKEST_FITTED = 0.03  # irradiance: deeper shadow of the fit is not believed
FITTED_HUE = 0.5  # share of the fitted light in the light's local hue
FEWEST = 100  # texels that a median needs
BESIDE = 0.02  # of the layout: scale at which the light on skin goes on over a beard
FINER = (-0.7, 0.5)  # bounds of the log light that the fit adds within a cell


@dataclass(frozen=True)
class Told:
    """What the network says of one photo, `SIZE` x `SIZE`."""

    light: Float[Tensor, "S S 3"]  # log of what a white surface would show
    tone: Float[Tensor, "3"]  # log ratio of the person's skin to the statistical albedo


@dataclass(frozen=True)
class LearnedLight(FittedLight):
    """The light that the network tells in each photo, and the tone that all agree on; another tells the specular albedo."""

    told: tuple[Told, ...] = ()
    kept: ClassVar[tuple[Kept, Kept]] = KEPT

    @classmethod
    def of(cls, told: tuple[Told, ...]) -> "LearnedLight":
        return cls(shared_tone(told), told)

    def ratio(self, index: int, seen: Unwrapped, fit: FaceFit, base: Tensor, regions: Regions) -> tuple[Tensor, Tensor]:
        return delight(under_light(seen, self.told[index], fit, self.tone, regions), base, regions, self.kept)

    def specular_factor(self, albedo: Tensor, confidence: Tensor) -> Tensor:
        return read_factor(load_specular(), albedo, confidence)


def read_lights(
    sightings: tuple[Sighting, ...], step: Callable[[int, int], None] = lambda done, total: None
) -> LearnedLight:
    """What the shipped network says of photos with their fits."""
    network, told = load_delighting(), []
    for index, sighting in enumerate(sightings):
        told.append(read_light(network, sighting))
        step(index + 1, len(sightings))
    return LearnedLight.of(tuple(told))


def read_light(network: UNet, sighting: Sighting) -> Told:
    """The light and the tone in one photo."""
    return read_texture(sighting.model, network, seen_texture(sighting, SIZE), sighting.fit)


def read_texture(
    model: HeadModel, network: UNet, seen: tuple[Float[Tensor, "S S 3"], Float[Tensor, "S S"]], fit: FaceFit
) -> Told:
    """The light and the tone in a texture of SIZE x SIZE.

    Args:
        seen: texture as `seen_texture`, and the trust in it.
        fit: pose and expression in which the light fell.
    """
    square = (SIZE, SIZE)
    coded, confidence = seen
    fragments, masks = texels(model, *square), region_masks(*square)
    statistical = at_size(skin_albedo(load_skin_model(), fit.albedo), square)[ROWS].log()
    plain = masks["cheeks"] + masks["forehead"] + masks["chin"] > 0.5

    neutral = neutral_vertices(model, fit.identity, fit.vertex_offset)
    vertices = posed_vertices(model, neutral, fit.expression, fit.gaze_rad, expression_morphs(model, neutral))
    geometry = torch.cat([vertex_normals(vertices, model.triangles), vertices], 1)
    normal, position = interpolate(geometry, model.triangles, fragments).split((3, 3), 2)
    inside = (fragments.triangle >= 0)[..., None]
    planes = lambda texture: texture[ROWS].permute(2, 0, 1)[None]  # noqa: E731
    geometry = planes(normalize(normal, dim=2) * inside), planes(position * inside)
    found = delight_texture(network, planes(coded), planes(confidence[..., None]), *geometry)
    # beyond the rows that the network sees, their first and last go on
    light = pad(found.light, (0, 0, ROWS.start, SIZE - ROWS.stop), mode="replicate")
    change = found.albedo[0].log().permute(1, 2, 0) - statistical
    return Told(light[0].permute(1, 2, 0), tone_of(change, plain[ROWS], found.trust[0, 0]))


def seen_texture(sighting: Sighting, size: int) -> tuple[Float[Tensor, "S S 3"], Float[Tensor, "S S"]]:
    """The photo in the layout as the camera coded it (sRGB), and the trust that it shows bare skin."""
    seen = sighting.unwrapped(size, size)
    coded = srgb_from_linear((seen.radiance * sighting.fit.exposure).clamp(0, 1))
    return coded, seen.confidence * at_size(sighting.bare.mask[..., None], (size, size))[..., 0]


def tone_of(change: Float[Tensor, "H W 3"], plain: Tensor, trust: Float[Tensor, "H W"]) -> Float[Tensor, "3"]:
    """The typical log ratio where a photo is trusted on plain skin (H, W, bool); on all plain skin where that is little."""
    sure = plain & (trust > SURE)
    return change[sure if sure.sum() > 50 else plain].median(0).values


def shared_tone(told: tuple) -> Float[Tensor, "3"]:
    """The log ratio of the person's skin to the fitted one that most photos agree on: their median.

    A photo in which a network is wrong about the tone is wrong by a lot, in a light of one colour or with half the face
    covered; of three photos the other two then decide.

    Args:
        told: what networks say of each photo, with its `tone`.
    """
    tone = torch.stack([one.tone for one in told]).quantile(0.5, dim=0)
    light = tone.mean()
    return (1 - ANCHOR_LIGHT) * light + (1 - ANCHOR_HUE) * (tone - light)


def dimmed(fit: FaceFit, tone: Float[Tensor, "3"]) -> FaceFit:
    """The fit under the light in which skin of another tone looks as the fitted skin did."""
    light = fit.lighting
    return replace(
        fit, lighting=replace(light, sh=light.sh * (-tone).exp(), irradiance=light.irradiance * (-tone).exp())
    )


def under_light(seen: Unwrapped, told: Told, fit: FaceFit, tone: Float[Tensor, "3"], regions: Regions) -> Unwrapped:
    """The unwrapped photo, of any size, under the network's light in place of the fitted one.

    Args:
        tone: that the skin is to have, as `shared_tone`.
    """
    light = with_fitted_hue(at_size(told.light, seen.confidence.shape) + finer_light(seen), seen)
    light = over_beard(light, seen, regions)
    irradiance = math.pi * (light - (tone - told.tone)).exp() / fit.exposure
    return replace(seen, irradiance=irradiance, specular=torch.zeros_like(irradiance))


def with_fitted_hue(light: Float[Tensor, "H W 3"], seen: Unwrapped) -> Float[Tensor, "H W 3"]:
    """The network's log light with a part of its local hue from the fitted light; brightness and typical hue stay.

    The network takes blushes for coloured light in part; the fitted light varies in hue only as far as surfaces turn.
    """
    sure = seen.confidence > 0.5
    if sure.sum() < FEWEST:
        return light
    hue = lambda log: log - log.mean(-1, keepdim=True)  # noqa: E731
    change = hue(seen.irradiance.clamp_min(DARKEST_FITTED).log()) - hue(light)
    return light + FITTED_HUE * (change - change[sure].median(0).values)


def over_beard(light: Float[Tensor, "H W 3"], seen: Unwrapped, regions: Regions) -> Float[Tensor, "H W 3"]:
    """The network's log light; on beards the fitted light as far off as the network is on the skin around.

    The network takes much of the colour of a beard for that of the light.
    """
    sure = (seen.confidence > 0.5) & (regions.plain > 0.5)
    if not regions.beard.any() or sure.sum() < FEWEST:
        return light
    fitted = seen.irradiance.clamp_min(DARKEST_FITTED).log()
    square = (SIZE, SIZE)
    small = lambda plane: at_size(plane, square).numpy()  # noqa: E731
    weight = small((seen.confidence * regions.plain * (1 - regions.beard))[..., None])[..., 0]
    off = light - fitted
    beside = weighted_blur(small(off), weight, BESIDE * SIZE)
    around = torch.from_numpy(fill(beside, weight, off[sure].median(0).values.numpy(), 0.0))
    return light + regions.beard[..., None] * (fitted + at_size(around, light.shape[:2]) - light)


def finer_light(seen: Unwrapped) -> Float[Tensor, "H W 3"]:
    """Log of the fitted light over its mean in each of the network's cells; 0 where the photo tells nothing.

    The network's light is too coarse for the shade below nose and brows, which the fit knows from the geometry.
    """
    shape = seen.confidence.shape
    cells = lambda texture: adaptive_avg_pool2d(texture.permute(2, 0, 1), SIZE // COARSE).permute(1, 2, 0)  # noqa: E731
    lit = (seen.confidence > LEAST_SEEN).float()[..., None]
    own = seen.irradiance.clamp_min(DARKEST_FITTED).log() * lit
    share = cells(lit)
    mean = cells(own) / share.clamp_min(1e-6)
    # cells that hold little skin take their neighbours' mean
    near = torch.from_numpy(weighted_blur(mean.numpy(), share[..., 0].numpy(), 1.0))
    mean = torch.where(share > LEAST_SHARE, mean, near)
    return (own - at_size(mean, shape) * lit).clamp(*FINER)

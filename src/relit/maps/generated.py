"""What a texture prior makes of one person, as knowledge for the maps; and the textures that an inversion starts from.

Textures of a prior cover the box BOX of the layout; beyond it the statistical skin goes on with the same tone.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from relit.appearance.colour import linear_from_srgb, srgb_from_linear
from relit.maps.complete import complete
from relit.maps.delight import BROAD, MARKED, Kept, Regions, bent, regions_of
from relit.maps.knowledge import Completed, KnownSurface
from relit.maps.learned import LearnedLight, read_texture
from relit.maps.pyramid import at_size, blur, weighted_blur, window_share
from relit.maps.relief import height_of_normals
from relit.maps.sighting import Sighting
from relit.maps.unwrap import Unwrapped, texels, unwrap, view_of
from relit.models.delighting import SIZE, load_delighting
from relit.models.head import HeadModel
from relit.models.regions import STRIP, region_masks
from relit.models.skin import load_skin_model, skin_albedo
from relit.models.texture_prior import BOX, F0_SPAN, box_slices
from relit.render.rasterise import interpolate
from relit.types import FaceFit, Observation, ReflectanceMaps

LAYOUT = 768  # texels along an edge: their box has the rows of the priors' textures
RIM = 0.03  # of the layout, over which a texture fades out at the border of the box
UNSEEN = 0.15  # trust in a completed texel against a seen one
BESIDE = 0.015  # of the layout: how near to hair a photo's detail is doubted
FALLS, FALLS_GAIN = 0.08, 20  # the same for how far from the scalp hair falls: up to 0.13, fading out to 0.2
# Bounds of the photo's detail on plain skin, in its own robust standard deviations. Moles and wrinkles are far darker than the
# skin around them; what is far brighter is hair, gloss, or the rim of either.
BRIGHTER, DARKER, HUED, LEAST_DETAIL = 2.0, 8.0, 3.0, 0.005
FACING, COVER_GAIN = 0.3, 2.5  # visibility from which a cover is seen as one; a texel at the edge of a wide one is not trusted


@dataclass(frozen=True)
class Generated(LearnedLight):
    """The textures of an inverted prior, beside the light that the de-lighting network tells in each photo."""

    albedo: Float[Tensor, "h w 3"] = field(default_factory=lambda: torch.zeros(1, 1, 3))  # linear, of the box
    specular: Float[Tensor, "h w"] | None = None  # F0
    normal: Float[Tensor, "h w 3"] | None = None
    # on plain skin what is broad is the generator's, which knows the person, and what is left over is light
    kept: ClassVar[tuple[Kept, Kept]] = Kept(0.0, 0.0, 0.0), Kept(0.0, 0.0, 0.0)

    def ratio(self, index: int, seen: Unwrapped, fit: FaceFit, base: Tensor, regions: Regions) -> tuple[Tensor, Tensor]:
        ratio, trust = super().ratio(index, seen, fit, base, regions)
        trust = trust * (1 - regions.plain * beside_hair(seen, regions.plain))
        return bounded(ratio, trust, regions.plain), trust

    def typical(self, statistical: Tensor) -> Tensor:
        size = statistical.shape[:2]
        share = _share(size)[..., None]
        log, generated = statistical.clamp_min(5e-3).log(), in_layout(self.albedo, size).clamp_min(5e-3).log()
        generated = of_even_hue(generated, share[..., 0] * regions_of(region_masks(*size, MARKED)).hued)
        return (log + share * (generated - log)).exp()

    def completed(self, base: Tensor) -> Completed:
        size = base.shape[:2]
        share = _share(size)
        surface = None
        if self.specular is not None and self.normal is not None:
            normal = in_layout(self.normal, (LAYOUT, LAYOUT))
            height = torch.from_numpy(height_of_normals(normal / normal.norm(dim=2, keepdim=True)))[..., None]
            specular = in_layout(self.specular[..., None], size)[..., 0]
            surface = KnownSurface(specular, torch.zeros(size), at_size(height, size)[..., 0], whole=True)
        return Completed(torch.zeros_like(base), share, surface)


def beside_hair(seen: Unwrapped, plain: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """[0, 1] how near a texel is to plain skin that the camera sees but something covers, as far from the scalp as hair falls.

    Not elsewhere: what glasses leave of the skin around eyes makes the likeness.
    """
    width = plain.shape[1]
    covered = (seen.visible > FACING) & (plain > 0.5) & (seen.confidence < 0.5 * seen.visible)
    near = blur(covered.float().numpy(), BESIDE * width) * COVER_GAIN
    falls = blur(region_masks(*plain.shape, ("scalp",))["scalp"].numpy(), FALLS * width) * FALLS_GAIN
    return torch.from_numpy(near.clip(0, 1) * falls.clip(0, 1))


def of_even_hue(log_albedo: Float[Tensor, "H W 3"], skin: Float[Tensor, "H W"]) -> Float[Tensor, "H W 3"]:
    """The log albedo whose broad deviation in hue is, on either side of the face, that of the side where it is less.

    Skin is about symmetric, coloured light seldom is.

    Args:
        skin: [0, 1] where that is expected.
    """
    if not (skin > 0.5).any():
        return log_albedo
    hue = log_albedo - log_albedo.mean(-1, keepdim=True)
    broad = torch.from_numpy(weighted_blur(hue.numpy(), skin.numpy(), BROAD * skin.shape[1]))
    broad = broad - broad[skin > 0.5][::7].median(0).values
    other = broad.flip(1)
    less = torch.where(broad.abs() < other.abs(), broad, other) * (broad * other > 0)
    return log_albedo + skin[..., None] * (less - broad)


def bounded(ratio: Float[Tensor, "H W 3"], trust: Float[Tensor, "H W"], plain: Float[Tensor, "H W"]) -> Float[Tensor, "H W 3"]:
    """The log ratio without outliers on plain skin, in brightness and in hue, and without its typical hue there."""
    sure = (trust > 0.5) & (plain > 0.5)
    if not sure.any():
        return ratio
    middle = ratio[sure][::7].median(0).values
    level = middle.mean()
    apart = ratio - middle
    light = apart.mean(-1, keepdim=True)
    calm = _bounded_by(light, sure, DARKER, BRIGHTER) + _bounded_by(apart - light, sure, HUED, HUED)
    return level + apart + plain[..., None] * (calm - apart)


def _bounded_by(values: Float[Tensor, "H W C"], sure: Tensor, below: float, above: float) -> Tensor:
    """The values within so many of their robust standard deviations on either side of 0."""
    deviation = (1.48 * values[sure][::7].abs().median(0).values).clamp_min(LEAST_DETAIL)
    return bent(values, -below * deviation, above * deviation)


@lru_cache(maxsize=2)
def _share(size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """[0, 1] where the textures of the box count: on the face, fading out towards the border."""
    masks = region_masks(*size, ("scalp", *STRIP))
    box = window_share(size, tuple((BOX[0] * n, BOX[1] * n) for n in size), (RIM * size[0], RIM * size[1]))
    strip = sum(masks[name] for name in STRIP).clamp(0, 1)
    return box * (1 - masks["scalp"]) * (1 - strip)


def in_layout(texture: Float[Tensor, "h w C"], size: tuple[int, int]) -> Float[Tensor, "H W C"]:
    """A texture of the box in the whole layout; beyond the box its edges go on."""
    rows, columns = (slice(round(BOX[0] * n), round(BOX[1] * n)) for n in size)
    inner = at_size(texture, (rows.stop - rows.start, columns.stop - columns.start)).permute(2, 0, 1)[None]
    around = columns.start, size[1] - columns.stop, rows.start, size[0] - rows.stop
    return pad(inner, around, mode="replicate")[0].permute(1, 2, 0).contiguous()


def in_box(texture: Float[Tensor, "L L C"], size: tuple[int, int]) -> Float[Tensor, "h w C"]:
    """The box of a square layout at another size."""
    planes = texture[box_slices(len(texture))].unbind(2)
    small = [cv2.resize(plane.contiguous().numpy(), size[::-1], interpolation=cv2.INTER_AREA) for plane in planes]
    return torch.from_numpy(np.stack(small, 2))


def tone_of_generated(albedo: Float[Tensor, "h w 3"], fit: FaceFit) -> Float[Tensor, "3"]:
    """The typical log ratio of a generator's plain skin to the statistical albedo of a fit."""
    square = (SIZE, SIZE)
    masks = region_masks(*square)
    plain = (masks["cheeks"] + masks["forehead"] + masks["chin"]) * _share(square) > 0.5
    statistical = at_size(skin_albedo(load_skin_model(), fit.albedo), square)
    return (in_layout(albedo, square).clamp_min(5e-3) / statistical)[plain].log().median(0).values


def coded_reflectance(maps: ReflectanceMaps, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(6, h, w) coded maps of the box as the `fitme` prior makes them, and (h, w) the trust in them.

    Args:
        maps: in a square layout.
    """
    normal = 0.5 + 0.5 * maps.specular_normal[..., :2]
    planes = [srgb_from_linear(maps.diffuse_albedo), maps.specular_albedo[..., None] / F0_SPAN, normal]
    codes = in_box(torch.cat(planes, 2), size).permute(2, 0, 1).clamp(0, 1).contiguous()
    return codes, _trust(maps.confidence, size)


def coded_light(
    model: HeadModel, observations: tuple[Observation, ...], fits: tuple[FaceFit, ...], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """(3, h, w) the lit texture of the box as the `ganfit` prior makes it, completed, under the light of the first photo;
    and (h, w) the trust in it.

    Where no photo shows the skin, the statistical skin under the fitted light is corrected by what the mirrored side and
    the surroundings tell.
    """
    square = (LAYOUT, LAYOUT)
    fragments = texels(model, *square)
    base = at_size((skin_albedo(load_skin_model(), fits[0].albedo)).clamp(0, 1), square)
    weighted, weight, known = torch.zeros(*square, 3), torch.zeros(square), torch.zeros(square)
    views = [view_of(model, fit) for fit in fits]
    for observation, view in zip(observations, views, strict=True):
        seen = unwrap(model, observation, view, fragments)
        expected = _lit(model, view, fragments, base)
        ratio = (seen.radiance.clamp_min(2e-3) / expected.clamp_min(2e-3)).log()
        preference = seen.confidence**4
        weighted += ratio * preference[..., None]
        weight += preference
        known = torch.maximum(known, seen.confidence)
    regions = regions_of(region_masks(*square, MARKED))
    ratio = complete(weighted / weight.clamp_min(1e-8)[..., None], known, regions)
    lit = _lit(model, views[0], fragments, base) * ratio.exp() * fits[0].exposure
    codes = in_box(srgb_from_linear(lit.clamp(0, 1)), size).permute(2, 0, 1).contiguous()
    return codes, _trust(known, size)


def _lit(model: HeadModel, view, fragments, albedo: Tensor) -> Tensor:
    """(L, L, 3) radiance of skin of an albedo under the fitted light, seen from the camera."""
    light = interpolate(torch.cat([view.irradiance / math.pi, view.specular], 1), model.triangles, fragments)
    return albedo * light[..., :3] + light[..., 3:]


def _trust(confidence: Tensor, size: tuple[int, int]) -> Tensor:
    share = _share(tuple(confidence.shape))
    return in_box((share * (UNSEEN + (1 - UNSEEN) * confidence))[..., None], size)[..., 0].contiguous()


def delit(lit: Float[Tensor, "h w 3"], sighting: Sighting, light: LearnedLight) -> Float[Tensor, "h w 3"]:
    """Linear albedo of the box from a coded lit texture of the box, by the de-lighting network and the rules that go with it.

    Args:
        sighting: of the photo whose light is in the texture.
        light: of the photos, for the tone.

    Source: AvatarMe (Lattas et al., CVPR 2020), which takes the light out of GANFIT's textures.
    """
    model, fit, view, square = sighting.model, sighting.fit, sighting.view, (LAYOUT, LAYOUT)
    window = _share((SIZE, SIZE))
    coded = in_layout(lit, (SIZE, SIZE)).clamp(0, 1) * (window > 0)[..., None]
    told = read_texture(model, load_delighting(), (coded, window), fit)
    expected = interpolate(torch.cat([view.irradiance, view.specular], 1), model.triangles, texels(model, *square))
    whole = _share(square)
    radiance = linear_from_srgb(in_layout(lit, square).clamp(0, 1)) / fit.exposure
    seen = Unwrapped(radiance, expected[..., :3].contiguous(), expected[..., 3:].contiguous(), whole, whole, whole)
    own = LearnedLight(light.tone, (told,))
    statistical = at_size(skin_albedo(load_skin_model(), fit.albedo), square) * light.tone.exp()
    ratio, _ = own.ratio(0, seen, fit, statistical, regions_of(region_masks(*square, MARKED)))
    return in_box((statistical * ratio.exp()).clamp(0, 1), lit.shape[:2])

"""Takes the light out of an unwrapped photo: specular first, then the irradiance, then what the fit left over."""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.smoothstep import smoothstep
from relit.maps.pyramid import blur, weighted_blur
from relit.maps.unwrap import Unwrapped, diffuse_radiance

DARKEST = 0.12  # of the median irradiance: texels in deeper shadow are left to the completion
CLIPPED = (0.88, 0.99)  # sensor value between no doubt and full doubt about a highlight
LIGHTNESS = (-1.5, 1.0)  # bounds of the log ratio
# Bounds of log(red / green), log(green / blue) and log brightness of plain skin about the person's median; wider on lips and
# brows.
REDDER, YELLOWER, BRIGHTER, WIDER = (-0.10, 0.26), (-0.12, 0.14), 0.5, 2.0
GLOSS_WIDTH = 0.0015  # of the map's width: colours are noisier than lightness
HUELESS = (0.03, 0.3)  # share of white in the darkest channel from which the photo's hue is replaced
DROWNED = (0.4, 0.8)  # share of white between no doubt and full doubt
TEETH_RIM = 0.006  # of the map's width: how near to teeth lips are mixed with them
GAP = (0.5, 0.9)  # log ratio below the lips' median between no doubt and full doubt
OF_HAIR = 0.85  # of the colour of beards: how much more of it than of plain skin's cannot be light
BROAD, FINE = 0.035, 0.012  # of the map's width: scales at which left-over light is told from skin


DRAWN = "brows", "lips", "eyelids", "nostrils"  # of a tone of their own, which ends where they do
MARKED = *DRAWN, "beard"  # not of the plain colour of skin


class Kept(NamedTuple):
    """How much of a symmetric deviation from the typical skin is skin; the rest is light."""

    bright: float
    dark: float
    hue: float


KEPT = Kept(bright=0.35, dark=0.6, hue=0.3), Kept(bright=0.8, dark=0.65, hue=0.7)  # at the scales BROAD and FINE


class Regions(NamedTuple):
    """[0, 1] what light is told from skin by, each (H, W)."""

    plain: Tensor  # skin of the colour of skin: without lips, brows, beard
    hued: Tensor  # hue hardly changes over centimetres: plain skin, and in part where beards grow
    lips: Tensor  # teeth look like white there and the gap between them like shadow
    going_on: Tensor  # what is not seen beside it has its tone
    beard: Tensor  # a beard does grow


def regions_of(masks: dict[str, Tensor]) -> Regions:
    """Of `regions.region_masks`, for a face without a beard."""
    without = lambda names: 1 - torch.stack([masks[name] for name in names]).amax(0)  # noqa: E731
    plain = without(MARKED)
    hued = torch.stack([plain, 0.6 * masks["beard"] * (1 - masks["lips"]), 0.4 * masks["eyelids"]]).amax(0)
    return Regions(plain, hued, masks["lips"], without(DRAWN), torch.zeros_like(plain))


def with_beard(regions: Regions, beard: Float[Tensor, "H W"]) -> Regions:
    """The regions of a face on which a beard grows, [0, 1]: the colour of hair is no light."""
    return regions._replace(hued=torch.maximum(regions.plain, regions.hued * (1 - OF_HAIR * beard)), beard=beard)


def delight(
    seen: Unwrapped, base: Float[Tensor, "H W 3"], regions: Regions, kept: tuple[Kept, Kept] = KEPT
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    """The log ratio between the photo's albedo and a typical one, and its confidence.

    Args:
        base: the typical albedo: of the statistical skin model with the fitted coefficients, or a better one.
        kept: of broad and of fine deviations from it; less where it is better.

    What the fitted light cannot explain is told from skin by three facts. Highlights have the colour of the light, so
    they wash the skin's colour out. Skin is about symmetric, light seldom is. Highlights only brighten. The broad part
    of the log ratio loses its left-right difference and most of its brightening; fine detail stays as it is.

    Source: highlights by the dichromatic model, Shafer 1985.
    Differs: AvatarMe (Lattas et al. 2020) learns this step; here it follows from the model and symmetry.
    """
    plain, hued, lips = regions[:3]
    trusted = seen.confidence > 0.5
    floor = DARKEST * float(seen.irradiance[trusted].median()) if trusted.any() else 0.05
    albedo = diffuse_radiance(seen) * math.pi / seen.irradiance.clamp_min(floor)
    albedo, share = _without_gloss(albedo, base, seen.confidence * plain)
    albedo, share_of_lips = _without_gloss(albedo, base, seen.confidence * lips)
    teeth = torch.from_numpy(cv2.dilate(share_of_lips.numpy(), np.ones((max(1, round(TEETH_RIM * base.shape[1])),) * 2)))
    drowned = smoothstep(*DROWNED, torch.maximum(share, teeth * lips))
    clipped = torch.maximum(smoothstep(*CLIPPED, seen.radiance.amax(-1)) * 0.8, drowned)
    dark = 1 - smoothstep(floor * 0.8, floor * 2.5, seen.irradiance.amin(-1))
    ratio = (albedo.clamp_min(2e-3) / base.clamp_min(5e-3)).log()
    confidence = seen.confidence * (1 - clipped) * (1 - dark) * (1 - gap(ratio, seen.confidence * lips))
    ratio = of_skin_hue(ratio, confidence, hued)
    return torch.from_numpy(_without_light(ratio.numpy(), confidence.numpy(), regions, kept)), confidence


def of_skin_hue(ratio: Tensor, confidence: Tensor, hued: Tensor) -> Tensor:
    """The log ratio with its brightness bounded and its hue kept within what pigments of skin can do.

    Blood and melanin only ever take from green and blue: skin blushes and freckles far more than it turns green, blue
    or grey. Melanin varies downwards, in moles and freckles: what is far brighter than most skin is light. The deviation
    from the person's own median is bent smoothly towards these bounds.

    Source: the two pigments of skin as in Tsumura et al. 1999, "Independent-component analysis of skin color image".
    """
    light = ratio.mean(-1, keepdim=True)
    certain = (confidence > 0.5) & (hued > 0.5)
    middle = (ratio - light)[certain][::7].median(0).values if certain.any() else torch.zeros(3)
    hue = ratio - light - middle
    widened = 1 + WIDER * (1 - hued)
    red, yellow = (
        bent(hue[..., i] - hue[..., i + 1], low * widened, high * widened)
        for i, (low, high) in enumerate((REDDER, YELLOWER))
    )
    hue = torch.stack([2 * red + yellow, yellow - red, -red - 2 * yellow], -1) / 3
    level = light[certain][::7].median() if certain.any() else torch.zeros(())
    over, most = light - level, BRIGHTER * widened[..., None]
    light = level + torch.where(over > 0, bent(over, -most, most), over)
    return light.clamp(*LIGHTNESS) + middle + hue


def bent(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """x where it is near 0, bending smoothly towards its bounds, low < 0 < high."""
    bound = torch.where(x < 0, -low, high)
    return bound * torch.tanh(x / bound)


def _without_gloss(albedo: Tensor, base: Tensor, skin: Tensor) -> tuple[Tensor, Tensor]:
    """The albedo less the white that is mixed to the skin's own colour, and that white's share of the darkest channel.

    Args:
        skin: [0, 1] where the colour of skin is expected; elsewhere nothing changes.
    """
    certain = skin > 0.5
    if certain.sum() < 100:
        return albedo, torch.zeros_like(skin)
    own = base * (albedo[certain] / base[certain])[::7].median(0).values
    own = own / own.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    across = torch.ones(3) - own.sum(-1, keepdim=True) * own  # the part of white that skin of this colour cannot show
    white = (albedo * across).sum(-1) / (across**2).sum(-1).clamp_min(0.02)
    usual = white[certain][::7].quantile(torch.tensor([0.5, 0.75]))
    excess = (white - usual[1] - 0.5 * (usual[1] - usual[0])).clamp_min(0) * skin
    excess = torch.from_numpy(cv2.GaussianBlur(excess.numpy(), (0, 0), max(0.5, GLOSS_WIDTH * skin.shape[1])))
    darkest = albedo.amin(-1).clamp_min(1e-3)
    share = excess / darkest
    matt = albedo - torch.minimum(excess, 0.6 * darkest)[..., None]
    # What lay below the highlight has the hue of the skin around it, only its brightness is still told by the photo. A
    # clipped highlight hides how much white it holds, and too much taken off would leave a dark spot in its place: the
    # skin below it is as bright as around it, or as the photo where that is darker.
    hue = smoothstep(*HUELESS, share)[..., None]
    around = weighted_blur(matt.numpy(), (skin * (1 - hue[..., 0])).numpy(), BROAD * skin.shape[1])
    around = torch.where(torch.from_numpy(around) > 1e-3, torch.from_numpy(around), own)
    level = torch.minimum(around.mean(-1, keepdim=True), albedo.mean(-1, keepdim=True))
    bright = torch.maximum(matt.mean(-1, keepdim=True), level)
    return matt + hue * (around / around.mean(-1, keepdim=True) * bright - matt), share


def gap(ratio: Tensor, lips: Tensor) -> Tensor:
    """(H, W) in [0, 1]: 1 on the dark line between the lips and in an open mouth that reaches into them."""
    certain = lips > 0.5
    if not certain.any():
        return torch.zeros_like(lips)
    light = ratio.mean(-1)
    return lips * smoothstep(*GAP, light[certain].median() - light)


def _without_light(ratio: np.ndarray, confidence: np.ndarray, regions: Regions, keeps: tuple[Kept, Kept]) -> np.ndarray:
    """The log ratio less its lopsided part and what is not to be kept; detail finer than FINE stays as it is."""
    width, hued, shaved = ratio.shape[1], regions.hued.numpy(), 1 - OF_HAIR * regions.beard.numpy()
    result = ratio
    for scale, strength in ((BROAD, 1.0), (FINE, 0.6)):
        broad = weighted_blur(result, confidence, scale * width)
        trust = blur(confidence, scale * width)[..., None]
        both = np.minimum(trust, trust[:, ::-1])
        result = result - 0.5 * strength * np.minimum(both * 2, 1) * (broad - broad[:, ::-1])
    for scale, kept in zip((BROAD, FINE), keeps, strict=True):
        broad = weighted_blur(result, confidence, scale * width)
        certain = (confidence > 0.5) & (hued > 0.5)
        broad -= np.median(broad[certain][::7], 0) if certain.any() else 0.0
        channels = torch.from_numpy(broad)  # NumPy is slow along so short an axis
        light = channels.mean(-1, keepdim=True).numpy()
        over = channels.amin(-1, keepdim=True).clamp_min_(0).numpy()  # brighter in every channel: white light on top
        under = np.minimum(light, 0) * hued[..., None]  # folds of the photo's expression
        hue = (broad - light) * hued[..., None]
        over *= shaved[..., None]
        result = result - (1 - kept.bright) * over - (1 - kept.dark) * under - (1 - kept.hue) * hue
    return result

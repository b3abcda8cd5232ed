"""Beards: whether one grows, what it adds to the colour of the skin, and the typical skin without its grey."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from relit.geometry.smoothstep import smoothstep
from relit.maps.pyramid import blur
from relit.maps.unwrap import Unwrapped, diffuse_radiance

# Beside all these, the grey of beards lies where they may grow and, in the mean of many skins, on the sides of the face.
INNER = "cheeks", "forehead", "nose", "lips", "eyelids", "under_eye", "brows", "nostrils"
BROAD = 0.01  # of the map's width
TAKEN = 0.7  # of the hue
TEXTURE_SIDE, TEXTURE_TEXELS, LEAST_TEXTURE = 1024, 4.0, 1e-4  # of the picture in which texture is measured, and its scale
GREY = 0.2, 0.3  # log red over green of plain skin against that of where beards grow: none, and sure
DARKEST = 0.03  # irradiance: deeper shadow of the fit is not believed
BEARDED = 2.2, 3.2  # texture where beards grow against that of plain skin: none, and sure


def beard_area(masks: dict[str, Tensor]) -> Float[Tensor, "H W"]:
    """[0, 1] where a beard may grow.

    Args:
        masks: of `relit.models.regions.region_masks`: beard and lips.
    """
    return masks["beard"] * (1 - masks["lips"])


def plain_area(masks: dict[str, Tensor]) -> Float[Tensor, "H W"]:
    """[0, 1] where skin is that of cheeks and forehead and no beard grows."""
    return torch.maximum(masks["cheeks"], masks["forehead"]) * (masks["beard"] < 0.1)


def bearded(seen: Unwrapped, masks: dict[str, Tensor]) -> float:
    """[0, 1] whether a beard grows, by the skin where it may: its texture, of which the lines of hairs cannot be told from
    folds, or its grey, which no light makes on a chin alone.

    Median texture there against that of plain skin: 1 to 2.2 on 21 portraits without a beard, 2.4 to 4.2 on three of four
    with one. Median log red over green against that of plain skin: -0.13 and up, but -0.31 and -0.49 in two grey beards.
    """
    sure = seen.confidence > 0.5
    grown, bare = ((area(masks) > 0.7) & sure for area in (beard_area, plain_area))
    if not (grown.any() and bare.any()):
        return 0.0
    colour = (diffuse_radiance(seen) / seen.irradiance.clamp_min(DARKEST)).clamp_min(1e-3).log()
    red = [(colour[area][:, 0] - colour[area][:, 1]).median() for area in (grown, bare)]
    grey = float(smoothstep(*GREY, red[1] - red[0]))
    size = (TEXTURE_SIDE, TEXTURE_SIDE)
    smaller = lambda picture: cv2.resize(picture.float().numpy(), size, interpolation=cv2.INTER_AREA)  # noqa: E731
    light = smaller(seen.radiance.mean(-1).clamp_min(1e-3).log())
    texture = np.abs(light - cv2.GaussianBlur(light, (0, 0), TEXTURE_TEXELS))
    grown, bare = (texture[smaller(area) > 0.99] for area in (grown, bare))
    if not (len(grown) and len(bare)):
        return grey
    return max(grey, float(smoothstep(*BEARDED, np.median(grown) / (np.median(bare) + LEAST_TEXTURE))))


def beard_ratio(
    ratio: Float[Tensor, "H W 3"], sure: Bool[Tensor, "H W"], beard: Float[Tensor, "H W"], masks: dict[str, Tensor]
) -> Float[Tensor, "H W 3"]:
    """What a beard adds to the log ratio wherever it may grow: as much as it does, in the middle, where it is seen.

    Args:
        ratio: to the typical albedo.
        sure: where it is seen.
        beard: [0, 1] where one grows.
    """
    grown, bare = ((area > 0.7) & sure for area in (beard_area(masks), plain_area(masks)))
    if not (grown.any() and bare.any()):
        return torch.zeros_like(ratio)
    return beard[..., None] * (ratio[grown][::7].median(0).values - ratio[bare][::7].median(0).values)


def without_grey(base: Float[Tensor, "H W 3"], masks: dict[str, Tensor]) -> Float[Tensor, "H W 3"]:
    """The logarithm of what makes a typical albedo on jaws and sides of about the hue of plain skin.

    Photos show the jaws that they show; this is for what they do not show.

    Args:
        masks: face, beard and INNER.
    """
    inner = torch.stack([masks[name] for name in INNER]).amax(0)
    ring = torch.maximum(masks["beard"], masks["face"] * (1 - inner)) * (1 - masks["lips"])
    plain = torch.maximum(masks["cheeks"], masks["forehead"]) * (1 - ring) > 0.5
    log = base.clamp_min(5e-3).log()
    hue = log - log.mean(-1, keepdim=True)
    apart = (hue - hue[plain][::7].median(0).values) * ring[..., None]
    return -TAKEN * torch.from_numpy(blur(apart.numpy(), BROAD * base.shape[1]))

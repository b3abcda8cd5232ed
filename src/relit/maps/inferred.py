"""Reflectance of a face by networks alone, from unwrapped photos: inferred, completed, made four times as fine.

Source: Yamaguchi et al., SIGGRAPH 2018, sections 4 and 5; see the networks in `relit.models` for the differences.
Differs: where a photo is sharper than 512 x 512, its own detail stays: the networks' light is divided out of the photo at
the size of the maps. Super-resolution makes what no photo shows.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from relit.geometry.smoothstep import smoothstep
from relit.maps.delight import CLIPPED, Regions, gap, of_skin_hue, regions_of
from relit.maps.knowledge import Completed, FittedLight, KnownSurface
from relit.maps.learned import seen_texture, shared_tone, tone_of
from relit.maps.pyramid import at_size, window_share
from relit.maps.sighting import Sighting
from relit.maps.unwrap import Unwrapped
from relit.models.completion import load_completion, mean_of_seen
from relit.models.delighting import BRIGHTEST, DARKEST, load_delighting
from relit.models.regions import region_masks
from relit.models.skin import load_skin_model, skin_albedo
from relit.models.superresolution import load_superresolution, superresolved
from relit.models.texture_inference import (
    F0_SPAN,
    FLAT,
    HIGH_SPAN_MM,
    MID_SPAN_MM,
    ROWS,
    SIZE,
    WINDOW,
    check_texture,
    halved,
    load_inference,
    near_albedo,
    near_input,
    read_whole,
    surface_planes,
    window_of,
)
from relit.types import FaceFit

RIM = 12  # texels over which the window fades into the maps around it
CLEAR = 4.0  # exponent of the preference for the clearer of several photos


@dataclass(frozen=True)
class Reading:
    """What the networks say of one photo, `SIZE` x `SIZE`; albedo and surface in their window."""

    light: Float[Tensor, "S S 3"]  # log of what a white surface would show, highlights included
    bare: Float[Tensor, "S S"]  # [0, 1] probability that nothing lies before the skin
    tone: Float[Tensor, "3"]  # log ratio of the person's skin to the statistical albedo, as both stages say it
    level: Float[Tensor, "3"]  # the same of `albedo`
    albedo: Float[Tensor, "1 3 h w"]  # log
    surface: Float[Tensor, "1 3 h w"]  # as `surface_planes`, less FLAT
    trust: Float[Tensor, "1 1 h w"]


@dataclass(frozen=True)
class Inferred(FittedLight):
    """What the networks say of one person."""

    readings: tuple[Reading, ...] = ()  # of each photo
    maps: Float[Tensor, "1 6 h w"] = field(default_factory=lambda: torch.zeros(1, 6, 1, 1))
    # completed: log albedo, surface as `surface_planes`; the window at any size

    def ratio(self, index: int, seen: Unwrapped, fit: FaceFit, base: Tensor, regions: Regions) -> tuple[Tensor, Tensor]:
        ratio, trust = photo_ratio(seen, self.readings[index], fit, base, self.tone)
        trust = trust * (1 - gap(ratio, trust * regions.lips))
        return of_skin_hue(ratio, trust, regions.hued), trust

    def completed(self, base: Tensor) -> Completed:
        size = base.shape[:2]
        maps, masks = in_layout(self.maps, size), region_masks(*size, ("face", "scalp"))
        share = masks["face"] * (1 - masks["scalp"]) * at_size(window_mask()[..., None], size)[..., 0]
        albedo, specular, mid, high = maps.split((3, 1, 1, 1), 2)
        mid, high = ((2 * band[..., 0] - 1) * span for band, span in ((mid, MID_SPAN_MM), (high, HIGH_SPAN_MM)))
        return Completed(albedo - base.clamp_min(5e-3).log(), share, KnownSurface(specular[..., 0] * F0_SPAN, mid, high))


def infer(sightings: tuple[Sighting, ...], fine: bool = True) -> Inferred:
    """The reflectance of the person in the photos, the whole face, whatever part of it they show.

    Args:
        fine: whether to make the maps four times as fine as `SIZE`.

    Raises:
        InputError: nothing of the face is seen in a photo.
    """
    readings = tuple(read_photo(sighting) for sighting in sightings)
    tone = shared_tone(readings)
    weights = [one.trust**CLEAR for one in readings]
    total = sum(weights).clamp_min(1e-8)
    mean = lambda of: sum(of(one) * w for one, w in zip(readings, weights, strict=True)) / total  # noqa: E731
    albedo = mean(lambda one: one.albedo + (tone - one.level)[:, None, None])
    known = torch.stack([one.trust for one in readings]).amax(0)
    level = mean_of_seen(albedo, known)
    with torch.no_grad():
        albedo = load_completion("diffuse")(albedo - level, known).fine + level
        surface = load_completion("surface")(mean(lambda one: one.surface), known).fine
    maps = torch.cat([albedo, surface + torch.tensor(FLAT)[:, None, None]], 1)
    return Inferred(tone, readings, superresolved(load_superresolution(), maps) if fine else maps)


def read_photo(sighting: Sighting) -> Reading:
    """What the inference networks say of one photo.

    Raises:
        InputError: nothing of the face is seen in it.
    """
    lit, confidence = seen_texture(sighting, SIZE)
    planes = lambda texture: texture[ROWS].permute(2, 0, 1)[None].contiguous()  # noqa: E731
    coded, visible = planes(lit), planes(confidence[..., None])
    check_texture(coded, visible)
    with torch.no_grad():
        whole, first = read_whole(load_delighting(), halved(coded), halved(visible))
        read = near_input(coded, visible, whole)
        near = near_albedo(load_inference("diffuse")(read), coded, whole)
        surface = surface_planes(load_inference("surface")(read)) - torch.tensor(FLAT)[:, None, None]
    # beyond the rows that the first stage reads, their first and last go on
    rows, columns = WINDOW
    above = ROWS.start // 2, (SIZE - ROWS.stop) // 2
    both = pad(torch.cat([whole.light, whole.bare], 1), (0, 0, *above), mode="replicate")[0].permute(1, 2, 0)
    both = at_size(both, (SIZE, SIZE))
    inner = torch.cat([near.light, near.bare], 1)[0].permute(1, 2, 0)
    both[rows, columns] += window_mask()[rows, columns, None] * (inner - both[rows, columns])
    clipped = 0.8 * smoothstep(*CLIPPED, window_of(coded).amax(1, keepdim=True))
    trust = window_of(visible) * near.bare * (1 - clipped)
    masks, albedo = region_masks(SIZE, SIZE), near.albedo.clamp(DARKEST, BRIGHTEST).log()
    plain, half = masks["cheeks"] + masks["forehead"] + masks["chin"] > 0.5, slice(ROWS.start // 2, ROWS.stop // 2)
    statistical = at_size(skin_albedo(load_skin_model(), sighting.fit.albedo), (SIZE, SIZE)).log()
    change = first.albedo[0].log().permute(1, 2, 0) - at_size(statistical, (SIZE // 2,) * 2)[half]
    tone = tone_of(change, at_size(plain[..., None].float(), (SIZE // 2,) * 2)[half][..., 0] > 0.5, first.trust[0, 0])
    statistical, plain = statistical[rows, columns], plain[rows, columns]
    ratio, hued = albedo[0].permute(1, 2, 0) - statistical, regions_of(masks).hued[rows, columns]
    trust = trust * (1 - gap(ratio, trust[0, 0] * masks["lips"][rows, columns]))
    level = tone_of(ratio, plain, trust[0, 0])
    albedo = (of_skin_hue(ratio, trust[0, 0], hued) + statistical).permute(2, 0, 1)[None]
    return Reading(both[..., :3].contiguous(), both[..., 3].contiguous(), 0.5 * (tone + level), level, albedo, surface, trust)


def photo_ratio(
    seen: Unwrapped, one: Reading, fit: FaceFit, base: Float[Tensor, "H W 3"], tone: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    """The log ratio between the albedo in an unwrapped photo of any size and a typical one, and its confidence.

    Args:
        base: the typical albedo.
        tone: that the skin is to have, as `Reading.tone`.
    """
    size = seen.confidence.shape
    photo = (seen.radiance * fit.exposure).clamp(DARKEST, 1)
    clipped = 0.8 * smoothstep(*CLIPPED, photo.amax(-1))
    trust = seen.confidence * at_size(one.bare[..., None], size)[..., 0] * (1 - clipped)
    return photo.log() - at_size(one.light, size) + (tone - one.level) - base.clamp_min(5e-3).log(), trust


def in_layout(maps: Float[Tensor, "1 C h w"], size: tuple[int, int]) -> Float[Tensor, "H W C"]:
    """The window's maps in the whole layout; beyond the window its edges go on."""
    rows, columns = WINDOW
    around = columns.start, SIZE - columns.stop, rows.start, SIZE - rows.stop
    scale = maps.shape[-1] // (columns.stop - columns.start)
    whole = pad(maps, tuple(scale * edge for edge in around), mode="replicate")[0].permute(1, 2, 0)
    return at_size(whole, size) if whole.shape[:2] != tuple(size) else whole.contiguous()


@lru_cache(maxsize=1)
def window_mask() -> Float[Tensor, "S S"]:
    """[0, 1] the networks' window, fading out at its edge."""
    return window_share((SIZE, SIZE), tuple((part.start, part.stop) for part in WINDOW), (RIM, RIM))

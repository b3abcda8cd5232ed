"""Sightings -> ReflectanceMaps."""

from collections.abc import Callable

import cv2
import torch
from torch import Tensor

from relit.appearance.folds import FOLD_HUE
from relit.geometry.smoothstep import smoothstep
from relit.maps.beard_shadow import without_grey
from relit.maps.complete import complete
from relit.maps.delight import regions_of
from relit.maps.folds import bearded, fold_darkening
from relit.maps.infer import Known, infer_surface
from relit.maps.knowledge import FITTED_LIGHT, Knowledge
from relit.maps.mesostructure import PIT_MM, PIT_SHADE
from relit.maps.pyramid import at_size, blur
from relit.maps.sighting import Sighting
from relit.maps.solid_noise import solid_noise
from relit.maps.unwrap import texels, unwrap
from relit.models.head import HeadModel, neutral_vertices, posed_vertices
from relit.models.regions import STRIP, region_masks
from relit.models.skin import load_skin_model, skin_albedo
from relit.render.rasterise import interpolate
from relit.types import FaceFit, ReflectanceMaps

# Of the darkness of wrinkles: it is mostly shading, which the relief brings back, but a likeness also lives on it. The
# folds of the photo's expression go altogether: on a calm face they look like those of age.
KEPT_WRINKLES = 0.7
MOVED_MM = (1.0, 6.0)  # movement by the photo's expression between its own folds kept and left out
WRINKLED, LASTING = (0.03, 0.12), 0.7  # mean darkness of lines on foreheads, young to old; share of folds that the old keep
STUBBLE = 0.45  # how far shaved hair takes the scalp from the colour of skin to that of hair
STUBBLE_MM, STUBBLE_CONTRAST = 0.7, 0.16
# Texels along an edge at which photos are read: 0.15 mm of skin, finer than portraits are. What larger maps show beyond
# it is relief, and the shade in its pits.
PHOTO_SIDE = 2048
# Log ratio to typical skin, averaged over a part of the map's width, from which a photo is doubted where another shows less:
# blushes and freckles stay below it, leftover shadows and hair do not.
UNLIKE, UNLIKE_SCALE = 0.25, 0.006


def build_maps(
    model: HeadModel,
    sightings: tuple[Sighting, ...],
    size: tuple[int, int],
    seed: int = 0,
    step: Callable[[int, int], None] = lambda done, total: None,
    knowledge: Knowledge = FITTED_LIGHT,
) -> ReflectanceMaps:
    """The maps of one person from one or several photos with their fits; nothing is occluded yet.

    Args:
        sightings: of `relit.maps.sighting.sighted`.
        size: rows and columns.
        seed: of synthesised skin detail.
        step: told (done, total) as the work goes on.
        knowledge: of light and skin, beyond the fits.
    """
    fits, total = tuple(one.fit for one in sightings), len(sightings) + 2
    whole, size = size, (min(size[0], PHOTO_SIDE), min(size[1], PHOTO_SIDE))
    fragments = texels(model, *size)
    statistical = skin_albedo(load_skin_model(), fits[0].albedo)
    tone = knowledge.tone.exp()
    base = knowledge.typical(at_size((statistical * tone).clamp(0, 1), size))
    masks = region_masks(*size)
    regions = regions_of(masks)
    hair = [one.bare.hair_colour for one in sightings if one.bare.hair_colour is not None]
    ratios, trusts = [], []
    for index, one in enumerate(sightings):
        seen = unwrap(model, one.observation, one.view, fragments)
        seen.confidence.mul_(at_size(one.bare.mask[..., None], size)[..., 0])
        ratio, trust = knowledge.ratio(index, seen, one.fit, base, regions)
        ratios.append(ratio)
        trusts.append(trust)
        step(index + 1, total)
    ratio, confidence = merged(ratios, trusts), torch.stack(trusts).amax(0)
    own_hue = without_grey(base, masks)
    base, ratio = base * own_hue.exp(), ratio - own_hue
    position_mm = 1000 * interpolate(model.mean, model.triangles, fragments)
    found = knowledge.completed(base)
    guess = (found.ratio, found.share) if found else None
    ratio = complete(ratio, confidence, position_mm, regions, seed, guess)
    lines = lambda light: torch.from_numpy(fold_darkening(light.numpy(), regions.hued.numpy()))  # noqa: E731
    folds = lines(ratio.mean(-1))
    moved = smoothstep(*MOVED_MM, 1000 * interpolate(_movement(model, fits)[:, None], model.triangles, fragments)[..., 0])
    moved = moved * (1 - _lasting(ratio.mean(-1), folds, moved, confidence > 0.5, masks))
    folds = folds * (1 - KEPT_WRINKLES * (1 - moved))
    folds_taken = folds[..., None] * torch.tensor(FOLD_HUE)
    ratio = ratio + folds_taken
    # skin that bulges between the folds of an expression catches light
    ridges = lines(-ratio.mean(-1)) * moved
    ratio = ratio - ridges[..., None]
    strip = sum(masks[name] for name in STRIP).clamp(0, 1)
    albedo = base * (ratio * (1 - strip)[..., None]).exp()
    if hair:
        albedo = _with_stubble(albedo, torch.stack(hair).mean(0), masks["scalp"] * (1 - confidence), position_mm, seed)
    albedo = albedo.clamp(0, 1)
    step(len(fits) + 1, total)
    # wrinkles go on as relief; the folds of an expression go with it
    known = None
    if found and found.surface:
        relief_mm = found.surface.mid_mm * (1 - moved) + found.surface.high_mm
        known = Known(found.surface.specular, relief_mm, found.share, found.surface.whole)
    bare = albedo * (-folds_taken * (1 - moved)[..., None]).exp()
    surface = infer_surface(bare, confidence, seed, whole, known, knowledge.specular_factor(bare, confidence))
    step(total, total)
    return ReflectanceMaps(
        diffuse_albedo=albedo if whole == size else _with_pits(albedo, surface.displacement_mm),
        specular_albedo=surface.specular_albedo,
        roughness=surface.roughness,
        diffuse_normal=surface.diffuse_normal,
        specular_normal=surface.specular_normal,
        displacement_mm=surface.displacement_mm,
        occlusion=torch.ones(whole),  # follows from the shape alone
        confidence=at_size(confidence[..., None], whole)[..., 0],
        folds=at_size(((ridges - folds * moved) * (1 - strip))[..., None], whole)[..., 0],
    )


def merged(ratios: list[Tensor], trusts: list[Tensor]) -> Tensor:
    """(H, W, 3) one log ratio to the typical skin from those of several photos.

    A sharp preference for the better view, so that two slightly misplaced views do not blur each other; and for the photo
    that is nearer to typical skin: where photos differ much, the other shows hair, a shadow or a highlight.
    """
    scale = UNLIKE_SCALE * ratios[0].shape[1]
    unlike = [torch.from_numpy(blur(ratio.mean(-1).abs().numpy(), scale)) for ratio in ratios]
    likely = [(1 + (off / UNLIKE) ** 2) ** -2 for off in unlike]
    most = torch.stack(likely).amax(0)
    weighted, weight = torch.zeros_like(ratios[0]), torch.zeros_like(most)
    for ratio, trust, chance in zip(ratios, trusts, likely, strict=True):
        preference = trust**4 * (chance / most)
        weighted += ratio * preference[..., None]
        weight += preference
    return weighted / weight.clamp_min(1e-8)[..., None]


def _with_pits(albedo: Tensor, displacement_mm: Tensor) -> Tensor:
    """The albedo at the size of the relief, darker in the pits that are too small for its own size."""
    whole = displacement_mm.shape
    coarse = cv2.resize(displacement_mm.numpy(), albedo.shape[1::-1], interpolation=cv2.INTER_AREA)
    fine = displacement_mm - torch.from_numpy(cv2.resize(coarse, whole[::-1], interpolation=cv2.INTER_LINEAR))
    shade = fine.clamp(-PIT_MM, PIT_MM)[..., None] * (torch.tensor(PIT_SHADE) / PIT_MM)
    return at_size(albedo, whole).mul_(shade.exp_()).clamp_(0, 1)


def _with_stubble(albedo: Tensor, hair: Tensor, scalp: Tensor, position_mm: Tensor, seed: int) -> Tensor:
    """The albedo with the shadow of short shaved hair on the scalp."""
    grown = scalp > 0
    dots = torch.from_numpy(solid_noise(position_mm[grown].numpy(), STUBBLE_MM, 16 * seed + 15))
    amount = (STUBBLE * scalp[grown] * (1 + STUBBLE_CONTRAST / STUBBLE * dots)).clamp(0, 1)[:, None]
    result = albedo.clone()
    result[grown] = albedo[grown].clamp_min(1e-3) ** (1 - amount) * hair.clamp_min(0.01) ** amount
    return result


def _lasting(light: Tensor, folds: Tensor, moved: Tensor, sure: Tensor, masks: dict[str, Tensor]) -> Tensor:
    """(H, W) [0, 1] how far lines are no folds of an expression even where it moves the skin: an old person's, a beard's."""
    old = LASTING * _wrinkled(folds, (masks["forehead"] > 0.5) & sure & (moved < 0.5))
    jaw = masks["beard"] * (1 - masks["lips"]) > 0.7
    plain = (torch.maximum(masks["cheeks"], masks["forehead"]) > 0.7) & (masks["beard"] < 0.1)
    hairy = bearded(light.numpy(), (jaw & sure).numpy(), (plain & sure).numpy())
    return 1 - (1 - old) * (1 - hairy * masks["beard"])


def _wrinkled(folds: Tensor, still: Tensor) -> float:
    """[0, 1] how wrinkled skin is where no expression moves it: there folds are lasting, and elsewhere most of them are."""
    if not still.any():
        return 0.0
    return float(smoothstep(*WRINKLED, folds[still].mean()))


def _movement(model: HeadModel, fits: tuple[FaceFit, ...]) -> Tensor:
    """(V,) metres, the farthest that an expression of the photos takes each vertex."""
    neutral = neutral_vertices(model, fits[0].identity, fits[0].vertex_offset)
    posed = [posed_vertices(model, neutral, fit.expression, torch.zeros(2, 2)) for fit in fits]
    return torch.stack([(vertices - neutral).norm(dim=-1) for vertices in posed]).amax(0)

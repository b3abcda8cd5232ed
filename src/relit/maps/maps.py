"""Sightings -> ReflectanceMaps."""

from collections.abc import Callable

import cv2
import torch
from torch import Tensor

from relit.geometry.smoothstep import smoothstep
from relit.maps.beard import beard_area, beard_ratio, bearded, plain_area, without_grey
from relit.maps.complete import complete
from relit.maps.delight import regions_of, with_beard
from relit.maps.folds import MOVED_MM, calm_face
from relit.maps.infer import Known, infer_surface
from relit.maps.knowledge import FITTED_LIGHT, Knowledge
from relit.maps.merge import merged
from relit.maps.mesostructure import PIT_MM, PIT_SHADE
from relit.maps.pyramid import at_size
from relit.maps.rim import rim_trust
from relit.maps.sighting import Sighting
from relit.maps.skin_detail import unseen_detail
from relit.maps.solid_noise import solid_noise
from relit.maps.unwrap import Unwrapped, texels, unwrap
from relit.models.head import HeadModel, neutral_vertices, posed_vertices
from relit.models.regions import STRIP, region_masks
from relit.models.skin import load_skin_model, skin_albedo
from relit.render.rasterise import interpolate
from relit.types import FaceFit, ReflectanceMaps

STUBBLE = 0.38  # how far shaved hair takes the scalp from the colour of skin to that of hair
STUBBLE_MM, STUBBLE_CONTRAST = 0.7, 0.16
SIDE_MM = (28.0, 42.0)  # from the middle of the face to where it turns to the side
# Texels along an edge at which photos are read: 0.15 mm of skin, finer than portraits are. What larger maps show beyond
# it is relief, and the shade in its pits.
PHOTO_SIDE = 2048
SHARPEST_PX = 7.0  # of the photo per millimetre: finer ones show no more in maps of PHOTO_SIDE
CALM = 0.5  # how much less an expression's folds are liked than calm skin


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
    position_mm = 1000 * interpolate(model.mean, model.triangles, fragments)
    turning = regions.going_on * torch.maximum(smoothstep(*SIDE_MM, position_mm[..., 0].abs()), masks["forehead"])
    grows, strip = beard_area(masks), sum(masks[name] for name in STRIP).clamp(0, 1)
    ratios, trusts, beards, liked, moved = [], [], [], [], []
    for index, one in enumerate(sightings):
        seen = unwrap(model, one.observation, one.view, fragments)
        seen.confidence.mul_(at_size(one.bare.mask[..., None], size)[..., 0])
        beard = bearded(seen, masks) * grows
        ratio, trust = knowledge.ratio(index, seen, one.fit, base, with_beard(regions, beard))
        ratios.append(ratio)
        trusts.append(trust * rim_trust(ratio, trust, regions.plain, turning * (1 - beard)))
        beards.append(beard)
        moved.append(1000 * interpolate(_movement(model, one.fit)[:, None], model.triangles, fragments)[..., 0])
        liked.append(_clarity(one.fit, seen, regions.plain) * (1 - CALM * smoothstep(*MOVED_MM, moved[-1])))
        step(index + 1, total)
    ratio = merged(ratios, trusts, liked, regions.plain)
    confidence, moved_mm = torch.stack(trusts).amax(0), torch.stack(moved).amax(0)
    own_hue = without_grey(base, masks)
    base, ratio = base * own_hue.exp(), ratio - own_hue
    beard = torch.stack(beards).mean(0)
    areas = (plain_area(masks), (regions.going_on * (1 - strip) - beard).clamp_min(0)), (grows, beard)
    detail = unseen_detail(ratio, confidence, areas, seed)
    added = beard_ratio(ratio, confidence > 0.5, beard, masks)
    found = knowledge.completed(base)
    guess = (found.ratio, found.share) if found else None
    ratio = complete(ratio - added, confidence, regions, guess, detail) + added
    calm = calm_face(ratio, confidence, moved_mm, regions.hued, beard, masks["forehead"])
    albedo = base * (calm.ratio * (1 - strip)[..., None]).exp()
    if hair:
        albedo = _with_stubble(albedo, torch.stack(hair).mean(0), masks["scalp"] * (1 - confidence), position_mm, seed)
    albedo = albedo.clamp(0, 1)
    step(len(fits) + 1, total)
    # wrinkles go on as relief; the folds of an expression go with it
    known = None
    if found and found.surface:
        relief_mm = found.surface.mid_mm * (1 - calm.moved) + found.surface.high_mm
        known = Known(found.surface.specular, relief_mm, found.share, found.surface.whole)
    bare = albedo * (-calm.wrinkles).exp()
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
        folds=at_size((calm.folds * (1 - strip))[..., None], whole)[..., 0],
    )


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


def _movement(model: HeadModel, fit: FaceFit) -> Tensor:
    """(V,) metres, how far the photo's expression takes each vertex."""
    neutral = neutral_vertices(model, fit.identity, fit.vertex_offset)
    return (posed_vertices(model, neutral, fit.expression, torch.zeros(2, 2)) - neutral).norm(dim=-1)


def _clarity(fit: FaceFit, seen: Unwrapped, plain: Tensor) -> float:
    """How well a photo shows fine detail, for photos of one person: by its pixels on skin and by the light that came from it.

    Noise, and light that strays within the lens, count more the less light there is.
    """
    metre_px = float(fit.camera.focal_px / fit.camera.camera_from_head[2, 3])
    sure = (seen.confidence > 0.5) & (plain > 0.5)
    light = (seen.radiance[sure] * fit.exposure).mean(-1).clamp(0, 1) if sure.any() else torch.zeros(1)
    return min(1.0, metre_px / 1000 / SHARPEST_PX) * float(light.median())

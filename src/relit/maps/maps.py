"""(Observations, fits) -> ReflectanceMaps."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from relit.geometry.uv import dilate
from relit.maps.bare_skin import SIDE, find_bare_skin
from relit.maps.complete import complete
from relit.maps.delight import delight
from relit.maps.folds import fold_darkening
from relit.maps.infer import infer_surface
from relit.maps.solid_noise import solid_noise
from relit.maps.unwrap import smoothstep, texels, unwrap, view_of
from relit.models.head import HeadModel, neutral_vertices, posed_vertices
from relit.models.regions import region_masks
from relit.models.skin import load_skin_model, skin_albedo
from relit.render.occlusion import ambient_occlusion, light_transfer
from relit.render.rasterise import Fragments, interpolate
from relit.types import FaceFit, Observation, ReflectanceMaps

SMOOTH_SIDE = 512  # texels: enough for what varies no faster than the mesh
MARKED = ("brows", "lips", "eyelids", "nostrils", "beard")  # not of the plain colour of skin
# Of the darkness of wrinkles and of an expression's folds: it is mostly shading, which the relief brings back, but a
# likeness also lives on it.
KEPT_FOLDS = (0.7, 0.35)
MOVED_MM = (1.0, 6.0)  # movement by the photo's expression between its own folds kept and left out
STUBBLE = 0.45  # how far shaved hair takes the scalp from the colour of skin to that of hair
STUBBLE_MM, STUBBLE_CONTRAST = 0.7, 0.16


def build_maps(
    model: HeadModel,
    observations: tuple[Observation, ...],
    fits: tuple[FaceFit, ...],
    size: tuple[int, int],
    seed: int = 0,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> ReflectanceMaps:
    """The maps of one person from one or several photos with their fits.

    Args:
        size: rows and columns.
        seed: of synthesised skin detail.
        step: told (done, total) as the work goes on.
    """
    total = len(fits) + 3
    fragments, small = texels(model, *size), texels(model, SIDE, SIDE)
    base = _enlarged(skin_albedo(load_skin_model(), fits[0].albedo), size)
    masks = region_masks(*size)
    plain = 1 - torch.stack([masks[name] for name in MARKED]).amax(0)
    hued = torch.stack([plain, 0.6 * masks["beard"] * (1 - masks["lips"]), 0.4 * masks["eyelids"]]).amax(0)
    weighted, weight, confidence, hair = torch.zeros(*size, 3), torch.zeros(size), torch.zeros(size), []
    for index, (observation, fit) in enumerate(zip(observations, fits, strict=True)):
        view = view_of(model, fit)
        bare = find_bare_skin(unwrap(model, observation, view, small))
        seen = unwrap(model, observation, view, fragments)
        seen.confidence.mul_(_enlarged(bare.mask[..., None], size)[..., 0])
        ratio, trust = delight(seen, base, plain, hued, masks["lips"])
        # a sharp preference for the better view, so that two slightly misplaced views do not blur each other
        preference = (trust**4)[..., None]
        weighted += ratio * preference
        weight += preference[..., 0]
        confidence = torch.maximum(confidence, trust)
        hair += [bare.hair_colour] if bare.hair_colour is not None else []
        step(index + 1, total)
    position_mm = 1000 * interpolate(model.mean, model.triangles, fragments)
    ratio = complete(weighted / weight.clamp_min(1e-8)[..., None], confidence, position_mm, plain, seed)
    folds = torch.from_numpy(fold_darkening(ratio.mean(-1).numpy(), hued.numpy()))
    moved = smoothstep(*MOVED_MM, 1000 * interpolate(_movement(model, fits)[:, None], model.triangles, fragments)[..., 0])
    folds_taken = folds * (1 - KEPT_FOLDS[0] - (KEPT_FOLDS[1] - KEPT_FOLDS[0]) * moved)
    ratio = ratio + folds_taken[..., None]
    strip = sum(masks[name] for name in ("eyes", "teeth", "tongue", "cavities")).clamp(0, 1)
    albedo = base * (ratio * (1 - strip)[..., None]).exp()
    if hair:
        albedo = _with_stubble(albedo, torch.stack(hair).mean(0), masks["scalp"] * (1 - confidence), position_mm, seed)
    albedo = albedo.clamp(0, 1)
    step(len(fits) + 1, total)
    # wrinkles go on as relief; the folds of an expression go with it
    surface = infer_surface(albedo * (-folds_taken * (1 - moved)).exp()[..., None], confidence, seed)
    step(len(fits) + 2, total)
    occlusion = _occlusion(model, fits[0], size)
    step(total, total)
    return ReflectanceMaps(
        diffuse_albedo=albedo,
        specular_albedo=surface.specular_albedo,
        roughness=surface.roughness,
        diffuse_normal=surface.diffuse_normal,
        specular_normal=surface.specular_normal,
        displacement_mm=surface.displacement_mm,
        occlusion=occlusion,
        confidence=confidence,
    )


def _with_stubble(albedo: Tensor, hair: Tensor, scalp: Tensor, position_mm: Tensor, seed: int) -> Tensor:
    """The albedo with the shadow of short shaved hair on the scalp."""
    grown = scalp > 0
    dots = torch.from_numpy(solid_noise(position_mm[grown].numpy(), STUBBLE_MM, 16 * seed + 15))
    amount = (STUBBLE * scalp[grown] * (1 + STUBBLE_CONTRAST / STUBBLE * dots)).clamp(0, 1)[:, None]
    result = albedo.clone()
    result[grown] = albedo[grown].clamp_min(1e-3) ** (1 - amount) * hair.clamp_min(0.01) ** amount
    return result


def _movement(model: HeadModel, fits: tuple[FaceFit, ...]) -> Tensor:
    """(V,) metres, the farthest that an expression of the photos takes each vertex."""
    neutral = neutral_vertices(model, fits[0].identity, fits[0].vertex_offset)
    posed = [posed_vertices(model, neutral, fit.expression, torch.zeros(2, 2)) for fit in fits]
    return torch.stack([(vertices - neutral).norm(dim=-1) for vertices in posed]).amax(0)


def _occlusion(model: HeadModel, fit: FaceFit, size: tuple[int, int]) -> Tensor:
    """(H, W) ambient visibility of the neutral head."""
    neutral = neutral_vertices(model, fit.identity, fit.vertex_offset)
    visibility = ambient_occlusion(light_transfer(neutral, model.triangles))
    smooth = min(size[0], SMOOTH_SIDE), min(size[1], SMOOTH_SIDE)
    fragments: Fragments = texels(model, *smooth)
    baked = interpolate(visibility[:, None], model.triangles, fragments)
    return _enlarged(dilate(baked, fragments.triangle >= 0, 8), size)[..., 0].clamp(0, 1)


def _enlarged(texture: Tensor, size: tuple[int, int]) -> Tensor:
    """The texture at another size, half-integer texel centres, within its own range of values."""
    planes = texture.detach().permute(2, 0, 1)[None]
    large = resize(planes, size, mode="bicubic", align_corners=False)[0].permute(1, 2, 0).contiguous()
    return large.clamp(float(texture.min()), float(texture.max()))

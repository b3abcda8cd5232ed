"""Surface reflectance and relief from diffuse albedo, by physically motivated rules."""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from relit.maps.mesostructure import (
    blur_mm,
    creases_mm,
    enlarge,
    normals_from_height,
    pores_mm,
    undulation_mm,
)
from relit.models.regions import region_masks

SKIN_F0 = 0.028  # refractive index 1.4
CAVITY_MM, CAVITY_TAKES = 0.05, 0.35  # depth of a full cavity, and what it takes from F0
# What pores and lines take from F0 on average, of which an albedo shows few. On synthetic subjects it is within 0.02 of this
# in all regions of the face.
TAKEN = 0.16
# Beside a whole surface from elsewhere: its share in the specular albedo, as both err apart, and what is left of the creases
# by rule, of which it holds some itself.
SECOND, CREASES = 0.5, 0.6
# Mean depth of the creases that photos of faces show, 25 portraits, and bounds of a person's over it: lines of skin that no
# photo shows are as much deeper or shallower.
WRINKLED_MM, AGED = 0.012, (0.6, 3.0)
_COARSE = 256
# Per region: factor on F0, perceptual roughness, depth factors of pores, of the isotropic net, of lines across.
_REGIONS = {
    "scalp": (0.90, 0.58, 0.10, 0.30, 0.0),
    "neck": (0.90, 0.55, 0.20, 0.60, 0.5),
    "ears": (0.95, 0.50, 0.10, 0.30, 0.0),
    "forehead": (1.08, 0.43, 0.55, 0.5, 1.0),
    "cheeks": (1.00, 0.48, 0.90, 0.8, 0.0),
    "chin": (1.02, 0.47, 0.85, 0.7, 0.0),
    "under_eye": (1.00, 0.46, 0.10, 0.5, 0.7),
    "eyelids": (1.02, 0.43, 0.05, 0.3, 0.9),
    "nose": (1.12, 0.40, 1.15, 0.5, 0.0),
    "brows": (0.70, 0.58, 0.15, 0.3, 0.0),
    "nostrils": (0.50, 0.55, 0.0, 0.2, 0.0),
    "lips": (1.15, 0.34, 0.0, 0.0, 0.0),
    "eyes": (0.90, 0.06, 0.0, 0.0, 0.0),  # cornea and tear film: F0 0.025, refractive index 1.376
    "teeth": (1.90, 0.15, 0.0, 0.0, 0.0),  # wet enamel, refractive index 1.62 under saliva
    "tongue": (1.00, 0.30, 0.0, 0.6, 0.0),
    "cavities": (0.90, 0.28, 0.0, 0.0, 0.0),
}
_PLAIN = (1.0, 0.50, 0.55, 0.75, 0.0)  # skin outside every region


class Known(NamedTuple):
    """What is known from elsewhere, each of the size of the albedo."""

    specular: Tensor  # (H, W) F0
    relief_mm: Tensor  # (H, W) added to what is read from the albedo
    share: Tensor  # (H, W) in [0, 1], how far they count
    # Whether it is a whole surface with creases, cavities and what these take from its specular albedo. If not, its specular
    # albedo is that between cavities.
    whole: bool = False


class Surface(NamedTuple):
    """What `infer_surface` gives back; see relit.types.ReflectanceMaps."""

    specular_albedo: Tensor  # (H, W) F0
    roughness: Tensor  # (H, W) perceptual
    diffuse_normal: Tensor  # (H, W, 3)
    specular_normal: Tensor  # (H, W, 3)
    displacement_mm: Tensor  # (H, W)


def infer_surface(
    diffuse_albedo: Tensor,
    confidence: Tensor,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    known: Known | None = None,
    factor: Tensor | None = None,
) -> Surface:
    """Specular albedo, roughness, normals and displacement that go with a diffuse albedo map.

    Args:
        diffuse_albedo: (H, W, 3) linear, in the UV layout.
        confidence: (H, W) in [0, 1], how far a photo decided each texel: only there is detail read as relief.
        seed: of the synthesised pores.
        size: rows and columns of the result; those of the albedo if None. Larger maps hold finer pores.
        known: specular albedo and relief.
        factor: (H, W) on the specular albedo of each region, of the size of the albedo.

    Returns:
        F0 in [0, 0.08], roughness in [0.05, 1], unit tangent normals (diffuse softened by scattering), millimetres.

    Source: F0 from refractive index 1.4 (Tuchin, "Tissue Optics"); the order of the regions (nose, forehead and lids
    glossier than cheek, chin and neck) and the range of roughness: Weyrich et al., "Analysis of human faces using a
    measurement-based skin reflectance model", SIGGRAPH 2006, section 5. Softened normals for diffuse light: Ma et al.,
    "Rapid acquisition of specular and diffuse normal maps", EGSR 2007; one map for all channels, 0.8 mm.
    """
    height, width = confidence.shape
    if diffuse_albedo.shape != (height, width, 3):
        raise ValueError(f"albedo {tuple(diffuse_albedo.shape)} and confidence {tuple(confidence.shape)} do not match")
    masks = {name: mask.numpy() for name, mask in region_masks(_COARSE, _COARSE).items()}
    gloss, rough, pores, lines, furrows = region_properties()
    albedo, trust = diffuse_albedo.numpy(), confidence.numpy()

    relief_area = masks["face"] * _none_of(masks, "lips", "brows", "nostrils", "scalp", "eyelids")
    relief_area = relief_area * (1 - 0.7 * masks["beard"])
    read = enlarge(relief_area, height, width) * trust
    creases = creases_mm(albedo, read)
    # 1 where nothing is read
    aged = np.clip((np.abs(creases).sum() + 1e-3) / (WRINKLED_MM * read.sum() + 1e-3), *AGED)
    gloss = enlarge(gloss * (1 - TAKEN * masks["face"]), height, width)
    if factor is not None:
        gloss *= factor.numpy()
    if known is not None:
        specular, relief, share = (plane.numpy() for plane in known[:3])
        if known.whole:
            creases *= 1 - (1 - CREASES) * share
        else:
            gloss = gloss + share * (specular / SKIN_F0 - gloss)
        creases += share * relief
    if size is not None and size != (height, width):
        height, width = size
        creases = cv2.resize(creases, (width, height), interpolation=cv2.INTER_CUBIC)
    unseen = 1 - cv2.resize(trust, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    age = 1 + unseen * (aged - 1)
    amounts = {"pores": pores, "lines": lines * age, "furrows": furrows * age, "lips": masks["lips"]}
    pits = pores_mm(height, width, amounts, seed)
    # where the photo itself shows fine relief the synthetic one steps back
    pits *= 1 - 0.6 * np.clip(blur_mm(np.abs(creases), 1.5) / 0.01, 0, 1)
    skin = enlarge(masks["face"] + 0.6 * masks["neck"], height, width).clip(0, 1)
    uneven = undulation_mm(height, width, seed)
    displacement = creases + pits + 0.006 * uneven * skin

    gloss = enlarge(gloss, height, width)
    surface = surface_of(displacement, gloss, enlarge(rough, height, width), uneven * skin)
    cavity = _cavity(displacement)
    around = cv2.resize(cavity, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    if known is not None and not known.whole:
        around *= 1 - cv2.resize(share, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    around = enlarge(around, height, width)
    f0 = SKIN_F0 * gloss * (1 - CAVITY_TAKES * (cavity - around))
    if known is not None and known.whole:
        f0 += SECOND * enlarge(share, height, width) * (enlarge(specular, height, width) - f0)
    return surface._replace(specular_albedo=torch.from_numpy(f0.clip(0, 0.08)))


def surface_of(displacement: np.ndarray, gloss: np.ndarray, rough: np.ndarray, uneven: np.ndarray) -> Surface:
    """The surface with a relief: its normals, and reflectance that is lower and rougher in its cavities.

    Args:
        displacement: (H, W) millimetres.
        gloss: (H, W) factor on `SKIN_F0`.
        rough: (H, W) perceptual roughness of flat skin.
        uneven: (H, W) unevenness of the roughness, standard deviation 1 on skin.
    """
    cavity = _cavity(displacement)
    f0 = SKIN_F0 * gloss * (1 - CAVITY_TAKES * cavity)
    roughness = rough * (1 + 0.10 * cavity + 0.04 * uneven)
    return Surface(
        specular_albedo=torch.from_numpy(f0.clip(0, 0.08)),
        roughness=torch.from_numpy(roughness.clip(0.05, 1)),
        diffuse_normal=normals_from_height(blur_mm(displacement, 0.8)),
        specular_normal=normals_from_height(displacement),
        displacement_mm=torch.from_numpy(displacement),
    )


def _cavity(displacement: np.ndarray) -> np.ndarray:
    """(H, W) [0, 1] how far each texel lies in a cavity, of millimetres."""
    return np.clip(-displacement / CAVITY_MM, 0, 1)


@lru_cache(maxsize=1)
def region_properties() -> np.ndarray:
    """(5, 256, 256) factor on F0, roughness, depth of pores, of the isotropic net, of lines across, by region."""
    masks = {name: mask.numpy() for name, mask in region_masks(_COARSE, _COARSE).items()}
    value = np.array(_PLAIN, np.float32)[:, None, None] * np.ones((1, _COARSE, _COARSE), np.float32)
    for name, row in _REGIONS.items():  # later regions are laid over earlier ones
        value += masks[name] * (np.array(row, np.float32)[:, None, None] - value)
    return value


def _none_of(masks: dict[str, np.ndarray], *names: str) -> np.ndarray:
    """(h, w) where none of the regions is."""
    return np.prod([1 - masks[name] for name in names], axis=0)

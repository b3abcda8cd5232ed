"""Soft masks of the regions of the head in its UV layout, drawn from the landmarks and the mean head's geometry."""

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from relit.geometry.smoothstep import smoothstep
from relit.geometry.uv import rasterise_uv
from relit.models.head import PARTS, HeadModel, load_head_model

REGIONS = (
    "face", "forehead", "cheeks", "nose", "lips", "chin", "eyelids", "under_eye", "brows", "ears", "scalp", "neck",
    "nostrils", "beard", "eyes", "teeth", "tongue", "cavities",
)  # fmt: skip

# Outlines by MediaPipe face mesh indices. Each is drawn and mirrored, so one side is enough.
_OUTLINES = {
    "face": (10, 109, 67, 103, 54, 21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
    "forehead": (8, 107, 66, 105, 63, 70, 139, 162, 21, 54, 103, 67, 109, 10),
    "cheeks": (116, 117, 118, 119, 100, 142, 203, 206, 216, 212, 214, 192, 213, 147, 123),
    "nose": (168, 193, 188, 174, 217, 131, 49, 102, 64, 98, 97, 2),
    "lips": (61, 185, 40, 39, 37, 0, 17, 84, 181, 91, 146),
    "chin": (18, 182, 204, 211, 170, 176, 148, 152),
    "eyelids": (226, 113, 225, 224, 223, 222, 221, 189, 243, 112, 26, 22, 23, 24, 110, 25),
    "under_eye": (226, 25, 110, 24, 23, 22, 26, 112, 243, 244, 128, 121, 120, 119, 118, 117, 31),
    "brows": (46, 53, 52, 65, 55, 107, 66, 105, 63, 70),
    "nostrils": (79, 239, 238, 20, 60, 75, 166),
    "beard": (127, 34, 227, 137, 147, 187, 207, 206, 98, 97, 2, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234),
}
# Softness of each edge, as the standard deviation of a Gaussian in units of the layout's width.
_SOFTNESS = {"face": 0.012, "forehead": 0.02, "cheeks": 0.02, "chin": 0.012, "under_eye": 0.006, "beard": 0.012}
_EDGE = 0.003
_EAR = ((0.096, 0.348), (0.040, 0.098))  # centre and half axes of the ear's ellipse in UV
# Hairline of the mean head: height in millimetres over the azimuth from straight ahead, in degrees.
_HAIRLINE = ((0, 30, 48, 62, 75, 84, 100, 112, 125, 180), (102, 99, 88, 66, 46, 34, 42, 0, -30, -56))
_DRAWN = 512  # masks are soft, so they are drawn once at this size and enlarged


def landmark_uv(model: HeadModel) -> Tensor:
    """(478, 2) the landmarks' places in the UV layout."""
    on_skin = (model.part == 0).nonzero()[:, 0]
    uv_of = torch.zeros(len(model.mean), 2)
    uv_of[model.triangles[on_skin].reshape(-1)] = model.uv[model.render_triangles[on_skin].reshape(-1)]
    return (uv_of[model.landmark_triangles] * model.landmark_barycentric[..., None]).sum(1)


def uv_positions(model: HeadModel, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(H, W, 3) mean-head position in metres of each texel (0 outside), and (H, W) its index into PARTS, -1 outside."""
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, height, width)
    covered = triangle >= 0
    inside = triangle.clamp_min(0)
    position = (model.mean[model.triangles[inside]] * barycentric[..., None]).sum(2) * covered[..., None]
    return position, torch.where(covered, model.part[inside], -1)


def region_masks(height: int, width: int, names: tuple[str, ...] = REGIONS) -> dict[str, Tensor]:
    """Soft masks by name, each (H, W) in [0, 1], in the UV layout of the head.

    Regions overlap: "face" is all inside the landmark oval, "beard" is where a beard grows, "cavities" are the insides of
    mouth and eye sockets. Skin masks are mirror-symmetric about u = 0.5.

    Args:
        names: the wanted ones of `REGIONS`.
    """
    drawn = _drawn()[[REGIONS.index(name) for name in names]]
    if height < _DRAWN:
        resized = resize(drawn[None], (height, width), mode="bilinear", align_corners=False, antialias=True)[0]
    else:
        larger = (cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) for mask in drawn.numpy())
        resized = [torch.from_numpy(mask) for mask in larger]
    return {name: mask.clamp_(0, 1) for name, mask in zip(names, resized, strict=True)}


@lru_cache(maxsize=1)
def _drawn() -> Tensor:
    """(R, 512, 512) all masks at the size they are drawn at."""
    return draw_regions(load_head_model(), _DRAWN)


def draw_regions(model: HeadModel, size: int) -> Tensor:
    """(R, size, size) masks in the order of REGIONS."""
    position, part = (t.numpy() for t in uv_positions(model, size, size))
    uv = landmark_uv(model).numpy()
    masks = {name: draw_outline(uv[list(ids)], size, _SOFTNESS.get(name, _EDGE)) for name, ids in _OUTLINES.items()}
    masks["ears"] = _ears(size)
    masks["scalp"], masks["neck"] = _scalp(position) * (1 - masks["ears"]), _neck(position)
    masks["beard"] = np.maximum(masks["beard"], _below_jaw(position)) * (1 - masks["lips"])
    masks["forehead"] *= (1 - masks["brows"]) * (1 - masks["scalp"])
    masks["eyelids"] *= 1 - masks["brows"]
    masks["under_eye"] *= 1 - masks["nose"]
    for name in masks:
        masks[name] = masks[name] * (part == PARTS.index("skin"))
    for name, parts in STRIP.items():
        wanted = np.isin(part, [PARTS.index(p) for p in parts]).astype(np.uint8)
        masks[name] = cv2.dilate(wanted, np.ones((5, 5), np.uint8)) * (part != PARTS.index("skin"))
    return torch.from_numpy(np.stack([masks[name] for name in REGIONS]).astype(np.float32))


STRIP = {
    "eyes": ("left_eye", "right_eye"),
    "teeth": ("upper_teeth", "lower_teeth"),
    "tongue": ("tongue",),
    "cavities": ("mouth", "eye_sockets"),
}


def draw_outline(points: np.ndarray, size: int, softness: float) -> np.ndarray:
    """(size, size) the filled outline and its mirror image, edges softened."""
    fine, shift = 4 * size, 16
    mask = np.zeros((fine, fine), np.uint8)
    cv2.fillPoly(mask, [np.round(points * fine * shift).astype(np.int32)], 255, cv2.LINE_AA, 4)
    mask = np.maximum(mask, mask[:, ::-1])
    small = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    # the layout is 1.5 times denser across than along, so the blur is anisotropic in texels
    return cv2.GaussianBlur(small, (0, 0), softness * size, sigmaY=softness * size / 1.5)


def _ears(size: int) -> np.ndarray:
    v, u = (np.mgrid[0:size, 0:size] + 0.5) / size
    (cu, cv), (au, av) = _EAR
    radius = np.hypot((np.minimum(u, 1 - u) - cu) / au, (v - cv) / av)
    return smoothstep(1.12, 0.88, radius)


def _scalp(position: np.ndarray) -> np.ndarray:
    azimuth = np.degrees(np.arctan2(np.abs(position[..., 0]), position[..., 2]))
    hairline = np.interp(azimuth, *_HAIRLINE)
    return smoothstep(-10, 20, position[..., 1] * 1000 - hairline)


def _neck(position: np.ndarray) -> np.ndarray:
    # below a plane that runs from under the chin to behind the ears
    return smoothstep(50, 75, -1000 * (position[..., 1] + 0.45 * position[..., 2]))


def _below_jaw(position: np.ndarray) -> np.ndarray:
    """Where a beard goes on below the landmarks' oval: fades out towards the throat."""
    below = -1000 * (position[..., 1] + 0.45 * position[..., 2])
    azimuth = np.degrees(np.arctan2(np.abs(position[..., 0]), position[..., 2]))
    return smoothstep(8, 28, below) * smoothstep(76, 56, below) * smoothstep(80, 62, azimuth)



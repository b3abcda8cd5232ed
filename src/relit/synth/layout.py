"""What every subject shares: the UV layout at one size, as arrays."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from relit.maps.mesostructure import face_texel_mm
from relit.models.head import load_head_model
from relit.models.regions import landmark_uv, region_masks, uv_positions

_SMALLEST = 64


@dataclass(frozen=True)
class Layout:
    """The square layout of the mean head, `S` texels along an edge."""

    size: int
    position_mm: np.ndarray  # (S, S, 3) on the mean head, 0 outside the charts
    part: np.ndarray  # (S, S) index into PARTS, -1 outside
    skin: np.ndarray  # (P,) flat indices of skin texels
    points_mm: np.ndarray  # (P, 3) their positions
    masks: dict[str, np.ndarray]  # (S, S) regions of relit.models.regions
    landmarks: np.ndarray  # (478, 2) UV
    texel_mm: tuple[float, float]  # along u and v, typical of the face

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(S, S, ...) values (P, ...) of the skin texels, 0 elsewhere."""
        full = np.zeros((self.size * self.size, *values.shape[1:]), values.dtype)
        full[self.skin] = values
        return full.reshape(self.size, self.size, *values.shape[1:])

    def bare(self, *without: str) -> np.ndarray:
        """(S, S) [0, 1] the face where none of the named regions is."""
        result = self.masks["face"]
        for name in without:
            result = result * (1 - self.masks[name])
        return result


@lru_cache(maxsize=2)
def layout(size: int) -> Layout:
    """The layout at a size in texels, remembered."""
    if size < _SMALLEST:
        raise ValueError(f"a layout needs {_SMALLEST} texels or more, got {size}")
    model = load_head_model()
    position, part = (t.numpy() for t in uv_positions(model, size, size))
    skin = np.flatnonzero(part.ravel() == 0)
    position_mm = position * 1000
    return Layout(
        size=size,
        position_mm=position_mm,
        part=part,
        skin=skin,
        points_mm=np.ascontiguousarray(position_mm.reshape(-1, 3)[skin]),
        masks={name: mask.numpy() for name, mask in region_masks(size, size).items()},
        landmarks=landmark_uv(model).numpy(),
        texel_mm=face_texel_mm(size, size),
    )


@lru_cache(maxsize=64)
def soft_mask(size: int, sigma_mm: float, **shares: float) -> np.ndarray:
    """(S, S) a weighted sum of regions, blurred; remembered, as it is the same for all subjects."""
    here = layout(size)
    return blurred(sum(share * here.masks[name] for name, share in shares.items()), sigma_mm, here.texel_mm)


def blurred(picture: np.ndarray, sigma_mm: float, texel_mm: tuple[float, float]) -> np.ndarray:
    """The picture (S, S) or (S, S, C) blurred by a distance on the face; a texel is so wide and so high."""
    import cv2

    across, along = (max(sigma_mm / size, 0.05) for size in texel_mm)
    return cv2.GaussianBlur(picture, (0, 0), across, sigmaY=along)

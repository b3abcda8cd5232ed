"""Picture comparison: PSNR, SSIM and their scale-invariant forms, inside masks."""

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float

BEST_DB = 100.0  # of equal pictures, where the formula has no value
WINDOW, SIGMA = 11, 1.5  # of SSIM, Wang et al. 2004
LEAST_SHARE = 1e-3  # of an SSIM window inside the mask


def psnr(
    first: Float[np.ndarray, "H W *C"], second: Float[np.ndarray, "H W *C"], mask: Bool[np.ndarray, "H W"], data_range: float
) -> float:
    """Peak signal-to-noise ratio in decibels: 10 log10(R^2 / mean squared difference), over a mask; high is good.

    Args:
        data_range: R, the largest value that the coding can hold minus the smallest.

    Returns:
        [0, 100] in practice; BEST_DB for equal pictures, NaN for an empty mask.

    Source: the definition, as in scikit-image's `peak_signal_noise_ratio`; there without a mask.
    """
    if not mask.any():
        return math.nan
    error = float(np.square(np.asarray(first, float)[mask] - np.asarray(second, float)[mask]).mean())
    return min(BEST_DB, 10 * math.log10(data_range**2 / error)) if error > 0 else BEST_DB


def ssim_map(
    first: Float[np.ndarray, "H W *C"], second: Float[np.ndarray, "H W *C"], mask: Bool[np.ndarray, "H W"], data_range: float
) -> Float[np.ndarray, "H W"]:
    """Structural similarity of every pixel of a mask, mean over channels, in [-1, 1]; high is good, 0 outside the mask.

    ((2 m1 m2 + c1) (2 s12 + c2)) / ((m1^2 + m2^2 + c1) (s1^2 + s2^2 + c2)) with c1 = (0.01 R)^2, c2 = (0.03 R)^2 and
    local means, variances and covariance under a Gaussian window of 11 pixels, standard deviation 1.5.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
    Differs: windows see the mask only (weights outside are 0, the others are raised to sum 1), so that what lies beyond
    the mask neither helps nor harms. Without a mask it is scikit-image's with gaussian_weights, sigma 1.5 and
    use_sample_covariance=False, away from the borders.
    """
    inside = mask.astype(float)
    blur = lambda image: cv2.GaussianBlur(image, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_CONSTANT)  # noqa: E731
    share = np.maximum(blur(inside), LEAST_SHARE)
    local = lambda image: blur(image * inside) / share  # noqa: E731
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    channels = []
    for a, b in zip(_planes(first), _planes(second), strict=True):
        ma, mb = local(a), local(b)
        va, vb, cov = local(a * a) - ma * ma, local(b * b) - mb * mb, local(a * b) - ma * mb
        channels.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2)))
    return np.mean(channels, axis=0) * inside


def ssim(
    first: Float[np.ndarray, "H W *C"], second: Float[np.ndarray, "H W *C"], mask: Bool[np.ndarray, "H W"], data_range: float
) -> float:
    """The mean of `ssim_map` over its mask; NaN for an empty mask."""
    return float(ssim_map(first, second, mask, data_range)[mask].mean()) if mask.any() else math.nan


def best_gain(
    found: Float[np.ndarray, "H W C"], truth: Float[np.ndarray, "H W C"], mask: Bool[np.ndarray, "H W"], per_channel: bool
) -> Float[np.ndarray, "C"]:
    """(C,) the factor g on `found` with least |g found - truth|^2 over the mask: sum(found truth) / sum(found^2).

    Args:
        per_channel: one factor per channel, or one for all.
    """
    a, b = found[mask].astype(float), truth[mask].astype(float)
    axis = 0 if per_channel else None
    gain = (a * b).sum(axis) / np.maximum((a * a).sum(axis), 1e-12)
    return np.broadcast_to(gain, (found.shape[-1],)).copy()


def _planes(image: np.ndarray) -> list[np.ndarray]:
    image = np.asarray(image, float)
    return [image] if image.ndim == 2 else [np.ascontiguousarray(image[..., c]) for c in range(image.shape[2])]

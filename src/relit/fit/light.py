"""The environment light of a photo, given geometry and albedo: a linear problem with a natural-light prior."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

BANDS = torch.tensor([degree for degree in range(9) for _ in range(2 * degree + 1)])
# Root mean square of an SH coefficient over the mean-radiance coefficient, per band, measured on 32 Poly Haven HDRIs
# (median over the maps: some hold a bare sun). Colour differences between coefficients are much smaller.
BAND_SD = torch.tensor([1.0, 0.55, 0.38, 0.32, 0.28, 0.24, 0.24, 0.20, 0.18])
CHROMA_SD = 0.07
# A photographer or a camera exposes so that a white surface in the mean light comes out near 1.
LOG_EXPOSURE_MEAN, LOG_EXPOSURE_SD = 0.0, 0.25
LOG_TINT_SD = 0.12
SQRT_4PI = math.sqrt(4 * math.pi)


def light_prior(sh: Float[Tensor, "81 3"]) -> Float[Tensor, ""]:
    """Minus the log probability of an environment, up to a constant: natural statistics, exposure and white balance.

    Returns:
        Half the sum of squared deviations in standard deviations.
    """
    mean = sh[0].clamp_min(1e-4)
    grey = mean.mean()
    shape = sh[1:] / mean
    luminance = shape.mean(1)
    bands = BAND_SD[BANDS][1:].to(sh)
    deviations = [
        luminance / bands,
        ((shape - luminance[:, None]) / CHROMA_SD).flatten(),
        ((grey / SQRT_4PI).log() - LOG_EXPOSURE_MEAN)[None] / LOG_EXPOSURE_SD,
        (mean / grey).log() / LOG_TINT_SD,
    ]
    return 0.5 * torch.stack([(d**2).sum() for d in deviations]).sum()


def solve_light(
    radiance: Float[Tensor, "P 3"],
    albedo: Float[Tensor, "P 3"],
    transfer: Float[Tensor, "P 81"],
    weight: Float[Tensor, "P"],
    noise: float = 0.04,
    points_per_measurement: float = 30.0,
) -> Float[Tensor, "81 3"]:
    """The most probable environment for diffuse surface points of known albedo.

    Args:
        radiance: linear colour in the photo.
        albedo: diffuse albedo at the same points.
        transfer: cosine-weighted visibility in SH; irradiance is `transfer @ sh`.
        weight: trust in each point, [0, 1].
        noise: standard deviation of the radiance that the model does not explain.
        points_per_measurement: neighbouring points err alike; so many count as one.

    Source: ridge regression; the prior is `light_prior` linearised about the mean radiance. Outliers (highlights, cast
    shadows, stray hair) lose weight by iteratively reweighted least squares with the Geman-McClure weight.
    """
    design = albedo[:, :, None] / math.pi * transfer[:, None, :]  # [P, 3, 81]
    trust = weight[:, None].expand_as(radiance) / points_per_measurement
    # A weak first guess of the mean radiance sets the scale of the prior's bands.
    mean = (radiance * weight[:, None]).sum(0) / (albedo * weight[:, None]).sum(0).clamp_min(1e-6) * SQRT_4PI
    prior_sd = BAND_SD[BANDS].to(radiance)
    robust = torch.ones_like(radiance)
    sh = torch.zeros(81, 3).to(radiance)
    for _ in range(6):
        for channel in range(3):
            rows = design[:, channel]
            scale = trust[:, channel] * robust[:, channel] / noise**2
            precision = 1 / (prior_sd * mean[channel]) ** 2
            precision[0] = 1 / (LOG_EXPOSURE_SD * mean[channel]) ** 2
            centre = torch.zeros(81).to(radiance)
            centre[0] = mean.mean()
            normal = rows.T @ (rows * scale[:, None]) + torch.diag(precision)
            sh[:, channel] = torch.linalg.solve(
                normal, rows.T @ (radiance[:, channel] * scale) + precision * centre
            )
        mean = sh[0].clamp_min(0.05)
        error = radiance - torch.einsum("pck,kc->pc", design, sh)
        spread = error.abs().median().clamp_min(0.01) * 2.5
        robust = (spread**2 / (spread**2 + error**2)) ** 2
    return sh

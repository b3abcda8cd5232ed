"""The environment light of a photo, given geometry and albedo: a linear problem with a natural-light prior."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.lighting import diffuse_irradiance

BANDS = torch.tensor([degree for degree in range(9) for _ in range(2 * degree + 1)])
# Root mean square of an SH coefficient over the mean-radiance coefficient, per band, measured on 32 Poly Haven HDRIs
# (median over the maps: some hold a bare sun). Colour differences between coefficients are much smaller.
BAND_SD = torch.tensor([1.0, 0.55, 0.38, 0.32, 0.28, 0.24, 0.24, 0.20, 0.18])
CHROMA_SD = 0.07
# A camera exposes for what faces it: of the log of the root mean square of irradiance / pi on the front of a head. As in
# relit.synth.camera, whose shots have 0.17 +- 0.20: in portraits a white face comes out a little above 1, whatever the skin.
# Backlit faces are far off, so the tails are those of Student's distribution with as many degrees of freedom.
LOG_EXPOSURE_MEAN, LOG_EXPOSURE_SD, EXPOSURE_FREEDOM = 0.2, 0.22, 4
LOG_TINT_SD = 0.12
FRONT = torch.tensor(
    [
        [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
        for azimuth in (-1.1, -0.55, 0.0, 0.55, 1.1)
        for elevation in (-0.5, 0.0, 0.5)
    ]
)
SQRT_4PI = math.sqrt(4 * math.pi)


def light_prior(sh: Float[Tensor, "81 3"]) -> Float[Tensor, ""]:
    """Minus the log probability of an environment, up to a constant: natural statistics, exposure and white balance.

    Returns:
        Half the sum of squared deviations in standard deviations.
    """
    mean = sh[0].clamp_min(1e-4)
    front = (diffuse_irradiance(sh, FRONT.to(sh)) / math.pi).square().mean(0).clamp_min(1e-6).sqrt()
    grey = front.mean()
    shape = sh[1:] / mean
    luminance = shape.mean(1)
    bands = BAND_SD[BANDS][1:].to(sh)
    exposure = (grey.log() - LOG_EXPOSURE_MEAN) / LOG_EXPOSURE_SD
    deviations = [
        luminance / bands,
        ((shape - luminance[:, None]) / CHROMA_SD).flatten(),
        (front / grey).log() / LOG_TINT_SD,
    ]
    tails = (EXPOSURE_FREEDOM + 1) * (exposure**2 / EXPOSURE_FREEDOM).log1p()
    return 0.5 * (torch.stack([(d**2).sum() for d in deviations]).sum() + tails)


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
        error = radiance - albedo / math.pi * (transfer @ sh)
        spread = error.abs().median().clamp_min(0.01) * 2.5
        robust = (spread**2 / (spread**2 + error**2)) ** 2
    return sh

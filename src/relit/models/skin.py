"""The statistical skin model: albedo in the UV layout from tone (pigments) and learned or painted detail."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate as resize
from torch.nn.functional import softplus

from relit.appearance.skin import Pigments, skin_colour
from relit.models.regions import REGIONS, landmark_uv, region_masks, uv_positions
from relit.models.registry import load_tensors

__all__ = ["REGIONS", "TONE_NAMES", "SkinModel", "landmark_uv", "load_skin_model", "region_masks", "skin_albedo",
           "tone_colour", "uv_positions"]  # fmt: skip

TONE_NAMES = ("melanin", "haemoglobin", "brightness", "carotene")
# Logarithm of each tone quantity: mean and one standard deviation over all people. The melanin axis reaches from an
# individual typology angle of 58 degrees (-2.5 s.d.) to -63 degrees (+2.5 s.d.).
_TONE_MEAN = torch.tensor([-2.7, -4.1, 0.0, -0.5])
_TONE_SD = torch.tensor([1.5, 0.3, 0.10, 0.4])


@dataclass(frozen=True)
class SkinModel:
    """Log albedo = mean + tone_weight * (log tone - log mean tone) + sum of amount(coefficient) * mode."""

    names: tuple[str, ...]  # of the coefficients: TONE_NAMES, then one name per mode
    mean: Float[Tensor, "S S 3"]  # log albedo at mean tone
    tone_weight: Float[Tensor, "S S"]  # 1 on skin, 0 on eyes and teeth
    modes: Float[Tensor, "K h w 3"]  # log albedo for one standard deviation, left half of the layout (u < 0.5)
    mode_skew: Float[Tensor, "K"]  # 0: linear; s > 0: the amount is (exp(s c) - 1) / s, which never falls below -1 / s
    mode_rows: int  # rows of the full layout that the modes cover (the strip has no modes)


@lru_cache(maxsize=1)
def load_skin_model() -> SkinModel:
    """The shipped skin model.

    Raises:
        AssetMissing, AssetCorrupt: the file is not there or not the recorded one.
    """
    data = load_tensors("skin")
    scale = data["mode_scale"].float()[:, None, None, None]
    return SkinModel(
        names=TONE_NAMES + tuple(bytes(data["mode_names"].tolist()).decode().split("\n")),
        mean=data["mean"].float(),
        tone_weight=data["tone_weight"].float() / 255,
        modes=data["modes"].float() * scale,
        mode_skew=data["mode_skew"],
        mode_rows=int(data["mode_rows"]),
    )


def tone_colour(tone: Tensor) -> Tensor:
    """(..., 3) albedo of plain skin for (..., 4) tone coefficients in standard deviations, order TONE_NAMES."""
    melanin, blood, brightness, carotene = (_TONE_MEAN.to(tone) + tone * _TONE_SD.to(tone)).exp().unbind(-1)
    return skin_colour(Pigments(melanin, blood, carotene)) * brightness[..., None]


def skin_albedo(model: SkinModel, coefficients: Tensor) -> Tensor:
    """(S, S, 3) linear albedo in (0, 1) in the UV layout for unit-Gaussian coefficients (A,), see `skin_log_albedo`."""
    return skin_log_albedo(model, coefficients).exp()


def skin_log_albedo(model: SkinModel, coefficients: Tensor) -> Tensor:
    """(S, S, 3) logarithm of linear albedo, below 0, for unit-Gaussian coefficients (A,). Differentiable.

    The first four are tone (TONE_NAMES: larger is more of it), the others detail; `model.names` says which is which.
    """
    count = len(TONE_NAMES)
    if coefficients.shape != (len(model.names),):
        raise ValueError(f"the skin model has {len(model.names)} coefficients, got shape {tuple(coefficients.shape)}")
    tone = tone_colour(coefficients[:count]).log() - tone_colour(torch.zeros_like(coefficients[:count])).log()
    amount, skew = coefficients[count:], model.mode_skew
    amount = torch.where(skew > 0, torch.expm1(skew * amount) / skew.clamp_min(1e-3), amount)
    detail = torch.tensordot(amount, model.modes, 1)
    size = len(model.mean)
    # the modes are mirror-symmetric and stop above the strip, where the mean has no partner for them
    full = torch.cat([detail, detail.flip(1)], 1).permute(2, 0, 1)[None]
    full = resize(full, (model.mode_rows, size), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    full = torch.nn.functional.pad(full, (0, 0, 0, 0, 0, size - model.mode_rows))
    # a soft ceiling at 1 that leaves skin as it is: an albedo a becomes a (1 + a^8)^(-1/8)
    log = model.mean + model.tone_weight[..., None] * tone + full
    return log - softplus(log, beta=8)

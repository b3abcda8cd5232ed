"""Skin colour from its pigments: melanin filters the light twice, blood absorbs inside the scattering dermis."""

from dataclasses import dataclass

import torch
from torch import Tensor

from relit.appearance.colour import XYZ_FROM_RGB

_NM = torch.arange(400.0, 701.0, 10.0)
# CIE standard illuminant D65, 400 to 700 nm in steps of 10 (CIE 15:2004, table T.1).
_D65 = torch.tensor(
    [82.75, 91.49, 93.43, 86.68, 104.86, 117.01, 117.81, 114.86, 115.92, 108.81, 109.35, 107.80, 104.79, 107.69,
     104.41, 104.05, 100.00, 96.33, 95.79, 88.69, 90.01, 89.60, 87.70, 83.29, 83.70, 80.03, 80.21, 82.28, 78.28,
     69.72, 71.61]
)  # fmt: skip
# Molar extinction of oxygenated and deoxygenated haemoglobin, 1 / (cm M) (Prahl, Oregon Medical Laser Center, 1998).
_OXY = torch.tensor(
    [266232, 466840, 480360, 246072, 102580, 62816, 44480, 33209, 26629, 23684, 20933, 20035, 24202, 39957, 53236,
     43016, 32613, 44496, 50104, 14401, 3200, 1506, 942, 610, 442, 368, 320, 294, 278, 276, 290.0]
)  # fmt: skip
_DEOXY = torch.tensor(
    [223296, 303956, 407560, 528600, 413280, 103292, 23389, 16156, 14550, 16684, 20862, 25774, 31590, 39036, 46592,
     53412, 53788, 45072, 37020, 28324, 14677, 9444, 6510, 5149, 4345, 3750, 3227, 2795, 2408, 2052, 1794.0]
)  # fmt: skip
_BLOOD_M = 150 / 64500  # moles of haemoglobin per litre of whole blood
_OXYGENATION = 0.75
# Fitted together to eight mean skin colours from light to dark, CIELAB (66, 9.5, 15) to (29, 8, 9), residual below 2.5.
_PATH_CM = 0.0636  # effective length of the light's way through the epidermis, both crossings
_PACKING = 0.393  # shape of the spread of melanin between paths: small is clumped, large is an even filter
_BASE_FACTOR = 1.77
_BRIGHTNESS = 1.41


@dataclass(frozen=True)
class Pigments:
    """What colours skin. Tensors of one common (broadcastable) shape."""

    melanin: Tensor  # effective melanosome fraction of the epidermis, unpacked: 0.013 light, 0.08 tan, 2.5 very dark
    blood: Tensor  # volume fraction of blood in the dermis: 0.01 pale, 0.015 typical, 0.03 flushed
    carotene: Tensor  # yellow chromophores (carotene, bilirubin), 0.6 is typical


def _lobe(nm: Tensor, centre: float, left: float, right: float) -> Tensor:
    """A Gaussian with different widths on both sides, used by the analytic colour matching functions."""
    width = torch.where(nm < centre, left, right)
    return torch.exp(-0.5 * ((nm - centre) * width) ** 2)


def _rgb_weights() -> Tensor:
    """(31, 3) weights that turn a reflectance spectrum under D65 into linear sRGB; a white sheet becomes (1, 1, 1).

    Source: Wyman, Sloan, Shirley, "Simple analytic approximations to the CIE XYZ color matching functions",
    JCGT 2(2), 2013, equation 4.
    """
    x = 1.056 * _lobe(_NM, 599.8, 0.0264, 0.0323) + 0.362 * _lobe(_NM, 442.0, 0.0624, 0.0374)
    x = x - 0.065 * _lobe(_NM, 501.1, 0.0490, 0.0382)
    y = 0.821 * _lobe(_NM, 568.8, 0.0213, 0.0247) + 0.286 * _lobe(_NM, 530.9, 0.0613, 0.0322)
    z = 1.217 * _lobe(_NM, 437.0, 0.0845, 0.0278) + 0.681 * _lobe(_NM, 459.0, 0.0385, 0.0725)
    xyz = torch.stack([x, y, z], 1) * _D65[:, None]
    rgb = xyz @ torch.linalg.inv(XYZ_FROM_RGB).T
    return rgb / rgb.sum(0)


_RGB_WEIGHTS = _rgb_weights()
_MELANIN_MU = 6.6e11 * _NM**-3.33  # 1/cm
_BASE_MU = 0.244 + 85.3 * torch.exp(-(_NM - 154) / 66.2)  # 1/cm, skin without pigment
_BLOOD_MU = 2.303 * _BLOOD_M * (_OXYGENATION * _OXY + (1 - _OXYGENATION) * _DEOXY)  # 1/cm
_CAROTENE_MU = 1.2 * torch.exp(-0.5 * ((_NM - 460) / 34) ** 2)  # 1/cm, broad band around 460 nm
_SCATTER_MU = 2e5 * _NM**-1.5 + 2e12 * _NM**-4.0  # 1/cm, reduced


def skin_colour(pigments: Pigments) -> Tensor:
    """Diffuse albedo (..., 3), linear RGB in [0, 1], of skin with the given pigments. Differentiable.

    The epidermis filters diffuse light twice; the dermis is a half-space whose diffuse reflectance follows from the
    ratio of absorption to reduced scattering. Melanin is packed in clumps, so paths differ in optical depth; with a
    gamma spread of shape k the mean transmittance is (1 + depth / k)^-k. This is why dark skin is far less orange than
    an even filter of melanin would be.

    Source: absorption and scattering: Jacques, "Skin optics", Oregon Medical Laser Center News, 1998; melanin as the
    filter of the dermis as in Donner and Jensen, "A spectral BSSRDF for shading human skin", EGSR 2006.
    Half-space: Jensen et al., "A practical model for subsurface light transport", SIGGRAPH 2001, diffuse limit,
    refractive index 1.4.
    Differs: one absorbing layer with packed melanin instead of a multipole of even layers; a carotene band is added;
    path, packing, base absorption and brightness are calibrated to measured skin colours, not taken from histology.
    """
    melanin, blood, carotene = (t[..., None] for t in (pigments.melanin, pigments.blood, pigments.carotene))
    base, mel, hb, car, scatter = (t.to(melanin) for t in (_BASE_MU, _MELANIN_MU, _BLOOD_MU, _CAROTENE_MU, _SCATTER_MU))
    depth = _PATH_CM * (melanin * mel + base)
    transmitted = (1 + depth / _PACKING) ** -_PACKING
    albedo = scatter / (scatter + blood * hb + _BASE_FACTOR * base + carotene * car)
    inside = -1.440 / 1.4**2 + 0.710 / 1.4 + 0.668 + 0.0636 * 1.4  # diffuse Fresnel reflectance from within
    root = torch.sqrt(3 * (1 - albedo))
    dermal = 0.5 * albedo * (1 + torch.exp(-4 / 3 * (1 + inside) / (1 - inside) * root)) * torch.exp(-root)
    spectrum = _BRIGHTNESS * dermal * transmitted
    return (spectrum @ _RGB_WEIGHTS.to(spectrum)).clamp(0, 1)


# log melanin, log blood, log carotene, log brightness: mean and spread over all people.
_UNKNOWN_MEAN = torch.tensor([-2.7, -4.1, -0.5, 0.0])
_UNKNOWN_SD = torch.tensor([1.5, 0.35, 0.5, 0.12])


def _pigments(unknown: Tensor) -> Pigments:
    return Pigments(unknown[..., 0].exp(), unknown[..., 1].exp(), unknown[..., 2].exp())


def pigments_from_colour(albedo: Tensor, steps: int = 40) -> tuple[Pigments, Tensor]:
    """Pigments (...) that best explain diffuse albedo (..., 3), and the brightness factor (...) left over.

    Args:
        albedo: linear RGB, positive.
        steps: Gauss-Newton iterations.

    Returns:
        The pigments and the factor `albedo / skin_colour(pigments)`, common to the channels.

    Source: damped Gauss-Newton on the logarithm of the albedo with log-normal priors on blood, carotene and brightness,
    as three channels cannot tell four unknowns apart.
    """
    target = albedo.clamp_min(1e-4).log().reshape(-1, 3).double()
    prior_mean, prior_sd = _UNKNOWN_MEAN.double(), _UNKNOWN_SD.double()
    x = prior_mean.expand(len(target), 4).clone()

    def residual(unknown: Tensor) -> Tensor:
        return skin_colour(_pigments(unknown)).clamp_min(1e-6).log() + unknown[..., 3:]

    for _ in range(steps):
        jacobian = torch.func.vmap(torch.func.jacfwd(residual))(x)  # [N, 3, 4]
        weight = 1 / 0.02**2
        normal = weight * jacobian.mT @ jacobian + torch.diag(1 / prior_sd**2)
        right = weight * (jacobian.mT @ (target - residual(x))[..., None])[..., 0] - (x - prior_mean) / prior_sd**2
        x = x + torch.linalg.solve(normal, right).clamp(-0.7, 0.7)
    x = x.to(albedo.dtype)
    shape = albedo.shape[:-1]
    found = _pigments(x)
    return (
        Pigments(found.melanin.reshape(shape), found.blood.reshape(shape), found.carotene.reshape(shape)),
        x[:, 3].exp().reshape(shape),
    )

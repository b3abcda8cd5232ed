"""Real spherical harmonics of degree 8: basis, rotation, analytic convolutions with cosine and GGX lobes."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

DEGREE = 8
COEFFICIENTS = (DEGREE + 1) ** 2
BAND = torch.tensor([degree for degree in range(DEGREE + 1) for _ in range(2 * degree + 1)])
ROUGHNESS_LEVELS = 9  # of the prefiltered table: 0, 1/8 ... 1
TABLE_SIZE = 48  # texels along an edge of one octahedral level


def sh_basis(directions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 81"]:
    """Real orthonormal spherical harmonics of unit directions, index l*l + l + m, without the Condon-Shortley phase.

    Convention: Y_1,-1 = 0.4886 y, Y_1,0 = 0.4886 z, Y_1,1 = 0.4886 x.

    Source: associated Legendre recurrences divided by sin^m, so that the basis is a polynomial in x, y, z and its
    gradient is finite at the poles (Sloan 2013, "Efficient spherical harmonic evaluation").
    """
    if directions.device.type == "cpu" and directions.dtype == torch.float32:
        return _Basis.apply(directions.reshape(-1, 3)).reshape(*directions.shape[:-1], COEFFICIENTS)
    return basis_reference(directions)


def basis_reference(directions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 81"]:
    """As `sh_basis`, in plain torch: the path for CUDA tensors and double precision."""
    x, y, z = directions.unbind(-1)
    one = torch.ones_like(x)
    cosine, sine = [one], [torch.zeros_like(x)]
    for _ in range(DEGREE):
        c, s = cosine[-1], sine[-1]
        cosine.append(x * c - y * s)
        sine.append(x * s + y * c)
    columns: list[Tensor] = [one] * COEFFICIENTS
    for m in range(DEGREE + 1):
        older, old = torch.zeros_like(x), one * math.prod(range(1, 2 * m, 2))
        for degree in range(m, DEGREE + 1):
            norm = math.sqrt((2 * degree + 1) / (4 * math.pi) * math.factorial(degree - m) / math.factorial(degree + m))
            centre = degree * degree + degree
            if m == 0:
                columns[centre] = norm * old
            else:
                scaled = norm * math.sqrt(2) * old
                columns[centre + m], columns[centre - m] = scaled * cosine[m], scaled * sine[m]
            older, old = old, (z * (2 * degree + 1) * old - (degree + m) * older) / (degree + 1 - m)
    return torch.stack(columns, -1)


def sphere_directions(count: int) -> Float[Tensor, "N 3"]:
    """`count` evenly spread unit directions (spherical Fibonacci points), each for 4 pi / count of solid angle."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * index / count
    angle = index * math.pi * (3 - math.sqrt(5))
    ring = (1 - z * z).sqrt()
    return torch.stack([ring * angle.cos(), ring * angle.sin(), z], -1).float()


def rotation_of_harmonics(rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "81 81"]:
    """The matrix that turns coefficients with the scene: radiance from `d` afterwards comes from `rotation @ d`."""
    directions = sphere_directions(4 * COEFFICIENTS).double()
    turned = sh_basis(directions @ rotation.double())
    return torch.linalg.lstsq(sh_basis(directions), turned).solution.to(rotation.dtype)


@cache
def cosine_lobe() -> Float[Tensor, "9"]:
    """Per-band factors A_l that turn radiance into irradiance: pi, 2 pi / 3, pi / 4, 0, -pi / 24 ...

    Source: Ramamoorthi & Hanrahan 2001, "On the relationship between radiance and irradiance", equation 19.
    """
    factors = [math.pi, 2 * math.pi / 3]
    for degree in range(2, DEGREE + 1):
        half = degree // 2
        even = (-1) ** (half - 1) / ((degree + 2) * (degree - 1))
        ratio = math.factorial(degree) / (2**degree * math.factorial(half) ** 2)
        factors.append(2 * math.pi * even * ratio if degree % 2 == 0 else 0.0)
    return torch.tensor(factors)


@cache
def ggx_lobes() -> Float[Tensor, "R 9"]:
    """Per-band attenuation of the GGX lobe about the mirror direction, for roughness 0, 1/8 ... 1.

    Source: zonal coefficients of the lobe at normal incidence, weighted by the cosine to the light, by quadrature over
    the GGX quantile function; the idea of one factor per band is Ramamoorthi & Hanrahan 2002, "Frequency space
    environment map rendering", section 4.
    """
    quantile = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    rows = []
    for level in range(ROUGHNESS_LEVELS):
        alpha = (level / (ROUGHNESS_LEVELS - 1)) ** 2
        half = ((1 - quantile) / (1 + (alpha**2 - 1) * quantile)).sqrt().clamp(-1, 1)
        cosine = 2 * half * half - 1  # the lobe's angle is twice the half vector's
        weight = cosine.clamp_min(0)
        legendre = [torch.ones_like(cosine), cosine]
        for degree in range(2, DEGREE + 1):
            legendre.append(((2 * degree - 1) * cosine * legendre[-1] - (degree - 1) * legendre[-2]) / degree)
        rows.append(torch.stack([(p * weight).sum() / weight.sum() for p in legendre]))
    return torch.stack(rows).float()


def diffuse_irradiance(sh: Float[Tensor, "81 3"], normals: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Irradiance on unoccluded surfaces, exact for the given coefficients; differentiable in both.

    Convention: uniform radiance 1 gives pi.
    """
    return sh_basis(normals) @ (cosine_lobe()[BAND, None].to(sh) * sh)


@dataclass(frozen=True)
class PrefilteredLight:
    """Octahedral tables of the light blurred by GGX lobes of rising roughness, and, last, by the cosine lobe."""

    table: Float[Tensor, "3 levels rows columns"]


def prefilter(sh: Float[Tensor, "81 3"]) -> PrefilteredLight:
    """The tables for `specular_radiance` and `table_irradiance` over many pixels; differentiable.

    Negative radiance, left by the truncation of the series, is cut to 0 after the blur.
    """
    lobes = torch.cat([ggx_lobes(), cosine_lobe()[None]])[:, BAND].to(sh)  # [L, 81]
    blurred = (sh.T[:, None] * lobes).flatten(0, 1)  # [3 L, 81]
    table = blurred @ _table_basis().to(sh).T
    return PrefilteredLight(table.view(3, len(lobes), TABLE_SIZE, TABLE_SIZE).clamp_min(0))


def specular_radiance(
    light: Float[Tensor, "81 3"] | PrefilteredLight,
    directions: Float[Tensor, "*batch 3"],
    roughness: Float[Tensor, "*rough"],
) -> Float[Tensor, "*batch 3"]:
    """Radiance from around unit mirror directions, averaged over the GGX lobe of the given perceptual roughness.

    The roughness is one per direction, or one for all. Differentiable in the coefficients, directions and roughness.
    Exact for coefficients (which may give negative radiance); a prefiltered light is faster for many pixels and never
    negative.
    """
    level = roughness.clamp(0, 1) * (ROUGHNESS_LEVELS - 1)
    if isinstance(light, PrefilteredLight):
        return _look_up(light, directions, level.expand(directions.shape[:-1]))
    below = level.detach().floor().clamp(0, ROUGHNESS_LEVELS - 2).long()
    lobes, blend = ggx_lobes().to(light), (level - below)[..., None]
    attenuation = lobes[below] * (1 - blend) + lobes[below + 1] * blend
    band = BAND.to(light.device)
    if roughness.dim() == 0:
        return sh_basis(directions) @ (attenuation[band, None] * light)
    return (sh_basis(directions) * attenuation[..., band]) @ light


def table_irradiance(light: PrefilteredLight, normals: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """As `diffuse_irradiance`, from the table: faster for many pixels."""
    return _look_up(light, normals, torch.full_like(normals[..., 0], float(ROUGHNESS_LEVELS)))


@cache
def _table_basis() -> Tensor:
    """(TABLE_SIZE^2, 81): the basis at the texels of the octahedral map; border texels lie exactly on its border."""
    grid = torch.linspace(-1, 1, TABLE_SIZE)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    z = 1 - x.abs() - y.abs()
    fold = (-z).clamp_min(0)
    direction = torch.stack([x - torch.where(x >= 0, fold, -fold), y - torch.where(y >= 0, fold, -fold), z], -1)
    return sh_basis(normalize(direction.flatten(0, 1), dim=-1))


def _look_up(light: PrefilteredLight, directions: Tensor, level: Tensor) -> Tensor:
    """Trilinear values at (direction, level).

    Source: octahedral map with +Z at its centre, Meyer et al. 2010, "On floating-point normal vectors".
    """
    x, y, z = directions.reshape(-1, 3).unbind(-1)
    scale = 1 / (x.abs() + y.abs() + z.abs())
    x, y = x * scale, y * scale
    upper = z >= 0
    u = torch.where(upper, x, (1 - y.abs()) * torch.where(x >= 0, 1.0, -1.0))
    v = torch.where(upper, y, (1 - x.abs()) * torch.where(y >= 0, 1.0, -1.0))
    depth = level.reshape(-1) * (2 / ROUGHNESS_LEVELS) - 1
    at = torch.stack([u, v, depth.to(u)], -1)[None, None, None]
    found = grid_sample(light.table[None], at, padding_mode="border", align_corners=True)
    return found[0, :, 0, 0].T.reshape(directions.shape)


@cache
def _norms() -> np.ndarray:
    """(9, 9): the factor of degree n and order m that makes the basis orthonormal."""
    table = np.zeros((DEGREE + 1, DEGREE + 1), np.float32)
    for n in range(DEGREE + 1):
        for m in range(n + 1):
            ratio = math.factorial(n - m) / math.factorial(n + m)
            table[n, m] = math.sqrt((2 * n + 1) / (4 * math.pi) * ratio * (1 if m == 0 else 2))
    return table


class _Basis(torch.autograd.Function):
    @staticmethod
    def forward(ctx, directions):
        ctx.save_for_backward(directions)
        out = np.empty((len(directions), COEFFICIENTS), np.float32)
        _basis_kernel(directions.detach().contiguous().numpy(), _norms(), out)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx, gradient):
        (directions,) = ctx.saved_tensors
        out = np.empty(directions.shape, np.float32)
        _basis_backward(directions.detach().contiguous().numpy(), _norms(), gradient.contiguous().numpy(), out)
        return torch.from_numpy(out)


@njit(cache=True, nogil=True)
def _polynomials(x, y, z, cosine, sine, legendre):
    """Fill r^m cos(m phi), r^m sin(m phi), and P_n^m / sin^m as legendre[n, m], 0 for m > n."""
    cosine[0], sine[0], odd = 1.0, 0.0, 1.0
    for m in range(1, DEGREE + 1):
        cosine[m] = x * cosine[m - 1] - y * sine[m - 1]
        sine[m] = x * sine[m - 1] + y * cosine[m - 1]
    for m in range(DEGREE + 1):
        older, old = 0.0, odd
        for n in range(m, DEGREE + 1):
            legendre[n, m] = old
            older, old = old, (z * (2 * n + 1) * old - (n + m) * older) / (n + 1 - m)
        odd *= 2 * m + 1


@njit(cache=True, nogil=True)
def _basis_kernel(directions, norms, out):
    cosine, sine = np.zeros(DEGREE + 1), np.zeros(DEGREE + 1)
    legendre = np.zeros((DEGREE + 1, DEGREE + 2))
    for i in range(directions.shape[0]):
        _polynomials(directions[i, 0], directions[i, 1], directions[i, 2], cosine, sine, legendre)
        for n in range(DEGREE + 1):
            centre = n * n + n
            out[i, centre] = norms[n, 0] * legendre[n, 0]
            for m in range(1, n + 1):
                scaled = norms[n, m] * legendre[n, m]
                out[i, centre + m] = scaled * cosine[m]
                out[i, centre - m] = scaled * sine[m]


@njit(cache=True, nogil=True)
def _basis_backward(directions, norms, gradient, out):
    """By z, legendre[n, m] derives to legendre[n, m + 1]; the circular parts derive to m times the lower ones."""
    cosine, sine = np.zeros(DEGREE + 1), np.zeros(DEGREE + 1)
    legendre = np.zeros((DEGREE + 1, DEGREE + 2))
    for i in range(directions.shape[0]):
        _polynomials(directions[i, 0], directions[i, 1], directions[i, 2], cosine, sine, legendre)
        gx = gy = gz = 0.0
        for n in range(DEGREE + 1):
            centre = n * n + n
            gz += norms[n, 0] * gradient[i, centre] * legendre[n, 1]
            for m in range(1, n + 1):
                right, left = norms[n, m] * gradient[i, centre + m], norms[n, m] * gradient[i, centre - m]
                gz += legendre[n, m + 1] * (right * cosine[m] + left * sine[m])
                slope = m * legendre[n, m]
                gx += slope * (right * cosine[m - 1] + left * sine[m - 1])
                gy += slope * (left * cosine[m - 1] - right * sine[m - 1])
        out[i, 0], out[i, 1], out[i, 2] = gx, gy, gz

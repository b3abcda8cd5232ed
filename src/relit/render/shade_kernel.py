"""The shading of `relit.render.shade` point by point in one loop: the same light several times faster, without gradients."""

import math

import numpy as np
from numba import njit

from relit.appearance.brdf import LOBE_ROUGHNESS, MIN_ROUGHNESS, NARROW_WEIGHT
from relit.appearance.lighting import LIGHT_RADIUS_RAD

_LOBES = np.array(LOBE_ROUGHNESS, np.float32)
_SHARES = np.array([1 - NARROW_WEIGHT, NARROW_WEIGHT], np.float32)


# Coefficients of acos(x) / sqrt(1 - x). Source: Abramowitz & Stegun 1964, 4.4.46, error below 2e-8.
_ANGLE = (1.5707963050, -0.2145988016, 0.0889789874, -0.0501743046, 0.0308918810, -0.0170881256, 0.0066700901, -0.0012624911)
_kernel = njit(cache=True, nogil=True, error_model="numpy")


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _light(table, x, y, z, level):
    """Trilinear value of an octahedral table (levels, rows, columns, 3)."""
    levels, rows, columns = table.shape[0], table.shape[1], table.shape[2]
    scale = 1 / (abs(x) + abs(y) + abs(z))
    u, v = x * scale, y * scale
    if z < 0:
        u, v = (1 - abs(v)) * (1.0 if u >= 0 else -1.0), (1 - abs(u)) * (1.0 if v >= 0 else -1.0)
    column, row = (u + 1) * 0.5 * (columns - 1), (v + 1) * 0.5 * (rows - 1)
    column, row = min(max(column, 0.0), columns - 1.0), min(max(row, 0.0), rows - 1.0)
    i, j, k = min(int(column), columns - 2), min(int(row), rows - 2), min(int(level), levels - 2)
    fi, fj, fk = column - i, row - j, level - k
    weights = (1 - fi) * (1 - fj), fi * (1 - fj), (1 - fi) * fj, fi * fj
    upper = _bilinear(table[k + 1, j, i], table[k + 1, j, i + 1], table[k + 1, j + 1, i], table[k + 1, j + 1, i + 1], weights)
    if fk == 1:
        return upper
    lower = _bilinear(table[k, j, i], table[k, j, i + 1], table[k, j + 1, i], table[k, j + 1, i + 1], weights)
    rest = 1 - fk
    return rest * lower[0] + fk * upper[0], rest * lower[1] + fk * upper[1], rest * lower[2] + fk * upper[2]


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath={"contract", "arcp", "nsz"})
def _bilinear(a, b, c, d, weights):
    wa, wb, wc, wd = weights
    return (
        wa * a[0] + wb * b[0] + wc * c[0] + wd * d[0],
        wa * a[1] + wb * b[1] + wc * c[1] + wd * d[1],
        wa * a[2] + wb * b[2] + wc * c[2] + wd * d[2],
    )


@_kernel
def _angle(cosine):
    """acos."""
    x = abs(cosine)
    total = 0.0
    for k in range(len(_ANGLE) - 1, -1, -1):
        total = total * x + _ANGLE[k]
    total *= math.sqrt(1 - x)
    return total if cosine >= 0 else math.pi - total


@_kernel
def _split_sum(table, n_dot_v, roughness):
    """Bilinear factor of F0 and bias of the environment's reflectance, from a table (2, S, S) of texel centres."""
    size = table.shape[1]
    x = min(max(n_dot_v * size - 0.5, 0.0), size - 1.0)
    y = min(max(roughness * size - 0.5, 0.0), size - 1.0)
    i, j = min(int(x), size - 2), min(int(y), size - 2)
    fx, fy = x - i, y - j
    scale = (table[0, j, i] * (1 - fx) + table[0, j, i + 1] * fx) * (1 - fy)
    scale += (table[0, j + 1, i] * (1 - fx) + table[0, j + 1, i + 1] * fx) * fy
    bias = (table[1, j, i] * (1 - fx) + table[1, j, i + 1] * fx) * (1 - fy)
    bias += (table[1, j + 1, i] * (1 - fx) + table[1, j + 1, i + 1] * fx) * fy
    return scale, bias


@_kernel
def _overlap(cosine, half_angle, lobe):
    between = _angle(min(max(cosine, -0.9999), 0.9999))
    share = min(max((half_angle + lobe - between) / (2 * lobe), 0.0), 1.0)
    return share * share * (3 - 2 * share)


@_kernel
def _bounces(visibility, albedo):
    a, b, c = 2.0404 * albedo - 0.3324, -4.7951 * albedo + 0.6417, 2.7552 * albedo + 0.6903
    return max(visibility, ((visibility * a + b) * visibility + c) * visibility)


@_kernel
def _highlight(n, e, towards, f0, roughness):
    """Both GGX lobes times the cosine to the light."""
    n_dot_l = n[0] * towards[0] + n[1] * towards[1] + n[2] * towards[2]
    n_dot_v = n[0] * e[0] + n[1] * e[1] + n[2] * e[2]
    if n_dot_l <= 0 or n_dot_v <= 0:
        return 0.0
    hx, hy, hz = towards[0] + e[0], towards[1] + e[1], towards[2] + e[2]
    length = max(math.sqrt(hx * hx + hy * hy + hz * hz), 1e-12)
    n_dot_h = min(max((n[0] * hx + n[1] * hy + n[2] * hz) / length, 0.0), 1.0)
    h_dot_v = min(max((e[0] * hx + e[1] * hy + e[2] * hz) / length, 0.0), 1.0)
    fresnel = f0 + (1 - f0) * (1 - h_dot_v) ** 5
    total = 0.0
    for lobe in range(2):
        alpha = max(min(roughness * _LOBES[lobe], 1.0), MIN_ROUGHNESS) ** 2
        wide = min(alpha + LIGHT_RADIUS_RAD / 2, 1.0) ** 2
        squared = alpha * alpha
        spread = wide / (math.pi * (n_dot_h * n_dot_h * (wide - 1) + 1) ** 2)
        to_light = n_dot_v * math.sqrt(n_dot_l * n_dot_l * (1 - squared) + squared)
        to_eye = n_dot_l * math.sqrt(n_dot_v * n_dot_v * (1 - squared) + squared)
        total += _SHARES[lobe] * spread * fresnel * 0.5 / max(to_light + to_eye, 1e-6)
    return total * n_dot_l


@_kernel
def shade_points(frames, numbers, colours, lit, light, tables, mirror, out, first, last):
    """Fill irradiance and specular radiance `out` (P, 6) of points `first:last`.

    Args:
        frames: (P, 3) each: towards the eye, geometry, diffuse and specular normal, open direction.
        numbers: (P,) each: F0, roughness, visibility.
        colours: (P, 3) each: irradiance, albedo of the surroundings.
        lit: (P, L). light: (L, 2, 3) direction and irradiance.
        tables: of the light (levels, rows, columns, 3), the cosine lobe last, the split sum (2, S, S), least irradiance (3,).
        mirror: roughness below which sources stand out, the exponent and the gain of that, and relief's slope.
    """
    environment, reflectances, least = tables
    sharp, power, gain, relief = mirror
    eyes, plain_normals, diffuse_normals, specular_normals, open_directions = frames
    f0s, roughnesses, visibilities = numbers
    irradiances, surroundings = colours
    last_level = environment.shape[0] - 1.0
    for p in range(first, last):
        e, g, d, n, o = eyes[p], plain_normals[p], diffuse_normals[p], specular_normals[p], open_directions[p]
        f0, roughness, visible = f0s[p], roughnesses[p], max(visibilities[p], 0.02)
        bent = _light(environment, d[0], d[1], d[2], last_level)
        plain = _light(environment, g[0], g[1], g[2], last_level)
        for channel in range(3):
            ambient = irradiances[p, channel] + visibilities[p] * (bent[channel] - plain[channel])
            out[p, channel] = max(ambient, visible * least[channel]) * _bounces(visible, surroundings[p, channel]) / visible
        n_dot_v = min(max(n[0] * e[0] + n[1] * e[1] + n[2] * e[2], 1e-3), 1.0)
        mx, my, mz = 2 * n_dot_v * n[0] - e[0], 2 * n_dot_v * n[1] - e[1], 2 * n_dot_v * n[2] - e[2]
        length = max(math.sqrt(mx * mx + my * my + mz * mz), 1e-12)
        mx, my, mz = mx / length, my / length, mz / length
        found = _light(environment, mx, my, mz, min(max(roughness, 0.0), 1.0) * (last_level - 1))
        slope = relief * roughness * roughness
        masking = 2 / (1 + math.sqrt(1 + slope * slope * (1 / (n_dot_v * n_dot_v) - 1)))
        scale, bias = _split_sum(reflectances, n_dot_v, min(max(roughness, 0.0), 1.0))
        lobe = 0.2 + 0.7 * roughness
        sky = _angle(math.sqrt(min(max(1 - visibilities[p], 1e-4), 1 - 1e-4)))
        whole = max(_overlap(g[0] * mx + g[1] * my + g[2] * mz, math.pi / 2, lobe), 1e-3)
        seen = min(_overlap(o[0] * mx + o[1] * my + o[2] * mz, sky, lobe) / whole, 1.0)
        reflectance = (f0 * scale + bias) * masking * seen
        if roughness < sharp:
            mean = max(found[0], 0.0) + max(found[1], 0.0) + max(found[2], 0.0)
            reflectance *= (mean / 3) ** (power - 1) * gain
        for channel in range(3):
            out[p, 3 + channel] = found[channel] * reflectance
        for index in range(lit.shape[1]):
            if lit[p, index] == 0:
                continue
            towards = light[index, 0]
            cosine = max(d[0] * towards[0] + d[1] * towards[1] + d[2] * towards[2], 0.0)
            shine = _highlight(n, e, towards, f0, roughness) * masking
            for channel in range(3):
                arrived = lit[p, index] * light[index, 1, channel]
                out[p, channel] += arrived * cosine
                out[p, 3 + channel] += arrived * shine

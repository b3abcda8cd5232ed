"""The shading of `relit.render.shade` point by point in one loop: the same light several times faster, without gradients."""

import math

import numpy as np
from numba import njit

from relit.appearance.brdf import LOBE_ROUGHNESS, MIN_ROUGHNESS, NARROW_WEIGHT
from relit.appearance.lighting import LIGHT_RADIUS_RAD

_LOBES = np.array(LOBE_ROUGHNESS, np.float32)
_SHARES = np.array([1 - NARROW_WEIGHT, NARROW_WEIGHT], np.float32)


@njit(cache=True, nogil=True, fastmath={"contract", "arcp", "nsz"})
def _light(table, x, y, z, level, out):
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
    for channel in range(3):
        out[channel] = 0.0
    for corner in range(8):
        a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
        weight = (fi if a else 1 - fi) * (fj if b else 1 - fj) * (fk if c else 1 - fk)
        if weight > 0:
            for channel in range(3):
                out[channel] += weight * table[k + c, j + b, i + a, channel]


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _overlap(cosine, half_angle, lobe):
    between = math.acos(min(max(cosine, -0.9999), 0.9999))
    share = min(max((half_angle + lobe - between) / (2 * lobe), 0.0), 1.0)
    return share * share * (3 - 2 * share)


@njit(cache=True, nogil=True)
def _bounces(visibility, albedo):
    a, b, c = 2.0404 * albedo - 0.3324, -4.7951 * albedo + 0.6417, 2.7552 * albedo + 0.6903
    return max(visibility, ((visibility * a + b) * visibility + c) * visibility)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def shade_points(frames, scalars, colours, lit, light, tables, mirror, out, first, last):
    """Fill irradiance and specular radiance `out` (P, 6) of points `first:last`.

    Args:
        frames: (P, 5, 3) towards the eye, geometry, diffuse and specular normal, open direction.
        scalars: (P, 3) F0, roughness, visibility.
        colours: (P, 2, 3) irradiance, albedo of the surroundings.
        lit: (P, L). light: (L, 2, 3) direction and irradiance.
        tables: of the light (levels, rows, columns, 3), the cosine lobe last, and the split sum (2, S, S).
        mirror: roughness below which sources stand out, the exponent and the gain of that, and relief's slope.
    """
    environment, reflectances = tables
    sharp, power, gain, relief = mirror
    last_level = environment.shape[0] - 1.0
    found, plain, bent = np.empty(3), np.empty(3), np.empty(3)
    for p in range(first, last):
        e, g, d, n, o = frames[p, 0], frames[p, 1], frames[p, 2], frames[p, 3], frames[p, 4]
        f0, roughness = scalars[p, 0], scalars[p, 1]
        visible = max(scalars[p, 2], 0.02)
        _light(environment, d[0], d[1], d[2], last_level, bent)
        _light(environment, g[0], g[1], g[2], last_level, plain)
        for channel in range(3):
            ambient = max(colours[p, 0, channel] + scalars[p, 2] * (bent[channel] - plain[channel]), 0.0)
            out[p, channel] = ambient * _bounces(visible, colours[p, 1, channel]) / visible
        n_dot_v = min(max(n[0] * e[0] + n[1] * e[1] + n[2] * e[2], 1e-3), 1.0)
        mx, my, mz = 2 * n_dot_v * n[0] - e[0], 2 * n_dot_v * n[1] - e[1], 2 * n_dot_v * n[2] - e[2]
        length = max(math.sqrt(mx * mx + my * my + mz * mz), 1e-12)
        mx, my, mz = mx / length, my / length, mz / length
        _light(environment, mx, my, mz, min(max(roughness, 0.0), 1.0) * (last_level - 1), found)
        slope = relief * roughness * roughness
        masking = 2 / (1 + math.sqrt(1 + slope * slope * (1 / (n_dot_v * n_dot_v) - 1)))
        scale, bias = _split_sum(reflectances, n_dot_v, min(max(roughness, 0.0), 1.0))
        lobe = 0.2 + 0.7 * roughness
        sky = math.acos(math.sqrt(min(max(1 - scalars[p, 2], 1e-4), 1 - 1e-4)))
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

"""Detail of a person's own skin, carried from where photos show it to where none does."""

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from relit.maps.mesostructure import face_texel_mm, texel_scale
from relit.maps.pyramid import weighted_blur

DETAIL_MM = 3.5  # standard deviation of the blur beyond which tone is told from detail
TAUGHT, MISSING = 0.6, 0.35  # confidence above which skin teaches its detail, and below which it gets some
LEAST, FADES_MM = 0.5, 25.0  # share of it far from seen skin, and how far it fades to that
TILE_MM, LEAST_MM = 6.0, 4.0  # between the middles of tiles: as large as there is skin for
FEWEST = 40  # places, a quarter of a tile apart: fewer make a pattern
SPREAD_MM = 30.0  # how much farther than the nearest skin that of a tile may come from; far away, as far again
SHARP = 2.0  # exponent of the weights of the tiles over a point: higher keeps lines and spots whole
OUTLIER = 3.0  # deviations: what is rarer, as a mole, is bent to it, because it would be repeated
STRONGEST = 0.10  # standard deviation in log albedo: deeper wrinkles have a direction, which tiles do not
LARGEST = 1000  # millimetres per unit of the layout; beside the charts the scale is unknown


def unseen_detail(
    ratio: Float[Tensor, "H W 3"],
    confidence: Float[Tensor, "H W"],
    areas: tuple[tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]], ...],
    seed: int,
) -> Float[Tensor, "H W 3"]:
    """Detail for what no photo shows, as a log ratio; 0 where skin is seen.

    Args:
        ratio: log albedo over the typical one, with its confidence in [0, 1].
        areas: each with the part of it that teaches, where that is seen, and how far it reaches, both in [0, 1].
        seed: another seed gives other detail.
    """
    values, trust = ratio.numpy(), confidence.numpy()
    missing = trust < MISSING
    texel_mm = face_texel_mm(*trust.shape)[0]
    away_mm = texel_mm * cv2.distanceTransform(missing.astype(np.uint8), cv2.DIST_L2, 5)
    fading = LEAST + (1 - LEAST) * np.exp(-away_mm / FADES_MM)
    result = np.zeros_like(values)
    for teaching, reach in areas:
        taught, share = trust * teaching.numpy(), fading * reach.numpy()
        wanted = missing & (share > 0.01)
        if not wanted.any():
            continue
        detail = values - weighted_blur(values, taught, DETAIL_MM / texel_mm)
        result[wanted] += share[wanted, None] * carried_detail(detail, taught > TAUGHT, wanted, seed)
    return torch.from_numpy(result)


def carried_detail(detail: np.ndarray, sources: np.ndarray, wanted: np.ndarray, seed: int) -> np.ndarray:
    """(P, 3) detail at the P wanted texels, of the look and the size in millimetres that it has in the sources.

    Args:
        detail: (H, W, 3) in the UV layout, mean 0.
        sources: (H, W) bool, where it is known.
        wanted: (H, W) bool.
        seed: another seed gives other detail.

    Every point lies under three tiles of a lattice of triangles, each with skin of another place of the sources nearby,
    mirrored where that is on the other side of the face. The blend keeps the variance. The lattice closes around the head.

    Source: Heitz & Neyret 2018, "High-performance by-example noise using a histogram-preserving blending operator".
    Differs: sources are chosen nearby, tiles are measured in millimetres, histograms are left as they come out.
    """
    rows, columns = np.nonzero(wanted)
    result = np.zeros((len(rows), 3), np.float32)
    tile_mm, places = _places(detail, sources)
    if not len(places):
        return result
    if tile_mm < TILE_MM:  # a slope that small tiles share would make stripes of their rows
        broad_mm = DETAIL_MM * tile_mm / TILE_MM
        detail = detail - weighted_blur(detail, sources.astype(np.float32), broad_mm / face_texel_mm(*sources.shape)[0])
    usual = 1.5 * np.median(np.abs(detail[sources][::7]), 0) + 1e-6
    detail = (OUTLIER * usual * np.tanh(detail / (OUTLIER * usual))).astype(np.float32)
    face_mm = np.array(face_texel_mm(1, 1))  # of the whole layout
    tiles = np.round(face_mm / tile_mm * (1, 2 / math.sqrt(3))).astype(int)
    column, row = np.meshgrid(np.arange(tiles[0]), np.arange(tiles[1] + 1))
    centres = np.stack([column + 0.5 * (row % 2), row], -1).reshape(-1, 2) / tiles
    chosen = _chosen(centres, places, face_mm, seed)
    scale = _scale_mm(centres) / _scale_mm(chosen)
    scale[:, 0] *= np.where((chosen[:, 0] < 0.5) == (centres[:, 0] < 0.5), 1, -1)
    # the middle tone of a tile must not tell it from its neighbours
    window = [math.ceil(2 * tile_mm / side) for side in face_texel_mm(*sources.shape)]
    size = np.array(sources.shape[::-1])
    middle = cv2.blur(detail, window)[tuple((chosen * size).astype(int).T[::-1])]
    told = np.concatenate([scale * size / tiles, chosen * size - 0.5, middle], 1)
    at = (np.stack([columns, rows], 1) + 0.5) * (tiles / size)
    turn = tile_mm / face_mm * size
    _blend(*(part.astype(np.float32) for part in (at, turn, told)), tiles[0], tiles[1], detail, result)
    return result * np.minimum(1, STRONGEST / usual.mean(), dtype=np.float32)


@njit(cache=True, parallel=True, fastmath=True)
def _blend(at, turn, told, across, along, detail, result):
    """Three tiles at every point.

    Args:
        at: (P, 2) in tiles; odd rows of tiles lie half a step on.
        turn: (2,) texels from the middle of a tile at which it is turned back.
        told: (tiles, 7) of each tile: texels per tile along both axes, column and row of its skin, what is taken off.
        across, along: numbers of tiles.
    """
    height, width = detail.shape[:2]
    for point in prange(len(at)):
        y = at[point, 1]
        x = at[point, 0] - 0.5 * y  # sheared: triangles are halves of squares
        column, row = int(math.floor(x)), int(math.floor(y))
        u, v = x - column, y - row
        far = 1 if u + v > 1 else 0
        energy = 1e-8
        # which corner of its square, its weight
        corners = (
            (far, far, abs(1 - u - v)),
            (1, 0, 1 - v if far else u),
            (0, 1, 1 - u if far else v),
        )
        for step_u, step_v, weight in corners:
            weight = weight**SHARP
            off_u, off_v = u - step_u + 0.5 * (v - step_v), v - step_v
            tile_row = row + step_v
            tile = min(max(tile_row, 0), along) * across + (column + step_u + tile_row // 2) % across
            away_x, away_y = off_u * told[tile, 0] / turn[0], off_v * told[tile, 1] / turn[1]
            source_x = told[tile, 2] + turn[0] * (1 - abs((away_x + 1) % 4 - 2))
            source_y = told[tile, 3] + turn[1] * (1 - abs((away_y + 1) % 4 - 2))
            left, top = int(math.floor(source_x)), int(math.floor(source_y))
            part_x, part_y = source_x - left, source_y - top
            left, top = min(max(left, 0), width - 2), min(max(top, 0), height - 2)
            for channel in range(3):
                upper = detail[top, left, channel] * (1 - part_x) + detail[top, left + 1, channel] * part_x
                lower = detail[top + 1, left, channel] * (1 - part_x) + detail[top + 1, left + 1, channel] * part_x
                value = upper * (1 - part_y) + lower * part_y
                result[point, channel] += weight * (value - told[tile, 4 + channel])
            energy += weight * weight
        for channel in range(3):
            result[point, channel] /= math.sqrt(energy)


def _places(detail: np.ndarray, sources: np.ndarray) -> tuple[float, np.ndarray]:
    """The tiles' size in millimetres, and (N, 2) places in the layout around which all the skin of a tile is known.

    The rougher half of them is left out: folds, strands of hair and what is left of shadows.
    """
    height, width = sources.shape
    texel = face_texel_mm(height, width)
    tile_mm = TILE_MM
    while tile_mm >= LEAST_MM:
        kernel = np.ones([2 * math.ceil(tile_mm / side) + 1 for side in texel[::-1]], np.uint8)
        whole = cv2.erode(sources.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        step = max(1, round(tile_mm / 4 / texel[0]))
        rows, columns = step * np.array(np.nonzero(whole[::step, ::step]))
        if len(rows) >= FEWEST or (len(rows) and tile_mm < math.sqrt(2) * LEAST_MM):
            rough = cv2.blur(np.abs(detail).mean(-1), kernel.shape[::-1])[rows, columns]
            calm = rough <= np.median(rough)
            return tile_mm, (np.stack([columns, rows], 1)[calm] + 0.5) / (width, height)
        tile_mm /= math.sqrt(2)
    return tile_mm, np.empty((0, 2))


def _chosen(centres: np.ndarray, places: np.ndarray, face_mm: np.ndarray, seed: int) -> np.ndarray:
    """(N, 2) the place whose skin each tile gets: at random, preferably from nearby on either side."""
    random = np.random.default_rng(seed)
    one_side = lambda at: np.stack([np.minimum(at[..., 0], 1 - at[..., 0]), at[..., 1]], -1) * face_mm  # noqa: E731
    away_mm = np.linalg.norm(one_side(centres)[:, None] - one_side(places)[None], axis=-1)
    spread_mm = away_mm.min(1, keepdims=True).clip(SPREAD_MM)
    return places[(away_mm + spread_mm * random.random(away_mm.shape)).argmin(1)]


def _scale_mm(at: np.ndarray) -> np.ndarray:
    """(N, 2) millimetres per unit of the layout along u and v."""
    scales = np.stack(texel_scale(), -1)
    column, row = np.minimum(at * scales.shape[1::-1], np.array(scales.shape[1::-1]) - 1).astype(int).T
    return scales[row, column].clip(1, LARGEST)

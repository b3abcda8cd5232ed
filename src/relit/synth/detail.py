"""Fine detail of real skins, recombined region by region in the gradient domain, so that no subject is a copy."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from scipy.fft import dctn, idctn

from relit.errors import InputError
from relit.models.registry import load_tensors
from relit.synth.layout import layout
from relit.synth.split import TEST_SKINS, of_split

SIZE = 1024  # layout size that the atlas was made at
BOX = (0.17, 0.72), (0.10, 0.90)  # v and u of the part of the layout that it covers
LIMIT = 0.6  # log albedo that the codes 1 and 255 stand for
WARP_MM = 2.5  # how far each region's source is moved about
WARP_CELLS = 6  # random displacements across the box
REGION_EDGE = 0.035  # softness of the borders between regions, in shares of the layout
SCREEN = 0.004  # weight of the value itself against its gradient: lets no offset grow over many regions
PARENTS = 4  # sources that one skin is made of
# Landmarks (of the right side; mirrored) about which each region lies. A region takes one source on both sides; a texel
# between regions takes gradients of both.
PLACES = {
    "forehead": (9, 10, 151), "temples": (21, 71), "nose": (4, 5, 195, 197), "eyes": (159, 145, 27),
    "cheeks": (205, 187, 101), "lips": (13, 14), "chin": (199, 200), "jaw": (152, 172),
}  # fmt: skip


def box_slices(size: int) -> tuple[slice, slice]:
    """Rows and columns of the atlas' box in a layout of a size."""
    return tuple(slice(round(low * size), round(high * size)) for low, high in BOX)


@lru_cache(maxsize=2)
def atlas(split: str, size: int, folders: tuple[str, ...] = ()) -> tuple[tuple[str, ...], np.ndarray]:
    """Names, and (N, h, w, 3) int8 log albedo detail (127 is LIMIT) inside the box of a layout of a size.

    Args:
        folders: with further skins: pictures of diffuse albedo in this layout, such as the maps of avatars. They are
            used as they are named, in the training split only.

    Raises:
        InputError: a folder holds no skins or one that cannot be read.
    """
    rows, columns = box_slices(size)
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    coded = load_tensors("skin_detail")
    pictures = {name: cv2.imdecode(coded[name].numpy(), cv2.IMREAD_COLOR)[..., ::-1] for name in sorted(coded)}
    found = {}
    for name in of_split(pictures, split, TEST_SKINS):
        method = cv2.INTER_AREA if size < SIZE else cv2.INTER_CUBIC
        found[name] = (cv2.resize(pictures[name], shape, interpolation=method).astype(np.int16) - 128).astype(np.int8)
    if split == "train":
        for folder in folders:
            found |= {name: _as_codes(cv2.resize(own, shape, interpolation=cv2.INTER_AREA)) for name, own in _read(folder)}
    return tuple(found), np.stack(list(found.values()))


def _as_codes(detail: np.ndarray) -> np.ndarray:
    return np.round(127 * detail / LIMIT).astype(np.int8)


def _read(folder: str):
    """Yields name and detail at SIZE of each skin picture in a folder.

    Raises:
        InputError: there is none, or one cannot be read or shows nothing; names the file.
    """
    from relit.models.skin_transfer import read_linear
    from relit.synth.detail_source import calm, detail_of

    pictures = [p for p in sorted(Path(folder).glob("*")) if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")]
    if not pictures:
        raise InputError(f"{folder} holds no skins; give a folder of albedo pictures in relit's UV layout")
    for path in pictures:
        try:
            linear = read_linear(path)
        except cv2.error:
            raise InputError(f"{path} is no readable picture; take it out of the folder") from None
        detail = detail_of(cv2.resize(linear, (SIZE, SIZE), interpolation=cv2.INTER_AREA), layout(SIZE))
        if not _as_codes(detail).any():
            raise InputError(f"{path} has one colour everywhere; take it out of the folder")
        yield path.stem, calm(detail, layout(SIZE))[0]


@dataclass(frozen=True)
class Part:
    """Where one region comes from."""

    codes: np.ndarray  # (h, w, 3) int8 in the box
    mirrored: bool
    gain: float  # log albedo of one step of the code


def recombined(
    names: tuple[str, ...], skins: np.ndarray, weight: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """(S, S, 3) log albedo detail of a new skin, 0 outside the box.

    Args:
        skins: (N, h, w, 3) int8 from `atlas`, named `names`.
        weight: (N,) how likely each is drawn for a region.
        rng: decides sources, mirroring, strength and displacement of each region.

    Source: blending of gradients as Perez, Gangnet & Blake, "Poisson image editing", SIGGRAPH 2003; the screened
    Poisson equation with free borders is solved by the cosine transform (Bhat et al., "Fourier analysis of the 2D
    screened Poisson equation", ECCV 2008).
    """
    if len(names) != len(skins) or len(weight) != len(skins):
        raise ValueError(f"{len(names)} names, {len(skins)} skins and {len(weight)} weights do not match")
    parents = rng.choice(len(skins), min(PARENTS, int((weight > 0).sum())), replace=False, p=weight / weight.sum())
    chosen = [Part(skins[rng.choice(parents)], rng.random() < 0.5, rng.uniform(0.75, 1.15) * LIMIT / 127) for _ in PLACES]
    detail = np.zeros((size, size, 3), np.float32)
    detail[box_slices(size)] = blended(chosen, size, WARP_MM, rng) * _rim(size)[..., None]
    return detail


def blended(chosen: list[Part], size: int, warp_mm: float, rng: np.random.Generator, value: float = 0.0) -> np.ndarray:
    """(h, w, 3) one picture in the box from a source for each of PLACES, joined by their gradients.

    Args:
        warp_mm: how far each source is moved about.
        value: weight of the sources' own values against their gradients; without it nothing softer than 1 / sqrt(SCREEN)
            texels is kept.
    """
    shares = places(size)
    height, width = shares.shape[1:]
    across, along = np.zeros((height, width, 3), np.float32), np.zeros((height, width, 3), np.float32)
    wanted = np.zeros((height, width, 3), np.float32) if value else None
    for share, part in zip(shares, chosen, strict=True):
        bend = _bend(rng, size, warp_mm)
        rows, columns = _bounds(share)
        moved = cv2.remap(
            np.ascontiguousarray(part.codes[:, ::-1] if part.mirrored else part.codes).view(np.uint8) ^ np.uint8(128),
            *(np.ascontiguousarray(bend[rows, columns, axis]) for axis in (0, 1)),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32)
        own = part.gain * share[rows, columns][..., None]
        across[rows, columns][:, :-1] += own[:, :-1] * np.diff(moved, axis=1)
        along[rows, columns][:-1] += own[:-1] * np.diff(moved, axis=0)
        if value:
            wanted[rows, columns] += own * (moved - 128)
    return _integrated(across, along, wanted, value or SCREEN)


@lru_cache(maxsize=2)
def places(size: int) -> np.ndarray:
    """(R, h, w) share of each of PLACES at every texel of the box; they add up to 1."""
    here = layout(size)
    rows, columns = box_slices(size)
    v, u = (np.mgrid[0:size, 0:size] + 0.5)[:, rows, columns] / size
    distance = []
    for marks in PLACES.values():
        # the nearest centre counts; the layout is 1.5 times denser along v
        points = here.landmarks[list(marks)]
        distance.append(np.min([(abs(u - 0.5) - abs(x - 0.5)) ** 2 + (1.5 * (v - y)) ** 2 for x, y in points], 0))
    exponent = -np.stack(distance) / (2 * REGION_EDGE**2)
    share = np.exp(exponent - exponent.max(0))
    lips = here.masks["lips"][rows, columns]
    share *= 1 - lips
    share[list(PLACES).index("lips")] += lips
    return (share / share.sum(0)).astype(np.float32)


def _bounds(share: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns where a region has a share."""
    rows, columns = (np.flatnonzero((share > 1e-3).any(axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _bend(rng: np.random.Generator, size: int, warp_mm: float) -> np.ndarray:
    """(h, w, 2) where each texel of the box reads the source: a smooth random displacement."""
    rows, columns = box_slices(size)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    texels = warp_mm / np.array(layout(size).texel_mm)
    moved = rng.standard_normal((WARP_CELLS, WARP_CELLS, 2)).astype(np.float32) * 0.5 * texels.astype(np.float32)
    smooth = cv2.resize(moved, (width, height), interpolation=cv2.INTER_CUBIC)
    smooth[..., 0] += np.arange(width, dtype=np.float32)
    smooth[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return smooth


def _integrated(
    across: np.ndarray, along: np.ndarray, wanted: np.ndarray | None = None, weight: float = SCREEN
) -> np.ndarray:
    """(h, w, C) the picture whose forward differences are nearest to the given ones, and its values to the wanted or to 0."""
    height, width = across.shape[:2]
    divergence = np.zeros_like(across) if wanted is None else -weight * wanted
    divergence[:, :-1] += across[:, :-1]
    divergence[:, 1:] -= across[:, :-1]
    divergence[:-1] += along[:-1]
    divergence[1:] -= along[:-1]
    row = 2 - 2 * np.cos(np.pi * np.arange(height, dtype=np.float32) / height)
    column = 2 - 2 * np.cos(np.pi * np.arange(width, dtype=np.float32) / width)
    spectrum = -dctn(divergence, type=2, axes=(0, 1)) / (row[:, None, None] + column[:, None] + weight)
    return idctn(spectrum, type=2, axes=(0, 1)).astype(np.float32)


@lru_cache(maxsize=2)
def _rim(size: int) -> np.ndarray:
    """(h, w) 1 inside the box, falling to 0 at its edge."""
    rows, columns = box_slices(size)
    v, u = (np.arange(s.stop - s.start) + 0.5 for s in (rows, columns))
    edge = np.minimum(np.minimum(v, v[::-1])[:, None], np.minimum(u, u[::-1])) / (0.03 * size)
    return np.clip(edge, 0, 1).astype(np.float32)

"""The portraits of adults on the collage sheets of SFHQ, people who do not exist, with what is known of them."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from relit.errors import InputError

# One letter per tile: f and m are young women and men, F and M old ones. A point is left out: minors and whoever might be
# one, glasses, hair over the face, black-and-white pictures, the same picture twice, light that stains the skin.
# Sheet -> row -> columns.
PEOPLE = {
    "age": {4: ".mfmfmmfmmm.m", 5: ".MMMMMM..MMMM"},
    "age_X_ethnicity_1": {4: "fffffffffffff", 5: "FFFFFFFFFFFFF"},
    "age_X_ethnicity_2": {4: "mmmmmmm.mmmmm", 5: "MMMMMMM.MMMMM"},
    "ethnicity": {
        0: "mffmmfmMffmff", 1: "m..m.mmmMMm..", 2: "m.fmmm.MMmm.m", 3: "mmmmmmmfMmmm.", 4: "mFmmm.mmmmf.m", 5: "mMmfmMfFm.fM.",
    },
    "expression": {0: "ffffmffffmm", 1: "mfmfffffmff", 2: "ff.fffff.ff", 3: "mfffmfffmfm", 4: "mfMmfm.mmmm"},
    "hair_style": {0: "mmf.mmmmmmm", 1: "fm.ffmf....", 2: ".mm.fm..mmm", 3: "fffffffffff", 4: "ff..ff..mmm"},
    "hair_color": {
        0: "ffmmmMMmmmmmm", 1: ".fmm.fffmf.mf", 2: "ffmffm.f..m.m", 3: "ffmffmmffm.ff", 4: "mf.fffffffmff", 5: "Ff.ffffFff.f.",
    },
}  # fmt: skip
# Edge of a tile, left and top of the first, and steps, in pixels: sheets of 13 and of 11 columns.
_GRIDS = {13: (270, 12, 145, 281, 304.0), 11: (322, 11, 146, 332, 365.5)}


@dataclass(frozen=True)
class Tile:
    """One portrait."""

    name: str  # sheet, row, column
    male: bool
    old: bool
    srgb8: np.ndarray  # (T, T, 3) uint8


def adult_tiles(folder: Path):
    """Yields the tiles in the folder of the sheets.

    Raises:
        InputError: a sheet is missing.
    """
    for sheet, rows in PEOPLE.items():
        path = folder / f"SFHQ_variability_{sheet}.jpg"
        picture = cv2.imread(str(path))
        if picture is None:
            raise InputError(f"{path} cannot be read; give the folder of the SFHQ collages")
        for row, people in rows.items():
            edge, left, top, across, down = _GRIDS[len(people)]
            y = round(top + down * row)
            for column, letter in enumerate(people):
                if letter != ".":
                    x = left + across * column
                    own = np.ascontiguousarray(picture[y : y + edge, x : x + edge, ::-1])
                    yield Tile(f"{sheet}_{row}_{column}", letter in "mM", letter in "FM", own)

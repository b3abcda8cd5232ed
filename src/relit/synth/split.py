"""What may teach and what may test: named sources of skin and light, never shared between the two."""

import numpy as np

from relit.errors import InputError

SPLITS = ("train", "test")
# Skins by the file they come from.
TEST_SKINS = frozenset(
    {
        "middleage_darkskinned_female_diffuse",
        "middleage_lightskinned_male_diffuse",
        "old_eurasian_male_diffuse",
        "young_eurasian_female_diffuse",
        "young_lightskinned_male_diffuse3",
        "head_albedo",  # Antonia
    }
)
# Portraits by the columns of the sheets that they stand in, see relit.synth.portrait_tiles.
TEST_COLUMNS = (3, 9)
# Panoramas by their Poly Haven name.
TEST_LIGHTS = frozenset(
    {
        "brown_photostudio_07_1k",
        "chinese_garden_1k",
        "christmas_photo_studio_07_1k",
        "dancing_hall_1k",
        "immenstadter_horn_1k",
        "narrow_moonlit_road_1k",
        "pedestrian_overpass_1k",
        "st_fagans_interior_1k",
    }
)


def of_split(names, split: str, test: frozenset[str]) -> list[str]:
    """The names that belong to a split, in their order: those in `test` to "test", all others to "train"."""
    check_split(split)
    return [name for name in names if (name in test) == (split == "test")]


def held_out_portraits(names) -> frozenset[str]:
    """Those portraits, named sheet_row_column, that teach the test split alone."""
    return frozenset(name for name in names if int(name.rsplit("_", 1)[1]) in TEST_COLUMNS)


def check_split(split: str) -> None:
    """Refuses unknown splits.

    Raises:
        InputError: with the names that exist.
    """
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}; choose one of: {', '.join(SPLITS)}")


def stream(split: str, seed: int, index: int, purpose: int) -> np.random.Generator:
    """Random numbers of one purpose of one subject. Splits, seeds, subjects and purposes never share a stream."""
    check_split(split)
    return np.random.default_rng([SPLITS.index(split), seed, index, purpose])

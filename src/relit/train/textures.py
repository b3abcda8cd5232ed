"""Lit textures of 512 x 512 beside the reflectance and the relief that they show, several lights to a subject."""

import numpy as np

from relit.appearance.colour import as_bytes, srgb_bytes
from relit.maps.mesostructure import blur_mm
from relit.models.texture_inference import F0_SPAN, HIGH_SPAN_MM, MID_MM, MID_SPAN_MM, ROWS, SIZE
from relit.train.arrays import write_arrays_command
from relit.train.lit_subject import lit_subject

HEIGHT = ROWS.stop - ROWS.start
LIGHTS = 3  # of a subject
RECORD = np.dtype(
    [
        ("lit", "u1", (LIGHTS, HEIGHT, SIZE, 3)),  # sRGB, as photographed
        ("visible", "u1", (LIGHTS, HEIGHT, SIZE)),
        ("albedo", "u1", (HEIGHT, SIZE, 3)),  # sRGB
        ("specular", "u1", (HEIGHT, SIZE)),  # F0, 255 is F0_SPAN
        ("mid", "u1", (HEIGHT, SIZE)),  # relief in two bands, 0 and 255 are their spans down and up
        ("high", "u1", (HEIGHT, SIZE)),
    ]
)


def record_of(seed: int, index: int, split: str) -> np.void:
    """One subject in `LIGHTS` lights, each with its own camera."""
    record = np.zeros((), RECORD)
    maps, textures = lit_subject(seed, index, split, SIZE, LIGHTS)
    for k, (lit, photo) in enumerate(textures):
        record["lit"][k] = photo[ROWS]
        record["visible"][k] = as_bytes(lit.visible)[ROWS]
    record["albedo"] = srgb_bytes(maps.diffuse_albedo)[ROWS]
    record["specular"] = as_bytes(maps.specular_albedo.numpy() / F0_SPAN)[ROWS]
    relief = maps.displacement_mm.numpy()
    mid = blur_mm(relief, MID_MM)
    record["mid"] = as_bytes(0.5 + 0.5 * mid / MID_SPAN_MM)[ROWS]
    record["high"] = as_bytes(0.5 + 0.5 * (relief - mid) / HIGH_SPAN_MM)[ROWS]
    return record


def main() -> None:
    write_arrays_command(__doc__, record_of, files=30, seed=11)


if __name__ == "__main__":
    main()

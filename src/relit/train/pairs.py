"""Lit textures beside their diffuse albedo, many lights to a subject, in arrays that training reads at random."""

import numpy as np

from relit.appearance.colour import as_bytes, srgb_bytes
from relit.models.delighting import ROWS, SIZE
from relit.train.arrays import write_arrays_command
from relit.train.lit_subject import lit_subject

HEIGHT = ROWS.stop - ROWS.start
LIGHTS = 4  # of a subject
POSITION_ORIGIN_M, POSITION_SPAN_M = -0.2, 0.4  # what 0 and 255 stand for, head frame
RECORD = np.dtype(
    [
        ("lit", "u1", (LIGHTS, HEIGHT, SIZE, 3)),  # sRGB, as photographed
        ("visible", "u1", (LIGHTS, HEIGHT, SIZE)),
        ("albedo", "u1", (HEIGHT, SIZE, 3)),  # sRGB
        ("normal", "u1", (HEIGHT, SIZE, 3)),  # 127.5 + 127.5 n, head frame, without relief
        ("position", "u1", (HEIGHT, SIZE, 3)),
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
    record["normal"] = as_bytes(0.5 + 0.5 * lit.normal)[ROWS]
    record["position"] = as_bytes((lit.position_m - POSITION_ORIGIN_M) / POSITION_SPAN_M)[ROWS]
    return record


def main() -> None:
    write_arrays_command(__doc__, record_of, files=80, seed=7)


if __name__ == "__main__":
    main()

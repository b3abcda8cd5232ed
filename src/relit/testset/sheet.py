"""Contact sheet of a test set: python -m relit.testset.sheet FOLDER FILE.jpg"""

import argparse
import tarfile
from pathlib import Path

import cv2
import numpy as np

from relit.errors import InputError, run_script

TILE_PX = 144
QUALITY = 78


def contact_sheet(folder: Path, across: int) -> np.ndarray:
    """(H, W, 3) uint8 BGR: the photos of a set in their order."""
    tiles = []
    for path in sorted(folder.glob("shard-*.tar")):
        with tarfile.open(path) as shard:
            for member in shard:
                if member.name.endswith(".photo.jpg"):
                    picture = cv2.imdecode(np.frombuffer(shard.extractfile(member).read(), np.uint8), cv2.IMREAD_COLOR)
                    tiles.append(cv2.resize(picture, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA))
    if not tiles:
        raise InputError(f"{folder} holds no photos in shards; give the folder of a test set")
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % across)
    return np.vstack([np.hstack(tiles[row : row + across]) for row in range(0, len(tiles), across)])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--across", type=int, default=16, help="photos in a row")
    given = parser.parse_args()
    cv2.imwrite(str(given.output), contact_sheet(given.folder, given.across), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    run_script(main)

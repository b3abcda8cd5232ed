"""Rates at which training reads its pairs: python bench/loader.py [--pairs FOLDER] [--batch N]

Two ways in: decoded arrays of `relit.train.pairs`, as the training scripts read them, augmented; and tar shards of
`relit synth --kind uv`, decoded. Without --pairs, both are drawn first, a few subjects only, which
then lie in the page cache: the figures are those of decoding, not of the disk.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from relit.synth.sample import Order
from relit.synth.writer import read_dataset, write_dataset
from relit.train.arrays import write_arrays
from relit.train.delight import Pairs, spoiled
from relit.train.pairs import record_of


def arrays_per_second(folder: Path, batch: int, split: str, batches: int = 20) -> float:
    """Augmented pairs per second of one process."""
    pairs, generator = Pairs(folder, split, torch.device("cpu")), np.random.default_rng(0)
    spoiled(pairs.random(batch, generator), torch.Generator().manual_seed(0))
    start = time.perf_counter()
    for step in range(batches):
        spoiled(pairs.random(batch, generator), torch.Generator().manual_seed(step))
    return batches * batch / (time.perf_counter() - start)


def shards_per_second(folder: Path, passes: int = 3) -> float:
    """Decoded samples per second of one process, all files of a sample."""
    count, start = 0, time.perf_counter()
    for _ in range(passes):
        for _, files in read_dataset(folder):
            count += 1
            for name, data in files.items():
                if name.endswith("json"):
                    json.loads(data)
                else:
                    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, help="folder of relit.train.pairs; drawn when missing")
    parser.add_argument("--batch", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = given.pairs or Path(folder) / "pairs"
        if given.pairs is None:
            write_arrays(pairs, record_of, 1, seed=1)
        write_dataset(Path(folder) / "set", Order("uv", 8), 1)
        figures = {
            "pairs_256_per_second": round(arrays_per_second(pairs, given.batch, "train"), 1),
            "shard_samples_512_per_second": round(shards_per_second(Path(folder) / "set"), 2),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

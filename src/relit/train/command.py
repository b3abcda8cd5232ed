"""The command line of a training that makes its own records: `records FOLDER`, then `train FOLDER RUN`."""

import argparse
from collections.abc import Iterable
from pathlib import Path


def records_or_train(about: str, configs: Iterable[str], unit: str, files: int, seed: int) -> argparse.Namespace:
    """What was asked for; `step` is "records" or "train".

    Args:
        unit: what a file of records holds.
        files, seed: of the records, unless others are given.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    make = steps.add_parser("records", help="make records")
    make.add_argument("records", type=Path)
    make.add_argument("--files", type=int, default=files, help=f"of {unit}")
    make.add_argument("--seed", type=int, default=seed)
    make.add_argument("--split", default="train")
    make.add_argument("--workers", type=int, default=1)
    learn = steps.add_parser("train", help="train on them")
    learn.add_argument("records", type=Path)
    learn.add_argument("run", type=Path, help="folder of results")
    learn.add_argument("--config", choices=configs, default="cpu")
    learn.add_argument("--minutes", type=float, default=1e6)
    learn.add_argument("--ship", action="store_true", help="put the result, with its card, among the package's assets")
    return parser.parse_args()

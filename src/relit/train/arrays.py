"""Records of training in arrays of numpy, a file at a time: made by several processes, gone on with, read at random."""

import argparse
import os
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

PER_FILE = 32  # records


def write_arrays(
    folder: Path,
    record_of: Callable[[int, int, str], np.void],
    files: int,
    seed: int,
    split: str = "train",
    workers: int = 1,
    per_file: int = PER_FILE,
):
    """Writes `files` arrays of `per_file` records each; those that are there already stay, so that a run can go on.

    Args:
        record_of: makes a record of (seed, index, split); a function of a module, so that processes can find it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [k for k in range(files) if not _path(folder, split, k).exists()]
    with get_context("spawn").Pool(workers) as pool:
        for _ in pool.imap_unordered(_write_file, [(folder, record_of, k, seed, split, per_file) for k in numbers]):
            pass


def write_arrays_command(doc: str, record_of: Callable[[int, int, str], np.void], files: int, seed: int) -> None:
    """Command line of `write_arrays`, with these defaults."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=files, help=f"of {PER_FILE} subjects each")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--split", default="train")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    write_arrays(given.folder, record_of, given.files, given.seed, given.split, given.workers)


class Records:
    """Batches from the arrays in a folder; files that appear while training are taken up by `refresh`."""

    def __init__(self, folder: Path, split: str, device: torch.device):
        self.folder, self.split, self.device = folder, split, device
        self.refresh()

    def refresh(self) -> None:
        """Maps the finished files; raises SystemExit where there are none."""
        paths = sorted(self.folder.glob(f"{self.split}-*.npy"))
        self.files = [np.load(path, mmap_mode="r") for path in paths]
        if not self.files:
            raise SystemExit(f"there are no records of the split {self.split!r} in {self.folder}; make them first")

    def __len__(self) -> int:
        return len(self.files) * len(self.files[0])

    def planes(self, numbers: np.ndarray, lights: np.ndarray, of_light: tuple[str, ...] = ("lit", "visible")):
        """All fields of some records, (B, C, H, W) in [0, 1] by name.

        Args:
            numbers: (B,) of the records.
            lights: (B,) which of their lights is read in the fields `of_light`.
        """
        per_file = len(self.files[0])
        chosen = [self.files[n // per_file][n % per_file] for n in numbers]
        stacked = {
            name: np.stack([r[name][k] if name in of_light else r[name] for r, k in zip(chosen, lights, strict=True)])
            for name in self.files[0].dtype.names
        }
        return {name: _planes(values, self.device) for name, values in stacked.items()}


def _planes(values: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(values).to(device).float() / 255
    return tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()


def _path(folder: Path, split: str, number: int) -> Path:
    return folder / f"{split}-{number:05d}.npy"


def _write_file(job: tuple[Path, Callable, int, int, str, int]) -> None:
    folder, record_of, number, seed, split, per_file = job
    torch.set_num_threads(1)
    records = np.array([record_of(seed, number * per_file + k, split) for k in range(per_file)])
    path = _path(folder, split, number)
    partial = path.with_suffix(f".{os.getpid()}")
    with open(partial, "wb") as stream_out:
        np.save(stream_out, records)
    partial.replace(path)

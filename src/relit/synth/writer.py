"""Writes data sets as tar shards (webdataset's format) that can be interrupted and resumed without a difference."""

import json
import os
import signal
import tarfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from relit import __version__
from relit.errors import OutputRefused
from relit.models.registry import cards
from relit.progress import SILENT, Progress
from relit.synth.sample import CODING, FILES, Order, make_sample

MANIFEST = "dataset.json"
_BLOCK = 512
ASSETS = ("age", "hair", "hand", "head", "scenes", "skin", "skin_detail", "skin_portraits")  # what the bytes depend on
_AHEAD = 4  # samples per worker that may wait to be written


def write_dataset(folder: Path, order: Order, workers: int = 1, progress: Progress = SILENT) -> list[Path]:
    """The shards of a data set, in order; those and the samples that are already there are kept.

    Args:
        folder: a new one, or one that an interrupted call with the same order left.
        workers: processes; 1 works in this one. The bytes do not depend on it.

    Raises:
        OutputRefused: the folder holds something else.
        InputError: the order cannot be made.
    """
    order.check()
    if folder.exists() and not folder.is_dir():
        raise OutputRefused(f"{folder} is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, order)
    shards = [folder / f"shard-{k:06d}.tar" for k in range(-(-order.count // order.shard_size))]
    done = [_finished(path, order, k) for k, path in enumerate(shards)]
    todo = [k for k, path in enumerate(shards) if not path.exists()]
    missing = [i for k in todo for i in range(k * order.shard_size + done[k], k * order.shard_size + _length(order, k))]
    with progress.stage(f"synth {order.kind}") as step, closing(_samples(order, missing, workers)) as samples:
        written = order.count - len(missing)
        step(written, order.count)
        for k in todo:
            partial = _partial(shards[k])
            with partial.open("ab") as file:
                for index in range(k * order.shard_size + done[k], k * order.shard_size + _length(order, k)):
                    file.write(_members(index, next(samples)))
                    file.flush()
                    written += 1
                    step(written, order.count)
                file.write(bytes(2 * _BLOCK))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(shards[k])
    return shards


def read_dataset(folder: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Key and files by extension of every sample of a data set, finished shards only."""
    for path in sorted(folder.glob("shard-*.tar")):
        with tarfile.open(path) as shard:
            key, files = "", {}
            for member in shard:
                name, _, extension = member.name.partition(".")
                if name != key and files:
                    yield key, files
                    files = {}
                key = name
                files[extension] = shard.extractfile(member).read()
            if files:
                yield key, files


def _claim(folder: Path, order: Order) -> None:
    """Writes the manifest, or makes sure that the one that is there says the same."""
    hashes = {name: cards()[name]["sha256"] for name in ASSETS}
    coding = {name: CODING[name] for name in FILES[order.kind]}
    given = {**asdict(order), "skins": list(order.skins), "lights": list(order.lights)}
    wanted = {"relit": __version__, "order": given, "assets": hashes, "files": coding}
    text = json.dumps(wanted, indent=1) + "\n"
    path = folder / MANIFEST
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise OutputRefused(f"{folder} holds another data set, or was begun by another version; choose a new folder")
        return
    if any(folder.iterdir()):
        raise OutputRefused(f"{folder} is not empty and holds no {MANIFEST}; choose a new folder")
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _length(order: Order, shard: int) -> int:
    return min(order.shard_size, order.count - shard * order.shard_size)


def _partial(path: Path) -> Path:
    return path.with_suffix(".tar.partial")


def _finished(path: Path, order: Order, shard: int) -> int:
    """How many samples of a shard are there; what an interrupt cut off in a sample is removed."""
    if path.exists():
        return _length(order, shard)
    partial = _partial(path)
    if not partial.exists():
        return 0
    end, samples = 0, 0
    with partial.open("r+b") as file:
        size, last = partial.stat().st_size, FILES[order.kind][-1]
        at = 0
        while at + _BLOCK <= size:
            file.seek(at)
            try:
                info = tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "strict")
            except tarfile.HeaderError:
                break
            at += _BLOCK + -(-info.size // _BLOCK) * _BLOCK
            if at <= size and info.name.endswith(f".{last}"):
                end, samples = at, samples + 1
        file.truncate(end)
    return samples


def _members(index: int, files: dict[str, bytes]) -> bytes:
    """The tar members of one sample, with nothing in them that depends on time or user."""
    parts = []
    for extension, data in files.items():
        info = tarfile.TarInfo(f"{index:08d}.{extension}")
        info.size, info.mode = len(data), 0o644
        parts += [info.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % _BLOCK)]
    return b"".join(parts)


def _samples(order: Order, indices: list[int], workers: int) -> Iterator[dict[str, bytes]]:
    """The samples in order, made ahead by worker processes."""
    if workers == 1 or len(indices) < 2:
        for index in indices:
            with _one_thread():
                sample = make_sample(order, index)
            yield sample
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=start_worker)
    try:
        waiting = deque()
        for index in indices:
            waiting.append(pool.submit(make_sample, order, index))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread():
    """On one thread, as worker processes are: sums in another order would change the last digits."""
    before = _use_threads(1, 1, 1)
    try:
        yield
    finally:
        _use_threads(*before)


def _use_threads(of_torch: int, of_numba: int, of_opencv: int) -> tuple[int, int, int]:
    """Sets how many threads each library uses; the numbers before."""
    import cv2
    import numba
    import torch

    before = torch.get_num_threads(), numba.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(of_torch)
    numba.set_num_threads(of_numba)
    cv2.setNumThreads(of_opencv)
    return before


def start_worker() -> None:
    """Makes a worker process use one thread and leave interrupts to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _use_threads(1, 1, 1)

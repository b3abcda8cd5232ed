"""Rates of the synthetic-subject engine: python bench/synth.py [--kind uv|photo] [--workers N] [--count N]

Measures whole samples as they are written: drawn, shaded, encoded, packed. The first samples, which load models and
compile kernels, are left out.
"""

import argparse
import json
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from relit.synth.sample import KINDS, Order, make_sample
from relit.synth.writer import write_dataset


class Clock:
    """Remembers when each sample was done."""

    def __init__(self):
        self.times: list[float] = []

    @contextmanager
    def stage(self, name: str):
        yield lambda done, total: self.times.append(time.perf_counter())


def rate(kind: str, count: int, workers: int) -> float:
    """Samples per second, after the first 4 per worker."""
    clock, warm = Clock(), 4 * workers
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "set", Order(kind, count + warm), workers, clock)
    return count / (clock.times[-1] - clock.times[-1 - count])


def cpu_seconds(kind: str, count: int) -> float:
    """Processor seconds per sample of one process: what the rate comes to on free cores, whatever else is running."""
    order = Order(kind, count + 3)
    for index in range(3):
        make_sample(order, index)
    start = time.process_time()
    for index in range(3, count + 3):
        make_sample(order, index)
    return (time.process_time() - start) / count


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--count", type=int, default=24)
    given = parser.parse_args()
    for kind in given.kind or KINDS:
        found = {"kind": kind, "workers": given.workers, "cpu_seconds_per_sample": round(cpu_seconds(kind, 8), 3)}
        found["samples_per_second"] = round(rate(kind, given.count, given.workers), 2)
        print(json.dumps({**found, "load": round(os.getloadavg()[0], 1)}), flush=True)


if __name__ == "__main__":
    main()

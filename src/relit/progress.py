"""Progress of long work: stages that report steps, and the ways to show them.

Every stage function takes `progress: Progress = SILENT` and writes

    with progress.stage("fit") as step:
        for i in range(300):
            ...
            step(i + 1, 300)

`step` may be called often, rarely or never.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

Step = Callable[[int, int], None]  # step(done, total)


@runtime_checkable
class Progress(Protocol):
    """Where stages report to."""

    def stage(self, name: str) -> AbstractContextManager[Step]:
        """A context for the work called `name`; it yields `step(done, total)`."""
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str):
        yield lambda done, total: None


SILENT = Silent()


class Stopwatch:
    """Passes everything on to another progress and keeps `seconds` of each outermost stage; equal names add up."""

    def __init__(self, shown: Progress = SILENT):
        self.seconds: dict[str, float] = {}
        self._shown = shown
        self._depth = 0

    @contextmanager
    def stage(self, name: str):
        start = time.perf_counter()
        self._depth += 1
        try:
            with self._shown.stage(name) as step:
                yield step
        finally:
            self._depth -= 1
            if self._depth == 0:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Lines:
    """One plain line per finished stage: for logs and pipes."""

    def __init__(self, stream=None):
        self._stream = stream or sys.stderr

    @contextmanager
    def stage(self, name: str):
        start = time.perf_counter()
        yield lambda done, total: None
        print(f"{name:<24} {time.perf_counter() - start:7.1f} s", file=self._stream, flush=True)


class JsonLines:
    """One JSON object per finished stage: `{"stage": "fit", "seconds": 12.3}`."""

    def __init__(self, stream=None):
        self._stream = stream or sys.stdout

    @contextmanager
    def stage(self, name: str):
        start = time.perf_counter()
        yield lambda done, total: None
        seconds = round(time.perf_counter() - start, 3)
        print(json.dumps({"stage": name, "seconds": seconds}), file=self._stream, flush=True)


class Bars:
    """A bar per stage on a terminal, drawn by rich; use it as a context."""

    def __enter__(self):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn("dots", finished_text="[green]✓"), TextColumn("{task.description:<24}"), BarColumn(28))
        self._bars = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
        self._bars.start()
        return self

    def __exit__(self, *error):
        self._bars.stop()

    @contextmanager
    def stage(self, name: str):
        task = self._bars.add_task(name, total=None)
        yield lambda done, total: self._bars.update(task, completed=done, total=total)
        self._bars.update(task, total=1, completed=1)


@contextmanager
def shown_progress(as_json: bool):
    """The progress that suits the caller: JSON lines when asked for, bars on a terminal, plain lines elsewhere."""
    if as_json:
        yield JsonLines()
    elif sys.stderr.isatty():
        with Bars() as bars:
            yield bars
    else:
        yield Lines()

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

EVERY_SECONDS = 10.0  # between lines about a long stage; a bar shows its pace from then on
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


class Pace:
    """Speed and time left of one stage, counted from the first step told, so that resumed work does not flatter it."""

    def __init__(self):
        self._first: tuple[float, int] | None = None
        self._told = time.perf_counter()

    def step(self, done: int, total: int) -> str:
        """Such as "120/1000  3.10/s  4:43 left"; without speed at the first step."""
        now = time.perf_counter()
        first = self._first = self._first or (now, done)
        if done == first[1] or now == first[0]:
            return f"{done}/{total}"
        rate = (done - first[1]) / (now - first[0])
        left = round((total - done) / rate)
        clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}" if left >= 3600 else f"{left // 60}:{left % 60:02}"
        return f"{done}/{total}  {rate:.2f}/s  {clock} left"

    def due(self) -> bool:
        """Whether EVERY_SECONDS have passed since this was last true."""
        now = time.perf_counter()
        if now - self._told < EVERY_SECONDS:
            return False
        self._told = now
        return True


class Lines:
    """One plain line per finished stage, and one every now and then of a long one: for logs and pipes."""

    def __init__(self, stream=None):
        self._stream = stream or sys.stderr

    @contextmanager
    def stage(self, name: str):
        start, pace = time.perf_counter(), Pace()

        def step(done: int, total: int) -> None:
            text = pace.step(done, total)
            if pace.due():
                print(f"{name:<24} {text}", file=self._stream, flush=True)

        yield step
        print(f"{name:<24} {time.perf_counter() - start:7.1f} s", file=self._stream, flush=True)


class JsonLines:
    """One JSON object per finished stage: `{"stage": "fit", "seconds": 12.3}`; of a long one now and then its pace."""

    def __init__(self, stream=None):
        self._stream = stream or sys.stdout

    @contextmanager
    def stage(self, name: str):
        start, pace = time.perf_counter(), Pace()

        def step(done: int, total: int) -> None:
            text = pace.step(done, total)
            if pace.due():
                print(json.dumps({"stage": name, "pace": text}), file=self._stream, flush=True)

        yield step
        seconds = round(time.perf_counter() - start, 3)
        print(json.dumps({"stage": name, "seconds": seconds}), file=self._stream, flush=True)


class Bars:
    """A bar per stage on a terminal, drawn by rich; use it as a context."""

    def __enter__(self):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn("dots", finished_text="[green]✓"), TextColumn("{task.description:<24}"), BarColumn(28))
        pace = TextColumn("{task.fields[pace]}")
        self._bars = Progress(*columns, TimeElapsedColumn(), pace, console=Console(stderr=True))
        self._bars.start()
        return self

    def __exit__(self, *error):
        self._bars.stop()

    @contextmanager
    def stage(self, name: str):
        task, pace, start = self._bars.add_task(name, total=None, pace=""), Pace(), time.perf_counter()

        def step(done: int, total: int) -> None:
            text = pace.step(done, total)
            self._bars.update(
                task, completed=done, total=total, pace=text if time.perf_counter() > start + EVERY_SECONDS else ""
            )

        yield step
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

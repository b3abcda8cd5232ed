"""Runs methods over a test set: one JSON line per photo, resumable, then a table.

OUT/METHOD.jsonl     a line per photo, written when the photo is done
OUT/METHOD/KEY.*     pictures and per-vertex errors of the photo, for the plots
OUT/summary.json     means over photos
"""

import itertools
import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from relit.errors import AssetError, InputError, RelitError
from relit.evaluation.case import Case
from relit.evaluation.contenders import Answer, Contender, contender, true_answer
from relit.evaluation.evidence import embeddings, keep_evidence
from relit.evaluation.memory import forget_peak_memory, peak_memory_gb
from relit.evaluation.metrics import METRICS
from relit.evaluation.metrics.tone import true_ita_deg
from relit.evaluation.reference import Reference
from relit.evaluation.testset import TruthSet, fingerprint_of, open_testset, read_photo, read_subject
from relit.progress import SILENT, Progress
from relit.synth.writer import start_worker

SMALLEST_SIZE = 512  # texels along an edge: the truth's
GOLDEN_SECTION = (3 - math.sqrt(5)) / 2
HARNESS = 1  # raised when a metric changes: older lines are measured again


@dataclass(frozen=True)
class Item:
    """What is fitted and judged at once."""

    key: str
    subject: str
    photos: tuple[str, ...]  # fitted together
    target: str | None = None  # the soft-light photo of a texture swap


@dataclass(frozen=True)
class Task:
    """One item for the methods that have no record of it, as it is sent to a worker."""

    methods: tuple[str, ...]
    data: Path
    item: Item
    size: tuple[int, int]
    out: Path


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and how."""

    data: str  # name or folder of the set
    out: Path
    size: int = 1024  # of the recovered maps, in texels along an edge
    limit: int | None = None  # only so many photos (or groups of photos)
    photos: int = 1  # 3 fits the three photos of each subject that has three together
    jobs: int = 1  # processes


def default_folder(results: Path, data: str, photos: int) -> Path:
    """Where the records of a set are kept; those of three photos at once apart."""
    return results / "evaluate" / (data if photos == 1 else f"{data}_three")


def evaluate(methods: list[str], plan: Plan, progress: Progress = SILENT) -> dict[str, list[dict]]:
    """The records of every method over a set, in the set's order; what is already in `plan.out` is not measured again.

    Raises:
        InputError: no such method or set, or the set has no such groups.
        AssetError: something that a method needs is missing.
    """
    size, out = plan.size, plan.out
    if size < SMALLEST_SIZE:
        raise InputError(f"--size must be {SMALLEST_SIZE} or more, the truth's own size, got {size}")
    methods = list(dict.fromkeys(methods))
    chosen = [contender(name) for name in methods]
    opened = open_testset(plan.data)
    items = spread(items_of(opened, plan.photos))[: plan.limit]
    truths = {item.key: fingerprint(opened, item) for item in items}
    out.mkdir(parents=True, exist_ok=True)
    done = {method.name: kept_lines(out / f"{method.name}.jsonl", stamp_of(method, size), truths) for method in chosen}
    todo = []
    for item in items:
        missing = tuple(name for name, method in zip(methods, chosen, strict=True) if item.key not in done[method.name])
        if missing:
            todo.append(Task(missing, opened.folder, item, (size, size), out))
    total = len(items) * len(chosen)
    count = total - sum(len(task.methods) for task in todo)
    with progress.stage(", ".join(done)) as step:
        step(count, total)
        for record in _measured(todo, plan.jobs):
            done[record["method"]][record["key"]] = record
            count += 1
            step(count, total)
    order = [item.key for item in items_of(opened, plan.photos) if item.key in truths]
    return {name: [records[key] for key in order] for name, records in done.items()}


def recorded(methods: list[str], plan: Plan) -> dict[str, list[dict]]:
    """The records that `plan.out` holds already, in the set's order, of the methods that have any; nothing is measured.

    Raises:
        InputError, AssetError: as `evaluate`.
    """
    opened = open_testset(plan.data)
    truths = {item.key: fingerprint(opened, item) for item in items_of(opened, plan.photos)}
    chosen = [contender(name) for name in methods]
    done = {one.name: kept_lines(plan.out / f"{one.name}.jsonl", stamp_of(one, plan.size), truths) for one in chosen}
    return {name: [kept[key] for key in truths if key in kept] for name, kept in done.items() if kept}


def spread(items: list[Item]) -> list[Item]:
    """The items in an order of which every beginning is a fair sample: a run may be cut short, by --limit or by an interrupt.

    A set lists one light of everybody, then the next. Steps of the golden section visit subjects and lights evenly.
    """
    count = len(items)
    step = next(step for step in itertools.count(max(1, round(GOLDEN_SECTION * count))) if math.gcd(step, count) == 1)
    return [items[index * step % count] for index in range(count)]


def items_of(data: TruthSet, photos: int) -> list[Item]:
    """What is to be judged, in the set's order.

    Raises:
        InputError: groups of three are asked for and the set has none.
    """
    if photos == 3:
        groups: dict[str, list[str]] = {}
        for key in data.photos:
            groups.setdefault(data.subject_of(key), []).append(key)
        three = {subject: tuple(sorted(keys)) for subject, keys in sorted(groups.items()) if len(keys) == 3}
        items = [Item(f"{subject}_abc", subject, keys) for subject, keys in three.items()]
        if not items:
            raise InputError(f"no subject of {data.name} has three photos; leave --photos 3 away")
        return items
    targets = {key: key.removesuffix("_hard") + "_soft" for key in data.photos if key.endswith("_hard")}
    alone = [key for key in data.photos if key not in targets.values()]
    return [Item(key, data.subject_of(key), (key,), targets.get(key)) for key in alone]


def fingerprint(data: TruthSet, item: Item) -> str:
    """Of all that is known of an item: changes where its photos or its truth do, and nowhere else."""
    return fingerprint_of(data, (item.subject, *item.photos, *([item.target] if item.target else [])))


def stamp_of(method: Contender, size: int) -> dict:
    """What a line must agree with to be kept."""
    return {"method": method.name, "version": method.version, "size": size, "harness": HARNESS}


def kept_lines(path: Path, stamp: dict, truths: dict[str, str]) -> dict[str, dict]:
    """The records in a file that still hold, by key; others, crashes and a line cut off by an interrupt are removed.

    Args:
        stamp: what every record must agree with.
        truths: the fingerprint of each item; records of items that are not asked for are kept.
    """
    if not path.exists():
        return {}
    kept = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        wanted = {**stamp, "truth": truths.get(record.get("key"), record.get("truth"))}
        if all(record.get(name) == value for name, value in wanted.items()) and not record.get("crashed"):
            kept[record["key"]] = record
    if len(kept) < len(lines):
        draft = path.with_suffix(".draft")
        draft.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept.values()), encoding="utf-8")
        draft.replace(path)
    return kept


def measure(task: Task) -> Iterator[dict]:
    """The record of one item by each method of the task, each on disk when it is given.

    Methods get the very same photos, one after the other, and are judged by the same reference: what they share is
    worked out once.
    """
    data = open_cached(task.data)
    photo_of = lambda key: read_photo(data, key)  # noqa: E731
    item = task.item
    known = Reference(
        read_subject(data, item.subject), tuple(map(photo_of, item.photos)), photo_of(item.target) if item.target else None
    )
    for name in task.methods:
        method = contender(name)
        record = {
            **stamp_of(method, task.size[0]),
            "truth": fingerprint(data, item),
            "key": item.key,
            "subject": item.subject,
            "tags": sorted({tag for photo in known.photos for tag in photo.tags}),
        }
        record |= judged(method, known, task.size, task.out / method.name / item.key)
        append_line(task.out / f"{method.name}.jsonl", record)
        yield record


def judged(method: Contender, known: Reference, size: tuple[int, int], evidence: Path) -> dict:
    """Metrics by name and cost of a method's answer; a method that fails gives its error line instead.

    Args:
        evidence: where to leave pictures and errors, without suffix.
    """
    if method.name == "truth":
        method = replace(method, run=lambda given, size: true_answer(known.subject, known.photos))
    try:
        answer, cost = timed(method, [photo.photo for photo in known.photos], size)
        other = timed(method, [known.target.photo], size)[0] if known.target else None
    except AssetError:
        raise
    except RelitError as error:
        return {"failure": f"{type(error).__name__}: {error}"}
    except Exception as error:  # a method of the outside may fail in any way; the other photos are judged all the same
        return {"failure": f"{type(error).__name__}: {error}", "crashed": True}
    case = Case(known, answer, other)
    record = {**cost, **measured(case), "ita_true": _finite(true_ita_deg(case))}
    if answer.head is not None:
        record["embeddings"] = embeddings(case)
    keep_evidence(case, evidence)
    return record


def append_line(path: Path, record: dict) -> None:
    """Adds a record to a file of them in one write, so that processes may share the file."""
    line = (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line)
        os.fsync(file)
    finally:
        os.close(file)


def measured(case: Case) -> dict:
    """All metrics that apply to a case, by name; those whose network is not installed are listed as absent."""
    values, absent = {}, []
    for name, metric in METRICS.items():
        if metric.applies(case):
            try:
                values[name] = _finite(metric.function(case))
            except AssetError:
                absent.append(name)
    return {"metrics": values, **({"absent": absent} if absent else {})}


def timed(method: Contender, photos: list, size: tuple[int, int]) -> tuple[Answer, dict]:
    """The answer, with the seconds of each stage and in all, and the peak memory of the process meanwhile in GB."""
    forget_peak_memory()
    start = time.perf_counter()
    answer = method.run(photos, size)
    elapsed, stages = time.perf_counter() - start, answer.seconds or {}
    seconds = {**stages, "total": max(elapsed, sum(stages.values()))}  # stages shared with an earlier method count, too
    cost = {"seconds": {name: round(value, 3) for name, value in seconds.items()}, "peak_gb": round(peak_memory_gb(), 3)}
    return answer, cost


@lru_cache(maxsize=2)
def open_cached(folder: Path) -> TruthSet:
    """The set, hashed once per process."""
    return open_testset(folder)


def _measured(tasks: list[Task], jobs: int) -> Iterator[dict]:
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            yield from measure(task)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=start_worker)
    try:
        for future in as_completed([pool.submit(_measure_all, task) for task in tasks]):
            yield from future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _measure_all(task: Task) -> list[dict]:
    return list(measure(task))


def _finite(value):
    """The figure with six digits; None where it is not a number."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return float(f"{value:.6g}") if math.isfinite(value) else None

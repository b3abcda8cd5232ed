"""Means over photos, and the table of methods."""

import json
from pathlib import Path
from statistics import mean, pstdev

from relit.evaluation.groups import fairness, verification
from relit.evaluation.metrics import METRICS


def summarise(records: dict[str, list[dict]]) -> dict[str, dict]:
    """By method: how many photos it solved; of every figure the mean, standard deviation and count; pairs; skin types."""
    result = {}
    for method, lines in records.items():
        good = [line for line in lines if "failure" not in line]
        figures: dict[str, list[float]] = {}
        for line in good:
            for name, value in flat(line).items():
                if value is not None:
                    figures.setdefault(name, []).append(value)
        result[method] = {
            "photos": len(lines),
            "solved": len(good),
            "figures": {
                name: {"mean": mean(values), "sd": pstdev(values), "count": len(values)} for name, values in figures.items()
            },
            "verification": verification(good),
            "fairness": fairness(good),
        }
    return result


def flat(line: dict) -> dict[str, float | None]:
    """The figures of a record with their parts joined to their names: `albedo_psnr.visible`."""
    nested = {**line["metrics"], "seconds": line["seconds"], "peak_gb": line["peak_gb"]}
    result = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            result |= {f"{name}.{part}": number for part, number in value.items()}
        else:
            result[name] = value
    return result


def write_summary(summary: dict, path: Path) -> None:
    """As JSON, whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def rows(summary: dict[str, dict]) -> tuple[list[str], list[list[str]]]:
    """The table's head and its rows: a figure each, a column per method; "-" where a method has none."""
    methods = list(summary)
    names = dict.fromkeys(name for method in methods for name in summary[method]["figures"])
    lines = [["photos solved", "", *(f"{summary[m]['solved']} of {summary[m]['photos']}" for m in methods)]]
    for name in names:
        cells = [summary[m]["figures"].get(name) for m in methods]
        lines.append([name, unit_of(name), *("-" if cell is None else f"{cell['mean']:.3g}" for cell in cells)])
    for name, unit, read in _WHOLE_SET:
        values = [read(summary[method]) for method in methods]
        if any(value is not None for value in values):
            lines.append([name, unit, *("-" if value is None else f"{value:.3g}" for value in values)])
    return ["figure", "unit", *methods], lines


_WHOLE_SET = (
    ("equal error rate, dlib", "% ↓", lambda s: _percent(s["verification"].get("dlib"))),
    ("equal error rate, SFace", "% ↓", lambda s: _percent(s["verification"].get("sface"))),
    ("ita_error spread over skin types", "degrees ↓", lambda s: s["fairness"].get("spread_deg")),
    ("ita_error bias over skin types", "degrees ↓", lambda s: s["fairness"].get("bias_deg")),
)


def _percent(found: dict | None) -> float | None:
    return None if found is None else 100 * found["equal_error_rate"]


def unit_of(name: str) -> str:
    """The unit of a figure and whether high or low is good."""
    metric = METRICS.get(name.partition(".")[0])
    if metric is None:
        return {"seconds": "s", "peak_gb": "GB"}.get(name.partition(".")[0], "")
    return f"{metric.unit} {'↑' if metric.best == 'high' else '↓'}".strip()


def printed(summary: dict[str, dict]) -> str:
    """The table as aligned text."""
    head, lines = rows(summary)
    widths = [max(len(row[k]) for row in (head, *lines)) for k in range(len(head))]
    text = lambda row: "  ".join(  # noqa: E731
        cell.ljust(width) if k < 2 else cell.rjust(width) for k, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "\n".join([text(head), *map(text, lines)])

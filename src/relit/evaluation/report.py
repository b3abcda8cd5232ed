"""docs/results.md: what was asked, what was measured, how, and where it falls short."""

import math
from statistics import mean, median

from relit.evaluation.identity import SAME_PERSON
from relit.evaluation.portraits import LIGHTS, YAWS_DEG
from relit.evaluation.shapes import ShapeRecord

# Individual typology angle: lower bound of each group, degrees (Chardon et al. 1991)
TYPOLOGY = (("very light", 55), ("light", 41), ("intermediate", 28), ("tan", 10), ("brown", -30), ("dark", -math.inf))
QUICK_S = {"ganfit": 60, "fitme": 90}  # what one photo may cost, warm, on two cores
AFTER_FIT_S = {"yamaguchi": 15}  # the same from the fit that all methods share to the head
LARGEST_S, LARGEST_GB = 90, 8  # what maps of 6144 x 4096 may cost


def table(head: list[str], rows: list[list[object]]) -> str:
    """A Markdown table; floats get two decimals."""
    text = lambda cell: f"{cell:.2f}" if isinstance(cell, float) else str(cell)  # noqa: E731
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(text, row)) + " |" for row in rows]) + "\n"


def typology_group(angle_deg: float) -> str:
    """The name of the skin-tone group of an individual typology angle."""
    return next(name for name, bound in TYPOLOGY if angle_deg > bound)


def bars(records: list[dict], shapes: list[ShapeRecord], issues: dict | None, cost: dict) -> list[list[object]]:
    """Rows (what, bar, measured, met) of the claims."""
    good = [record for record in records if "failure" not in record]
    rows: list[list[object]] = []

    def claim(what: str, bar: str, measured: str, met: bool) -> None:
        rows.append([what, bar, measured, "yes" if met else "**no**"])

    warm, memory = cost["warm"]["total"], cost["peak_rss_gb"]
    met = warm <= 60 and memory <= 4
    claim("one photo, 2048 maps, warm, 2 cores", "<= 60 s, <= 4 GB", f"{warm:.0f} s, {memory:.1f} GB", met)
    total = len(records)
    claim("portraits that become an avatar", f"{total} of {total}", f"{len(good)} of {total}", len(good) == total)
    if good:
        residual = mean(record["landmark_percent"] for record in good)
        claim("landmark residual, visible points", "mean <= 3.0 %", f"{residual:.2f} %", residual <= 3.0)
        own = [record["identity_own"] for record in good]
        same = sum(value < SAME_PERSON for value in own)
        need = math.ceil(0.88 * total)
        claim(
            "identity, own pose and light",
            f"< {SAME_PERSON} for >= {need} of {total}, mean <= 0.45",
            f"{same} of {total}, mean {mean(own):.2f}",
            same >= need and mean(own) <= 0.45,
        )
        new = [record["identity_new_mean"] for record in good]
        worst = sum(record["identity_new_worst"] < SAME_PERSON for record in good)
        same, need = sum(value < SAME_PERSON for value in new), math.ceil(0.72 * total)
        claim(
            "identity, three new lights at +-25 degrees of yaw",
            f"< {SAME_PERSON} for >= {need} of {total}",
            f"{same} of {total} (all six renders: {worst}), mean {mean(new):.2f}",
            same >= need,
        )
    fitted = [shape for shape in shapes if not shape.failure]
    if fitted:
        error, base = mean(s.fitted_mm for s in fitted), mean(s.mean_face_mm for s in fitted)
        claim(f"shape of {len(shapes)} known faces, one photo each", "<= 1.1 mm", f"{error:.2f} mm", error <= 1.1)
        gain = 1 - error / base
        claim("the same against the mean face", ">= 30 % less", f"{gain:.0%} less than {base:.2f} mm", gain >= 0.3)
    if issues is None:
        claim("gltf-validator on every GLB", "0 errors, 0 warnings", "not run: gltf-validator is not installed", False)
    else:
        errors, warnings = (sum(found[key] for found in issues.values()) for key in ("numErrors", "numWarnings"))
        measured = f"{errors} errors, {warnings} warnings in {len(issues)} files"
        claim("gltf-validator on every GLB", "0 errors, 0 warnings", measured, errors == warnings == 0)
    return rows


def results_page(records: list[dict], shapes: list[ShapeRecord], issues: dict | None, costs: dict, likeness: str) -> str:
    """The page up to the sets with known truth, as Markdown, without dates, paths or machine names.

    Args:
        costs: what bench/fit.py ("fit"; of the methods in QUICK_S and AFTER_FIT_S by their names), bench/render.py ("render")
            and bench/command.py ("command") found.
        likeness: a paragraph on how well renders tell persons apart.
    """
    cost = costs["fit"]
    good = sorted((r for r in records if "failure" not in r), key=lambda record: record["identity_own"])
    lights = ", ".join(LIGHTS)
    yaws = " and ".join(f"{yaw:+d}" for yaw in YAWS_DEG)
    parts = [
        "# Results\n",
        f"Made by `make results`; each figure can be made again from the same data. Measured here: {len(records)} portraits "
        "(people who do not exist, from SFHQ, MIT; and three in the public domain) and "
        f"{len(shapes)} faces of known shape.\n",
        table(["measured on", "bar", "measured", "met"], bars(records, shapes, issues, cost)),
        "![every head from the front in two lights](pictures/heads.jpg)\n",
        "![the NASA portrait: photo, own light, three new lights](pictures/close.jpg)\n",
        "## Is it the person?\n",
        "Distance of dlib's ResNet-29 embeddings between the photo and a render; below 0.6 dlib says same person. No part "
        "of relit was ever optimised against this network. Renders stand before plain grey, without hair and without one "
        "pixel of the photo, and the face is detected anew in each. *Own*: pose, expression and light of the photo. *New*: "
        f"the mean of six renders, the lights {lights} at {yaws} degrees of yaw; *worst* is the worst of the six. A render "
        "in which no face is found counts as 2. *Seconds* hold whatever else the machine did meanwhile; the quiet cost is "
        "below.\n",
        likeness,
        table(
            ["portrait", "own", "new", "worst", "landmarks %", "ITA", "seconds", "GB"],
            [
                [
                    r["name"], r["identity_own"], r["identity_new_mean"], r["identity_new_worst"], r["landmark_percent"],
                    f"{r['skin_typology_deg']:.0f}", f"{r['seconds']['total']:.0f}", f"{r['peak_rss_gb']:.1f}",
                ]
                for r in good
            ],
        ),
    ]  # fmt: skip
    failed = [[r["name"], r["failure"]] for r in records if "failure" in r]
    if failed:
        parts += ["Not fitted:\n", table(["portrait", "why"], failed)]
    parts += _fairness(good) + _shapes(shapes) + _cost(cost, costs) + _render_cost(costs.get("render"))
    return "\n".join(parts)


def _fairness(good: list[dict]) -> list[str]:
    rows = []
    for name, _ in TYPOLOGY:
        group = [r for r in good if typology_group(r["skin_typology_deg"]) == name]
        if group:
            own, new = mean(r["identity_own"] for r in group), mean(r["identity_new_mean"] for r in group)
            rows.append([name, len(group), own, new, mean(r["landmark_percent"] for r in group)])
    return [
        "## By skin tone\n",
        "Groups by the individual typology angle (ITA) of the fitted albedo of forehead, cheeks and chin. The angle is "
        "itself estimated from one photo, and the groups are small: read the table for gross differences only.\n",
        table(["skin (fitted)", "people", "own", "new", "landmarks %"], rows),
    ]


def _shapes(shapes: list[ShapeRecord]) -> list[str]:
    fitted = [shape for shape in shapes if not shape.failure]
    if not fitted:
        return []
    fields = ("name", "fitted_mm", "mean_face_mm", "fitted_rigid_mm", "mean_face_rigid_mm", "scale", "focal_ratio")
    rows = [[getattr(shape, field) for field in fields] for shape in shapes]
    columns = list(zip(*(row[1:] for row in rows if row[1] == row[1]), strict=True))
    rows.append(["mean", *(mean(column) for column in columns)])
    rows.append(["median", *(median(column) for column in columns)])
    return [
        "## Is it the shape?\n",
        "Identities drawn from ICT-FaceKit with unit Gaussian weights, photographed once from the front by Mitsuba 3 (own "
        "geometry, MakeHuman skins, painted brows, Poly Haven light, 50 to 85 mm). Error: from every vertex of the true "
        "narrow face that the camera sees to the neutral fitted surface, weighted by area, after alignment by seven "
        "landmarks and iterated closest points (NoW protocol), with free scale and, in the *rigid* columns, without. "
        "*Scale* is what the alignment multiplied the fitted head by, *focal* the fitted over the true focal length, which "
        "the photo does not tell. relit's shape statistics were learned from a mixture that holds other draws of the same "
        "model: this measures reading a photo, not the reach of the model on strangers.\n",
        table(["face", "fitted mm", "mean face mm", "rigid mm", "mean face rigid mm", "scale", "focal"], rows),
    ]


def _cost(cost: dict, costs: dict) -> list[str]:
    warm, cold = cost["warm"], cost["cold"]
    rows = [[stage, cold[stage], seconds, f"{seconds / warm['total']:.0%}"] for stage, seconds in warm.items()]
    slower = [[method, bar, *(costs[method][run]["total"] for run in ("cold", "warm"))] for method, bar in QUICK_S.items()]
    met = lambda row: "yes" if row[-1] <= row[1] else "**no**"  # noqa: E731
    shared = "observe", "landmarks", "fit"
    after = lambda run: run["total"] - sum(run[stage] for stage in shared)  # noqa: E731
    slower += [
        [f"{method}, after the fit", bar, *(after(costs[method][run]) for run in ("cold", "warm"))]
        for method, bar in AFTER_FIT_S.items()
    ]
    return [
        "## What does it cost?\n",
        f"`bench/fit.py`, the NASA portrait of scikit-image, {cost['size']} x {cost['size']} maps, two cores; peak memory "
        f"{cost['peak_rss_gb']:.1f} GB. Cold includes loading and compiling.\n",
        table(["stage", "cold s", "warm s", "share"], rows),
        "Other methods, by `bench/fit.py --method`:\n",
        table(["method", "bar, warm s", "cold s", "warm s", "met"], [[*row, met(row)] for row in slower]),
        *_largest_cost(costs["command"]),
    ]


def _largest_cost(found: dict) -> list[str]:
    runs = found["runs"]
    rows = []
    for name, seconds in (
        ("until all maps and the head are written", [run["wall"] - run["pictures"] for run in runs]),
        ("with the pictures of preview and report", [run["wall"] for run in runs]),
    ):
        met = "yes" if max(seconds) <= LARGEST_S else "**no**"
        rows.append([name, f"<= {LARGEST_S} s", f"{seconds[0]:.0f} s", f"{seconds[-1]:.0f} s", met])
    peak = max(run["peak_rss_gb"] for run in runs)
    rows.append(["peak memory", f"<= {LARGEST_GB} GB", f"{peak:.1f} GB", "", "yes" if peak <= LARGEST_GB else "**no**"])
    return [
        f"The whole command, `relit fit --size {found['size']}`, by `bench/command.py`:\n",
        table(["what", "bar", "first run", "again", "met"], rows),
    ]


def _render_cost(found: dict | None) -> list[str]:
    """The differentiable render beside Mitsuba's, where that was installed."""
    if found is None:
        return []
    rows = [["relit", found["relit"]["forward_ms"], found["relit"]["both_ms"]]]
    if found["mitsuba"]:
        name = f"Mitsuba 3 prb, {found['mitsuba']['samples']} samples"
        rows.append([name, found["mitsuba"]["forward_ms"], found["mitsuba"]["both_ms"]])
    missing = "" if found["mitsuba"] else " Mitsuba with LLVM was not there, so only relit's part was measured."
    size, busy = found["size_px"], found.get("load")
    load = f", while the machine had a load of {busy}" if busy is not None else ""
    return [
        f"`bench/render.py`: the render that the fit differentiates, {size} x {size}, {found['vertices']:,} vertices, "
        f"{found['threads']} threads{load}; median milliseconds.{missing} The two do different work: relit shades with "
        "prefiltered light and precomputed transfer, without noise; Mitsuba traces paths, and its silhouettes carry no "
        "gradient.\n",
        table(["renderer", "forward ms", "forward + backward ms"], rows),
    ]

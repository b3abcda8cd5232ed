"""The part of docs/results.md that is about test sets with known truth, and its pictures."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np

from relit.evaluation.claims import LEARNED, claims
from relit.evaluation.evidence import read_evidence
from relit.evaluation.groups import circumstances, equal_error_rate, pairs_of
from relit.evaluation.plots import bars, histogram, on_mean_head
from relit.evaluation.report import TYPOLOGY, table
from relit.evaluation.sheets import save, stack
from relit.evaluation.summary import flat, summarise, unit_of
from relit.evaluation.views import RELIGHTS

SHOWN = 8  # rows of the contact sheet, half of them the worst
SHEET_WIDTH = 1500
# What the page shows of every method; everything else is in the summary.
FIGURES = {
    "albedo_psnr.whole": "albedo PSNR, face",
    "albedo_psnr.visible": "albedo PSNR, seen by the photo",
    "albedo_psnr.unseen": "albedo PSNR, not seen",
    "albedo_ssim.whole": "albedo SSIM",
    "albedo_psnr_gain.whole": "albedo PSNR, brightness forgiven",
    "albedo_psnr_gains.whole": "albedo PSNR, colour forgiven",
    "specular_psnr.whole": "F0 PSNR",
    "specular_ssim.whole": "F0 SSIM",
    "roughness_psnr.whole": "roughness PSNR",
    "roughness_ssim.whole": "roughness SSIM",
    "diffuse_normal_psnr.whole": "diffuse normals PSNR",
    "specular_normal_psnr.whole": "specular normals PSNR",
    "diffuse_normal_angle.whole": "diffuse normals, tangent space",
    "specular_normal_angle.whole": "specular normals, tangent space",
    "specular_normal_ssim.whole": "specular normals SSIM",
    "surface_normal_angle.whole": "normals in space (shape and map)",
    "now.median": "NoW median",
    "now.mean": "NoW mean",
    "now.std": "NoW standard deviation",
    "now_metrical.mean": "NoW mean, metrical",
    "size_error": "size of the head",
    "realy.nose": "REALY nose",
    "realy.mouth": "REALY mouth",
    "realy.forehead": "REALY forehead",
    "realy.cheeks": "REALY cheeks",
    "identity_dlib.own": "dlib distance, own light",
    "identity_dlib.new_light": "dlib distance, new light",
    "identity_dlib.yaw_left": "dlib distance, turned 30 degrees left",
    "identity_dlib.yaw_right": "dlib distance, turned 30 degrees right",
    "identity_sface.own": "SFace cosine, own light",
    "identity_sface.new_light": "SFace cosine, new light",
    "relit_psnr.mean": "relit in four new lights, PSNR",
    "relit_ssim.mean": "relit in four new lights, SSIM",
    "ita_error.absolute": "skin tone (ITA)",
    "ita_error.signed": "skin tone, signed",
}
SWAP = {
    "source": "hard-shadow photo (source)",
    "target": "soft-light photo, source's maps (target)",
    "own": "soft-light photo, own maps",
}
# What methods are compared in, and what three photos of a person are to do better than one.
OF_EACH = (
    "albedo_psnr.whole", "albedo_psnr.visible", "albedo_psnr.unseen", "albedo_psnr_gain.whole", "specular_psnr.whole",
    "diffuse_normal_psnr.whole", "specular_normal_psnr.whole", "surface_normal_angle.whole", "ita_error.absolute",
    "relit_psnr.mean", "identity_dlib.own", "identity_dlib.new_light", "identity_dlib.yaw_left", "identity_dlib.yaw_right",
    "now.median", "now.mean",
)  # fmt: skip
OF_THREE = ("now.median", "now.mean", "albedo_psnr.whole", "ita_error.absolute", "relit_psnr.mean", "identity_dlib.new_light")


@dataclass(frozen=True)
class Judged:
    """What was measured on one set."""

    records: dict[str, list[dict]]  # by method, in the order of the columns
    folder: Path  # with METHOD/KEY.*
    total: int  # photos (or pairs) of the whole set
    absent: tuple[str, ...] = ()  # methods that could not be run, and why


@dataclass(frozen=True)
class Sets:
    """What was measured on the sets with known truth; None where a set is not here."""

    independent: Judged | None  # one photo at a time
    three: Judged | None = None  # of the same people, three photos at once
    every: Judged | None = None  # all methods of relit on fewer photos
    ablated: Judged | None = None  # one method with a part left out, on fewer still
    swap: Judged | None = None


def truth_section(sets: Sets, docs: Path) -> list[str]:
    """The section's paragraphs; its pictures go to docs/pictures."""
    independent = sets.independent
    parts = ["## On the path-traced set\n"]
    if independent is None:
        return [*parts, "The set `testsets/independent` is not here, so nothing was measured on it.\n"]
    summary = summarise(independent.records)
    counted = ", ".join(f"{name} {found['solved']} of {found['photos']}" for name, found in summary.items())
    together = in_common(independent.records)
    parts += [
        f"`relit evaluate` on `testsets/independent`: people who do not exist, photographed by Blender Cycles, which shares no "
        f"code with relit's renderer. {independent.total} photos; measured here: {counted} solved. Each figure is the mean "
        f"over the {len(next(iter(together.values())))} photos that all these methods solved; the definitions "
        "are in `relit/evaluation/metrics`.\n",
        "*truth* is no method but the truth itself: what renderer, metrics and missing hair leave of a perfect recovery. "
        "*mean* knows nothing of the person: mean head and mean skin, placed by landmarks. *canonical* is MediaPipe's "
        "canonical face, *mediapipe* its landmarks with their depth, *eos* the fitting library eos with relit's head model "
        "and its own settings. The last three give a shape only.\n",
        *_claims(sets),
        _methods_table(summarise(together)),
        *(f"Absent: {why}.\n" for why in independent.absent),
        *_unfinished(independent),
    ]
    parts += _circumstances(independent.records) + _verification(independent, docs) + _tones(summary, docs)
    parts += every_method(sets.every) + ablations(sets.ablated) + three_photos(independent, sets.three) + _swap(sets.swap)
    parts += _pictures(independent, docs) + _costs(independent.records)
    parts += [
        "Read with care: the subjects come from relit's own generator, whose tone and detail models the methods share in part; "
        "their shapes are the head model's plus a deviation that it cannot express. Real portraits, above, judge what this set "
        "cannot. SFace is read by relit's fitting, so its rows flatter relit's methods; dlib is held out.\n"
    ]
    return parts


def _claims(sets: Sets) -> list[str]:
    shared = lambda judged: in_common(judged.records) if judged and judged.records else {}  # noqa: E731
    _, three = three_means(sets.independent, sets.three).get(LEARNED, (0, {}))
    rows = claims(shared(sets.independent), shared(sets.every), shared(sets.swap), three)
    return [table(["set out to reach", "bar", "measured", "met"], rows)] if rows else []


def _unfinished(judged: Judged) -> list[str]:
    """A warning where only a part of the set has been measured."""
    most = max(len(own) for own in judged.records.values())
    if most >= judged.total:
        return []
    return [
        f"**Only a part of the set ({most} of {judged.total} photos) has been measured so far**: too few to rank methods that "
        "are close, or to tell skin types apart. `make results` goes on where this stopped.\n"
    ]


def in_common(records: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """The records of the photos that every method solved: only those can be compared."""
    solved = [{record["key"] for record in own if "failure" not in record} for own in records.values()]
    shared = set.intersection(*solved)
    return {method: [record for record in own if record["key"] in shared] for method, own in records.items()}


def pair_picture(records: list[dict], network: str, title: str, path: Path) -> str | None:
    """Draws the histogram of same and different pairs; the sentence that goes with it, None without pairs."""
    pairs = pairs_of(records, network)
    rate, threshold = equal_error_rate(pairs)
    if rate != rate:
        return None
    series = {"same person": pairs.same, "different persons": pairs.different}
    label = "Euclidean distance (dlib)" if network == "dlib" else "1 - cosine (SFace)"
    save(histogram(series, title, label, (threshold, f"equal error {100 * rate:.1f} %")), path)
    return (
        f"{network}: {len(pairs.same)} pairs of one person, mean distance {pairs.same.mean():.2f}; {len(pairs.different)} of "
        f"different persons, {pairs.different.mean():.2f}; equal error rate {100 * rate:.1f} % at {threshold:.2f}."
    )


def _methods_table(summary: dict[str, dict]) -> str:
    methods = list(summary)
    rows = []
    for name, words in FIGURES.items():
        cells = [summary[m]["figures"].get(name) for m in methods]
        if any(cells):
            rows.append([words, unit_of(name), *("-" if cell is None else _digits(cell["mean"]) for cell in cells)])
    return table(["figure", "unit", *methods], rows)


def _circumstances(records: dict[str, list[dict]]) -> list[str]:
    names = ("albedo_psnr.visible", "now.mean", "identity_dlib.own", "relit_psnr.mean", "ita_error.absolute")
    rows = []
    for method in _with_heads(records):
        for what, own in circumstances(records[method]).items():
            figures = summarise({method: own})[method]["figures"]
            rows.append([method, what, len(own), *(_digits(figures[n]["mean"]) if n in figures else "-" for n in names)])
    return ["What makes it hard:\n", table(["method", "photos", "number", *(FIGURES[n] for n in names)], rows)]


def _verification(judged: Judged, docs: Path) -> list[str]:
    parts = []
    for method in _with_heads(judged.records):
        for network in ("dlib", "sface"):
            name = f"pairs_{method}_{network}.png"
            title = f"{method}: renders in their own light against other photos ({network})"
            words = pair_picture(judged.records[method], network, title, docs / "pictures" / name)
            if words:
                parts.append(f"![{title}](pictures/{name})\n\n*{method}*, {words}\n")
    if not parts:
        return []
    before = (
        "Is the render of one photo the person of another photo? Every render in its own light is compared with all photos "
        "that it was not made from (the figure of GANFIT and FitMe).\n"
    )
    return [before, *parts]


def _tones(summary: dict[str, dict], docs: Path) -> list[str]:
    found = {name: own["fairness"] for name, own in summary.items() if own["fairness"] and name != "truth"}
    if not found:
        return []
    types = [name for name, _ in TYPOLOGY if any(name in own["groups"] for own in found.values())]
    series = {m: [own["groups"].get(t, {}).get("absolute_deg") for t in types] for m, own in found.items()}
    title = "Error of the individual typology angle by true skin type"
    save(bars(types, series, title, "true skin type, light to dark", "°"), docs / "pictures" / "tones.png")
    rows = [
        [method, t, g["count"], g["absolute_deg"], g["signed_deg"], g["albedo_psnr"], _or_dash(g["identity_dlib"])]
        for method, own in found.items()
        for t, g in own["groups"].items()
    ]
    spreads = "; ".join(
        f"*{m}* spread {own['spread_deg']:.1f} degrees (largest minus smallest), bias {own['bias_deg']:.1f} (their deviation)"
        for m, own in found.items()
    )
    head = ["method", "skin (true)", "photos", "ITA error", "signed", "albedo PSNR", "dlib own"]
    return [
        f"![{title}](pictures/tones.png)\n",
        "By true skin type; a positive signed error means that skin comes out too light.\n",
        table(head, rows),
        f"How unequal: {spreads}.\n",
    ]


def every_method(judged: Judged | None) -> list[str]:
    """A paragraph and a table: all methods over the photos that all of them solved."""
    count, compared = _compared(judged)
    return [
        f"**Every method** over {count} photos, the first of the order in which `relit evaluate` goes through the set: two of "
        "the methods are too slow for all of them.\n",
        compared,
    ] if count else []  # fmt: skip


def ablations(judged: Judged | None) -> list[str]:
    """A paragraph and a table: a method with parts left out."""
    count, compared = _compared(judged)
    return [
        f"**With a part left out**, over the first {count} of these photos (`relit.evaluation.ablations` says which part):\n",
        compared,
    ] if count and len(judged.records) > 1 else []  # fmt: skip


def _compared(judged: Judged | None) -> tuple[int, str]:
    """How many photos all methods solved, and the table over these."""
    together = in_common(judged.records) if judged and judged.records else {}
    count = len(next(iter(together.values()), ()))
    if not count:
        return 0, ""
    summary = summarise(together)
    figures = {name: [summary[m]["figures"].get(name) for m in summary] for name in OF_EACH}
    rows = [
        [FIGURES[name], unit_of(name), *("-" if cell is None else _digits(cell["mean"]) for cell in cells)]
        for name, cells in figures.items()
        if any(cells)
    ]
    return count, table(["figure", "unit", *(name.rpartition(".")[2].replace("_", " ") for name in summary)], rows)


def three_photos(single: Judged, three: Judged | None) -> list[str]:
    """A paragraph and a table: three photos of a person at once beside each of them alone, over the same people."""
    rows = [
        [method, people, FIGURES[name], unit_of(name), _digits(one), _digits(all_three)]
        for method, (people, found) in three_means(single, three).items()
        for name, (one, all_three) in found.items()
    ]
    if not rows:
        return []
    return [
        f"**Three photos at once** beside each of them alone, mean over the same people, of {three.total} with three photos:\n",
        table(["method", "people", "figure", "unit", "one photo", "three photos"], rows),
    ]


def three_means(single: Judged, three: Judged | None) -> dict[str, tuple[int, dict[str, tuple[float, float]]]]:
    """By method: how many people, and by figure the means with one photo and with three."""
    result = {}
    for method, groups in (three.records if three else {}).items():
        together = {record["subject"]: flat(record) for record in groups if "failure" not in record}
        alone: dict[str, list[dict]] = {}
        for record in single.records.get(method, ()):
            if record["subject"] in together and "failure" not in record:
                alone.setdefault(record["subject"], []).append(flat(record))
        known = [name for name in OF_THREE if all(together[subject].get(name) is not None for subject in alone)]
        if alone and known:
            one = {name: mean(mean(photo[name] for photo in photos) for photos in alone.values()) for name in known}
            result[method] = len(alone), {name: (one[name], mean(together[s][name] for s in alone)) for name in known}
    return result


def _swap(judged: Judged | None) -> list[str]:
    if judged is None:
        return ["The texture-swap set is not here, so that test was not run.\n"]
    summary = summarise(judged.records)
    rows = []
    for method, own in summary.items():
        cells = [own["figures"].get(f"texture_swap.{name}") for name in (*SWAP, "loss")]
        if any(cells):
            rows.append([method, own["solved"], *("-" if cell is None else _digits(cell["mean"]) for cell in cells)])
    if not rows:
        return []
    return [
        f"**Texture swap** (`testsets/texture_swap`, {judged.total} subjects, after DeFace): maps recovered under hard shadow, "
        "put on the fit of a soft-light photo of the same person and compared with that photo over bare skin, PSNR in dB. "
        "Shadows that stay in the maps cost PSNR in the target.\n",
        table(["method", "pairs", *SWAP.values(), "source - target"], rows),
    ]


def _pictures(judged: Judged, docs: Path) -> list[str]:
    parts = []
    for method in _with_heads(judged.records, truth=False):
        good = [r for r in judged.records[method] if "failure" not in r]
        errors = [read_evidence(judged.folder / method / r["key"]) for r in good]
        distance = _mean_known([e["distance_mm"] for e in errors])
        albedo = _mean_known([e["albedo_error"] for e in errors if "albedo_error" in e])
        save(on_mean_head(distance, albedo), docs / "pictures" / f"errors_{method}.png")
        parts.append(f"![{method}: mean error of shape and albedo on the mean head](pictures/errors_{method}.png)\n")
    main = next(iter(_with_heads(judged.records, truth=False)), None)
    if main:
        save(contact_sheet(judged, main), docs / "pictures" / "truth_sheet.jpg")
        parts.append(
            f"Mean errors over all photos. Below, *{main}*: the worst albedo, the worst likeness and the worst shape first, "
            f"then others taken evenly. From left to right: photo, true and recovered albedo, error (yellow: 60 of 255 "
            f"levels), the true and the recovered head in the light `{RELIGHTS[0]}`, the recovered head in its own light.\n\n"
            "![contact sheet](pictures/truth_sheet.jpg)\n"
        )
    return parts


def contact_sheet(judged: Judged, method: str) -> np.ndarray:
    """The worst photos by three measures, and others spread over the set."""
    from PIL import Image

    good = [r for r in judged.records[method] if "failure" not in r]
    worst = (
        min(good, key=lambda r: r["metrics"]["albedo_psnr"]["whole"]),
        max(good, key=lambda r: r["metrics"].get("identity_dlib", {}).get("own", -r["metrics"]["identity_sface"]["own"])),
        max(good, key=lambda r: r["metrics"]["now"]["mean"]),
    )
    keys = list(dict.fromkeys(r["key"] for r in worst))
    rest = [r["key"] for r in good if r["key"] not in keys]
    keys += rest[:: max(1, len(rest) // (SHOWN - len(keys)))][: SHOWN - len(keys)]
    strips = []
    for key in keys:
        strip = Image.open(judged.folder / method / f"{key}.jpg")
        strips.append(np.asarray(strip.resize((SHEET_WIDTH, round(strip.height * SHEET_WIDTH / strip.width)), Image.LANCZOS)))
    return stack(strips)


def _costs(records: dict[str, list[dict]]) -> list[str]:
    rows = []
    for method, own in records.items():
        costs = [record["seconds"] for record in own if "failure" not in record]
        if method == "truth" or not costs:
            continue
        typical = {stage: median(cost[stage] for cost in costs if stage in cost) for stage in costs[0]}
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in typical.items() if stage != "total")
        memory = median(record["peak_gb"] for record in own if "failure" not in record)
        rows.append([method, typical["total"], stages or "-", memory])
    text = (
        "Cost of a photo, medians, one thread a process. The machine was busy with other work meanwhile, which makes the "
        "seconds an upper bound; the quiet cost of a photo is above.\n"
    )
    return [text, table(["method", "seconds", "by stage", "peak GB"], rows)]


def _with_heads(records: dict[str, list[dict]], truth: bool = True) -> list[str]:
    """The methods that recover skin."""
    return [
        m for m, own in records.items() if (truth or m != "truth") and any("albedo_psnr" in r.get("metrics", {}) for r in own)
    ]


def _mean_known(arrays: list[np.ndarray]) -> np.ndarray:
    """The mean of what is known at each place, NaN where nothing is."""
    total = np.stack(arrays)
    known = ~np.isnan(total)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, total, 0).sum(0) / np.maximum(count, 1), np.nan)


def _digits(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _or_dash(value: float | None) -> float | str:
    return "-" if value is None else value

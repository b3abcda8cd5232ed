"""Figures that need many photos: verification of persons, fairness over skin tones, circumstances."""

import math
from dataclasses import dataclass
from statistics import mean, pstdev

import numpy as np

from relit.evaluation.report import TYPOLOGY, typology_group

NETWORKS = ("dlib", "sface")


@dataclass(frozen=True)
class Pairs:
    """Distances between renders of recovered heads and photos of the same and of different persons."""

    same: np.ndarray
    different: np.ndarray


def pairs_of(records: list[dict], network: str) -> Pairs:
    """Every render in its own light against every OTHER photo; a subject's second photo makes a pair of the same person.

    Distances: Euclidean for dlib, 1 - cosine for SFace. A render in which no face is found is left out.

    Source: the figures of GANFIT (Gecer et al. 2019) and FitMe (Lattas et al. 2023), which compare distributions of
    same-person and different-person pairs.
    Differs: embeddings of renders against photos that the render was not made from.
    """
    known = [
        (record["subject"], *(np.array(record["embeddings"][network][name]) for name in ("photo", "own")))
        for record in records
        if "failure" not in record and all((record.get("embeddings") or {}).get(network, {}).get(n) for n in ("photo", "own"))
    ]
    same, different = [], []
    for i, (subject, _, render) in enumerate(known):
        for j, (other, photo, _) in enumerate(known):
            if i != j:
                (same if subject == other else different).append(_distance(network, render, photo))
    return Pairs(np.array(same), np.array(different))


def portrait_pairs(records: list[dict]) -> Pairs:
    """Of portraits, one a person: every render in its own light against its own photo, and against all other photos."""
    known = [record["embeddings"] for record in records if record["embeddings"]["own"] is not None]
    photos, renders = (np.array([one[name] for one in known]) for name in ("photo", "own"))
    distance = np.linalg.norm(renders[:, None] - photos[None], axis=2)
    own = np.eye(len(known), dtype=bool)
    return Pairs(distance[own], distance[~own])


def equal_error_rate(pairs: Pairs) -> tuple[float, float]:
    """The rate in [0, 1] at which as many same pairs are rejected as different ones are accepted, and its threshold.

    Both rates are step functions; where they do not meet, the mean of the two at their nearest is given. 0 is best, 0.5
    chance. NaN where a kind of pair is missing.
    """
    if not len(pairs.same) or not len(pairs.different):
        return math.nan, math.nan
    thresholds = np.unique(np.concatenate([pairs.same, pairs.different]))
    rejected = 1 - np.searchsorted(np.sort(pairs.same), thresholds, side="right") / len(pairs.same)
    accepted = np.searchsorted(np.sort(pairs.different), thresholds, side="right") / len(pairs.different)
    best = int(np.abs(rejected - accepted).argmin())
    return float(rejected[best] + accepted[best]) / 2, float(thresholds[best])


def verification(records: list[dict]) -> dict[str, dict]:
    """Per network: how many pairs, their mean distances, and the equal error rate."""
    found = {}
    for network in NETWORKS:
        pairs = pairs_of(records, network)
        if len(pairs.same) and len(pairs.different):
            rate, threshold = equal_error_rate(pairs)
            found[network] = {
                "same_pairs": len(pairs.same),
                "different_pairs": len(pairs.different),
                "same_mean": float(pairs.same.mean()),
                "different_mean": float(pairs.different.mean()),
                "equal_error_rate": rate,
                "threshold": threshold,
            }
    return found


def fairness(records: list[dict]) -> dict:
    """The error of skin tone in each of six skin types (by the true angle), and how far the types lie apart.

    `spread_deg` is the largest minus the smallest mean error of a type; `bias_deg` the standard deviation of these means.

    Source: FAIR (TRUST, Feng et al. 2022), which reports the mean error per type and the standard deviation over types;
    types by Chardon et al. 1991.
    """
    groups = {}
    for name, _ in TYPOLOGY:
        own = [r for r in records if "ita_error" in r.get("metrics", {}) and typology_group(r["ita_true"]) == name]
        if own:
            errors = [r["metrics"]["ita_error"] for r in own]
            groups[name] = {
                "count": len(own),
                "absolute_deg": mean(e["absolute"] for e in errors),
                "signed_deg": mean(e["signed"] for e in errors),
                "albedo_psnr": mean(r["metrics"]["albedo_psnr"]["whole"] for r in own),
                "identity_dlib": _mean_or_none([r["metrics"].get("identity_dlib", {}).get("own") for r in own]),
            }
    if not groups:
        return {}
    means = [group["absolute_deg"] for group in groups.values()]
    return {"groups": groups, "spread_deg": max(means) - min(means), "bias_deg": pstdev(means)}


def circumstances(records: list[dict]) -> dict[str, list[dict]]:
    """The solved records by what makes a photo hard."""
    good = [record for record in records if "failure" not in record]
    tagged = lambda record, start: any(tag.startswith(start) for tag in record["tags"])  # noqa: E731
    kinds = {
        "soft light": lambda r: not tagged(r, "hard_shadow"),
        "hard shadow": lambda r: tagged(r, "hard_shadow"),
        "no hair": lambda r: not tagged(r, "hair"),
        "hair": lambda r: tagged(r, "hair"),
        "something worn": lambda r: tagged(r, "occluder"),
    }
    return {name: found for name, test in kinds.items() if (found := [r for r in good if test(r)])}


def _distance(network: str, a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b)) if network == "dlib" else float(1 - a @ b)


def _mean_or_none(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None

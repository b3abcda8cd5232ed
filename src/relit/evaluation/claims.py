"""What was to be reached on sets with known truth, and what is."""

from relit.evaluation.groups import circumstances
from relit.evaluation.summary import summarise

CLASSICAL, LEARNED, INVERTED = "classical", "avatarme", "fitme"
HARD = "hard shadow"
Records = dict[str, list[dict]]


def claims(independent: Records, every: Records, swap: Records, three: dict[str, tuple[float, float]]) -> list[list[object]]:
    """Rows of a table: what, the bar, what was measured, whether that meets it.

    Args:
        independent, every, swap: records by method that were measured on the same photos, as `truth_report.Sets`.
        three: of the learned method, means of a figure over people with one photo and with three.
    """
    rows: list[list[object]] = []

    def claim(what: str, bar: str, measured: str, met: bool) -> None:
        rows.append([what, bar, measured, "yes" if met else "**no**"])

    if {LEARNED, CLASSICAL} <= set(independent):
        _of_learned(independent, claim)
    if LEARNED in swap and len(swap) > 1:
        found = {method: summarise({method: own})[method]["figures"] for method, own in swap.items()}
        target, loss = (found[LEARNED][f"texture_swap.{name}"]["mean"] for name in ("target", "loss"))
        rest = max(f["texture_swap.target"]["mean"] for m, f in found.items() if m != LEARNED)
        claim(f"{LEARNED}: texture swap, target", "above every other row", f"{target:.1f} dB, next {rest:.1f}", target > rest)
        claim(f"{LEARNED}: texture swap, source - target", "<= 3 dB", f"{loss:.1f} dB", loss <= 3)
    if INVERTED in every and len(every) > 1:
        _of_inverted(every, claim)
    if {"now.mean", "albedo_psnr.whole"} <= set(three):
        (one, all_three), (flat, full) = three["now.mean"], three["albedo_psnr.whole"]
        less = 1 - all_three / one
        claim(f"{LEARNED}: three photos, shape", "error >= 15 % less than one's", f"{less:.0%} less", less >= 0.15)
        claim(f"{LEARNED}: three photos, albedo", ">= 1 dB above one's", f"{full - flat:+.1f} dB", full - flat >= 1)
    return rows


def _of_learned(records: Records, claim) -> None:
    summary = summarise(records)
    figure = lambda name, method=LEARNED: summary[method]["figures"][name]["mean"]  # noqa: E731
    albedo, before = figure("albedo_psnr.visible"), figure("albedo_psnr.visible", CLASSICAL)
    claim(f"{LEARNED}: albedo, seen", ">= 24 dB", f"{albedo:.1f} dB", albedo >= 24)
    claim(f"{LEARNED}: the same over {CLASSICAL}", ">= 2 dB", f"{albedo - before:+.1f} dB", albedo - before >= 2)
    hard = {m: circumstances(records[m]).get(HARD, []) for m in (LEARNED, CLASSICAL)}
    if all(hard.values()):
        found = summarise(hard)
        gain = [found[m]["figures"]["albedo_psnr.visible"]["mean"] for m in (LEARNED, CLASSICAL)]
        claim(f"{LEARNED}: the same, {HARD}", ">= 3 dB", f"{gain[0] - gain[1]:+.1f} dB", gain[0] - gain[1] >= 3)
    figures = (
        ("albedo_psnr.unseen", "albedo, not seen", 21),
        ("specular_psnr.whole", "F0", 25),
        ("specular_normal_psnr.whole", "specular normals", 25),
        ("diffuse_normal_psnr.whole", "diffuse normals", 27),
    )
    _at_least(LEARNED, figures, figure, claim)
    angle = figure("surface_normal_angle.whole")
    claim(f"{LEARNED}: normals in space", "<= 8 degrees", f"{angle:.1f} degrees", angle <= 8)
    tone = figure("ita_error.absolute")
    claim(f"{LEARNED}: skin tone (ITA)", "<= 6 degrees", f"{tone:.1f} degrees", tone <= 6)
    groups = summary[LEARNED]["fairness"]["groups"] if summary[LEARNED]["fairness"] else {}
    if groups:
        worst, group = max((own["absolute_deg"], name) for name, own in groups.items())
        claim(f"{LEARNED}: skin tone, worst group", "<= 9 degrees", f"{worst:.1f} degrees ({group})", worst <= 9)


def _of_inverted(records: Records, claim) -> None:
    summary = summarise(records)
    figure = lambda name, method=INVERTED: summary[method]["figures"][name]["mean"]  # noqa: E731
    figures = (
        ("albedo_psnr.whole", "albedo, whole face", 24),
        ("specular_psnr.whole", "F0", 25),
        ("specular_normal_psnr.whole", "specular normals", 25),
        ("relit_psnr.mean", "relit in four new lights", 26),
    )
    _at_least(INVERTED, figures, figure, claim)
    best, method = max((figure("relit_psnr.mean", m), m) for m in summary if m != INVERTED)
    relit = figure("relit_psnr.mean")
    claim(f"{INVERTED}: relit", "above every other row", f"{relit:.1f} dB, next {best:.1f} ({method})", relit > best)
    for name, most in (("now.median", 1.0), ("now.mean", 1.25)):
        claim(f"{INVERTED}: NoW {name[4:]}", f"<= {most} mm", f"{figure(name):.2f} mm", figure(name) <= most)


def _at_least(method: str, figures: tuple[tuple[str, str, int], ...], figure, claim) -> None:
    """Claims of figures (name, words, least decibels)."""
    for name, words, least in figures:
        claim(f"{method}: {words}", f">= {least} dB", f"{figure(name):.1f} dB", figure(name) >= least)

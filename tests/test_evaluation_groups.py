"""Figures over many photos, worked by hand: verification, fairness, circumstances, the table and the plots."""

import math

import numpy as np
import pytest

from relit.evaluation.claims import claims
from relit.evaluation.groups import Pairs, circumstances, equal_error_rate, fairness, pairs_of, portrait_pairs
from relit.evaluation.plots import bars, histogram, on_mean_head
from relit.evaluation.summary import printed, summarise
from relit.evaluation.truth_report import Judged, every_method, in_common, three_photos
from relit.models.head import load_head_model


def record(key, ita, error, own=0.3, photo=(1.0, 0.0), render=(1.0, 0.0), tags=()):
    return {
        "key": key,
        "subject": key[:3],
        "tags": list(tags),
        "ita_true": ita,
        "seconds": {"total": 2.0},
        "peak_gb": 1.0,
        "metrics": {
            "ita_error": {"absolute": abs(error), "signed": error},
            "albedo_psnr": {"whole": 20.0, "visible": None},
            "identity_dlib": {"own": own},
        },
        "embeddings": {"dlib": {"photo": list(photo), "own": list(render)}, "sface": {"photo": None, "own": None}},
    }


def test_equal_error_rate_by_hand():
    # at 0.5 one of four same pairs is rejected (0.8) and one of four different pairs accepted (0.5)
    rate, threshold = equal_error_rate(Pairs(np.array([0.1, 0.2, 0.4, 0.8]), np.array([0.5, 0.7, 0.9, 1.0])))
    assert rate == pytest.approx(0.25) and 0.5 <= threshold < 0.7
    assert equal_error_rate(Pairs(np.array([0.1, 0.2]), np.array([0.5, 0.6])))[0] == 0
    assert math.isnan(equal_error_rate(Pairs(np.array([]), np.array([0.5])))[0])


def test_chance_is_one_half():
    values = np.random.default_rng(2).random(4000)
    assert equal_error_rate(Pairs(values[:2000], values[2000:]))[0] == pytest.approx(0.5, abs=0.03)


def test_pairs_leave_out_the_render_s_own_photo():
    records = [record("s00_a", 0, 0), record("s00_b", 0, 0, photo=(0.0, 0.0)), record("s01_a", 0, 0, render=(0.0, 1.0))]
    pairs = pairs_of(records, "dlib")
    assert sorted(pairs.same) == [0, 1]  # render a against photo b, render b against photo a
    assert sorted(pairs.different) == pytest.approx([0, 0, 1, math.sqrt(2)])
    assert len(pairs_of(records, "sface").same) == 0


def test_portraits_have_one_photo_each():
    records = [{"embeddings": {"photo": [0.0, k], "own": own}} for k, own in ((0, [0.0, 0.1]), (1, [0.3, 1.0]), (2, None))]
    pairs = portrait_pairs(records)
    assert pairs.same == pytest.approx([0.1, 0.3]) and pairs.different == pytest.approx([0.9, math.hypot(0.3, 1)])


def test_fairness_compares_the_means_of_skin_types():
    found = fairness([record("s00_a", 60, 4), record("s01_a", 58, -2), record("s02_a", -40, 9), record("s03_a", 0, 6)])
    assert found["groups"]["very light"]["absolute_deg"] == 3 and found["groups"]["very light"]["signed_deg"] == 1
    assert found["spread_deg"] == 6 and found["bias_deg"] == pytest.approx(np.std([3, 9, 6]))
    assert fairness([]) == {}


def test_circumstances_follow_the_tags():
    records = [record("s00_a", 0, 0, tags=["sun", "hard_shadow"]), record("s00_b", 0, 0, tags=["hair", "occluder:glasses"])]
    found = circumstances([*records, {"key": "x", "failure": "none"}])
    assert [r["key"] for r in found["hard shadow"]] == ["s00_a"] and [r["key"] for r in found["something worn"]] == ["s00_b"]
    assert [r["key"] for r in found["no hair"]] == ["s00_a"]


def test_the_summary_counts_what_is_known():
    summary = summarise({"m": [record("s00_a", 0, 2), record("s01_a", 0, 4), {"key": "s02_a", "failure": "NoFaceFound: x"}]})
    figures = summary["m"]["figures"]
    assert (summary["m"]["solved"], summary["m"]["photos"]) == (2, 3)
    assert figures["ita_error.absolute"] == {"mean": 3, "sd": 1, "count": 2} and "albedo_psnr.visible" not in figures
    text = printed(summary)
    assert "2 of 3" in text and "ita_error spread" in text


def test_methods_are_compared_on_photos_that_all_solved():
    failed = {"key": "s01_a", "failure": "NoFaceFound: x"}
    first, second = [record("s00_a", 0, 1), record("s01_a", 0, 2)], [record("s00_a", 0, 3), failed, record("s02_a", 0, 4)]
    common = in_common({"m": first, "n": second})
    assert [[r["key"] for r in own] for own in common.values()] == [["s00_a"], ["s00_a"]]


def test_three_photos_are_compared_with_the_mean_of_the_same_persons_single_ones(tmp_path):
    single = [record("s00_a", 0, 4), record("s00_b", 0, 8), record("s01_a", 0, 1), record("s02_a", 0, 50)]
    judged = lambda records: Judged({"classical": records}, tmp_path, len(records))  # noqa: E731
    text = "".join(three_photos(judged(single), judged([record("s00_abc", 0, 2), record("s01_abc", 0, 0)])))
    # (6 + 1) / 2 degrees alone and (2 + 0) / 2 together; the third person has no group
    assert "| classical | 2 | skin tone (ITA) | degrees ↓ | 3.50 | 1.00 |" in text
    assert three_photos(judged(single), None) == []


def test_all_methods_are_compared_on_what_all_solved(tmp_path):
    records = {"slow": [record("s00_a", 0, 4)], "fast": [record("s00_a", 0, 2), record("s01_a", 0, 50)]}
    text = "".join(every_method(Judged(records, tmp_path, 2)))
    tone = next(line for line in text.splitlines() if line.startswith("| skin tone"))
    assert "over 1 photos" in text and "4.00" in tone and "2.00" in tone
    assert every_method(None) == every_method(Judged({}, tmp_path, 2)) == []


def test_what_was_set_out_to_reach_is_said_to_be_met_or_not(tmp_path):
    def measured(albedo, relit):
        figures = {name: 30.0 for name in ("specular", "specular_normal", "diffuse_normal")}
        metrics = {f"{name}_psnr": {"whole": value} for name, value in figures.items()}
        metrics |= {"albedo_psnr": {"whole": albedo, "visible": albedo, "unseen": albedo}, "relit_psnr": {"mean": relit}}
        return metrics | {"surface_normal_angle": {"whole": 9.0}, "now": {"median": 0.9, "mean": 1.3}}

    def line(albedo, relit):
        plain = record("s00_a", 20, 7, tags=["hard_shadow"])
        return [plain | {"metrics": {**plain["metrics"], **measured(albedo, relit)}, "seconds": {}, "peak_gb": 1.0}]

    single = {"avatarme": line(25.0, 24.0), "classical": line(22.5, 23.0)}
    rows = claims(single, single | {"fitme": line(26.0, 25.0)}, {}, {"now.mean": (1.0, 0.8), "albedo_psnr.whole": (24.0, 24.5)})
    met = {what: met == "yes" for what, _, _, met in rows}
    assert met["avatarme: the same over classical"] and not met["avatarme: the same, hard shadow"]
    assert met["avatarme: F0"] and not met["avatarme: normals in space"] and not met["avatarme: skin tone (ITA)"]
    assert met["fitme: relit"] and not met["fitme: relit in four new lights"] and not met["fitme: NoW mean"]
    assert met["avatarme: three photos, shape"] and not met["avatarme: three photos, albedo"]
    assert claims({}, {}, {}, {}) == []


def test_plots_show_something():
    rng = np.random.default_rng(1)
    picture = histogram({"a": rng.normal(0.4, 0.1, 50), "b": rng.normal(0.8, 0.1, 50)}, "t", "x", (0.6, "mark"))
    assert picture.shape == (300, 560, 3) and picture.std() > 10
    hanging = bars(["light", "dark"], {"m": [2.0, -3.0], "n": [1.0, None]}, "t", "x")
    assert (hanging.reshape(-1, 3) == (54, 105, 166)).all(1).sum() > 2000
    distance = np.full(len(load_head_model().mean), np.nan)
    distance[load_head_model().face_weight.numpy() > 0.5] = 2.0
    heads = on_mean_head(distance, np.full((128, 128), 30.0), 96)
    assert heads.shape[1] == 4 * 96

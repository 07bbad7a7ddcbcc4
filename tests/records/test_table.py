"""Labels of rows, pairs of rows, and means over the networks of a model."""

import dataclasses
import json
from pathlib import Path

import pytest
from compared import scored, steady

from neurobench_grasp.leaderboard import rank_models
from neurobench_grasp.leaderboard.site.glossary import METRICS as EXPLAINED
from neurobench_grasp.records.names import METRICS, REFERENCES, SPLITS, metric_name, short_name
from neurobench_grasp.records.table import DETAILS, LABELS, RowKey, Score, ScoreTable, pair_rows, row_name
from neurobench_grasp.run.verify import _compare

RESULTS = Path(__file__).parents[2] / "registry" / "results"
ROW = {"metric": "single_trial_ev", "split": "ood", "area": "M1", "value": 0.3}


def shipped():
    """Rows of all records of the registry, record by record."""
    for path in sorted(RESULTS.glob("*/records/*.json")):
        yield path, json.loads(path.read_text())["scores"]


@pytest.mark.parametrize("name", DETAILS)
def test_each_label_of_a_detail_makes_a_row_no_main_one_whatever_its_value(name):
    assert RowKey.of_row(ROW).is_main
    for value in ("x", 0, 0.0, False, ["x"], {"a": 1}):
        assert not RowKey.of_row({**ROW, name: value}).is_main
    for nothing in ("", None):
        assert RowKey.of_row({**ROW, name: nothing}) == RowKey.of_row(ROW)


def test_what_is_no_label_is_a_value():
    assert RowKey.of_row({**ROW, "value": 9, "ci": [0, 1], "custom": "x"}) == RowKey.of_row(ROW)
    assert RowKey.of_row({**ROW, "n_components": 5}) == RowKey.of_labels(
        "single_trial_ev", split="ood", area="M1", n_components="5"
    )


def test_labels_tell_all_rows_of_every_shipped_record_apart():
    for path, rows in shipped():
        assert len({RowKey.of_row(row) for row in rows}) == len(rows), path.name


def test_every_shipped_metric_unit_split_and_reference_is_in_the_names():
    for _, rows in shipped():
        for row in rows:
            assert row["metric"] in METRICS
            assert METRICS[row["metric"]].unit == row.get("unit", "")
            assert row.get("split", "ood") in SPLITS and row.get("reference", "intact") in REFERENCES
    assert EXPLAINED.keys() == METRICS.keys()
    assert metric_name("my_own") == "my own" and short_name("my_own") == "my_own"


def test_rows_are_named_by_their_labels_in_order():
    row = {**ROW, "session": "s", "layer": "x" * 100, "value": 1}
    assert row_name(3, row) == f"scores[3] (single_trial_ev, ood, M1, s, {'x' * 60})"
    assert row_name(0, {**ROW, "area": "\ud800"}) == "scores[0] (single_trial_ev, ood, ?)"
    assert LABELS[:4] == ("metric", "of", "split", "area")


def test_rows_are_paired_by_labels_and_not_by_place():
    recorded = [{**ROW, "area": area, "value": k} for k, area in enumerate(("M1", "S1", "S1", "PMv"))]
    found = [{**ROW, "area": area, "value": k} for k, area in enumerate(("S1", "M1", "S1", "new"))]
    pairs, extra = pair_rows(recorded, found)
    assert [(a["area"], a["value"], b and b["value"]) for a, b in pairs] == [
        ("M1", 0, 1), ("S1", 1, 0), ("S1", 2, 2), ("PMv", 3, None)]  # fmt: skip
    assert extra == [found[3]]


def test_scoring_again_names_rows_that_are_missing_added_or_different_in_any_order():
    record = scored("a", steady(0.3)).record
    rows = [{**ROW, "metric": m, "median": 0.2, "unit": "mm"} for m in ("a", "b", "c")]

    def compared(before, after):
        made = (dataclasses.replace(record, scores=scores) for scores in (before, after))
        return list(_compare(*made, exact=True))

    assert compared(rows, rows[::-1]) == []
    assert compared(rows[:2], rows) == [
        "scores: scoring again gives a row that is missing here (c, ood, M1)."
    ]
    assert compared(rows, rows[1:]) == ["scores[0] (a, ood, M1): scoring again gives no such row."]
    for change in ({"value": 0.4}, {"value": None}, {"median": 0.3}, {"median": None}, {"unit": "km"}):
        (problem,) = compared([{**rows[0], **change}], rows[:1])
        assert problem.startswith("scores[0] (a, ood, M1): ")
    (problem,) = compared([{k: v for k, v in rows[0].items() if k != "median"}], rows[:1])
    assert problem.startswith("scores[0] (a, ood, M1): ")


def test_the_mean_over_networks_is_that_of_the_board():
    networks = tuple(scored("a", steady(value), seed=k) for k, value in enumerate((0.2, 0.4)))
    (row,) = rank_models(networks)
    score = ScoreTable(networks).score("single_trial_ev", split="ood", area="M1")
    assert (score.value, list(score.ci)) == (row["value"], row["ci"])
    alone = ScoreTable(networks[:1]).score("single_trial_ev", split="ood", area="M1")
    assert alone.value == networks[0].record.scores[-1]["value"] and alone.ci is not None


def test_without_unit_scores_the_mean_has_no_interval_of_its_own():
    def network(seed, value, **more):
        one = scored("a", seed=seed)
        row = {**ROW, "value": value, "ci": value and [value - 0.1, value + 0.1], **more}
        return dataclasses.replace(one, record=dataclasses.replace(one.record, scores=[row]))

    labels = {"split": "ood", "area": "M1"}
    table = ScoreTable((network(0, 0.25), network(1, 0.75)))
    score = table.score("single_trial_ev", **labels)
    assert (score.value, score.ci) == (0.5, None) and score.mean_ci == pytest.approx((0.4, 0.6))
    assert table.score("single_trial_ev", 1, **labels).value == 0.75
    undefined = ScoreTable((network(0, 0.25), network(1, None, reason="no unit varies")))
    score = undefined.score("single_trial_ev", **labels)
    assert (score.value, score.reason) == (0.25, "no unit varies")
    assert table.score("single_trial_ev", split="ood") == Score(reason="not in the record")


def test_scores_along_a_label_leave_the_others_fixed():
    one = scored("a")
    rows = [{**ROW, "layer": name, "value": k} for k, name in enumerate(("b", "a"))]
    more = [{**rows[0], "n_components": 3}, {**rows[0], "area": "S1"}]
    table = ScoreTable(
        (dataclasses.replace(one, record=dataclasses.replace(one.record, scores=[*rows, *more])),)
    )
    found = table.along("layer", "single_trial_ev", split="ood", area="M1")
    assert {name: score.value for name, score in found.items()} == {"b": 0, "a": 1}
    assert list(found) == ["b", "a"] and table.values("area") == ["M1", "S1"]
    assert len(table.rows("single_trial_ev", layer="b")) == 3

import dataclasses

import numpy as np
import pytest
from compared import draw, scored, steady
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp.leaderboard import BOARD, rank_models
from neurobench_grasp.records.table import main_rows


def places(rows):
    return [(row["rank"], row["rank_worst"], row["ties"], row["model"]) for row in rows]


def noisy(value, sd, seed):
    """Scores that vary between conditions: (n_groups, n_units)."""
    return value + draw(np.random.default_rng(seed), n_networks=1, n_units=10, group=sd)[0]


def test_the_headline_row_alone_counts():
    entry = scored("a", steady(0.3))
    row = {**entry.record.scores[-1], "value": 9.0}
    decoys = [
        {**row, "reference": "phase_mean"},
        {**row, "session": "monday"},
        {**row, "layer": "first"},
        {**row, "split": "test"},
        {**row, "metric": "gain_over_phase_mean", "of": "single_trial_ev"},
    ]
    record = dataclasses.replace(entry.record, scores=[*decoys, *entry.record.scores])
    (found,) = rank_models([dataclasses.replace(entry, record=record)])
    assert found["value"] == pytest.approx(entry.record.scores[-1]["value"])
    assert found["ci"] == pytest.approx(entry.record.scores[-1]["ci"])
    assert (found["rank"], found["rank_worst"], found["n_units"], found["n_groups"]) == (1, 1, 10, 7)
    assert len(main_rows(record)) == 3


def test_intervals_that_overlap_do_not_tie_if_the_paired_difference_excludes_zero():
    """Both vary alike between conditions, so each interval is wide and their difference is sure."""
    shared = noisy(0.3, 0.2, seed=0)
    rows = rank_models([scored("worse", shared), scored("better", shared + steady(0.1))])
    assert rows[1]["ci"][1] > rows[0]["value"]
    assert places(rows) == [(1, 1, "a", "better"), (2, 2, "b", "worse")]


def test_ties_are_not_transitive_and_ranks_are_intervals():
    """The middle one varies so much that it differs from neither of its neighbours."""
    rows = rank_models(
        [
            scored("first", steady(0.4)),
            scored("third", steady(0.3)),
            scored("middle", noisy(0.35, 0.3, seed=1)),
        ]
    )
    assert sorted(places(rows)) == [(1, 2, "a", "first"), (1, 3, "ab", "middle"), (2, 3, "b", "third")]


def test_two_copies_of_one_model_always_tie():
    data = noisy(0.2, 0.1, seed=2)
    rows = rank_models([scored("copy", data), scored("original", data), scored("other", data - 0.2)])
    assert places(rows) == [(1, 2, "a", "copy"), (1, 2, "a", "original"), (3, 3, "b", "other")]


def test_without_scores_of_units_interval_or_value_there_is_no_rank_but_a_reason():
    rows = rank_models(
        [
            scored("unreadable", None),
            scored("few", steady(0.9, n_groups=4), reason="too few conditions"),
            scored("undefined", np.full((7, 3), np.nan), reason="no unit varies"),
            scored("good", steady(0.1)),
        ]
    )
    assert [(row["model"], row["rank"], row.get("reason")) for row in rows] == [
        ("good", 1, None),
        ("few", None, "too few conditions"),
        ("unreadable", None, "no scores of single units for seed 0"),
        ("undefined", None, "no unit varies"),
    ]
    assert [row["value"] is None for row in rows] == [False, False, False, True]
    assert all(row["ties"] is row["ci"] is None for row in rows[1:])


def test_a_caveat_stays_beside_an_interval():
    (row,) = rank_models([scored("a", steady(0.1), reason="for the 2 conditions seen here only")])
    assert row["rank"] == 1 and row["reason"] == "for the 2 conditions seen here only"


def test_networks_are_averaged_and_widen_the_interval():
    alone, other = scored("a", steady(0.2)), scored("a", steady(0.4), seed=1)
    (single,), (both,) = rank_models([alone]), rank_models([alone, other])
    assert both["value"] == pytest.approx(single["value"] + 0.1)
    assert (both["n_networks"], both["seeds"]) == (2, [0, 1])
    assert both["network_se"] == pytest.approx(0.1) and single["network_se"] is None
    assert both["data_se"] == pytest.approx(single["data_se"])
    assert both["ci"][1] - both["value"] == pytest.approx(
        np.hypot(single["ci"][1] - single["value"], 12.706 * 0.1), rel=1e-4
    )  # Student's t with one degree of freedom


def test_a_network_without_scores_of_units_is_left_out_and_named():
    (row,) = rank_models([scored("a", steady(0.2)), scored("a", None, seed=3)])
    assert row["seeds"] == [0] and row["rank"] == 1
    assert row["reason"] == "no scores of single units for seed 3"


def test_of_two_records_of_one_seed_the_newest_counts():
    old, new = scored("a", steady(0.2)), scored("a", steady(0.4), date="2026-02-01")
    (row,) = rank_models([new, old])
    assert row["value"] == pytest.approx(0.4) and row["n_networks"] == 1


@pytest.mark.parametrize(
    "difference",
    [
        {"version": 2},
        {"settings": {"n_folds": 7}},
        {"sha256": "cc" * 32},
        {"splits": "dd" * 32},
        {"trained_on": "another"},
        {"area": "S1"},
        {"synthetic": True},
        {"id": "other"},
    ],
    ids=lambda d: next(iter(d)),
)
def test_what_was_not_scored_alike_never_shares_a_board(difference):
    rows = rank_models([scored("a", steady(0.2)), scored("b", steady(0.9), **difference)])
    assert {(row["rank"], row["rank_worst"]) for row in rows} == {(1, 1)}
    assert len({tuple(row[key] for key in BOARD) for row in rows}) == 2


def test_recordings_come_before_synthetic_self_tests():
    rows = rank_models(
        [scored("a", steady(0.9), synthetic=True, id="aaa"), scored("b", steady(0.1), id="zzz")]
    )
    assert [row["synthetic"] for row in rows] == [False, True]


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 0.5)), min_size=1, max_size=6))
def test_order_and_ranks_do_not_depend_on_the_order_of_records(scores):
    entries = [scored(f"m{i}", noisy(value, sd, seed=i)) for i, (value, sd) in enumerate(scores)]
    rows = rank_models(entries)
    assert rows == rank_models(entries[::-1])
    values = [row["value"] for row in rows]
    assert values == sorted(values, reverse=True)
    n = len(rows)
    assert all(1 <= row["rank"] <= row["rank_worst"] <= n for row in rows)
    # every model that is surely better than one is a model that one is surely worse than
    assert sum(row["rank"] - 1 for row in rows) == sum(n - row["rank_worst"] for row in rows)


def test_more_than_26_groups_of_ties_have_letters_of_their_own():
    rows = rank_models([scored(f"m{i:02}", steady(i / 10)) for i in range(30)])
    assert [row["ties"] for row in rows] == [*"abcdefghijklmnopqrstuvwxyz", "a1", "b1", "c1", "d1"]
    assert [row["rank"] for row in rows] == list(range(1, 31))

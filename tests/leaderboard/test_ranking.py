import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp.leaderboard import BOARD, main_rows, ranking
from neurobench_grasp.types import ScoreRecord


def record(
    model, value, ci=None, *, seed=0, area="M1", synthetic=False, version=1, date="2026-01-01", **dataset
):
    row = {"metric": "single_trial_ev", "split": "ood", "area": area, "value": value, "n_units": 10}
    if ci is None:
        row |= {"ci": None, "reason": "too few conditions"}
    else:
        row["ci"] = list(ci)
    decoys = [
        {**row, "value": 9.0, "reference": "phase_mean"},
        {**row, "value": 9.0, "session": "monday"},
        {**row, "value": 9.0, "layer": "first"},
        {**row, "value": 9.0, "split": "test"},
        {**row, "value": 9.0, "metric": "gain_over_phase_mean", "of": "single_trial_ev"},
    ]
    return ScoreRecord(
        model=model,
        seed=seed,
        dataset={"id": "data", "sha256": "aa" * 4, "splits": "bb" * 4, "synthetic": synthetic, **dataset},
        protocol={"name": "encoding", "version": version, "settings": {}},
        scores=[*decoys, row],
        dropped=[],
        provenance={"date": date},
    )


def ranks(rows):
    return [(row["rank"], row["model"]) for row in rows]


def test_the_headline_row_alone_counts():
    (row,) = ranking([record("a", 0.3, (0.2, 0.4))])
    assert (row["value"], row["ci"], row["rank"], row["n_units"]) == (0.3, [0.2, 0.4], 1, 10)
    assert len(main_rows(record("a", 0.3, (0.2, 0.4)))) == 3


def test_rows_that_overlap_the_best_of_their_group_share_its_rank():
    rows = ranking(
        [
            record("fourth", 0.10, (0.05, 0.15)),
            record("first", 0.50, (0.45, 0.55)),
            record("third", 0.38, (0.30, 0.44)),  # overlaps the second but not the best
            record("second", 0.46, (0.41, 0.51)),
        ]
    )
    assert ranks(rows) == [(1, "first"), (1, "second"), (3, "third"), (4, "fourth")]


def test_two_copies_of_one_model_always_tie():
    rows = ranking([record("copy", 0.2, (0.1, 0.3)), record("original", 0.2, (0.1, 0.3))])
    assert ranks(rows) == [(1, "copy"), (1, "original")]


def test_a_row_without_interval_or_value_has_no_rank_and_a_reason():
    rows = ranking([record("none", None), record("point", 0.9), record("good", 0.1, (0.0, 0.2))])
    assert ranks(rows) == [(1, "good"), (None, "point"), (None, "none")]
    assert [row.get("reason") for row in rows] == [None, "too few conditions", "too few conditions"]


def test_seeds_are_averaged_and_their_spread_is_told_apart():
    (row,) = ranking([record("a", 0.2, (0.1, 0.3)), record("a", 0.4, (0.3, 0.5), seed=1)])
    assert row["value"] == pytest.approx(0.3)
    assert row["ci"] == pytest.approx([0.2, 0.4])
    assert row["n_seeds"] == 2
    assert row["seed_sd"] == pytest.approx(0.02**0.5)


def test_of_two_records_of_one_seed_the_newest_counts():
    old, new = record("a", 0.2, (0.1, 0.3)), record("a", 0.4, (0.3, 0.5), date="2026-02-01")
    (row,) = ranking([new, old])
    assert (row["value"], row["n_seeds"]) == (0.4, 1)


@pytest.mark.parametrize(
    "difference",
    [
        {"version": 2},
        {"sha256": "cc" * 4},
        {"splits": "dd" * 4},
        {"area": "S1"},
        {"synthetic": True},
        {"id": "other"},
    ],
    ids=lambda d: next(iter(d)),
)
def test_what_was_not_scored_alike_never_shares_a_board(difference):
    rows = ranking([record("a", 0.2, (0.1, 0.3)), record("b", 0.9, (0.8, 1.0), **difference)])
    assert {row["rank"] for row in rows} == {1}
    assert len({tuple(row[key] for key in BOARD) for row in rows}) == 2


def test_recordings_come_before_synthetic_self_tests():
    rows = ranking(
        [record("a", 0.9, (0.8, 1), synthetic=True, id="aaa"), record("b", 0.1, (0, 0.2), id="zzz")]
    )
    assert [row["synthetic"] for row in rows] == [False, True]


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=12))
def test_order_and_ranks_agree_and_do_not_depend_on_the_order_of_records(scores):
    records = [record(f"m{i:02}", v, (v - lo, v + hi)) for i, (v, lo, hi) in enumerate(scores)]
    rows = ranking(records)
    assert rows == ranking(records[::-1])
    values = [row["value"] for row in rows]
    assert values == sorted(values, reverse=True)
    places = [row["rank"] for row in rows]
    assert places == sorted(places)
    for place in set(places):  # a rank is the position of the best of its group
        assert places.index(place) + 1 == place

"""Trials that share time, against connected components of all pairs, and what a split does with them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from neurobench_grasp.alignment.overlap import tied_trials
from neurobench_grasp.alignment.splits import folds_by_condition, folds_by_trial, make_splits
from neurobench_grasp.protocols.brain_control.decoders import _folds

windows = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.booleans()), min_size=1, max_size=25)


@given(windows)
def test_ties_are_the_components_of_shared_bins(trials):
    first = np.array([a for a, _, _ in trials])
    stop = first + [n for _, n, _ in trials]
    usable = np.array([u for _, _, u in trials])
    ids = [f"t{i}" for i in range(len(trials))]
    found = tied_trials(ids, first, stop, usable, ())
    meet = (first[:, None] < stop) & (first < stop[:, None]) & usable[:, None] & usable
    _, component = connected_components(meet)
    for i, one in enumerate(ids):
        assert (one in found) == (usable[i] and np.sum((component == component[i]) & usable) > 1)
        for j, other in enumerate(ids):
            if one in found and other in found:
                assert (found[one] == found[other]) == (component[i] == component[j])


def test_a_group_ties_trials_that_share_no_time():
    first = np.arange(6) * 10
    group = ("a", "a", "b", "", "", "b")
    found = tied_trials(list("012345"), first, first + 5, np.ones(6, bool), group)
    assert found == {"0": "with 0", "1": "with 0"}


@st.composite
def tied(draw):
    n = draw(st.integers(4, 60))
    conditions = {f"t{i}": f"o{draw(st.integers(0, 6))}" for i in range(n)}
    sets = {t: f"s{k}" for t in conditions if (k := draw(st.integers(0, 12))) < 6}
    return conditions, sets


@given(tied())
def test_a_set_is_in_one_split_and_one_fold(case):
    conditions, sets = case
    splits = make_splits({"s": conditions}, {"s": sets})[0]
    place = {t: name for name in ("train", "test", "ood") for t in getattr(splits, name)["s"]}
    ids = list(conditions)
    by_trial = dict(zip(ids, folds_by_trial(ids, [conditions[t] for t in ids], 5, sets), strict=True))
    names = [sets.get(t, "") for t in ids]
    by_condition = dict(zip(ids, folds_by_condition([conditions[t] for t in ids], 5, names), strict=True))
    for name in set(sets.values()):
        members = [t for t in ids if sets.get(t) == name]
        where = {place.get(t) for t in members}
        assert len(where) == 1 or where == {"ood", None}
        assert len({by_trial[t] for t in members}) == 1
        assert len({by_condition[t] for t in members}) == 1
    for label in set(conditions.values()):
        assert len({by_condition[t] for t in ids if conditions[t] == label}) == 1
    assert set(splits.ood["s"]) == {t for t in ids if conditions[t] in splits.held_out}
    left = set(ids) - set(place)
    assert all(sets[t] in {sets.get(o) for o in splits.ood["s"]} for t in left)


def test_sets_take_about_their_share_of_the_test_split():
    conditions = {f"t{i}": "reach" for i in range(2000)}
    sets = {f"t{i}": f"block {i // 10}" for i in range(2000)}
    share = len(make_splits({"s": conditions}, {"s": sets})[0].test["s"]) / 2000
    assert 0.12 < share < 0.28  # 200 blocks: 0.2 and a standard deviation of 0.028


def test_without_ties_nothing_changes():
    conditions = {"s": {f"t{i}": f"o{i % 9}" for i in range(90)}}
    assert make_splits(conditions, {"s": {}})[0].sha256 == make_splits(conditions)[0].sha256


def test_a_decoder_chooses_its_penalty_with_groups_in_one_fold():
    alike, two = ["reach"] * 40, ["reach", "grasp"] * 20
    group = [f"block {i // 5}" for i in range(40)]
    for conditions in (alike, two):
        folds = _folds(conditions, group)
        assert all(len(set(folds[i : i + 5])) == 1 for i in range(0, 40, 5))
    assert len(set(_folds(alike, group))) > 1
    np.testing.assert_array_equal(_folds(alike, [""] * 40), _folds(alike))

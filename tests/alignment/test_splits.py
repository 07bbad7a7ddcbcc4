from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp.alignment import splits as rule
from neurobench_grasp.alignment.splits import deal_conditions, folds_by_condition, folds_by_trial


def make_splits(conditions, fold=0):
    """The splits of one fold."""
    return rule.make_splits(conditions)[fold]


def session(n_objects, n_repeats, name="s"):
    return {name: {f"t{i}": f"o{i // n_repeats}" for i in range(n_objects * n_repeats)}}


@given(st.integers(1, 40), st.integers(1, 16))
def test_every_trial_is_in_exactly_one_split(n_objects, n_repeats):
    trials = session(n_objects, n_repeats)
    splits = make_splits(trials)
    parts = [splits.train["s"], splits.test["s"], splits.ood["s"]]
    assert sorted(t for p in parts for t in p) == sorted(trials["s"])


@given(st.integers(1, 40))
def test_every_condition_is_held_out_by_one_fold(n_objects):
    trials = session(n_objects, 3)
    folds = rule.make_splits(trials)
    labels = sorted(set(trials["s"].values()))
    held_out = [c for fold in folds for c in fold.held_out]
    if n_objects < 3:
        assert len(folds) == 1 and not held_out
        return
    assert len(folds) == min(5, n_objects) and sorted(held_out) == labels
    sizes = [len(fold.held_out) for fold in folds[1:]]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) > 0
    assert len(folds[0].held_out) == max(1, round(0.2 * n_objects))
    for k, fold in enumerate(folds):
        assert (fold.fold, fold.n_folds) == (k, len(folds))
        assert {trials["s"][t] for t in fold.ood["s"]} == set(fold.held_out)


def test_conditions_are_dealt_by_their_names_alone():
    labels = [f"o{i}" for i in range(17)]
    assert deal_conditions(labels) == deal_conditions(labels[::-1] * 2)


def test_the_shares_are_those_of_the_protocol():
    splits = make_splits(session(35, 15))
    assert len(splits.held_out) == 7
    assert (len(splits.train["s"]), len(splits.test["s"]), len(splits.ood["s"])) == (28 * 12, 28 * 3, 7 * 15)


def test_held_out_objects_are_in_no_other_split_of_any_session():
    trials = session(10, 5, "a") | session(10, 5, "b")
    splits = make_splits(trials)
    for name in ("a", "b"):
        for split in (splits.train, splits.test):
            assert not {trials[name][t] for t in split[name]} & set(splits.held_out)
        assert {trials[name][t] for t in splits.ood[name]} == set(splits.held_out)


def test_the_rule_depends_on_names_only():
    """Neither the order of files and trials nor another session changes a session's split."""
    trials = session(10, 5, "a")
    backwards = {"a": dict(reversed(trials["a"].items()))}
    alone, reversed_, joined = (make_splits(t) for t in (trials, backwards, trials | session(10, 5, "b")))
    for other in (reversed_, joined):
        assert other.held_out == alone.held_out
        assert set(other.test["a"]) == set(alone.test["a"])
    assert make_splits(trials).sha256 == alone.sha256 != make_splits(session(10, 6, "a")).sha256


def test_too_few_conditions_hold_nothing_out():
    splits = make_splits(session(2, 10))
    assert splits.held_out == () and splits.ood["s"] == ()


@given(st.integers(2, 20), st.integers(1, 12))
def test_folds_are_even_and_keep_conditions_whole(n_objects, n_repeats):
    trials = session(n_objects, n_repeats)["s"]
    by_trial = folds_by_trial(list(trials), list(trials.values()), 5)
    sizes = [by_trial.count(f) for f in range(5)]
    assert max(sizes) - min(sizes) <= 1
    by_condition = folds_by_condition(list(trials.values()), 5)
    assert all(
        len({f for f, c in zip(by_condition, trials.values(), strict=True) if c == o}) == 1
        for o in set(trials.values())
    )


def test_the_rule_is_frozen():
    """A change of the rule changes every published score; it needs a new version of the protocol."""
    assert make_splits(session(35, 15)).sha256.startswith("4d87723b1159af1d")

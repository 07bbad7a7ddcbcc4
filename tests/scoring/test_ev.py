import numpy as np
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from lazy import Lazy

from neurobench_grasp.contract import Ragged
from neurobench_grasp.scoring.ev import (
    averaged_sums,
    condition_average,
    explained_variance,
    grouped_ev,
    to_phase,
    trial_sums,
)
from neurobench_grasp.scoring.sums import MIN_SPIKES, MIN_TRIALS, Sums, joined

metrics = Lazy("sklearn.metrics")


def trials(seed, n_trials=12, n_units=3):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 20, n_trials)
    y = Ragged.of([rng.gamma(2, 5, (n, n_units)) for n in lengths])
    noise = rng.standard_normal(y.values.shape)
    return y, Ragged(0.7 * y.values + 3 * noise + 2, y.offsets), [f"o{i % 4}" for i in range(n_trials)]


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=examples(25))
def test_scores_equal_sklearns_with_and_without_each_condition(seed):
    y, p, conditions = trials(seed)
    for offset_counts, reference in ((False, metrics.explained_variance_score), (True, metrics.r2_score)):
        table = grouped_ev(y, p, conditions, offset_counts=offset_counts)
        rows = np.repeat(conditions, y.lengths)
        for k, left_out in enumerate([None, *sorted(set(conditions))]):
            keep = rows != left_out
            expected = reference(y.values[keep], p.values[keep], multioutput="raw_values")
            np.testing.assert_allclose(table[k], expected, atol=1e-8)


def test_the_condition_averaged_score_equals_plain_loops():
    y, p, conditions = trials(5)
    labels = sorted(set(conditions))

    def plain(r, label):
        mine = [t for t, c in zip(r, conditions, strict=True) if c == label]
        grid = [
            [
                [np.interp(x, np.linspace(0, 1, len(t)), t[:, u]) for u in range(3)]
                for x in np.linspace(0, 1, 25)
            ]
            for t in mine
        ]
        return np.mean(grid, axis=0)

    a, b = (np.array([plain(r, label) for label in labels]) for r in (y, p))
    np.testing.assert_allclose(condition_average(y, conditions, labels), a, atol=1e-10)
    averages = (condition_average(r, conditions, labels) for r in (y, p))
    table = scores_of(averaged_sums(*averages, np.full((1, 3), 7.0)), labels)
    np.testing.assert_allclose(
        table[0],
        metrics.explained_variance_score(a.reshape(-1, 3), b.reshape(-1, 3), multioutput="raw_values"),
    )
    keep = [0, 2, 3]
    np.testing.assert_allclose(table[2], explained_variance(a[keep].reshape(-1, 3), b[keep].reshape(-1, 3)))


def scores_of(sums, groups, kind="ev", trials=MIN_TRIALS, spikes=MIN_SPIKES):
    """Scores of units that have spikes enough."""
    many = np.ones_like(sums[:1])
    return Sums(kind, tuple(groups), np.concatenate([sums, trials * many, spikes * many])).scores()


def sums_of(y, p, conditions, expected, kind="ev"):
    labels = sorted(set(conditions))
    sums = trial_sums(y, p, expected, conditions, labels)
    return Sums(kind, tuple(labels), np.concatenate([sums, np.full((2, *sums.shape[1:]), 100.0)]))


def test_what_training_trials_predict_without_a_model_scores_exactly_zero():
    rng = np.random.default_rng(0)
    y, course = rng.standard_normal((6, 25, 4)), rng.standard_normal((25, 4))
    played = np.broadcast_to(course, y.shape)
    np.testing.assert_array_equal(scores_of(averaged_sums(y, played, course), "abcdef")[0], 0)
    np.testing.assert_allclose(scores_of(averaged_sums(y, y, course), "abcdef")[0], 1)


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=examples(25))
def test_single_folds_score_like_scikit_learn_with_and_without_each_condition(seed):
    """Whatever mean the training trials have."""
    y, p, conditions = trials(seed)
    rows = np.repeat(conditions, y.lengths)
    for kind, reference in (("ev", metrics.explained_variance_score), ("r2", metrics.r2_score)):
        table = sums_of(y, p, conditions, np.array([3.0, -20.0, 11.0]), kind).scores()
        for k, left_out in enumerate([None, *sorted(set(conditions))]):
            keep = rows != left_out
            expected = reference(y.values[keep], p.values[keep], multioutput="raw_values")
            np.testing.assert_allclose(table[k], expected, atol=1e-8)


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=examples(25))
def test_joined_folds_score_as_all_their_bins_at_once(seed):
    """The training mean of each fold scores exactly 0 in the union, where one grand mean would not."""
    y, p, conditions = trials(seed, n_trials=16)
    folds = [[i for i, c in enumerate(conditions) if c in held] for held in (("o0", "o1"), ("o2", "o3"))]
    means = np.random.default_rng(seed).normal(10, 5, (2, 3))
    parts, errors, deviations, played = [], [], [], []
    for mine, mean in zip(folds, means, strict=True):
        some, predicted = y.select(mine), p.select(mine)
        of_mine = [conditions[i] for i in mine]
        parts.append(sums_of(some, predicted, of_mine, mean))
        errors.append(some.values - predicted.values)
        deviations.append(some.values - mean)
        constant = Ragged(np.broadcast_to(mean, some.values.shape), some.offsets)
        played.append(sums_of(some, constant, of_mine, mean))
    whole = joined(parts)
    assert whole.groups == ("o0", "o1", "o2", "o3")
    expected = 1 - np.concatenate(errors).var(0) / np.concatenate(deviations).var(0)
    np.testing.assert_allclose(whole.scores()[0], expected, atol=1e-9)
    np.testing.assert_array_equal(joined(played).scores()[0], 0)
    again = joined([*parts, parts[0]])  # a second network of the first fold counts with its condition's bins
    np.testing.assert_allclose(again.scores(), whole.scores(), atol=1e-9)


def test_too_few_spikes_decide_no_score_whatever_is_predicted():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((4, 25, 2))
    sums = averaged_sums(y, -100 * y, np.zeros((1, 2)))
    for trials_, spikes, scored in ((1, 100, True), (0.5, 100, False), (1, 3, True), (1, 2, False)):
        row = scores_of(sums, "abcd", trials=trials_, spikes=spikes)[0]
        assert np.isfinite(row).all() == scored, (trials_, spikes)


@given(st.integers(0, 100), st.floats(0.1, 10), st.floats(-100, 100))
@settings(deadline=None, max_examples=examples(25))
def test_identities_of_explained_variance(seed, scale, offset):
    """A constant offset is forgiven, units of measure do not matter, the sign of a prediction does."""
    y, p, _ = trials(seed)
    ev = explained_variance(y.values, p.values)
    np.testing.assert_allclose(explained_variance(y.values, p.values + offset), ev, atol=1e-8)
    np.testing.assert_allclose(explained_variance(y.values * scale, p.values * scale), ev, atol=1e-8)
    assert (explained_variance(y.values, -y.values) < 0).all()


def test_a_unit_that_does_not_vary_has_no_score():
    y = np.full((50, 1), 0.1)
    assert np.isnan(explained_variance(y, np.random.default_rng(0).standard_normal((50, 1))))[0]


def test_resampling_keeps_the_ends_and_straight_lines():
    line = np.linspace(2, 5, 9)[:, None]
    np.testing.assert_allclose(to_phase(Ragged.of([line]))[0, :, 0], np.linspace(2, 5, 25))
    np.testing.assert_allclose(to_phase(Ragged.of([line[:1]]))[0, :, 0], np.full(25, 2.0))

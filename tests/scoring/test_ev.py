import numpy as np
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from lazy import Lazy

from neurobench_grasp.contract import Ragged
from neurobench_grasp.scoring.ev import (
    averaged_ev,
    condition_average,
    explained_variance,
    grouped_ev,
    to_phase,
)

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
    table = averaged_ev(
        condition_average(y, conditions, labels), condition_average(p, conditions, labels), tuning_only=False
    )
    np.testing.assert_allclose(
        table[0],
        metrics.explained_variance_score(a.reshape(-1, 3), b.reshape(-1, 3), multioutput="raw_values"),
    )
    keep = [0, 2, 3]
    np.testing.assert_allclose(table[2], explained_variance(a[keep].reshape(-1, 3), b[keep].reshape(-1, 3)))


def test_a_model_of_the_time_course_alone_has_no_object_tuning():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((6, 25, 4))
    course = np.broadcast_to(rng.standard_normal((25, 4)), y.shape)
    np.testing.assert_allclose(averaged_ev(y, course, tuning_only=True)[0], 0, atol=1e-12)
    np.testing.assert_allclose(averaged_ev(y, y, tuning_only=True)[0], 1)


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

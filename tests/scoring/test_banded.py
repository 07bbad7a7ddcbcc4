"""Banded ridge: the same numbers as ridge of scikit-learn on scaled features, draw by draw."""

import numpy as np
import pytest
from lazy import Lazy

from neurobench_grasp.scoring.banded import Penalties, choose_penalties, draw_weights, solve_banded
from neurobench_grasp.scoring.ridge import Moments, fold_moments

linear_model = Lazy("sklearn.linear_model")
metrics = Lazy("sklearn.metrics")

ALPHAS = np.logspace(-2, 5, 8)
GROUP = np.array([0] * 5 + [1] * 3 + [2] * 8)


@pytest.fixture
def data():
    """Units that the groups explain in different shares, one of them nothing but noise; folds of rows."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((500, len(GROUP))) + 2
    shares = np.array([[1, 0, 0], [0, 1, 0], [0.2, 0.2, 0.6], [0, 0, 0]])
    y = x @ (shares.T[GROUP] * rng.standard_normal((len(GROUP), 4))) + 2 * rng.standard_normal((500, 4)) + 30
    fold = np.repeat(np.arange(50), 10) % 5
    order = np.argsort(fold, kind="stable")
    return x[order], y[order], fold[order]


def test_the_first_draw_is_even_and_all_are_shares_of_one():
    weights = draw_weights(4, 60, np.random.default_rng(0))
    assert weights.shape == (60, 4) and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_array_equal(weights[0], 0.25)
    assert (weights.max(1) > 0.95).sum() > 5, "some leave one group alone"
    np.testing.assert_array_equal(draw_weights(1, 60, np.random.default_rng(0)), [[1.0]])


def test_coefficients_for_given_penalties_are_those_of_sklearn(data):
    x, y, _ = data
    weights = np.array([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [1 / 3] * 3])
    alpha = np.array([1.0, 30.0, 500.0, np.inf])
    found, intercept = solve_banded(Moments.of(x, y), GROUP, Penalties(weights, alpha, np.zeros(4)))
    for u in range(3):
        scale = np.sqrt(weights[u])[GROUP]
        model = linear_model.Ridge(alpha=alpha[u]).fit(x * scale, y[:, u])
        np.testing.assert_allclose(found[:, u], scale * model.coef_, atol=1e-9)
        np.testing.assert_allclose(intercept[u], model.intercept_, atol=1e-8)
    assert (found[:, 3] == 0).all() and intercept[3] == pytest.approx(y[:, 3].mean())


def test_the_choice_is_the_best_of_all_that_sklearn_tries(data):
    x, y, fold = data
    weights = draw_weights(3, 6, np.random.default_rng(1))
    folds = fold_moments(x, np.arange(len(x)), y, fold, 5)
    chosen = choose_penalties(folds, GROUP, weights, ALPHAS)
    for u in range(3):
        tried = {
            (k, alpha): np.mean(
                [held_out_ev(x * np.sqrt(w)[GROUP], y[:, u], alpha, fold == f) for f in range(5)]
            )
            for k, w in enumerate(weights)
            for alpha in ALPHAS
        }
        (k, alpha), best = max(tried.items(), key=lambda item: item[1])
        np.testing.assert_array_equal(chosen.weights[u], weights[k])
        assert (chosen.alpha[u], chosen.cv_ev[u]) == (alpha, pytest.approx(best, abs=1e-9))
    assert chosen.alpha[3] == np.inf or chosen.cv_ev[3] > 0


def held_out_ev(x, y, alpha, held_out):
    model = linear_model.Ridge(alpha=alpha).fit(x[~held_out], y[~held_out])
    return metrics.explained_variance_score(y[held_out], model.predict(x[held_out]))


def test_without_any_group_units_have_their_mean(data):
    x, y, fold = data
    folds = fold_moments(x, np.arange(len(x)), y, fold, 5).of_features(np.zeros(0, np.int64))
    none = np.zeros(0, np.int64)
    chosen = choose_penalties(folds, none, draw_weights(0, 6, np.random.default_rng(0)), ALPHAS)
    coefficients, intercept = solve_banded(folds.total(range(5)), none, chosen)
    assert coefficients.shape == (0, 4) and np.isinf(chosen.alpha).all()
    np.testing.assert_allclose(intercept, y.mean(0))

import numpy as np
import pytest
from lazy import Lazy

from neurobench_grasp.scoring.components import fit_components
from neurobench_grasp.scoring.ridge import Moments, cv_explained_variance, fold_moments, solve

decomposition = Lazy("sklearn.decomposition")
linear_model = Lazy("sklearn.linear_model")
metrics = Lazy("sklearn.metrics")
model_selection = Lazy("sklearn.model_selection")
pipeline = Lazy("sklearn.pipeline")
preprocessing = Lazy("sklearn.preprocessing")

ALPHAS = np.logspace(-2, 5, 15)
PLAN = [[f] for f in range(5)]


def moments_of_folds(x, y, fold, n_folds):
    order = np.argsort(fold, kind="stable")
    return fold_moments(x, order, y[order], fold[order], n_folds)


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((600, 12)) @ rng.standard_normal((12, 12)) + 3
    y = (
        x @ rng.standard_normal((12, 6)) * np.array([0, 0.05, 0.1, 0.3, 1, 3])
        + 5 * rng.standard_normal((600, 6))
        + 20
    )
    return x, y, np.repeat(np.arange(60), 10) % 5


def test_penalty_score_and_weights_equal_sklearns_grid_search(data):
    x, y, fold = data
    ev = cv_explained_variance(moments_of_folds(x, y, fold, 5), PLAN, ALPHAS)
    weights, intercept = solve(Moments.of(x, y), ALPHAS[ev.argmax(0)])
    for u in range(y.shape[1]):
        search = model_selection.GridSearchCV(
            linear_model.Ridge(),
            {"alpha": ALPHAS},
            scoring=metrics.make_scorer(metrics.explained_variance_score),
            cv=model_selection.PredefinedSplit(fold),
        ).fit(x, y[:, u])
        np.testing.assert_allclose(ev[:, u], search.cv_results_["mean_test_score"], atol=1e-8)
        assert ALPHAS[ev[:, u].argmax()] == search.best_params_["alpha"]
        np.testing.assert_allclose(weights[:, u], search.best_estimator_.coef_, atol=1e-8)
        np.testing.assert_allclose(intercept[u], search.best_estimator_.intercept_, atol=1e-8)


def test_moments_of_disjoint_rows_add_up(data):
    x, y, _ = data
    halves = [Moments.of(x[:200], y[:200]), Moments.of(x[200:], y[200:])]
    parts, whole = Moments.stack(halves).total([0, 1]), Moments.of(x, y)
    for field in ("n", "x", "y", "xx", "xy", "yy"):
        np.testing.assert_allclose(getattr(parts, field), getattr(whole, field))
        np.testing.assert_allclose(getattr(whole - Moments.of(x[200:], y[200:]), field),
                                   getattr(Moments.of(x[:200], y[:200]), field), atol=1e-6)  # fmt: skip


def test_stacked_moments_of_folds_add_up_to_those_of_their_rows(data):
    x, y, fold = data
    stacked = moments_of_folds(x, y, fold, 7)  # the last two are empty
    for which in ([0], [1, 4], [0, 5, 3], list(range(7))):
        rows = np.isin(fold, which)
        part, expected = stacked.total(which), Moments.of(x[rows], y[rows])
        for field in ("n", "x", "y", "xx", "xy", "yy"):
            np.testing.assert_allclose(getattr(part, field), getattr(expected, field), rtol=1e-12)


def test_a_unit_silent_in_one_fold_is_judged_by_the_others_and_a_silent_unit_by_none(data):
    x, y, fold = data
    y = y.copy()
    y[fold == 2, 0] = 0.0
    y[:, 1] = 0.0
    ev = cv_explained_variance(moments_of_folds(x, y, fold, 5), PLAN, ALPHAS)
    assert np.isfinite(ev[:, 0]).all()
    assert np.isnan(ev[:, 1]).all()
    folds = []
    for f in (0, 1, 3, 4):
        prediction = linear_model.Ridge(1.0).fit(x[fold != f], y[fold != f, 0]).predict(x[fold == f])
        folds.append(metrics.explained_variance_score(y[fold == f, 0], prediction))
    np.testing.assert_allclose(
        cv_explained_variance(moments_of_folds(x, y, fold, 5), PLAN, np.ones(1))[0, 0], np.mean(folds)
    )


def test_a_layer_without_components_explains_nothing_and_predicts_the_mean(data):
    x, y, fold = data
    dead = np.ones((len(x), 4))
    none = fit_components(dead, n_components=78, winsorise_sd=6).scores(dead)[0]
    ev = cv_explained_variance(moments_of_folds(none, y, fold, 5), PLAN, ALPHAS)
    np.testing.assert_array_equal(ev, 0.0)
    weights, intercept = solve(Moments.of(none, y), np.ones(y.shape[1]))
    np.testing.assert_allclose(none @ weights + intercept, np.broadcast_to(y.mean(0), y.shape))


def test_components_then_ridge_equal_sklearns_pipeline(data):
    rng = np.random.default_rng(2)
    train, test = (
        rng.standard_normal((500, 30)) @ rng.standard_normal((30, 30)),
        rng.standard_normal((80, 30)),
    )
    y = train[:, :4] @ rng.standard_normal((4, 3)) + rng.standard_normal((500, 3))
    components = fit_components(train, n_components=7, winsorise_sd=np.inf)
    (scores, _), (test_scores, _) = components.scores(train), components.scores(test)
    weights, intercept = solve(Moments.of(scores, y), np.full(3, 2.0))
    reduced = pipeline.make_pipeline(
        preprocessing.StandardScaler(), decomposition.PCA(7, svd_solver="full"), linear_model.Ridge(2.0)
    ).fit(train, y)
    np.testing.assert_allclose(test_scores @ weights + intercept, reduced.predict(test), atol=1e-8)


def test_winsorising_cuts_at_standard_deviations_of_train_and_counts():
    rng = np.random.default_rng(3)
    train = rng.standard_normal((4000, 3))
    components = fit_components(train, n_components=3, winsorise_sd=6)
    outlier = np.array([[1000.0, 0, 0], [0, 0, 0]])
    cut, n = components.scores(outlier)
    assert 1 <= n <= 3 and np.abs(cut).max() < 6.5
    assert components.scores(train)[1] == 0


def test_features_that_do_not_vary_on_train_do_not_count():
    rng = np.random.default_rng(4)
    train = np.hstack([rng.standard_normal((300, 2)), np.full((300, 1), 7.1)])
    components = fit_components(train, n_components=78, winsorise_sd=6)
    moved = train.copy()
    moved[:, 2] += 1e6
    np.testing.assert_array_equal(components.scores(train)[0], components.scores(moved)[0])
    assert components.axes.shape == (3, 2)

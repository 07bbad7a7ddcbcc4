"""The map to units as scikit-learn estimators: scikit-learn's own checks, and equality with the protocols."""

import numpy as np
import pytest
from planted import context_of, repeating_population
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from neurobench_grasp.alignment.splits import folds_by_condition
from neurobench_grasp.contract import Activations
from neurobench_grasp.protocols.encoding.predictions import predict_units
from neurobench_grasp.protocols.encoding.reduction import LagWindow
from neurobench_grasp.protocols.settings import ENCODING
from neurobench_grasp.scoring.estimators import LayerComponents, UnitRidge


@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks warn of what they try
@parametrize_with_checks([LayerComponents(n_components=5), UnitRidge(), UnitRidge(fallback=False)])
def test_scikit_learn_accepts_them(estimator, check):
    check(estimator)


def test_defaults_are_the_constants_of_the_protocols():
    ridge, components = UnitRidge(), LayerComponents()
    assert (list(ridge.alphas), ridge.n_folds) == (ENCODING.alphas.tolist(), ENCODING.n_folds)
    assert (components.n_components, components.winsorise_sd) == (
        ENCODING.n_components,
        ENCODING.winsorise_sd,
    )


def test_a_pipeline_predicts_what_the_protocol_predicts():
    session = repeating_population(np.random.default_rng(3), n_units=8)
    context, trials = context_of(session), session.scored
    layer = trials.signals["latents"]
    lagged = LagWindow.of(context, session)
    reduced = lagged.reduce(Activations({"layer": layer}), context.clock(session)).layers
    found = predict_units(context, lagged, reduced, lags=np.zeros(8, np.int64))

    def rows(which):
        return np.concatenate([layer[i][slice(*trials.window[i])] for i in which])

    train, ood = (context.index(session, split) for split in (context.splits.train, context.splits.ood))
    folds = folds_by_condition([trials.condition[i] for i in train], ENCODING.n_folds)
    rates = session.units.rates.select(train)
    pipeline = make_pipeline(LayerComponents(), UnitRidge())
    pipeline.fit(rows(train), rates.values, unitridge__groups=np.repeat(folds, rates.lengths))
    assert np.isfinite(pipeline[-1].alpha_).all()
    np.testing.assert_allclose(pipeline.predict(rows(ood)), found["ood"], rtol=1e-9)


def test_a_unit_that_nothing_explains_is_predicted_by_its_mean_unless_it_must_not_be():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    y = np.column_stack([x[:, 0] + 0.1 * rng.standard_normal(60), rng.standard_normal((60, 20))])
    ridge, without = UnitRidge().fit(x, y), UnitRidge(fallback=False).fit(x, y)
    by_mean = np.isinf(ridge.alpha_)
    assert by_mean.sum() > 5 and not by_mean[0] and ridge.cv_ev_[0] > 0.9
    np.testing.assert_allclose(ridge.predict(x)[:, by_mean], np.tile(y.mean(0)[by_mean], (60, 1)))
    assert np.isfinite(without.alpha_).all() and without.predict(x)[:, by_mean].std(0).all()


def test_rows_of_one_group_stay_in_one_fold():
    """Features that only know the group explain nothing of new ones, and all of rows that are mixed."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(20), 15)
    x, y = np.eye(20)[group], rng.standard_normal(20)[group] + 0.01 * rng.standard_normal(300)
    assert UnitRidge().fit(x, y, groups=group).cv_ev_ == pytest.approx(0.0, abs=1e-9)
    shuffled = rng.permutation(300)
    assert UnitRidge().fit(x[shuffled], y[shuffled]).cv_ev_ > 0.9

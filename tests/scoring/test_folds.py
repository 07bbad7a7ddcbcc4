"""Intervals of scores whose folds join: they cover the truth, or there is none with the reason."""

import numpy as np
import pytest

from neurobench_grasp.alignment.splits import deal_conditions
from neurobench_grasp.leaderboard.ranking import difference
from neurobench_grasp.scoring.ev import averaged_sums
from neurobench_grasp.scoring.intervals import UnitScores, fold_error
from neurobench_grasp.scoring.networks import average, mean_of_networks
from neurobench_grasp.scoring.sums import Sums

N_UNITS, N_BINS, N_FACTORS = 25, 60, 4
NAMES = tuple(f"u{i}" for i in range(N_UNITS))


def networks_of(rng, n_conditions, spread, n_models=1):
    """Five networks, each tested on its own fold, of some models that explain the same units.

    Conditions differ in size; each network misses its own part of the drive (``spread``) and is better or worse
    than the others for all units.
    """
    labels = [f"c{i:02d}" for i in range(n_conditions)]
    size = np.exp(0.3 * rng.standard_normal((n_conditions, 1, 1)))
    factors = size * rng.standard_normal((n_conditions, N_BINS, N_FACTORS))
    weights = rng.standard_normal((N_FACTORS, N_UNITS)) * np.exp(0.4 * rng.standard_normal(N_UNITS))
    missed = 0.7 * rng.standard_normal((n_conditions, N_BINS, N_UNITS)) * np.abs(weights).mean(0)
    drive = factors @ weights
    y = drive + missed + 1.5 * rng.standard_normal(drive.shape)
    models = []
    for _ in range(n_models):
        model = []
        for fold in deal_conditions(labels):
            mine = [labels.index(label) for label in fold]
            quality = 1 - spread * (1 + 0.5 * rng.standard_normal())
            own = 0.5 * spread * rng.standard_normal((N_FACTORS, N_UNITS))
            predicted = factors[mine] @ (quality * weights + own)
            sums = averaged_sums(y[mine], predicted, np.zeros((1, N_UNITS)))
            sums = Sums("ev", fold, np.concatenate([sums, np.full((2, *sums.shape[1:]), 100.0)]))
            model.append([UnitScores.of_terms("s", "a", NAMES, ((1, sums),))])
        models.append(model)
    return models


@pytest.mark.parametrize("spread", [0.0, 0.15, 0.4])
@pytest.mark.parametrize("n_conditions", [8, 35])
def test_intervals_of_five_networks_cover_the_truth(n_conditions, spread):
    """400 simulations; the truth is the mean over all of them.

    With eight conditions 97.5 % of 8000 are covered, so that up to 98.5 % of 400 are, by chance (two standard errors).
    """
    found = [average(networks_of(np.random.default_rng(k), n_conditions, spread)[0]) for k in range(400)]
    truth = np.mean([total.value for total in found])
    covered = np.mean([total.ci[0] <= truth <= total.ci[1] for total in found])
    assert 0.90 <= covered <= 0.985, covered


@pytest.mark.parametrize("spread", [0.15, 0.4])
@pytest.mark.parametrize("n_conditions", [8, 35])
def test_intervals_of_the_difference_of_two_models_cover_the_truth(n_conditions, spread):
    """Networks of one fold are paired: they share its conditions."""
    found = [
        difference(*networks_of(np.random.default_rng(k), n_conditions, spread, n_models=2))
        for k in range(400)
    ]
    covered = np.mean([total.ci[0] <= 0 <= total.ci[1] for total in found])
    assert 0.90 <= covered <= 0.98, covered
    one = [average(networks_of(np.random.default_rng(k), n_conditions, spread)[0]) for k in range(20)]
    assert np.median([t.data_se for t in found]) < np.median([t.data_se for t in one])


def test_a_joined_score_is_that_of_all_folds_and_not_their_mean():
    (model,) = networks_of(np.random.default_rng(0), 8, 0.15)
    total, (part,) = average(model), mean_of_networks(model)
    values = part.terms[0][1].values.sum(1)
    n, e, ee, d, dd = values[:5]
    ev = 1 - (ee / n - (e / n) ** 2) / (dd / n - (d / n) ** 2)
    assert total.value == pytest.approx(ev.mean()) and total.n_groups == 8
    assert total.value != pytest.approx(np.mean([network[0].values.mean() for network in model]), abs=1e-4)
    assert len(part.folds) == 5 and total.draw_se >= 0


def test_what_conditions_explain_is_not_counted_as_networks():
    folds = np.array([0.1, 0.2, 0.3, 0.2, 0.2])
    alone = fold_error(folds, 0.0)
    assert alone == pytest.approx(folds.std(ddof=1) / 5**0.5)
    assert fold_error(folds, alone**2) == 0.0 == fold_error(folds, 1.0)

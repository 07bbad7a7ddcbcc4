"""Encoding speed compared with common alternatives; prints JSON.

Candidates choose one ridge penalty per unit by 5-fold cross-validated explained variance and refit: ours on
all layers, scikit-learn's ``GridSearchCV(Ridge)`` unit by unit (a sample of units on the first layer, scaled
up), and himalaya's ``RidgeCV`` with explained variance as its score (the first layer, scaled up). All run in
this process on the same data, with the same number of threads; ratios are medians over the rounds.

    python benchmarks/encoding.py [--rounds 3] [--units 200] [--bins 20000] [--layers 12] [--features 256]
"""

import argparse
import json
import statistics
import time
import warnings

import numpy as np
from himalaya.ridge import RidgeCV
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from neurobench_grasp.scoring.ridge import cv_explained_variance, fold_moments, solve

ALPHAS = np.logspace(-2, 5, 15)
N_FOLDS = 5
BINS_PER_TRIAL = 40


def simulate(n_bins, n_units, n_layers, n_features, rng):
    """Layers of correlated, autocorrelated features, and units that follow some of them."""
    trial = np.arange(n_bins) // BINS_PER_TRIAL
    latent = np.cumsum(rng.standard_normal((n_bins, 40)), 0) / 20
    latent -= latent[trial * BINS_PER_TRIAL]
    layers = [
        latent @ rng.standard_normal((40, n_features)) + 0.3 * rng.standard_normal((n_bins, n_features))
        for _ in range(n_layers)
    ]
    drive = latent @ rng.standard_normal((40, n_units)) / 4
    rates = 10 + drive + 2 * drive.std() * rng.standard_normal((n_bins, n_units))
    return [(x - x.mean(0)) / x.std(0) for x in layers], rates, trial % N_FOLDS


def ours(x, y, fold):
    """Cross-validated EV of the best penalty, and the refitted weights."""
    order = np.argsort(fold, kind="stable")
    folds = fold_moments(x, order, (y - y.mean(0))[order], fold[order], N_FOLDS)
    ev = cv_explained_variance(folds, [[f] for f in range(N_FOLDS)], ALPHAS)
    weights, _ = solve(folds.total(range(N_FOLDS)), ALPHAS[ev.argmax(0)])
    return ev.max(0), weights


def explained_variance(y_true, y_pred):
    """Score function for himalaya, over its leading batch dimension too."""
    return 1 - (y_true - y_pred).var(-2) / y_true.var(0)


def himalaya(x, y, fold):
    """Himalaya's solver for many targets."""
    model = RidgeCV(
        alphas=ALPHAS,
        fit_intercept=True,
        cv=PredefinedSplit(fold),
        solver_params={"score_func": explained_variance, "warn": False},
    ).fit(x, y)
    return np.asarray(model.cv_scores_), np.asarray(model.coef_)


def sklearn(x, y, fold):
    """One GridSearchCV for each unit."""
    ev, weights = [], []
    for unit in y.T:
        search = GridSearchCV(
            Ridge(), {"alpha": ALPHAS}, scoring="explained_variance", cv=PredefinedSplit(fold)
        ).fit(x, unit)
        ev.append(search.best_score_)
        weights.append(search.best_estimator_.coef_)
    return np.array(ev), np.array(weights).T


def seconds(function, layers, y, fold):
    """Wall time over the layers, and the result of the first one."""
    start = time.perf_counter()
    results = [function(x, y, fold) for x in layers]
    return time.perf_counter() - start, results[0]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {
        "rounds": 3,
        "units": 200,
        "bins": 20_000,
        "layers": 12,
        "features": 256,
        "sample": 10,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    layers, y, fold = simulate(a.bins, a.units, a.layers, a.features, np.random.default_rng(0))
    ours(layers[0], y, fold)  # warm up BLAS

    loop_time, (loop_ev, loop_weights) = seconds(sklearn, layers[:1], y[:, : a.sample], fold)
    loop_time *= a.units / a.sample * a.layers
    over_sklearn, over_himalaya, times = [], [], []
    for _ in range(a.rounds):
        own_time, (ev, weights) = seconds(ours, layers, y, fold)
        other_time, (other_ev, _) = seconds(himalaya, layers[:1], y, fold)
        other_time *= a.layers
        over_sklearn.append(loop_time / own_time)
        over_himalaya.append(other_time / own_time)
        times.append(own_time)
    report = {
        "units": a.units, "bins": a.bins, "layers": a.layers, "features": a.features,
        "seconds": round(statistics.median(times), 3),
        "over_sklearn_loop": round(statistics.median(over_sklearn), 1),
        "over_himalaya": round(statistics.median(over_himalaya), 1),
        "max_ev_difference_sklearn": float(np.abs(ev[: a.sample] - loop_ev).max()),
        "max_ev_difference_himalaya": float(np.abs(ev - other_ev).max()),
        "max_weight_difference_sklearn": float(np.abs(weights[:, : a.sample] - loop_weights).max()),
    }  # fmt: skip
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

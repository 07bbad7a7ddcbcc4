"""Banded ridge regression: one penalty per group of features and unit, chosen by cross-validation.

Scaling the features of group g by √w_g turns one penalty α into the penalty α / w_g of that group, so that
banded ridge is ridge on scaled features: Nunez-Elizalde, Huth and Gallant (2019), NeuroImage 197:482. Weights
are searched at random on the simplex: Dupré la Tour, Eickenberg, Nunez-Elizalde and Gallant (2022),
NeuroImage 264:119728. Their package himalaya decomposes the rows for every draw and fold; here a draw scales
the moments of the folds, and the rows are read once. Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.contract import Floats, Ints
from neurobench_grasp.scoring.ridge import Moments, best_alphas, cv_explained_variance, solve
from neurobench_grasp.threads import on_all_cores

CONCENTRATIONS = (0.1, 1.0)
"""Of the Dirichlet distribution, draw by draw: sparse weights and even ones, as in himalaya."""


@dataclass(frozen=True)
class Penalties:
    """What cross-validation on train chose for each unit.

    Parameters
    ----------
    weights : ndarray, shape (n_units, n_groups)
        Shares of the groups; they sum to 1.
    alpha : ndarray, shape (n_units,)
        The penalty of group g is ``alpha / weights[:, g]``; infinite for units predicted by their mean.
    cv_ev : ndarray, shape (n_units,)
        Cross-validated explained variance.
    """

    weights: Floats
    alpha: Floats
    cv_ev: Floats

    @classmethod
    def best_of(cls, found: Sequence[Penalties]) -> Penalties:
        """Take for each unit those that explain most by cross-validation; of equals the first."""
        cv_ev = np.array([one.cv_ev for one in found])
        best, units = np.where(np.isnan(cv_ev), -np.inf, cv_ev).argmax(0), np.arange(cv_ev.shape[1])
        weights, alpha = (np.array([getattr(one, name) for one in found]) for name in ("weights", "alpha"))
        return cls(weights[best, units], alpha[best, units], cv_ev[best, units])

    def among(self, mine: Sequence[str], groups: Sequence[str]) -> Penalties:
        """Return the same for more groups: those that are not among ``mine`` have no weight."""
        weights = np.zeros((len(self.weights), len(groups)))
        weights[:, [groups.index(name) for name in mine]] = self.weights
        return Penalties(weights, self.alpha, self.cv_ev)


def draw_weights(n_groups: int, n_draws: int, rng: np.random.Generator) -> Floats:
    """Draw weights of groups on the simplex; the first draw has equal ones.

    Parameters
    ----------
    n_groups, n_draws : int
        A single group (or none) has nothing to draw.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_draws, n_groups)
    """
    if n_groups < 2:
        return np.ones((1, n_groups))
    drawn = [
        rng.dirichlet(np.full(n_groups, CONCENTRATIONS[k % len(CONCENTRATIONS)])) for k in range(n_draws - 1)
    ]
    return np.array([np.full(n_groups, 1 / n_groups), *drawn])


def choose_penalties(folds: Moments, group: Ints, weights: Floats, alphas: Floats) -> Penalties:
    """Choose for each unit the draw of weights and the penalty with the best held-out explained variance.

    Parameters
    ----------
    folds : Moments
        Stacked; each is predicted from all the others.
    group : ndarray of int64, shape (n_features,)
        Group of each feature.
    weights : ndarray, shape (n_draws, n_groups)
    alphas : ndarray, shape (n_alphas,)

    Returns
    -------
    Penalties
    """
    plan = [[k] for k in range(len(folds.x))]

    def tried(drawn: Floats) -> Penalties:
        scores = cv_explained_variance(folds.scaled(np.sqrt(drawn)[group]), plan, alphas)
        return Penalties(np.tile(drawn, (scores.shape[1], 1)), *best_alphas(scores, alphas))

    return Penalties.best_of(on_all_cores(tried, weights))


def solve_banded(moments: Moments, group: Ints, penalties: Penalties) -> tuple[Floats, Floats]:
    """Fit every unit with its own penalties and an unpenalised intercept.

    Parameters
    ----------
    moments : Moments
    group : ndarray of int64, shape (n_features,)
    penalties : Penalties

    Returns
    -------
    coefficients : ndarray, shape (n_features, n_units)
    intercept : ndarray, shape (n_units,)
    """
    coefficients, intercept = np.zeros(moments.xy.shape), np.zeros(len(moments.y))
    drawn, member = np.unique(penalties.weights, axis=0, return_inverse=True)
    for k, weights in enumerate(drawn):
        units, scale = np.flatnonzero(member.ravel() == k), np.sqrt(weights)[group]
        found, intercept[units] = solve(moments.of_units(units).scaled(scale), penalties.alpha[units])
        coefficients[:, units] = scale[:, None] * found
    return coefficients, intercept

"""Split-half reliability of condition means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobench_grasp.contract import Bools, Floats

N_HALVES = 50


def split_half_reliability(
    responses: Floats, seen: Bools, conditions: Sequence[str], *, min_repeats: int, seed: int
) -> tuple[float, int, int]:
    """Measure how reproducible condition means are from one half of the repeats to the other.

    Parameters
    ----------
    responses : ndarray, shape (n_trials, n_units)
    seen : ndarray of bool, shape (n_trials, n_units)
        Trials to use for each unit.
    conditions : sequence of str, length n_trials
    min_repeats : int
        A condition needs this many trials of a unit, at least two.
    seed : int
        Of the random halves.

    Returns
    -------
    reliability : float
        Ratio of sums over units: covariance of the two halves' condition means over the mean of their
        variances, then Spearman–Brown ``2r / (1 + r)``; averaged over 50 random halvings. NaN if undefined.
    n_units, n_conditions : int
        Units that had at least two conditions with enough repeats, and the most conditions of any.
    """
    rng = np.random.default_rng(seed)
    labels = np.array(conditions)
    covariance, variance = np.zeros(N_HALVES), np.zeros(N_HALVES)
    n_units = n_conditions = 0
    for u in range(responses.shape[1]):
        groups = [np.flatnonzero((labels == c) & seen[:, u]) for c in sorted(set(conditions))]
        groups = [g for g in groups if len(g) >= max(min_repeats, 2)]
        if len(groups) < 2:
            continue
        n_units, n_conditions = n_units + 1, max(n_conditions, len(groups))
        for k in range(N_HALVES):
            a, b = _halves([responses[g, u] for g in groups], rng)
            covariance[k] += np.cov(a, b)[0, 1]
            variance[k] += (a.var(ddof=1) + b.var(ddof=1)) / 2
    if n_units == 0 or not (variance > 0).all():
        return float("nan"), n_units, n_conditions
    r = float((covariance / variance).mean())
    return 2 * r / (1 + r) if r > -1 else float("nan"), n_units, n_conditions


def _halves(groups: Sequence[Floats], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Condition means of two random halves of the repeats."""
    shuffled = [rng.permutation(g) for g in groups]
    first = np.array([g[: len(g) // 2].mean() for g in shuffled])
    second = np.array([g[len(g) // 2 :].mean() for g in shuffled])
    return first, second

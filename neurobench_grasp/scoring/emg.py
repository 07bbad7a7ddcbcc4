"""How alike recorded and simulated muscle activity are: correlations, muscle RSA, and their ceilings.

Definitions are those of mm-evalkit 0.1.0 (Li et al. 2026, arXiv:2603.25544): Pearson's correlation of
averages over repeats, muscle by muscle; Spearman's of the off-diagonal entries of the two matrices of
correlations of muscles; as ceilings the same between averages of odd and even repeats, the former with the
Spearman–Brown correction. There, the average is of one movement; here, averages of all conditions are laid
end to end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobench_grasp.contract import Floats


def correlations(a: Floats, b: Floats) -> Floats:
    """Correlate equal columns of two arrays.

    Parameters
    ----------
    a, b : ndarray, shape (n_samples, n_channels)

    Returns
    -------
    ndarray, shape (n_channels,)
        NaN where a column of either is constant.
    """
    a, b = a - a.mean(0), b - b.mean(0)
    size = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    found: Floats = np.divide((a * b).sum(0), size, out=np.full(a.shape[1], np.nan), where=size > 0)
    return found


def spearman_brown(halves: Floats) -> Floats:
    """Return the reliability of an average, from the correlation of the averages of its two halves."""
    corrected: Floats = np.where(halves > 0, 2 * halves / (1 + halves), halves)
    return corrected


def attainable(reliability: Floats) -> Floats:
    """Return the correlation of an average with its signal: what a perfect model reaches."""
    found: Floats = np.where(reliability > 0, np.sqrt(np.maximum(reliability, 0.0)), reliability)
    return found


def condition_averages(phases: Floats, conditions: Sequence[str]) -> Floats:
    """Average trials of equal condition.

    Parameters
    ----------
    phases : ndarray, shape (n_trials, n_phases, n_channels)
    conditions : sequence of str, length n_trials

    Returns
    -------
    ndarray, shape (n_conditions, n_phases, n_channels)
        In the order of the sorted labels.
    """
    labels = np.array(conditions)
    averages = [phases[labels == label].mean(0) for label in np.unique(labels)]
    return np.stack(averages) if averages else phases[:0]


def halves(phases: Floats, conditions: Sequence[str]) -> tuple[Floats, Floats]:
    """Average odd and even trials of each condition that has two; arrays as of :func:`condition_averages`."""
    labels = np.array(conditions)
    repeats = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    pairs = [mine[: len(mine) // 2 * 2] for mine in repeats if len(mine) > 1]
    if not pairs:
        return phases[:0], phases[:0]
    first, second = (np.stack([phases[mine[k::2]].mean(0) for mine in pairs]) for k in (0, 1))
    return first, second


def tuning_reliability(phases: Floats, conditions: Sequence[str]) -> Floats:
    """Measure how reproducibly each channel tells conditions apart.

    One minus the variance within conditions over that between them, ``1 − 1 / F`` of an analysis of variance:
    what averages of new trials would correlate with these, less their mean over conditions. A time course of
    all conditions does not count, nor does a drift, which is within conditions, too. Halves of the trials
    would share it, and with few conditions correlate by chance.

    Parameters
    ----------
    phases : ndarray, shape (n_trials, n_phases, n_channels)
    conditions : sequence of str, length n_trials

    Returns
    -------
    ndarray, shape (n_channels,)
        0 where a channel is constant, or there are fewer than two conditions or no repeats.
    """
    labels, place = np.unique(np.array(conditions), return_inverse=True)
    free = len(labels) - 1, len(place) - len(labels)
    if min(free) < 1:
        return np.zeros(phases.shape[2])
    means = condition_averages(phases, conditions)[place]
    between, within = (
        (deviation**2).sum((0, 1)) / n
        for deviation, n in zip((means - phases.mean(0), phases - means), free, strict=True)
    )
    varies = between > 1e-24 * (phases**2).sum((0, 1))
    found: Floats = 1 - np.divide(within, between, out=np.ones_like(within), where=varies)
    return found


def muscle_rsa(a: Floats, b: Floats) -> float:
    """Compare which muscles are active together in two arrays.

    Parameters
    ----------
    a, b : ndarray, shape (n_samples, n_channels)
        Of the same channels; equally many samples are not needed.

    Returns
    -------
    float
        Spearman's correlation of the entries below the diagonals of the two matrices of correlations of
        channels; NaN with fewer than three channels, or where a channel is constant, or all are
        equally correlated.
    """
    from scipy.stats import spearmanr

    if a.shape[1] < 3 or not (np.ptp(a, axis=0) > 0).all() or not (np.ptp(b, axis=0) > 0).all():
        return float("nan")
    below = np.tril_indices(a.shape[1], -1)
    one, other = (np.atleast_2d(np.corrcoef(values.T))[below] for values in (a, b))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)

"""Explained variance: signed, per unit, never clipped (section 3).

Every score is a function of the data grouped by condition, so that leaving a condition out (for the
intervals) is the same code as the score itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from neurobench_grasp.contract import Floats, Ints, Ragged

PHASE_POINTS = 25


def explained_variance(y: Floats, prediction: Floats) -> Floats:
    """``1 − Var(y − ŷ) / Var(y)`` of each unit.

    Parameters
    ----------
    y, prediction : ndarray, shape (n_rows, n_units)

    Returns
    -------
    ndarray, shape (n_units,)
        NaN where a unit does not vary.
    """
    return one_minus_ratio((y - prediction).var(0), y.var(0), (y**2).mean(0))


def grouped_ev(y: Ragged, prediction: Ragged, groups: Sequence[str], *, offset_counts: bool) -> Floats:
    """Single-trial score on all trials, and with each condition left out.

    Parameters
    ----------
    y, prediction : Ragged
        (trial, step, n_units), spikes/s.
    groups : sequence of str, length n_trials
        Condition of each trial (or another label to leave out).
    offset_counts : bool
        False: explained variance. True: R², for which a constant offset is an error too.

    Returns
    -------
    ndarray, shape (n_groups + 1, n_units)
        First row: all trials. Then one row per left-out group, in sorted order of the labels.
    """
    sums = leaving_out(y.lengths, groups, sorted(set(groups)))
    mean, variance = moments_without(y.values, sums)
    offset, residual = moments_without(y.values - prediction.values, sums)
    residual = residual + offset**2 if offset_counts else residual
    return one_minus_ratio(residual, variance, variance[0] + mean[0] ** 2)


def moments_without(values: Floats, sums: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Mean and variance over steps by the sums of :func:`leaving_out`, each (n_labels + 1, n_columns)."""
    centre = values.mean(0)  # about it, so that the differences of sums lose no digits
    n = np.maximum(sums(np.ones((len(values), 1))), 1.0)
    first, second = (sums(q) / n for q in (values - centre, (values - centre) ** 2))
    return centre + first, np.maximum(second - first**2, 0.0)


def leaving_out(lengths: Ints, groups: Sequence[str], labels: Sequence[str]) -> Callable[[Floats], Floats]:
    """Prepare sums over the steps of all trials, and with the trials of each label left out.

    Parameters
    ----------
    lengths : ndarray of int64, shape (n_trials,)
    groups : sequence of str, length n_trials
        Label of each trial.
    labels : sequence of str, length n_labels
        Labels to leave out; trials of others always count.

    Returns
    -------
    callable
        Turns values (n_steps, n_columns) into sums (n_labels + 1, n_columns), all trials first.
    """
    group = _places(groups, labels)
    n_steps = int(lengths.sum())
    by_group = _sparse(
        np.ones(n_steps), np.repeat(group, lengths), np.arange(n_steps), len(labels) + 1, n_steps
    )

    def sums(values: Floats) -> Floats:
        return sum_without(by_group @ values)[: len(labels) + 1]  # never without those of other labels

    return sums


def sum_without(values: Floats) -> Floats:
    """Sum over the first axis, and with each entry left out, (n + 1, …)."""
    total: Floats = values.sum(0)
    return np.concatenate([total[None], total - values])


def _places(groups: Sequence[str], labels: Sequence[str]) -> Ints:
    """Position of each trial's label; past the last for a label that is not among them."""
    place = {label: k for k, label in enumerate(labels)}
    return np.array([place.get(group, len(labels)) for group in groups], np.int64)


def condition_average(rates: Ragged, conditions: Sequence[str], labels: Sequence[str]) -> Floats:
    """Average over the trials of each condition after resampling to equal phase.

    Parameters
    ----------
    rates : Ragged
        (trial, step, n_units).
    conditions : sequence of str, length n_trials
    labels : sequence of str, length n_conditions
        Conditions wanted, each with at least one trial.

    Returns
    -------
    ndarray, shape (n_conditions, 25, n_units)
    """
    condition = _places(conditions, labels)
    share = 1 / np.maximum(np.bincount(condition, minlength=len(labels) + 1), 1)
    low, high, fraction = _at_phases(rates)
    row = condition[:, None] * PHASE_POINTS + np.arange(PHASE_POINTS)
    weights = share[condition][:, None] * np.stack([1 - fraction, fraction])
    n_rows = (len(labels) + 1) * PHASE_POINTS  # the last condition takes the trials that are not wanted
    mean = _sparse(weights, np.stack([row, row]), np.stack([low, high]), n_rows, len(rates.values))
    average: Floats = (mean @ rates.values)[:-PHASE_POINTS]
    return average.reshape(len(labels), PHASE_POINTS, -1)


def to_phase(trials: Ragged) -> Floats:
    """Resample trials linearly to 25 equal phases, from first to last step.

    Parameters
    ----------
    trials : Ragged
        (trial, step, n_columns).

    Returns
    -------
    ndarray, shape (n_trials, 25, n_columns)
    """
    return between_rows(trials.values, *_at_phases(trials))


def between_rows(values: Floats, low: Ints, high: Ints, fraction: Floats) -> Floats:
    """Interpolate linearly between pairs of rows of (n_rows, n_columns); ``fraction`` 1 gives ``high``."""
    between: Floats = values[low] * (1 - fraction[..., None]) + values[high] * fraction[..., None]
    return between


def _at_phases(trials: Ragged) -> tuple[Ints, Ints, Floats]:
    """Rows between which each phase of each trial lies, and how far it is to the second, (n_trials, 25)."""
    last = trials.lengths[:, None] - 1
    position = last * np.linspace(0, 1, PHASE_POINTS)
    low = np.minimum(position.astype(int), np.maximum(last - 1, 0))
    first = trials.offsets[:-1, None]
    return first + low, first + np.minimum(low + 1, last), position - low


def averaged_sums(y: Floats, prediction: Floats, expected: Floats) -> Floats:
    """Return the sums of condition averages for :class:`~neurobench_grasp.scoring.sums.Sums`.

    Parameters
    ----------
    y, prediction : ndarray, shape (n_conditions, n_phases, n_units)
    expected : ndarray, shape (n_phases or 1, n_units)
        What the fold's training trials predict without a model: their mean, or their mean at each phase.

    Returns
    -------
    ndarray, shape (5, n_conditions, n_units)
    """
    error, deviation = y - prediction, y - expected
    n = np.full_like(error[:, 0], y.shape[1])
    return np.stack([n, *(q.sum(1) for q in (error, error**2, deviation, deviation**2))])


def trial_sums(
    y: Ragged, prediction: Ragged, expected: Floats, groups: Sequence[str], labels: Sequence[str]
) -> Floats:
    """Return the sums of single trials for :class:`~neurobench_grasp.scoring.sums.Sums`.

    Parameters
    ----------
    y, prediction : Ragged
        (trial, step, n_units), spikes/s.
    expected : ndarray, shape (n_units,)
        Mean over the fold's training trials.
    groups : sequence of str, length n_trials
        Condition of each trial (or another label to leave out).
    labels : sequence of str, length n_groups
        Groups wanted.

    Returns
    -------
    ndarray, shape (5, n_groups, n_units)
    """
    n_steps = len(y.values)
    group = np.repeat(_places(groups, labels), y.lengths)
    by_group = _sparse(np.ones(n_steps), group, np.arange(n_steps), len(labels) + 1, n_steps)[:-1]
    error, deviation = y.values - prediction.values, y.values - expected
    sums = [by_group @ q for q in (error, error**2, deviation, deviation**2)]
    steps = np.bincount(group, minlength=len(labels) + 1)[:-1, None].astype(np.float64)
    return np.stack([np.broadcast_to(steps, sums[0].shape), *sums])


def _sparse(weights: Floats, row: Ints, column: Ints, n_rows: int, n_columns: int) -> Any:
    """Matrix of a weighted sum over few of many steps."""
    from scipy.sparse import csr_array  # here, because it takes longer to import than a command may to answer

    return csr_array((weights.ravel(), (row.ravel(), column.ravel())), shape=(n_rows, n_columns))


def one_minus_ratio(residual: Floats, variance: Floats, power: Floats) -> Floats:
    """NaN where the variance is nothing but rounding, compared with the mean square ``power``."""
    varies = variance > 1e-12 * power
    return np.where(varies, 1 - residual / np.where(varies, variance, 1), np.nan)

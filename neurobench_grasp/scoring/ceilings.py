"""Ceilings: the explained variance that a perfect model would reach, since spikes are noisy (section 3).

A perfect model predicts the expected rate. What it cannot explain is the noise of the recording, whose
variance shows in the repeats of a condition, and in how rough single trials are. Every function is laid out
like the score that it bounds: all conditions first, then each condition left out, so that intervals of both
come from the same code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobench_grasp.contract import Floats, Ints, Ragged
from neurobench_grasp.scoring.ev import (
    PHASE_POINTS,
    leaving_out,
    moments_without,
    one_minus_ratio,
    sum_without,
    to_phase,
    variance_without,
)


def averaged_ceiling(
    rates: Ragged, conditions: Sequence[str], labels: Sequence[str], *, tuning_only: bool
) -> Floats:
    """Reliability of the condition means: the ceiling of the condition-averaged scores.

    ``1 − noise / Var(mean)``, where the noise of a mean of n trials is their variance over n. That is the
    split-half correlation of the means corrected by Spearman and Brown, averaged over all halvings: for
    halves of a and b trials, the expectation of ``(ab / n²) · (difference of the halves)²`` is just that.

    Parameters
    ----------
    rates : Ragged
        (trial, step, n_units), spikes/s.
    conditions : sequence of str, length n_trials
    labels : sequence of str, length n_conditions
        Conditions to use, sorted, each with at least two trials.
    tuning_only : bool
        See :func:`~neurobench_grasp.scoring.ev.averaged_ev`.

    Returns
    -------
    ndarray, shape (n_conditions + 1, n_units)
        NaN where the means of a unit do not vary.
    """
    at_phase = to_phase(rates)
    means, noise, noise_of_course = [], [], []
    for label in labels:
        mine = at_phase[[c == label for c in conditions]]
        means.append(mine.mean(0))
        noise.append((mine.var(0, ddof=1) / len(mine)).mean(0))
        noise_of_course.append(mine.mean(1).var(0, ddof=1) / len(mine))
    mean = np.stack(means)
    kept = sum_without(np.ones((len(labels), 1)))
    total, common = (sum_without(np.stack(q)) / kept for q in (noise, noise_of_course))
    # The variance of the means is about their mean, which takes its share of the noise away.
    total = total * (1 - 1 / kept) if tuning_only else total - common / kept
    return one_minus_ratio(total, variance_without(mean, about_course=tuning_only), (mean**2).mean((0, 1)))


def single_trial_ceiling(
    rates: Ragged, conditions: Sequence[str], labels: Sequence[str], *, smoothing_bins: int
) -> Floats:
    """Share of the variance of single trials that is not noise; noise is estimated from its roughness.

    ``1 − noise / Var(y)``. What a unit does differently from repeat to repeat, because the movement or its
    state differ, changes smoothly; the noise of smoothed counts has no memory beyond the smoothing. So half
    the mean squared difference of two steps of a trial, less what the other trials of its condition do at
    that phase, tends to the variance of the noise as the steps come closer (the nugget of a variogram:
    Cressie, Statistics for Spatial Data, 1993). It is extrapolated by ``noise + b · distance²``, as for a
    smooth rate, from the four shortest distances at which the noise is independent. Spikes more regular than
    Poisson, and changes faster than about 3 Hz, are in part taken for noise: rather low than high.

    Parameters
    ----------
    rates, conditions, labels
        See :func:`averaged_ceiling`; trials of other conditions count for the variance.
    smoothing_bins : int
        Bins over which counts were averaged.

    Returns
    -------
    ndarray, shape (n_conditions + 1, n_units)
    """
    distances = range(smoothing_bins, smoothing_bins + 4)
    nearest = _nearest_to_phases(rates)
    squares, n_pairs = [], []
    for label in labels:
        mine = np.flatnonzero([c == label for c in conditions])
        rest = _less_the_others(rates, nearest, mine)
        others = 1 + 1 / (len(mine) - 1)  # their mean adds its own noise
        squares.append([np.sum([_half_squares(r, k) for r in rest], axis=0) for k in distances])
        n_pairs.append([[others * sum(max(len(r) - k, 0) for r in rest)] for k in distances])
    roughness = sum_without(np.array(squares)) / sum_without(np.array(n_pairs))
    at_zero = np.linalg.pinv([[1.0, k**2] for k in distances])[0]
    noise = np.tensordot(roughness, at_zero, (1, 0))
    return _not_noise(noise, rates, conditions, labels)


def _less_the_others(rates: Ragged, nearest: Floats, mine: Ints) -> list[Floats]:
    """Return trials of a condition, each less the mean of the others at the nearest phase."""
    total = nearest[mine].sum(0)
    rest = []
    for i in mine:
        own = rates[i]
        phase = np.rint(np.linspace(0, PHASE_POINTS - 1, len(own))).astype(int)
        rest.append(own - ((total - nearest[i]) / (len(mine) - 1))[phase])
    return rest


def _half_squares(values: Floats, distance: int) -> Floats:
    """Sum of half the squared differences of steps that are so far apart."""
    squares: Floats = (((values[distance:] - values[:-distance]) ** 2) / 2).sum(0)
    return squares


def repeats_ceiling(rates: Ragged, conditions: Sequence[str], labels: Sequence[str]) -> Floats:
    """Share of the variance of single trials that repeats from trial to trial.

    ``1 − noise / Var(y)``; the noise is the variance between the trials of a condition at equal phase.
    Movements differ from repeat to repeat, and what a unit makes of that counts as noise here, so a good
    model of single trials may exceed it.

    Parameters
    ----------
    rates, conditions, labels
        See :func:`averaged_ceiling`; trials of other conditions count for the variance.

    Returns
    -------
    ndarray, shape (n_conditions + 1, n_units)
    """
    nearest = _nearest_to_phases(rates)
    squares, degrees = [], []
    for label in labels:
        mine = nearest[[c == label for c in conditions]]
        squares.append((len(mine) - 1) * mine.var(0, ddof=1).mean(0))
        degrees.append([len(mine) - 1.0])
    noise = sum_without(np.stack(squares)) / sum_without(np.array(degrees))
    return _not_noise(noise, rates, conditions, labels)


def _nearest_to_phases(rates: Ragged) -> Floats:
    """Resample trials to equal phases, (n_trials, 25, n_units), without averaging noise away."""
    step = np.rint((rates.lengths[:, None] - 1) * np.linspace(0, 1, PHASE_POINTS)).astype(int)
    nearest: Floats = rates.values[rates.offsets[:-1, None] + step]
    return nearest


def _not_noise(noise: Floats, rates: Ragged, conditions: Sequence[str], labels: Sequence[str]) -> Floats:
    """Share of the variance over the steps of all trials that is not noise."""
    mean, variance = moments_without(rates.values, leaving_out(rates.lengths, conditions, labels))
    return one_minus_ratio(noise, variance, variance[0] + mean[0] ** 2)


def poisson_ceiling(
    rates: Ragged, conditions: Sequence[str], labels: Sequence[str], *, dt: float, smoothing_bins: int
) -> Floats:
    """Explainable share of the variance of single trials, if units fired as Poisson processes.

    Counts in bins of ``dt`` averaged over ``smoothing_bins`` bins vary by ``mean rate / (bins · dt)``.

    Parameters
    ----------
    rates, conditions, labels
        See :func:`single_trial_ceiling`.
    dt : float
        Bin width, s.
    smoothing_bins : int

    Returns
    -------
    ndarray, shape (n_conditions + 1, n_units)
    """
    mean, _ = moments_without(rates.values, leaving_out(rates.lengths, conditions, labels))
    return _not_noise(mean / (smoothing_bins * dt), rates, conditions, labels)

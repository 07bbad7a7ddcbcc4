"""Ceilings: the explained variance that a perfect model would reach, since spikes are noisy (section 3).

A perfect model predicts the expected rate. What it cannot explain is the noise of the recording, whose
variance shows in the repeats of a condition, and in how rough single trials are. Every function returns
that variance condition by condition: as the squared errors of a perfect model, from which ceilings follow as
scores do, with their intervals and joined over folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobench_grasp.contract import Floats, Ints, Ragged
from neurobench_grasp.scoring.ev import (
    PHASE_POINTS,
    to_phase,
)

FIRST_DISTANCE_S, LAST_DISTANCE_S, TWO_BINS_S = 0.04, 0.2, 0.1
"""Of bins that tell smooth changes from noise, and the longest for which adjacent ones are left out."""


def averaged_noise(rates: Ragged, conditions: Sequence[str], labels: Sequence[str]) -> Floats:
    """Variance of the noise of condition means, which bounds the condition-averaged scores.

    The variance over trials of one of n trials, over n. ``1 − noise / Var(mean)`` is the split-half
    correlation of the means corrected by Spearman and Brown, averaged over all halvings: for halves of a and
    b trials, the expectation of ``(ab / n²) · (difference of the halves)²`` is just that.

    Parameters
    ----------
    rates : Ragged
        (trial, step, n_units), spikes/s.
    conditions : sequence of str, length n_trials
    labels : sequence of str, length n_conditions
        Conditions to use, sorted, each with at least two trials.

    Returns
    -------
    ndarray, shape (n_conditions, n_units)
        (spikes/s)², mean over phases.
    """
    at_phase = to_phase(rates)
    mine = (at_phase[[c == label for c in conditions]] for label in labels)
    return np.stack([(trials.var(0, ddof=1) / len(trials)).mean(0) for trials in mine])


def single_trial_noise(
    rates: Ragged,
    counts: Ragged,
    conditions: Sequence[str],
    labels: Sequence[str],
    *,
    dt: float,
    smoothing_bins: int,
) -> Floats:
    """Variance of the noise of single trials, estimated from their roughness.

    What a unit does differently from repeat to repeat, because the movement or its
    state differ, changes smoothly; the noise of its counts has a short memory. Of the difference of two bins
    of a trial, less what it is in the other trials of the condition at that phase, half the mean square is
    ``noise + b · distance² + c · distance⁴`` for a smooth rate and bins that are too far apart to share noise
    (at distance 0 the nugget of a variogram: Cressie, Statistics for Spatial Data, 1993). What bins that are
    closer differ less than that is the covariance of their noise; both give the noise of smoothed counts. As
    noise grows with the rate, and the ends of a trial are in fewer pairs, it is estimated per spike.

    Distances are those from 0.04 to 0.2 s, three at least, and of adjacent bins only where two bins are over
    0.1 s. They were chosen by the expected error and its spread at bins of 10, 20, 50 and 100 ms for Gaussian
    rates with half power at 1 to 3 Hz, and for Poisson and gamma processes with Fano factors of 0.7 to 1.3
    and 3 ms of refractoriness; then tried on planted reaches. Shorter ones take regular spikes for noise,
    longer ones fast rates, and a square alone both. What remains: with half power at 3 Hz and half of the
    explainable variance not repeated, the ceiling is 8 to 16 % too low; at a Fano factor of 0.7 or 1.3 the
    noise of units at 10 Hz is up to 6 % too high or low, 13 and 11 % at bins of 100 ms.

    Parameters
    ----------
    rates, conditions, labels
        See :func:`averaged_noise`.
    counts : Ragged
        (trial, bin, n_units), spikes; bins that precede those of ``rates`` are not used.
    dt : float
        Bin width, s.
    smoothing_bins : int
        Bins over which counts were averaged.

    Returns
    -------
    ndarray, shape (n_conditions, n_units)
        (spikes/s)²; NaN where no two trials of a condition last that long.
    """
    counts = counts.cut(counts.lengths - rates.lengths, counts.lengths)
    first, last = _distances(dt)
    last = min(last, _longest_distance(counts, conditions, labels))
    mean = mean_rates(rates, conditions, labels)
    if last < first:
        return np.full_like(mean, np.nan)
    weights = _noise_weights(first, last, smoothing_bins)
    per_spike = sum(w * _roughness(counts, k, conditions, labels) for k, w in enumerate(weights, 1) if w)
    noise: Floats = per_spike * mean / dt
    return noise


def mean_rates(rates: Ragged, conditions: Sequence[str], labels: Sequence[str]) -> Floats:
    """Mean over the steps of the trials of each condition, (n_conditions, n_units)."""
    groups = np.repeat(conditions, rates.lengths)
    return np.stack([rates.values[groups == label].mean(0) for label in labels])


def _distances(dt: float) -> tuple[int, int]:
    """Return the shortest and longest distance, in bins, at which noise is taken to be independent."""
    shortest, longest, two = (round(s / dt, 6) for s in (FIRST_DISTANCE_S, LAST_DISTANCE_S, TWO_BINS_S))
    first = max(2, int(np.ceil(shortest))) if two >= 2 else 1
    return first, max(first + 2, int(longest))


def _longest_distance(counts: Ragged, conditions: Sequence[str], labels: Sequence[str]) -> int:
    """Longest distance of bins in two trials of every condition."""
    return min(int(np.sort(counts.lengths[[c == label for c in conditions]])[-2]) for label in labels) - 1


def _noise_weights(first: int, last: int, smoothing_bins: int) -> Floats:
    """Weights of the roughness at distances of 1 to ``last`` bins that give the noise of smoothed counts.

    At ``first`` bins and more noise is independent. A mean over n bins has the share ``(n − k) / n²`` of the
    covariance of noise at each distance ``−n < k < n``.
    """
    near, far = np.arange(min(first, smoothing_bins)), np.arange(first, last + 1)
    powers = 2 * np.arange(min(3, len(far)))
    smooth = ((near / last)[:, None] ** powers) @ np.linalg.pinv((far / last)[:, None] ** powers)
    share = (smoothing_bins - near) * np.where(near > 0, 2, 1) / smoothing_bins**2
    weights = np.zeros(last)
    weights[near[1:] - 1] = -share[1:]
    weights[far - 1] = share @ smooth
    return weights


def _roughness(counts: Ragged, distance: int, conditions: Sequence[str], labels: Sequence[str]) -> Floats:
    """Half the mean squared difference of bins so far apart, less that of other trials, over the mean count.

    Condition by condition, (n_conditions, n_units); 0 without a spike.
    """
    long = np.flatnonzero(counts.lengths > distance).tolist()
    early, late = ([counts[i][pairs] for i in long] for pairs in (np.s_[:-distance], np.s_[distance:]))
    differences = Ragged.of([b - a for a, b in zip(early, late, strict=True)])
    nearest = _nearest_to_phases(differences)
    squares, spikes = np.zeros((2, len(labels), counts.values.shape[1]))
    for k, label in enumerate(labels):
        mine = np.flatnonzero([conditions[i] == label for i in long])
        if len(mine) > 1:
            squares[k] = sum((r**2).sum(0) for r in _less_the_others(differences, nearest, mine))
            others = 1 + 1 / (len(mine) - 1)  # their mean adds its own noise
            spikes[k] = others * sum((early[i] + late[i]).sum(0) for i in mine)
    return np.divide(squares, spikes, out=np.zeros_like(squares), where=spikes > 0)


def _less_the_others(values: Ragged, nearest: Floats, mine: Ints) -> list[Floats]:
    """Return trials of a condition, each less the mean of the others at the nearest phase."""
    total = nearest[mine].sum(0)
    rest = []
    for i in mine:
        own = values[i]
        phase = np.rint(np.linspace(0, PHASE_POINTS - 1, len(own))).astype(int)
        rest.append(own - ((total - nearest[i]) / (len(mine) - 1))[phase])
    return rest


def repeats_noise(rates: Ragged, conditions: Sequence[str], labels: Sequence[str]) -> Floats:
    """Variance of single trials that does not repeat from trial to trial.

    Between the trials of a condition at equal phase. Movements differ from repeat to repeat, and what a unit
    makes of that counts as noise here, so a good model of single trials may exceed this bound.

    Parameters
    ----------
    rates, conditions, labels
        See :func:`averaged_noise`.

    Returns
    -------
    ndarray, shape (n_conditions, n_units)
    """
    nearest = _nearest_to_phases(rates)
    mine = (nearest[[c == label for c in conditions]] for label in labels)
    return np.stack([trials.var(0, ddof=1).mean(0) for trials in mine])


def _nearest_to_phases(rates: Ragged) -> Floats:
    """Resample trials to equal phases, (n_trials, 25, n_units), without averaging noise away."""
    step = np.rint((rates.lengths[:, None] - 1) * np.linspace(0, 1, PHASE_POINTS)).astype(int)
    nearest: Floats = rates.values[rates.offsets[:-1, None] + step]
    return nearest


def poisson_noise(
    rates: Ragged, conditions: Sequence[str], labels: Sequence[str], *, dt: float, smoothing_bins: int
) -> Floats:
    """Variance of single trials that is noise, if units fired as Poisson processes.

    Counts in bins of ``dt`` averaged over ``smoothing_bins`` bins vary by ``mean rate / (bins · dt)``.

    Parameters
    ----------
    rates, conditions, labels
        See :func:`averaged_noise`.
    dt : float
        Bin width, s.
    smoothing_bins : int

    Returns
    -------
    ndarray, shape (n_conditions, n_units)
    """
    return mean_rates(rates, conditions, labels) / (smoothing_bins * dt)

"""References that the core computes beside every candidate (section 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.contract import Floats, Ints, Ragged
from neurobench_grasp.scoring.ev import PHASE_POINTS, between_rows, condition_average, explained_variance

NOISE_FEATURES = 60
NOISE_TERMS = 4
SHARES = tuple(k / 20 for k in range(21))
"""Of a unit's deviation from its mean over the phases: what shrinking may leave."""


def generator(*labels: object) -> np.random.Generator:
    """Random numbers that depend on nothing but the labels."""
    digest = hashlib.sha256("|".join(map(str, labels)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


def circular_shift(offsets: Ints, rng: np.random.Generator) -> Ints:
    """Activations rotated in time across the session: the null.

    The trials' steps are laid end to end as a circle. Every trial is given the piece of it that begins
    at a random place, so that neither the trial nor the phase within the movement is kept. (One common
    rotation would keep the phase wherever trials are of equal length, as in windows cut around an event.)

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_trials + 1,)
        First row of each trial, and the number of rows.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        The row that each row's activations are taken from.
    """
    n = max(int(offsets[-1]), 1)
    starts = rng.integers(0, n, size=len(offsets) - 1)
    return (np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], np.diff(offsets))) % n


@dataclass(frozen=True)
class ConditionLockedNoise:
    """Random features that know only the object: a random smooth time course over the trial for each object.

    They are equal for trials of one object up to their duration, and are made when some are asked for.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_trials + 1,)
        First row of each trial, and the number of rows.
    conditions : sequence of str, length n_trials
    label : str
        Names the draw.
    """

    offsets: Ints
    conditions: Sequence[str]
    label: str

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of features."""
        return int(self.offsets[-1]), NOISE_FEATURES

    def __getitem__(self, rows: Ints) -> Floats:
        trial = np.searchsorted(self.offsets, rows, side="right") - 1
        first, last = self.offsets[trial], self.offsets[trial + 1] - 1
        phase = (rows - first) / np.maximum(last - first, 1)
        courses = np.cos(np.pi * phase[:, None] * np.arange(NOISE_TERMS))
        names, objects = np.unique(self.conditions, return_inverse=True)
        found = np.empty((len(rows), NOISE_FEATURES))
        for number in np.unique(objects[trial]):
            mine = objects[trial] == number
            found[mine] = courses[mine] @ self._weights(str(names[number]))
        return found

    def _weights(self, condition: str) -> Floats:
        rng = generator("condition_locked_noise", self.label, condition)
        return rng.standard_normal((NOISE_TERMS, NOISE_FEATURES))


def phase_mean(train: Ragged, conditions: Sequence[str]) -> Floats:
    """Grand mean over training objects at each phase: what the time course alone explains.

    Parameters
    ----------
    train : Ragged
        Rates, (trial, step, n_units), spikes/s.
    conditions : sequence of str, length n_trials

    Returns
    -------
    ndarray, shape (25, n_units)
    """
    course: Floats = condition_average(train, conditions, sorted(set(conditions))).mean(0)
    return course


def shrunk_phase_mean(train: Ragged, conditions: Sequence[str], folds: Sequence[int]) -> Floats:
    """Shrink the phase mean of each unit towards its mean, so far as new objects do not share it.

    Candidates are shrunk by a cross-validated penalty; without this their gain would be over a straw man.

    Parameters
    ----------
    train : Ragged
        Rates, (trial, step, n_units), spikes/s.
    conditions : sequence of str, length n_trials
    folds : sequence of int, length n_trials
        Each condition wholly in one; with a single fold nothing is shrunk.

    Returns
    -------
    ndarray, shape (25, n_units)
    """
    mean, course = train.values.mean(0), phase_mean(train, conditions)
    if len(set(folds)) < 2:
        return course
    scores = []
    for fold in sorted(set(folds)):
        known, new = ([i for i, f in enumerate(folds) if (f == fold) is held] for held in (False, True))
        rates = train.select(known)
        around = phase_mean(rates, [conditions[i] for i in known]) - rates.values.mean(0)
        y = train.select(new)
        played = at_phase(np.stack([around] * len(new)), y.lengths.tolist()).values
        scores.append([explained_variance(y.values, share * played) for share in SHARES])
    best = np.nan_to_num(scores).mean(0).argmax(0)  # a fold in which a unit does not vary says nothing
    shrunk: Floats = mean + np.array(SHARES)[best] * (course - mean)
    return shrunk


def condition_mean(train: Ragged, conditions: Sequence[str], wanted: Sequence[str]) -> Floats:
    """Mean over the training trials of each wanted condition at each phase: the PSTH.

    Parameters
    ----------
    train : Ragged
        Rates, (trial, step, n_units), spikes/s.
    conditions : sequence of str, length n_trials
    wanted : sequence of str, length n_wanted

    Returns
    -------
    ndarray, shape (n_wanted, 25, n_units)
        NaN for conditions without a training trial.
    """
    known = sorted(set(conditions))
    course = condition_average(train, conditions, known)
    unknown = np.full((1, *course.shape[1:]), np.nan)
    place = {condition: k for k, condition in enumerate(known)}
    mean: Floats = np.concatenate([course, unknown])[[place.get(c, len(known)) for c in wanted]]
    return mean


def at_phase(courses: Floats, lengths: Sequence[int]) -> Ragged:
    """Resample averages over phase, (n_trials, 25, n_units), to trials of the given numbers of steps."""
    n = np.asarray(lengths, np.int64)
    offsets = np.concatenate([[0], np.cumsum(n)])
    trial = np.repeat(np.arange(len(n)), n)
    step = np.arange(offsets[-1]) - offsets[trial]
    position = step * ((PHASE_POINTS - 1) / np.maximum(n - 1, 1))[trial]
    low = np.minimum(position.astype(int), PHASE_POINTS - 2)
    row = trial * PHASE_POINTS + low
    values = courses.reshape(-1, courses.shape[2])
    return Ragged(between_rows(values, row, row + 1, position - low), offsets)

"""Decoders: the one that comes with the package, and what is checked of anyone's (section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from neurobench_grasp.errors import NgbError
from neurobench_grasp.protocols.settings import BRAIN_CONTROL as SETTINGS
from neurobench_grasp.scoring.ridge import best_alphas, cv_explained_variance, fold_moments, solve
from neurobench_grasp.scoring.splits import folds_by_condition, folds_by_trial
from neurobench_grasp.types import DecodedTrials, Decoder, Floats, Ints, Ragged

MAX_CHECKED = 3  # trials
ROUNDING = 1e-6  # of the commands' size: products of matrices of another height differ in their last bits


class RidgeDecoder:
    """Ridge regression from the last 10 bins of every unit, with one penalty for each feature of the command.

    Counts are standardised unit by unit. Penalties are chosen by cross-validated explained variance, with
    folds by condition (by trial if there is only one); a feature that is not predicted better than by its
    mean is given as its mean.
    """

    def fit(self, train: DecodedTrials) -> None:
        """Fit on all bins that have a command."""
        self._mean = train.counts.values.mean(0)
        deviation = train.counts.values.std(0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        features = np.concatenate(
            [self._histories(c, len(y)) for c, y in zip(train.counts, train.commands, strict=True)]
        )
        fold = np.repeat(_folds(train.condition), train.commands.lengths)
        order = np.argsort(fold, kind="stable")
        middle = train.commands.values.mean(0)
        commands = (train.commands.values - middle)[order]
        cells = fold_moments(features, order, commands, fold[order], SETTINGS.n_folds)
        used = np.unique(fold).tolist()
        scores = cv_explained_variance(cells, [[k] for k in used], SETTINGS.alphas)
        penalties, _ = best_alphas(*scores, SETTINGS.alphas, SETTINGS.min_t)
        weights, intercept = solve(cells.total(used), penalties)
        self._weights, self._intercept = weights, intercept + middle

    def reset(self, n_trials: int) -> None:
        """Begin with units at their mean."""
        self._history = np.zeros((n_trials, len(self._mean), SETTINGS.history))

    def observe(self, spikes: NDArray[np.int32]) -> Floats:
        """Give the commands that belong to the newest bins."""
        self._history[:, :, :-1] = self._history[:, :, 1:]
        self._history[:, :, -1] = (spikes - self._mean) / self._scale
        commands: Floats = self._history.reshape(len(spikes), -1) @ self._weights + self._intercept
        return commands

    def _histories(self, counts: NDArray[np.int32], n_steps: int) -> Floats:
        """Give the standardised counts of the last bins at each step, (n_steps, n_units · bins)."""
        before = np.zeros((SETTINGS.history, len(self._mean)))  # as `reset` leaves it
        whole = np.concatenate([before, (counts - self._mean) / self._scale])
        return sliding_window_view(whole, SETTINGS.history, axis=0)[-n_steps:].reshape(n_steps, -1)


def _folds(conditions: Sequence[str]) -> Ints:
    """Fold of each trial."""
    if len(set(conditions)) > 1:
        return np.array(folds_by_condition(conditions, SETTINGS.n_folds))
    return np.array(folds_by_trial([str(i) for i in range(len(conditions))], conditions, SETTINGS.n_folds))


def decode(decoder: Decoder, counts: Ragged, lead: int) -> Ragged:
    """Decode trials side by side, bin by bin.

    Parameters
    ----------
    decoder : Decoder
        Fitted.
    counts : Ragged
        (trial, lead + step, n_units).
    lead : int

    Returns
    -------
    Ragged
        (trial, step, n_features).

    Raises
    ------
    NgbError
        If a command has another shape or is not finite.
    """
    n, lengths = len(counts), counts.lengths
    decoder.reset(n)
    given = []
    for step in range(int(lengths.max(initial=0))):
        going = lengths > step
        spikes = np.zeros((n, counts.values.shape[1]), counts.values.dtype)
        spikes[going] = counts.values[counts.offsets[:-1][going] + step]
        command = _checked(decoder.observe(spikes), n)
        if step >= lead:
            given.append(np.where(going[:, None], command, 0.0))
    whole = np.stack(given)
    return Ragged.of([whole[: length - lead, i] for i, length in enumerate(lengths)])


def _checked(command: object, n_trials: int) -> Floats:
    """Copy a command, so that a decoder cannot change it later."""
    array = np.array(command, np.float64)
    if array.ndim != 2 or len(array) != n_trials:
        raise NgbError(
            f"The decoder gave a command of shape {array.shape}; it must be ({n_trials}, n_features), one "
            "row for each trial."
        )
    if not np.isfinite(array).all():
        raise NgbError("The decoder gave a command that is not finite; check its arithmetic.")
    return array


def check_decoder(decoder: Decoder, counts: Ragged, lead: int) -> None:
    """Make sure that a fitted decoder's commands follow from the bins of its own trial up to now.

    Parameters
    ----------
    decoder : Decoder
    counts : Ragged
        Spikes of some trials, as of :func:`decode`.
    lead : int

    Raises
    ------
    NgbError
        If it remembers earlier trials, looks ahead, mixes trials, or changes a command after giving it.
    """
    some = counts.select(range(min(MAX_CHECKED, len(counts))))
    first = decode(decoder, some, lead)
    _agree(
        first, decode(decoder, some, lead), "remembers earlier trials: `reset` must clear all that it keeps"
    )
    half = lead + (some.lengths - lead) // 2
    later = [np.concatenate([trial[:n], 1 + trial[n:][::-1]]) for trial, n in zip(some, half, strict=True)]
    changed = decode(decoder, Ragged.of(later), lead)
    start = np.zeros_like(half)
    _agree(
        first.cut(start, half - lead), changed.cut(start, half - lead),
        "looks ahead: commands before a bin depend on the spikes in it",
    )  # fmt: skip
    alone = Ragged.join([decode(decoder, some.select([i]), lead) for i in range(len(some))])
    _agree(first, alone, "mixes trials: a trial decoded alone has other commands")
    _check_lasting(decoder, some)


def _agree(one: Ragged, other: Ragged, otherwise: str) -> None:
    size = np.abs(one.values).max(initial=0.0)
    if one.values.shape != other.values.shape or np.abs(one.values - other.values).max(initial=0.0) > (
        ROUNDING * size
    ):
        raise NgbError(f"The decoder {otherwise}.")


def _check_lasting(decoder: Decoder, counts: Ragged) -> None:
    """Look at the very arrays that a decoder gave, after it went on."""
    decoder.reset(len(counts))
    given, kept = [], []
    for step in range(int(counts.lengths.min(initial=0))):
        given.append(decoder.observe(np.stack([trial[step] for trial in counts])))
        kept.append(np.array(given[-1]))
    if any(not np.array_equal(now, then) for now, then in zip(given, kept, strict=True)):
        raise NgbError(
            "The decoder changes a command after giving it; `observe` must give a new array each time."
        )

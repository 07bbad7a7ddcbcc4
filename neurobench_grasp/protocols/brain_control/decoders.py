"""Decoders: the one that comes with the package, and what is checked of anyone's (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from neurobench_grasp.alignment.splits import folds_by_condition, folds_by_trial
from neurobench_grasp.contract import Bools, DecodedTrials, Decoder, DecoderSpec, Floats, Ints, Ragged
from neurobench_grasp.errors import NgbError
from neurobench_grasp.protocols.settings import BRAIN_CONTROL as SETTINGS

N_CHECKED, N_ALONE = 20, 3  # trials
ROUNDING = 1e-4
"""Of a feature's size: products of matrices of another height differ in their last bits."""


class RidgeDecoder:
    """Ridge regression from the last 10 bins of every unit, with one penalty for each feature of the command.

    Counts are standardised unit by unit. Penalties are chosen by cross-validated explained variance, with
    folds by condition (by trial if there is only one); a feature that is not predicted better than by its
    mean is decoded as its mean.
    """

    def fit(self, train: DecodedTrials) -> None:
        """Fit on all bins that have a command."""
        from neurobench_grasp.scoring.estimators import UnitRidge  # scikit-learn takes long to import

        self._mean = train.counts.values.mean(0)
        deviation = train.counts.values.std(0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        features = np.concatenate(
            [self._histories(c, len(y)) for c, y in zip(train.counts, train.commands, strict=True)]
        )
        fold = np.repeat(_folds(train.condition, train.group), train.commands.lengths)
        ridge = UnitRidge(SETTINGS.alphas, SETTINGS.n_folds)
        self._ridge = ridge.fit(features, train.commands.values, groups=fold)

    def reset(self, n_trials: int) -> None:
        """Start all trials with units at their mean."""
        self._history = np.zeros((n_trials, len(self._mean), SETTINGS.history))

    def observe(self, spikes: NDArray[np.int32]) -> Floats:
        """Return the commands that belong to the newest bins."""
        self._history[:, :, :-1] = self._history[:, :, 1:]
        self._history[:, :, -1] = (spikes - self._mean) / self._scale
        ridge = self._ridge  # its `predict` would check for each bin what was checked in training
        commands: Floats = self._history.reshape(len(spikes), -1) @ ridge.coef_ + ridge.intercept_
        return commands

    def _histories(self, counts: NDArray[np.int32], n_steps: int) -> Floats:
        """Return the standardised counts of the last bins at each step, (n_steps, n_units · bins)."""
        before = np.zeros((SETTINGS.history, len(self._mean)))  # as `reset` leaves it
        whole = np.concatenate([before, (counts - self._mean) / self._scale])
        return sliding_window_view(whole, SETTINGS.history, axis=0)[-n_steps:].reshape(n_steps, -1)


class Guarded:
    """A decoder as a plugin offers it, whose exceptions are reported with its name.

    Parameters
    ----------
    spec : DecoderSpec

    Raises
    ------
    NgbError
        In place of whatever the decoder raises.
    """

    def __init__(self, spec: DecoderSpec) -> None:
        self._name = spec.name
        self._decoder: Decoder = self._call("build", spec.build)

    def fit(self, train: DecodedTrials) -> None:
        """Learn from training trials."""
        self._call("fit", lambda: self._decoder.fit(train))

    def reset(self, n_trials: int) -> None:
        """Start that many trials."""
        self._call("reset", lambda: self._decoder.reset(n_trials))

    def observe(self, spikes: NDArray[Any]) -> Floats:
        """Return each trial's command for its newest bin."""
        command: Floats = self._call("observe", lambda: self._decoder.observe(spikes))
        return command

    def _call(self, method: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except NgbError:
            raise
        except Exception as error:
            what = str(error) or "no reason given"
            raise NgbError(
                f"The decoder {self._name} failed in `{method}` ({type(error).__name__}: {what}); fix its "
                "code, or choose another with --decoder."
            ) from error


def _folds(conditions: Sequence[str], group: Sequence[str] = ()) -> Ints:
    """Fold of each trial; trials of one group share it."""
    if len(set(conditions)) > 1:
        return np.array(folds_by_condition(conditions, SETTINGS.n_folds, group))
    ids = [str(i) for i in range(len(conditions))]
    tied = {i: name for i, name in zip(ids, group, strict=bool(group)) if name}
    return np.array(folds_by_trial(ids, conditions, SETTINGS.n_folds, tied))


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
    n = len(counts)
    given = []
    for step, (going, answer) in enumerate(_answers(decoder, counts)):
        command = _checked(answer, n)
        if step >= lead:
            given.append(np.where(going[:, None], command, 0.0))
    widths = {command.shape[1] for command in given}
    if len(widths) > 1:
        raise NgbError(f"The decoder gave commands of {' and '.join(map(str, sorted(widths)))} features.")
    whole = np.stack(given) if given else np.empty((0, n, 0))
    return Ragged.of([whole[: length - lead, i] for i, length in enumerate(counts.lengths)])


def _answers(decoder: Decoder, counts: Ragged) -> Iterator[tuple[Bools, object]]:
    """Feed trials bin by bin: which of them still go on, and what the decoder gives."""
    n, lengths = len(counts), counts.lengths
    decoder.reset(n)
    for step in range(int(lengths.max(initial=0))):
        going = lengths > step
        spikes = np.zeros((n, counts.values.shape[1]), counts.values.dtype)  # a copy: no way to later bins
        spikes[going] = counts.values[counts.offsets[:-1][going] + step]
        yield going, decoder.observe(spikes)


def _checked(answer: object, n_trials: int) -> Floats:
    """Copy a command, so that a decoder cannot change it later."""
    try:
        command = np.array(answer, np.float64)
    except (TypeError, ValueError) as error:
        raise NgbError(
            f"The decoder gave a {type(answer).__name__} as command; it must be an array of numbers."
        ) from error
    if command.ndim != 2 or len(command) != n_trials:
        raise NgbError(
            f"The decoder gave a command of shape {command.shape}; it must be ({n_trials}, n_features), one "
            "row for each trial."
        )
    if not np.isfinite(command).all():
        raise NgbError("The decoder gave a command that is not finite; check its arithmetic.")
    return command


def check_decoder(decoder: Decoder, train: DecodedTrials) -> None:
    """Raise unless a fitted decoder's commands follow from the bins of its trial up to now.

    It is tried on trials that it cannot have seen before, neither in training nor by another decoder of its
    kind: training bins in random order.

    Parameters
    ----------
    decoder : Decoder
    train : DecodedTrials
        What it was fitted on.

    Raises
    ------
    NgbError
        If it remembers earlier trials, looks ahead, mixes trials, changes a command after giving it, or gives
        one that is not finite or has another shape than those it learned from.
    """
    rng, lead = np.random.default_rng(), train.lead  # no seed, which would make the same trials again
    trials = _unseen(train.counts, rng)
    first = decode(decoder, trials, lead)
    n_features = train.commands.values.shape[1]
    if first.values.shape[1] != n_features:
        raise NgbError(
            f"The decoder gave commands of {first.values.shape[1]} features, but learned from {n_features}."
        )
    _agree(
        first, decode(decoder, trials, lead),
        "gives other commands when the same trials come again: it remembers earlier trials, or draws random "
        "numbers; `reset` must start new trials",
    )  # fmt: skip
    n_same = rng.integers(1, max(trials.lengths.min() - lead, 2))  # commands
    changed = decode(decoder, _changed_from(trials, lead + n_same), lead)
    start, stop = np.zeros(len(trials), np.int64), np.full(len(trials), n_same)
    _agree(
        first.cut(start, stop), changed.cut(start, stop),
        "looks ahead: commands before a bin depend on the spikes in it",
    )  # fmt: skip
    some = rng.permutation(len(trials))[:N_ALONE]
    alone = Ragged.join([decode(decoder, trials.select([i]), lead) for i in some])
    _agree(first.select(some), alone, "mixes trials: a trial decoded alone has other commands")
    _check_lasting(decoder, trials)


def _unseen(counts: Ragged, rng: np.random.Generator) -> Ragged:
    """Make trials of bins in random order."""
    lengths = rng.permutation(counts.lengths)[:N_CHECKED]
    n = len(counts.values)
    return Ragged.of([counts.values[rng.permutation(n)[:length]] for length in lengths])


def _changed_from(trials: Ragged, first: int) -> Ragged:
    """Change all spikes from a bin on, those of silent units too."""
    return Ragged.of([np.concatenate([x[:first], 1 + x[first:][::-1]]) for x in trials])


def _agree(one: Ragged, other: Ragged, otherwise: str) -> None:
    size = np.abs(one.values).max(0, initial=0.0)
    size = np.maximum(size, ROUNDING * size.max(initial=0.0))
    if one.values.shape != other.values.shape or np.any(np.abs(one.values - other.values) > ROUNDING * size):
        raise NgbError(f"The decoder {otherwise}.")


def _check_lasting(decoder: Decoder, trials: Ragged) -> None:
    """Raise if an array that a decoder returned changes at a later step."""
    answers = [(answer, np.array(answer)) for _, answer in _answers(decoder, trials)]
    decoder.reset(1)
    if any(not np.array_equal(np.asarray(now), then) for now, then in answers):
        raise NgbError(
            "The decoder changes a command after giving it; `observe` must give a new array each time."
        )

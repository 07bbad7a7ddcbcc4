"""A session on its step grid: the one form in which models and protocols receive a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from neurobench_grasp.alignment.rates import Rates
from neurobench_grasp.alignment.settings import ALIGNMENT, SPIKE_HISTORY
from neurobench_grasp.contract import Bools, Floats, Ragged, Session, Trials


@dataclass(frozen=True)
class AlignedUnits:
    """Activity of the recorded units in the trials of a session.

    Parameters
    ----------
    ids, areas : tuple of str, length n_units
    rates : Rates
        (trial, window step, n_units), smoothed, spikes/s.
    counts : Ragged
        (trial, bin, n_units), raw counts from :func:`bins_before` bins before the window to its end, as small
        unsigned integers: convert them before you subtract.
    recorded : ndarray of bool, shape (n_trials, n_units)
        True where a unit was observed in all bins of ``counts``.
    observed : ndarray of bool, shape (n_trials, n_units)
        True where a unit was observed throughout the trial's window.
    true_rates : Ragged, optional
        (trial, window step, n_units), spikes/s: the rates that generated the spikes, smoothed as ``rates``;
        synthetic sessions only.
    """

    ids: tuple[str, ...]
    areas: tuple[str, ...]
    rates: Rates
    counts: Ragged
    recorded: Bools
    observed: Bools
    true_rates: Ragged | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Recording:
    """Behaviour as it was recorded, from which other steps than the session's bins are sampled.

    Parameters
    ----------
    session : Session
        Without units.
    stretch : ndarray, shape (n_trials, 2)
        Start and end of the contiguous recording around each kept trial, seconds.
    """

    session: Session
    stretch: Floats


@dataclass(frozen=True)
class AlignedSession:
    """One session on its step grid.

    Parameters
    ----------
    id, subject, sha256 : str
    trials : Trials
        Behaviour of the kept trials with the padding of the layout: what models are fitted on.
    start : ndarray, shape (n_trials,)
        Start of each window, seconds on the session's clock.
    units : AlignedUnits
    conditions : mapping of str to str
        Condition of every trial of the file, kept or not.
    max_lag : float
        Seconds; latencies are sought from ``-max_lag`` to ``+max_lag``.
    dropped : tuple of (str, str)
        Trial id and reason.
    notes : tuple of str
        Other changes that were made to the recording, one sentence each.
    groups : mapping of str to str
        Trials that a split keeps in one part, because they share time, and the name of their set.
    fingerprints : mapping of str to str
        Digest of what was recorded in each kept trial; empty where too little was.
    recording : Recording, optional
        What :func:`neurobench_grasp.alignment.clock.clock_of` samples.
    turn : tuple of tuple of float, optional
        From recorded axes to the body's, where EMG of training trials decides; see
        :mod:`neurobench_grasp.alignment.turn`.
    """

    id: str
    subject: str
    sha256: str
    trials: Trials
    start: Floats
    units: AlignedUnits
    conditions: Mapping[str, str]
    max_lag: float
    dropped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    recording: Recording | None = None
    turn: tuple[tuple[float, ...], ...] | None = None

    def select(self, trials: Sequence[int]) -> AlignedSession:
        """Take the given trials, in the given order; the same session for all of them."""
        if list(trials) == list(range(len(self.start))):
            return self
        index, units, recording = np.asarray(trials, np.int64), self.units, self.recording
        return replace(
            self,
            trials=self.trials.select(index),
            start=self.start[index],
            units=replace(
                units,
                rates=units.rates.select(index),
                counts=units.counts.select(index),
                recorded=units.recorded[index],
                observed=units.observed[index],
                true_rates=None if units.true_rates is None else units.true_rates.select(index),
            ),
            recording=None if recording is None else replace(recording, stretch=recording.stretch[index]),
        )

    @cached_property
    def scored(self) -> Trials:
        """The trials without padding that no score depends on: what models run on when they are scored.

        The lags and what models look ahead or back to remain, and at least 0.3 s before the window, so that
        activations are settled at its start. A controller has to move through every step that remains.
        """
        return scored_part(self.trials, self.max_lag)

    @cached_property
    def clocks(self) -> dict[float, Any]:
        """What :func:`neurobench_grasp.alignment.clock.clock_of` has returned, by step."""
        return {}


def scored_part(trials: Trials, max_lag: float) -> Trials:
    """Cut trials to the steps that a score depends on at lags up to ``max_lag`` seconds."""
    t = trials
    back, ahead = t.signal_lags if t.joint_angles is None else (0.0, ALIGNMENT.look_ahead_s)
    before, after = (
        int(np.ceil(round(seconds / t.dt, 6)))
        for seconds in (max(ALIGNMENT.lead_s, max_lag - back), max_lag + max(ahead, 0.0))
    )
    first = np.maximum(t.window[:, 0] - before, 0)
    stop = np.minimum(t.window[:, 1] + after, np.diff(t.offsets))
    return t.cut(first, stop)


def bins_before(dt: float) -> int:
    """Return the number of bins of counts before a window: those of the first command that is decoded."""
    return ALIGNMENT.steps_before(dt) + SPIKE_HISTORY - 1

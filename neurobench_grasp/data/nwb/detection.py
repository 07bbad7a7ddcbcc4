"""Detect when a movement begins and ends, in files that mark no events."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from neurobench_grasp.contract import Floats, Signal, TrialTable
from neurobench_grasp.data.nwb.layout import DetectLayout

RATE = 100
"""Samples per second at which speed is computed; also the resolution of the events."""

EDGE = 9
"""Samples mirrored at both ends of a trial, against the filter's transients."""


def detect_movements(signal: Signal, trials: TrialTable, how: DetectLayout) -> dict[str, Floats]:
    """Detect the main movement of each trial.

    The signal is put on a regular clock (linear interpolation) and smoothed (Butterworth, second order,
    forward and backward). Its speed is the norm over all columns. The movement is the stretch around the
    peak of speed in which speed exceeds a fraction of that peak, short pauses included.

    Parameters
    ----------
    signal : Signal
    trials : TrialTable
    how : DetectLayout

    Returns
    -------
    dict of str to ndarray, shape (n_trials,)
        Event → seconds: when the movement begins (the trial's start, if it was already under way), and
        when it has ended. NaN in trials without a movement.
    """
    spans = [_movement(signal, a, b, how) for a, b in zip(trials.start, trials.stop, strict=True)]
    begin, end = np.array(spans, dtype=np.float64).reshape(-1, 2).T
    return {how.start: begin, how.stop: end}


def _movement(signal: Signal, start: float, stop: float, how: DetectLayout) -> tuple[float, float]:
    """Return begin and end of the movement in one trial, s."""
    speed = _speed(signal, start, stop, how.cutoff)
    peak = float(speed.max(initial=0.0))
    if not peak > how.least_peak:
        return np.nan, np.nan
    moving = np.flatnonzero(speed > how.threshold * peak)
    breaks = np.flatnonzero(np.diff(moving) > how.pause * RATE) + 1
    bounds = [0, *breaks, len(moving)]
    at_peak = int(np.searchsorted(moving, np.argmax(speed)))
    first, last = next((moving[a], moving[b - 1]) for a, b in pairwise(bounds) if b > at_peak)
    if (last - first) / RATE < how.shortest:
        return np.nan, np.nan
    return start + float(first) / RATE, min(start + float(last + 1) / RATE, stop)


def _speed(signal: Signal, start: float, stop: float, cutoff: float) -> Floats:
    """Return the speed over one trial, (n_samples,), in the signal's unit/s; empty without samples."""
    from scipy.signal import butter, filtfilt

    inside = (signal.times >= start) & (signal.times <= stop)
    times, values = signal.times[inside], signal.values[inside]
    enough = len(times) >= max(2, 2 * cutoff * (stop - start))
    if not enough or not (stop - start) * RATE > EDGE or not np.isfinite(values).all():
        return np.empty(0)
    clock = start + np.arange(int((stop - start) * RATE) + 1) / RATE
    regular = np.stack([np.interp(clock, times, column) for column in values.T], axis=1)
    smooth = filtfilt(*butter(2, cutoff, fs=RATE), regular, axis=0, padlen=EDGE)
    speed: Floats = np.linalg.norm(np.gradient(smooth, 1 / RATE, axis=0), axis=1)
    return speed

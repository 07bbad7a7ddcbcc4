"""The model's clock: behaviour on a model's own steps, and its activations in the bins of a recording."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurobench_grasp.alignment.align import MAX_SIGNAL_GAP
from neurobench_grasp.alignment.posture import joint_angles_of
from neurobench_grasp.alignment.rates import to_ticks
from neurobench_grasp.alignment.session import AlignedSession, scored_part
from neurobench_grasp.contract import Activations, Floats, Ints, Ragged, Signal, Trials
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.scoring.ev import between_rows

GAP = 2 * MAX_SIGNAL_GAP
"""Seconds between two samples; with more, a step between them can have none within ``max_signal_gap_s``."""
NEIGHBOURS = 10
"""Samples before and after a trial that its splines see; further ones would change them by 1e-6 or less."""


@dataclass(frozen=True)
class ModelClock:
    """A session on the steps of a model.

    Parameters
    ----------
    trials : Trials
        With the padding of the layout: what models are fitted on.
    scored : Trials
        Without padding that no score depends on: what models run on when they are scored.
    bins : Trials
        The same as ``scored``, in the session's bins.
    """

    trials: Trials
    scored: Trials
    bins: Trials

    def in_bins(self, activations: Activations) -> Activations:
        """Average the activations of ``scored`` over each bin; a step counts by the time that it shares."""
        if self.scored is self.bins:
            return activations
        edges = [_edges(trials) for trials in (self.scored, self.bins)]
        return Activations(
            {
                name: Ragged.of([_average(*trial) for trial in zip(layer, *edges, strict=True)])
                for name, layer in activations.layers.items()
            }
        )


def clock_of(session: AlignedSession, step_s: float | None) -> ModelClock:
    """Return a session on steps of this many seconds, from the start of each window; ``None``: its bins.

    The same object for the same step, so that a model knows trials that it has seen.

    Raises
    ------
    UnsupportedError
        If the behaviour between the session's bins is not known.
    """
    if step_s is None or to_ticks(step_s) == to_ticks(session.trials.dt):
        return ModelClock(session.trials, session.scored, session.scored)
    known: dict[float, ModelClock] = session.clocks
    if step_s not in known:
        trials = _resampled(session, step_s)
        known[step_s] = ModelClock(trials, scored_part(trials, session.max_lag), session.scored)
    return known[step_s]


def recorded_in_bins(session: AlignedSession, role: str, later: float = 0.0) -> Ragged:
    """Return the signals of a role, side by side, at the centres of the session's bins, as ``scored``.

    For signals that no model sees.

    Parameters
    ----------
    session : AlignedSession
    role : str
    later : float
        Seconds by which every signal is moved in time, for a null; what leaves the recording at its end comes
        in at its beginning.

    Raises
    ------
    UnsupportedError
        If none was recorded.
    """
    signals, t = [_moved(signal, later) for signal in _of_role(session, role)], session.scored
    assert session.recording is not None
    trials = []
    for start, (first, _), n, stretch in zip(
        session.start, t.window, np.diff(t.offsets), session.recording.stretch, strict=True
    ):
        at = start + (np.arange(n) - first + 0.5) * t.dt
        trials.append(np.hstack([sample_cubic(signal, at, *stretch) for signal in signals]))
    return Ragged.of(trials)


def trials_with(session: AlignedSession, role: str) -> list[int]:
    """Return the trials in whose scored window every step is near a sample of each signal of a role.

    Raises
    ------
    UnsupportedError
        If there is no such trial.
    """
    t, near = session.scored, np.ones(len(session.start), bool)
    for signal in _of_role(session, role):
        known = signal.times[np.isfinite(signal.values).all(axis=1)]
        times = np.concatenate([[-np.inf], known, [np.inf]])
        for i, (start, length) in enumerate(zip(session.start, np.diff(t.window)[:, 0], strict=True)):
            at = start + (np.arange(length) + 0.5) * t.dt
            after = np.searchsorted(times, at)
            gap = np.minimum(times[after] - at, at - times[after - 1])
            near[i] &= bool((gap <= MAX_SIGNAL_GAP).all())
    if not near.any():
        raise UnsupportedError(
            f"{session.id} has {role.upper()}, but throughout no scored window; check that its times are on "
            "the clock of the trials, in seconds."
        )
    return [int(i) for i in np.flatnonzero(near)]


def _of_role(session: AlignedSession, role: str) -> list[Signal]:
    """Return the recorded signals of a role; columns without any number are 0."""
    recorded = {} if session.recording is None else session.recording.session.signals
    signals = [signal for signal in recorded.values() if signal.role == role]
    if not signals:
        raise UnsupportedError(f"{session.id} has no {role.upper()}")
    return [replace(s, values=np.where(np.isfinite(s.values).any(axis=0), s.values, 0.0)) for s in signals]


def _moved(signal: Signal, later: float) -> Signal:
    """Move the samples of a signal in time, as on a circle, by about as many seconds."""
    if not later or len(signal.times) < 2:
        return signal
    n = round(later / float(np.median(np.diff(signal.times))))
    return replace(signal, values=np.roll(signal.values, n, axis=0))


def _resampled(session: AlignedSession, step_s: float) -> Trials:
    """Sample the recorded behaviour at the centres of steps that cover all bins of each trial."""
    if session.recording is None:
        raise UnsupportedError(
            f"{session.id} has bins of {1000 * session.trials.dt:g} ms, the model has steps of "
            f"{1000 * step_s:g} ms, and the behaviour between the bins is not known."
        )
    t, recorded = session.trials, session.recording.session
    before = _n_steps(t.window[:, 0], t.dt, step_s)
    inside = _n_steps(t.window[:, 1] - t.window[:, 0], t.dt, step_s)
    after = _n_steps(np.diff(t.offsets) - t.window[:, 0], t.dt, step_s)
    offsets = np.concatenate([[0], np.cumsum(before + after)])
    times = [
        start + (np.arange(-a, z) + 0.5) * step_s
        for start, a, z in zip(session.start, before, after, strict=True)
    ]
    signals = {
        name: Ragged.of(
            [
                sample_cubic(signal, at, *stretch)
                for at, stretch in zip(times, session.recording.stretch, strict=True)
            ]
        )
        for name, signal in recorded.inputs.items()
    }
    return replace(
        t,
        dt=step_s,
        window=np.stack([before, before + inside], axis=1),
        offsets=offsets,
        signals=signals,
        joint_angles=joint_angles_of(recorded, signals, step_s).joint_angles,
    )


def _n_steps(bins: Ints, dt: float, step_s: float) -> Ints:
    """Return the number of steps that cover some bins."""
    steps: Ints = -(-bins * to_ticks(dt) // to_ticks(step_s))
    return steps


def sample_cubic(signal: Signal, at: Floats, low: float, high: float) -> Floats:
    """Interpolate all columns by cubic splines through the samples of an unbroken stretch.

    Each run of samples that are at most :data:`GAP` apart has separate splines, and its first and last values
    are held, so that nothing is interpolated across a gap.

    Parameters
    ----------
    signal : Signal
    at : ndarray, shape (n_steps,)
        Ascending times, s.
    low, high : float
        Start and end of the stretch, s.

    Returns
    -------
    ndarray, shape (n_steps, n_columns)
    """
    from scipy.interpolate import CubicSpline

    finite = np.isfinite(signal.values).all(axis=1)
    times, values = signal.times[finite], signal.values[finite]
    first, stop = np.searchsorted(times, (low - 5e-7, high - 5e-7))
    near = np.searchsorted(times, (at[0], at[-1]))
    first = min(max(first, near[0] - NEIGHBOURS), len(times) - 1)
    stop = max(min(stop, near[1] + NEIGHBOURS), first + 1)
    times, values = times[first:stop], values[first:stop]
    run_of_sample = np.concatenate([[0], np.cumsum(np.diff(times) > GAP)])
    middles = (times[:-1] + times[1:]) / 2
    run_of_step = run_of_sample[np.searchsorted(middles, at)]
    out = np.empty((len(at), values.shape[1]))
    for run in np.unique(run_of_step):
        mine, steps = run_of_sample == run, run_of_step == run
        x, y = times[mine], values[mine]
        held = np.clip(at[steps], x[0], x[-1])
        out[steps] = CubicSpline(x, y)(held) if len(x) > 1 else y
    return out


def _edges(trials: Trials) -> list[Ints]:
    """Return the edges of the steps of each trial, microseconds after the start of its window."""
    lengths = np.diff(trials.offsets)
    return [
        (np.arange(n + 1) - first) * to_ticks(trials.dt)
        for n, first in zip(lengths, trials.window[:, 0], strict=True)
    ]


def _average(layer: Floats, steps: Ints, bins: Ints) -> Floats:
    """Average (n_steps, n_features) over bins; both by their edges, and each bin meets a step."""
    width = int(steps[1] - steps[0])
    passed = np.zeros((len(steps), layer.shape[1]))  # integral from the first edge on
    np.cumsum(np.asarray(layer, np.float64) * width, axis=0, out=passed[1:])
    at = np.clip(bins, steps[0], steps[-1])
    low = np.minimum((at - steps[0]) // width, len(steps) - 2)
    integral = between_rows(passed, low, low + 1, (at - steps[low]) / width)
    mean: Floats = np.diff(integral, axis=0) / np.diff(at)[:, None]
    return mean

"""Features of a recorded movement for a linear map, without a network or fitted parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobench_grasp.bodies.find import body_of
from neurobench_grasp.contract import Floats, Ragged, Trials
from neurobench_grasp.errors import UnsupportedError

LOOK_AHEAD = 0.1
"""Seconds of future movement in the features: the look-ahead of a controller."""


def recorded_kinematics(trials: Trials) -> tuple[str, Ragged]:
    """Return features of recorded movements.

    With joint angles of a body: lengths and velocities of its muscles in the recorded posture, now
    and in the next 100 ms, to match the look-ahead of a controller. Without: the
    recorded signals, their rates of change and the magnitude of these, over the layout's lags.

    Parameters
    ----------
    trials : Trials

    Returns
    -------
    name : str
        ``muscle_kinematics`` or ``recorded_signals``.
    features : Ragged
        (trial, step, n_features).

    Raises
    ------
    UnsupportedError
        If neither was recorded.
    """
    if trials.joint_angles is not None:
        muscles = body_of(trials).muscle_kinematics(trials.joint_angles.values, trials.dt, trials.offsets)
        now = Ragged(np.hstack([muscles.length, muscles.velocity]), trials.offsets)
        return "muscle_kinematics", _at_lags(now, range(round(LOOK_AHEAD / trials.dt) + 1))
    if not trials.signals:
        raise UnsupportedError(
            f"{trials.sessions[0]} has neither joint angles nor other behavioural signals that a model may "
            "see (EMG is none of them), so the recorded movement is unknown; you can still score your own "
            "activations (--activations)."
        )
    first, last = (round(lag / trials.dt) for lag in trials.signal_lags)
    now = Ragged(np.hstack([_with_change(s, trials.dt) for s in trials.signals.values()]), trials.offsets)
    return "recorded_signals", _at_lags(now, range(first, last + 1))


def _with_change(signal: Ragged, dt: float) -> Floats:
    """Append each column's rate of change, and its magnitude over all columns."""
    change = np.concatenate([np.gradient(trial, dt, axis=0) for trial in signal])
    return np.hstack([signal.values, change, np.linalg.norm(change, axis=1, keepdims=True)])


def _at_lags(features: Ragged, lags: Sequence[int]) -> Ragged:
    """Concatenate features at several lags (steps; positive: later), held at a trial's ends."""
    trials = []
    for trial in features:
        steps = np.arange(len(trial))
        trials.append(np.hstack([trial[np.clip(steps + lag, 0, len(trial) - 1)] for lag in lags]))
    return Ragged.of(trials)

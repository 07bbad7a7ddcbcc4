"""What a recorded movement itself says, as features for a linear map: no network, nothing learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobench_grasp.bodies.kinematics import muscle_kinematics
from neurobench_grasp.contract import Floats, Ragged, Trials
from neurobench_grasp.errors import UnsupportedError

LOOK_AHEAD = 0.1
"""Seconds of the future in the features: the frames that a controller looks ahead."""


def recorded_kinematics(trials: Trials) -> tuple[str, Ragged]:
    """Features of recorded movements.

    Where joint angles of the hand exist: lengths and velocities of its muscles in the recorded posture, now
    and in the next 100 ms, so that a comparison with a controller that looks ahead is fair. Elsewhere: the
    recorded signals, their rates of change and the size of these, over the lags that the layout states.

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
        muscles = muscle_kinematics(trials.joint_angles.values, trials.dt, trials.offsets)
        now = Ragged(np.hstack([muscles.length, muscles.velocity]), trials.offsets)
        return "muscle_kinematics", _at_lags(now, range(round(LOOK_AHEAD / trials.dt) + 1))
    if not trials.signals:
        raise UnsupportedError(
            f"{trials.sessions[0]} has neither joint angles nor other behavioural signals, so nothing is "
            "known of the recorded movement; your own activations can be scored all the same (--activations)."
        )
    first, last = (round(lag / trials.dt) for lag in trials.signal_lags)
    now = Ragged(np.hstack([_with_change(s, trials.dt) for s in trials.signals.values()]), trials.offsets)
    return "recorded_signals", _at_lags(now, range(first, last + 1))


def _with_change(signal: Ragged, dt: float) -> Floats:
    """Append each column's rate of change, and the size of the change over all columns."""
    change = np.concatenate([np.gradient(trial, dt, axis=0) for trial in signal])
    return np.hstack([signal.values, change, np.linalg.norm(change, axis=1, keepdims=True)])


def _at_lags(features: Ragged, lags: Sequence[int]) -> Ragged:
    """Features at several lags side by side (steps; positive: later), held at a trial's ends."""
    trials = []
    for trial in features:
        steps = np.arange(len(trial))
        trials.append(np.hstack([trial[np.clip(steps + lag, 0, len(trial) - 1)] for lag in lags]))
    return Ragged.of(trials)

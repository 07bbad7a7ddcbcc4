"""Linear kinematics: what the recorded movement itself says, without any network.

Where joint angles of the hand exist, the lengths and velocities of its muscles in the recorded posture,
now and in the next 100 ms (the frames that a controller looks ahead, so that the comparison is fair).
Elsewhere the session's recorded signals, their rates of change and the size of these, over the lags
that the session's layout states.
"""

from collections.abc import Sequence

import numpy as np

from neurobench_grasp import Activations, ModelSpec, NgbError, Ragged, Trials, hookimpl

LOOK_AHEAD = 0.1  # s


class LinearKinematic:
    """Features of the recorded movement; nothing is learned here, the map to units is linear."""

    def fit(self, train: Trials, *, seed: int) -> None:
        """Nothing to learn."""

    def activations(self, trials: Trials) -> Activations:
        """Muscle kinematics if there are joint angles, recorded signals otherwise."""
        if trials.joint_angles is not None:
            from neurobench_grasp.body import muscle_kinematics

            muscles = muscle_kinematics(trials.joint_angles.values, trials.dt, trials.offsets)
            now = Ragged(np.hstack([muscles.length, muscles.velocity]), trials.offsets)
            ahead = range(round(LOOK_AHEAD / trials.dt) + 1)
            return Activations({"muscle_kinematics": at_lags(now, ahead)})
        if not trials.signals:
            raise NgbError(
                f"linear_kinematic cannot be scored on {trials.sessions[0]}: it predicts neurons from "
                "recorded movement, and this session has neither joint angles nor other behavioural signals."
            )
        first, last = (round(lag / trials.dt) for lag in trials.signal_lags)
        now = Ragged(np.hstack([with_change(s, trials.dt) for s in trials.signals.values()]), trials.offsets)
        return Activations({"recorded_signals": at_lags(now, range(first, last + 1))})

    def state(self) -> dict[str, np.ndarray]:
        """Nothing was learned."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Nothing to take back."""


def with_change(signal: Ragged, dt: float) -> np.ndarray:
    """Append each column's rate of change, and the size of the change over all columns."""
    change = np.concatenate([np.gradient(trial, dt, axis=0) for trial in signal])
    return np.hstack([signal.values, change, np.linalg.norm(change, axis=1, keepdims=True)])


def at_lags(features: Ragged, lags: Sequence[int]) -> Ragged:
    """Features at several lags side by side (steps; positive: later), held at a trial's ends."""
    trials = []
    for trial in features:
        steps = np.arange(len(trial))
        trials.append(np.hstack([trial[np.clip(steps + lag, 0, len(trial) - 1)] for lag in lags]))
    return Ragged.of(trials)


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        "linear_kinematic",
        build=lambda seed: LinearKinematic(),
        summary="muscle lengths and velocities, or recorded signals with lags; no network",
        card={"licence": "Apache-2.0", "action_space": "none", "training_data": [], "parameters": 0},
    )

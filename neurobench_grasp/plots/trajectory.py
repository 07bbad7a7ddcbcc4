"""One trial step by step: recorded and simulated bodies, and the distances between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurobench_grasp.bodies import body_of, keypoint_distances
from neurobench_grasp.contract import Body, Bools, Colour, Floats, Tracking, Trials

if TYPE_CHECKING:
    import pandas as pd

RECORDED: Colour = (0.0, 0.447, 0.698)
SIMULATED: tuple[Colour, ...] = ((0.835, 0.369, 0.0), (0.0, 0.62, 0.451))
"""Blue, vermilion and bluish green (Okabe and Ito), which are safe for colour-blind readers."""


@dataclass(frozen=True)
class Movement:
    """The movement of a simulated body; arrays have one row per step.

    Parameters
    ----------
    joint_angles : ndarray, shape (n_steps, n_joints)
        rad.
    error_mm : ndarray, shape (n_steps,)
        Mean distance of the keypoints from the recorded ones.
    activation : ndarray, shape (n_steps, n_muscles), optional
        Of the muscles, if there are any.
    """

    joint_angles: Floats
    error_mm: Floats
    activation: Floats | None

    @classmethod
    def of(cls, tracking: Tracking, targets: Floats) -> Movement:
        """Compare the one trial of ``tracking`` with recorded keypoints."""
        activation = tracking.muscle_activation
        return cls(
            joint_angles=tracking.joint_angles[0],
            error_mm=1000 * keypoint_distances(tracking.keypoints[0], targets).mean(1),
            activation=None if activation is None else activation[0],
        )


@dataclass(frozen=True)
class Trajectory:
    """A trial in closed loop; arrays have one row per step.

    Parameters
    ----------
    body : Body
    step_s : float
        Seconds from one step to the next.
    time : ndarray, shape (n_steps,)
        Seconds after the start of the scored window.
    scored : ndarray of bool, shape (n_steps,)
        Inside the scored window.
    recorded : ndarray, shape (n_steps, n_joints)
        Joint angles, rad.
    targets : ndarray, shape (n_steps, 3 · n_keypoints)
        Keypoints of the recorded posture, metres in the body's frame.
    average_posture_error_mm : ndarray, shape (n_steps,)
        Mean distance of the keypoints from the recorded ones, of a body that holds the average posture.
    simulated : Movement
    driven : Movement, optional
        The same body with a goal that was decoded from spikes.
    """

    body: Body
    step_s: float
    time: Floats
    scored: Bools
    recorded: Floats
    targets: Floats
    average_posture_error_mm: Floats
    simulated: Movement
    driven: Movement | None = None

    @classmethod
    def of(
        cls, trial: Trials, tracking: Tracking, average_posture: Floats, driven: Tracking | None = None
    ) -> Trajectory:
        """Compare the recorded movement of one trial with that of the simulated body."""
        assert trial.joint_angles is not None
        recorded = np.asarray(trial.joint_angles[0], np.float64)
        first, stop = trial.window[0]
        steps = np.arange(len(recorded))
        body = body_of(trial)
        targets, held = (body.keypoint_positions(a) for a in (recorded, average_posture[None]))
        return cls(
            body=body,
            step_s=trial.dt,
            time=(steps - first) * trial.dt,
            scored=(steps >= first) & (steps < stop),
            recorded=recorded,
            targets=targets,
            average_posture_error_mm=1000 * keypoint_distances(held, targets).mean(1),
            simulated=Movement.of(tracking, targets),
            driven=None if driven is None else Movement.of(driven, targets),
        )

    @property
    def movements(self) -> tuple[Movement, ...]:
        """The simulated movements."""
        return (self.simulated,) if self.driven is None else (self.simulated, self.driven)

    def in_window(self, error_mm: Floats) -> float:
        """Mean of an error over the scored window."""
        return float(error_mm[self.scored].mean())

    def table(self) -> pd.DataFrame:
        """Return all columns as a table: one row per step, angles in degrees."""
        import pandas as pd

        columns = {
            "time_s": self.time,
            "scored": self.scored,
            "error_mm": self.simulated.error_mm,
            "average_posture_error_mm": self.average_posture_error_mm,
            **self._posture("recorded", self.recorded),
            **self._posture("simulated", self.simulated.joint_angles),
            **self._activation("activation", self.simulated),
        }
        if self.driven is not None:
            columns["driven_error_mm"] = self.driven.error_mm
            columns |= self._posture("driven", self.driven.joint_angles)
            columns |= self._activation("driven_activation", self.driven)
        return pd.DataFrame(columns)

    def _posture(self, prefix: str, angles: Floats) -> dict[str, Floats]:
        return {f"{prefix}_{joint}_deg": np.degrees(angles[:, i]) for i, joint in enumerate(self.body.joints)}

    def _activation(self, prefix: str, movement: Movement) -> dict[str, Floats]:
        if movement.activation is None:
            return {}
        return {f"{prefix}_{m}": movement.activation[:, i] for i, m in enumerate(self.body.muscles)}

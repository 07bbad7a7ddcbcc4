"""One trial step by step: what was recorded, what the simulated hand did, how far they are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurobench_grasp.body import JOINTS, MUSCLES, keypoint_distances, keypoints
from neurobench_grasp.body.render import Colour
from neurobench_grasp.types import Bools, Floats, Tracking, Trials

if TYPE_CHECKING:
    import pandas as pd

RECORDED: Colour = (0.0, 0.447, 0.698)
SIMULATED: Colour = (0.835, 0.369, 0.0)
"""Blue and vermilion (Okabe and Ito), which colour-blind people tell apart."""


@dataclass(frozen=True)
class Course:
    """A trial in closed loop; arrays have one row per step.

    Parameters
    ----------
    step_s : float
        Seconds from one step to the next.
    time : ndarray, shape (n_steps,)
        Seconds after the start of the scored window.
    scored : ndarray of bool, shape (n_steps,)
        Inside the scored window.
    recorded, simulated : ndarray, shape (n_steps, 23)
        Joint angles, rad.
    targets : ndarray, shape (n_steps, 60)
        Keypoints of the recorded hand, metres in the wrist's frame.
    error_mm, average_posture_error_mm : ndarray, shape (n_steps,)
        Mean distance of the keypoints from the recorded ones, of the simulated hand and of a hand that
        holds the average posture.
    activation : ndarray, shape (n_steps, 39), optional
    """

    step_s: float
    time: Floats
    scored: Bools
    recorded: Floats
    simulated: Floats
    targets: Floats
    error_mm: Floats
    average_posture_error_mm: Floats
    activation: Floats | None

    @classmethod
    def of(cls, trial: Trials, tracking: Tracking, average_posture: Floats) -> Course:
        """Compare what was recorded in one trial with what the hand did."""
        assert trial.joint_angles is not None
        recorded = np.asarray(trial.joint_angles[0], np.float64)
        first, stop = trial.window[0]
        steps = np.arange(len(recorded))
        targets = keypoints(recorded)
        reached, held = tracking.keypoints[0], keypoints(average_posture[None])
        return cls(
            step_s=trial.dt,
            time=(steps - first) * trial.dt,
            scored=(steps >= first) & (steps < stop),
            recorded=recorded,
            simulated=tracking.joint_angles[0],
            targets=targets,
            error_mm=1000 * keypoint_distances(reached, targets).mean(1),
            average_posture_error_mm=1000 * keypoint_distances(held, targets).mean(1),
            activation=None if tracking.muscle_activation is None else tracking.muscle_activation[0],
        )

    def table(self) -> pd.DataFrame:
        """All of it in columns: one row per step, angles in degrees."""
        import pandas as pd

        columns = {
            "time_s": self.time,
            "scored": self.scored,
            "error_mm": self.error_mm,
            "average_posture_error_mm": self.average_posture_error_mm,
        }
        for name, angles in (("recorded", self.recorded), ("simulated", self.simulated)):
            columns |= {f"{name}_{joint}_deg": np.degrees(angles[:, i]) for i, joint in enumerate(JOINTS)}
        if self.activation is not None:
            columns |= {f"activation_{muscle}": self.activation[:, i] for i, muscle in enumerate(MUSCLES)}
        return pd.DataFrame(columns)

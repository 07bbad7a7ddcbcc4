"""One trial step by step: recorded and simulated hands, and the distances between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurobench_grasp.bodies import JOINTS, MUSCLES, keypoint_distances, keypoints
from neurobench_grasp.bodies.render import Colour
from neurobench_grasp.contract import Bools, Floats, Tracking, Trials

if TYPE_CHECKING:
    import pandas as pd

RECORDED: Colour = (0.0, 0.447, 0.698)
SIMULATED: tuple[Colour, ...] = ((0.835, 0.369, 0.0), (0.0, 0.62, 0.451))
"""Blue, vermilion and bluish green (Okabe and Ito), which are safe for colour-blind readers."""


@dataclass(frozen=True)
class Hand:
    """A simulated hand; arrays have one row per step.

    Parameters
    ----------
    joint_angles : ndarray, shape (n_steps, 23)
        rad.
    error_mm : ndarray, shape (n_steps,)
        Mean distance of the keypoints from the recorded ones.
    activation : ndarray, shape (n_steps, 39), optional
        Of the muscles, if there are any.
    """

    joint_angles: Floats
    error_mm: Floats
    activation: Floats | None

    @classmethod
    def of(cls, tracking: Tracking, targets: Floats) -> Hand:
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
    step_s : float
        Seconds from one step to the next.
    time : ndarray, shape (n_steps,)
        Seconds after the start of the scored window.
    scored : ndarray of bool, shape (n_steps,)
        Inside the scored window.
    recorded : ndarray, shape (n_steps, 23)
        Joint angles, rad.
    targets : ndarray, shape (n_steps, 60)
        Keypoints of the recorded hand, metres in the wrist's frame.
    average_posture_error_mm : ndarray, shape (n_steps,)
        Mean distance of the keypoints from the recorded ones, of a hand that holds the average posture.
    simulated : Hand
    driven : Hand, optional
        The same hand with a goal that was decoded from spikes.
    """

    step_s: float
    time: Floats
    scored: Bools
    recorded: Floats
    targets: Floats
    average_posture_error_mm: Floats
    simulated: Hand
    driven: Hand | None = None

    @classmethod
    def of(
        cls, trial: Trials, tracking: Tracking, average_posture: Floats, driven: Tracking | None = None
    ) -> Trajectory:
        """Compare the recorded movement of one trial with that of the hand."""
        assert trial.joint_angles is not None
        recorded = np.asarray(trial.joint_angles[0], np.float64)
        first, stop = trial.window[0]
        steps = np.arange(len(recorded))
        targets, held = keypoints(recorded), keypoints(average_posture[None])
        return cls(
            step_s=trial.dt,
            time=(steps - first) * trial.dt,
            scored=(steps >= first) & (steps < stop),
            recorded=recorded,
            targets=targets,
            average_posture_error_mm=1000 * keypoint_distances(held, targets).mean(1),
            simulated=Hand.of(tracking, targets),
            driven=None if driven is None else Hand.of(driven, targets),
        )

    @property
    def hands(self) -> tuple[Hand, ...]:
        """The simulated hands."""
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
            **_posture("recorded", self.recorded),
            **_posture("simulated", self.simulated.joint_angles),
            **_activation("activation", self.simulated),
        }
        if self.driven is not None:
            columns["driven_error_mm"] = self.driven.error_mm
            columns |= _posture("driven", self.driven.joint_angles)
            columns |= _activation("driven_activation", self.driven)
        return pd.DataFrame(columns)


def _posture(prefix: str, angles: Floats) -> dict[str, Floats]:
    return {f"{prefix}_{joint}_deg": np.degrees(angles[:, i]) for i, joint in enumerate(JOINTS)}


def _activation(prefix: str, hand: Hand) -> dict[str, Floats]:
    if hand.activation is None:
        return {}
    return {f"{prefix}_{muscle}": hand.activation[:, i] for i, muscle in enumerate(MUSCLES)}

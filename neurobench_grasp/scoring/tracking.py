"""Tracking errors of a simulated hand, per trial: pure functions (protocol section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobench_grasp.scoring.ev import PHASE_POINTS, to_phase
from neurobench_grasp.types import Floats


def keypoint_distance(reached: Floats, wanted: Floats, which: Sequence[int] | None = None) -> float:
    """Mean distance over steps and keypoints, millimetres.

    Parameters
    ----------
    reached, wanted : ndarray, shape (n_steps, 3 · n_keypoints)
        Metres.
    which : sequence of int, optional
        Positions of the keypoints that count. Default: all.
    """
    apart = (reached - wanted).reshape(len(reached), -1, 3)
    apart = apart if which is None else apart[:, list(which)]
    return 1000 * float(np.linalg.norm(apart, axis=2).mean())


def joint_error(reached: Floats, wanted: Floats) -> float:
    """Mean absolute error over steps and joints, degrees; angles (n_steps, n_joints) in rad."""
    return float(np.degrees(np.abs(reached - wanted).mean()))


def mean_course(trials: Sequence[Floats]) -> Floats:
    """Average trajectory: the mean over trials at each of 25 phases, (25, n_joints)."""
    course: Floats = np.mean([to_phase(trial) for trial in trials], axis=0)
    return course


def play(course: Floats, n_steps: int) -> Floats:
    """Play a course over phase (25, n_columns) in a number of steps, (n_steps, n_columns)."""
    at, phase = np.linspace(0, 1, n_steps), np.linspace(0, 1, PHASE_POINTS)
    return np.stack([np.interp(at, phase, column) for column in course.T], axis=1)

"""Tracking errors of a simulated hand, per trial: pure functions (protocol section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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

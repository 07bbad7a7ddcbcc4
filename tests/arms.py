"""Small planted reaches of an arm, for tests of what is trained and scored on another body than the hand."""

import numpy as np
from courses import minimum_jerk
from recorded import write_for_test

from neurobench_grasp.bodies import find_body
from neurobench_grasp.data import session_from_arrays

BODY = "planar_arm"


def write_reaches(path, *, n_targets=5, n_repeats=4, turn=0.2, seed=0):
    """An NWB file in which both joints of an arm turn, to several targets; four units follow them.

    ``turn`` is the change of posture between neighbouring targets, rad.
    """
    body, n, rng = find_body(BODY), n_targets * n_repeats, np.random.default_rng(seed)
    onset = 1.0 + 2.0 * np.arange(n)
    times = np.arange(0, onset[-1] + 2, 0.02) + 0.01
    course = minimum_jerk((times[:, None] - onset) / 0.6 * (times[:, None] < onset + 1.3))
    way = turn * (np.arange(n) % n_targets - n_targets // 2) + 0.02 * rng.standard_normal(n)
    angles = body.neutral + course @ np.stack([way, -way], axis=1)
    rates = 10 + 30 * np.abs(angles[:, [0, 1, 0, 1]] - angles.mean(0)[[0, 1, 0, 1]])
    spikes = {str(u): times[rng.random(len(times)) < 0.02 * rates[:, u]] + 0.005 for u in range(4)}
    session = session_from_arrays(
        id=path.stem,
        subject="planted",
        spike_times=spikes,
        areas=dict.fromkeys(spikes, "M1"),
        trials={
            "start": onset - 0.6,
            "stop": onset + 1.2,
            "condition": [f"to_{i % n_targets}" for i in range(n)],
            "move_onset": onset,
            "contact": onset + 0.6,
        },
        joint_angles={joint: angles[:, i] for i, joint in enumerate(body.joints)},
        angle_times=times,
        body=BODY,
    )
    return write_for_test(path, session)

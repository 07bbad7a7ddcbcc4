"""Small planted movements of the hand, for tests of bodies and controllers."""

import numpy as np
from courses import minimum_jerk
from recorded import write_for_test

from neurobench_grasp.bodies.myohand import JOINTS, build_myohand
from neurobench_grasp.contract import Ragged, Trials
from neurobench_grasp.data import session_from_arrays

HAND = build_myohand()
REST = HAND.neutral


def grasp_trials(n_trials=6, *, n_steps=30, pad=12, n_objects=3, seed=0):
    """Minimum-jerk movements from rest to a posture of the object, a little different each time."""
    rng = np.random.default_rng(seed)
    low, high = HAND.joint_limits.T
    closed = np.clip(REST + 0.3 * rng.standard_normal((n_objects, 23)), low, high)
    course = minimum_jerk((np.arange(n_steps + 2 * pad) - pad) / n_steps)[:, None]
    angles = []
    for i in range(n_trials):
        target = np.clip(closed[i % n_objects] + 0.05 * rng.standard_normal(23), low, high)
        movement = np.clip(REST + (target - REST) * course, low, high)
        angles.append(movement[: len(movement) - i % 3])  # of unequal length
    joined = Ragged.of(angles)
    return Trials(
        sessions=("planted",) * n_trials,
        ids=tuple(f"t{i}" for i in range(n_trials)),
        condition=tuple(f"object_{i % n_objects}" for i in range(n_trials)),
        dt=0.02,
        window=np.stack([np.full(n_trials, pad), joined.lengths - pad], axis=1),
        offsets=joined.offsets,
        signals={},
        joint_angles=joined,
        events={},
    )


def write_grasp_session(path, *, n_objects=6, n_repeats=5, units=True):
    """An NWB file in which a hand grasps objects; two units follow two joints (none with ``units=False``)."""
    n = n_objects * n_repeats
    rng = np.random.default_rng(5)
    low, high = HAND.joint_limits.T
    closed = REST + 0.3 * rng.standard_normal((n_objects, 23))
    onset = 1.0 + 2.0 * np.arange(n)
    times = np.arange(0, onset[-1] + 2, 0.02) + 0.01
    course = minimum_jerk((times[:, None] - onset) / 0.5 * (times[:, None] < onset + 1.3))
    target = closed[np.arange(n) % n_objects] + 0.05 * rng.standard_normal((n, 23)) - REST
    angles = np.clip(REST + course @ target, low, high)
    spikes = {}
    for unit, joint in (("1", 7), ("2", 9)) if units else ():
        rate = 10 + 30 / (1 + np.exp(-8 * (angles[:, joint] - angles[:, joint].mean())))
        fired = np.flatnonzero(rng.random(len(times)) < 0.02 * rate)
        spikes[unit] = times[fired] + 0.005 * rng.random(len(fired))
    session = session_from_arrays(
        id="grasping",
        subject="planted",
        spike_times=spikes,
        areas=dict.fromkeys(spikes, "M1"),
        trials={
            "start": onset - 0.6,
            "stop": onset + 1.2,
            "condition": [f"object_{i % n_objects}" for i in range(n)],
            "move_onset": onset,
            "contact": onset + 0.5,
        },
        joint_angles={joint: angles[:, i] for i, joint in enumerate(JOINTS)},
        angle_times=times,
    )
    return write_for_test(path, session)

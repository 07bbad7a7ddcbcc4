"""Small planted movements of the hand, for tests of bodies and controllers."""

import numpy as np

from neurobench_grasp.body import JOINTS, NEUTRAL, joint_limits
from neurobench_grasp.types import Ragged, Trials

REST = np.array([NEUTRAL[joint] for joint in JOINTS])


def grasp_trials(n_trials=6, *, n_steps=30, pad=12, n_objects=3, seed=0):
    """Minimum-jerk movements from rest to a posture of the object, a little different each time."""
    rng = np.random.default_rng(seed)
    low, high = joint_limits().T
    closed = np.clip(REST + 0.3 * rng.standard_normal((n_objects, 23)), low, high)
    phase = np.clip((np.arange(n_steps + 2 * pad) - pad) / n_steps, 0, 1)
    course = (10 * phase**3 - 15 * phase**4 + 6 * phase**5)[:, None]
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

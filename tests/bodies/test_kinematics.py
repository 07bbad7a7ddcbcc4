"""Muscle lengths, velocities and keypoints agree with MuJoCo and with each other, whatever the batch."""

import mujoco
import numpy as np
import pytest
from movements import HAND

from neurobench_grasp import NgbError
from neurobench_grasp.bodies.myohand import JOINTS, KEYPOINTS, MUSCLES, NEUTRAL


def movement(n_steps: int, dt: float, seed: int = 0) -> np.ndarray:
    """Smooth angles in the middle half of every joint's range, so that no tendon jumps over an edge."""
    rng = np.random.default_rng(seed)
    low, high = HAND.joint_limits.T
    time = dt * np.arange(n_steps)[:, None]
    wave = np.sin(2 * np.pi * (rng.uniform(0.2, 0.8, 23) * time + rng.random(23)))
    return (low + high) / 2 + wave * (high - low) / 4


def test_lengths_and_velocities_are_mujocos():
    dt = 0.02
    angles = movement(50, dt)
    muscles = HAND.muscle_kinematics(angles, dt)
    velocities = np.gradient(angles, dt, axis=0)
    model = HAND.model
    data = mujoco.MjData(model)
    for i in (0, 20, 49):
        data.qpos[:], data.qvel[:] = angles[i], velocities[i]
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(muscles.length[i], data.actuator_length, atol=1e-14)
        np.testing.assert_allclose(muscles.velocity[i], data.actuator_velocity, atol=1e-14)
    assert muscles.length.shape == muscles.velocity.shape == (50, len(MUSCLES))


def test_velocity_is_the_derivative_of_length():
    dt = 0.001
    muscles = HAND.muscle_kinematics(movement(1500, dt), dt)
    difference = np.gradient(muscles.length, dt, axis=0)[1:-1]
    np.testing.assert_allclose(muscles.velocity[1:-1], difference, atol=2e-3 * np.abs(difference).max())


def test_results_do_not_depend_on_the_batch():
    dt = 0.02
    parts = [movement(n, dt, seed) for seed, n in enumerate((2, 3, 150, 400, 900))]
    alone = [HAND.muscle_kinematics(part, dt) for part in parts]
    offsets = np.cumsum([0, *map(len, parts)])
    together = HAND.muscle_kinematics(np.concatenate(parts), dt, offsets)
    np.testing.assert_array_equal(together.length, np.concatenate([a.length for a in alone]))
    np.testing.assert_array_equal(together.velocity, np.concatenate([a.velocity for a in alone]))
    np.testing.assert_array_equal(
        HAND.keypoint_positions(parts[-1])[17:18], HAND.keypoint_positions(parts[-1][17:18])
    )


def test_a_still_hand_has_still_muscles():
    angles = np.tile([NEUTRAL[joint] for joint in JOINTS], (5, 1))
    assert not HAND.muscle_kinematics(angles, 0.02).velocity.any()


def test_the_wrists_own_joints_do_not_move_keypoints():
    angles = np.tile([NEUTRAL[joint] for joint in JOINTS], (2, 1))
    angles[1, :3] = [0.7, 0.2, -0.4]
    before, after = HAND.keypoint_positions(angles)
    np.testing.assert_allclose(after, before, atol=1e-12)


def test_flexing_a_finger_moves_its_tip_alone():
    angles = np.tile([NEUTRAL[joint] for joint in JOINTS], (2, 1))
    angles[1, JOINTS.index("pm3_flexion")] += 0.5
    distance = np.ptp(HAND.keypoint_positions(angles).reshape(2, len(KEYPOINTS), 3), axis=0).max(axis=1)
    moved = [KEYPOINTS[i] for i in np.flatnonzero(distance > 1e-6)]
    assert moved == ["middle_dip", "middle_tip"]


def test_wrong_shapes_are_refused():
    with pytest.raises(NgbError, match=r"shape \(4, 22\)"):
        HAND.keypoint_positions(np.zeros((4, 22)))
    with pytest.raises(NgbError, match="at least two steps"):
        HAND.muscle_kinematics(np.zeros((1, 23)), 0.02)
    with pytest.raises(NgbError, match="at least two steps"):
        HAND.muscle_kinematics(np.zeros((4, 23)), 0.02, np.array([0, 3, 4]))


def test_holding_the_average_posture_misses_myodm_by_the_known_amount(real_file):
    """Published order of joints, clipped to the limits: 14 mm over the keypoints, 28 mm at the tips."""
    files = sorted(real_file("myodm").glob("*.npz"))[::4]
    clips = np.concatenate([np.load(file)["robot"][:, 6:] for file in files])
    points = HAND.keypoint_positions(HAND.posture(clips, JOINTS).joint_angles).reshape(len(clips), -1, 3)
    error = 1000 * np.linalg.norm(points - points.mean(axis=0), axis=2)
    tips = [name.endswith("tip") for name in KEYPOINTS]
    assert 10 < error.mean() < 18
    assert 22 < error[:, tips].mean() < 34

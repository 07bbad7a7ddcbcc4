"""Distances, jerk and co-contraction agree with plain loops and with MuJoCo's forward dynamics."""

import mujoco
import numpy as np
import pytest
from movements import HAND, grasp_trials

from neurobench_grasp.bodies import co_contraction, jerk, keypoint_distances


def muscle_torques(angles, activation):
    arms, force = HAND.muscle_capacity(angles)
    return arms * (force * activation)[:, :, None]


def test_keypoint_distances_are_euclidean():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 60))
    expected = [[np.linalg.norm((a - b)[i, 3 * k : 3 * k + 3]) for k in range(20)] for i in range(3)]
    np.testing.assert_allclose(keypoint_distances(a, b), expected)
    np.testing.assert_allclose(keypoint_distances(a[:1], a), keypoint_distances(np.tile(a[0], (3, 1)), a))


def test_jerk_of_a_cubic_is_its_third_derivative():
    t = np.arange(30)[:, None] * 0.02
    assert jerk(np.tile(t**3, 60), 0.02) == pytest.approx(6.0)


def test_muscle_torques_are_what_activation_adds_to_mujocos_joint_forces():
    angles = grasp_trials(1).joint_angles.values[:5]
    activation = np.random.default_rng(1).random((5, 39))
    torque = muscle_torques(angles, activation)
    model = HAND.model
    for posture, active, found in zip(angles, activation, torque, strict=True):
        forces = []
        for act in (active, np.zeros(39)):
            data = mujoco.MjData(model)
            data.qpos[:], data.act[:] = posture, act
            mujoco.mj_forward(model, data)
            forces.append(data.qfrc_actuator.copy())
        np.testing.assert_allclose(found.sum(0), forces[0] - forces[1], atol=1e-9)


def test_one_muscle_alone_cancels_nothing_and_all_together_much():
    angles = grasp_trials(1).joint_angles.values[:3]
    alone = np.zeros((3, 39))
    alone[:, 15] = 0.5
    np.testing.assert_allclose(co_contraction(HAND, angles, alone), 0, atol=1e-9)
    together = co_contraction(HAND, angles, np.full((3, 39), 0.5))
    assert together.shape == (3,) and (together > 0.2).all() and (together < 1).all()


def test_two_muscles_that_pull_a_joint_equally_hard_cancel_all_of_it_and_half_as_hard_two_thirds():
    angles = grasp_trials(1).joint_angles.values[:1]
    each = muscle_torques(angles, np.ones((1, 39)))[0]
    joint = int(np.argmax(np.minimum(each.max(0), -each.min(0))))
    one, other = int(each[:, joint].argmax()), int(each[:, joint].argmin())
    active = np.zeros((1, 39))
    for share, expected in ((1.0, 1.0), (0.5, 2 / 3)):
        active[0, one] = 0.1
        active[0, other] = 0.1 * share * each[one, joint] / -each[other, joint]
        torque = muscle_torques(angles, active)[0, :, joint]
        up, down = np.maximum(torque, 0).sum(), -np.minimum(torque, 0).sum()
        assert 2 * min(up, down) / (up + down) == pytest.approx(expected)

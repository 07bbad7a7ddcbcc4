"""Batched hands: one instant, one hand each, equal to plain MuJoCo, the same afferents for both bodies."""

import mujoco
import numpy as np
import pytest
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from movements import HAND, REST

from neurobench_grasp.bodies.simulator import (
    TORQUE_FRACTION,
    actuated_model,
    to_control,
    torque_limits,
)
from neurobench_grasp.bodies.spec import ACTIONS, CONTROL_STEP, PHYSICS_STEPS
from neurobench_grasp.errors import NgbError


def moved(action, n=4, steps=8, seed=0, **kw):
    """Hands after some steps of random actions."""
    rng = np.random.default_rng(seed)
    hands = HAND.simulate(action, n, **kw)
    start = REST + 0.1 * rng.standard_normal((n, 23))
    hands.start(slice(None), np.clip(start, *HAND.joint_limits.T), 0.1 * rng.standard_normal((n, 23)))
    actions = np.clip(0.4 * rng.standard_normal((steps, n, hands.n_actions)), -1, 1)
    for a in actions:
        hands.step(a)
    return hands


@pytest.mark.parametrize("action", ACTIONS)
def test_all_sensors_belong_to_one_instant(action):
    hands = moved(action)
    angles = hands.joint_angles.copy()
    np.testing.assert_allclose(HAND.keypoint_positions(angles), hands.keypoints, atol=1e-12)
    muscles = HAND.muscle_kinematics(np.repeat(angles, 2, axis=0), 0.02)
    np.testing.assert_allclose(muscles.length[::2], hands.muscles[:, ::2], atol=1e-12)
    hands.close()


@pytest.mark.parametrize("action", ACTIONS)
def test_a_batch_equals_plain_steps_of_mujoco(action):
    rng = np.random.default_rng(3)
    model = actuated_model(HAND, action, PHYSICS_STEPS)
    data = mujoco.MjData(model)
    data.qpos[:] = REST
    hands = HAND.simulate(action, 1, threads=1)
    hands.start(slice(None), REST[None], np.zeros((1, 23)))
    data.ctrl[:] = to_control(HAND, action, np.zeros((1, model.nu)))[0]
    mujoco.mj_step(model, data)  # the first reading of the sensors
    for _ in range(5):
        values = rng.uniform(-1, 1, (1, model.nu))
        hands.step(values)
        data.ctrl[:] = to_control(HAND, action, values)[0]
        for _ in range(PHYSICS_STEPS):
            active = data.act.copy()
            data.qacc_warmstart[:] = 0
            mujoco.mj_step(model, data)
        np.testing.assert_allclose(hands.sensors[0], data.sensordata, atol=1e-7)
        np.testing.assert_allclose(hands.activation[0], active, atol=1e-12)
    hands.close()


def test_batch_and_threads_change_nothing():
    together = moved("muscle", n=4, threads=2)
    rng = np.random.default_rng(0)
    start = np.clip(REST + 0.1 * rng.standard_normal((4, 23)), *HAND.joint_limits.T)
    speed = 0.1 * rng.standard_normal((4, 23))
    actions = np.clip(0.4 * rng.standard_normal((8, 4, 39)), -1, 1)
    for i in range(4):
        alone = HAND.simulate("muscle", 1, threads=1)
        alone.start(slice(None), start[i : i + 1], speed[i : i + 1])
        for a in actions:
            alone.step(a[i : i + 1])
        np.testing.assert_array_equal(alone.sensors[0], together.sensors[i])
        alone.close()
    together.close()


def test_fewer_actions_leave_the_last_hands_where_they_are():
    hands = moved("muscle")
    before = hands.sensors.copy()
    hands.step(np.zeros((2, 39)))
    assert np.all(hands.sensors[:2, :78:2] != before[:2, :78:2])
    np.testing.assert_array_equal(hands.sensors[2:], before[2:])
    hands.close()


def test_both_bodies_report_the_same_afferents_of_a_posture():
    rng = np.random.default_rng(1)
    angles = np.clip(REST + 0.2 * rng.standard_normal((5, 23)), *HAND.joint_limits.T)
    speed = rng.standard_normal((5, 23))
    read = []
    for action in ACTIONS:
        hands = HAND.simulate(action, 5, threads=1)
        hands.start(slice(None), angles, speed)
        read.append(hands.sensors.copy())
        hands.close()
    np.testing.assert_allclose(*read, atol=1e-12)


def test_state_and_restore_continue_exactly():
    hands = moved("muscle")
    kept = hands.state()
    hands.step(np.full((4, 39), 0.3))
    after = hands.sensors.copy()
    hands.restore(kept)
    hands.step(np.full((4, 39), 0.3))
    np.testing.assert_array_equal(hands.sensors, after)
    hands.close()


def moment_arms_by_differences(joint):
    """−dL/dq by central differences instead of MuJoCo's own, (39,), m."""
    model = HAND.model
    data, step, lengths = mujoco.MjData(model), 1e-6, []
    for sign in (-1, 1):
        data.qpos[:] = REST
        data.qpos[joint] += sign * step
        mujoco.mj_fwdPosition(model, data)
        lengths.append(data.ten_length.copy())
    return (lengths[1] - lengths[0]) / (2 * step)


def test_torque_limits_are_the_muscles_capacity_through_moment_arms():
    model = HAND.model
    data = mujoco.MjData(model)
    forces = []
    for active in (0.0, 1.0):
        data.qpos[:], data.act[:] = REST, active
        mujoco.mj_forward(model, data)
        forces.append(data.actuator_force.copy())
    for joint in (2, 7, 9):
        torque = (forces[1] - forces[0]) * moment_arms_by_differences(joint)
        expected = [torque[torque < 0].sum(), torque[torque > 0].sum()]
        np.testing.assert_allclose(
            torque_limits(HAND)[joint], TORQUE_FRACTION * np.array(expected), rtol=1e-4
        )


def test_an_action_moves_the_parts_with_a_joint_that_it_acts_on():
    arms = np.stack([moment_arms_by_differences(joint) for joint in range(23)], axis=1)
    parts = [part.name for part in HAND.parts]
    joints = {"wrist": range(3)} | {d: range(3 + 4 * i, 7 + 4 * i) for i, d in enumerate(parts[1:])}
    expected = np.stack([(np.abs(arms[:, joints[part]]) > 1e-4).any(axis=1) for part in parts], axis=1)
    np.testing.assert_array_equal(HAND.moved_parts("muscle"), expected)
    flexors = HAND.moved_parts("muscle")[[HAND.muscles.index("FDP2"), HAND.muscles.index("FDP5")]]
    np.testing.assert_array_equal(flexors, [[1, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1]])
    of_joint = np.array([[joint in joints[part] for part in parts] for joint in range(23)])
    np.testing.assert_array_equal(HAND.moved_parts("torque"), of_joint)


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=23, max_size=23))
def test_controls_rise_with_actions_and_stay_within_limits(values):
    actions = np.array(values)[None]
    low, high = torque_limits(HAND).T
    torque = to_control(HAND, "torque", actions)[0]
    assert np.all((low <= torque) & (torque <= high))
    assert np.all(torque * actions[0] >= 0)
    more = np.minimum(actions + 0.1, 1.0)
    assert np.all(to_control(HAND, "muscle", more) >= to_control(HAND, "muscle", actions))
    assert np.all((to_control(HAND, "muscle", actions) > 0) & (to_control(HAND, "muscle", actions) < 1))


def test_the_physics_step_divides_the_control_step():
    assert actuated_model(HAND, "muscle", PHYSICS_STEPS).opt.timestep * PHYSICS_STEPS == pytest.approx(
        CONTROL_STEP
    )
    assert actuated_model(HAND, "muscle", 10).opt.timestep == pytest.approx(0.002)


def test_an_unknown_hand_is_refused():
    with pytest.raises(NgbError, match="muscle or torque"):
        HAND.simulate("hydraulic", 1)

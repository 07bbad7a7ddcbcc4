"""Computed muscle control: the optimum of an independent model, exact where muscles suffice, and it tracks."""

import mujoco
import numpy as np
import pytest
from movements import HAND, grasp_trials
from scipy.optimize import lsq_linear

from neurobench_grasp.bodies import action_of, computed_muscle_control, find_body, muscle_control
from neurobench_grasp.bodies.simulator import excitation
from neurobench_grasp.controllers.environment import Imitation
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import UnsupportedError

ARM = find_body("planar_arm")
SECONDS = 0.06


def states(body, n, seed=0):
    """Sensors of bodies near their neutral posture, and goals near them."""
    rng = np.random.default_rng(seed)
    low, high = body.joint_limits.T
    angles = np.clip(body.neutral + 0.1 * rng.standard_normal((n, len(low))), low + 0.05, high - 0.05)
    simulation = body.simulate("muscle", n, threads=1)
    simulation.start(slice(None), angles, 0.3 * rng.standard_normal(angles.shape))
    sensors = simulation.sensors.copy()
    simulation.close()
    angles = sensors[:, body.angle_sensors]
    return sensors, np.clip(angles + 0.02 * rng.standard_normal(angles.shape), low, high)


def forward(body, angles, velocity, activation):
    """Accelerations in a motion, (n_joints,), and the moment, (n_muscles, n_joints), of active muscles."""
    data = mujoco.MjData(body.model)
    data.qpos[:], data.qvel[:] = angles, velocity
    data.act[:] = 0.0
    mujoco.mj_forward(body.model, data)
    passive, moments = data.qfrc_actuator.copy(), []
    for muscle in range(len(activation)):
        data.act[:] = np.arange(len(activation)) == muscle
        mujoco.mj_forward(body.model, data)
        moments.append(data.qfrc_actuator - passive)
    data.act[:] = activation
    mujoco.mj_forward(body.model, data)
    inertia = np.zeros((len(angles), len(angles)))
    mujoco.mj_fullM(body.model, data, inertia)
    return data.qacc.copy(), np.array(moments), inertia


def test_muscles_that_suffice_produce_the_velocity_that_leads_to_the_goal(monkeypatch):
    monkeypatch.setattr(muscle_control, "PENALTY", 1e7)  # so that effort does not matter
    sensors, goals = states(ARM, 12)
    found = computed_muscle_control(ARM, sensors, goals, SECONDS)
    exact = 0
    for sensed, goal, activation in zip(sensors, goals, found, strict=True):
        wanted = (goal - sensed[ARM.angle_sensors]) / SECONDS
        reached, _, _ = forward(ARM, sensed[ARM.angle_sensors], wanted, activation)
        expected = (wanted - sensed[ARM.velocity_sensors]) / ARM.control_step
        exact += np.allclose(reached, expected, atol=0.02 * np.abs(expected).max())
    assert exact >= 9  # of twelve: some are beyond the arm's strength


def test_what_is_out_of_reach_is_weighed_by_the_velocity_it_costs():
    """The same as by another solver, from forces and inertia of forward dynamics."""
    sensors, goals = states(HAND, 4)
    found = computed_muscle_control(HAND, sensors, goals, SECONDS)
    for sensed, goal, activation in zip(sensors, goals, found, strict=True):
        angles, velocity = sensed[HAND.angle_sensors], sensed[HAND.velocity_sensors]
        wanted = (goal - angles) / SECONDS
        passive, moments, inertia = forward(HAND, angles, wanted, np.zeros(39))
        missing = inertia @ ((wanted - velocity) / HAND.control_step - passive)
        resistance = inertia / HAND.control_step + np.diag(HAND.model.dof_damping)
        pulls, change = np.linalg.solve(resistance, moments.T), np.linalg.solve(resistance, missing)
        best = lsq_linear(np.vstack([pulls, np.eye(39)]), np.append(change, np.zeros(39)), (0, 1), tol=1e-12)
        np.testing.assert_allclose(activation, best.x, atol=2e-4)
        assert np.linalg.norm(pulls @ activation - change) > 0.05  # some is out of reach


def test_it_tracks_movements_of_the_hand():
    """Closer than a fifth of the distance at which the resting hand is."""
    reference = Reference.of(grasp_trials())
    errors = {}
    for name in ("rest", "controlled"):
        task = Imitation(reference, "muscle", 16, ControllerSettings(max_error=1.0), threads=1)
        task.begin(np.arange(16))
        errors[name] = []
        for _ in range(20):
            goals = reference.joint_angles[np.minimum(task.frame + 3, task.end)]
            action = np.zeros((16, 39))
            if name == "controlled":
                wanted = computed_muscle_control(HAND, task.bodies.sensors, goals, SECONDS)
                action = action_of(wanted)
            _, _, ended = task.step(action)
            errors[name].append(task.error.mean())
            if ended.any():
                task.begin(np.flatnonzero(ended))
        task.bodies.close()
    controlled, rest = (np.mean(errors[name][10:]) for name in ("controlled", "rest"))
    assert controlled < 0.006 and controlled < 0.5 * rest


def test_a_body_with_joints_that_follow_others_is_led_to_a_posture():
    arm = find_body("myoarm")
    simulation = arm.simulate("muscle", 2, threads=1)
    goal = np.tile(arm.neutral, (2, 1))
    simulation.start(slice(None), np.clip(goal + 0.15, *arm.joint_limits.T), np.zeros_like(goal))
    before = np.abs(simulation.joint_angles - goal).mean()
    for _ in range(40):
        simulation.step(action_of(computed_muscle_control(arm, simulation.sensors, goal, SECONDS)))
    assert np.abs(simulation.joint_angles - goal).mean() < 0.3 * before
    simulation.close()


def test_an_action_is_the_inverse_of_its_excitation():
    actions = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(action_of(excitation(actions)), actions, atol=1e-12)
    np.testing.assert_array_equal(action_of(np.array([0.0, 1.0])), [-1.0, 1.0])


def test_a_body_without_muscles_is_refused():
    class Stick:
        name, muscles = "stick", ()

    with pytest.raises(UnsupportedError, match="The body stick has no muscles of MuJoCo"):
        computed_muscle_control(Stick(), np.zeros((1, 4)), np.zeros((1, 1)), SECONDS)

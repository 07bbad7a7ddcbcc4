"""The arm in a plane: its anatomy is right, and a hand on a table is recorded as it sees it."""

import numpy as np
import pytest

from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.planar_arm import FOREARM, LIMITS, MUSCLES, NEUTRAL, SCALE, UPPER_ARM

ARM = find_body("planar_arm")


def test_the_hand_is_where_geometry_says():
    """Angles turn counter-clockwise, from an upper arm that points to the right."""
    shoulder, elbow = np.random.default_rng(0).uniform(*ARM.joint_limits.T, (20, 2)).T
    points = ARM.keypoint_positions(np.stack([shoulder, elbow], axis=1))
    upper = UPPER_ARM.length * np.array([np.cos(shoulder), np.sin(shoulder)])
    fore = FOREARM.length * np.array([np.cos(shoulder + elbow), np.sin(shoulder + elbow)])
    np.testing.assert_allclose(points[:, :2], upper.T, atol=1e-12)
    np.testing.assert_allclose(points[:, 3:5], (upper + fore).T, atol=1e-12)
    np.testing.assert_allclose(points[:, [2, 5]], 0, atol=1e-12)


def test_flexors_shorten_with_flexion_and_extensors_lengthen():
    arms, force = (a[0] for a in ARM.muscle_capacity(ARM.neutral[None]))
    for row, (name, muscle) in zip(arms, MUSCLES.items(), strict=True):
        np.testing.assert_allclose(row, [-muscle.shoulder, -muscle.elbow], atol=1e-12)
        assert (row <= 0).all() if name.endswith("flexor") else (row >= 0).all()
    np.testing.assert_allclose(-force, [muscle.force for muscle in MUSCLES.values()], rtol=1e-6)


def test_arms_are_constant_and_fibres_have_their_best_length_in_neutral():
    angles = np.random.default_rng(0).uniform(*ARM.joint_limits.T, (20, 2))
    arms, force = ARM.muscle_capacity(angles)
    np.testing.assert_allclose(arms, np.broadcast_to(arms[:1], arms.shape), atol=1e-12)
    strongest = ARM.muscle_capacity(ARM.neutral[None])[1]
    assert (force >= strongest - 1e-9).all(), "forces are negative: they pull"


def test_a_motor_moves_the_inertia_that_the_segments_have():
    """Torques on a resting arm, against the equations of a double pendulum without gravity."""
    bodies = ARM.simulate("torque", 1, threads=1, physics_steps=200)
    posture, action = np.array([[0.4, 1.2]]), np.array([[0.01, -0.02]])
    bodies.start(slice(None), posture, np.zeros((1, 2)))
    from neurobench_grasp.bodies.simulator import to_control

    torque = to_control(ARM, "torque", action)[0]
    bodies.step(action)
    c = UPPER_ARM.length * FOREARM.centre * FOREARM.mass * np.cos(posture[0, 1])
    fore = FOREARM.inertia + FOREARM.mass * FOREARM.centre**2
    whole = UPPER_ARM.inertia + UPPER_ARM.mass * UPPER_ARM.centre**2 + FOREARM.mass * UPPER_ARM.length**2
    mass = np.array([[whole + fore + 2 * c, fore + c], [fore + c, fore]])
    turned = bodies.joint_angles[0] - posture[0]
    bodies.close()
    expected = np.linalg.solve(mass, torque) * ARM.control_step**2 / 2
    np.testing.assert_allclose(turned, expected, rtol=0.12)  # damping slows it a little


@pytest.mark.parametrize("tendons", ["fixed", "permuted-0", "permuted-1"])
def test_its_twins_have_the_same_joints_and_points(tendons):
    twin = find_body(f"planar_arm/{tendons}")
    assert (twin.joints, twin.keypoints, twin.muscles) == (ARM.joints, ARM.keypoints, ARM.muscles)
    own, theirs = (body.muscle_capacity(ARM.neutral[None]) for body in (ARM, twin))
    same = np.allclose(own[0], theirs[0], atol=1e-9)
    assert same == (tendons == "fixed")
    for joint in range(2):
        np.testing.assert_allclose(np.sort(own[0][0, :, joint]), np.sort(theirs[0][0, :, joint]), atol=1e-9)
    peaks = [body.model.actuator_gainprm[:, 2] for body in (ARM, twin)]
    np.testing.assert_array_equal(*peaks)


def test_the_workspace_of_a_centre_out_task_is_within_reach():
    angles = np.linspace(0, 2 * np.pi, 33)
    centre = ARM.keypoint_positions(ARM.neutral[None])[0, 3:5]
    circle = centre + 0.1 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = ARM.inverse_kinematics(circle, 0.02, np.array([0, len(circle)]))
    assert found.residual.max() < 1e-3 and not found.at_limit


def test_the_neutral_posture_is_within_the_limits():
    assert all(low < NEUTRAL[joint] < high for joint, (low, high) in LIMITS.items())
    assert pytest.approx(0.15) == UPPER_ARM.length and SCALE == 1.2

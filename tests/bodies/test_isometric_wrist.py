"""The held wrist: MyoHand's muscles, whose lengths hardly change, and a handle that reads their moments."""

import numpy as np
import pytest

from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.isometric_wrist import JOINTS, LEVER, MOST, STIFFNESS
from neurobench_grasp.bodies.simulator import LEAST_ARM

WRIST, HAND = find_body("isometric_wrist"), find_body("myohand")
STILL = np.zeros((1, len(JOINTS)))


def held(excitation):
    """Activation and moments (N·m) after a second of constant excitation; 0 and 1 are the action's ends."""
    bodies = WRIST.simulate("muscle", 1, threads=1)
    bodies.start(slice(None), STILL, STILL)
    for _ in range(50):
        bodies.step(2 * np.asarray(excitation, float)[None] - 1)
    activation, moments = bodies.activation[0].copy(), STIFFNESS * bodies.joint_angles[0]
    handle = bodies.keypoints[0].copy()
    bodies.close()
    return activation, moments, handle


def only(*names):
    return np.array([name in names for name in WRIST.muscles])


def test_it_has_the_muscles_of_the_hand_that_cross_the_wrist_as_they_are_there():
    arms, force = (a[0] for a in HAND.muscle_capacity(HAND.neutral[None]))
    arms = arms[:, [HAND.joints.index(joint) for joint in JOINTS]]
    crosses = np.abs(arms).max(1) > LEAST_ARM
    assert WRIST.muscles == tuple(np.array(HAND.muscles)[crosses])
    own_arms, own_force = (a[0] for a in WRIST.muscle_capacity(WRIST.neutral[None]))
    np.testing.assert_allclose(own_arms, arms[crosses], atol=1e-12)
    np.testing.assert_allclose(own_force, force[crosses], rtol=1e-9)


@pytest.mark.parametrize(
    ("muscle", "flexion", "radial"), [("FCR", 1, 1), ("FCU", 1, -1), ("ECRL", -1, 1), ("ECU", -1, -1)]
)
def test_each_muscle_pulls_into_its_quadrant(muscle, flexion, radial):
    rest = held(only())[1]
    _, moments, handle = held(only(muscle))
    assert np.sign(moments - rest).tolist() == [flexion, radial]
    np.testing.assert_allclose(handle[:2], LEVER * moments / STIFFNESS, rtol=1e-3)


def test_the_handle_reads_the_moment_of_the_muscles():
    """Moment arms times force in the held posture, with activation; what stretch adds is below 3 %."""
    arms, force = (a[0] for a in WRIST.muscle_capacity(WRIST.neutral[None]))
    rng = np.random.default_rng(0)
    base_activation, base, _ = held(only())
    for _ in range(5):
        activation, moments, _ = held(rng.uniform(0, 0.45, len(WRIST.muscles)))
        assert (np.abs(moments) < 0.9 * STIFFNESS * MOST).all()
        expected = arms.T @ (force * (activation - base_activation))
        np.testing.assert_allclose(moments - base, expected, atol=0.03 * np.abs(expected).max())


def test_it_is_nearly_isometric():
    """At the limits of the handle, lengths differ by less than 2 % of the fibres."""
    corners = MOST * np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    model = WRIST.model
    fibre = np.diff(model.actuator_lengthrange)[:, 0] / np.diff(model.actuator_gainprm[:, :2])[:, 0]
    length = np.concatenate(
        [WRIST.muscle_kinematics(corner[None].repeat(2, 0), 0.02).length[:1] for corner in corners]
    )
    assert (np.abs(length).max(0) / fibre).max() < 0.02
    own = [HAND.muscles.index(name) for name in WRIST.muscles]
    theirs = np.diff(HAND.model.actuator_lengthrange[own])[:, 0] / 0.3  # MyoSuite's normalised range
    np.testing.assert_allclose(fibre, theirs, rtol=1e-6)


def test_moments_follow_from_where_the_handle_was():
    rng = np.random.default_rng(0)
    moments = np.cumsum(rng.standard_normal((40, 2)), axis=0)
    moments *= 6 / np.abs(moments).max()
    found = WRIST.inverse_kinematics(LEVER / STIFFNESS * moments, 0.02, np.array([0, 40]))
    np.testing.assert_allclose(STIFFNESS * found.joint_angles, moments, atol=0.05)
    assert found.residual.max() < 1e-3 and not found.at_limit


def test_its_twins_have_the_same_arms_among_other_muscles():
    twin = find_body("isometric_wrist/permuted-0")
    own, theirs = (body.muscle_capacity(WRIST.neutral[None])[0][0] for body in (WRIST, twin))
    assert not np.allclose(own, theirs)
    np.testing.assert_allclose(np.sort(own, axis=0), np.sort(theirs, axis=0), atol=1e-9)

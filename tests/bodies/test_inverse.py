"""Postures that follow from a recorded endpoint: planted ones are found, and nothing jumps."""

from dataclasses import replace

import numpy as np
import pytest
from counts import examples
from courses import minimum_jerk
from hypothesis import given, settings
from hypothesis import strategies as st
from movements import HAND
from planted_postures import DT as STEP
from planted_postures import missed, positions, waves

from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.inverse import REACHED
from neurobench_grasp.bodies.kinematics import endpoint_jacobian
from neurobench_grasp.errors import NgbError, UnsupportedError

ARM = find_body("planar_arm")
DT = 0.02


def reaches(n_trials, seed=0, n_steps=60):
    """Joint angles of minimum-jerk movements between postures well within the limits."""
    rng = np.random.default_rng(seed)
    course = minimum_jerk((np.arange(n_steps) * DT - 0.3) / 0.6)[:, None]
    low, high = ARM.joint_limits.T
    start, stop = rng.uniform(0.8 * low + 0.2 * high, 0.2 * low + 0.8 * high, (2, n_trials, 2))
    angles = np.concatenate([a + course * (z - a) for a, z in zip(start, stop, strict=True)])
    return angles, np.arange(n_trials + 1) * n_steps


def hand(angles):
    return ARM.keypoint_positions(angles)[:, 3:5]


def joint_speed(angles, offsets):
    return np.concatenate([np.gradient(trial, DT, axis=0) for trial in np.split(angles, offsets[1:-1])])


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(deadline=None, max_examples=examples(20))
def test_planted_angles_are_found(seed, n_trials):
    angles, offsets = reaches(n_trials, seed)
    found = ARM.inverse_kinematics(hand(angles), DT, offsets)
    np.testing.assert_allclose(np.degrees(found.joint_angles), np.degrees(angles), atol=0.5)
    assert found.residual.max() < 1e-4
    np.testing.assert_allclose(
        found.residual, np.linalg.norm(hand(found.joint_angles) - hand(angles), axis=1)
    )


def test_joints_move_no_faster_than_the_hand_demands():
    angles, offsets = reaches(40)
    path = hand(angles)
    found = ARM.inverse_kinematics(path, DT, offsets).joint_angles
    speed = np.linalg.norm(joint_speed(found, offsets), axis=1)
    jacobian = endpoint_jacobian(ARM, found)[1]
    demanded = np.einsum("tja,ta->tj", np.linalg.pinv(jacobian), joint_speed(path, offsets))
    assert (speed <= 1.5 * np.linalg.norm(demanded, axis=1) + 0.5).all()


def test_a_path_out_of_reach_is_followed_as_far_as_the_arm_goes():
    angles, offsets = reaches(3)
    path = 1.6 * hand(angles)
    found = ARM.inverse_kinematics(path, DT, offsets)
    low, high = ARM.joint_limits.T
    assert ((found.joint_angles >= low) & (found.joint_angles <= high)).all()
    beyond = np.linalg.norm(path, axis=1) > 0.375  # upper arm and forearm
    assert beyond.any() and (found.residual[beyond] > REACHED).all()
    assert found.at_limit["elbow"] > 0
    within = np.linalg.norm(path, axis=1) < 0.35
    assert np.median(found.residual[within]) < REACHED
    assert np.abs(joint_speed(found.joint_angles, offsets)).max() < 30, "nothing jumps"


def test_trials_do_not_depend_on_each_other():
    angles, offsets = reaches(6)
    path = hand(angles)
    path[:60] *= 1.6  # slow to converge
    together = ARM.inverse_kinematics(path, DT, offsets).joint_angles
    for k in range(6):
        mine = slice(*offsets[k : k + 2])
        alone = ARM.inverse_kinematics(path[mine], DT, np.array([0, 60])).joint_angles
        np.testing.assert_allclose(together[mine], alone, atol=1e-12)


def test_noise_of_the_recording_does_not_become_jumps():
    angles, offsets = reaches(10)
    noisy = hand(angles) + np.random.default_rng(0).normal(0, 5e-4, (len(angles), 2))
    found = ARM.inverse_kinematics(noisy, DT, offsets)
    assert np.abs(np.degrees(found.joint_angles - angles)).max() < 3
    assert found.residual.max() < REACHED


def test_steps_without_a_position_have_no_residual():
    angles, offsets = reaches(2)
    path = hand(angles)
    path[70:75] = np.nan
    found = ARM.inverse_kinematics(path, DT, offsets)
    assert np.isnan(found.residual[70:75]).all() and np.isfinite(found.residual[:70]).all()
    np.testing.assert_allclose(found.joint_angles[:60], angles[:60], atol=1e-2)


@pytest.mark.parametrize("body", [ARM, replace(HAND, endpoint="index_tip")], ids=lambda body: body.name)
def test_the_jacobian_is_the_derivative(body):
    """Also where the frame itself is moved by joints, as the wrist is by the forearm."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(*body.joint_limits.T, (4, len(body.joints)))
    position, jacobian = endpoint_jacobian(body, angles)
    place = 3 * body.keypoints.index(body.endpoint)
    place = slice(place, place + len(body.endpoint_axes))
    np.testing.assert_allclose(position, body.keypoint_positions(angles)[:, place], atol=1e-12)
    for joint in range(len(body.joints)):
        step = 1e-6 * (np.arange(len(body.joints)) == joint)
        change = body.keypoint_positions(angles + step) - body.keypoint_positions(angles - step)
        np.testing.assert_allclose(jacobian[:, :, joint], change[:, place] / 2e-6, atol=1e-7)


def test_a_body_without_an_endpoint_says_so():
    with pytest.raises(UnsupportedError, match="myohand has no endpoint that determines its posture; let"):
        HAND.inverse_kinematics(np.zeros((3, 3)), DT, np.array([0, 3]))
    with pytest.raises(NgbError, match=r"shape \(3, 3\); the body planar_arm needs 2 coordinates \(x, y\)"):
        ARM.inverse_kinematics(np.zeros((3, 3)), DT, np.array([0, 3]))


# -- arms with seven joints --------------------------------------------------------------------------------

SEVEN = find_body("myoarm")
ROTATION = SEVEN.joints.index("pro_sup")
WITHIN = 3.0  # degrees


def test_hand_elbow_and_wrist_determine_all_joints_but_the_rotation_of_the_forearm():
    """Three points on a line from the forearm leave that open: the prior decides it, and is right where it holds."""
    error, residual = missed(SEVEN, 0.3, "elbow", "wrist")
    others = np.delete(error, ROTATION, axis=1)
    assert np.percentile(others, 95, axis=0).max() < WITHIN and residual.max() < 1e-3
    assert np.percentile(error[:, ROTATION], 95) > WITHIN
    size = np.where(np.arange(7) == ROTATION, 0.0, 0.3)
    error, _ = missed(SEVEN, size, "elbow", "wrist")
    assert np.percentile(error, 95, axis=0).max() < WITHIN


def test_the_hand_alone_is_reached_with_other_angles():
    error, residual = missed(SEVEN, 0.3)
    assert residual.max() < REACHED
    assert np.percentile(error, 95, axis=0).max() > WITHIN  # what seven joints leave open


def test_a_keypoint_is_followed_where_it_is_known():
    angles, offsets = waves(SEVEN, 0.3, n_trials=2)
    path = positions(SEVEN, angles, ("hand", "elbow", "wrist"))
    whole = SEVEN.inverse_kinematics(path, STEP, offsets, ("elbow", "wrist"))
    path[10:20, 3:6] = np.nan  # the elbow, for ten steps
    path[60, 6:] = np.nan
    found = SEVEN.inverse_kinematics(path, STEP, offsets, ("elbow", "wrist"))
    assert np.isfinite(found.joint_angles).all() and np.isfinite(found.residual).all()
    others = np.delete(np.degrees(np.abs(found.joint_angles - angles)), ROTATION, axis=1)
    assert others.max() < 2 * WITHIN and found.residual.max() < 1e-3
    np.testing.assert_allclose(found.joint_angles[80:], whole.joint_angles[80:], atol=1e-3)
    path[30, :3] = np.nan  # without the hand, a step is not known
    found = SEVEN.inverse_kinematics(path, STEP, offsets, ("elbow", "wrist"))
    assert np.isnan(found.residual).sum() == 1 and np.isfinite(found.joint_angles).all()


def test_the_jacobian_of_several_keypoints_is_that_of_small_turns():
    angles, _ = waves(SEVEN, 0.3, n_trials=1)
    names = ("hand", "elbow", "wrist")
    position, jacobian = endpoint_jacobian(SEVEN, angles, names[1:])
    np.testing.assert_allclose(position, positions(SEVEN, angles, names), atol=1e-12)
    for joint in range(7):
        step = 1e-6 * (np.arange(7) == joint)
        ahead, behind = (positions(SEVEN, angles + s * step, names) for s in (1, -1))
        np.testing.assert_allclose(jacobian[:, :, joint], (ahead - behind) / 2e-6, atol=1e-6)


def test_nothing_recorded_is_no_posture():
    found = ARM.inverse_kinematics(np.zeros((0, 2)), DT, np.array([0]))
    assert found.joint_angles.shape == (0, 2) and found.residual.shape == (0,)


@pytest.mark.parametrize("keypoints", [("knee",), ("hand",)])
def test_keypoints_that_are_none_of_the_body_are_refused(keypoints):
    with pytest.raises(NgbError, match=r"further keypoint, which may be elbow, wrist\."):
        SEVEN.inverse_kinematics(np.zeros((3, 6)), DT, np.array([0, 3]), keypoints)

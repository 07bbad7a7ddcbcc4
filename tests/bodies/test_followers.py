"""A body with a joint that follows another by a curved polynomial: whatever is derived from angles counts it."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.kinematics import endpoint_jacobian
from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.spec import View
from neurobench_grasp.bodies.tendons import with_tendons
from neurobench_grasp.contract.body import Part
from neurobench_grasp.errors import NgbError

COEFFICIENTS = (0.1, 0.5, 0.2, -0.1, 0.05)
A0, F0 = 0.3, -0.2
"""Reference angles of the joint that is followed and of the one that follows."""
MODEL = f"""
<mujoco>
  <compiler angle="radian"/>
  <option gravity="0 -9.81 0"/>
  <worldbody>
    <body name="base">
      <site name="origin" pos="-.02 .04 .01"/>
      <body name="upper">
        <joint name="a" axis="0 0 1" range="-1 1.5" ref="{A0}" limited="true" damping=".05"/>
        <geom size=".02" fromto="0 0 0 .2 0 0" type="capsule"/>
        <body name="middle" pos=".2 0 0">
          <joint name="f" axis="0 1 .2" ref="{F0}" damping=".05"/>
          <geom size=".02" fromto="0 0 0 .1 0 0" type="capsule"/>
          <body name="lower" pos=".1 0 0">
            <joint name="b" axis="0 0 1" range="0 2" limited="true" damping=".05"/>
            <geom size=".02" fromto="0 0 0 .2 0 0" type="capsule"/>
            <site name="insertion" pos=".05 .03 .02"/>
            <site name="heel" pos=".03 -.02 -.02"/>
            <site name="hand" pos=".2 0 .01"/>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <tendon>
    <spatial name="flexor_tendon"><site site="origin"/><site site="insertion"/></spatial>
    <spatial name="extensor_tendon"><site site="origin"/><site site="heel"/></spatial>
  </tendon>
  <actuator>
    <muscle name="flexor" tendon="flexor_tendon" force="20" fpmax="1e-9" lengthrange=".1 .6"/>
    <muscle name="extensor" tendon="extensor_tendon" force="20" fpmax="1e-9" lengthrange=".1 .6"/>
  </actuator>
  <equality>
    <joint joint1="f" joint2="a" polycoef="{" ".join(map(str, COEFFICIENTS))}" solref=".01 .5"/>
  </equality>
</mujoco>
"""


def body(xml: str = MODEL) -> MujocoBody:
    def make_spec():
        spec = mujoco.MjSpec.from_string(xml)
        spec.compiler.LRopt.useexisting = True
        return spec

    return MujocoBody(
        "three_hinges",
        make_spec=make_spec,
        joint_names={"first": "a", "second": "b"},
        muscle_names={name: (name, f"{name}_tendon") for name in ("flexor", "extensor")},
        keypoint_sources={"hand": ("site", "hand")},
        tips=("hand",),
        frame="base",
        frame_body="base",
        parts=(Part("arm", ("first", "second"), ("hand",)),),
        neutral_angles={"first": 0.4, "second": 1.0},
        endpoint="hand",
        view=View((0.2, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), distance=1.4, field_of_view=50.0),
    )


BODY = body()


def postures(n=20, seed=0):
    return np.random.default_rng(seed).uniform(*BODY.joint_limits.T, (n, 2))


def movement(n_steps=400, dt=1e-3):
    time = dt * np.arange(n_steps)
    return np.stack([0.3 + 0.7 * np.sin(8 * time), 1 + 0.6 * np.cos(5 * time)], axis=1)


def differences(function, angles, step=1e-6):
    """Return the central differences of a function by each joint, the last axis."""
    turns = step * np.eye(angles.shape[1])
    return np.stack([(function(angles + t) - function(angles - t)) / (2 * step) for t in turns], axis=-1)


def test_the_follower_is_no_joint_of_the_body():
    assert BODY.joints == ("first", "second") and BODY.model.nq == 3
    assert BODY.joint_limits.tolist() == [[-1.0, 1.5], [0.0, 2.0]]
    assert (BODY.n_actions("torque"), BODY.neutral.tolist()) == (2, [0.4, 1.0])
    assert BODY.model.nsensor == 2 * 2 + 2 * 2 + 1


def test_its_angle_is_the_polynomial_and_satisfies_mujocos_constraint():
    angles, velocity = postures(), postures(seed=1)
    qpos, qvel = BODY.qpos(angles), BODY.qvel(angles, velocity)
    np.testing.assert_array_equal(qpos[:, [0, 2]], angles)
    np.testing.assert_array_equal(qvel[:, [0, 2]], velocity)
    powers = (angles[:, :1] - A0) ** np.arange(5)
    np.testing.assert_allclose(qpos[:, 1], F0 + powers @ COEFFICIENTS, atol=1e-14)
    data = mujoco.MjData(BODY.model)
    for position, speed in zip(qpos, qvel, strict=True):
        data.qpos[:], data.qvel[:] = position, speed
        mujoco.mj_forward(BODY.model, data)
        constraint = data.efc_type == mujoco.mjtConstraint.mjCNSTR_EQUALITY
        assert constraint.sum() == 1
        np.testing.assert_allclose(data.efc_pos[constraint], 0, atol=1e-14)
        np.testing.assert_allclose(data.efc_vel[constraint], 0, atol=1e-14)


def test_moment_arms_are_the_derivatives_of_the_lengths():
    angles = postures()
    arms = BODY.muscle_capacity(angles)[0]
    lengths = differences(lambda q: BODY.muscle_kinematics(q, 1.0).length, angles)
    assert arms.shape == (20, 2, 2)
    np.testing.assert_allclose(arms, lengths, atol=1e-9)


def test_the_endpoints_jacobian_is_its_derivative():
    angles = postures()
    position, jacobian = endpoint_jacobian(BODY, angles)
    np.testing.assert_allclose(position, BODY.keypoint_positions(angles), atol=1e-14)
    np.testing.assert_allclose(jacobian, differences(BODY.keypoint_positions, angles), atol=1e-9)


def test_muscle_velocities_are_the_derivatives_of_the_lengths():
    muscles = BODY.muscle_kinematics(movement(), 1e-3)
    difference = np.gradient(muscles.length, 1e-3, axis=0)
    np.testing.assert_allclose(muscles.velocity[1:-1], difference[1:-1], atol=1e-5)


def test_moments_have_the_power_that_changes_the_energy():
    """Kinetic and potential energy, and what damping takes in all hinges."""
    dt, angles = 1e-3, movement()
    moments = BODY.muscle_moments(angles, dt)
    velocity = np.gradient(angles, dt, axis=0)
    speeds = BODY.qvel(angles, velocity)
    energy, data = np.empty(len(angles)), mujoco.MjData(BODY.model)
    for step, (position, speed) in enumerate(zip(BODY.qpos(angles), speeds, strict=True)):
        data.qpos[:], data.qvel[:] = position, speed
        mujoco.mj_forward(BODY.model, data)
        mujoco.mj_energyPos(BODY.model, data)
        mujoco.mj_energyVel(BODY.model, data)
        energy[step] = data.energy.sum()
    power = np.gradient(energy, dt) + 0.05 * (speeds**2).sum(1)
    inner = slice(4, -4)
    given = (moments * velocity).sum(1)
    np.testing.assert_allclose(given[inner], power[inner], atol=1e-3 * np.abs(power).max())


@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_simulation_starts_with_it_in_place_and_keeps_it_there(action):
    angles, velocity = postures(8), 0.5 * postures(8, seed=1)
    bodies = BODY.simulate(action, 8, threads=1)
    bodies.start(slice(None), angles, velocity)
    np.testing.assert_allclose(bodies.keypoints, BODY.keypoint_positions(angles), atol=1e-12)
    arms = BODY.muscle_capacity(angles)[0]
    moved = np.einsum("tmj,tj->tm", arms, velocity)
    np.testing.assert_allclose(bodies.muscles[:, 1::2], moved, atol=1e-12)
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 8, 2))
    for each in actions:
        bodies.step(each)
        where = BODY.keypoint_positions(bodies.joint_angles)
        assert np.abs(bodies.keypoints - where).max() < 4e-3
    assert (np.abs(bodies.joint_angles - angles).max(axis=0) > 0.3).all()
    bodies.close()


def test_a_path_of_the_endpoint_is_followed():
    angles = movement()[::20]
    path = BODY.keypoint_positions(angles)
    found = BODY.inverse_kinematics(path, 0.02, np.array([0, len(path)]))
    assert found.residual.max() < 1e-4
    np.testing.assert_allclose(found.joint_angles, angles, atol=0.02)


def test_fixed_tendons_have_the_arms_that_count_it():
    twin = with_tendons(BODY, "fixed")
    own, theirs = (each.muscle_capacity(BODY.neutral[None]) for each in (BODY, twin))
    np.testing.assert_allclose(own[0], theirs[0], atol=1e-9)
    np.testing.assert_allclose(own[1], theirs[1], atol=1e-6)


def test_it_is_drawn_where_the_keypoints_are():
    try:
        painter = BODY.painter(160, 160)
    except NgbError as reason:
        pytest.skip(str(reason))
    angles = np.array([[-0.8, 0.2], [1.4, 0.2]])
    images = [painter.paint(posture, (1, 0, 0)).astype(int) for posture in angles]
    (x, y), (x2, y2) = (painter.project(p)[0].round().astype(int) for p in BODY.keypoint_positions(angles))
    painter.close()
    assert images[0][y, x].min() < 200 and images[1][y2, x2].min() < 200
    assert images[0][y2, x2].min() > 250 and images[1][y, x].min() > 250


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('joint2="a"', ""),  # fixed at an angle
        ('solref=".01 .5"', 'active="false"'),
        ('joint1="f"', 'joint1="b"'),  # a joint of the body follows, and f is free
    ],
)
def test_a_hinge_that_follows_no_joint_is_refused(before, after):
    assert MODEL.count(before) == 1
    with pytest.raises(NgbError, match="has other joints or muscles than its description"):
        _ = body(MODEL.replace(before, after)).model


def test_all_named_joints_need_limits_and_the_follower_does_not():
    with pytest.raises(NgbError, match="must be a hinge with limits"):
        _ = body(MODEL.replace('range="0 2" limited="true"', "")).model
    assert not BODY.model.joint("f").limited


def test_bodies_without_followers_compute_as_before():
    arm = find_body("planar_arm")
    angles = np.zeros((3, 2))
    assert arm.qpos(angles) is angles and arm.qvel(angles, angles) is angles
    assert arm.by_joints(angles, angles) is angles
    assert replace(arm, name="other").qpos(angles) is angles

"""A body in another size: lengths with the size, forces with its square, masses with its cube, inertia with its fifth power."""

from dataclasses import replace

import numpy as np
import pytest
from lazy import Lazy

from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.sizes import of_size
from neurobench_grasp.errors import UnknownNameError, UnsupportedError

mujoco = Lazy("mujoco")

SIZE = 0.6
BODIES = ("myoarm", "myohand", "planar_arm")


@pytest.fixture(params=BODIES)
def pair(request):
    return find_body(request.param), find_body(f"{request.param}@{SIZE}")


def postures(body, n=20):
    return np.random.default_rng(0).uniform(*body.joint_limits.T, (n, len(body.joints)))


def test_lengths_grow_with_the_size_and_forces_with_its_square(pair):
    body, small = pair
    angles = postures(body)
    assert small.name == f"{body.name}@0.6" and small.joints == body.joints and small.muscles == body.muscles
    np.testing.assert_array_equal(small.joint_limits, body.joint_limits)
    np.testing.assert_allclose(
        small.keypoint_positions(angles), SIZE * body.keypoint_positions(angles), atol=1e-12
    )
    once, scaled = (b.muscle_kinematics(angles, 0.02) for b in pair)
    np.testing.assert_allclose(scaled.length, SIZE * once.length, atol=1e-9)
    np.testing.assert_allclose(scaled.velocity, SIZE * once.velocity, atol=1e-6)
    (arms, force), (small_arms, small_force) = (b.muscle_capacity(angles) for b in pair)
    np.testing.assert_allclose(small_arms, SIZE * arms, atol=1e-9)
    np.testing.assert_allclose(small_force, SIZE**2 * force, rtol=1e-6, atol=1e-6)


def test_inertia_of_the_moved_body_grows_with_its_fifth_power(pair):
    """The mass matrix, whose entries are moments of inertia about the joints."""
    body, small = pair
    for angles in postures(body, 3):
        matrices = []
        for one in pair:
            model, data = one.model, mujoco.MjData(one.model)
            data.qpos[:] = one.qpos(angles[None])[0]
            mujoco.mj_forward(model, data)
            full = np.zeros((model.nv, model.nv))
            mujoco.mj_fullM(model, data, full)
            matrices.append(full)
        np.testing.assert_allclose(matrices[1], SIZE**5 * matrices[0], rtol=1e-6, atol=1e-15)
        np.testing.assert_allclose(small.model.dof_damping, SIZE**3 * body.model.dof_damping)


def test_size_one_is_the_same_body():
    body, same = find_body("myoarm"), find_body("myoarm@1")
    angles = postures(body)
    np.testing.assert_array_equal(same.keypoint_positions(angles), body.keypoint_positions(angles))
    np.testing.assert_array_equal(same.muscle_capacity(angles)[1], body.muscle_capacity(angles)[1])


def test_sizes_compose_with_other_tendons():
    body, small = find_body("planar_arm/fixed"), find_body("planar_arm@0.6/fixed")
    assert small.name == "planar_arm@0.6/fixed"
    angles = postures(body)
    np.testing.assert_allclose(
        small.muscle_capacity(angles)[0], SIZE * body.muscle_capacity(angles)[0], atol=1e-9
    )


@pytest.mark.parametrize("size", ["", "big", "0", "-1", "nan", "inf", "20", "0.60", "1e0", "0.6@2"])
def test_what_is_no_size_is_refused_in_one_sentence(size):
    with pytest.raises(
        UnknownNameError, match=r"after the @, state a size relative to planar_arm as a number"
    ):
        of_size(find_body("planar_arm"), size)
    with pytest.raises(UnknownNameError, match=r"There is no body 'planar_arm@"):
        find_body(f"planar_arm@{size}")


def test_a_force_that_mujoco_derives_grows_alike():
    """Where none is stated, it follows from the acceleration that the muscle causes."""
    body = find_body("planar_arm")

    def unstated():
        spec = body.make_spec()
        for muscle in spec.actuators:
            for parameters in (muscle.gainprm, muscle.biasprm):
                parameters[2], parameters[3] = -1, 200
        return spec

    derived = replace(body, name="derived", make_spec=unstated)
    angles = postures(body, 5)
    force, small = (b.muscle_capacity(angles)[1] for b in (derived, of_size(derived, str(SIZE))))
    assert np.abs(force).max() > 1
    np.testing.assert_allclose(small, SIZE**2 * force, rtol=1e-5, atol=1e-9)


def test_tendons_have_more_friction_and_inertia_and_other_constraints_are_refused():
    body = find_body("planar_arm")

    def rough():
        spec = body.make_spec()
        for tendon in spec.tendons:
            tendon.frictionloss, tendon.armature = 5.0, 0.1
        for muscle in spec.actuators:
            muscle.forcerange = [-100, 0]
        return spec

    model = of_size(replace(body, name="rough", make_spec=rough), str(SIZE)).model
    np.testing.assert_allclose(model.tendon_frictionloss, SIZE**2 * 5)
    np.testing.assert_allclose(model.tendon_armature, SIZE**3 * 0.1)
    np.testing.assert_allclose(model.actuator_forcerange[:, 0], -100 * SIZE**2)

    def tied():
        spec = body.make_spec()
        names = [one.name for one in spec.bodies[1:3]]
        spec.add_equality(name="tie", type=mujoco.mjtEq.mjEQ_CONNECT, objtype=mujoco.mjtObj.mjOBJ_BODY,
                          name1=names[0], name2=names[1])  # fmt: skip
        return spec

    with pytest.raises(UnsupportedError, match="cannot have other constraints than those of joints"):
        _ = of_size(replace(body, name="tied", make_spec=tied), str(SIZE)).model

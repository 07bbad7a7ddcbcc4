"""A body in another size: lengths with the size, forces with its square, masses with its cube, inertia with its fifth power."""

import numpy as np
import pytest
from lazy import Lazy

from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.sizes import of_size
from neurobench_grasp.errors import UnknownNameError

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

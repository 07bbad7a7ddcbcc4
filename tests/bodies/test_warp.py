"""MuJoCo Warp on its CPU backend: the same bodies as MuJoCo C. The first run compiles kernels for a minute."""

import mujoco
import numpy as np
import pytest
from lazy import Lazy

from neurobench_grasp.bodies import device_simulation, find_body, scale_controls
from neurobench_grasp.errors import NgbError

warp_simulator = Lazy("neurobench_grasp.bodies.warp_simulator")

pytestmark = pytest.mark.slow
N = 4


def postures(body, seed=0):
    rng = np.random.default_rng(seed)
    low, high = body.joint_limits.T
    angles = body.neutral + 0.1 * (high - low) * rng.standard_normal((N, len(low)))
    return np.clip(angles, low, high), 0.1 * rng.standard_normal((N, len(low)))


def pair(name, action):
    """The same bodies in both engines, and actions."""
    body = find_body(name)
    both = body.simulate(action, N, threads=1), device_simulation(body, action, N, "cpu")
    for bodies in both:
        bodies.start(slice(None), *postures(body))
    actions = np.random.default_rng(1).normal(0, 0.4, (50, N, both[0].n_actions)).clip(-1, 1)
    return *both, actions


def apart(one, other):
    return {
        name: abs(getattr(one, name) - getattr(other, name)).max(initial=0.0)
        for name in ("joint_angles", "muscles", "keypoints", "activation")
    }


@pytest.mark.parametrize(
    ("name", "action"),
    [("myohand", "muscle"), ("myohand", "torque"), ("myoarm", "muscle"), ("planar_arm", "muscle")],
)
def test_both_engines_agree_for_fifty_control_steps(name, action):
    c, warp, actions = pair(name, action)
    started = c.joint_angles.copy()
    for values in actions:
        c.step(values)
        warp.step(values)
        far = apart(c, warp)
        assert far["joint_angles"] < 1e-4 and far["keypoints"] < 1e-5 and far["activation"] < 1e-5, far
        assert abs(c.muscles - warp.muscles)[:, ::2].max() < 1e-5  # m
        assert abs(c.muscles - warp.muscles)[:, 1::2].max() < 1e-4  # m/s
    assert abs(c.joint_angles - started).max() > 0.1
    c.close()


def test_fewer_actions_leave_the_last_bodies_where_they_are():
    _, warp, actions = pair("planar_arm", "muscle")
    before = warp.state()
    warp.step(actions[0, :2])
    for name, rows in warp.state().items():
        np.testing.assert_array_equal(rows[2:], before[name][2:], err_msg=name)
    assert np.all(warp.joint_angles[:2] != before["sensors"][:2, find_body("planar_arm").angle_sensors])


def test_some_bodies_start_again_and_the_others_go_on():
    c, warp, actions = pair("planar_arm", "torque")
    angles, velocity = postures(find_body("planar_arm"), seed=5)
    for bodies in (c, warp):
        bodies.step(actions[0])
        bodies.start(np.array([1, 3]), angles[:2], velocity[:2])
        bodies.step(actions[1])
    assert max(apart(c, warp).values()) < 1e-5
    c.close()


def test_state_and_restore_continue_exactly():
    _, warp, actions = pair("myoarm", "muscle")  # has constraints, whose solver begins with its last solution
    warp.step(actions[0])
    kept = warp.state()
    warp.step(actions[1])
    after = warp.state()
    warp.restore(kept)
    warp.step(actions[1])
    for name, rows in warp.state().items():
        np.testing.assert_array_equal(rows, after[name], err_msg=name)


@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_a_gain_scales_the_controls_as_in_the_settings_of_motor_noise(action):
    """Gain on the device against :func:`scale_controls`, which finds the actions of the scaled controls."""
    c, warp, _ = pair("planar_arm", action)
    rng = np.random.default_rng(2)
    for _ in range(5):
        values, gain = rng.uniform(-1, 1, (N, c.n_actions)), rng.normal(1, 0.8, (N, c.n_actions))
        c.step(scale_controls(action, values, gain))
        warp.arrays["gain"].assign(gain)
        warp.step(values)
    assert max(apart(c, warp).values()) < 1e-5
    assert gain.min() < 0
    c.close()


def test_an_unstable_simulation_is_an_error():
    _, warp, actions = pair("planar_arm", "muscle")
    broken = warp.state()
    broken["qvel"][0] = np.nan
    warp.restore(broken)
    with pytest.raises(NgbError, match="planar_arm became unstable"):
        warp.step(actions[0])


@pytest.mark.parametrize("name", ["myohand", "myoarm"])
def test_no_row_of_constraints_is_lost(name):
    """With every joint beyond its limits; without equality constraints, and with them."""
    model = find_body(name).model
    data = mujoco.MjData(model)
    data.qpos[:] = model.jnt_range[:, 1] + 1
    mujoco.mj_forward(model, data)
    assert np.count_nonzero(model.jnt_limited) <= data.nefc <= warp_simulator.most_constraints(model)

"""Least activations are the optimum of an independent solver, and hold the posture in the simulator."""

from types import SimpleNamespace

import daqp
import mujoco
import numpy as np
import pytest
from courses import minimum_jerk
from hypothesis import given
from hypothesis import strategies as st
from movements import HAND, grasp_trials
from scipy.optimize import lsq_linear, minimize

from neurobench_grasp import NgbError
from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.isometric_wrist import MOST, STIFFNESS
from neurobench_grasp.bodies.simulator import to_control
from neurobench_grasp.bodies.static_optimisation import PENALTY, least_activation, static_optimisation
from neurobench_grasp.errors import UnsupportedError

ARM, WRIST = find_body("planar_arm"), find_body("isometric_wrist")


def reach(dt=0.02):
    """Angles of the arm that turns from rest to rest in 0.6 s."""
    course = minimum_jerk((np.arange(0, 0.8, dt) - 0.1) / 0.6)[:, None]
    return ARM.neutral + np.array([0.4, -0.5]) * course


def pull(held=(0.012, -0.008)):
    """Angles of the wrist, whose moment about either axis rises and is held."""
    return np.array(held) * minimum_jerk((np.arange(40) - 10) / 20)[:, None]


def produced(arms, force, activation):
    return np.einsum("tmj,tm,tm->tj", arms, force, activation)


def random_problem(seed, n_muscles, n_joints):
    """Arms, forces and moments of a step; the moments are in reach."""
    rng = np.random.default_rng(seed)
    arms = rng.uniform(-0.02, 0.02, (1, n_muscles, n_joints))
    force = -rng.uniform(20, 400, (1, n_muscles))
    return arms, force, produced(arms, force, rng.random((1, n_muscles)) ** 2)


# --- the optimum ------------------------------------------------------------------------------------


@given(
    st.integers(0, 10_000), st.integers(4, 24), st.integers(1, 4), st.sampled_from([1e-4, 1.0, 3.0, 100.0])
)
def test_the_conditions_of_an_optimum_hold(seed, n_muscles, n_joints, factor):
    """The gradient vanishes between the bounds, and pushes against them elsewhere; in and out of reach."""
    arms, force, moments = random_problem(seed, n_muscles, n_joints)
    (found,) = least_activation(arms, force, factor * moments)
    pulls = arms[0] * force[0][:, None]
    capacity = np.linalg.norm(pulls, axis=0)
    missing = (found @ pulls - factor * moments[0]) / capacity
    gradient = found + PENALTY * pulls @ (missing / capacity)
    assert ((found >= 0) & (found <= 1)).all()
    assert (gradient[found < 1 - 1e-8] > -1e-3).all()
    assert (gradient[found > 1e-8] < 1e-3).all()


@given(st.integers(0, 10_000), st.integers(4, 12), st.integers(1, 3))
def test_another_solver_finds_the_same(seed, n_muscles, n_joints):
    arms, force, moments = random_problem(seed, n_muscles, n_joints)
    (found,) = least_activation(arms, force, moments)
    pulls = arms[0] * force[0][:, None]
    capacity = np.linalg.norm(pulls, axis=0)
    other = minimize(
        lambda a: a @ a,
        np.full(n_muscles, 0.5),
        jac=lambda a: 2 * a,
        method="SLSQP",
        bounds=[(0, 1)] * n_muscles,
        constraints={
            "type": "eq",
            "fun": lambda a: (a @ pulls - moments[0]) / capacity,
            "jac": lambda a: (pulls / capacity).T,
        },
        options={"ftol": 1e-10},
    )
    assert other.success
    np.testing.assert_allclose(found, other.x, atol=2e-3)
    np.testing.assert_allclose(produced(arms, force, found[None]), moments, atol=1e-3 * np.abs(moments).max())


def test_antagonists_and_synergists_share_as_calculated():
    """The antagonist rests; synergists are active in proportion to their moments."""
    capacity = np.array([2.0, 1.0, -3.0])  # N·m
    force = np.full((1, 3), -100.0)
    for moment, expected in ((1.0, [0.4, 0.2, 0.0]), (-1.5, [0.0, 0.0, 0.5]), (2.5, [1.0, 0.5, 0.0])):
        found = least_activation((capacity / force).reshape(1, 3, 1), force, np.array([[moment]]))
        np.testing.assert_allclose(found, [expected], atol=1e-5)


def test_a_weak_muscle_that_alone_pulls_a_way_is_used_fully():
    capacity, force = np.array([10.0, 8.0, -0.05]), np.full((1, 3), -100.0)
    found = least_activation((capacity / force).reshape(1, 3, 1), force, np.array([[-0.04]]))
    np.testing.assert_allclose(found @ capacity, [-0.04], rtol=1e-3)


def test_a_moment_out_of_reach_saturates_the_muscles_that_pull_there():
    arms, force = WRIST.muscle_capacity(WRIST.neutral[None])
    pulls = (arms * force[:, :, None])[0, :, 0]
    (found,) = least_activation(arms[:, :, :1], force, np.array([[1e3]]))
    np.testing.assert_allclose(found, pulls > 0, atol=1e-6)


def test_what_cannot_be_solved_is_refused(monkeypatch):
    arms, force, moments = random_problem(0, 5, 2)
    with pytest.raises(NgbError, match="finite"):
        least_activation(arms, force, np.nan * moments)
    with pytest.raises(UnsupportedError, match="no muscles"):
        static_optimisation(SimpleNamespace(name="skeleton", muscles=()), moments, 0.02)
    monkeypatch.setattr(daqp, "solve", lambda *_, **__: (force[0], 0.0, -1, {}))
    with pytest.raises(NgbError, match="status -1"):
        least_activation(arms, force, moments)


# --- movements --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "angles"), [(ARM, reach()), (WRIST, pull())])
def test_moments_of_movements_are_reached(body, angles):
    moments = body.muscle_moments(angles, 0.02)
    found = static_optimisation(body, angles, 0.02)
    assert found.shape == (len(angles), len(body.muscles))
    assert found.min() >= 0 and 0.02 < found.max() < 1
    reached = produced(*body.muscle_capacity(angles), found)
    np.testing.assert_allclose(reached, moments, atol=1e-3 * np.abs(moments).max())


def test_the_hand_misses_only_what_is_out_of_reach():
    """The muscles of a digit cannot produce every moment; what is missing is the least that another solver finds."""
    trials = grasp_trials(3)
    angles = trials.joint_angles.values
    moments = HAND.muscle_moments(angles, trials.dt, trials.offsets)
    arms, force = HAND.muscle_capacity(angles)
    found = static_optimisation(HAND, angles, trials.dt, trials.offsets)
    capacity = np.linalg.norm(arms * force[:, :, None], axis=1)
    missing = (produced(arms, force, found) - moments) / capacity
    for step in range(0, len(angles), 10):
        pulls = arms[step] * force[step][:, None] / capacity[step]
        least = lsq_linear(pulls.T, moments[step] / capacity[step], (0, 1), tol=1e-14).fun
        np.testing.assert_allclose(missing[step], least, atol=1e-4)
    assert np.abs(missing).max() < 0.1


def test_trials_do_not_affect_each_other():
    parts = [reach(), reach()[::-1], reach()[5:20]]
    offsets = np.cumsum([0, *map(len, parts)])
    together = static_optimisation(ARM, np.concatenate(parts), 0.02, offsets)
    alone = [static_optimisation(ARM, part, 0.02) for part in parts]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_permuted_arms_need_other_activations():
    own, permuted = (
        static_optimisation(find_body(f"isometric_wrist/{tendons}"), pull(), 0.02)
        for tendons in ("fixed", "permuted-0")
    )
    assert np.abs(own - permuted).max() > 0.1
    np.testing.assert_allclose(own, static_optimisation(WRIST, pull(), 0.02), atol=1e-3)


# --- in the simulator -------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [(0.012, -0.008), (-0.012, 0.004), (0.0, 0.01)])
def test_activations_hold_the_wrist_where_it_was_recorded(held):
    """Within 2 % of the angle, of which some is due to the smallest excitation, 0.06 %."""
    (activation, _) = static_optimisation(WRIST, np.tile(held, (2, 1)), 0.02)
    least, most = to_control(WRIST, "muscle", np.array([-1.0, 1.0]))
    excitation = np.clip(activation, least, most)
    bodies = WRIST.simulate("muscle", 1, threads=1)
    bodies.start(slice(None), np.zeros((1, 2)), np.zeros((1, 2)))
    for _ in range(50):
        bodies.step(0.5 + np.log(excitation / (1 - excitation))[None] / 5)
    rest = bodies.joint_angles[0].copy()
    bodies.close()
    np.testing.assert_allclose(rest, held, atol=0.02 * np.abs(held).max())


def test_joint_moments_make_the_arm_follow_the_movement():
    """Applied to the joints of the arm with passive muscles, step by step: within 1 % of the excursion."""
    dt = 1e-3
    angles = reach(dt)
    moments = ARM.muscle_moments(angles, dt)
    model = ARM.spec.copy().compile()
    model.opt.timestep = dt
    data = mujoco.MjData(model)
    data.qpos[:] = angles[0]
    for wanted, moment in zip(angles, moments, strict=True):
        np.testing.assert_allclose(data.qpos, wanted, atol=0.005)
        data.qfrc_applied[:] = moment
        mujoco.mj_step(model, data)


def test_joint_limits_carry_nothing():
    """Beyond its limits the wrist is held by its muscles, against the handle alone."""
    angles = np.full((3, 2), MOST + 0.01)
    moments = WRIST.muscle_moments(angles, 0.02)
    np.testing.assert_allclose(moments, STIFFNESS * angles, rtol=0.05)


def test_moments_need_two_steps():
    with pytest.raises(NgbError, match="at least two steps"):
        ARM.muscle_moments(ARM.neutral[None], 0.02)

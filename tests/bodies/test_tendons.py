"""Fixed and permuted tendons: what stays, what changes, and which permutations are admissible."""

import hashlib
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from movements import HAND

from neurobench_grasp.bodies import MujocoBody, find_body, tendons
from neurobench_grasp.bodies.tendons import (
    N_DIRECTIONS,
    TOLERANCE,
    _permuted,
    admissible_permutations,
    crossing,
    neutral_arms,
    unreached,
    with_tendons,
)
from neurobench_grasp.contract.body import Part
from neurobench_grasp.errors import UnknownNameError, UnsupportedError

sys.path.insert(0, str(Path(__file__).parent / "distributions" / "arm"))
import fake_arm

PERMUTED = ("myohand/permuted-0", "myohand/permuted-1")

LEG = """
<mujoco>
  <compiler angle="radian" autolimits="true"/>
  <option gravity="0 0 0"/>
  <default>
    <joint type="hinge" axis="0 0 1" damping="0.1" armature="0.01"/><geom type="capsule" size="0.03" mass="1"/>
  </default>
  <worldbody>
    <body name="base">
      <site name="a" pos="0.02 0.04 0"/><site name="b" pos="0.02 -0.03 0"/>
      <body name="thigh">
        <joint name="hip" range="-1 1"/><geom fromto="0 0 0 0.3 0 0"/>
        <site name="c" pos="0.15 0.03 0"/><site name="d" pos="0.15 -0.05 0"/>
        <body name="shank" pos="0.3 0 0">
          <joint name="knee" range="-0.5 1.5"/><geom fromto="0 0 0 0.3 0 0"/>
          <site name="e" pos="0.1 0.03 0"/><site name="f" pos="0.1 -0.02 0"/><site name="end" pos="0.3 0 0"/>
        </body>
      </body>
    </body>
  </worldbody>
  <tendon>
    <spatial name="t1"><site site="a"/><site site="c"/></spatial>
    <spatial name="t2"><site site="b"/><site site="d"/></spatial>
    <spatial name="t3"><site site="c"/><site site="e"/></spatial>
    <spatial name="t4"><site site="d"/><site site="f"/></spatial>
    <spatial name="t5"><site site="a"/><site site="e"/></spatial>
    <spatial name="t6"><site site="b"/><site site="f"/></spatial>
  </tendon>
  <actuator>
    <muscle name="m1" tendon="t1"/><muscle name="m2" tendon="t2" gear="2"/><muscle name="m3" tendon="t3" force="100"/>
    <muscle name="m4" tendon="t4"/><muscle name="m5" tendon="t5"/><muscle name="m6" tendon="t6"/>
  </actuator>
</mujoco>
"""
"""Six muscles that pull through sites; the strengths of five and all length ranges are left to MuJoCo."""


def leg(xml=LEG):
    import mujoco

    return MujocoBody(
        "leg",
        make_spec=lambda: mujoco.MjSpec.from_string(xml),
        joint_names={"hip": "hip", "knee": "knee"},
        muscle_names={f"m{i}": (f"m{i}", f"t{i}") for i in range(1, 7)},
        keypoint_sources={"end": ("site", "end")},
        tips=("end",),
        frame="base",
        frame_body="base",
        parts=(Part("leg", ("hip", "knee"), ("end",)),),
        neutral_angles={"hip": 0.1, "knee": 0.4},
    )


@pytest.fixture(scope="module")
def admitted():
    """Moment arms of the first permuted hands."""
    return list(islice(admissible_permutations(neutral_arms(HAND)), 5))


def lengths(body, angles):
    """Lengths in m, and normalised ones as MuJoCo's documentation of muscles defines them."""
    length = body.muscle_kinematics(np.repeat(angles, 2, axis=0), 0.02).length[::2]
    low, high = body.model.actuator_lengthrange.T
    operating = body.model.actuator_gainprm[:, :2].T
    optimum = (high - low) / (operating[1] - operating[0])
    return length, operating[0] + (length - low) / optimum


def passive(body, angles):
    """Force of the muscles at rest, by MuJoCo itself."""
    import mujoco

    data = mujoco.MjData(body.model)
    data.qpos[:] = angles
    mujoco.mj_forward(body.model, data)
    return data.actuator_force.copy()


def extremes(body, arms):
    """The postures within the joint limits in which each muscle is shortest and longest."""
    low, high = body.joint_limits.T
    return np.where(arms > 0, low, high), np.where(arms > 0, high, low)


@pytest.mark.parametrize("body", [HAND, leg(), fake_arm.build()], ids=lambda body: body.name)
def test_in_the_neutral_posture_fixed_tendons_change_nothing(body):
    fixed = with_tendons(body, "fixed")
    at = body.neutral[None]
    for mine, own in zip(fixed.muscle_capacity(at), body.muscle_capacity(at), strict=True):
        np.testing.assert_allclose(mine, own, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(lengths(fixed, at)[1], lengths(body, at)[1], atol=1e-9)
    np.testing.assert_allclose(
        passive(fixed, body.neutral), passive(body, body.neutral), rtol=1e-6, atol=1e-9
    )
    moving = np.array([body.neutral, body.neutral + 0.001])
    velocity = [b.muscle_kinematics(moving, 0.02).velocity[0] for b in (fixed, body)]
    np.testing.assert_allclose(*velocity, rtol=1e-9, atol=1e-12)
    assert (fixed.name, fixed.joints, fixed.muscles) == (f"{body.name}/fixed", body.joints, body.muscles)
    np.testing.assert_array_equal(fixed.keypoint_positions(at), body.keypoint_positions(at))


@pytest.mark.parametrize("name", ["myohand/fixed", *PERMUTED])
def test_moment_arms_are_constant_and_lengths_their_sum(name):
    body, rng = find_body(name), np.random.default_rng(0)
    low, high = body.joint_limits.T
    angles = rng.uniform(low, high, (20, len(low)))
    arms, _ = body.muscle_capacity(angles)
    np.testing.assert_allclose(arms, np.broadcast_to(arms[0], arms.shape), atol=1e-12)
    np.testing.assert_allclose(lengths(body, angles)[0], angles @ arms[0].T, atol=1e-12)
    assert not np.allclose(*HAND.muscle_capacity(angles[:2])[0], atol=1e-4)


@pytest.mark.parametrize("name", PERMUTED)
def test_arms_are_permuted_among_the_muscles_that_cross_a_joint(name):
    body = find_body(name)
    own, arms = neutral_arms(HAND), neutral_arms(body)
    np.testing.assert_array_equal(crossing(arms), crossing(own))
    np.testing.assert_allclose(np.sort(arms, axis=0), np.sort(own, axis=0), atol=1e-12)
    changed = ~np.isclose(arms, own, atol=1e-9)
    assert changed.any(axis=0).sum() > 15 and changed.any(axis=1).sum() > 30  # joints, muscles
    np.testing.assert_array_equal(body.moved_parts("muscle"), HAND.moved_parts("muscle"))
    np.testing.assert_array_equal(body.model.actuator_gainprm, HAND.model.actuator_gainprm)


def test_strengths_that_mujoco_derives_from_the_arms_stay():
    body = leg()
    permuted = with_tendons(body, "permuted-1")
    peak = np.where(body.model.actuator_gainprm[:, 2] < 0, 200 / body.model.actuator_acc0, 100)
    assert np.ptp(peak) > 10
    for prm in (permuted.model.actuator_gainprm, permuted.model.actuator_biasprm):
        np.testing.assert_allclose(prm[:, 2], peak)


@pytest.mark.parametrize("make", [lambda: HAND, leg], ids=["myohand", "leg"])
def test_muscles_have_the_same_normalised_lengths_at_their_shortest_and_longest(make):
    base = make()
    fixed, permuted = (with_tendons(base, kind) for kind in ("fixed", "permuted-0"))
    found = []
    for body in (fixed, permuted):
        arms = neutral_arms(body)
        found.append([np.diag(lengths(body, ends)[1]) for ends in extremes(body, arms)])
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)
    assert np.all(np.diff(found[0], axis=0) > 0.05)


def permuted_by(rng, arms):
    permuted = arms.copy()
    for joint, crosses in enumerate(crossing(arms).T):
        permuted[crosses, joint] = rng.permutation(arms[crosses, joint])
    return permuted


def test_permuted_muscles_reach_as_much_as_the_fixed_ones(admitted):
    """In other directions than those of the rule; hence its tolerance and three standard errors more."""
    arms = neutral_arms(HAND)
    directions = np.random.default_rng(0).standard_normal((2000, arms.shape[1]))
    own = unreached(arms, directions)
    assert np.median(own) == pytest.approx(0.38, abs=0.02)
    for permuted in admitted:
        now = unreached(permuted, directions)
        assert abs(np.median(now) - np.median(own)) < TOLERANCE + 0.04
        assert abs(now.mean() - own.mean()) < TOLERANCE + 0.03


def test_a_seed_whose_muscles_reach_more_or_less_is_rejected(admitted, monkeypatch):
    arms, good = neutral_arms(HAND), admitted[0]
    directions = np.random.default_rng(1).standard_normal((300, arms.shape[1]))
    own = unreached(arms, directions).mean()
    seeds = [permuted_by(np.random.default_rng(seed), arms) for seed in range(12)]
    difference = np.array([unreached(permuted, directions).mean() - own for permuted in seeds])
    less, more = seeds[difference.argmax()], seeds[difference.argmin()]
    assert difference.max() > 0.06 and difference.min() < -0.06
    draws = iter([less, arms, more, good])  # the second changes nothing
    monkeypatch.setattr(tendons, "_permuted", lambda arms, rng: next(draws))
    np.testing.assert_array_equal(next(admissible_permutations(arms)), good)


def test_what_muscles_do_not_reach_equals_a_plain_solution():
    """Two muscles at right angles and a third that no torque needs: distances to a quadrant."""
    arms = -np.array([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]])
    directions = np.array([[3.0, 4.0], [-3.0, 4.0], [-1.0, -1.0], [2.0, -1.0]])
    np.testing.assert_allclose(unreached(arms, directions), [0, 0.6, 1, 1 / 5**0.5], atol=1e-10)


def test_what_muscles_do_not_reach_is_exact_where_arms_are_almost_dependent():
    """The 514th permutation of the hand's arms, for which non-negative least squares of SciPy 1.17 fail."""
    from scipy.optimize import lsq_linear

    arms, draws = neutral_arms(HAND), np.random.RandomState(0)
    directions = draws.standard_normal((N_DIRECTIONS, arms.shape[1]))[:30]
    for _ in range(514):
        permuted = _permuted(arms, draws)
    pulls = -permuted.T / np.abs(permuted).max()
    found = [lsq_linear(pulls, d, (0, np.inf), method="bvls", max_iter=2000, tol=1e-12) for d in directions]
    assert all(f.success for f in found)
    exact = [
        np.linalg.norm(pulls @ f.x - d) / np.linalg.norm(d) for f, d in zip(found, directions, strict=True)
    ]
    np.testing.assert_allclose(unreached(permuted, directions), exact, atol=1e-5)


def test_the_same_seed_is_the_same_body_and_others_differ(admitted):
    again = list(islice(admissible_permutations(neutral_arms(HAND)), 2))
    np.testing.assert_array_equal(again, admitted[:2])
    assert len({arms.tobytes() for arms in admitted}) == len(admitted)
    for name, arms in zip(PERMUTED, admitted, strict=False):
        body = find_body(name)
        np.testing.assert_allclose(neutral_arms(body), arms, atol=1e-12)
        assert find_body(name) is body and body.name == name


def test_the_permuted_hands_are_those_that_networks_were_trained_on(admitted):
    """Changing a constant or the order of draws would change what every card's ``body`` means."""
    micrometres = np.round(np.array(admitted) * 1e6).astype(np.int64)
    assert hashlib.sha256(micrometres.tobytes()).hexdigest()[:16] == "cfb3337092140f21"


def test_a_body_whose_tendons_are_fixed_anyway_moves_as_before():
    arm = fake_arm.build()
    moved = []
    for body in (arm, with_tendons(arm, "fixed")):
        bodies, rng = body.simulate("muscle", 3, threads=1), np.random.default_rng(0)
        bodies.start(slice(None), np.tile(arm.neutral, (3, 1)), np.zeros((3, 1)))
        for _ in range(25):
            bodies.step(rng.uniform(-1, 1, (3, 2)))
        moved.append(bodies.sensors.copy())
        bodies.close()
    np.testing.assert_allclose(*moved, atol=1e-9)
    assert np.abs(moved[0] - moved[0][0]).max() > 0.01


def test_with_one_muscle_on_either_side_the_antagonists_swap():
    arm = fake_arm.build()
    own, swapped = (neutral_arms(b) for b in (arm, with_tendons(arm, "permuted-3")))
    np.testing.assert_allclose(swapped, own[::-1])


def test_a_body_whose_muscles_are_all_alike_has_no_permuted_tendons():
    arm = fake_arm.build()
    make_spec = type(arm.make_spec())
    alike = replace(arm, make_spec=lambda: make_spec.from_string(fake_arm.XML.replace("-0.03", "0.02")))
    with pytest.raises(UnsupportedError, match=r"one_joint_arm has no permuted tendons: none of 1000"):
        with_tendons(alike, "permuted-0")
    assert with_tendons(alike, "fixed").muscles == arm.muscles


@pytest.mark.parametrize(
    "name", ["", "fixe", "permuted", "permuted-", "permuted--1", "permuted-01", "fixed/fixed"]
)
def test_a_name_of_no_tendons_is_refused(name):
    with pytest.raises(UnknownNameError, match=r"no body 'myohand/.*fixed, or permuted-0"):
        find_body(f"myohand/{name}")


def test_a_body_whose_tendons_cannot_be_replaced_is_refused():
    other = replace(leg(), muscle_names={})
    with pytest.raises(UnsupportedError, match="leg has no muscles"):
        with_tendons(other, "fixed")
    limited = leg(LEG.replace('name="t3"', 'name="t3" limited="true" range="0 1"'))
    with pytest.raises(
        UnsupportedError, match="leg cannot be replaced: each of its actuators must be a muscle"
    ):
        with_tendons(limited, "fixed")
    idle = leg(
        LEG.replace('<site site="a"/><site site="c"/>', '<site site="a"/><site site="b"/>').replace(
            'tendon="t1"', 'tendon="t1" lengthrange="0.05 0.1"'
        )
    )
    with pytest.raises(UnsupportedError, match="leg cannot be replaced: a muscle has no moment arm"):
        with_tendons(idle, "fixed")

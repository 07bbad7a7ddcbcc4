"""Bodies with fixed tendons, and with permuted ones: the control for what a body's muscles contribute.

The length of a *fixed* tendon is the sum over joints of a constant moment arm times the joint angle. Arms are
those of the neutral posture. The *permuted* tendons have, at every joint, the arms of the fixed ones permuted
among the muscles that cross it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.simulator import LEAST_ARM, muscles_in_neutral
from neurobench_grasp.contract import Body, Bools, Floats
from neurobench_grasp.errors import UnknownNameError, UnsupportedError

N_DIRECTIONS = 500
"""Random directions of joint torque in which a permuted body is compared with the fixed one."""
TOLERANCE = 0.02
"""Largest difference in the share that is not reached: two standard errors of a difference of two means."""
MOST_DRAWS = 1000
"""Permutations in a row that may be inadmissible."""

_KINDS = re.compile("fixed|permuted-(0|[1-9][0-9]{0,2})")
_RIDGE, _MOST, _EXACT = 1e-11, 1e9, 1e-12
"""Of the non-negative least squares: what makes them strictly convex, the largest force, and the tolerance.

The method of SciPy 1.17 ends far from the minimum for some arms, and not the same on every machine.
"""
_ROUNDING = 1e-9
"""Arms that are left by rounding at joints that a muscle does not cross are below this, m."""
_PLAIN = ("stiffness", "damping", "frictionloss", "armature", "limited", "actfrclimited")
"""Properties that the tendon of a muscle must not have: fixed tendons would not keep them."""


def with_tendons(body: Body, tendons: str) -> MujocoBody:
    """Return the same body with other tendons, named ``<body>/<tendons>``.

    Joints, keypoints, number and peak isometric forces of the muscles do not change. With fixed tendons the
    neutral posture does not change either: moment arms, normalised lengths and forces are the same. Tendon
    lengths (m) have another zero.

    Muscle length ranges follow the excursions of the tendons: between the shortest and the longest length
    that the joint limits allow, a muscle has the same normalised lengths as with fixed tendons. Otherwise a
    muscle that was given larger arms, or arms of the other sign, would be slack or overstretched, and the
    body would differ in passive stiffness.

    Parameters
    ----------
    body : MujocoBody
        With muscles.
    tendons : str
        ``fixed``, or ``permuted-<k>`` for the k-th of :func:`admissible_permutations`, from 0.

    Raises
    ------
    UnknownNameError
        If there are no such tendons.
    UnsupportedError
        If the muscles of the body cannot have them.
    """
    found = _KINDS.fullmatch(tendons)
    if found is None:
        raise UnknownNameError(
            f"There is no body '{body.name}/{tendons}'; after the slash, name its tendons: fixed, or "
            "permuted-0, permuted-1, …"
        )
    base = _checked(body)
    arms = fixed = neutral_arms(base)
    if found[1]:
        try:
            arms = next(p for k, p in enumerate(admissible_permutations(fixed)) if k == int(found[1]))
        except UnsupportedError as error:
            raise UnsupportedError(f"The body {base.name} has no permuted tendons: {error}") from error
    ranges = _length_ranges(base, fixed, arms)
    return replace(base, name=f"{base.name}/{tendons}", make_spec=lambda: _spec(base, arms, ranges))


def neutral_arms(body: MujocoBody) -> Floats:
    """Return the moment arms in the neutral posture, shape (n_muscles, n_joints), m."""
    arms = muscles_in_neutral(body)[0].copy()
    arms[np.abs(arms) < _ROUNDING] = 0.0
    return arms


def crossing(arms: Floats) -> Bools:
    """Return which muscles cross which joints, shape (n_muscles, n_joints): as in credit by part."""
    return np.abs(arms) > LEAST_ARM


def unreached(arms: Floats, directions: Floats) -> Floats:
    """Return the share of each torque direction that muscles, which only pull, do not reach.

    It is the relative residual of non-negative least squares, so it does not depend on the muscles' strength.

    Parameters
    ----------
    arms : ndarray, shape (n_muscles, n_joints)
    directions : ndarray, shape (n, n_joints)
        Joint torques.

    Returns
    -------
    ndarray, shape (n,)
        0: reached; 1: no activation comes closer than none.
    """
    import daqp

    pulls = arms / np.abs(arms).max()
    n = len(pulls)
    hessian = pulls @ pulls.T + _RIDGE * np.eye(n)
    nothing, none, most = np.zeros((0, n)), np.zeros(n), np.full(n, _MOST)
    forces = [daqp.solve(hessian, pulls @ d, nothing, most, none, primal_tol=_EXACT)[0] for d in directions]
    missed = np.linalg.norm(directions + np.array(forces) @ pulls, axis=1)
    shares: Floats = missed / np.linalg.norm(directions, axis=1)
    return shares


def admissible_permutations(arms: Floats) -> Iterator[Floats]:
    """Yield permuted moment arms, the same ones in the same order for the same body.

    At every joint the arms, with their signs, are permuted among the muscles that cross it, so that it is
    crossed by as many arms of each size, and every muscle moves the same parts. A permutation is admissible
    if it changes the arms, and if the muscles reach as much of random torque directions as before: median and
    mean of :func:`unreached` differ by :data:`TOLERANCE` at most. (The median alone would not see what is not
    reached where it is less than half of the directions.) Most are rejected in a tenth of the directions
    already, with the tolerance that belongs to these.

    Parameters
    ----------
    arms : ndarray, shape (n_muscles, n_joints)
        m.

    Yields
    ------
    ndarray, shape (n_muscles, n_joints)
        m.

    Raises
    ------
    UnsupportedError
        If none of :data:`MOST_DRAWS` permutations in a row is admissible.
    """
    draws = np.random.RandomState(0)  # of all generators of NumPy, the one whose numbers never change
    directions = draws.standard_normal((N_DIRECTIONS, arms.shape[1]))
    before, misses = unreached(arms, directions), 0
    while misses < MOST_DRAWS:
        permuted = _permuted(arms, draws)
        misses += 1
        if not np.array_equal(permuted, arms) and _alike(permuted, before, directions):
            yield permuted
            misses = 0
    raise UnsupportedError(f"none of {MOST_DRAWS} permutations of its moment arms is admissible.")


def _permuted(arms: Floats, draws: np.random.RandomState) -> Floats:
    permuted = arms.copy()
    for joint, crosses in enumerate(crossing(arms).T):
        permuted[crosses, joint] = draws.permutation(arms[crosses, joint])
    return permuted


def _alike(arms: Floats, before: Floats, directions: Floats) -> bool:
    """Compare with what was reached before, first in a few directions, then in all."""
    for n in (len(directions) // 10, len(directions)):
        now, then = unreached(arms, directions[:n]), before[:n]
        difference = max(abs(np.median(now) - np.median(then)), abs(now.mean() - then.mean()))
        if difference > TOLERANCE * (len(directions) / n) ** 0.5:
            return False
    return True


def _checked(body: Body) -> MujocoBody:
    """Raise unless each muscle pulls on a separate tendon, which nothing else holds."""
    import mujoco

    if not isinstance(body, MujocoBody) or not body.muscles:
        raise UnsupportedError(
            f"The body {body.name} has no muscles of MuJoCo, and only these can have other tendons."
        )
    model = body.model
    used = [model.tendon(tendon).id for _, tendon in body.muscle_names.values()]
    plain = not any(np.any(getattr(model, f"tendon_{name}")[used]) for name in _PLAIN)
    muscles = (
        (model.actuator_gaintype == mujoco.mjtGain.mjGAIN_MUSCLE)
        & (model.actuator_biastype == mujoco.mjtBias.mjBIAS_MUSCLE)
        & (model.actuator_trntype == mujoco.mjtTrn.mjTRN_TENDON)
    )
    if not plain or not muscles.all() or len(set(used)) < len(used):
        raise UnsupportedError(
            f"The tendons of the body {body.name} cannot be replaced: each of its actuators must be a muscle "
            "on a separate tendon without limits, spring, damping or friction."
        )
    if not (neutral_arms(body) != 0).any(axis=1).all():
        raise UnsupportedError(
            f"The tendons of the body {body.name} cannot be replaced: a muscle has no moment arm in the "
            "neutral posture; change that posture."
        )
    return body


def _length_ranges(body: MujocoBody, fixed: Floats, arms: Floats) -> Floats:
    """Return the length range of each muscle on tendons with these arms, shape (n_muscles, 2), m."""
    neutral = body.muscle_kinematics(np.tile(body.neutral, (2, 1)), body.control_step).length[0]
    ranges = body.model.actuator_lengthrange + (fixed @ body.neutral - neutral)[:, None]
    (first, last), (shortest, longest) = (_excursion(body, a) for a in (fixed, arms))
    scale = (longest - shortest) / (last - first)
    out: Floats = shortest[:, None] + scale[:, None] * (ranges - first[:, None])
    return out


def _excursion(body: MujocoBody, arms: Floats) -> tuple[Floats, Floats]:
    """Return the shortest and the longest length that the joint limits allow, (n_muscles,) in m."""
    ends = arms[:, :, None] * body.joint_limits
    return ends.min(axis=2).sum(axis=1), ends.max(axis=2).sum(axis=1)


def _spec(body: MujocoBody, arms: Floats, ranges: Floats) -> Any:
    """Return the MjSpec of a body with fixed tendons."""
    spec, model = body.make_spec(), body.model
    spec.compiler.LRopt.useexisting = True  # the ranges below
    for i, (name, tendon) in enumerate(body.muscle_names.values()):
        spec.delete(spec.tendon(tendon))
        path, muscle, gear = spec.add_tendon(name=tendon), spec.actuator(name), model.actuator_gear[i, 0]
        for joint, arm in zip(body.joint_names.values(), arms[i], strict=True):
            if arm:
                path.wrap_joint(joint, arm / gear)
        muscle.lengthrange = ranges[i]
        for prm in (muscle.gainprm, muscle.biasprm):
            if prm[2] < 0:  # a peak force that MuJoCo derives from the arms
                prm[2] = prm[3] / model.actuator_acc0[i]
    return spec

"""Kinematics and inverse dynamics of recorded postures, by MuJoCo for many steps at once; no simulation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from neurobench_grasp.bodies.spec import BodyModel
from neurobench_grasp.contract import Floats, Ints
from neurobench_grasp.contract.body import MuscleKinematics
from neurobench_grasp.errors import NgbError

_MIN_STEPS_PER_THREAD = 200  # below, threads do not pay off
_MAX_THREADS = 4  # the loop holds the GIL for a quarter of its time


def muscle_kinematics(
    body: BodyModel, joint_angles: Floats, dt: float, offsets: Ints | None = None
) -> MuscleKinematics:
    """Return lengths and velocities of the muscles along recorded joint angles.

    Every step is computed independently, so neither the other steps in the call nor the number of threads
    changes a bit of the result.

    Raises
    ------
    NgbError
        If the angles are not of the body, or a trial has fewer than two steps.
    """
    _check(body, joint_angles)
    joint_velocity = _rate(body.qpos(joint_angles), dt, offsets)
    length, moments = _at_each_step(
        body, joint_angles, ("mj_tendon", "mj_transmission"), ("actuator_length", "actuator_moment")
    )
    row, joint = _moment_pattern(body)
    velocity = np.zeros_like(length)
    for entry in range(moments.shape[1]):  # in a fixed order, for bit-identical results
        velocity[:, row[entry]] += moments[:, entry] * joint_velocity[:, joint[entry]]
    return MuscleKinematics(length, velocity)


def muscle_moments(body: BodyModel, joint_angles: Floats, dt: float, offsets: Ints | None = None) -> Floats:
    """Return the moments that active muscles must produce to follow recorded joint angles.

    Returns
    -------
    ndarray, shape (n_steps, n_joints)
        N·m.

    Raises
    ------
    NgbError
        If the angles are not of the body, or a trial has fewer than two steps.
    """
    _check(body, joint_angles)
    velocity = _rate(body.qpos(joint_angles), dt, offsets)
    return _active_moments(body, joint_angles, velocity, _rate(velocity, dt, offsets))[0]


def muscle_dynamics(
    body: BodyModel, joint_angles: Floats, joint_velocity: Floats, joint_acceleration: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return what a motion requires of the muscles, what they can produce in it, and what resists them.

    Joints that follow others are taken to follow at their present rate.

    Parameters
    ----------
    body : BodyModel
    joint_angles, joint_velocity, joint_acceleration : ndarray, shape (n_steps, n_joints)
        rad, rad/s and rad/s²; every step is by itself.

    Returns
    -------
    moments : ndarray, shape (n_steps, n_joints)
        Moments that active muscles must produce, N·m, as in :func:`muscle_moments`.
    capacity : ndarray, shape (n_steps, n_muscles, n_joints)
        Active moments of each fully active muscle at this velocity, N·m.
    resistance : ndarray, shape (n_steps, n_joints, n_joints)
        Moments that change the joints' velocity within one control step, by inertia and damping of the
        joints, N·m·s/rad.
    """
    _check(body, joint_angles)
    velocity, acceleration = (body.qvel(joint_angles, v) for v in (joint_velocity, joint_acceleration))
    moments, passive, inertia = _active_moments(body, joint_angles, velocity, acceleration)
    full, arms = _at_each_step(
        body,
        joint_angles,
        ("mj_tendon", "mj_transmission", "mj_fwdVelocity", "mj_fwdActuation"),
        ("actuator_force", "actuator_moment"),
        activation=1.0,
        qvel=velocity,
    )
    capacity = _dense_arms(body, arms) * (full - passive)[:, :, None]
    resistance = inertia / body.control_step + np.diag(body.model.dof_damping)
    halfway = body.by_joints(joint_angles, resistance).transpose(0, 2, 1)  # it is symmetric
    return moments, body.by_joints(joint_angles, capacity), body.by_joints(joint_angles, halfway)


def _active_moments(
    body: BodyModel, joint_angles: Floats, velocity: Floats, acceleration: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return moments of the active muscles, (n, n_joints), passive forces, and the inertia of all hinges."""
    moments, limits, of_passive, passive, entries = _at_each_step(
        body,
        joint_angles,
        ("mj_inverse", "mj_fwdActuation"),
        ("qfrc_inverse", "qfrc_constraint", "qfrc_actuator", "actuator_force", "M"),
        qvel=velocity,
        qacc=acceleration,
    )
    active = moments + limits - of_passive  # mj_inverse leaves to a joint limit what presses against it
    model = body.model
    row, column = np.repeat(np.arange(model.nv), model.M_rownnz), model.M_colind
    inertia = np.zeros((len(entries), model.nv, model.nv))
    inertia[:, row, column] = inertia[:, column, row] = entries  # MuJoCo stores the lower half
    return body.by_joints(joint_angles, active[:, None])[:, 0], passive, inertia


def muscle_capacity(body: BodyModel, joint_angles: Floats) -> tuple[Floats, Floats]:
    """Return moment arms, (n_steps, n_muscles, n_joints) in m, and active isometric forces in N.

    A muscle's active force is linear in its activation.
    """
    stages = ("mj_tendon", "mj_transmission", "mj_fwdActuation")
    full, moments = _at_each_step(
        body, joint_angles, stages, ("actuator_force", "actuator_moment"), activation=1.0
    )
    (passive,) = _at_each_step(body, joint_angles, stages, ("actuator_force",), activation=0.0)
    return body.by_joints(joint_angles, _dense_arms(body, moments)), full - passive


def keypoint_positions(body: BodyModel, joint_angles: Floats) -> Floats:
    """Return the keypoints in the body's frame, m, shape (n_steps, 3 · n_keypoints).

    Raises
    ------
    NgbError
        If the angles are not of the body.
    """
    _check(body, joint_angles)
    (sensors,) = _at_each_step(body, joint_angles, ("mj_sensorPos",), ("sensordata",))
    return sensors[:, body.keypoint_sensors]


def endpoint_jacobian(
    body: BodyModel, joint_angles: Floats, keypoints: Sequence[str] = ()
) -> tuple[Floats, Floats]:
    """Return the endpoint, then further keypoints, and their derivatives by the joint angles.

    Returns
    -------
    position : ndarray, shape (n_steps, n_points · n_axes)
        m, in the body's frame.
    jacobian : ndarray, shape (n_steps, n_points · n_axes, n_joints)
        m/rad.
    """
    model = body.model
    frame = model.body(body.frame_body).id
    fields = ("site_xpos", "xpos", "xmat", "xanchor", "xaxis")
    sites, bodies, turns, anchors, joint_axes = _at_each_step(body, joint_angles, (), fields)
    origin, rotation = bodies[:, frame], turns[:, frame].reshape(-1, 3, 3)
    axes = ["xyz".index(axis) for axis in body.endpoint_axes]

    def moved(by: int, at: Floats) -> Floats:
        """Velocity of a point at unit velocity of each hinge that carries a body, (n_steps, n_hinges, 3)."""
        velocity: Floats = np.cross(joint_axes, at[:, None] - anchors) * _carries(model, by)[:, None]
        return velocity

    positions, jacobians = [], []
    for name in (body.endpoint, *keypoints):
        kind, target = body.keypoint_sources[name]
        carrier = model.body(target).id if kind == "body" else int(model.site(target).bodyid[0])
        point = bodies[:, carrier] if kind == "body" else sites[:, model.site(target).id]
        relative = moved(carrier, point) - moved(frame, point)  # the frame moves the point along, too
        positions.append(np.einsum("tca,tc->ta", rotation, point - origin)[:, axes])
        by_qpos = np.einsum("tca,tjc->taj", rotation, relative)[:, axes]
        jacobians.append(body.by_joints(joint_angles, by_qpos))
    return np.concatenate(positions, axis=1), np.concatenate(jacobians, axis=1)


def _carries(model: Any, body: int) -> Floats:
    """Return 1 for each joint that moves a body of the model, else 0, (n_joints,)."""
    ancestors = {body}
    while body:
        body = int(model.body_parentid[body])
        ancestors.add(body)
    carries: Floats = np.isin(model.jnt_bodyid, list(ancestors)).astype(np.float64)
    return carries


def _rate(values: Floats, dt: float, offsets: Ints | None) -> Floats:
    """Rate of change of each column within trials, by central differences (one-sided at their ends)."""
    bounds = np.array([0, len(values)]) if offsets is None else offsets
    if len(bounds) < 2 or np.any(np.diff(bounds) < 2):
        raise NgbError("Muscle velocities need trials of at least two steps.")
    return np.concatenate([np.gradient(trial, dt, axis=0) for trial in np.split(values, bounds[1:-1])])


def _check(body: BodyModel, joint_angles: Floats) -> None:
    if joint_angles.ndim != 2 or joint_angles.shape[1] != len(body.joints):
        raise NgbError(
            f"Joint angles have shape {joint_angles.shape}; the body {body.name} needs "
            f"(n_steps, {len(body.joints)}), as its method `posture` returns them."
        )


def _dense_arms(body: BodyModel, entries: Floats) -> Floats:
    """Return the matrix, (n_steps, n_muscles, n_hinges), of the stored entries of moment arms."""
    row, joint = _moment_pattern(body)
    arms = np.zeros((len(entries), body.model.nu, body.model.nv))
    arms[:, row, joint] = entries
    return arms


def _moment_pattern(body: BodyModel) -> tuple[Ints, Ints]:
    """Return muscle and joint of each stored entry of MuJoCo's sparse matrix of moment arms."""
    import mujoco

    model = body.model
    data = mujoco.MjData(model)
    mujoco.mj_fwdPosition(model, data)
    return np.repeat(np.arange(model.nu), data.moment_rownnz), np.array(data.moment_colind, dtype=np.int64)


def _at_each_step(
    body: BodyModel,
    joint_angles: Floats,
    stages: Sequence[str],
    fields: Sequence[str],
    *,
    activation: float = 0.0,
    **derivatives: Floats,
) -> list[Floats]:
    """Set each posture, run some stages of MuJoCo's pipeline and copy some fields, on a few threads.

    Derivatives are the velocities ``qvel`` and accelerations ``qacc`` of all hinges. Default: 0.
    """
    import mujoco

    model = body.model
    calls = [getattr(mujoco, stage) for stage in ("mj_kinematics", "mj_comPos", *stages)]

    motion = {"qpos": body.qpos(joint_angles), **derivatives}

    def run(steps: Ints) -> list[Floats]:
        data = mujoco.MjData(model)
        data.act[:] = activation
        inputs = [(getattr(data, field), values) for field, values in motion.items()]
        views = [getattr(data, field) for field in fields]
        results = [np.empty((len(steps), *view.shape)) for view in views]
        for place, step in enumerate(steps):
            for state, values in inputs:
                state[:] = values[step]
            for call in calls:  # releases the GIL
                call(model, data)
            for result, view in zip(results, views, strict=True):
                result[place] = view
        return results

    threads = min(os.cpu_count() or 1, _MAX_THREADS, len(joint_angles) // _MIN_STEPS_PER_THREAD)
    if threads < 2:
        return run(np.arange(len(joint_angles)))
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(run, np.array_split(np.arange(len(joint_angles)), threads)))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]

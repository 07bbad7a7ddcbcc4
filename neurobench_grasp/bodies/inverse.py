"""Inverse kinematics: the postures in which a body's endpoint, and other keypoints, follow recorded paths.

All steps of a trial are found at once, as a weighted least-squares problem: the distance of each keypoint,
the acceleration of the joints and the distance from a relaxed posture, within the joint limits. Step by step,
a redundant or stretched arm would jump. Gauss-Newton, whose equations are banded, with an active set of
limits: Nocedal and Wright (2006), Numerical Optimization, chapters 10 and 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neurobench_grasp.bodies.kinematics import endpoint_jacobian
from neurobench_grasp.bodies.spec import BodyModel
from neurobench_grasp.contract import Body, Bools, Floats, Ints
from neurobench_grasp.contract.body import InferredPosture
from neurobench_grasp.errors import NgbError, UnsupportedError

POSITION_SD = 1e-3
"""Distance of a keypoint, m, that costs as much as :data:`ACCELERATION_SD` or :data:`POSTURE_SD`."""
ACCELERATION_SD = 100.0
"""Joint acceleration, rad/s²: reaches have peaks of this size, so that only jumps are costly."""
POSTURE_SD = 1.0
"""Distance of a joint from the neutral posture, rad: decides only what the keypoints leave open."""
REACHED = 2e-3
"""Distance within which a posture counts as reproduced, m."""
_MOST_ITERATIONS, _LONGEST_STEP, _CONVERGED = 40, 0.3, 1e-5  # –, rad, rad


def inverse_kinematics(
    body: BodyModel, endpoint: Floats, dt: float, offsets: Ints, keypoints: Sequence[str] = ()
) -> InferredPosture:
    """Return the postures in which the endpoint follows a path; as ``Body.inverse_kinematics``."""
    if not body.endpoint:
        raise UnsupportedError(
            f"The body {body.name} has no endpoint that determines its posture; let the layout map joint "
            "angles (joint_map), or name another body."
        )
    n_axes, points = len(body.endpoint_axes), (body.endpoint, *keypoints)
    further = [name for name in body.keypoints if name != body.endpoint]
    if not set(keypoints) <= set(further) or endpoint.ndim != 2 or endpoint.shape[1] != n_axes * len(points):
        raise NgbError(
            f"Positions of {', '.join(points)} have shape {endpoint.shape}; the body {body.name} needs "
            f"{n_axes} coordinates ({', '.join(body.endpoint_axes)}) of its {body.endpoint}, then of each "
            f"further keypoint, which may be {', '.join(further) or 'none'}."
        )
    known = np.asarray(np.isfinite(endpoint.reshape(len(endpoint), len(points), n_axes)).all(axis=2))
    known &= known[:, :1]  # a trial with a gap of the endpoint is left out later
    wanted = _Wanted(tuple(keypoints), np.nan_to_num(endpoint), np.repeat(known, n_axes, axis=1))
    angles = np.tile(body.neutral, (len(endpoint), 1))
    smooth = _acceleration_cost(offsets, len(body.joints), dt)
    trial = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    moving = np.ones(len(offsets) - 1, bool)
    for _ in range(_MOST_ITERATIONS):
        rows = moving[trial]  # trials do not depend on each other
        of_rows = smooth[:, np.repeat(rows, len(body.joints))]
        step = _gauss_newton(body, angles[rows], wanted.rows(rows), of_rows)
        angles[rows] += step
        farthest = np.zeros(len(moving))
        np.maximum.at(farthest, trial[rows], np.abs(step).max(1))
        moving &= farthest >= _CONVERGED
        if not moving.any():
            break
    squared = np.sum(wanted.missed(endpoint_jacobian(body, angles, keypoints)[0]) ** 2, axis=1)
    n_known = known.sum(axis=1)
    low, high = body.joint_limits.T
    at_limit = ((angles <= low) | (angles >= high)).sum(0)
    return InferredPosture(
        angles,
        np.where(n_known, np.sqrt(squared / np.maximum(n_known, 1)), np.nan),
        {joint: int(n) for joint, n in zip(body.joints, at_limit, strict=True) if n},
    )


@dataclass(frozen=True)
class _Wanted:
    """Recorded positions of the endpoint and further keypoints, (n_steps, n_points · n_axes), where known."""

    keypoints: tuple[str, ...]
    positions: Floats
    known: Bools

    def rows(self, rows: Bools) -> _Wanted:
        return _Wanted(self.keypoints, self.positions[rows], self.known[rows])

    def missed(self, reached: Floats) -> Floats:
        """Return reached minus recorded positions, 0 where these are not known."""
        return np.where(self.known, reached - self.positions, 0.0)


def endpoint_of(body: Body | BodyModel, keypoints: Floats) -> Floats:
    """Return the recorded coordinates of the endpoint, (n_steps, n_axes), among those of all keypoints."""
    place = 3 * body.keypoints.index(body.endpoint)
    positions: Floats = keypoints[:, [place + "xyz".index(axis) for axis in body.endpoint_axes]]
    return positions


def pulling_directions(body: Body, muscles: Sequence[Sequence[int]]) -> Floats:
    """Return where groups of muscles pull the endpoint in the neutral posture, if all joints are as stiff.

    Parameters
    ----------
    body : Body
        With an endpoint.
    muscles : sequence of sequence of int
        Places of muscles in the body's order; those of a group are active alike.

    Returns
    -------
    ndarray, shape (n_groups, n_axes)
        Unit vectors.
    """
    (arms,), (force,) = body.muscle_capacity(body.neutral[None])
    torque = np.stack([(arms[list(group)] * force[list(group), None]).sum(0) for group in muscles])
    turned = 1e-4 * np.concatenate([np.eye(len(body.joints)), -np.eye(len(body.joints))])
    ahead, behind = np.split(endpoint_of(body, body.keypoint_positions(body.neutral + turned)), 2)
    pulls = torque @ (ahead - behind)
    directions: Floats = pulls / np.linalg.norm(pulls, axis=1, keepdims=True)
    return directions


def _gauss_newton(body: BodyModel, angles: Floats, wanted: _Wanted, smooth: Floats) -> Floats:
    """Return the step to the minimum of the linearised problem, within the limits and not too long."""
    from scipy.linalg import solveh_banded

    position, jacobian = endpoint_jacobian(body, angles, wanted.keypoints)
    jacobian = jacobian * wanted.known[:, :, None]
    n_joints = angles.shape[1]
    matrix = smooth.copy()
    products = np.einsum("tai,taj->tij", jacobian, jacobian) / POSITION_SD**2
    for i in range(n_joints):
        matrix[0, i::n_joints] += POSTURE_SD**-2
        for j in range(i + 1):
            matrix[i - j, j::n_joints] += products[:, i, j]
    gradient = np.einsum("tai,ta->ti", jacobian, wanted.missed(position)) / POSITION_SD**2
    gradient += (angles - body.neutral) / POSTURE_SD**2
    gradient = gradient.ravel() + _times(smooth, angles.ravel())
    low, high = body.joint_limits.T
    held = ((angles <= low) & (gradient.reshape(angles.shape) > 0)) | (
        (angles >= high) & (gradient.reshape(angles.shape) < 0)
    )
    step = solveh_banded(
        _without(matrix, held.ravel()), np.where(held.ravel(), 0.0, -gradient), lower=True, check_finite=False
    ).reshape(angles.shape)
    limited: Floats = np.clip(angles + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP), low, high) - angles
    return limited


def _acceleration_cost(offsets: Ints, n_joints: int, dt: float) -> Floats:
    """Return the matrix of the quadratic cost of accelerations, as its diagonals below the main one.

    Shape (2 · n_joints + 1, n_steps · n_joints); variables are ordered by step, then joint.
    """
    n_steps = int(offsets[-1])
    diagonals = np.zeros((3, n_steps))
    second = np.array([1.0, -2.0, 1.0]) / (dt**2 * ACCELERATION_SD)
    for first, stop in pairwise(offsets):
        for k, a in enumerate(second):
            for j, b in enumerate(second[: k + 1]):
                diagonals[k - j, first + j : stop - 2 + j] += a * b
    bands = np.zeros((2 * n_joints + 1, n_steps * n_joints))
    bands[::n_joints] = np.repeat(diagonals, n_joints, axis=1)
    return bands


def _times(bands: Floats, vector: Floats) -> Floats:
    """Multiply a symmetric banded matrix, given by its lower diagonals, with a vector."""
    product: Floats = bands[0] * vector
    for k in range(1, len(bands)):
        product[k:] += bands[k, :-k] * vector[:-k]
        product[:-k] += bands[k, :-k] * vector[k:]
    return product


def _without(bands: Floats, held: Bools) -> Floats:
    """Return the matrix with rows and columns of the variables that are held replaced by the identity's."""
    out = bands.copy()
    out[:, held] = 0.0
    for k in range(1, len(bands)):
        out[k, :-k][held[k:]] = 0.0
    out[0, held] = 1.0
    return out

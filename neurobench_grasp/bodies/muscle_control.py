"""Computed muscle control: activations that lead a body from its present motion to a posture.

Thelen, Anderson and Delp (2003), Journal of Biomechanics 36:321: the accelerations that correct the error of
tracking, the joint moments of these by inverse dynamics, and the least activations that produce the moments.
What the muscles cannot do is weighed by the change of velocity that it costs (and not by the moment, as in
static optimisation of a recorded movement), since a small moment that is missing at a light fingertip moves
it far away.
"""

from __future__ import annotations

import numpy as np

from neurobench_grasp.bodies.kinematics import muscle_dynamics
from neurobench_grasp.bodies.spec import BodyModel
from neurobench_grasp.bodies.static_optimisation import least_squares_activation
from neurobench_grasp.contract import Body, Floats
from neurobench_grasp.errors import UnsupportedError

PENALTY = 1.0
"""Cost of missing a joint's velocity by 1 rad/s, where full activation of a muscle costs 1."""


def computed_muscle_control(body: Body, sensors: Floats, goal: Floats, seconds: float) -> Floats:
    """Return the muscle activations that lead bodies to a posture.

    Within one control step a body takes the constant velocity that leads to the posture in the given time.
    Forces depend on the muscles' length and on that velocity; the time that activation takes is left out.

    Parameters
    ----------
    body : Body
        Simulated by MuJoCo, with muscles.
    sensors : ndarray, shape (n, n_sensors)
        Of the simulation (:attr:`neurobench_grasp.bodies.simulator.Simulation.sensors`), with or without
        muscles.
    goal : ndarray, shape (n, n_joints)
        rad.
    seconds : float
        Until the goal.

    Returns
    -------
    ndarray, shape (n, n_muscles)
        0 … 1.

    Raises
    ------
    UnsupportedError
        If the body is not one of MuJoCo with muscles.
    """
    if not isinstance(body, BodyModel) or not body.muscles:
        raise UnsupportedError(
            f"The body {body.name} has no muscles of MuJoCo, and only these can be led to a posture."
        )
    angles, velocity = sensors[:, body.angle_sensors], sensors[:, body.velocity_sensors]
    wanted = (goal - angles) / seconds
    acceleration = (wanted - velocity) / body.control_step
    moments, capacity, resistance = muscle_dynamics(body, angles, wanted, acceleration)
    per_moment = np.asarray(np.linalg.inv(resistance), np.float64)  # symmetric
    return least_squares_activation(capacity @ per_moment, (moments[:, None] @ per_moment)[:, 0], PENALTY)

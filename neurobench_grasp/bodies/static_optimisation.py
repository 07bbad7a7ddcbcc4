"""Static optimisation: the least muscle activations that produce the joint moments of a movement.

At each step, the activations of minimal sum of squares: Crowninshield and Brand (1981), Journal of
Biomechanics 14:793; Anderson and Pandy (2001), Journal of Biomechanics 34:153. Muscle forces are isometric:
what a muscle loses when it shortens and gains when it lengthens is left out, as is the time that activation
takes.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from neurobench_grasp.contract import Body, Floats, Ints
from neurobench_grasp.errors import NgbError, UnsupportedError

PENALTY = 1e8
"""Cost of a missing moment as large as a joint's capacity, where full activation of a muscle costs 1.

Of moments in reach, less than 1e-4 is then missing, even where one weak muscle alone pulls that way (3e-3
with a hundredth of this cost). Rounding errors grow with it: the gradient at the optimum is 0 within 1e-3.
"""
_NONE = 1e-12
"""Capacity, N·m, of a joint without muscles."""
_TOLERANCE = 1e-11
"""Of the bounds, in daqp; its default, 1e-6, is as much as the activations of a body almost at rest."""
_OPTIMAL = 1
"""Exit flag of daqp."""


def static_optimisation(body: Body, joint_angles: Floats, dt: float, offsets: Ints | None = None) -> Floats:
    """Return the least activations of a body's muscles that follow recorded joint angles.

    Parameters
    ----------
    body : Body
    joint_angles : ndarray, shape (n_steps, n_joints)
        rad.
    dt : float
        Seconds between steps.
    offsets : ndarray of int64, shape (n_trials + 1,), optional
        Start of each trial. Default: one trial.

    Returns
    -------
    ndarray, shape (n_steps, n_muscles)
        0 … 1.

    Raises
    ------
    UnsupportedError
        If the body has no muscles.
    """
    if not body.muscles:
        raise UnsupportedError(f"The body {body.name} has no muscles, so nothing can be activated.")
    moments = body.muscle_moments(joint_angles, dt, offsets)
    bounds = [0, len(moments)] if offsets is None else offsets
    trials = [slice(first, stop) for first, stop in pairwise(bounds)]
    return np.concatenate(  # by trials, since the arms of all steps may not fit into memory
        [least_activation(*body.muscle_capacity(joint_angles[steps]), moments[steps]) for steps in trials]
    )


def least_activation(arms: Floats, force: Floats, moments: Floats) -> Floats:
    """Return the activations of minimal sum of squares that produce joint moments.

    Minimises ``Σ a² + PENALTY · Σ (missing / capacity)²`` for ``0 ≤ a ≤ 1``, so that moments out of reach are
    approached as far as possible. The capacity of a joint is the root of the sum of squares of the moments
    that its muscles have at full activation.

    Parameters
    ----------
    arms : ndarray, shape (n_steps, n_muscles, n_joints)
        Metres, as :meth:`neurobench_grasp.Body.muscle_capacity` returns them: positive for a muscle that
        lengthens when the angle increases.
    force : ndarray, shape (n_steps, n_muscles)
        N at full activation, as returned there: negative, since muscles pull.
    moments : ndarray, shape (n_steps, n_joints)
        N·m.

    Returns
    -------
    ndarray, shape (n_steps, n_muscles)
        0 … 1.

    Raises
    ------
    NgbError
        If a number is not finite, or no solution is found.
    """
    capacity = np.maximum(np.sqrt(np.einsum("tmj,tm->tj", arms**2, force**2)), _NONE)
    pulls = arms * force[:, :, None] / capacity[:, None]
    return least_squares_activation(pulls, moments / capacity, PENALTY)


def least_squares_activation(pulls: Floats, wanted: Floats, penalty: float) -> Floats:
    """Return the activations ``0 ≤ a ≤ 1`` that minimise ``Σ a² + penalty · Σ (a · pulls − wanted)²``.

    Parameters
    ----------
    pulls : ndarray, shape (n_steps, n_muscles, n_joints)
        What each muscle does at full activation, in the unit of ``wanted``.
    wanted : ndarray, shape (n_steps, n_joints)
    penalty : float

    Returns
    -------
    ndarray, shape (n_steps, n_muscles)

    Raises
    ------
    NgbError
        If a number is not finite, or no solution is found.
    """
    import daqp

    if not (np.isfinite(pulls).all() and np.isfinite(wanted).all()):
        raise NgbError("Static optimisation needs finite moment arms, forces and joint moments.")
    n_muscles = pulls.shape[1]
    bounds_only, most, least = np.zeros((0, n_muscles)), np.ones(n_muscles), np.zeros(n_muscles)
    found = np.empty(pulls.shape[:2])
    for step, (pull, want) in enumerate(zip(pulls, wanted, strict=True)):
        hessian = np.eye(n_muscles) + penalty * pull @ pull.T
        found[step], _, status, _ = daqp.solve(
            hessian, -penalty * pull @ want, bounds_only, most, least, primal_tol=_TOLERANCE
        )
        if status != _OPTIMAL:
            raise NgbError(f"Static optimisation found no activations at step {step} (status {status}).")
    return np.clip(found, 0.0, 1.0)  # within the solver's tolerance

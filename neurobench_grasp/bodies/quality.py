"""Measures of a movement: keypoint distance, smoothness, co-contraction."""

from __future__ import annotations

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.contract.body import Body


def keypoint_distances(reached: Floats, wanted: Floats) -> Floats:
    """Return the distance of every keypoint from its target.

    Parameters
    ----------
    reached, wanted : ndarray, shape (n_steps, 3 · n_keypoints)
        Metres; a single row is broadcast to all steps.

    Returns
    -------
    ndarray, shape (n_steps, n_keypoints)
        Metres.
    """
    difference = reached - wanted
    difference = difference.reshape(len(difference), -1, 3)
    distances: Floats = np.sqrt(np.einsum("nkx,nkx->nk", difference, difference))
    return distances


def jerk(keypoints: Floats, dt: float) -> float:
    """Return the root mean square of the keypoints' third derivative.

    Parameters
    ----------
    keypoints : ndarray, shape (n_steps, 3 · n_keypoints)
        Metres; at least four steps.
    dt : float
        Seconds between steps.

    Returns
    -------
    float
        m/s³.
    """
    return float(np.sqrt(np.mean((np.diff(keypoints, 3, axis=0) / dt**3) ** 2)))


def co_contraction(body: Body, joint_angles: Floats, activation: Floats) -> Floats:
    """Return the share of the muscles' joint torque that opposing muscles cancel.

    At each joint and step, ``2 · min(T⁺, T⁻) / (T⁺ + T⁻)`` with the sums of the muscles' active torques in
    either direction (Falconer and Winter 1985, Electromyogr. Clin. Neurophysiol. 25:135), isometric; then
    the mean over joints. 0: no muscle opposes another; 1: all torque is cancelled.

    Parameters
    ----------
    body : Body
    joint_angles : ndarray, shape (n_steps, n_joints)
        rad.
    activation : ndarray, shape (n_steps, n_muscles)
        0 … 1.

    Returns
    -------
    ndarray, shape (n_steps,)
    """
    arms, force = body.muscle_capacity(joint_angles)
    torque = arms * (force * activation)[:, :, None]
    one, other = np.maximum(torque, 0).sum(1), -np.minimum(torque, 0).sum(1)
    shares: Floats = (2 * np.minimum(one, other) / np.maximum(one + other, 1e-12)).mean(1)
    return shares

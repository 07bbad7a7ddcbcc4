"""How natural a movement is, in numbers: smoothness of the keypoints, co-contraction of the muscles."""

from __future__ import annotations

import numpy as np

from neurobench_grasp.body.hand import build_hand
from neurobench_grasp.types import Floats


def jerk(keypoints: Floats, dt: float) -> float:
    """Root mean square of the keypoints' third derivative.

    Parameters
    ----------
    keypoints : ndarray, shape (n_steps, 60)
        Metres; at least four steps.
    dt : float
        Seconds between steps.

    Returns
    -------
    float
        m/s³.
    """
    return float(np.sqrt(np.mean((np.diff(keypoints, 3, axis=0) / dt**3) ** 2)))


def co_contraction(joint_angles: Floats, activation: Floats) -> float:
    """Share of the muscles' joint torque that opposing muscles cancel.

    At each joint and step, ``2 · min(T⁺, T⁻) / (T⁺ + T⁻)`` with the sums of the muscles' active torques in
    either direction (Falconer and Winter 1985, Electromyogr. Clin. Neurophysiol. 25:135), isometric; then
    the mean over joints and steps. 0: no muscle works against another; 1: all torque is cancelled.

    Parameters
    ----------
    joint_angles : ndarray, shape (n_steps, 23)
        rad.
    activation : ndarray, shape (n_steps, 39)
        0 … 1.

    Returns
    -------
    float
    """
    import mujoco

    model, _ = build_hand()
    data = mujoco.MjData(model)
    moment = np.zeros((model.nu, model.nv))
    shares = []
    for posture, active in zip(joint_angles, activation, strict=True):
        data.qpos[:] = posture
        mujoco.mj_fwdPosition(model, data)
        forces = []
        for act in (active, np.zeros_like(active)):
            data.act[:] = act
            mujoco.mj_fwdActuation(model, data)
            forces.append(data.actuator_force.copy())
        mujoco.mju_sparse2dense(
            moment, data.actuator_moment, data.moment_rownnz, data.moment_rowadr, data.moment_colind
        )
        torque = moment * (forces[0] - forces[1])[:, None]
        one, other = np.maximum(torque, 0).sum(0), -np.minimum(torque, 0).sum(0)
        shares.append(2 * np.minimum(one, other) / np.maximum(one + other, 1e-12))
    return float(np.mean(shares))

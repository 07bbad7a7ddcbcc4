"""Planted movements of an arm, and how far inverse kinematics of some keypoints is from them."""

import numpy as np

DT, N_STEPS = 0.02, 50


def waves(arm, size, n_trials=20, seed=0):
    """Joint angles about the neutral posture, two sines of random phase for each joint, up to ``size`` rad in all."""
    rng, t = np.random.default_rng(seed), np.linspace(0, 1, N_STEPS)[:, None]
    n = len(arm.joints)

    def wave(cycles):
        return size * rng.uniform(0.25, 0.5, n) * np.sin(2 * np.pi * (cycles * t + rng.uniform(0, 1, n)))

    low, high = arm.joint_limits.T
    angles = arm.neutral + np.concatenate([wave(0.5) + wave(1.0) for _ in range(n_trials)])
    return np.clip(angles, low + 0.02, high - 0.02), N_STEPS * np.arange(n_trials + 1)


def positions(arm, angles, keypoints):
    """Return the keypoints, (n_steps, 3 · n_keypoints), in m."""
    every = arm.keypoint_positions(angles).reshape(len(angles), -1, 3)
    return every[:, [arm.keypoints.index(k) for k in keypoints]].reshape(len(angles), -1)


def missed(arm, size, *keypoints, **changes):
    """Return the errors of joint angles in degrees, (n_steps, n_joints), and of the keypoints, (n_steps,) in m."""
    angles, offsets = waves(arm, size, **changes)
    path = positions(arm, angles, (arm.endpoint, *keypoints))
    found = arm.inverse_kinematics(path, DT, offsets, keypoints)
    return np.degrees(np.abs(found.joint_angles - angles)), found.residual

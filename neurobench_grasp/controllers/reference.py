"""Reference movements for controllers: postures, their velocities and keypoints, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurobench_grasp.bodies import body_of
from neurobench_grasp.contract import Body, Floats, Ints, Ragged, Trials
from neurobench_grasp.errors import UnsupportedError


@dataclass(frozen=True)
class Reference:
    """Reference movements, trial after trial.

    Parameters
    ----------
    joint_angles : ndarray, shape (n_frames, n_joints)
        rad, within the joint limits.
    joint_velocity : ndarray, shape (n_frames, n_joints)
        rad/s.
    offsets : ndarray of int64, shape (n_trials + 1,)
    body : Body
        The body that moves.
    """

    joint_angles: Floats
    joint_velocity: Floats
    offsets: Ints
    body: Body

    @cached_property
    def keypoints(self) -> Floats:
        """Metres in the body's frame, shape (n_frames, 3 · n_keypoints)."""
        return self.body.keypoint_positions(self.joint_angles)

    @cached_property
    def starts(self) -> tuple[Ints, Ints]:
        """Frames that episodes may start at, all but the last of a trial, and that last frame for each."""
        first, last = self.offsets[:-1], self.offsets[1:] - 1
        frames = np.concatenate([np.arange(a, z) for a, z in zip(first, last, strict=True)])
        return frames, np.repeat(last, last - first)

    @classmethod
    def of(
        cls,
        trials: Trials,
        margin: int | None = None,
        *,
        at_least: int = 0,
        seed: int = 0,
        body: Body | None = None,
    ) -> Reference:
        """Return the recorded postures of trials.

        Parameters
        ----------
        trials : Trials
        margin : int, optional
            Steps around the scored window. Default: all available padding.
        at_least : int
            With fewer trials, mixtures of two of them are added, see :func:`mixtures`.
        seed : int
            Seed of the mixtures.
        body : Body, optional
            The body that moves, with the joints and keypoints of the trials' body. Default: that body.

        Raises
        ------
        UnsupportedError
            If no joint angles were recorded, they are those of another body, or their steps are not the
            control steps of the body.
        """
        if trials.joint_angles is None:
            raise UnsupportedError(
                f"{trials.sessions[0]} has no joint angles of a body, so there is no movement to imitate."
            )
        recorded = body_of(trials)
        body = body or recorded
        if (body.joints, body.keypoints) != (recorded.joints, recorded.keypoints):
            raise UnsupportedError(
                f"{trials.sessions[0]} has joint angles of the body {recorded.name}, and this controller "
                f"moves {body.name}; fit it on trials of the same body."
            )
        if abs(trials.dt - body.control_step) > 1e-9:  # otherwise the body would move at another speed
            raise UnsupportedError(
                f"{trials.sessions[0]} has steps of {1000 * trials.dt:g} ms, and controllers move "
                f"in steps of {1000 * body.control_step:g} ms; set `step_s` in the controller's ModelSpec."
            )
        angles = trials.joint_angles
        if margin is not None:
            angles = Ragged.of(
                [
                    trial[max(first - margin, 0) : stop + margin]
                    for trial, (first, stop) in zip(angles, trials.window, strict=True)
                ]
            )
        if 1 < len(angles) < at_least:
            angles = Ragged.join([angles, mixtures(angles, at_least - len(angles), seed)])
        velocity = np.concatenate([np.gradient(trial, trials.dt, axis=0) for trial in angles])
        return cls(angles.values, velocity, angles.offsets, body)

    def goals(self, frame: Ints, end: Ints, look_ahead: int) -> Floats:
        """Return the postures that follow each frame, held at the trial's last.

        Parameters
        ----------
        frame, end : ndarray of int64, shape (n,)
            Frame, and last frame of its trial.
        look_ahead : int

        Returns
        -------
        ndarray, shape (n, look_ahead · n_joints)
            rad; the next posture first.
        """
        ahead = np.minimum(frame[:, None] + np.arange(1, look_ahead + 1), end[:, None])
        goals: Floats = self.joint_angles[ahead].reshape(len(frame), -1)
        return goals


def mixtures(movements: Ragged, n: int, seed: int) -> Ragged:
    """Return weighted means of two movements at equal phase, to augment a small dataset.

    Parameters
    ----------
    movements : Ragged
        Joint angles, (trial, step, n_joints), of at least two trials.
    n : int
        Number of mixtures.
    seed : int

    Returns
    -------
    Ragged
        rad; each as long as the first of its two movements; weights are uniform in 0 … 1. Joint limits hold,
        since they hold for both.
    """
    rng = np.random.default_rng(seed)
    mixed = []
    for _ in range(n):
        one, other = (movements[i] for i in rng.choice(len(movements), 2, replace=False))
        at = np.linspace(0, len(other) - 1, len(one))
        low = np.minimum(at.astype(int), len(other) - 2)
        step = (at - low)[:, None]
        weight = rng.uniform()
        mixed.append(weight * one + (1 - weight) * ((1 - step) * other[low] + step * other[low + 1]))
    return Ragged.of(mixed)

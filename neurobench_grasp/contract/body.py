"""Bodies: what moves in closed loop, as named joints, muscles, keypoints and parts.

Sizes are those of the names: ``len(body.joints)`` joints, ``len(body.muscles)`` muscles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract.data import Bools, Floats, Ints

Colour = tuple[float, float, float]
"""Red, green and blue, 0 … 1."""
Image = NDArray[np.uint8]
"""Shape (height, width, 3)."""


@dataclass(frozen=True)
class Part:
    """A group of joints and keypoints with one reward and one value in training.

    The reward is formed from the mean squared error of its joints, the mean distance of its keypoints and the
    mean squared activation of the muscles that move it; an action is credited with the parts that it moves
    (:meth:`Body.moved_parts`). Every joint and every keypoint belongs to one part.

    Parameters
    ----------
    name : str
    joints, keypoints : tuple of str
    """

    name: str
    joints: tuple[str, ...]
    keypoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Posture:
    """Postures of a body, made from recorded joint angles.

    Parameters
    ----------
    joint_angles : ndarray, shape (n_steps, n_joints)
        rad, in the body's order, within the joint limits.
    clipped : mapping of str to int
        Joint → number of steps outside its limits; joints without any are omitted.
    missing : tuple of str
        Joints without a column; they are held at the neutral posture.
    unused : tuple of str
        Columns that match no joint of the body.
    """

    joint_angles: Floats
    clipped: Mapping[str, int]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True)
class InferredPosture:
    """Postures of a body that follow from recorded positions of its endpoint, and of further keypoints.

    Parameters
    ----------
    joint_angles : ndarray, shape (n_steps, n_joints)
        rad, in the body's order, within the joint limits.
    residual : ndarray, shape (n_steps,)
        Distance of the endpoint from its recorded position, m, or with further keypoints the root mean
        square over those that are known; NaN where the endpoint is not known.
    at_limit : mapping of str to int
        Joint → number of steps at one of its limits; joints without any are omitted.
    """

    joint_angles: Floats
    residual: Floats
    at_limit: Mapping[str, int]


@dataclass(frozen=True)
class MuscleKinematics:
    """Muscles (with their tendons) along a movement, in the body's order.

    Parameters
    ----------
    length : ndarray, shape (n_steps, n_muscles)
        Metres.
    velocity : ndarray, shape (n_steps, n_muscles)
        Metres per second, positive when lengthening.
    """

    length: Floats
    velocity: Floats


class Simulator(Protocol):
    """A batch of independent bodies that advance together, by control steps."""

    @property
    def n_actions(self) -> int:
        """Actions of one body."""

    @property
    def muscles(self) -> Floats:
        """Length (m) and velocity (m/s) of each muscle, alternating, shape (n, 2 · n_muscles)."""

    @property
    def joint_angles(self) -> Floats:
        """Joint angles in rad, shape (n, n_joints)."""

    @property
    def keypoints(self) -> Floats:
        """Keypoints in metres in the body's frame, shape (n, 3 · n_keypoints)."""

    @property
    def sensors(self) -> Floats:
        """All sensor readings at one instant, shape (n, n_sensors)."""

    @property
    def activation(self) -> Floats:
        """Activation of the muscles at that instant, shape (n, n_muscles); no columns without muscles."""

    def start(self, which: Any, joint_angles: Floats, joint_velocity: Floats) -> None:
        """Set the postures (rad) and velocities (rad/s) of some bodies, with muscles at rest."""

    def step(self, action: Floats) -> None:
        """Advance by one control step; actions are in [−1, 1], shape (n_moved, n_actions)."""

    def state(self) -> dict[str, Floats]:
        """Return everything that the next step depends on, as named arrays."""

    def restore(self, state: dict[str, Floats]) -> None:
        """Load what :meth:`state` returned."""

    def close(self) -> None:
        """Release threads and memory."""


class Painter(Protocol):
    """Draws postures of a body."""

    def paint(self, joint_angles: Floats, colour: Colour) -> Image:
        """Draw one posture (rad, shape (n_joints,)): an image of shape (height, width, 3)."""

    def project(self, keypoints: Floats) -> Floats:
        """Return pixel positions, shape (n_keypoints, 2), of keypoints, shape (3 · n_keypoints,)."""

    def close(self) -> None:
        """Release what drawing needs."""


@runtime_checkable
class Body(Protocol):
    """A body with hinge joints, muscles and keypoints."""

    @property
    def name(self) -> str:
        """Name of the :class:`BodySpec` that built it."""

    @property
    def joints(self) -> tuple[str, ...]:
        """Joints, in the order of joint angles (rad) and torques (N·m)."""

    @property
    def joint_limits(self) -> Floats:
        """Lowest and highest angle of each joint, rad, shape (n_joints, 2)."""

    @property
    def neutral(self) -> Floats:
        """Relaxed posture, rad, shape (n_joints,): angles of joints that were not recorded."""

    @property
    def muscles(self) -> tuple[str, ...]:
        """Muscles, in the order of excitations."""

    @property
    def keypoints(self) -> tuple[str, ...]:
        """Points whose distance from the recorded ones is the tracking error."""

    @property
    def tips(self) -> tuple[str, ...]:
        """Those keypoints that are tips of the body, such as fingertips."""

    @property
    def endpoint(self) -> str:
        """Keypoint whose recorded position determines the posture; empty if none does."""

    @property
    def endpoint_axes(self) -> tuple[str, ...]:
        """Coordinates of the endpoint that determine it, among ``x``, ``y`` and ``z`` of the body's frame."""

    @property
    def frame(self) -> str:
        """Segment whose frame keypoints are expressed in, such as ``wrist``."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Groups of joints and keypoints."""

    @property
    def shown_joints(self) -> Mapping[str, str]:
        """Joints that a figure shows, at most six, with their labels."""

    @property
    def control_step(self) -> float:
        """Seconds per control step."""

    def n_actions(self, action: str) -> int:
        """Return the number of actions: ``muscle`` excitations or joint torques (``torque``)."""

    def moved_parts(self, action: str) -> Bools:
        """Return which parts each action moves, shape (n_actions, n_parts)."""

    def posture(
        self,
        values: Floats,
        columns: Sequence[str],
        joint_map: Mapping[str, tuple[str, float, float]] | None = None,
    ) -> Posture:
        """Map recorded joint angles to the body's order and limits.

        Parameters
        ----------
        values : ndarray, shape (n_steps, n_columns)
            rad.
        columns : sequence of str, length n_columns
        joint_map : mapping, optional
            Column → (joint, sign, offset in rad): the joint's angle is ``sign · value + offset``. A column
            that is not listed and named like a joint maps to that joint; other columns are not used.

        Raises
        ------
        NgbError
            If columns and values do not match, a listed column or joint does not exist, two columns map to
            one joint, no column maps to any, or an angle is not a finite number.
        """

    def inverse_kinematics(
        self, endpoint: Floats, dt: float, offsets: Ints, keypoints: Sequence[str] = ()
    ) -> InferredPosture:
        """Return the postures in which the endpoint, and further keypoints, follow recorded paths.

        Parameters
        ----------
        endpoint : ndarray, shape (n_steps, (1 + n_keypoints) · n_endpoint_axes)
            Metres in the body's frame, of the endpoint and then of each further keypoint; NaN where one
            is not known.
        dt : float
            Seconds between steps.
        offsets : ndarray of int64, shape (n_trials + 1,)
            Start of each trial; all postures of a trial are found together.
        keypoints : sequence of str
            Further keypoints that were recorded, such as the elbow.

        Raises
        ------
        UnsupportedError
            If the body has no endpoint.
        NgbError
            If there is no such keypoint, or the positions are not theirs.
        """

    def keypoint_positions(self, joint_angles: Floats) -> Floats:
        """Return the keypoints of postures.

        Parameters
        ----------
        joint_angles : ndarray, shape (n_steps, n_joints)
            rad.

        Returns
        -------
        ndarray, shape (n_steps, 3 · n_keypoints)
            x, y, z of each keypoint, metres in the body's frame.
        """

    def muscle_kinematics(
        self, joint_angles: Floats, dt: float, offsets: Ints | None = None
    ) -> MuscleKinematics:
        """Return lengths and velocities of the muscles along recorded joint angles.

        Joint velocities are central differences (one-sided at a trial's ends) and become muscle velocities
        through the moment arms at each step.

        Parameters
        ----------
        joint_angles : ndarray, shape (n_steps, n_joints)
            rad.
        dt : float
            Seconds between steps.
        offsets : ndarray of int64, shape (n_trials + 1,), optional
            Start of each trial; differences do not extend across trials. Default: one trial.
        """

    def muscle_moments(self, joint_angles: Floats, dt: float, offsets: Ints | None = None) -> Floats:
        """Return the joint moments that active muscles must produce to follow the movement.

        Inverse dynamics less the passive moments of the muscles (those at zero activation). Velocities and
        accelerations are central differences within trials, without smoothing. The limits of the joints
        carry nothing.

        Parameters
        ----------
        joint_angles : ndarray, shape (n_steps, n_joints)
            rad.
        dt : float
            Seconds between steps.
        offsets : ndarray of int64, shape (n_trials + 1,), optional
            Start of each trial; differences do not extend across trials. Default: one trial.

        Returns
        -------
        ndarray, shape (n_steps, n_joints)
            N·m, with the sign of the joint angles.
        """

    def muscle_capacity(self, joint_angles: Floats) -> tuple[Floats, Floats]:
        """Return moment arms of the muscles, and the isometric force of each when fully active.

        Parameters
        ----------
        joint_angles : ndarray, shape (n_steps, n_joints)
            rad.

        Returns
        -------
        arms : ndarray, shape (n_steps, n_muscles, n_joints)
            Metres.
        force : ndarray, shape (n_steps, n_muscles)
            N, negative since muscles pull, without the passive forces of stretch. The moment of a muscle
            about a joint is its arm times its force.
        """

    def simulate(
        self, action: str, n: int, *, threads: int | None = None, physics_steps: int | None = None
    ) -> Simulator:
        """Make a batch of simulated bodies.

        Parameters
        ----------
        action : str
            ``muscle`` or ``torque``.
        n : int
            Number of bodies.
        threads : int, optional
            Default: the usable cores. Results do not depend on it.
        physics_steps : int, optional
            Physics steps per control step. Default: the body's.
        """

    def painter(self, width: int, height: int) -> Painter:
        """Return a painter of images of that size in pixels.

        Raises
        ------
        NgbError
            If the body cannot be drawn, or not here.
        """


@dataclass(frozen=True)
class BodySpec:
    """A body, as a plugin offers it.

    Parameters
    ----------
    name : str
        Layouts and trials name the body by it.
    build : callable
        ``build()`` returns the :class:`Body`; import heavy libraries in it.
    summary : str
        One line for ``ngb bodies``.
    licence : str
        SPDX expression of the licence of the model and its parameters.
    source : str
        Where the model and its parameters come from.
    fetch : str
        Command that fetches the model first, if it is no part of the plugin.
    """

    name: str
    build: Callable[[], Body]
    summary: str
    licence: str
    source: str
    fetch: str = ""

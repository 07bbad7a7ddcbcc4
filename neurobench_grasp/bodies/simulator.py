"""Batched simulation of hands: one call of ``mujoco.rollout`` advances all and returns every sensor.

Two hands from one spec: ``muscle`` is actuated by MyoHand's 39 muscles, ``torque`` by a motor at each of the
23 joints. The torque hand keeps the muscles' tendons, without force, so both report the same afferents.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from neurobench_grasp.bodies.kinematics import muscle_capacity
from neurobench_grasp.bodies.myohand import JOINT_PARTS, JOINTS, KEYPOINTS, MUSCLES, PARTS, SIDE, build_hand
from neurobench_grasp.bodies.posture import NEUTRAL
from neurobench_grasp.contract import Bools, Floats
from neurobench_grasp.errors import NgbError
from neurobench_grasp.threads import usable_cores

ACTIONS = ("muscle", "torque")
CONTROL_STEP = 0.02
"""Seconds per control step."""
PHYSICS_STEPS = 4
"""Physics steps per control step, with ``implicitfast``; docs/controllers.md compares it with 2 ms."""
TORQUE_FRACTION = 0.25
"""Fraction of the muscles' joint-torque capacity that a motor has: a joint's muscles never all contract."""

_N_MUSCLE_SENSORS = 2 * len(MUSCLES)
_N_JOINT_SENSORS = 2 * len(JOINTS)


@cache
def body_model(action: str, physics_steps: int = PHYSICS_STEPS) -> Any:
    """Compile a hand for closed-loop simulation.

    Parameters
    ----------
    action : str
        ``muscle`` or ``torque``.
    physics_steps : int
        Physics steps per control step of 20 ms.

    Returns
    -------
    mujoco.MjModel
        Shared between callers: do not edit it.

    Raises
    ------
    NgbError
        If there is no such hand.
    """
    import mujoco

    if action not in ACTIONS:
        raise NgbError(f"There is no hand with the action {action!r}; choose {' or '.join(ACTIONS)}.")
    spec = build_hand()[1].copy()
    spec.option.timestep = CONTROL_STEP / physics_steps
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT  # no geoms of the hand can collide
    if action == "torque":
        for muscle in list(spec.actuators):
            spec.delete(muscle)
        for joint, (lowest, highest) in zip(JOINTS, torque_limits(), strict=True):
            motor = spec.add_actuator(name=joint + SIDE, target=joint + SIDE, ctrllimited=True)
            motor.trntype = mujoco.mjtTrn.mjTRN_JOINT
            motor.ctrlrange = [lowest, highest]
            motor.set_to_motor()
    return spec.compile()


@cache
def torque_limits() -> Floats:
    """Return the minimum and maximum torque of each joint's motor.

    :data:`TORQUE_FRACTION` of the torque of all muscles that pull the joint one way, fully active and
    isometric, in the relaxed posture :data:`NEUTRAL`.

    Returns
    -------
    ndarray, shape (23, 2)
        N·m.
    """
    arms, force = _muscles_in_neutral()
    torque = arms * force[:, None]
    capacity = np.stack([np.minimum(torque, 0).sum(0), np.maximum(torque, 0).sum(0)], axis=1)
    limits: Floats = TORQUE_FRACTION * capacity
    limits.setflags(write=False)
    return limits


@cache
def moved_parts(action: str) -> Bools:
    """Return which parts of the hand each action moves.

    A muscle moves every part with a joint on which it has a moment arm of more than 0.1 mm in the posture
    :data:`NEUTRAL`: a digit's long muscles move the wrist too. A motor moves the part of its joint.

    Returns
    -------
    ndarray of bool, shape (n_actions, 6)
        Columns as :data:`~neurobench_grasp.bodies.myohand.PARTS`.
    """
    of_joint = JOINT_PARTS[:, None] == np.arange(len(PARTS))
    moved: Bools = (abs(_muscles_in_neutral()[0]) > 1e-4) @ of_joint if action == "muscle" else of_joint
    moved.setflags(write=False)
    return moved


@cache
def _muscles_in_neutral() -> tuple[Floats, Floats]:
    """Return moment arms, (39, 23) in m, and isometric forces at full activation, (39,) in N, in neutral."""
    arms, force = muscle_capacity(np.array([[NEUTRAL[joint] for joint in JOINTS]]))
    for array in (arms, force):
        array.setflags(write=False)
    return arms[0], force[0]


def to_control(action: str, values: Floats) -> Floats:
    """Convert actions in [−1, 1] to MuJoCo's controls.

    Muscles: excitation ``1 / (1 + exp(−5 (a − 0.5)))``, MyoSuite's map, so that rest (a = 0) is 8 %.
    Motors: the action times the greatest torque of its direction.

    Parameters
    ----------
    action : str
        ``muscle`` or ``torque``.
    values : ndarray, shape (n_hands, n_actions)

    Returns
    -------
    ndarray, shape (n_hands, n_actions)
        Excitations in [0, 1], or torques in N·m.
    """
    if action == "muscle":
        excitation: Floats = 1 / (1 + np.exp(-5 * (values - 0.5)))
        return excitation
    lowest, highest = torque_limits().T
    torque: Floats = np.where(values > 0, values * highest, -values * lowest)
    return torque


class Hands:
    """A batch of independent hands with synchronous sensors.

    MuJoCo's sensors lag the state by one physics step. The batch's clock is that of its sensors: an
    action takes effect one physics step after the sensor readings, and the next
    readings are exactly one control step later.

    Parameters
    ----------
    action : str
        ``muscle`` or ``torque``.
    n : int
        Number of hands.
    threads : int, optional
        Default: the usable cores. Results do not depend on it.
    physics_steps : int
        Physics steps per control step.

    Attributes
    ----------
    sensors : ndarray, shape (n, 184)
        All sensors: muscles (length in m and velocity in m/s, alternating), joints (angle in rad and velocity
        in rad/s, alternating), keypoints (m, in the wrist's frame). Use the properties.
    activation : ndarray, shape (n, 39 or 0)
        Activation of the muscles at the same instant.
    """

    def __init__(
        self, action: str, n: int, *, threads: int | None = None, physics_steps: int = PHYSICS_STEPS
    ) -> None:
        import mujoco
        from mujoco import rollout

        self.action = action
        self._model = body_model(action, physics_steps)
        self._steps = physics_steps
        self._data = [mujoco.MjData(self._model) for _ in range(threads or usable_cores())]
        self._pool = rollout.Rollout(nthread=len(self._data))
        self._state = np.zeros((n, mujoco.mj_stateSize(self._model, mujoco.mjtState.mjSTATE_FULLPHYSICS)))
        self.sensors = np.zeros((n, self._model.nsensordata))
        self.activation = np.zeros((n, self._model.na))

    @property
    def n_actions(self) -> int:
        """Actions of one hand: 39 excitations or 23 torques."""
        return int(self._model.nu)

    @property
    def muscles(self) -> Floats:
        """Length (m) and velocity (m/s) of each muscle, alternating, shape (n, 78)."""
        return self.sensors[:, :_N_MUSCLE_SENSORS]

    @property
    def joint_angles(self) -> Floats:
        """Joint angles in rad, shape (n, 23)."""
        return self.sensors[:, _N_MUSCLE_SENSORS : _N_MUSCLE_SENSORS + _N_JOINT_SENSORS : 2]

    @property
    def keypoints(self) -> Floats:
        """Keypoints in metres in the wrist's frame, shape (n, 60)."""
        return self.sensors[:, -3 * len(KEYPOINTS) :]

    def start(self, which: Any, joint_angles: Floats, joint_velocity: Floats) -> None:
        """Set the postures of some hands, with muscles at rest, and read their sensors.

        Parameters
        ----------
        which : index of hands (slice, bool or int array)
        joint_angles, joint_velocity : ndarray, shape (n_which, 23)
            rad and rad/s.
        """
        n_joints = len(JOINTS)
        state = np.zeros((len(joint_angles), self._state.shape[1]))
        state[:, 1 : 1 + n_joints] = joint_angles
        state[:, 1 + n_joints : 1 + 2 * n_joints] = joint_velocity
        control = to_control(self.action, np.zeros((len(state), self.n_actions)))
        states, sensed = self._pool.rollout(self._model, self._data, state, control[:, None], nstep=1)
        self._state[which] = states[:, -1]
        self.sensors[which] = sensed[:, -1]
        self.activation[which] = 0.0

    def step(self, action: Floats) -> None:
        """Advance by one control step.

        Parameters
        ----------
        action : ndarray, shape (n_moved, n_actions)
            In [−1, 1]. With fewer rows than hands, the first hands move and the others stay.

        Raises
        ------
        NgbError
            If the simulation became unstable.
        """
        n = len(action)
        control = to_control(self.action, np.asarray(action, np.float64))[:, None]
        states, sensed = self._pool.rollout(
            self._model, self._data, self._state[:n], control, nstep=self._steps
        )
        self._state[:n] = states[:, -1]
        self.sensors[:n] = sensed[:, -1]
        self.activation[:n] = states[:, -2, 1 + 2 * len(JOINTS) :]  # the state at the time of the sensors
        if not np.isfinite(self._state[:n]).all():
            raise NgbError("The simulated hand became unstable; reduce the controller's actions.")

    def state(self) -> dict[str, Floats]:
        """Return everything that the next step depends on, as named arrays."""
        return {
            "state": self._state.copy(),
            "sensors": self.sensors.copy(),
            "activation": self.activation.copy(),
        }

    def restore(self, state: dict[str, Floats]) -> None:
        """Load what :meth:`state` returned."""
        self._state[:], self.sensors[:], self.activation[:] = (
            state[name] for name in ("state", "sensors", "activation")
        )

    def close(self) -> None:
        """Shut down the threads."""
        self._pool.close()

"""Batched simulation of bodies: one call of ``mujoco.rollout`` advances all and returns every sensor.

Two kinds from one spec: ``muscle`` is actuated by the body's muscles, ``torque`` by a motor at each of its
joints. The latter keeps the muscles' tendons, without force, so both report the same afferents.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.bodies.kinematics import muscle_capacity
from neurobench_grasp.bodies.spec import BodyModel
from neurobench_grasp.contract import Body, Bools, Floats
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.threads import usable_cores

if TYPE_CHECKING:
    from neurobench_grasp.bodies.warp_simulator import WarpSimulation

TORQUE_FRACTION = 0.25
"""Fraction of the muscles' joint-torque capacity that a motor has: a joint's muscles never all contract."""
LEAST_ARM = 1e-4
"""Moment arm in the neutral posture, m, above which a muscle counts as crossing a joint."""


@cache
def actuated_model(body: BodyModel, action: str, physics_steps: int) -> Any:
    """Compile a body for closed-loop simulation.

    Parameters
    ----------
    body : BodyModel
    action : str
        ``muscle`` or ``torque``.
    physics_steps : int
        Physics steps per control step.

    Returns
    -------
    mujoco.MjModel
        Shared between callers: do not edit it.

    Raises
    ------
    NgbError
        If there is no such kind of action.
    """
    import mujoco

    body.n_actions(action)  # raises if there is no such kind
    spec = body.spec.copy()
    spec.option.timestep = body.control_step / physics_steps
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT  # no geoms of a body can collide
    if action == "torque":
        for muscle in list(spec.actuators):
            spec.delete(muscle)
        for joint, (lowest, highest) in zip(body.joint_names.values(), torque_limits(body), strict=True):
            motor = spec.add_actuator(name=joint, target=joint, ctrllimited=True)
            motor.trntype = mujoco.mjtTrn.mjTRN_JOINT
            motor.ctrlrange = [lowest, highest]
            motor.set_to_motor()
    return spec.compile()


@cache
def torque_limits(body: BodyModel) -> Floats:
    """Return the minimum and maximum torque of each joint's motor.

    :data:`TORQUE_FRACTION` of the torque of all muscles that pull the joint one way, fully active and
    isometric, in the body's neutral posture.

    Returns
    -------
    ndarray, shape (n_joints, 2)
        N·m.
    """
    arms, force = muscles_in_neutral(body)
    torque = arms * force[:, None]
    capacity = np.stack([np.minimum(torque, 0).sum(0), np.maximum(torque, 0).sum(0)], axis=1)
    limits: Floats = TORQUE_FRACTION * capacity
    limits.setflags(write=False)
    return limits


@cache
def moved_parts(body: BodyModel, action: str) -> Bools:
    """Return which parts of a body each action moves.

    A muscle moves every part with a joint on which it has a moment arm of more than 0.1 mm in the neutral
    posture: a digit's long muscles move the wrist too. A motor moves the part of its joint.

    Returns
    -------
    ndarray of bool, shape (n_actions, n_parts)
    """
    of_joint = body.joints_in_parts
    crosses = abs(muscles_in_neutral(body)[0]) > LEAST_ARM
    moved: Bools = crosses @ of_joint if action == "muscle" else of_joint
    moved.setflags(write=False)
    return moved


@cache
def muscles_in_neutral(body: BodyModel) -> tuple[Floats, Floats]:
    """Return moment arms, (n_muscles, n_joints) in m, and active forces, (n_muscles,) in N, in neutral."""
    arms, force = muscle_capacity(body, body.neutral[None])
    for array in (arms, force):
        array.setflags(write=False)
    return arms[0], force[0]


def excitation(values: Floats) -> Floats:
    """Return the excitations of actions: ``1 / (1 + exp(−5 (a − 0.5)))``, MyoSuite's map; rest (0) is 8 %."""
    excited: Floats = 1 / (1 + np.exp(-5 * (values - 0.5)))
    return excited


def action_of(excited: Floats) -> Floats:
    """Return the actions in [−1, 1] whose :func:`excitation` is nearest: its inverse."""
    within = np.clip(excited, *excitation(np.array([-1.0, 1.0])))
    values: Floats = np.clip(0.5 + np.log(within / (1 - within)) / 5, -1.0, 1.0)
    return values


def to_control(body: BodyModel, action: str, values: Floats) -> Floats:
    """Convert actions in [−1, 1] to MuJoCo's controls.

    Muscles: :func:`excitation`. Motors: the action times the greatest torque of its direction.

    Parameters
    ----------
    body : BodyModel
    action : str
        ``muscle`` or ``torque``.
    values : ndarray, shape (n, n_actions)

    Returns
    -------
    ndarray, shape (n, n_actions)
        Excitations in [0, 1], or torques in N·m.
    """
    if action == "muscle":
        return excitation(values)
    lowest, highest = torque_limits(body).T
    torque: Floats = np.where(values > 0, values * highest, -values * lowest)
    return torque


def scale_controls(action: str, values: Floats, factor: Floats) -> Floats:
    """Return the actions whose controls are those of ``values`` times ``factor``, within [−1, 1].

    Parameters
    ----------
    action : str
        ``muscle`` or ``torque``.
    values, factor : ndarray, shape (n, n_actions)
        A negative factor counts as 0, since muscles only pull.
    """
    factor = np.maximum(factor, 0.0)
    if action == "muscle":
        return action_of(excitation(values) * factor)
    within: Floats = np.clip(values * factor, -1.0, 1.0)
    return within


def unstable(name: str) -> NgbError:
    """Return the error of a simulated body whose state is no longer finite."""
    return NgbError(f"The simulated {name} became unstable; reduce the controller's actions.")


def device_simulation(
    body: Body, action: str, n: int, device: str, *, physics_steps: int | None = None
) -> WarpSimulation:
    """Make a batch of bodies that MuJoCo Warp simulates on a device, in float32.

    Parameters
    ----------
    body : Body
    action : str
        ``muscle`` or ``torque``.
    n : int
        Number of bodies.
    device : str
        Of Warp and torch: ``cpu``, ``cuda`` or ``cuda:1``.
    physics_steps : int, optional
        Physics steps per control step. Default: the body's.

    Raises
    ------
    UnsupportedError
        If the body is not a model of MuJoCo.
    NgbError
        If the extra ``gpu`` is not installed.
    """
    if not isinstance(body, BodyModel):
        raise UnsupportedError(
            f"The body {body.name} has its own simulator, so it is trained on the CPU only."
        )
    try:
        from neurobench_grasp.bodies.warp_simulator import WarpSimulation
    except ImportError as error:
        raise NgbError(
            "Simulating on a device needs MuJoCo Warp: `pip install 'neurobench-grasp[gpu]'`."
        ) from error
    return WarpSimulation(body, action, n, device, physics_steps=physics_steps)


class Simulation:
    """A batch of independent bodies with synchronous sensors, which implements the contract's ``Simulator``.

    MuJoCo's sensors lag the state by one physics step. The batch's clock is that of its sensors: an
    action takes effect one physics step after the sensor readings, and the next
    readings are exactly one control step later.

    Parameters
    ----------
    body : BodyModel
    action : str
        ``muscle`` or ``torque``.
    n : int
        Number of bodies.
    threads : int, optional
        Default: the usable cores. Results do not depend on it.
    physics_steps : int, optional
        Physics steps per control step. Default: the body's.

    Attributes
    ----------
    sensors : ndarray, shape (n, n_sensors)
        All sensors: muscles (length in m and velocity in m/s, alternating), joints (angle in rad and velocity
        in rad/s, alternating), keypoints (m, in the body's frame). Use the properties.
    activation : ndarray, shape (n, n_muscles or 0)
        Activation of the muscles at the same instant.
    """

    def __init__(
        self,
        body: BodyModel,
        action: str,
        n: int,
        *,
        threads: int | None = None,
        physics_steps: int | None = None,
    ) -> None:
        import mujoco
        from mujoco import rollout

        self._body, self._action = body, action
        self._steps = physics_steps or body.physics_steps
        self._model = actuated_model(body, action, self._steps)
        self._data = [mujoco.MjData(self._model) for _ in range(threads or usable_cores())]
        self._pool = rollout.Rollout(nthread=len(self._data))
        self._state = np.zeros((n, mujoco.mj_stateSize(self._model, mujoco.mjtState.mjSTATE_FULLPHYSICS)))
        self.sensors = np.zeros((n, self._model.nsensordata))
        self.activation = np.zeros((n, self._model.na))

    @property
    def n_actions(self) -> int:
        """Actions of one body: excitations or torques."""
        return int(self._model.nu)

    @property
    def muscles(self) -> Floats:
        """Length (m) and velocity (m/s) of each muscle, alternating, shape (n, 2 · n_muscles)."""
        return self.sensors[:, self._body.muscle_sensors]

    @property
    def joint_angles(self) -> Floats:
        """Joint angles in rad, shape (n, n_joints)."""
        return self.sensors[:, self._body.angle_sensors]

    @property
    def keypoints(self) -> Floats:
        """Keypoints in metres in the body's frame, shape (n, 3 · n_keypoints)."""
        return self.sensors[:, self._body.keypoint_sensors]

    def start(self, which: Any, joint_angles: Floats, joint_velocity: Floats) -> None:
        """Set the postures of some bodies, with muscles at rest, and read their sensors.

        Parameters
        ----------
        which : index of bodies (slice, bool or int array)
        joint_angles, joint_velocity : ndarray, shape (n_which, n_joints)
            rad and rad/s.
        """
        n_joints = self._model.nq
        state = np.zeros((len(joint_angles), self._state.shape[1]))
        state[:, 1 : 1 + n_joints] = self._body.qpos(joint_angles)
        state[:, 1 + n_joints : 1 + 2 * n_joints] = self._body.qvel(joint_angles, joint_velocity)
        control = to_control(self._body, self._action, np.zeros((len(state), self.n_actions)))
        states, sensed = self._pool.rollout(self._model, self._data, state, control[:, None], nstep=1)
        self._state[which] = states[:, -1]
        self.sensors[which] = sensed[:, -1]
        self.activation[which] = 0.0

    def step(self, action: Floats) -> None:
        """Advance by one control step.

        Parameters
        ----------
        action : ndarray, shape (n_moved, n_actions)
            In [−1, 1]. With fewer rows than bodies, the first ones move and the others stay.

        Raises
        ------
        NgbError
            If the simulation became unstable.
        """
        n = len(action)
        control = to_control(self._body, self._action, np.asarray(action, np.float64))[:, None]
        states, sensed = self._pool.rollout(
            self._model, self._data, self._state[:n], control, nstep=self._steps
        )
        self._state[:n] = states[:, -1]
        self.sensors[:n] = sensed[:, -1]
        self.activation[:n] = states[:, -2, 1 + 2 * self._model.nq :]  # the state at the time of the sensors
        if not np.isfinite(self._state[:n]).all():
            raise unstable(self._body.name)

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

"""Batched simulation of bodies by MuJoCo Warp on one device, such as a GPU, in float32.

It needs the extra ``neurobench-grasp[gpu]``; :func:`neurobench_grasp.bodies.device_simulation` imports it.
Networks may be trained by it, but not scored: on a GPU it is not deterministic.
"""

from __future__ import annotations

from typing import Any

import mujoco_warp
import numpy as np
import warp as wp

from neurobench_grasp.bodies.simulator import Simulation, actuated_model, torque_limits, unstable
from neurobench_grasp.bodies.spec import BodyModel
from neurobench_grasp.cache import cache_folder
from neurobench_grasp.contract import Floats

wp.config.log_level = wp.LOG_ERROR  # otherwise it prints each kernel that it compiles, to standard output
wp.config.kernel_cache_dir = str(cache_folder() / "warp")


@wp.func
def _excitation(action: float) -> float:
    return 1.0 / (1.0 + wp.exp(-5.0 * (action - 0.5)))


@wp.kernel
def _to_excitations(action: wp.array2d[float], gain: wp.array2d[float], control: wp.array2d[float]) -> None:
    i, j = wp.tid()
    excited = _excitation(action[i, j]) * wp.max(gain[i, j], 0.0)
    control[i, j] = wp.clamp(excited, _excitation(-1.0), _excitation(1.0))


@wp.kernel
def _to_torques(
    action: wp.array2d[float],
    gain: wp.array2d[float],
    limits: wp.array2d[float],
    control: wp.array2d[float],
) -> None:
    i, j = wp.tid()
    share = wp.clamp(action[i, j] * wp.max(gain[i, j], 0.0), -1.0, 1.0)
    if share > 0.0:
        control[i, j] = share * limits[j, 1]
    else:
        control[i, j] = -share * limits[j, 0]


class WarpSimulation:
    """A batch of independent bodies on one device, which implements the contract's ``Simulator``.

    Model, clock and first sensor readings are those of MuJoCo C
    (:class:`~neurobench_grasp.bodies.simulator.Simulation`).

    Parameters
    ----------
    body : BodyModel
    action : str
        ``muscle`` or ``torque``.
    n : int
        Number of bodies.
    device : str
        Of Warp and torch: ``cpu``, ``cuda`` or ``cuda:1``.
    physics_steps : int, optional
        Physics steps per control step. Default: the body's.

    Attributes
    ----------
    body : BodyModel
    arrays : dict of str to warp.array
        In the memory of the device, one row per body, to be read and written there through DLPack: of the
        next step ``action`` and ``gain``, (n, n_actions), the factor of each control; the state that it
        begins with, ``qpos``, ``qvel``, ``act`` and ``warmstart`` (of the constraint solver); and, of the
        sensors' instant, ``sensors`` and ``activation``.
    """

    def __init__(
        self, body: BodyModel, action: str, n: int, device: str, *, physics_steps: int | None = None
    ) -> None:
        self.body, self._action, self._n = body, action, n
        self._steps = physics_steps or body.physics_steps
        model = actuated_model(body, action, self._steps)
        self._device = wp.get_device(device)
        with wp.ScopedDevice(self._device):
            self._model = mujoco_warp.put_model(model)
            data = mujoco_warp.make_data(model, nworld=n, nconmax=0, njmax=most_constraints(model))
            self._data = data
            self._limits: Any = wp.array(torque_limits(body), dtype=float)
            self.arrays: dict[str, Any] = {
                "action": wp.zeros((n, model.nu), dtype=float),
                "gain": wp.ones((n, model.nu), dtype=float),
                "qpos": data.qpos,
                "qvel": data.qvel,
                "act": data.act,
                "warmstart": data.qacc_warmstart,
                "sensors": data.sensordata,
                "activation": wp.zeros((n, model.na), dtype=float),
            }
            self._control_step()  # compiles what is not in the cache, which cannot be recorded
            with wp.ScopedCapture() as recorded:
                self._control_step()
        self._graph = recorded.graph
        self.start(slice(None), np.tile(body.neutral, (n, 1)), np.zeros((n, len(body.joints))))

    def _control_step(self) -> None:
        arrays, control = self.arrays, self._data.ctrl
        if self._action == "muscle":
            wp.launch(_to_excitations, control.shape, inputs=[arrays["action"], arrays["gain"], control])
        else:
            inputs = [arrays["action"], arrays["gain"], self._limits, control]
            wp.launch(_to_torques, control.shape, inputs=inputs)
        for step in range(self._steps):
            if step == self._steps - 1:
                wp.copy(arrays["activation"], arrays["act"])  # sensors lag the state by one physics step
            mujoco_warp.step(self._model, self._data)

    def advance(self) -> None:
        """Advance all bodies by one control step, by ``action`` and ``gain`` on the device."""
        wp.capture_launch(self._graph)

    def beginnings(self, joint_angles: Floats, joint_velocity: Floats) -> dict[str, Floats]:
        """Return the rows of :attr:`arrays` of bodies that start, as MuJoCo C computes them in float64.

        Parameters
        ----------
        joint_angles, joint_velocity : ndarray, shape (n_started, n_joints)
            rad and rad/s.
        """
        n = len(joint_angles)
        bodies = Simulation(self.body, self._action, n, physics_steps=self._steps)
        bodies.start(slice(None), joint_angles, joint_velocity)
        state = bodies.state()
        bodies.close()
        ends = np.cumsum([1, *(self.arrays[name].shape[1] for name in ("qpos", "qvel", "act"))])
        _, qpos, qvel, act, *_ = np.split(state.pop("state"), ends, axis=1)
        return {**state, "qpos": qpos, "qvel": qvel, "act": act, "warmstart": np.zeros_like(qvel)}

    @property
    def n_actions(self) -> int:
        """Actions of one body: excitations or torques."""
        return int(self.arrays["action"].shape[1])

    @property
    def sensors(self) -> Floats:
        """All sensors, shape (n, n_sensors)."""
        return self._read("sensors")

    @property
    def activation(self) -> Floats:
        """Activation of the muscles at the same instant, shape (n, n_muscles or 0)."""
        return self._read("activation")

    @property
    def muscles(self) -> Floats:
        """Length (m) and velocity (m/s) of each muscle, alternating, shape (n, 2 · n_muscles)."""
        return self.sensors[:, self.body.muscle_sensors]

    @property
    def joint_angles(self) -> Floats:
        """Joint angles in rad, shape (n, n_joints)."""
        return self.sensors[:, self.body.angle_sensors]

    @property
    def keypoints(self) -> Floats:
        """Keypoints in metres in the body's frame, shape (n, 3 · n_keypoints)."""
        return self.sensors[:, self.body.keypoint_sensors]

    def start(self, which: Any, joint_angles: Floats, joint_velocity: Floats) -> None:
        """Set the postures (rad) and velocities (rad/s) of some bodies, with muscles at rest."""
        state = self.state()
        for name, rows in self.beginnings(joint_angles, joint_velocity).items():
            state[name][which] = rows
        self.restore(state)

    def step(self, action: Floats) -> None:
        """Advance by one control step; with fewer rows than bodies, the first ones move and the others stay.

        Raises
        ------
        NgbError
            If the simulation became unstable.
        """
        n, before = len(action), self.state()
        self.arrays["action"].assign(np.concatenate([action, np.zeros((self._n - n, self.n_actions))]))
        self.advance()
        after = self.state()
        if n < self._n:
            for name, rows in after.items():
                rows[n:] = before[name][n:]
            self.restore(after)
        if not all(np.isfinite(after[name]).all() for name in ("qpos", "qvel", "act")):
            raise unstable(self.body.name)

    def state(self) -> dict[str, Floats]:
        """Return everything that the next step depends on, as named arrays."""
        return {name: self._read(name) for name in self.arrays if name not in ("action", "gain")}

    def restore(self, state: dict[str, Floats]) -> None:
        """Load what :meth:`state` returned."""
        for name, rows in state.items():
            self.arrays[name].assign(rows)

    def close(self) -> None:
        """Do nothing: memory is released with the object."""

    def _read(self, name: str) -> Floats:
        return np.array(self.arrays[name].numpy(), np.float64)


def most_constraints(model: Any) -> int:
    """Return how many rows of constraints, which Warp allocates first, a model without contacts can have."""
    equalities = 6 * model.neq  # of a weld, the largest
    limits = 2 * (np.count_nonzero(model.jnt_limited) + np.count_nonzero(model.tendon_limited))
    friction = np.count_nonzero(model.dof_frictionloss) + np.count_nonzero(model.tendon_frictionloss)
    return int(equalities + limits + friction)

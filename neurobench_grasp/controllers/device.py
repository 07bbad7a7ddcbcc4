"""The imitation task on one device, and experience that stays there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from neurobench_grasp.bodies import device_simulation
from neurobench_grasp.contract import Bools
from neurobench_grasp.controllers.advantages import part_advantages
from neurobench_grasp.controllers.environment import ImitationVecEnv, Reward, sensor_noise
from neurobench_grasp.controllers.network import Sequences, stream_sizes
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import NgbError

ON_CPU = "cpu-warp"
"""Name of the device on which Warp's CPU backend simulates."""
STATE = ("frame", "end", "last_action", "error", "begins", "_recent")
"""Attributes of a task on which its next step depends, besides its bodies."""


def torch_device(name: str) -> torch.device:
    """Return the device of a name as ``ngb train --device`` accepts it.

    Raises
    ------
    NgbError
        If there is no such device.
    """
    kind, _, number = name.partition(":")
    if name == ON_CPU:
        return torch.device("cpu")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise NgbError(f"There is no device {name!r}; choose cpu, cuda, cuda:NUMBER or {ON_CPU}.")
    if int(number or 0) >= torch.cuda.device_count():
        raise NgbError(
            f"PyTorch {torch.__version__} finds no device {name}; "
            "install a build of PyTorch for CUDA on a machine with a GPU, or leave out --device."
        )
    return torch.device(kind, int(number or 0))


class DeviceImitation:
    """The task of :class:`~neurobench_grasp.controllers.environment.Imitation` on a device, in float32.

    Bodies, rewards, ends of episodes and observations are the same; random numbers are those of torch.

    Parameters
    ----------
    reference : Reference
    action : str
        ``muscle`` or ``torque``.
    n : int
        Number of bodies.
    settings : ControllerSettings
    device : torch.device

    Attributes
    ----------
    error : Tensor, shape (n,)
        Mean keypoint distance after the last step, metres.
    begins : Tensor, shape (n,)
        1 where the next step is the first of an episode, else 0.
    """

    def __init__(
        self, reference: Reference, action: str, n: int, settings: ControllerSettings, device: torch.device
    ) -> None:
        def tensor(array: NDArray[Any]) -> Tensor:
            return torch.tensor(array, dtype=torch.float32, device=device)

        body = reference.body
        self.reference, self.settings, self.action, self.device = reference, settings, action, device
        self.moved_parts: Bools = body.moved_parts(action)
        self.bodies = device_simulation(body, action, n, str(device), physics_steps=settings.physics_steps)
        self._now = {name: from_dlpack(array) for name, array in self.bodies.arrays.items()}
        model = self.bodies.body
        self._muscles, self._joints = model.muscle_sensors, model.angle_sensors
        self._points = model.keypoint_sensors
        self._angles, self._keypoints = tensor(reference.joint_angles), tensor(reference.keypoints)
        frames, ends = reference.starts
        self._frames, self._ends = (torch.tensor(which, device=device) for which in (frames, ends))
        first = self.bodies.beginnings(reference.joint_angles[frames], reference.joint_velocity[frames])
        self._first = {name: tensor(rows) for name, rows in first.items()}
        self._reward = Reward(body, action, settings, tensor)
        noise = sensor_noise(reference, action, settings)
        self._noise = None if noise is None else tensor(noise)
        sizes = stream_sizes(body, action, settings)
        delay = np.repeat([settings.delays[name] for name in sizes], list(sizes.values()))
        self._delay = torch.tensor(delay, device=device)
        self._features = torch.arange(len(delay), device=device)
        self._recent = torch.zeros(int(delay.max()) + 1, n, len(delay), device=device)  # the newest first
        self.last_action = torch.zeros(n, self.bodies.n_actions, device=device)
        self.frame = torch.zeros(n, dtype=torch.int64, device=device)
        self.end = torch.zeros_like(self.frame)
        self.error, self.begins = torch.zeros(n, device=device), torch.ones(n, device=device)

    @property
    def n_observed(self) -> int:
        """Features of one observation."""
        return len(self._features)

    def begin(self, which: Tensor) -> None:
        """Start episodes of some bodies, a mask of shape (n,), at random frames."""
        pick = torch.randint(len(self._frames), which.shape, device=self.device)
        self.frame = torch.where(which, self._frames[pick], self.frame)
        self.end = torch.where(which, self._ends[pick], self.end)
        for name, rows in self._first.items():
            self._now[name].copy_(torch.where(which[:, None], rows[pick], self._now[name]))
        self.last_action = torch.where(which[:, None], 0.0, self.last_action)
        self._recent = torch.where(which[:, None], self._sense(), self._recent)
        self.begins = which.float()

    def observe(self) -> Tensor:
        """Return what has reached the networks of all bodies, shape (n, n_features)."""
        return self._recent[self._delay, :, self._features].T

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Advance all bodies.

        Returns
        -------
        reward : Tensor, shape (n, n_parts)
        terminated, truncated : Tensor of bool, shape (n,)
        """
        self.last_action = action
        self._now["action"].copy_(action)
        if self.settings.motor_noise:
            self._now["gain"].normal_(1.0, self.settings.motor_noise)
        self.bodies.advance()
        self.frame = self.frame + 1
        self._recent = torch.cat([self._sense()[None], self._recent[:-1]])
        sensors, activation = self._now["sensors"], self._now["activation"]
        apart = sensors[:, self._points] - self._keypoints[self.frame]
        distances = torch.linalg.vector_norm(apart.reshape(len(apart), -1, 3), dim=2)
        self.error = distances.mean(dim=1)
        joint_error = sensors[:, self._joints] - self._angles[self.frame]
        effort = activation if activation.shape[1] else action
        reward = self._reward(joint_error, distances, effort, torch.exp)
        terminated = self.error > self.settings.max_error
        return reward, terminated, ~terminated & (self.frame >= self.end)

    def _sense(self) -> Tensor:
        """Return what leaves the bodies now, with the noise of their sensors."""
        ahead = self.frame[:, None] + torch.arange(1, self.settings.look_ahead + 1, device=self.device)
        goals = self._angles[torch.minimum(ahead, self.end[:, None])].flatten(1)
        muscles = self._now["sensors"][:, self._muscles]
        observed = torch.cat([goals, muscles, self.last_action, self._now["activation"]], dim=1)
        return observed if self._noise is None else observed + self._noise * torch.randn_like(observed)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that the next step depends on except random numbers, as named arrays."""
        own = {name: getattr(self, name).numpy(force=True).copy() for name in STATE}
        return {**own, **self.bodies.state()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        bodies = dict(state)
        for name in STATE:
            setattr(self, name, torch.tensor(bodies.pop(name), device=self.device))
        self.bodies.restore(bodies)


class DeviceVecEnv(ImitationVecEnv):
    """:class:`DeviceImitation` for stable-baselines3, which sets it up and does not advance it."""

    task: Any

    def reset(self) -> NDArray[np.float32]:
        """Start all episodes again."""
        self.task.begin(torch.ones_like(self.task.begins, dtype=torch.bool))
        observed: NDArray[np.float32] = self.task.observe().numpy(force=True)
        return observed


class Experience:
    """Experience on a device, of which stable-baselines3's ``PPO.train`` takes batches.

    Rewards, values and advantages are those of the parts of the body, see
    :class:`~neurobench_grasp.controllers.training._PartsBuffer`.

    Parameters
    ----------
    *shapes, n_envs
        Not used: shapes are those of what is added.
    device : torch.device
    gamma, gae_lambda : float
    moved_parts : ndarray of bool, shape (n_actions, n_parts)

    Attributes
    ----------
    values, returns : ndarray
        Copies of which stable-baselines3 computes the explained variance.
    """

    def __init__(
        self,
        *shapes: Any,
        device: torch.device,
        gamma: float,
        gae_lambda: float,
        moved_parts: Bools,
        n_envs: int | None = None,
    ) -> None:
        self._gamma, self._gae_lambda = gamma, gae_lambda
        self._moved = torch.tensor(moved_parts, dtype=torch.float32, device=device)

    def reset(self, memory: Tensor) -> None:
        """Begin an iteration in which networks have this memory, (n, memory_size)."""
        self._memory, self._steps = memory, list[tuple[Tensor, ...]]()

    def add(self, *step: Tensor) -> None:
        """Store one step: observations, actions, rewards, starts of episodes, values, log-probabilities."""
        self._steps.append(step)

    def finish(self, last_values: Tensor, last_starts: Tensor) -> None:
        """Compute the advantages of the actions, the sum over the parts that each moves, and the returns."""
        observed, actions, rewards, starts, values, log_probs = (
            torch.stack(column) for column in zip(*self._steps, strict=True)
        )
        decay = self._gamma, self._gae_lambda
        by_part = torch.stack(part_advantages(rewards, values, starts, last_values, last_starts, *decay))
        returns, advantages = by_part + values, by_part @ self._moved.T
        self._columns = observed, starts[..., None], actions, values, log_probs, advantages, returns
        self.values, self.returns = (column.numpy(force=True) for column in (values, returns))

    def get(self, batch_size: int) -> Iterator[RolloutBufferSamples]:
        """Yield batches of steps in random order or, of networks with a memory, of whole sequences."""
        n_steps, n = self._columns[0].shape[:2]
        n_batches = max(n_steps * n // batch_size, 1)
        sequences = self._memory.shape[1] > 0
        columns = self._columns if sequences else tuple(column.flatten(0, 1) for column in self._columns)
        order = torch.randperm(n if sequences else n_steps * n, device=self._moved.device)
        for which in order.tensor_split(n_batches):
            batch = (column[:, which] if sequences else column[which] for column in columns)
            observed, starts, actions, values, log_probs, advantages, returns = batch
            seen: Any = Sequences(observed, self._memory[which], starts) if sequences else observed
            yield RolloutBufferSamples(
                seen, actions, values.flatten(), log_probs, advantages, returns.flatten()
            )

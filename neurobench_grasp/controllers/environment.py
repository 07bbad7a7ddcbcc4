"""The imitation task: a batch of bodies, for stable-baselines3 and for Gymnasium."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from neurobench_grasp.bodies import keypoint_distances
from neurobench_grasp.contract import Body, Bools, Floats, Ints
from neurobench_grasp.controllers.network import normalisation, observation, stream_sizes
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.senses import Senses, noisy_action
from neurobench_grasp.controllers.settings import ControllerSettings


def _mean_over_parts(of_part: Bools) -> Floats:
    """Return the matrix that averages over the members of each part, (n, n_parts)."""
    mean: Floats = of_part / np.maximum(of_part.sum(axis=0), 1)
    return mean


class Reward:
    """Reward of each part of a body, computed from arrays of numpy or tensors of torch.

    Parameters
    ----------
    body : Body
    action : str
        ``muscle`` or ``torque``.
    settings : ControllerSettings
    convert : callable
        Applied to each constant array, such as one that copies it to a device.
    """

    def __init__(
        self,
        body: Body,
        action: str,
        settings: ControllerSettings,
        convert: Callable[[NDArray[Any]], Any] = lambda array: array,
    ) -> None:
        of_keypoint = _mean_over_parts(
            np.array([[name in part.keypoints for part in body.parts] for name in body.keypoints])
        )
        self._settings = settings
        self._of_action = convert(_mean_over_parts(body.moved_parts(action)))
        self._of_joint = convert(_mean_over_parts(body.moved_parts("torque")))  # a motor at each joint
        self._of_keypoint = convert(of_keypoint)
        self._has_keypoints = convert(np.asarray(of_keypoint.any(axis=0)))

    def __call__(self, joint_error: Any, distances: Any, effort: Any, exp: Callable[[Any], Any]) -> Any:
        """Return the rewards, shape (n, n_parts).

        Parameters
        ----------
        joint_error : array, shape (n, n_joints)
            rad.
        distances : array, shape (n, n_keypoints)
            m.
        effort : array, shape (n, n_actions)
            Activation of the muscles, or actions of motors.
        exp : callable
            Exponential function of these arrays.
        """
        s = self._settings
        joint = joint_error**2 @ self._of_joint
        return (
            s.joint_weight * exp(-joint / s.joint_scale**2)
            + s.keypoint_weight
            * self._has_keypoints
            * exp(-(distances @ self._of_keypoint) / s.keypoint_scale)
            - s.effort_weight * (effort**2 @ self._of_action)
        )


def sensor_noise(reference: Reference, action: str, settings: ControllerSettings) -> Floats | None:
    """Return the standard deviation of the noise of each feature, (n_features,); ``None`` without noise."""
    if not settings.sensor_noise:
        return None
    _, scale = normalisation(action, settings, reference)
    sizes = stream_sizes(reference.body, action, settings)
    noisy = np.repeat([name == "proprioception" for name in sizes], list(sizes.values()))
    noise: Floats = settings.sensor_noise * scale * noisy
    return noise


class Imitation:
    """A batch of bodies that imitate random segments of reference movements.

    An episode starts at a random frame in the reference's posture and velocity. It is terminated when the
    mean keypoint distance exceeds ``max_error`` and truncated at the trial's last frame. Observations are as
    late as the settings say, with their noise on sensors and commands.

    Parameters
    ----------
    reference : Reference
    action : str
        ``muscle`` or ``torque``.
    n : int
        Number of bodies.
    settings : ControllerSettings
    seed : int
    threads : int, optional
        Default: the usable cores.

    Attributes
    ----------
    error : ndarray, shape (n,)
        Mean keypoint distance after the last step, metres.
    """

    def __init__(
        self,
        reference: Reference,
        action: str,
        n: int,
        settings: ControllerSettings,
        *,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.reference, self.settings, self.action = reference, settings, action
        body = reference.body
        self.senses = Senses(body, action, n, settings)
        self._noise = sensor_noise(reference, action, settings)
        self.bodies = body.simulate(action, n, threads=threads, physics_steps=settings.physics_steps)
        self.rng = np.random.default_rng(seed)
        self.frame = np.zeros(n, np.int64)
        self.end = np.zeros(n, np.int64)
        self.last_action = np.zeros((n, self.bodies.n_actions))
        self.error = np.zeros(n)
        self.moved_parts = body.moved_parts(action)
        self._reward = Reward(body, action, settings)

    @property
    def n_observed(self) -> int:
        """Features of one observation."""
        return int(self.observe().shape[1])

    def begin(self, which: Ints) -> None:
        """Start episodes of some bodies at random frames."""
        frames, ends = self.reference.starts
        pick = self.rng.integers(len(frames), size=len(which))
        self.frame[which], self.end[which] = frames[pick], ends[pick]
        at = self.frame[which]
        self.bodies.start(which, self.reference.joint_angles[at], self.reference.joint_velocity[at])
        self.last_action[which] = 0.0
        self.senses.start(which, self._sense()[which])

    def observe(self) -> Floats:
        """Return what has reached the networks of all bodies, shape (n, n_features)."""
        return self.senses.received(len(self.frame))

    def step(self, action: Floats) -> tuple[Floats, Bools, Bools]:
        """Advance all bodies.

        Returns
        -------
        reward : ndarray, shape (n, n_parts)
            For each part of the body; the reward of the task is their mean.
        terminated, truncated : ndarray of bool, shape (n,)
        """
        self.last_action = np.array(action, np.float64)  # what was commanded, not what noise made of it
        noise = self.settings.motor_noise
        self.bodies.step(noisy_action(self.action, self.last_action, noise, self.rng) if noise else action)
        self.frame += 1
        self.senses.receive(self._sense())
        distances = keypoint_distances(self.bodies.keypoints, self.reference.keypoints[self.frame])
        self.error = distances.mean(axis=1)
        terminated = self.error > self.settings.max_error
        effort = self.bodies.activation if self.bodies.activation.shape[1] else self.last_action
        joint_error = self.bodies.joint_angles - self.reference.joint_angles[self.frame]
        reward = self._reward(joint_error, distances, effort, np.exp)
        return reward, terminated, ~terminated & (self.frame >= self.end)

    def _sense(self) -> Floats:
        """Return what leaves the bodies now, with the noise of their sensors."""
        goals = self.reference.goals(self.frame, self.end, self.settings.look_ahead)
        observed = observation(self.bodies, goals, self.last_action)
        if self._noise is not None:
            observed += self._noise * self.rng.standard_normal(observed.shape)
        return observed

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that the next step depends on except random numbers, as named arrays."""
        own = {"frame": self.frame, "end": self.end, "last_action": self.last_action, "error": self.error}
        return {**{k: v.copy() for k, v in own.items()}, **self.bodies.state(), **self.senses.state()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        for name in ("frame", "end", "last_action", "error"):
            setattr(self, name, state[name].copy())
        self.bodies.restore(state)
        self.senses.restore(state)


def _spaces(task: Imitation) -> tuple[spaces.Box, spaces.Box]:
    observed = spaces.Box(-np.inf, np.inf, (task.n_observed,), np.float32)
    return observed, spaces.Box(-1.0, 1.0, (task.bodies.n_actions,), np.float32)


class ImitationVecEnv(VecEnv):
    """:class:`Imitation` for stable-baselines3: batched, without Python code per environment.

    Parameters
    ----------
    task : Imitation
    by_part : bool
        Return a reward for each part of the body, (n, n_parts), as
        :func:`neurobench_grasp.controllers.training.make_ppo` requires, instead of their mean;
        stable-baselines3's own wrappers expect the mean.
    """

    render_mode = None

    def __init__(self, task: Imitation, *, by_part: bool = False) -> None:
        self.task, self.by_part = task, by_part
        super().__init__(len(task.frame), *_spaces(task))
        self._action: Floats = task.last_action

    def reset(self) -> NDArray[np.float32]:
        """Start all episodes again."""
        self.task.begin(np.arange(self.num_envs))
        return self.task.observe().astype(np.float32)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Store the actions of the next step."""
        self._action = actions

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], Bools, list[dict[str, Any]]]:
        """Advance; ended episodes restart, and their last observation is in ``infos``."""
        reward, terminated, truncated = self.task.step(self._action)
        observed = self.task.observe().astype(np.float32)
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(done)
        if len(ended):
            for i in ended:
                infos[i] = {
                    "terminal_observation": observed[i].copy(),
                    "TimeLimit.truncated": bool(truncated[i]),
                }
            self.task.begin(ended)
            observed[ended] = self.task.observe()[ended]
        return observed, (reward if self.by_part else reward.mean(axis=1)).astype(np.float32), done, infos

    def close(self) -> None:
        """Shut down the simulation's threads."""
        self.task.bodies.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the batch, once per requested environment."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the whole batch."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Raise: the hands of a batch are not separate environments."""
        raise NotImplementedError("The bodies of a batch are not separate environments.")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Report that no environment is wrapped."""
        return [False] * len(list(self._get_indices(indices)))

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the choice of episodes."""
        self.task.rng = np.random.default_rng(seed)
        return [seed] * self.num_envs


class ImitationEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """:class:`Imitation` with one body, for tools that use Gymnasium."""

    metadata = {"render_modes": []}  # noqa: RUF012  (Gymnasium's own convention)

    def __init__(
        self, reference: Reference, action: str = "muscle", settings: ControllerSettings | None = None
    ) -> None:
        self.task = Imitation(reference, action, 1, settings or ControllerSettings(), threads=1)
        self.observation_space, self.action_space = _spaces(self.task)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode at a random frame."""
        super().reset(seed=seed)
        if seed is not None:
            self.task.rng = np.random.default_rng(seed)
        self.task.begin(np.zeros(1, np.int64))
        return self.task.observe()[0].astype(np.float32), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Advance; ``info`` contains ``keypoint_error`` in metres."""
        reward, terminated, truncated = self.task.step(np.clip(action, -1.0, 1.0)[None].astype(np.float64))
        info = {"keypoint_error": float(self.task.error[0])}
        observed = self.task.observe()[0].astype(np.float32)
        return observed, float(reward.mean()), bool(terminated[0]), bool(truncated[0]), info

    def close(self) -> None:
        """Shut down the simulation's thread."""
        self.task.bodies.close()

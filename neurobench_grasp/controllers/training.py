"""Train a controller by PPO (stable-baselines3) or by an expert; it resumes to the same network."""

from __future__ import annotations

import copy
import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from neurobench_grasp.bodies import action_of, computed_muscle_control, unstable
from neurobench_grasp.contract import Body, Bools, Floats, Progress, Trials
from neurobench_grasp.controllers.advantages import part_advantages
from neurobench_grasp.controllers.closed_loop import run_closed_loop, window_error
from neurobench_grasp.controllers.device import DeviceImitation, DeviceVecEnv, Experience, torch_device
from neurobench_grasp.controllers.environment import Imitation, ImitationVecEnv
from neurobench_grasp.controllers.files import read_arrays, write_arrays
from neurobench_grasp.controllers.network import Network, Sequences, initial_network, one_torch_thread
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.threads import usable_cores

CHECKPOINT = "training.safetensors"
CHECKPOINT_SECONDS = 30.0
LOGGED = 10  # iterations between rows of TensorBoard's log
CURVE_STEPS = 100_000  # training steps between points of the learning curve
AHEAD = 3  # control steps in which computed muscle control leads a body to the posture that is then its goal


class _Policy(ActorCriticPolicy):
    """The network as stable-baselines3's policy, with a separate probability for every action."""

    def __init__(self, *args: Any, network: Network, final_log_std: float, **kwargs: Any) -> None:
        self._given = [network]  # in a list: a module cannot be registered before the base class is set up
        self.final_log_std = final_log_std
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        self.network = self._given[0]
        self.log_std = nn.Parameter(torch.tensor(self.log_std_init), requires_grad=False)  # is scheduled
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr_schedule(1.0), eps=1e-5, fused=True)

    def explore(self, done: float) -> None:
        """Set the spread of exploration after this share of the schedule."""
        self.log_std.data.fill_(self.log_std_init + (self.final_log_std - self.log_std_init) * done)

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Draw actions, (n, n_actions); return them, values, (n, n_parts), and log-probabilities."""
        actions, values, log_prob, _ = self.draw(self.network.one_step(obs), deterministic)
        return actions, values, log_prob

    def draw(self, seen: Sequences, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw the actions of one step, as :meth:`forward`; return the memory after it, too."""
        mean, values, memory = self.network(seen)
        actions = mean if deterministic else mean + self.log_std.exp() * torch.randn_like(mean)
        return actions[0], values[0], self._log_prob(actions, mean)[0], memory

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return values, log-probabilities and the entropy, which is constant and so reported as zero.

        ``obs`` are :class:`Sequences`, with actions of shape (n_steps, n, n_actions), or observations of
        separate steps, (n, n_features).
        """
        if isinstance(obs, Sequences):
            mean, values, _ = self.network(obs)
        else:
            mean, values = (out[0] for out in self.network(self.network.one_step(obs))[:2])
        return values, self._log_prob(actions, mean), mean.new_zeros(1)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self.forward(observation, deterministic)[0]

    def predict_values(self, obs: Any) -> Any:
        """Return values as an array, because stable-baselines3 adds them to rewards, which are arrays."""
        seen = obs if isinstance(obs, Sequences) else self.network.one_step(obs)
        return self.network.values(seen)[0].numpy()

    def _log_prob(self, actions: Tensor, mean: Tensor) -> Tensor:
        """Return the log-probability of each action, up to a constant."""
        return -0.5 * ((actions - mean) / self.log_std.exp()) ** 2 - self.log_std


class _PartsBuffer(RolloutBuffer):
    """Experience with a reward for each part of the body and an advantage for each action.

    An action's advantage is the sum of the advantages of the parts that it moves: the reward of other parts
    carries little information about it and is mostly noise (Wu et al. 2018, action-dependent factorised
    baselines; Spooner et al. 2021, factored policy gradients). Its probability ratio is clipped separately,
    because the joint ratio of many actions leaves the clipping range at once (Han & Sung 2019). Two effects
    are neglected: those through other joints, such as the wrist, whose posture changes the length of the
    digits' muscles, and through the end of an episode, which the mean over all keypoints decides.
    """

    def __init__(self, *args: Any, moved_parts: Bools, **kwargs: Any) -> None:
        self.moved_parts = moved_parts.astype(np.float32)
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Allocate the arrays of the next iteration."""
        super().reset()
        n_actions, n_parts = self.moved_parts.shape
        self.rewards, self.values = (self._room(n_parts) for _ in range(2))
        self.log_probs = self._room(n_actions)

    def _room(self, n: int) -> NDArray[np.float32]:
        return np.zeros((self.buffer_size, self.n_envs, n), np.float32)

    def add(
        self,
        obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        episode_start: NDArray[Any],
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """Store one step of all bodies."""
        at = self.pos
        self.observations[at], self.actions[at], self.rewards[at] = obs, action, reward
        self.episode_starts[at], self.values[at], self.log_probs[at] = episode_start, value, log_prob
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: Any, dones: NDArray[Any]) -> None:
        """Compute generalised advantage estimates for each part, then sum them for each action."""
        ends = dones.astype(np.float32)
        steps = self.rewards, self.values, self.episode_starts
        by_part = part_advantages(*steps, last_values, ends, self.gamma, self.gae_lambda)
        advantages = np.stack(by_part)
        self.returns = advantages + self.values
        self.advantages = advantages @ self.moved_parts.T

    def _get_samples(self, batch_inds: NDArray[Any], env: Any = None) -> RolloutBufferSamples:
        columns = (
            self.observations, self.actions, self.values, self.log_probs, self.advantages, self.returns,
        )  # fmt: skip
        samples = RolloutBufferSamples(*(self.to_torch(column[batch_inds]) for column in columns))
        flat = {"old_values": samples.old_values.flatten(), "returns": samples.returns.flatten()}
        return samples._replace(**flat)  # stable-baselines3 flattens the values that these are compared with


class _SequencesBuffer(_PartsBuffer):
    """Experience of networks with a memory: samples are whole sequences, with the memory they began with."""

    memory: Tensor

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples]:
        """Yield batches of whole sequences in random order, about ``batch_size`` steps in each."""
        order = np.random.permutation(self.n_envs)
        n_batches = max(self.n_envs * self.buffer_size // (batch_size or self.buffer_size), 1)
        for bodies in np.array_split(order, n_batches):
            yield self._get_samples(bodies)

    def _get_samples(self, batch_inds: NDArray[Any], env: Any = None) -> RolloutBufferSamples:
        first = self.episode_starts[:, batch_inds, None]
        seen = Sequences(
            self.to_torch(self.observations[:, batch_inds]), self.memory[batch_inds], self.to_torch(first)
        )
        columns = (self.actions, self.values, self.log_probs, self.advantages, self.returns)
        actions, values, log_probs, advantages, returns = (self.to_torch(c[:, batch_inds]) for c in columns)
        observations: Any = seen  # the policy is ours and knows
        return RolloutBufferSamples(
            observations, actions, values.flatten(), log_probs, advantages, returns.flatten()
        )


def train(
    trials: Trials,
    action: str,
    seed: int,
    steps: int,
    folder: Path,
    *,
    settings: ControllerSettings,
    body: Body | None = None,
    expert: Network | None = None,
    monitor: Mapping[str, Trials] | None = None,
    progress: Progress = lambda text: None,
    threads: int | None = None,
    device: str = "cpu",
) -> tuple[Network, dict[str, Any]]:
    """Train one network on the training trials.

    Parameters
    ----------
    trials : Trials
        Training trials.
    action : str
        ``muscle`` or ``torque``.
    seed : int
    steps : int
        Control steps of experience.
    folder : path
        Folder of the checkpoint from which an interrupted run resumes, and of TensorBoard's log.
    settings : ControllerSettings
    body : Body, optional
        The body that moves. Default: that of the trials.
    expert : Network, optional
        With the same observations and actions, in float32; its actions are learned, not what earns reward.
    monitor : mapping of str to Trials, optional
        Trials whose tracking error is recorded in the learning curve. Nothing depends on it.
    progress : callable
    threads : int, optional
        Of the simulation and of torch. Default: the usable cores.
    device : str
        ``cpu``, where MuJoCo C simulates; ``cuda`` or ``cuda:1``, where MuJoCo Warp does; or ``cpu-warp``,
        its CPU backend.

    Returns
    -------
    network : Network
        In float32, on the CPU.
    facts : dict
        For the card: ``steps``, ``curve`` (list of steps and mm per monitor), ``threads``, ``wall_time_s``,
        ``body``, ``device``, and a digest of the ``expert``'s weights.

    Raises
    ------
    NgbError
        If there is no such device, or the extra ``gpu`` is not installed.
    """
    threads = threads or threads_of(folder) or usable_cores()
    torch.set_num_threads(threads)
    reference = Reference.of(
        trials, settings.margin_steps, at_least=settings.least_movements, seed=seed, body=body
    )
    network = initial_network(action, settings, seed, trials, body)
    task: Imitation | DeviceImitation
    if device == "cpu":
        task = Imitation(reference, action, settings.n_envs, settings, seed=seed, threads=threads)
    else:
        progress(f"preparing {settings.n_envs} bodies on {device}; the first time, Warp compiles its kernels")
        task = DeviceImitation(reference, action, settings.n_envs, settings, torch_device(device))
    ppo = make_ppo(task, network, seed, settings, folder, expert)
    identity = {
        "action": action, "seed": seed, "steps": steps, "settings": asdict(settings),
        "trials": trials.sha256, "threads": threads,
        **({} if reference.body.name == trials.body else {"body": reference.body.name}),
        **({} if device == "cpu" else {"device": device}),
        **({} if expert is None else {"expert": _digest(expert)}),
    }  # fmt: skip
    log = _StatusCallback(ppo, task, identity, folder, monitor or {}, progress)
    log.resume()
    if ppo.num_timesteps < steps:
        with log.interruptible():
            ppo.learn(
                steps - ppo.num_timesteps,
                callback=log,
                log_interval=LOGGED,
                reset_num_timesteps=False,
                tb_log_name="ppo",
            )
    log.finish()
    task.bodies.close()
    return network.cpu().eval(), {
        "steps": ppo.num_timesteps,
        "curve": log.curve,
        "threads": threads,
        "wall_time_s": round(log.seconds, 1),
        "body": reference.body.name,
        "device": device,
        **({} if expert is None else {"expert": _digest(expert)}),
    }


def threads_of(folder: Path) -> int | None:
    """Return the threads of an interrupted training, which resumes with as many, wherever it does."""
    path = folder / CHECKPOINT
    return int(json.loads(read_arrays(path)[1]["identity"])["threads"]) if path.exists() else None


def _digest(network: Network) -> str:
    arrays = (tensor.numpy(force=True).tobytes() for tensor in network.state_dict().values())
    return hashlib.sha256(b"".join(arrays)).hexdigest()


def make_ppo(
    task: Imitation | DeviceImitation,
    network: Network,
    seed: int,
    s: ControllerSettings,
    folder: Path,
    expert: Network | None = None,
) -> PPO:
    """Set up proximal policy optimisation of a network on a task, with TensorBoard's log in a folder.

    With an ``expert`` its updates are those of supervised learning, see :class:`_Imitating`.
    """

    def learning_rate(remaining: float) -> float:
        share: float = max(remaining, 0.0) ** s.learning_rate_power
        return s.final_learning_rate + (s.learning_rate - s.final_learning_rate) * share

    algorithm: Callable[..., PPO] = _PPO if expert is None else partial(_Imitating, expert)
    buffer: type[Any] = _PartsBuffer
    environment: type[Any] = ImitationVecEnv
    device = torch.device("cpu")
    if s.has_memory:
        algorithm, buffer = _RecurrentPPO, _SequencesBuffer
    if isinstance(task, DeviceImitation):
        algorithm, buffer, environment, device = _DevicePPO, Experience, DeviceVecEnv, task.device
        if expert is not None and not s.has_memory:
            algorithm = partial(_DeviceImitating, expert.to(device))
    if s.warm_start_steps:
        if expert is not None or task.action != "muscle" or isinstance(task, DeviceImitation):
            raise UnsupportedError(
                "A warm start is for networks that move muscles on the CPU without an expert; set "
                "warm_start_steps to 0."
            )
        algorithm, environment = partial(_WarmStarted, s.warm_start_steps), _ObservedVecEnv
    return algorithm(
        _Policy,
        environment(task, by_part=True),
        rollout_buffer_class=buffer,
        rollout_buffer_kwargs={"moved_parts": task.moved_parts},
        learning_rate=learning_rate,
        n_steps=s.n_steps,
        batch_size=s.batch_size,
        n_epochs=s.n_epochs,
        gamma=s.gamma,
        gae_lambda=s.gae_lambda,
        clip_range=s.clip_range,
        max_grad_norm=s.max_grad_norm,
        policy_kwargs={"network": network, "log_std_init": s.log_std, "final_log_std": s.final_log_std},
        tensorboard_log=str(folder / "tensorboard"),
        seed=seed,
        device=device,
    )


class _PPO(PPO):
    """Proximal policy optimisation that leaves the cores to the simulation while collecting experience."""

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> bool:
        """Collect experience; a second thread of torch would spin on a core used by the simulation."""
        policy: Any = self.policy
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        policy.explore(1 - max(self._current_progress_remaining, 0.0))
        with one_torch_thread(), torch.no_grad():
            return self._collect(*args, **kwargs)

    def _collect(self, *args: Any, **kwargs: Any) -> bool:
        return super().collect_rollouts(*args, **kwargs)


class _Supervised(_PPO):
    """Supervised learning of actions and values in the states that the learner visits.

    That is DAgger (Ross et al. 2011, arXiv:1011.0686) without a store of earlier states, since the simulation
    yields new ones at any time. Experience, optimiser, learning rate and number of updates are those of
    proximal policy optimisation, so that the two differ in what they learn from alone.
    """

    def train(self) -> None:
        """Take one step of the optimiser for each batch of the newest experience."""
        policy: Any = self.policy
        policy.set_training_mode(True)
        self._update_learning_rate(policy.optimizer)
        losses = []
        for _ in range(self.n_epochs):
            for batch in self.rollout_buffer.get(self.batch_size):
                seen = policy.network.one_step(batch.observations)
                wanted, worth = self._targets(batch, seen)
                action, value, _ = policy.network(seen)
                of_action = nn.functional.mse_loss(action, torch.clamp(wanted, -1.0, 1.0))
                loss: Any = of_action + self.vf_coef * nn.functional.mse_loss(value, worth.view_as(value))
                policy.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(policy.parameters(), self.max_grad_norm)
                policy.optimizer.step()
                losses.append(of_action.item())
        self._n_updates += self.n_epochs
        self.logger.record("train/action_error", float(np.mean(losses)))

    def _targets(self, batch: RolloutBufferSamples, seen: Sequences) -> tuple[Tensor, Tensor]:
        """Return the actions, (1, n, n_actions), and the values, n · n_parts in order, that are learned."""
        raise NotImplementedError


class _Imitating(_Supervised):
    """Supervised learning of the actions and values of a network.

    Parameters
    ----------
    expert : Network
        In float32.
    """

    def __init__(self, expert: Network, *args: Any, **kwargs: Any) -> None:
        self.expert = expert
        super().__init__(*args, **kwargs)

    def _targets(self, batch: RolloutBufferSamples, seen: Sequences) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            wanted, worth, _ = self.expert(seen)
        return wanted, worth


class _WarmStarted(_Supervised):
    """Proximal policy optimisation after supervised learning of computed muscle control.

    For some steps the actor learns the actions of computed muscle control, while the critic learns the
    returns of the experience, as in proximal policy optimisation.

    Parameters
    ----------
    steps : int
        Control steps of experience before proximal policy optimisation.
    """

    def __init__(self, steps: int, *args: Any, **kwargs: Any) -> None:
        self.steps, self.warming = steps, False
        super().__init__(*args, **kwargs)

    def _collect(self, env: VecEnv, *args: Any, **kwargs: Any) -> bool:
        assert isinstance(env, _ObservedVecEnv)
        self.warming = self.num_timesteps < self.steps
        env.states = [] if self.warming else None
        return super()._collect(env, *args, **kwargs)

    def train(self) -> None:
        """Learn the newest experience."""
        if not self.warming:
            PPO.train(self)
            return
        assert isinstance(self.env, _ObservedVecEnv) and self.env.states is not None
        sensors, goals = (np.concatenate(each) for each in zip(*self.env.states, strict=True))
        task = self.env.task
        seconds = AHEAD * task.reference.body.control_step
        wanted = action_of(computed_muscle_control(task.reference.body, sensors, goals, seconds))
        actions = self.rollout_buffer.actions
        actions[:] = wanted.reshape(actions.shape)
        super().train()

    def _targets(self, batch: RolloutBufferSamples, seen: Sequences) -> tuple[Tensor, Tensor]:
        return batch.actions[None], batch.returns

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """Pass through the schedules: their first half is the warm start, however short it is."""
        learned = max(num_timesteps - self.steps, 0) / max(total_timesteps - self.steps, 1)
        self._current_progress_remaining = 1 - (min(num_timesteps / self.steps, 1.0) + learned) / 2


class _ObservedVecEnv(ImitationVecEnv):
    """The batch, which notes on request the sensors and the goal of all bodies before each step."""

    states: list[tuple[Floats, Floats]] | None = None

    def step_async(self, actions: NDArray[Any]) -> None:
        """Store the actions of the next step, and what computed muscle control depends on."""
        if self.states is not None:
            task = self.task
            goals = task.reference.joint_angles[np.minimum(task.frame + AHEAD, task.end)]
            self.states.append((task.bodies.sensors.copy(), goals))
        super().step_async(actions)


class _RecurrentPPO(_PPO):
    """Proximal policy optimisation of a network with a memory, which lasts from step to step of an episode.

    Only the collection of experience is our own. The update is that of stable-baselines3, on sequences from
    :class:`_SequencesBuffer`. (``RecurrentPPO`` of sb3-contrib masks padded steps with one number per step,
    so that it cannot give credit by part, and its policy contains its own LSTM.)

    Attributes
    ----------
    memory : Tensor, shape (n_envs, memory_size)
        Of the next step, unless that is the first of its episode.
    """

    memory: Tensor

    def _setup_model(self) -> None:
        super()._setup_model()
        network: Any = self.policy.network
        self.memory = network.initial_memory(self.n_envs)

    def _collect(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        policy: Any = self.policy
        observed: Any = self._last_obs
        starts: Any = self._last_episode_starts
        assert isinstance(rollout_buffer, _SequencesBuffer)
        policy.set_training_mode(False)
        rollout_buffer.reset()
        rollout_buffer.memory = self.memory
        callback.on_rollout_start()
        for _ in range(n_rollout_steps):
            actions, values, log_probs, self.memory = policy.draw(self._seen(observed, starts))
            following, rewards, dones, infos = env.step(np.clip(actions.numpy(), -1.0, 1.0))
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            rewards = self._continued(rewards, infos)
            rollout_buffer.add(observed, actions.numpy(), rewards, starts, values, log_probs)
            observed, starts = following, dones
        self._last_obs, self._last_episode_starts = observed, starts
        last_values = policy.predict_values(self._seen(observed, starts))
        rollout_buffer.compute_returns_and_advantage(last_values, starts)
        callback.on_rollout_end()
        return True

    def _seen(self, observed: Any, starts: Any) -> Sequences:
        """Return one step of all bodies."""
        first = torch.as_tensor(np.asarray(starts, np.float32))[None, :, None]
        return Sequences(torch.as_tensor(observed)[None], self.memory, first)

    def _continued(self, rewards: NDArray[Any], infos: list[dict[str, Any]]) -> NDArray[Any]:
        """Add the value of what would have followed where a trial, not the task, ended."""
        ended = [i for i, info in enumerate(infos) if info.get("TimeLimit.truncated")]
        if not ended:
            return rewards
        policy: Any = self.policy
        last = torch.as_tensor(np.stack([infos[i]["terminal_observation"] for i in ended]))
        rewards = rewards.copy()
        rewards[ended] += self.gamma * policy.predict_values(
            policy.network.one_step(last, self.memory[ended])
        )
        return rewards


class _DevicePPO(_RecurrentPPO):
    """Proximal policy optimisation with experience on a device, of networks with or without memory."""

    def _collect(self, env: Any, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int) -> bool:
        policy: Any = self.policy
        task, network = env.task, policy.network
        policy.set_training_mode(False)
        rollout_buffer.reset(self.memory)
        callback.on_rollout_start()
        for _ in range(n_rollout_steps):
            seen = self._now(task)
            actions, values, log_probs, self.memory = policy.draw(seen)
            rewards, terminated, truncated = task.step(torch.clamp(actions, -1.0, 1.0))
            self.num_timesteps += env.num_envs
            if not callback.on_step():
                return False
            onwards = network.values(network.one_step(task.observe(), self.memory))[0]
            rewards = rewards + self.gamma * truncated[:, None] * onwards  # a trial, not the task, ended
            rollout_buffer.add(seen.observed[0], actions, rewards, task.begins, values, log_probs)
            task.begin(terminated | truncated)
        rollout_buffer.finish(network.values(self._now(task))[0], task.begins)
        if not np.isfinite(rollout_buffer.returns).all():  # here, since steps do not wait for the device
            raise unstable(task.reference.body.name)
        callback.on_rollout_end()
        return True

    def _now(self, task: DeviceImitation) -> Sequences:
        return Sequences(task.observe()[None], self.memory, task.begins[None, :, None])


class _DeviceImitating(_Imitating, _DevicePPO):
    """Supervised learning whose experience stays on the device of the task."""


class _StatusCallback(BaseCallback):
    """Checkpoints, learning curve and status messages between iterations."""

    def __init__(
        self,
        ppo: PPO,
        task: Imitation | DeviceImitation,
        identity: Mapping[str, Any],
        folder: Path,
        monitor: Mapping[str, Trials],
        progress: Progress,
    ) -> None:
        super().__init__()
        self.ppo, self.task, self.folder, self.monitor, self.progress = ppo, task, folder, monitor, progress
        self.action, self.steps, self.threads = identity["action"], identity["steps"], identity["threads"]
        self.settings = task.settings
        self.identity = json.dumps(identity, sort_keys=True)
        self.curve: list[dict[str, float]] = []
        self.seconds = 0.0
        self._since = self._saved = time.monotonic()
        self._began_at = 0
        self._errors: list[float] = []
        self._stopped = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Save after the current iteration when interrupted; a second Ctrl-C stops at once."""
        if threading.current_thread() is not threading.main_thread():  # signals are only received there
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def stop(number: int, frame: Any) -> None:
            self._stopped = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def resume(self) -> None:
        """Resume from the checkpoint, if there is one of the same training."""
        path = self.folder / CHECKPOINT
        if path.exists():
            arrays, notes = read_arrays(path)
            if notes.get("identity") != self.identity:
                raise NgbError(
                    f"{path} belongs to another training (other data, settings, steps, seed or threads); "
                    "continue with those, or remove it to begin again."
                )
            _restore(self.ppo, self.task, arrays, notes)
            self.curve, self.seconds = json.loads(notes["curve"]), float(notes["seconds"])
            self._began_at = self.ppo.num_timesteps
        self._since = self._saved = time.monotonic()

    def _on_rollout_start(self) -> None:
        done = self.ppo.num_timesteps
        if self._stopped:
            self._save()
            raise KeyboardInterrupt
        if done // CURVE_STEPS >= len(self.curve) and self.monitor:
            self._measure()
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self._save()

    def _on_step(self) -> bool:
        self._errors.append(float(self.task.error.mean()))
        return True

    def _on_rollout_end(self) -> None:
        done = self.ppo.num_timesteps
        elapsed = time.monotonic() - self._since
        rate = (done - self._began_at) / max(elapsed, 1e-9)
        error = 1000 * float(np.mean(self._errors))
        self._errors.clear()
        self.logger.record("imitation/keypoint_error_mm", error)
        left = max(self.steps - done, 0) / max(rate, 1e-9)
        self.progress(
            f"{done:,} of {self.steps:,} steps ({done / self.steps:.0%}), {left / 60:.1f} min left, "
            f"{rate:,.0f} steps/s, {error:.1f} mm while exploring"
        )

    def finish(self) -> None:
        """Add the last point of the curve and save."""
        if self.monitor and (not self.curve or self.curve[-1]["steps"] != self.ppo.num_timesteps):
            self._measure()
        self._save()

    def _measure(self) -> None:
        network: Any = copy.deepcopy(self.ppo.policy.network).cpu()
        point = {"steps": float(self.ppo.num_timesteps)}
        for name, trials in self.monitor.items():
            reference = Reference.of(trials, body=self.task.reference.body)
            run = run_closed_loop(network, self.action, reference, self.settings, threads=self.threads)
            point[name] = round(window_error(run.keypoints, trials), 3)
        self.curve.append(point)

    def _save(self) -> None:
        now = time.monotonic()
        self.seconds += now - self._since
        self._began_at, self._since, self._saved = self.ppo.num_timesteps, now, now
        arrays, notes = _state(self.ppo, self.task)
        notes |= {"identity": self.identity, "curve": json.dumps(self.curve), "seconds": str(self.seconds)}
        write_arrays(self.folder / CHECKPOINT, arrays, notes)


def _state(ppo: PPO, task: Imitation | DeviceImitation) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return everything that the rest of a training depends on, from network to random numbers."""
    arrays = {f"policy.{k}": v.numpy(force=True) for k, v in ppo.policy.state_dict().items()}
    for i, moments in ppo.policy.optimizer.state_dict()["state"].items():
        arrays |= {f"adam.{i}.{k}": v.numpy(force=True) for k, v in moments.items()}
    arrays |= {f"task.{k}": v for k, v in task.state().items()}
    _, keys, position, *_ = np.random.get_state()
    arrays |= {
        "random.torch": torch.get_rng_state().numpy(),
        "random.numpy": np.append(keys, np.uint32(position)),
        "last.observation": np.asarray(ppo._last_obs),
        "last.episode_start": np.asarray(ppo._last_episode_starts),
    }
    if isinstance(ppo, _RecurrentPPO):
        arrays["memory"] = ppo.memory.numpy(force=True)
    if ppo.device.type == "cuda":
        arrays["random.cuda"] = torch.cuda.get_rng_state(ppo.device).numpy()
    notes = {
        "steps": str(ppo.num_timesteps),
        "updates": str(ppo._n_updates),
    }
    if isinstance(task, Imitation):
        notes["task_random"] = json.dumps(task.rng.bit_generator.state)
    return arrays, notes


def _restore(
    ppo: PPO,
    task: Imitation | DeviceImitation,
    arrays: Mapping[str, NDArray[Any]],
    notes: Mapping[str, str],
) -> None:
    def part(prefix: str) -> dict[str, NDArray[Any]]:
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    def tensors(named: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
        return {k: torch.as_tensor(np.array(v)) for k, v in named.items()}

    ppo.policy.load_state_dict(tensors(part("policy.")))
    optimiser = ppo.policy.optimizer.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors(part("adam.")).items():
        i, _, name = key.partition(".")
        moments.setdefault(int(i), {})[name] = value
    ppo.policy.optimizer.load_state_dict({**optimiser, "state": moments})
    task.restore(part("task."))
    if isinstance(task, Imitation):
        task.rng.bit_generator.state = json.loads(notes["task_random"])
    torch.set_rng_state(torch.as_tensor(np.array(arrays["random.torch"])))
    keys = arrays["random.numpy"]
    np.random.set_state(("MT19937", keys[:-1], int(keys[-1]), 0, 0.0))
    ppo._last_obs = np.array(arrays["last.observation"])
    ppo._last_episode_starts = np.array(arrays["last.episode_start"])
    if isinstance(ppo, _RecurrentPPO):
        ppo.memory = torch.tensor(arrays["memory"], device=ppo.device)
    if ppo.device.type == "cuda":
        torch.cuda.set_rng_state(torch.tensor(arrays["random.cuda"]), ppo.device)
    ppo.num_timesteps, ppo._n_updates = int(notes["steps"]), int(notes["updates"])

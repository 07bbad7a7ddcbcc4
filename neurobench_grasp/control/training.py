"""Training a controller by PPO (stable-baselines3), so that a killed run continues to the same network."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from neurobench_grasp.control.environment import Imitation, ImitationVecEnv
from neurobench_grasp.control.files import read_arrays, write_arrays
from neurobench_grasp.control.loop import run_closed_loop, window_error
from neurobench_grasp.control.network import Network, initial_network
from neurobench_grasp.control.reference import Reference
from neurobench_grasp.control.settings import ControllerSettings
from neurobench_grasp.errors import NgbError
from neurobench_grasp.machine import usable_cores
from neurobench_grasp.types import Progress, Trials

CHECKPOINT = "training.safetensors"
CHECKPOINT_SECONDS = 120.0
CURVE_STEPS = 100_000  # training steps between two points of the learning curve


class _Policy(ActorCriticPolicy):
    """stable-baselines3's policy with our towers in the place of its multilayer perceptron."""

    def __init__(self, *args: Any, network: Network, **kwargs: Any) -> None:
        self._network = [network]  # in a list, so that it is not registered as a module of its own
        super().__init__(*args, **kwargs)
        self.log_std.requires_grad_(False)  # scheduled instead: learned, it falls too slowly
        self.action_net.load_state_dict(network.action.state_dict())
        self.value_net.load_state_dict(network.value.state_dict())

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = self._network[0].towers  # type: ignore[assignment]


def _trained(policy: Any, action: str, settings: ControllerSettings) -> Network:
    with torch.random.fork_rng(devices=[]):  # making one draws random numbers, which training must not miss
        network = Network(action, settings)
    network.towers.load_state_dict(policy.mlp_extractor.state_dict())
    network.action.load_state_dict(policy.action_net.state_dict())
    network.value.load_state_dict(policy.value_net.state_dict())
    return network.eval()


def train(
    trials: Trials,
    action: str,
    seed: int,
    steps: int,
    folder: Path,
    *,
    settings: ControllerSettings,
    monitor: Mapping[str, Trials] | None = None,
    progress: Progress = lambda text: None,
    threads: int | None = None,
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
        Holds the checkpoint from which a killed run continues, and TensorBoard's log.
    settings : ControllerSettings
    monitor : mapping of str to Trials, optional
        Trials whose tracking error is followed in the learning curve. Nothing depends on it.
    progress : callable
    threads : int, optional
        Of the simulation and of torch. Default: the usable cores.

    Returns
    -------
    network : Network
        In float32.
    facts : dict
        For the card: ``steps``, ``curve`` (list of steps and mm per monitor), ``threads``, ``wall_time_s``.
    """
    threads = threads or usable_cores()
    torch.set_num_threads(threads)
    reference = Reference.of(trials, settings.margin_steps)
    network = initial_network(action, settings, seed, trials)
    task = Imitation(reference, action, settings.n_envs, settings, seed=seed, threads=threads)
    ppo = make_ppo(task, network, seed, settings, folder)
    identity = {
        "action": action, "seed": seed, "steps": steps, "settings": asdict(settings),
        "trials": trials.sha256, "threads": threads,
    }  # fmt: skip
    log = _Progress(ppo, task, identity, folder, monitor or {}, progress)
    log.resume()
    if ppo.num_timesteps < steps:
        ppo.learn(steps - ppo.num_timesteps, callback=log, reset_num_timesteps=False, tb_log_name="ppo")
    log.finish()
    task.hands.close()
    return _trained(ppo.policy, action, settings), {
        "steps": ppo.num_timesteps,
        "curve": log.curve,
        "threads": threads,
        "wall_time_s": round(log.seconds, 1),
    }


def make_ppo(task: Imitation, network: Network, seed: int, s: ControllerSettings, folder: Path) -> PPO:
    """Set up proximal policy optimisation of a network on a task, with TensorBoard's log in a folder."""

    def learning_rate(remaining: float) -> float:
        return s.final_learning_rate + (s.learning_rate - s.final_learning_rate) * remaining

    return PPO(
        _Policy,
        ImitationVecEnv(task),
        learning_rate=learning_rate,
        n_steps=s.n_steps,
        batch_size=s.batch_size,
        n_epochs=s.n_epochs,
        gamma=s.gamma,
        gae_lambda=s.gae_lambda,
        clip_range=s.clip_range,
        max_grad_norm=s.max_grad_norm,
        policy_kwargs={
            "network": network,
            "log_std_init": s.log_std,
            "ortho_init": False,
            "optimizer_kwargs": {"fused": True, "eps": 1e-5},
        },
        tensorboard_log=str(folder / "tensorboard"),
        seed=seed,
        device="cpu",
    )


class _Progress(BaseCallback):
    """Checkpoints, the learning curve and what the user is told, at the seams between two iterations."""

    def __init__(
        self,
        ppo: PPO,
        task: Imitation,
        identity: Mapping[str, Any],
        folder: Path,
        monitor: Mapping[str, Trials],
        progress: Progress,
    ) -> None:
        super().__init__()
        self.ppo, self.task, self.folder, self.monitor, self.tell = ppo, task, folder, monitor, progress
        self.action, self.steps, self.threads = identity["action"], identity["steps"], identity["threads"]
        self.settings = task.settings
        self.identity = json.dumps(identity, sort_keys=True)
        self.curve: list[dict[str, float]] = []
        self.seconds = 0.0
        self._since = self._saved = time.monotonic()
        self._began_at = 0
        self._errors: list[float] = []

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one of the very same training."""
        path = self.folder / CHECKPOINT
        if path.exists():
            arrays, notes = read_arrays(path)
            if notes.get("identity") != self.identity:
                raise NgbError(
                    f"{path} belongs to another training (other data, settings, steps, seed or threads); "
                    "give another folder or remove it."
                )
            _restore(self.ppo, self.task, arrays, notes)
            self.curve, self.seconds = json.loads(notes["curve"]), float(notes["seconds"])
            self._began_at = self.ppo.num_timesteps
        self._since = self._saved = time.monotonic()

    def _on_rollout_start(self) -> None:
        done, s = self.ppo.num_timesteps, self.settings
        self.ppo.policy.log_std.data.fill_(s.log_std + (s.final_log_std - s.log_std) * done / self.steps)
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
        left = (self.steps - done) / max(rate, 1e-9)
        self.tell(
            f"training {self.action} controller: {done / 1e6:.2f} of {self.steps / 1e6:.2f} M steps, "
            f"{rate:.0f} steps/s, error {error:.1f} mm while exploring, {left / 60:.0f} min left"
        )

    def finish(self) -> None:
        """Add the last point of the curve and save."""
        if self.monitor and (not self.curve or self.curve[-1]["steps"] != self.ppo.num_timesteps):
            self._measure()
        self._save()

    def _measure(self) -> None:
        network = _trained(self.ppo.policy, self.action, self.settings)
        point = {"steps": float(self.ppo.num_timesteps)}
        for name, trials in self.monitor.items():
            run = run_closed_loop(
                network, self.action, Reference.of(trials), self.settings, threads=self.threads
            )
            point[name] = round(window_error(run.keypoints, trials), 3)
        self.curve.append(point)

    def _save(self) -> None:
        now = time.monotonic()
        self.seconds += now - self._since
        self._began_at, self._since, self._saved = self.ppo.num_timesteps, now, now
        arrays, notes = _state(self.ppo, self.task)
        notes |= {"identity": self.identity, "curve": json.dumps(self.curve), "seconds": str(self.seconds)}
        write_arrays(self.folder / CHECKPOINT, arrays, notes)


def _state(ppo: PPO, task: Imitation) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """All that the rest of a training depends on: network, optimiser, hands and random numbers."""
    arrays = {f"policy.{k}": v.numpy() for k, v in ppo.policy.state_dict().items()}
    for i, moments in ppo.policy.optimizer.state_dict()["state"].items():
        arrays |= {f"adam.{i}.{k}": np.asarray(v) for k, v in moments.items()}
    arrays |= {f"task.{k}": v for k, v in task.state().items()}
    _, keys, position, *_ = np.random.get_state()
    arrays |= {
        "random.torch": torch.get_rng_state().numpy(),
        "random.numpy": np.append(keys, np.uint32(position)),
        "last.observation": np.asarray(ppo._last_obs),
        "last.episode_start": np.asarray(ppo._last_episode_starts),
    }
    notes = {
        "steps": str(ppo.num_timesteps),
        "updates": str(ppo._n_updates),
        "task_random": json.dumps(task.rng.bit_generator.state),
    }
    return arrays, notes


def _restore(ppo: PPO, task: Imitation, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, str]) -> None:
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
    task.rng.bit_generator.state = json.loads(notes["task_random"])
    torch.set_rng_state(torch.as_tensor(np.array(arrays["random.torch"])))
    keys = arrays["random.numpy"]
    np.random.set_state(("MT19937", keys[:-1], int(keys[-1]), 0, 0.0))
    ppo._last_obs = np.array(arrays["last.observation"])
    ppo._last_episode_starts = np.array(arrays["last.episode_start"])
    ppo.num_timesteps, ppo._n_updates = int(notes["steps"]), int(notes["updates"])

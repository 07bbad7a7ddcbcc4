"""Training speed of controllers compared with stable-baselines3 on MyoSuite's hand environment.

    python benchmarks/training.py [--pairs 3] [--seconds 20] [--json] [--only speed | to-9mm]

Both sides: stable-baselines3 PPO with the same settings and about the same network, 50 Hz control, the same
cores, in one run, in alternating pairs; medians of the pairs' ratios. The other side is MyoSuite's
``myoHandPoseRandom-v0`` in ``SubprocVecEnv``, with the number of workers (at most 16) that trains fastest.
Needs the dataset myodm (``ngb data fetch myodm``).

    train_ratio                 training steps per second, this package over the other
    train_ratio_equal_physics   the same with this package's physics at 2 ms
    env_ratio                   environment steps per second without learning, this package over the other
    env_over_raw                the environment's steps per second over bare mujoco.rollout of the same model
    steps_to_9mm                training steps until the error on held-out objects was 9 mm, and how long that
                                took, from the learning curve in the card of the trained network for myodm
    seconds_to_9mm              seconds of training until that error is 9 mm, by the default settings and with
                                a warm start, which advance in turns; the median over seeds of their ratio
                                (and that of processor time), and with --complete that of their errors after
                                the last step. A training that never gets there counts as a whole; one that
                                takes twice as long as the other is stopped then, unless --complete
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from mujoco import rollout
from rich.console import Console
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from neurobench_grasp.bodies.simulator import actuated_model, to_control
from neurobench_grasp.contract import Trials
from neurobench_grasp.controllers.checkpoints import trained_networks
from neurobench_grasp.controllers.closed_loop import run_closed_loop, window_error
from neurobench_grasp.controllers.environment import Imitation, ImitationVecEnv
from neurobench_grasp.controllers.network import initial_network
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import WARM_START, ControllerSettings
from neurobench_grasp.controllers.training import LOGGED, make_ppo
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.dataset import Dataset, load_dataset
from neurobench_grasp.run.train import some_of
from neurobench_grasp.threads import usable_cores

OURS = ControllerSettings()
THEIR_PHYSICS = dataclasses.replace(OURS, physics_steps=10)
BATCH = OURS.n_envs * OURS.n_steps  # experience of one iteration, the same on both sides
WORKERS = (2, 4, 8, 16)
RECIPES = {"default": OURS, "warm_start": WARM_START}
LIMIT_MM = 9.0
LONGEST = 2.0  # times as long as the training that is first at the limit
SLICE = 10_240  # steps by which trainings take turns, and after which the error is measured


def myosuite_env() -> object:
    """Make one environment of MyoSuite; runs in a worker."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    import myosuite  # noqa: F401  (registers the environments)
    from myosuite.utils import gym

    return gym.make("myoHandPoseRandom-v0")


def their_ppo(workers: int) -> PPO:
    env = SubprocVecEnv([myosuite_env] * workers, start_method="forkserver")
    hidden = [3 * OURS.encoder_units, OURS.integration_units, OURS.decoder_units]
    return PPO(
        "MlpPolicy",
        env,
        learning_rate=OURS.learning_rate,
        n_steps=BATCH // workers,
        batch_size=OURS.batch_size,
        n_epochs=OURS.n_epochs,
        gamma=OURS.gamma,
        gae_lambda=OURS.gae_lambda,
        clip_range=OURS.clip_range,
        policy_kwargs={"net_arch": hidden, "activation_fn": torch.nn.ELU, "log_std_init": OURS.log_std},
        seed=0,
        device="cpu",
    )


def our_ppo(trials: Trials, settings: ControllerSettings, folder: Path, seed: int = 0) -> PPO:
    reference = Reference.of(trials, settings.margin_steps, at_least=settings.least_movements, seed=seed)
    task = Imitation(reference, "muscle", settings.n_envs, settings, seed=seed)
    return make_ppo(task, initial_network("muscle", settings, seed, trials), seed, settings, folder)


class Clock(BaseCallback):
    """Records the time at the start of each iteration and ends the training after the given time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.marks: list[tuple[int, float]] = []

    def _on_rollout_start(self) -> None:
        self.marks.append((self.num_timesteps, time.perf_counter()))

    def _on_step(self) -> bool:
        return self.marks[-1][1] - self.marks[0][1] < self.seconds


def training_rate(ppo: PPO, seconds: float) -> float:
    """Return training steps per second over whole iterations, after one to warm up."""
    ppo.learn(BATCH, reset_num_timesteps=True)
    clock = Clock(seconds)
    ppo.learn(10**9, callback=clock, log_interval=LOGGED, reset_num_timesteps=False)
    (first, start), (last, stop) = clock.marks[0], clock.marks[-1]
    return (last - first) / (stop - start)


def stepping_rate(env: VecEnv, seconds: float) -> float:
    """Return environment steps per second with random actions."""
    rng = np.random.default_rng(0)
    actions = np.clip(0.4 * rng.standard_normal((16, env.num_envs, *env.action_space.shape)), -1, 1)
    env.reset()
    return rate(lambda i: env.step(actions[i % 16].astype(np.float32)), env.num_envs, seconds)


def raw_rate(env: ImitationVecEnv, seconds: float) -> float:
    """Return control steps per second of bare ``mujoco.rollout`` with random actions, returning states."""
    import mujoco

    model = actuated_model(env.task.reference.body, "muscle", OURS.physics_steps)
    data = [mujoco.MjData(model) for _ in range(usable_cores())]
    rng = np.random.default_rng(0)
    actions = np.clip(0.4 * rng.standard_normal((16, env.num_envs, model.nu)), -1, 1)
    controls = [to_control(env.task.reference.body, "muscle", a)[:, None] for a in actions]
    env.reset()
    state = env.task.bodies.state()["state"]
    with rollout.Rollout(nthread=len(data)) as pool:

        def step(i: int) -> None:
            states, _ = pool.rollout(model, data, state, controls[i % 16], nstep=OURS.physics_steps)
            state[:] = states[:, -1]

        return rate(step, env.num_envs, seconds)


def rate(step: Callable[[int], object], n: int, seconds: float) -> float:
    for i in range(5):
        step(i)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step(done)
        done += 1
    return done * n / (time.perf_counter() - start)


def steps_to(error_mm: float) -> dict[str, object]:
    """Return the first point of the learning curve of the network for myodm with an error below a limit."""
    for path, card in trained_networks("muscle_ppo"):
        if card.dataset["id"] == "myodm":
            reached = [p for p in card.curve if p["ood"] <= error_mm]
            if reached:
                steps = reached[0]["steps"]
                seconds = card.wall_time_s * steps / card.steps
                return {
                    "steps": steps,
                    "seconds": round(seconds),
                    "threads": card.threads,
                    "network": path.stem,
                }
    return {"steps": None, "reason": "no trained network for myodm reached it"}


class Turns:
    """Lets one of several threads run at a time, one after the other."""

    def __init__(self, n: int) -> None:
        self.gates = [threading.Semaphore(0) for _ in range(n)]
        self.running = set(range(n))
        self.most_seconds = float("inf")  # of a training
        self.gates[0].release()

    def wait(self, i: int) -> None:
        """Wait for the turn of a thread."""
        self.gates[i].acquire()

    def pass_on(self, i: int) -> None:
        """Let the thread after this one run; that may be this one."""
        if self.running:
            following = min(self.running, key=lambda j: (j - i - 1) % len(self.gates))
            self.gates[following].release()

    def leave(self, i: int) -> None:
        """End the last turn of a thread."""
        self.running.discard(i)
        self.pass_on(i)


class Advance(BaseCallback):
    """One training, which advances when it is its turn, until the error is small enough or to its end."""

    def __init__(self, recipe: str, data: Dataset, seed: int, turns: Turns, complete: bool) -> None:
        super().__init__()
        self.recipe, self.seed, self.turns, self.complete = recipe, seed, turns, complete
        self.settings, self.place = RECIPES[recipe], list(RECIPES).index(recipe)
        self.trials, self.held_out = data.behaviour("train", 0.02), data.behaviour("ood", 0.02)
        self.reached: dict[str, float] = {}
        self.curve: list[dict[str, float]] = []
        self.seconds, self.cpu_seconds, self.stop = 0.0, 0.0, False

    def run(self, folder: Path) -> dict[str, object]:
        """Train, and return when the error was small enough, and the curve until then."""
        ppo = our_ppo(self.trials, self.settings, folder, self.seed)
        steps = self.settings.steps_for(ppo.get_env().task.reference.body)
        self.turns.wait(self.place)
        try:
            self._go_on()
            ppo.learn(steps, callback=self, log_interval=LOGGED)
            self._pause()
            final = {"final_mm": round(self.error(self.held_out), 2)} if self.complete else {}
            whole = self._point()
            return {
                "reached": bool(self.reached),
                "to_9mm": self.reached or whole,
                **final,
                "curve": self.curve,
            }
        finally:
            ppo.get_env().close()
            self.turns.leave(self.place)

    def error(self, trials: Trials) -> float:
        """Return the tracking error of the network as it is, mm."""
        network = self.model.policy.network
        return window_error(
            run_closed_loop(network, "muscle", Reference.of(trials), self.settings).keypoints, trials
        )

    def _on_rollout_start(self) -> None:
        if self.num_timesteps % SLICE == 0 and self.num_timesteps:
            self._pause()
            if not self.reached:
                self._measure()
            self.turns.pass_on(self.place)
            self.turns.wait(self.place)
            self._go_on()

    def _on_step(self) -> bool:
        return not self.stop

    def _go_on(self) -> None:
        self.since = time.perf_counter(), time.process_time()  # the other training rests meanwhile

    def _pause(self) -> None:
        self.seconds += time.perf_counter() - self.since[0]
        self.cpu_seconds += time.process_time() - self.since[1]

    def _measure(self) -> None:
        self.curve.append(self._point())
        print(self.recipe, self.seed, self.curve[-1], file=sys.stderr, flush=True)
        if self.curve[-1]["error_mm"] <= LIMIT_MM:
            self.reached = self.curve[-1]
            self.turns.most_seconds = min(self.turns.most_seconds, LONGEST * self.seconds)
        self.stop = not self.complete and (bool(self.reached) or self.seconds > self.turns.most_seconds)

    def _point(self) -> dict[str, float]:
        return {
            "steps": self.num_timesteps,
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "error_mm": round(self.error(some_of(self.held_out)), 2),
        }


def seconds_to_9mm(dataset: str, seeds: Sequence[int], complete: bool, folder: Path) -> dict[str, object]:
    """Train by both recipes in turns, seed after seed."""
    data = load_dataset(load_registry(), dataset)
    by_seed = {}
    for seed in seeds:
        turns, of_network = Turns(len(RECIPES)), data.for_network(seed, None)
        runs = [Advance(recipe, of_network, seed, turns, complete) for recipe in RECIPES]
        with ThreadPoolExecutor(len(runs)) as pool:
            results = list(pool.map(lambda run: run.run(folder / f"{run.recipe}-{run.seed}"), runs))
        by_seed[seed] = dict(zip(RECIPES, results, strict=True))

    def ratio(number: Callable[[dict[str, object]], float]) -> float:
        return round(
            statistics.median(number(r["warm_start"]) / number(r["default"]) for r in by_seed.values()), 3
        )

    return {
        "dataset": dataset,
        "ratio": ratio(lambda r: r["to_9mm"]["seconds"]),
        "cpu_ratio": ratio(lambda r: r["to_9mm"]["cpu_seconds"]),
        **({"ratio_of_final_errors": ratio(lambda r: r["final_mm"])} if complete else {}),
        "cores": usable_cores(),
        "seeds": by_seed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement of speed")
    parser.add_argument("--only", choices=["speed", "to-9mm"])
    parser.add_argument("--dataset", default="myodm", help="of the trainings to 9 mm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings to 9 mm")
    parser.add_argument("--complete", action="store_true", help="continue these trainings to their end")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(usable_cores())
    result: dict[str, object] = {}
    with TemporaryDirectory() as folder:
        if options.only != "to-9mm":
            trials = load_dataset(load_registry(), "myodm").behaviour("train")
            result |= measure(trials, options.pairs, options.seconds, Path(folder))
        if options.only != "speed":
            result["seconds_to_9mm"] = seconds_to_9mm(
                options.dataset, options.seeds, options.complete, Path(folder)
            )
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        Console().print(result)


def measure(trials: Trials, pairs: int, seconds: float, folder: Path) -> dict[str, object]:
    trial_runs = {}
    for workers in WORKERS:
        theirs = their_ppo(workers)
        trial_runs[workers] = training_rate(theirs, seconds / 2)
        theirs.get_env().close()
    best = max(trial_runs, key=trial_runs.__getitem__)
    theirs = their_ppo(best)
    ours, equal = (our_ppo(trials, s, folder) for s in (OURS, THEIR_PHYSICS))
    rows = []
    for _ in range(pairs):
        rows.append(
            {
                "theirs": training_rate(theirs, seconds),
                "ours": training_rate(ours, seconds),
                "ours_equal_physics": training_rate(equal, seconds),
                "their_env": stepping_rate(theirs.get_env(), seconds / 2),
                "our_env": stepping_rate(ours.get_env(), seconds / 2),
                "raw": raw_rate(ours.get_env(), seconds / 2),
            }
        )
    for ppo in (theirs, ours, equal):
        ppo.get_env().close()

    def ratio(a: str, b: str) -> float:
        return round(statistics.median(row[a] / row[b] for row in rows), 3)

    return {
        "train_ratio": ratio("ours", "theirs"),
        "train_ratio_equal_physics": ratio("ours_equal_physics", "theirs"),
        "env_ratio": ratio("our_env", "their_env"),
        "env_over_raw": ratio("our_env", "raw"),
        "steps_to_9mm": steps_to(9.0),
        "workers": best,
        "steps_per_second": {k: round(statistics.median(r[k] for r in rows)) for k in rows[0]},
        "their_training_by_workers": {k: round(v) for k, v in trial_runs.items()},
        "pairs": pairs,
        "cores": usable_cores(),
    }


if __name__ == "__main__":
    main()

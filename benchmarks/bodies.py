"""Speed of the bodies: bare rollouts and training of the planar arm, relative to the hand, in one run.

    python benchmarks/bodies.py [--pairs 5] [--steps 40] [--json]

A batch of each body is advanced by random actions, as in training and without a network; then a network is
trained for a moment on random movements of each body. Both are in control steps of 20 ms per second, on all
usable cores; a ratio is the median over pairs that are measured in turn.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from neurobench_grasp import Ragged, Trials
from neurobench_grasp.bodies import find_body
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.controllers.training import train

BODIES = ("myohand", "planar_arm")
N_BODIES, N_TRIALS, N_STEPS = 128, 40, 100


def rollouts(name: str, n_steps: int) -> float:
    """Control steps per second of a batch that is moved by random muscle excitations."""
    body, rng = find_body(name), np.random.default_rng(0)
    bodies = body.simulate("muscle", N_BODIES)
    start = np.tile(body.neutral, (N_BODIES, 1))
    bodies.start(slice(None), start, np.zeros_like(start))
    actions = rng.uniform(-1, 1, (n_steps + 2, N_BODIES, body.n_actions("muscle")))
    for action in actions[:2]:
        bodies.step(action)
    begin = time.perf_counter()
    for action in actions[2:]:
        bodies.step(action)
    seconds = time.perf_counter() - begin
    bodies.close()
    return N_BODIES * n_steps / seconds


def movements(name: str) -> Trials:
    """Return slow random movements in the middle of the joint limits."""
    body, rng = find_body(name), np.random.default_rng(1)
    low, high = body.joint_limits.T
    time_s = 0.02 * np.arange(N_STEPS)[:, None]
    middle, half = (low + high) / 2, (high - low) / 8
    trials = [
        middle + half * np.sin(2 * np.pi * (rng.uniform(0.2, 0.6, len(low)) * time_s + rng.random(len(low))))
        for _ in range(N_TRIALS)
    ]
    angles = Ragged.of(trials)
    names = tuple(map(str, range(N_TRIALS)))
    window = np.tile([10, N_STEPS - 10], (N_TRIALS, 1))
    return Trials(
        ("random",) * N_TRIALS, names, names, 0.02, window, angles.offsets, {}, angles, {}, body=name
    )


def training(name: str, iterations: int) -> float:
    """Control steps per second of a short training."""
    settings = ControllerSettings()
    steps = iterations * settings.n_envs * settings.n_steps
    with tempfile.TemporaryDirectory() as folder:
        _, facts = train(movements(name), "muscle", 0, steps, Path(folder), settings=settings)
    return steps / facts["wall_time_s"]


def ratio(measured: dict[str, list[float]]) -> float:
    hand, arm = (measured[name] for name in BODIES)
    return median(a / h for a, h in zip(arm, hand, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help="control steps of a rollout")
    parser.add_argument("--iterations", type=int, default=40, help="iterations of a training")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    bare: dict[str, list[float]] = {name: [] for name in BODIES}
    trained: dict[str, list[float]] = {name: [] for name in BODIES}
    for _ in range(wanted.pairs):
        for name in BODIES:
            bare[name].append(rollouts(name, wanted.steps))
            trained[name].append(training(name, wanted.iterations))
    found = {
        "rollout_steps_per_s": {name: round(median(speeds)) for name, speeds in bare.items()},
        "rollout_ratio": round(ratio(bare), 2),
        "training_steps_per_s": {name: round(median(speeds)) for name, speeds in trained.items()},
        "training_ratio": round(ratio(trained), 2),
    }
    if wanted.json:
        print(json.dumps(found, indent=1))
    else:
        for name, value in found.items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()

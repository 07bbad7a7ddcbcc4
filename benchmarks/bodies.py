"""Speed of the bodies relative to the hand, in one run: bare rollouts, and training with --training.

    python benchmarks/bodies.py [--rounds 5] [--steps 40] [--training]

A batch of each body is advanced by random excitations, as in training and without a network, on one thread;
speeds are control steps of 20 ms per second of process time, the best of several rounds in which the bodies
take turns. Bodies that have not been fetched are left out. With ``--training`` a network is trained for a
moment on random movements of the hand and the planar arm, in steps per second of wall time on all usable
cores, the median of the rounds. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from neurobench_grasp import Ragged, Trials
from neurobench_grasp.bodies import find_body
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.controllers.training import train
from neurobench_grasp.errors import NgbError

HAND = "myohand"
BODIES = (HAND, "macaque_arm", "myoarm", "planar_arm")
TRAINED = (HAND, "planar_arm")
N_BODIES, N_TRIALS, N_STEPS = 128, 40, 100


def rollouts(name: str, n_steps: int) -> float:
    """Control steps per second of process time of a batch that is moved by random muscle excitations."""
    body, rng = find_body(name), np.random.default_rng(0)
    bodies = body.simulate("muscle", N_BODIES, threads=1)
    start = np.tile(body.neutral, (N_BODIES, 1))
    bodies.start(slice(None), start, np.zeros_like(start))
    actions = rng.uniform(-1, 1, (n_steps + 2, N_BODIES, body.n_actions("muscle")))
    for action in actions[:2]:
        bodies.step(action)
    begin = time.process_time()
    for action in actions[2:]:
        bodies.step(action)
    seconds = time.process_time() - begin
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


def available(name: str) -> bool:
    try:
        find_body(name)
    except NgbError as error:
        print(error, file=sys.stderr)
        return False
    return True


def ratios(speeds: dict[str, float]) -> dict[str, float]:
    return {name: round(speed / speeds[HAND], 2) for name, speed in speeds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help="control steps of a rollout")
    parser.add_argument("--training", action="store_true", help="measure training, too")
    parser.add_argument("--iterations", type=int, default=40, help="iterations of a training")
    wanted = parser.parse_args()
    names = [name for name in BODIES if available(name)]
    turns = [{name: rollouts(name, wanted.steps) for name in names} for _ in range(wanted.rounds)]
    best = {name: max(turn[name] for turn in turns) for name in names}
    found = {
        "rollout_steps_per_s": {name: round(speed) for name, speed in best.items()},
        "rollout_ratio": ratios(best),
    }
    if wanted.training:
        trained = [
            {name: training(name, wanted.iterations) for name in TRAINED} for _ in range(wanted.rounds)
        ]
        middle = {name: median(turn[name] for turn in trained) for name in TRAINED}
        found["training_steps_per_s"] = {name: round(speed) for name, speed in middle.items()}
        found["training_ratio"] = ratios(middle)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

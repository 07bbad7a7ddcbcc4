"""MuJoCo Warp on a device compared with MuJoCo C on the cores of the same machine.

    python benchmarks/device.py [--device cuda] [--body myohand] [--bodies 4096] [--pairs 3] [--seconds 10]

The same random actions move both from the same postures; then both simulate, and train a network on movements
between random postures, in alternating pairs; medians of the pairs' ratios. MuJoCo C simulates 128 bodies at
once, as in training. Prints JSON:

    deviation_rad   greatest difference of a joint angle during 50 control steps
    sim_ratio       control steps per second, device over MuJoCo C
    train_ratio     training steps per second of PPO with the same settings, except for the number of bodies
    seconds_to_start  from nothing to the first control step on the device, with kernels compiled or cached
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from stable_baselines3 import PPO
from training import rate, training_rate

from neurobench_grasp.bodies import device_simulation, find_body
from neurobench_grasp.contract import Body, Ragged, Simulator
from neurobench_grasp.controllers.device import DeviceImitation, torch_device
from neurobench_grasp.controllers.environment import Imitation
from neurobench_grasp.controllers.network import normalisation, random_network
from neurobench_grasp.controllers.reference import Reference, mixtures
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.controllers.training import make_ppo
from neurobench_grasp.threads import usable_cores

SETTINGS = ControllerSettings()
STEPS, FRAMES = 50, 60


def postures(body: Body, n: int) -> np.ndarray:
    """Return random postures around the neutral one, (n, n_joints)."""
    low, high = body.joint_limits.T
    angles = body.neutral + 0.1 * (high - low) * np.random.default_rng(0).standard_normal((n, len(low)))
    return np.clip(angles, low, high)


def actions(simulator: Simulator, n: int) -> np.ndarray:
    drawn = np.random.default_rng(1).normal(0, 0.4, (STEPS, n, simulator.n_actions))
    return drawn.clip(-1, 1)


def deviation(body: Body, device: str) -> tuple[float, float]:
    """Return the greatest difference of a joint angle, and the seconds until the first step."""
    n = 16
    start = postures(body, n)
    c = body.simulate("muscle", n)
    begun = time.perf_counter()
    warp = device_simulation(body, "muscle", n, device)
    for bodies in (warp, c):
        bodies.start(slice(None), start, np.zeros_like(start))
    apart, seconds = 0.0, 0.0
    for values in actions(c, n):
        for bodies in (warp, c):
            bodies.step(values)
        seconds = seconds or time.perf_counter() - begun
        apart = max(apart, float(abs(warp.joint_angles - c.joint_angles).max()))
    c.close()
    return apart, seconds


def movements(body: Body) -> Reference:
    """Return movements between random postures at constant speed, and mixtures of them."""
    phase = np.linspace(0, 1, FRAMES)[:, None]
    ends = postures(body, 40).reshape(20, 2, -1)
    between = Ragged.of([(1 - phase) * first + phase * last for first, last in ends])
    moved = Ragged.join([between, mixtures(between, 180, 0)])
    velocity = np.concatenate([np.gradient(trial, body.control_step, axis=0) for trial in moved])
    return Reference(moved.values, velocity, moved.offsets, body)


def ppo_on(task: Imitation | DeviceImitation, folder: Path) -> PPO:
    reference = task.reference
    scaled = normalisation("muscle", SETTINGS, reference)
    network = random_network(reference.body, "muscle", SETTINGS, 0, *scaled)
    return make_ppo(task, network, 0, task.settings, folder)


def measure(
    body: Body, device: str, bodies: int, pairs: int, seconds: float, folder: Path
) -> dict[str, object]:
    on, reference = torch_device(device), movements(body)
    apart, to_start = deviation(body, str(on))
    many = dataclasses.replace(SETTINGS, n_envs=bodies)
    task = DeviceImitation(reference, "muscle", bodies, many, on)
    here, there = Imitation(reference, "muscle", SETTINGS.n_envs, SETTINGS), ppo_on(task, folder)
    ppo = ppo_on(here, folder)
    given = actions(here.bodies, SETTINGS.n_envs)
    drawn = torch.tensor(actions(here.bodies, bodies), dtype=torch.float32, device=on)

    def on_device(i: int) -> None:
        task.begin(task.frame >= task.end)
        task.step(drawn[i % STEPS])
        task.error.sum().item()  # waits for the device

    def on_cores(i: int) -> None:
        if len(ended := np.flatnonzero(here.frame >= here.end)):
            here.begin(ended)
        here.step(given[i % STEPS])

    rows = []
    for _ in range(pairs):
        rows.append(
            {
                "device": rate(on_device, bodies, seconds),
                "cores": rate(on_cores, SETTINGS.n_envs, seconds),
                "training on device": training_rate(there, seconds),
                "training on cores": training_rate(ppo, seconds),
            }
        )
    here.bodies.close()

    def ratio(one: str, other: str) -> float:
        return round(statistics.median(row[one] / row[other] for row in rows), 3)

    return {
        "deviation_rad": apart,
        "sim_ratio": ratio("device", "cores"),
        "train_ratio": ratio("training on device", "training on cores"),
        "seconds_to_start": round(to_start, 1),
        "steps_per_second": {k: round(statistics.median(row[k] for row in rows)) for k in rows[0]},
        "body": body.name,
        "bodies": bodies,
        "device": torch.cuda.get_device_name(on) if on.type == "cuda" else device,
        "cores": usable_cores(),
        "pairs": pairs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--body", default="myohand")
    parser.add_argument("--bodies", type=int, default=4096)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    options = parser.parse_args()
    torch.set_num_threads(usable_cores())
    size = options.bodies, options.pairs, options.seconds
    with TemporaryDirectory() as folder:
        result = measure(find_body(options.body), options.device, *size, Path(folder))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

"""Deviation of coarser physics steps from MuJoCo's Euler integration at 2 ms.

    python benchmarks/physics.py [--trials 40] [--seconds 0.5] [--json]

A trained controller (muscle_ppo, seed 0) moves the hand on held-out trials of demo. From states that it
visited, the actions that it took are replayed by plain ``mj_step`` with Euler at 2 ms, and by each candidate,
for as long as a grasp takes. Compared are the keypoints at every control step, in millimetres, and the speed
of bare ``mujoco.rollout``, as a ratio to Euler at 2 ms.
"""

from __future__ import annotations

import argparse
import copy
import json
import time

import mujoco
import numpy as np
from mujoco import rollout
from rich.console import Console

from neurobench_grasp.bodies.myohand import build_myohand
from neurobench_grasp.bodies.simulator import Simulation, actuated_model, to_control
from neurobench_grasp.bodies.spec import CONTROL_STEP
from neurobench_grasp.controllers.closed_loop import run_closed_loop
from neurobench_grasp.controllers.controller import NetworkController
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.dataset import load_dataset
from neurobench_grasp.threads import usable_cores

EULER, IMPLICIT = mujoco.mjtIntegrator.mjINT_EULER, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
REFERENCE = ("Euler", EULER, 10)
CANDIDATES = (
    ("implicitfast", IMPLICIT, 2),
    ("implicitfast", IMPLICIT, 3),
    ("implicitfast", IMPLICIT, 4),
    ("implicitfast", IMPLICIT, 5),
    ("implicitfast", IMPLICIT, 10),
    ("Euler", EULER, 5),
    ("Euler", EULER, 4),
)
Visits = list[tuple[np.ndarray, np.ndarray]]


def visits(n_trials: int) -> Visits:
    """States and actions of the trained controller, step by step, all trials at once."""
    data = load_dataset(load_registry(), "demo")
    model = NetworkController("muscle_ppo", "muscle")
    model.fit(data.behaviour("train"), seed=0)
    ood = data.behaviour("ood")
    trials = ood.select(range(0, len(ood), max(1, len(ood) // n_trials)))
    seen: Visits = []

    def recorded(bodies: Simulation, action: np.ndarray) -> None:
        seen.append((bodies.state()["state"][: len(action)], np.array(action)))
        original(bodies, action)

    original, Simulation.step = Simulation.step, recorded
    try:
        run_closed_loop(model._network, "muscle", Reference.of(trials), model.settings)
    finally:
        Simulation.step = original
    return seen


def model_of(integrator: int, steps: int) -> mujoco.MjModel:
    model = copy.copy(actuated_model(build_myohand(), "muscle", steps))
    model.opt.integrator = integrator
    return model


def replay(seen: Visits, integrator: int, steps: int, horizon: int) -> np.ndarray:
    """Postures at every control step, (n_replays, horizon, 23), by ``mujoco.rollout``."""
    model = model_of(integrator, steps)
    data = [mujoco.MjData(model) for _ in range(usable_cores())]
    angles = []
    with rollout.Rollout(nthread=len(data)) as pool:
        for start in range(10, len(seen) - horizon, horizon // 2):
            n = len(seen[start + horizon - 1][1])
            state, course = seen[start][0][:n], []
            for step in range(horizon):
                control = to_control(build_myohand(), "muscle", seen[start + step][1][:n])[:, None]
                states, _ = pool.rollout(model, data, state, control, nstep=steps)
                state = states[:, -1]
                course.append(state[:, 1:24])
            angles.append(np.stack(course, axis=1))
    return np.concatenate(angles)


def plain(seen: Visits, horizon: int) -> np.ndarray:
    """Postures by plain ``mj_step`` with Euler at 2 ms."""
    model = model_of(*REFERENCE[1:])
    data = mujoco.MjData(model)
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
    angles = []
    for start in range(10, len(seen) - horizon, horizon // 2):
        for i in range(len(seen[start + horizon - 1][1])):
            mujoco.mj_resetData(model, data)
            mujoco.mj_setState(model, data, np.ascontiguousarray(seen[start][0][i]), kind)
            course = []
            for step in range(horizon):
                data.ctrl[:] = to_control(build_myohand(), "muscle", seen[start + step][1][i : i + 1])[0]
                for _ in range(REFERENCE[2]):
                    mujoco.mj_step(model, data)
                course.append(data.qpos.copy())
            angles.append(np.stack(course))
    return np.stack(angles)


def deviation(angles: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Distance of the keypoints over replays and steps, mm."""
    points = [
        build_myohand().keypoint_positions(a.reshape(-1, 23)).reshape(-1, 20, 3) for a in (angles, reference)
    ]
    apart = 1000 * np.linalg.norm(points[0] - points[1], axis=2)
    return {
        "mean_mm": round(float(apart.mean()), 3),
        "p99_mm": round(float(np.percentile(apart, 99)), 3),
        "max_mm": round(float(apart.max()), 2),
    }


def measure(n_trials: int, seconds: float) -> list[dict[str, object]]:
    horizon = round(seconds / CONTROL_STEP)
    seen = visits(n_trials)
    reference = plain(seen, horizon)
    started = time.perf_counter()
    replay(seen, *REFERENCE[1:], horizon)
    slow = time.perf_counter() - started
    rows = []
    for name, integrator, steps in CANDIDATES:
        started = time.perf_counter()
        angles = replay(seen, integrator, steps, horizon)
        speed = slow / (time.perf_counter() - started)
        step_ms = round(1000 * CONTROL_STEP / steps, 2)
        labels = {"integrator": name, "step_ms": step_ms, "speed_over_euler_2ms": round(speed, 2)}
        rows.append({**labels, **deviation(angles, reference), "replays": len(angles)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each replay")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.trials, options.seconds)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        Console().print(rows)


if __name__ == "__main__":
    main()

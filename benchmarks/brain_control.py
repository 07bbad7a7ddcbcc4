"""Speed of brain-control simulation compared with simulating one trial at a time.

    python benchmarks/brain_control.py [--pairs 5] [--commands 4] [--json]

``muscle_ppo`` on the first session of ``demo``: the trials that the protocol runs, under several commands
decoded from M1, in one closed loop; medians over pairs that alternate in one run, on the same cores.

    loop_over_raw    control steps per second of the closed loop, over those of bare ``mujoco.rollout`` of
                     the same hand in the same batches on the same threads, with fixed controls
    loop_over_single the same, over a plain loop of MuJoCo's Python bindings: one trial after the other; at
                     each step decode, compute the network's action, and step the physics
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mujoco
import numpy as np
import torch
from mujoco import rollout
from rich.console import Console

from neurobench_grasp.bodies.myohand import build_myohand
from neurobench_grasp.bodies.simulator import actuated_model, to_control
from neurobench_grasp.bodies.spec import PHYSICS_STEPS
from neurobench_grasp.contract import Decoder, Floats, Goal, Ragged, Trials
from neurobench_grasp.controllers.closed_loop import run_closed_loop
from neurobench_grasp.controllers.controller import NetworkController
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols.brain_control.decoders import decode
from neurobench_grasp.protocols.brain_control.protocol import fitted
from neurobench_grasp.protocols.brain_control.trials import DecodingTrials
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.stages import Unkept
from neurobench_grasp.run.workspace import Workspace
from neurobench_grasp.threads import usable_cores

KIND = "embedding"


class Bench:
    """Trials, commands and a network.

    Parameters
    ----------
    n_commands : int
        Number of simulated copies of each trial.
    """

    def __init__(self, n_commands: int) -> None:
        task = Workspace(load_registry(), Path()).find("muscle_ppo", "demo")
        context = make_context(task, 0, Unkept(), Unkept())
        moves = DecodingTrials.of(context, task.data.sessions[0])
        units = moves.units_of("M1")
        which = np.concatenate([moves.driven["test"], moves.driven["ood"]])
        self.decoder: Decoder = fitted(context, moves, KIND, units)
        self.spikes, self.lead = moves.spikes(units, which), moves.lead
        commands = decode(self.decoder, self.spikes, moves.lead)
        self.single: Trials = moves.trials.select(which)
        self.reference = Reference.of(moves.trials.select(np.tile(which, n_commands)))
        self.goal = Goal(KIND, Ragged.join([commands] * n_commands))
        model = task.candidate.spec.build(0)
        assert isinstance(model, NetworkController)
        model.fit(task.train, seed=0)
        self.network, self.settings = model._network, model.settings

    def steps(self, offsets: Floats) -> int:
        """Return the control steps of trials, including settling."""
        return int(offsets[-1] + (len(offsets) - 1) * self.settings.settle_steps)

    def closed_loop(self) -> float:
        """Return control steps per second of the closed loop."""
        start = time.perf_counter()
        run_closed_loop(self.network, "muscle", self.reference, self.settings, goal=self.goal)
        return self.steps(self.reference.offsets) / (time.perf_counter() - start)

    def raw(self) -> float:
        """Return control steps per second of bare rollouts in batches like those of the closed loop."""
        lengths = np.sort(np.diff(self.reference.offsets))[::-1] + self.settings.settle_steps
        threads = usable_cores()
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(_bare_rollout, [lengths[k::threads] for k in range(threads)]))
        return self.steps(self.reference.offsets) / (time.perf_counter() - start)

    def one_at_a_time(self) -> float:
        """Return control steps per second of a plain loop over trials and steps."""
        torch.set_num_threads(1)
        reference = Reference.of(self.single)
        start = time.perf_counter()
        for trial in range(len(self.single)):
            self._plain_trial(reference, trial)
        return self.steps(reference.offsets) / (time.perf_counter() - start)

    def _plain_trial(self, reference: Reference, trial: int) -> None:
        model = actuated_model(build_myohand(), "muscle", PHYSICS_STEPS)
        data = mujoco.MjData(model)
        first, stop = reference.offsets[trial], reference.offsets[trial + 1]
        data.qpos[:], data.qvel[:] = reference.joint_angles[first], 0.0
        mujoco.mj_forward(model, data)
        self.decoder.reset(1)
        for bin_ in range(self.lead):
            self.decoder.observe(self.spikes[trial][bin_][None])
        action = np.zeros(model.nu)
        for step in range(-self.settings.settle_steps, stop - first):
            at = min(first + max(step, 0), stop - 1)
            ahead = np.minimum(at + np.arange(1, self.settings.look_ahead + 1), stop - 1)
            embedding = self.decoder.observe(self.spikes[trial][self.lead + max(step, 0)][None])
            observed = np.concatenate(
                [reference.joint_angles[ahead].ravel(), data.sensordata[:78], action, data.act]
            )
            with torch.inference_mode():
                observed, memory = torch.as_tensor(observed[None]), self.network.initial_memory(1)
                given, _ = self.network.act(observed, memory, torch.as_tensor(embedding))
            action = given.numpy()[0]
            data.ctrl[:] = to_control(build_myohand(), "muscle", action[None])[0]
            mujoco.mj_step(model, data, nstep=PHYSICS_STEPS)


def _bare_rollout(lengths: Floats) -> None:
    """Step hands with fixed controls for the duration of each trial, returning states."""
    model = actuated_model(build_myohand(), "muscle", PHYSICS_STEPS)
    data = [mujoco.MjData(model)]
    rng = np.random.default_rng(0)
    actions = np.clip(0.4 * rng.standard_normal((16, len(lengths), model.nu)), -1, 1)
    controls = [to_control(build_myohand(), "muscle", a)[:, None] for a in actions]
    state = np.zeros((len(lengths), mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)))
    with rollout.Rollout(nthread=1) as pool:
        for step in range(int(lengths[0])):
            n = int(np.count_nonzero(lengths > step))
            states, _ = pool.rollout(model, data, state[:n], controls[step % 16][:n], nstep=PHYSICS_STEPS)
            state[:n] = states[:, -1]


def measure(bench: Bench, pairs: int) -> dict[str, object]:
    sides: dict[str, Callable[[], float]] = {
        "loop": bench.closed_loop,
        "raw": bench.raw,
        "single": bench.one_at_a_time,
    }
    bench.closed_loop()  # warm up
    rows = [{name: side() for name, side in sides.items()} for _ in range(pairs)]
    return {
        "loop_over_raw": round(statistics.median(r["loop"] / r["raw"] for r in rows), 3),
        "loop_over_single": round(statistics.median(r["loop"] / r["single"] for r in rows), 2),
        "steps_per_second": {name: [round(r[name]) for r in rows] for name in sides},
        "hands": len(bench.reference.offsets) - 1,
        "threads": usable_cores(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--commands", type=int, default=4, help="commands simulated in parallel")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(Bench(options.commands), options.pairs)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        Console().print(result)


if __name__ == "__main__":
    main()

"""Quick models and a protocol for tests of executors; what is computed is counted in files beside this one."""

import os
import time
from pathlib import Path

import numpy as np

from neurobench_grasp import Activations, ModelSpec, ProtocolSpec, Ragged, Scores, hookimpl

HERE = Path(__file__).resolve().parent


def count(what):
    """Append a line; short ones are written at once, also by several processes."""
    with (HERE / "computed").open("a") as file:
        file.write(f"{what}\n")


class Features:
    """Random features of the position; fitting waits as long as a file says so."""

    def __init__(self, name, seed):
        self.name, self.seed = name, seed
        self.weights = np.zeros((2, 4))

    def fit(self, train, *, seed):
        count(f"fit {self.name} {seed} by {os.getpid()}")
        while (HERE / f"hold-{self.name}-{seed}").exists():
            time.sleep(0.05)
        if (HERE / f"full-{self.name}-{seed}").exists():
            (HERE / f"full-{self.name}-{seed}").unlink()
            raise OSError(28, "No space left on device", "/scratch")
        self.weights = np.random.default_rng(seed).standard_normal((2, 4)) * (1 + len(self.name))

    def activations(self, trials):
        position = trials.signals["position"]
        return Activations({"tanh": Ragged(np.tanh(position.values @ self.weights), position.offsets)})

    def state(self):
        return {"weights": self.weights}

    def restore(self, state):
        self.weights = state["weights"]


def nap(context):
    """Score by nothing but waiting."""
    time.sleep(0.2)
    rows = [
        {"metric": "n_trials", "split": "test", "value": len(session.trials)} for session in context.sessions
    ]
    return Scores(rows[:1])


@hookimpl
def ngb_models():
    for name in ("grid_one", "grid_three"):
        yield ModelSpec(name, build=lambda seed, name=name: Features(name, seed), summary="features")


@hookimpl
def ngb_protocols():
    yield ProtocolSpec("nap", version=1, run=nap, summary="waits 0.2 s")

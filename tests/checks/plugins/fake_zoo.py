"""Models that each break one rule of the contract, and one that keeps them all."""

import contextlib
import ctypes
import os
import pickle
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from neurobench_grasp import Activations, ModelCard, ModelSpec, Ragged, Tracking, hookimpl
from neurobench_grasp.bodies.myohand import build_myohand

CARD = ModelCard(
    licence="CC0-1.0",
    authors=("Author",),
    citation="",
    action_space="none",
    training_data=(),
    parameters=46,
    steps=0,
    compute="none",
    seeds=(),
    simulator="none",
)
LEARNED = {}


class Good:
    """Standardised joint angles, smoothed over the past, through random weights."""

    def fit(self, train, *, seed):
        angles = train.joint_angles.values
        self.mean, self.scale = angles.mean(0), angles.std(0) + 1e-3
        self.weights = self.draw(seed)

    def draw(self, seed):
        return np.random.default_rng(seed).standard_normal((23, 8))

    def activations(self, trials):
        return Activations({"hidden": self.of_trials(trials)})

    def of_trials(self, trials):
        return Ragged(np.concatenate([self.of_trial(t) for t in trials.joint_angles]), trials.offsets)

    def of_trial(self, angles):
        hidden = np.tanh((angles - self.mean) / self.scale @ self.weights)
        past = np.concatenate([np.tile(hidden[:1], (2, 1)), hidden])
        return (past[2:] + past[1:-1] + past[:-2]) / 3

    def state(self):
        return {"mean": self.mean, "scale": self.scale, "weights": self.weights}

    def restore(self, state):
        self.mean, self.scale, self.weights = state["mean"], state["scale"], state["weights"]


class Fast(Good):
    """A model in steps of 10 ms."""

    def of_trials(self, trials):
        assert trials.dt == 0.01
        return super().of_trials(trials)


class Bidirectional(Good):
    def of_trial(self, angles):
        hidden = super().of_trial(angles)
        back = np.zeros_like(hidden)
        for step in range(len(hidden) - 2, -1, -1):
            back[step] = 0.9 * back[step + 1] + hidden[step]
        return np.hstack([hidden, back])


class Phase(Good):
    def of_trial(self, angles):
        return np.hstack([super().of_trial(angles), np.linspace(0, 1, len(angles))[:, None]])


class Noisy(Good):
    def of_trial(self, angles):
        return super().of_trial(angles) + 0.1 * np.random.default_rng().standard_normal((len(angles), 8))


class Nan(Good):
    def of_trial(self, angles):
        hidden = super().of_trial(angles)
        hidden[0] = np.log(-np.abs(hidden[0]) * 0) * 0
        return hidden


class LastRow(Good):
    def of_trials(self, trials):
        return Ragged.of([self.of_trial(t)[-1:] for t in trials.joint_angles])


class LastStep(Good):
    def of_trial(self, angles):
        hidden = super().of_trial(angles)
        hidden[:-1] = 0
        return hidden


class Batch(Good):
    def of_trials(self, trials):
        hidden = super().of_trials(trials)
        return Ragged(hidden.values - hidden.values.mean(0), hidden.offsets)


class CarriesOver(Good):
    """A recurrent state that is not reset between the trials of a batch."""

    def of_trials(self, trials):
        hidden, memory = np.array(super().of_trials(trials).values), 0.0
        for row in hidden:
            memory = 0.8 * memory + row.copy()
            row[:] = memory
        return Ragged(hidden, trials.offsets)


class ReadsNwb(Good):
    def fit(self, train, *, seed):
        super().fit(train, seed=seed)
        for path in Path(os.environ["NGB_CACHE"]).rglob("*.nwb"):
            with h5py.File(path) as file:
                self.spikes = file["units/spike_times"][:]


class ReadsDemo(Good):
    def fit(self, train, *, seed):
        from neurobench_grasp.data import load_session
        from neurobench_grasp.demo import demo_files

        super().fit(train, seed=seed)
        self.session = load_session(demo_files()[0])


class MakesNeurons(Good):
    def fit(self, train, *, seed):
        from neurobench_grasp.demo import neurons

        super().fit(train, seed=seed)
        self.generator = neurons


class ReadsInC(Good):
    """Below Python, where no audit event reports it."""

    def fit(self, train, *, seed):
        super().fit(train, seed=seed)
        libc = ctypes.CDLL(None)
        for path in Path(os.environ["NGB_CACHE"]).rglob("*.nwb"):
            file = libc.open(os.fsencode(path), os.O_RDONLY)
            libc.read(file, ctypes.create_string_buffer(8), 8)
            os.close(file)


class Writes(Good):
    def fit(self, train, *, seed):
        super().fit(train, seed=seed)
        np.save(Path.home() / "weights.npy", self.weights)


class WritesInC(Good):
    def activations(self, trials):
        with h5py.File("cache.bin", "w"):
            return super().activations(trials)


class OpensSocket(Good):
    def fit(self, train, *, seed):
        super().fit(train, seed=seed)
        with socket.socket() as s:
            s.settimeout(0.2)
            with contextlib.suppress(OSError):
                s.connect(("192.0.2.1", 80))


class Unpickles(Good):
    def fit(self, train, *, seed):
        super().fit(train, seed=seed)
        self.weights = pickle.loads(pickle.dumps(self.weights))


class StartsPrograms(Good):
    def fit(self, train, *, seed):
        super().fit(train, seed=seed)
        subprocess.run([sys.executable, "-c", ""], check=True)


class EditsInputs(Good):
    def activations(self, trials):
        trials.joint_angles.values[:] -= self.mean
        return super().activations(trials)


class SharedRandom(Good):
    def draw(self, seed):
        return np.random.standard_normal((23, 8))


class Unseeded(Good):
    def draw(self, seed):
        return np.random.default_rng().standard_normal((23, 8))


class ObjectState(Good):
    def state(self):
        return {"everything": np.array([self], dtype=object)}


class Forgets(Good):
    """Keeps what it learned outside of the state."""

    def fit(self, train, *, seed):
        super().fit(train, seed=seed)
        LEARNED["weights"] = self.weights

    def state(self):
        return {"mean": self.mean, "scale": self.scale}

    def restore(self, state):
        self.mean, self.scale = state["mean"], state["scale"]
        self.weights = LEARNED.get("weights", np.ones((23, 8)))


class Constant(Good):
    def of_trial(self, angles):
        return np.ones((len(angles), 3))


class Raises(Good):
    def fit(self, train, *, seed):
        raise ValueError("the matrix is singular")


class MissingLater(Good):
    def fit(self, train, *, seed):
        import a_module_that_absent_package_has  # noqa: F401


class Incomplete:
    def fit(self, train): ...
    def activations(self, trials): ...


class WrongArgument(Good):
    def fit(self, train):
        super().fit(train, seed=0)


class CallsExit(Good):
    def activations(self, trials):
        sys.exit("enough")


class Quits(Good):
    def activations(self, trials):
        os._exit(3)


class Crashes(Good):
    def state(self):
        ctypes.string_at(0)


class Hangs(Good):
    def state(self):
        time.sleep(3600)


class Teleports(Good):
    """A hand without dynamics: it is at once where it should be."""

    def embed(self, trials):
        return trials.joint_angles

    def track(self, trials, *, goal=None):
        angles = self.wanted(trials.joint_angles.values, goal)
        hand = (
            Ragged(values, trials.offsets) for values in (angles, build_myohand().keypoint_positions(angles))
        )
        return Tracking(*hand)

    def wanted(self, reference, goal):
        return reference if goal is None else goal.values.values[:, :23]

    def observe(self, trials):
        return trials.joint_angles

    def activations_of(self, observations):
        hidden = np.concatenate([self.of_trial(trial) for trial in observations])
        return Activations({"hidden": Ragged(hidden, observations.offsets)})


class IgnoresGoals(Teleports):
    def wanted(self, reference, goal):
        return reference


class IgnoresPostures(Teleports):
    def wanted(self, reference, goal):
        return super().wanted(reference, goal if goal and goal.kind == "embedding" else None)


class ReadsOnePosture(Teleports):
    def wanted(self, reference, goal):
        return reference if goal is None else goal.values.values.reshape(len(reference), 23)


class Remembers(Teleports):
    """A leaky recurrent network, without a leak between trials."""

    def initial_state(self, n):
        return {"memory": np.zeros((n, 8))}

    def step(self, observation, state):
        drive = np.tanh((observation - self.mean) / self.scale @ self.weights)
        memory = 0.8 * state["memory"] + drive
        return {"hidden": memory}, {"memory": memory}

    def of_trial(self, observations):
        return self.run(observations, self.initial_state(1))[0]

    def run(self, observations, state):
        hidden = []
        for row in observations:
            layers, state = self.step(row[None], state)
            hidden.append(layers["hidden"][0])
        return np.array(hidden), state


class LeaksAcrossTrials(Remembers):
    """The state runs on from one trial of a batch to the next."""

    def activations_of(self, observations):
        hidden, _ = self.run(observations.values, self.initial_state(1))
        return Activations({"hidden": Ragged(hidden, observations.offsets)})


class LeaksAcrossBatches(Remembers):
    """The first trial of a pass begins with the state in which the last pass ended."""

    def activations_of(self, observations):
        state, hidden = getattr(self, "last", self.initial_state(1)), []
        for trial in observations:
            values, self.last = self.run(trial, state)
            state = self.initial_state(1)
            hidden.append(values)
        return Activations({"hidden": Ragged.of(hidden)})


class StartsWithNoise(Remembers):
    def initial_state(self, n):
        return {"memory": 1e-3 * np.random.default_rng(n).standard_normal((n, 8))}


class ForgetsInSteps(Remembers):
    """Keeps its memory in the model instead of in the state."""

    def of_trial(self, observations):
        self.memory = np.zeros((1, 8))
        return super().of_trial(observations)

    def step(self, observation, state):
        layers, state = super().step(observation, {"memory": getattr(self, "memory", state["memory"])})
        self.memory = state["memory"]
        return layers, state


CONTROLLERS = (
    Teleports, IgnoresGoals, IgnoresPostures, ReadsOnePosture, Remembers, LeaksAcrossTrials, LeaksAcrossBatches,
    StartsWithNoise, ForgetsInSteps,
)  # fmt: skip
MODELS = (
    Good, Bidirectional, Phase, Noisy, Nan, LastRow, LastStep, Batch, CarriesOver, ReadsNwb, ReadsDemo, ReadsInC, MakesNeurons,
    Writes, WritesInC, OpensSocket, Unpickles, StartsPrograms, EditsInputs, SharedRandom, Unseeded, ObjectState,
    Forgets, Constant, Raises, MissingLater, Incomplete, WrongArgument, CallsExit, Quits, Crashes, Hangs,
)  # fmt: skip


@hookimpl
def ngb_models():
    for made in MODELS:
        yield ModelSpec(
            made.__name__.lower(), build=lambda seed, made=made: made(), summary="a fake", card=CARD
        )
    card = replace(CARD, action_space="postures")
    for made in CONTROLLERS:
        yield ModelSpec(
            made.__name__.lower(),
            build=lambda seed, made=made: made(),
            summary="a fake",
            controller=True,
            card=card,
        )
    yield ModelSpec("fast", build=lambda seed: Fast(), summary="a fake", card=CARD, step_s=0.01)
    yield ModelSpec("no_card", build=lambda seed: Good(), summary="a fake")
    yield ModelSpec("no_hand", build=lambda seed: Good(), summary="a fake", controller=True, card=CARD)

"""A model with a step is fitted and scored on that step, whatever the bins of the recordings."""

from dataclasses import replace

import numpy as np
import pytest
from recorded import planted_session, write_for_test

from neurobench_grasp.alignment.rates import bin_spikes
from neurobench_grasp.contract import Activations, ModelSpec, Units
from neurobench_grasp.plugins import CORE, Provided, Registry, load_registry
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.run.dataset import load_dataset
from neurobench_grasp.run.job import Options


class Position:
    """The recorded position; remembers the steps of the trials that it receives."""

    def __init__(self, steps):
        self.steps = steps

    def fit(self, train, *, seed):
        self.steps.append(train.dt)

    def activations(self, trials):
        self.steps.append(trials.dt)
        return Activations({"position": trials.signals["position"]})

    def state(self):
        return {}

    def restore(self, state):
        pass


def write(path, width=None, seed=0):
    """Write the planted session, with spikes or with counts in bins."""
    session = planted_session(seed=seed)
    if width is not None:
        u, n = session.units, round(session.trials.stop[-1] / width)
        counts = bin_spikes(u.spike_times, u.spike_offsets, np.arange(n), width)
        units = Units(u.ids, u.areas, counts=counts, count_times=np.arange(n) * width, bin_width=width)
        session = replace(session, units=units)
    return write_for_test(path, session)


@pytest.mark.parametrize("elsewhere", [None, 0.04])
def test_a_model_with_a_step_never_receives_another_one(monkeypatch, tmp_path, elsewhere):
    steps, known = [], Registry.model
    spec = Provided(ModelSpec("stepper", lambda seed: Position(steps), summary="", step_s=0.02), CORE, "0")
    monkeypatch.setattr(
        Registry, "model", lambda self, name: spec if name == "stepper" else known(self, name)
    )
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    here, there = write(tmp_path / "here.nwb", 0.05), write(tmp_path / "there.nwb", elsewhere, seed=1)
    for options in (Options(), Options(trained_on=str(there))):
        (record,) = run.evaluate("stepper", here, options=options, seeds=(0,), out=tmp_path / "run")
        row = next(r for r in record.scores if r["metric"] == "single_trial_ev" and r["split"] == "ood")
        assert row["value"] > 0.1
    assert set(steps) == {0.02} and len(steps) == 4


def test_digests_of_trials_on_the_sessions_own_bins_are_those_of_before(tmp_path):
    """Trained networks are found by the digest of their training trials."""
    data = load_dataset(load_registry(), write(tmp_path / "spikes.nwb"))
    plain = data.behaviour("train").sha256
    assert plain.startswith("680959847891120d")
    assert data.behaviour("train", 0.02).sha256 == plain != data.behaviour("train", 0.01).sha256


@pytest.mark.parametrize("step", [0, -0.02, 1 / 60, float("nan"), float("inf")])
def test_a_step_is_a_positive_number_of_microseconds(step):
    with pytest.raises(ValueError, match="step_s is"):
        ModelSpec("m", build=lambda seed: None, summary="", step_s=step)

"""EMG is what models are to explain: no model receives it, on any clock, nor does a reference."""

import json
from dataclasses import replace

import numpy as np
import pytest
from recorded import planted_session, write_for_test

from neurobench_grasp import Activations, ModelSpec, Ragged
from neurobench_grasp.contract import Signal
from neurobench_grasp.data import inspect_file, load_session
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import CORE, Provided, Registry
from neurobench_grasp.run import evaluate as run

MARK = 1e6
"""No other number of the session is as large."""


class Spy:
    """Keep all arrays of all trials that a model receives."""

    def __init__(self, seen):
        self.seen = seen

    def fit(self, train, *, seed):
        self.seen.append(train)

    def activations(self, trials):
        self.seen.append(trials)
        return Activations({"time": Ragged(np.arange(trials.offsets[-1])[:, None] % 7.0, trials.offsets)})

    def state(self):
        return {}

    def restore(self, state):
        pass


def largest(trials):
    arrays = [*(s.values for s in trials.signals.values()), *trials.events.values()]
    return max(float(np.nanmax(np.abs(a), initial=0)) for a in arrays)


def write(path, role=None, *, alone=False):
    """Write the planted session, with a marked signal of a role beside or in the place of its position."""
    session = planted_session()
    (position,) = session.signals.values()
    marked = Signal("marked", role, ("FDS", "EDC"), "V", position.times, position.values + MARK)
    signals = {} if alone else dict(session.signals)
    return write_for_test(path, replace(session, signals=signals | ({marked.name: marked} if role else {})))


@pytest.fixture
def score(monkeypatch, tmp_path):
    """Return the spied trials and the record of a model with a step."""
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    known = Registry.model

    def scored(path, step_s):
        seen = []
        spec = Provided(ModelSpec("spy", build=lambda seed: Spy(seen), summary="", step_s=step_s), CORE, "0")
        monkeypatch.setattr(
            Registry, "model", lambda self, name: spec if name == "spy" else known(self, name)
        )
        (record,) = run.evaluate("spy", path, seeds=(0,), out=tmp_path / "run")
        return seen, record

    return scored


@pytest.mark.parametrize("step_s", [None, 0.01])
@pytest.mark.parametrize(("role", "received"), [("emg", False), ("other", True)])
def test_a_model_receives_every_signal_but_emg(score, tmp_path, role, received, step_s):
    seen, _ = score(write(tmp_path / "planted.nwb", role), step_s)
    assert len(seen) >= 2
    for trials in seen:
        assert ("marked" in trials.signals) == received == (largest(trials) > MARK / 2)


def test_no_score_changes_when_emg_is_recorded_too(score, tmp_path):
    (_, plain), (_, with_emg) = (score(write(tmp_path / f"{r}.nwb", r), None) for r in (None, "emg"))
    rows = [
        [json.dumps(row, sort_keys=True) for row in record.scores if "linear_emg" not in str(row)]
        for record in (plain, with_emg)
    ]
    assert rows[0] == rows[1] and len(rows[0]) > 10
    emg = [row["value"] for row in with_emg.scores if row.get("reference") == "linear_emg"]
    assert emg and emg[0] is not None  # it stands apart


def test_a_session_with_emg_alone_has_no_movement_to_score(tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NgbError, match=r"nor other behavioural signals that a model may see \(EMG is none"):
        run.evaluate(
            "linear_kinematic",
            write(tmp_path / "emg.nwb", "emg", alone=True),
            seeds=(0,),
            out=tmp_path / "run",
        )


@pytest.mark.parametrize(
    ("role", "alone", "encoding"),
    [
        ("emg", True, "with activations of your own only, because it contains no behaviour but EMG"),
        ("emg", False, "yes"),
        ("other", True, "yes"),
    ],
)
def test_inspection_judges_emg_by_the_role_that_models_are_shown(tmp_path, role, alone, encoding):
    """The layout's role for this series is ``other``; the role in its comments takes precedence."""
    path = write(tmp_path / "planted.nwb", role, alone=alone)
    assert inspect_file(path).scores["encoding"].startswith(encoding)
    assert bool(load_session(path).inputs) == (encoding == "yes")

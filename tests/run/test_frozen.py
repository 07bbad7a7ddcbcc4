"""A model that was trained on one dataset and is scored on another, and how much of trials models are shown."""

import numpy as np
import pytest
from planted import context_of
from recorded import write_planted

from neurobench_grasp.bodies import linear_lookahead
from neurobench_grasp.contract import Activations, ModelSpec, ProtocolSpec
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import CORE, Provided, Registry, load_registry
from neurobench_grasp.protocols.encoding.reduction import LagWindow
from neurobench_grasp.records import read_records
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.run.dataset import load_dataset
from neurobench_grasp.run.job import Options


class Spy:
    """Remembers what it was fitted on."""

    def __init__(self, seen):
        self.seen = seen

    def fit(self, train, *, seed):
        self.seen.append(train)

    def activations(self, trials):
        return Activations({"position": trials.signals["position"]})

    def state(self):
        return {}

    def restore(self, state):
        pass


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """Register the model ``spy``; gives the list of what it was fitted on."""
    fitted, known = [], Registry.model
    spec = Provided(ModelSpec("spy", build=lambda seed: Spy(fitted), summary=""), CORE, "0")
    monkeypatch.setattr(Registry, "model", lambda self, name: spec if name == "spy" else known(self, name))
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    return fitted


def test_a_frozen_model_is_fitted_elsewhere_and_only_the_map_here(seen, tmp_path):
    here, there = (write_planted(tmp_path / f"{n}.nwb", seed=s) for n, s in (("here", 0), ("there", 1)))
    registry = load_registry()
    (record,) = run.evaluate(
        "spy", here, options=Options(trained_on=str(there)), seeds=(0,), out=tmp_path / "run"
    )
    assert [t.sha256 for t in seen] == [load_dataset(registry, there).behaviour("train").sha256]
    assert record.dataset["id"] == "here" and record.dataset["trained_on"] == "there"
    row = next(r for r in record.scores if r["metric"] == "single_trial_ev" and r["split"] == "ood")
    assert row["value"] > 0.1
    run.evaluate("spy", here, seeds=(0,), out=tmp_path / "run")
    assert [t.sha256 for t in seen[1:]] == [load_dataset(registry, here).behaviour("train").sha256]
    records, _ = read_records([tmp_path / "run"])
    assert sorted(r.dataset.get("trained_on", "") for r in records) == ["", "there"]


def test_models_trained_on_files_of_one_name_have_records_of_their_own(seen, tmp_path):
    here = write_planted(tmp_path / "here.nwb")
    for seed, folder in enumerate(("x", "y"), start=1):
        (tmp_path / folder).mkdir()
        there = write_planted(tmp_path / folder / "there.nwb", seed=seed)
        run.evaluate("spy", here, options=Options(trained_on=str(there)), seeds=(0,), out=tmp_path / "run")
    records, _ = read_records([tmp_path / "run"])
    assert [r.dataset["trained_on"] for r in records] == ["there", "there"]
    assert len({r.dataset["trained_on_sha256"] for r in records}) == 2


@pytest.mark.parametrize(("n_elsewhere", "known"), [(7, "object_6"), (8, "")])
def test_held_out_conditions_that_trained_a_frozen_model_are_named(seen, tmp_path, n_elsewhere, known):
    here = write_planted(tmp_path / "here.nwb")
    there = write_planted(tmp_path / "there.nwb", n_objects=n_elsewhere, seed=1)
    (record,) = run.evaluate(
        "spy", here, options=Options(trained_on=str(there)), seeds=(0,), out=tmp_path / "run"
    )
    assert record.dataset["held_out_conditions"] == ["object_0", "object_6"]
    assert ({"object_0", "object_6"} & set(seen[0].condition)) == set(filter(None, [known]))
    reasons = [row["reason"] for row in record.dropped if "held-out conditions" in row["reason"]]
    what = "1 of 2 held-out conditions are named like training conditions of there"
    assert reasons == ([f"{what}, so ood is not new to the model: {known}"] if known else [])


def test_a_model_that_was_trained_on_the_scored_data_is_not_called_frozen(seen, tmp_path):
    here = write_planted(tmp_path / "here.nwb")
    (record,) = run.evaluate(
        "spy", here, options=Options(trained_on=str(here)), seeds=(0,), out=tmp_path / "run"
    )
    assert "trained_on" not in record.dataset


def test_what_is_scored_has_every_feature_within_reach(tmp_path):
    """The features of recorded movement at every step that a lag reaches are those of the whole padding."""
    data = load_dataset(load_registry(), write_planted(tmp_path / "long.nwb"))
    (session,) = data.sessions
    whole, scored = session.trials, session.scored
    assert scored.offsets[-1] < whole.offsets[-1]
    np.testing.assert_array_equal(np.diff(scored.window), np.diff(whole.window))
    reach, dt = round(session.max_lag / whole.dt), whole.dt
    assert (scored.window[:, 0] * dt >= 0.3 - 1e-9).all()
    rows = []
    for trials in (whole, scored):
        features = linear_lookahead(trials)
        spans = trials.window + np.array([-reach, reach])
        rows.append(np.concatenate([f[a:z] for f, (a, z) in zip(features, spans, strict=True)]))
    one_sided = np.isclose(rows[0], rows[1]).all(1)  # only the very last step has no successor to differ from
    assert one_sided.mean() > 1 - 2 / (2 * reach + 20)


def test_a_lag_window_is_the_window_and_what_a_lag_reaches(tmp_path):
    data = load_dataset(load_registry(), write_planted(tmp_path / "long.nwb"))
    (session,) = data.sessions
    lagged = LagWindow.of(context_of(session), session)
    reach, whole = round(session.max_lag / session.trials.dt), session.trials
    steps = [
        o + np.arange(a - reach, z + reach)
        for o, (a, z) in zip(whole.offsets[:-1], whole.window, strict=True)
    ]
    position = whole.signals["position"].values[np.concatenate(steps)]
    np.testing.assert_array_equal(session.scored.signals["position"].values[lagged.rows], position)
    np.testing.assert_array_equal(np.diff(lagged.trials.window), np.diff(whole.window))


def test_a_protocol_that_gives_bare_rows_is_told_what_to_give(seen, tmp_path, monkeypatch):
    spec = ProtocolSpec("bare", version=1, run=lambda context: [{"metric": "n", "value": 1}], summary="")
    monkeypatch.setattr(Registry, "protocol", lambda self, name: Provided(spec, CORE, "0"))
    with pytest.raises(NgbError, match=r"gives a list as the result of the protocol bare.*Scores\(rows\)"):
        run.evaluate(
            "spy", write_planted(tmp_path / "here.nwb"), protocols=["bare"], seeds=(0,), out=tmp_path / "run"
        )

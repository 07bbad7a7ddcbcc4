"""Unique contributions: planted shares are found, folds join, and nothing is fitted on what is scored."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from planted import PAD, aligned_session, context_of, row_of, smooth_latents
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.contract import Activations, Ragged
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols import partition
from neurobench_grasp.protocols.encoding.reduction import window_rows
from neurobench_grasp.protocols.settings import PARTITION
from neurobench_grasp.records.consistency import contradictions
from neurobench_grasp.records.record import read_units, record_path
from neurobench_grasp.records.table import ONE_NETWORK, RowKey, tables_of
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.scoring.intervals import UnitScores, summarise

N_LATENTS, N_STEPS = 3, 25
SOURCES = {"state": 0, "emg": 1, "shared": 2, "noise": 3}
"""Independent latents: of the network alone, of EMG alone, of both, and of the cursor, which no unit follows."""
KINDS = {"layers": {"state": 1}, "emg": {"emg": 1}, "both": {"state": 1, "emg": 1}, "shared": {"shared": 1}}
"""Kinds of units, by what drives them in equal parts; four units of each."""
SIGNAL = 0.5  # share of the drive in the variance of a unit


def planted(seed=0, n_objects=30, n_repeats=6):
    rng = np.random.default_rng(seed)
    n_trials = n_objects * n_repeats
    latents = smooth_latents(n_trials, N_STEPS + 2 * PAD, N_LATENTS * len(SOURCES), rng)
    drives = []
    for kind, _ in itertools.product(KINDS.values(), range(4)):
        weights = np.zeros((len(SOURCES), N_LATENTS))
        for source in kind:
            part = rng.standard_normal(N_LATENTS)
            weights[SOURCES[source]] = part / np.linalg.norm(part) / len(kind) ** 0.5
        drives.append(latents[:, PAD:-PAD] @ weights.ravel())
    drive = np.stack(drives, axis=2)
    noise = ((1 - SIGNAL) / SIGNAL) ** 0.5 * rng.standard_normal(drive.shape)
    conditions = [f"object_{i // n_repeats:02d}" for i in range(n_trials)]
    session = aligned_session(latents, 10 + drive + noise, conditions)
    return with_latents(session, session.trials.signals["latents"])


def with_latents(session, latents):
    """The session with these latents as its behaviour, of which only the cursor has a role that is kinematic."""
    columns = {name: latents.values[:, k * N_LATENTS : (k + 1) * N_LATENTS] for name, k in SOURCES.items()}
    signals = {name: Ragged(values, latents.offsets) for name, values in columns.items()}
    signals["latents"] = latents
    trials = replace(session.trials, signals=signals, roles={"noise": "position"})
    return replace(session, trials=trials)


def side_by_side(trials, *names):
    signals = [trials.signals[name] for name in names]
    return Ragged(np.hstack([s.values for s in signals]), signals[0].offsets)


def network(trials):
    """A layer that knows its own state and what is shared, and one of noise."""
    layer, noise = side_by_side(trials, "shared", "state"), trials.signals["noise"]
    return Activations({"noise": Ragged(np.tanh(noise.values), noise.offsets), "state": layer})


def recorded_emg(session, role):
    return side_by_side(session.scored, role, "shared")


class World:
    """What a partition of a session gives, and the stages that it kept."""

    def __init__(self, session, **options):
        self.stages, self.of_model = {}, {}
        self.context = context_of(session, activations=network, stages=self.keep, **options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(partition, "recorded_in_bins", recorded_emg)
            self.scores = partition.run(self.context)

    def keep(self, stage, session, make, **inputs):
        key = stage.name, tuple(inputs.get("groups", ()))
        self.stages[key], self.of_model[key] = make(), stage.model
        return self.stages[key]

    def unit_scores(self, name="", split="ood"):
        table = UnitTable.from_arrays(self.scores.units)
        (part,) = table.scores[Labels("M1", split, "single_trial_ev", name)]
        return part

    def of_kind(self, group, kind):
        """Mean over the units of one kind of what is unique to a group."""
        unique = self.unit_scores().minus(self.unit_scores(f"without {group}")).values
        return unique[4 * list(KINDS).index(kind) :][:4].mean()


@pytest.fixture(scope="module")
def world():
    return World(planted())


@pytest.mark.parametrize(
    ("kind", "layers", "emg"),
    [("layers", SIGNAL, 0), ("emg", 0, SIGNAL), ("both", SIGNAL / 2, SIGNAL / 2), ("shared", 0, 0)],
)
def test_the_unique_share_of_a_group_is_the_planted_one(world, kind, layers, emg):
    assert world.of_kind("layers", kind) == pytest.approx(layers, abs=0.04)
    assert world.of_kind("emg", kind) == pytest.approx(emg, abs=0.04)


def test_what_groups_share_is_unique_to_none_and_explained_by_each_alone(world):
    shared = slice(4 * list(KINDS).index("shared"), None)
    for group in ("layers", "emg"):
        alone = world.unit_scores(f"only {group}").values[shared]
        assert alone.mean() == pytest.approx(SIGNAL, abs=0.05)
        assert abs(world.of_kind(group, "shared")) < 0.005


def test_groups_of_noise_have_none_within_their_interval(world):
    for group, split in itertools.product(("joints", "goal"), ("test", "ood")):
        row = row_of(world.scores.rows, "unique_ev", split, of="single_trial_ev", group=group)
        assert row["ci"][0] <= 0 <= row["ci"][1] and row["ci_over"] == ["condition", "unit"]
        assert abs(row["value"]) < 0.004


def test_the_layer_and_the_lag_are_those_of_encoding(world):
    (row,) = (row for row in world.scores.rows if row["metric"] == "lag")
    assert row["chosen"] == "state"
    assert row["value"] == world.stages["map", ()]["lag_ood"][0] == 0


def test_a_group_that_was_not_recorded_is_absent_with_its_reason(world):
    for metric in ("single_trial_ev", "unique_ev"):
        of = {"of": "single_trial_ev"} if metric == "unique_ev" else {}
        row = row_of(world.scores.rows, metric, group="muscles", **of)
        assert row["value"] is None and row["reason"].startswith("planted has no joint angles")


def test_rows_are_those_of_the_unit_scores(world):
    """The same that a record is verified by."""
    table, n = UnitTable.from_arrays(world.scores.units), 0
    for row in world.scores.rows:
        parts = RowKey.of_row(row).unit_scores(table)
        if parts is not None:
            n += 1
            total = summarise(parts)
            assert row["value"] == pytest.approx(total.value, abs=1e-7)
            assert row["n_units"] == total.n_units == 16
    assert n == 2 * (1 + 4 + 4)


def test_what_does_not_depend_on_the_model_is_kept_for_all_models():
    shared = {key for key, of_model in World(planted(n_objects=5)).of_model.items() if not of_model}
    groups = ("joints", "goal", "emg")
    assert shared == {("group-" + g, ()) for g in groups} | {
        ("banded-ridge", members) for members in ((groups), *((g,) for g in groups))
    }


def test_a_seeded_model_of_one_network_has_no_interval_of_what_is_unique():
    rows = World(planted(n_objects=30, n_repeats=3), seeded=True).scores.rows
    unique = row_of(rows, "unique_ev", of="single_trial_ev", group="layers")
    assert unique["ci"] is None and unique["reason"] == ONE_NETWORK
    assert row_of(rows, group="layers")["ci"] is not None


# --- folds ----------------------------------------------------------------------------------------


def test_folds_join_to_the_score_of_all_their_bins():
    session = planted(n_objects=10, n_repeats=4)
    folds = [World(session, fold=k, seed=k) for k in range(5)]
    joined = [UnitScores.mean_of([w.unit_scores(name) for w in folds]) for name in ("", "without emg")]
    expected = [pooled_ev(folds, members) for members in (("joints", "goal", "emg", "layers"),
                                                          ("joints", "goal", "layers"))]  # fmt: skip
    assert len(joined[0].left_out) == 10
    np.testing.assert_allclose(joined[0].values, expected[0], atol=1e-7)
    np.testing.assert_allclose(joined[0].minus(joined[1]).values, expected[0] - expected[1], atol=1e-7)


def pooled_ev(folds, members):
    errors, deviations = [], []
    for world in folds:
        (session,), splits = world.context.sessions, world.context.splits
        ood, train = (session.units.rates.select(world.context.index(session, s)).values
                      for s in (splits.ood, splits.train))  # fmt: skip
        errors.append(ood - world.stages["banded-ridge", members]["ood"])
        deviations.append(ood - train.mean(0))
    return 1 - np.concatenate(errors).var(0) / np.concatenate(deviations).var(0)


# --- nothing is fitted on what is scored ----------------------------------------------------------


def test_new_objects_and_trials_change_nothing_that_is_fitted_or_chosen(world):
    """Rates outside train and behaviour of new objects are garbage: predictions of `test` are the same bits."""
    session, context = world.context.sessions[0], world.context
    rng = np.random.default_rng(9)
    ood = set(context.index(session, context.splits.ood))
    outside = ood | set(context.index(session, context.splits.test))

    def spoilt(trials, which):
        return Ragged.of([1e3 * rng.random(x.shape) if i in which else x for i, x in enumerate(trials)])

    rates = spoilt(session.units.rates, outside)
    other = replace(session, units=replace(session.units, rates=rates))
    garbage = World(with_latents(other, spoilt(session.trials.signals["latents"], ood)))
    assert garbage.stages.keys() == world.stages.keys()
    for key in (key for key in world.stages if key[0] == "banded-ridge"):
        for field in ("alpha", "test"):
            np.testing.assert_array_equal(garbage.stages[key][field], world.stages[key][field])
        assert not np.allclose(garbage.stages[key]["ood"], world.stages[key]["ood"]) or len(key[1]) == 0


def test_a_lag_moves_all_groups(world):
    """Predictions are of features that many steps later: refitted by hand on the shifted rows."""
    session, context = world.context.sessions[0], world.context
    lagged = partition.LagWindow.of(context, session)
    features = {"layers": Ragged(np.random.default_rng(0).standard_normal((len(lagged.rows), 4)),
                                 lagged.trials.offsets)}  # fmt: skip
    units, train = np.arange(16), context.index(session, context.splits.train)
    fit = partition.Fit(context, lagged, features, units, train, 3, {"layers": ["layers"]}, ["layers"])
    made = fit.predicted(("layers",), {})
    assert np.isinf(made["alpha"]).sum() > 4, "it is noise"
    mean, folds = fit._training
    later = features["layers"].values[window_rows(lagged.trials, train) + 3]
    np.testing.assert_allclose(folds.total(range(5)).x, later.sum(0))
    np.testing.assert_allclose(mean, session.units.rates.select(train).values.mean(0))


# --- around it ------------------------------------------------------------------------------------


def test_it_is_offered():
    spec = load_registry().protocol("partition").spec
    assert spec.version == 1 and spec.settings["n_draws"] == PARTITION.n_draws


def test_without_recorded_movement_all_that_the_layers_explain_is_theirs_alone():
    session = planted(n_objects=5)
    layer = network(session.scored).layers["state"]
    still = replace(session, trials=replace(session.trials, signals={}))
    rows = partition.run(context_of(still, activations=lambda trials: Activations({"state": layer}))).rows
    whole = row_of(rows)
    assert whole["value"] > 0.2
    assert row_of(rows, "unique_ev", of="single_trial_ev", group="layers")["value"] == pytest.approx(
        whole["value"], abs=1e-6
    )
    assert "neither joint angles nor" in row_of(rows, group="goal")["reason"]


def test_it_needs_units():
    session = planted(n_objects=5)
    empty = replace(session.units, ids=(), areas=(), rates=Ragged(session.units.rates.values[:, :0],
                                                                  session.units.rates.offsets))  # fmt: skip
    with pytest.raises(UnsupportedError, match="holds no units"):
        partition.run(context_of(replace(session, units=empty)))


def test_emg_explains_motor_cortex_beyond_kinematics(real_file, tmp_path):
    """All folds of a real isometric session; its records agree with the scores of single units.

    The layer of this model has the speed of the cursor, too, which no linear function of posture is.
    """
    file = real_file("real/m1_wrist_0719.nwb")
    records = run.evaluate("linear_kinematic", file, protocols=("partition",), seeds=range(5), out=tmp_path)
    (table,) = tables_of(records, tmp_path / "records")
    labels = {"split": "ood", "area": "M1"}
    unique = {g: table.score("unique_ev", of="single_trial_ev", group=g, **labels) for g in partition.GROUPS}
    assert unique["emg"].ci[0] > 0.02
    assert all(abs(unique[group].value) < 0.01 for group in ("muscles", "joints", "goal"))
    assert 0.02 < unique["layers"].value < unique["emg"].value
    whole, alone = (table.score("single_trial_ev", **labels, **g) for g in ({}, {"group": "emg"}))
    assert whole.value > alone.value > unique["emg"].value
    shown = (
        CliRunner()
        .invoke(
            app,
            [
                "score",
                "--model=linear_kinematic",
                f"--dataset={file}",
                "--protocol=partition",
                f"--out={tmp_path}",
            ],
        )
        .stdout
    )
    assert "M1, features" in shown and f"{unique['emg'].value:.3f} [" in shown
    for record in records:
        path = record_path(tmp_path / "records", record)
        units = read_units(path, record)
        assert not list(contradictions(record, units))
        forged = [
            {**r, "value": r["value"] + 0.01} if r["metric"] == "unique_ev" and r["value"] is not None else r
            for r in record.scores
        ]
        assert len(list(contradictions(replace(record, scores=forged), units))) == 2 * 5

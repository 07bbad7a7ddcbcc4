import json
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from lazy import Lazy
from pictures import assert_legible, assert_row, pick, table, the, watch
from PIL import Image
from planted import aligned_session, row_of, smooth_latents, with_units
from typer.testing import CliRunner

from neurobench_grasp.alignment.splits import make_splits
from neurobench_grasp.cli import app
from neurobench_grasp.contract import Activations, DatasetSpec, ModelSpec, Ragged
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.plots.units import PERCENTILES, choose_examples
from neurobench_grasp.plugins import CORE, Provided, load_registry
from neurobench_grasp.protocols.encoding.predictions import PredictedSession
from neurobench_grasp.protocols.encoding.protocol import predicted_sessions
from neurobench_grasp.protocols.encoding.references import REFERENCES
from neurobench_grasp.records.record import read_records, read_units, record_path
from neurobench_grasp.records.units import Labels
from neurobench_grasp.run import figures
from neurobench_grasp.run.dataset import Dataset
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.run.figures import draw_figures
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.workspace import Workspace
from neurobench_grasp.scoring.intervals import UnitScores

metrics = Lazy("sklearn.metrics")

N_OBJECTS, N_REPEATS, N_STEPS, PAD = 25, 3, 12, 10
AREAS = ("M1",) * 7 + ("S1",) * 5
ALL = {"scores", "gains", "layers", "units", "components"}
OF_BRAIN_CONTROL = {"decoding", "brain_control", "curves"}  # see test_brain_figures.py
OF_EMG = {"emg_tuning", "emg_matrix", "emg_neurons"}  # see test_emg_figures.py


def planted_session(name, seed, n_objects=N_OBJECTS):
    """Units of two areas that follow latents with noise of many sizes; one was recorded in some trials only."""
    rng = np.random.default_rng(seed)
    n_trials, n_units = N_OBJECTS * N_REPEATS, len(AREAS)
    latents = smooth_latents(n_trials, N_STEPS + 2 * PAD, 4, rng)
    drive = latents[:, PAD:-PAD] @ rng.standard_normal((4, n_units))
    rates = 10 + drive + rng.standard_normal(drive.shape) * np.linspace(0.5, 6, n_units)
    lengths = rng.integers(8, N_STEPS + 1, n_trials)
    observed = np.ones((n_trials, n_units), bool)
    observed[::4, 2] = False
    conditions = [f"object_{i % n_objects:02d}" for i in range(n_trials)]
    session = aligned_session(
        latents, rates, conditions, name=name, subject=name, areas=AREAS, observed=observed, lengths=lengths
    )
    return replace(session, sha256=f"{seed:064d}", max_lag=0.04)


class Network:
    """A controller of two parts whose layers are random functions of what it sees."""

    def __init__(self, seed):
        self.weights = np.random.default_rng(seed).standard_normal((4, 6))

    def fit(self, train, *, seed):
        pass

    def state(self):
        return {}

    def restore(self, state):
        pass

    def observe(self, trials):
        return trials.signals["latents"]

    def activations_of(self, observations):
        hidden = np.tanh(observations.values @ self.weights)
        layers = {"actor/hidden": hidden, "actor/action": hidden[:, :2], "critic/value": hidden[:, :1]}
        return Activations({name: Ragged(x, observations.offsets) for name, x in layers.items()})

    def activations(self, trials):
        return self.activations_of(self.observe(trials))

    def untrained(self, *, seed):
        return Network(seed + 100)

    def unused(self, *arguments, **options):
        raise AssertionError("encoding moves no body")

    track = embed = unused


class Inputs(Network):
    """No controller, and a single layer."""

    def activations(self, trials):
        return Activations({"inputs": self.observe(trials)})


MODELS = {
    "network": ModelSpec("network", Network, "", controller=True),
    "inputs": ModelSpec("inputs", Inputs, ""),
}


@pytest.fixture(scope="module")
def run():
    """Patch in planted data and models."""
    sessions = tuple(planted_session(name, seed) for seed, name in enumerate(("monday", "tuesday")))
    data = Dataset("planted", "", True, sessions, make_splits({s.id: s.conditions for s in sessions}))
    known = load_registry()
    registry = SimpleNamespace(
        model=lambda name: Provided(MODELS[name], CORE, "1.0"),
        protocol=known.protocol,
        decoder=known.decoder,
        models=lambda: (),
        dataset=lambda name: Provided(DatasetSpec(name, list, ""), CORE, "1.0"),
        datasets=lambda: (),
        protocols=lambda: (),
        decoders=lambda: (),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neurobench_grasp.run.evaluate.load_registry", lambda: registry)
        patch.setattr("neurobench_grasp.run.figures.load_registry", lambda: registry)
        patch.setattr("neurobench_grasp.run.workspace.load_dataset", lambda *arguments, **options: data)
        yield SimpleNamespace(data=data, registry=registry, patch=patch)


@pytest.fixture(scope="module")
def out(run, tmp_path_factory):
    """A run folder in which both models were scored, the network with two seeds."""
    folder = tmp_path_factory.mktemp("run")
    evaluate("network", "planted", protocols=("encoding", "layers"), seeds=(0, 1), out=folder)
    evaluate("inputs", "planted", protocols=("encoding",), seeds=(0,), out=folder)
    return folder


@pytest.fixture(scope="module")
def written(run):
    return watch(run.patch)


@pytest.fixture(scope="module")
def printed(written, out):
    """What the command prints for both networks."""
    result = CliRunner().invoke(
        app, ["figures", "--model", "network", "--dataset", "planted", "--out", str(out), "--json"]
    )
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def drawn(printed):
    return SimpleNamespace(
        left_out=printed["left_out"],
        files={name: (Path(pair["png"]), Path(pair["csv"])) for name, pair in printed["files"].items()},
    )


@pytest.fixture(scope="module")
def one_network(out, tmp_path_factory):
    return draw_figures("network", "planted", seeds=(1,), out=out, to=tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def one_layer(written, out, tmp_path_factory):
    """Figures of a model of one layer, in a folder that holds those of another one."""
    folder = tmp_path_factory.mktemp("inputs")
    for name in ("layers.png", "layers.csv", "scores.png", "notes.txt"):
        (folder / name).write_text("old")
    return draw_figures("inputs", "planted", out=out, to=folder)


def records(out, model="network", protocol="encoding"):
    found, problems = read_records([out])
    assert not problems
    return sorted(
        (r for r in found if (r.model, r.protocol["name"]) == (model, protocol)), key=lambda r: r.seed
    )


def unit_scores(out, area, reference=""):
    """Scores of single units on ood, network by network, session by session."""
    labels = Labels(area, "ood", "single_trial_ev", reference)
    return [read_units(record_path(out / "records", r), r).scores[labels] for r in records(out)]


def test_every_figure_is_a_picture_with_its_data_beside_it(drawn, out):
    assert set(drawn.left_out) == OF_BRAIN_CONTROL | OF_EMG and set(drawn.files) == ALL
    assert drawn.left_out["decoding"].endswith("--protocol brain-control` makes it")
    assert sorted(p.name for p in (out / "figures").iterdir()) == sorted(
        f"{name}.{end}" for name in ALL for end in ("csv", "png")
    )
    for name, (png, csv) in drawn.files.items():
        with Image.open(png) as picture:
            picture.load()
            assert picture.width == round(7.1 * 300) and 700 < picture.height < 5000
            assert np.array(picture.convert("L")).std() > 10, name
        data = table(drawn, name)
        assert set(data.model) == {"network"} and set(data.dataset) == {"planted"} and len(data) > 5
        assert not any(column.startswith("Unnamed") for column in data)
        assert csv.read_bytes().endswith(b"\n")
        text = pd.read_csv(csv, dtype=str)
        for column in {"seed", "n_units"} & set(text):
            assert text[column].dropna().str.fullmatch(r"\d+").all(), (name, column)


def test_scores_of_one_network_are_those_of_its_record(one_network, out):
    rows = records(out)[1].scores
    data = table(one_network, "scores")
    for area in ("M1", "S1"):
        for split in ("test", "ood"):
            where = {"area": area, "split": split}
            assert_row(the(data, kind="model", **where), row_of(rows, **where))
            for name in REFERENCES:
                row = row_of(rows, reference=name, **where)
                found = the(data, kind="reference", name=name, **where)
                assert_row(found, row)
                assert row.get("reason") == (None if pd.isna(found["reason"]) else found["reason"])
            ceiling = row_of(rows, "ceiling", of="single_trial_ev", **where)
            assert_row(the(data, kind="ceiling", **where), ceiling)
            for kind, label in (("animal", "subject"), ("session", "session")):
                mine = pick(data, kind=kind, **where)
                assert len(mine) == 2
                for name in mine.name:
                    assert_row(the(mine, name=name), row_of(rows, **{label: name}, **where))
    assert len(data) == 4 * (2 + 2 + 2 + len(REFERENCES))
    absent = data[data.ev.isna() & (data.kind == "reference")]
    assert set(absent.name) == {"linear_emg", "psth", "true_rate"} and absent.reason.str.len().min() > 10


def joined(networks):
    """Scores of the units of each session from the sums of all networks' folds."""
    return [UnitScores.mean_of(parts) for parts in zip(*networks, strict=True)]


def test_scores_of_several_networks_join_their_folds(drawn, out):
    """Two of five folds are scored, so that there is no interval yet."""
    data = pick(table(drawn, "scores"), area="S1", split="ood")
    for name in ("network", "untrained", "circular_shift"):
        parts = joined(unit_scores(out, "S1", "" if name == "network" else name))
        by_hand = np.mean([np.nanmean(part.values) for part in parts])  # sessions are animals here
        row = the(data[data.kind != "network"], name=name)
        assert row["ev"] == pytest.approx(by_hand)
        assert np.isnan(row["ev_ci_low"]) and "2 of 5 folds" in row["reason"]
    single = pick(data, kind="network")
    assert single.seed.tolist() == [0, 1]
    assert single.ev.tolist() == [row_of(r.scores, area="S1")["value"] for r in records(out)]


@pytest.mark.parametrize("over", ["linear_kinematic", "untrained", "phase_mean"])
def test_gains_are_paired_unit_by_unit_and_network_by_network(drawn, one_network, out, over):
    model, reference = unit_scores(out, "M1"), unit_scores(out, "M1", over)
    data = table(drawn, "gains")
    data = pick(data, over=over, area="M1")
    units = {(row.session, row.unit): row.gain_ev for row in pick(data, kind="unit").itertuples()}
    mean = 0.0
    for own, other in zip(joined(model), joined(reference), strict=True):
        for name, gain in zip(own.units, own.values - other.values, strict=True):
            assert units[own.session, name] == pytest.approx(gain)
            mean += gain / 7 / 2
    assert len(units) == 14
    networks = data[data.kind == "network"].set_index("seed").gain_ev
    rows = [row_of(r.scores, f"gain_over_{over}", of="single_trial_ev") for r in records(out)]
    assert networks.to_dict() == pytest.approx({k: row["value"] for k, row in enumerate(rows)}, abs=1e-6)
    overall = the(data, kind="overall")
    assert overall["gain_ev"] == pytest.approx(mean)
    assert np.isnan(overall["gain_ev_ci_low"]) and "networks differ" in overall["reason"]
    alone = the(table(one_network, "gains"), over=over, area="M1", kind="overall")
    assert alone["gain_ev"] == pytest.approx(rows[1]["value"], abs=1e-6)
    assert np.isnan(alone["gain_ev_ci_low"]) and "networks differ" in alone["reason"]


def test_layers_and_components_are_those_of_the_records(drawn, one_network, out):
    one, both = (pick(table(d, "layers"), area="M1") for d in (one_network, drawn))
    names = ["actor/hidden", "actor/action", "critic/value"]
    assert one.layer.tolist() == names
    for name in names:
        rows = [row_of(r.scores, layer=name) for r in records(out)]
        best = [row_of(r.scores, "n_units_best", layer=name)["value"] for r in records(out)]
        assert_row(the(one, layer=name), rows[1])
        assert the(one, layer=name)["n_units_best"] == best[1]
        mean = the(both, layer=name, kind="mean")
        assert mean["ev"] == pytest.approx(np.mean([row["value"] for row in rows]))
        assert mean["ev_ci_low"] == pytest.approx(np.mean([row["ci"][0] for row in rows]))
        assert mean["n_units_best"] == np.mean(best)
        assert pick(both, layer=name, kind="network").ev.tolist() == [row["value"] for row in rows]
    curve = table(one_network, "components")
    scored = [r for r in records(out, protocol="layers")[1].scores if r["metric"] == "single_trial_ev"]
    assert len(curve) == len(scored) > 6
    for row in scored:
        assert_row(the(curve, **{key: row[key] for key in ("layer", "area", "n_components")}), row)


def test_example_units_show_recorded_and_predicted_rates(one_network, run, out):
    data = table(one_network, "units")
    sessions = {s.id: s for s in run.data.sessions}
    found = {s.session.id: s for s in predictions_of(run, out, seed=1)}
    held_out = set(run.data.for_network(1).splits.held_out)
    chosen = data.drop_duplicates(["area", "percentile"])
    assert [*zip(chosen.area, chosen.percentile, strict=True)] == [
        (a, p) for a in ("M1", "S1") for p in PERCENTILES
    ]
    for (name, unit), rows in data.groupby(["session", "unit"]):
        session, predicted = sessions[name], found[name]
        u = session.units.ids.index(unit)
        offsets = np.cumsum([0, *session.units.rates.lengths[list(predicted.ood)]])
        course = {
            i: (session.units.rates[i][:, u], predicted.predictions["ood"][a:z, u])
            for i, a, z in zip(predicted.ood, offsets, offsets[1:], strict=False)
            if session.units.observed[i, u]
        }
        pairs = [np.concatenate(both) for both in zip(*course.values(), strict=True)]
        assert rows.ev_ood.iloc[0] == pytest.approx(metrics.explained_variance_score(*pairs))
        single = rows[rows.shown == "trial"]
        assert single.trial.nunique() == 2 and single.condition.nunique() == 2
        for trial, panel in single.groupby("trial"):
            i = session.trials.ids.index(trial)
            assert set(panel.condition) == {session.trials.condition[i]} <= held_out
            assert panel.recorded_spikes_per_s.tolist() == pytest.approx(course[i][0].tolist())
            assert panel.predicted_spikes_per_s.tolist() == pytest.approx(course[i][1].tolist())
            assert panel.time_s.tolist() == pytest.approx([0.01 + 0.02 * k for k in range(len(panel))])
        means = rows[rows.shown == "mean"]
        assert means.condition.nunique() <= 4 and set(means.condition) <= held_out
        for condition, panel in means.groupby("condition"):
            mine = [both for i, both in course.items() if session.trials.condition[i] == condition]
            at = panel.phase.to_numpy()
            recorded, other = (
                np.array([np.interp(at, np.linspace(0, 1, len(x[k])), x[k]) for x in mine]) for k in (0, 1)
            )
            assert panel.n_trials.tolist() == [len(mine)] * 25
            assert panel.recorded_spikes_per_s.tolist() == pytest.approx(recorded.mean(0).tolist())
            sem = recorded.std(0, ddof=1) / len(mine) ** 0.5
            assert panel.recorded_sem_spikes_per_s.tolist() == pytest.approx(sem.tolist())
            assert panel.predicted_spikes_per_s.tolist() == pytest.approx(other.mean(0).tolist())


def predictions_of(run, out, seed=0):
    """What a network predicts, read from the run folder."""
    workspace = Workspace(run.registry, out)
    own = workspace.stages()
    return list(
        predicted_sessions(make_context(workspace.find("network", "planted", seed=seed), seed, own, own))
    )


def chosen_units(sessions):
    return [(e.area, e.percentile, e.source.session.id, e.unit) for e in choose_examples(sessions)]


def test_units_are_chosen_by_train_alone(run, out):
    """Neither recorded nor predicted rates of test and ood trials, nor the scores on them, change the choice."""
    sessions = predictions_of(run, out)
    rng = np.random.default_rng(0)

    def shuffled(found):
        values = found.session.units.rates.values.copy()
        others = {
            *found.ood,
            *(found.session.trials.ids.index(t) for t in run.data.splits.test[found.session.id]),
        }
        for i in others:
            steps = slice(*found.session.units.rates.offsets[i : i + 2])
            values[steps] = rng.permuted(values[steps], axis=1)
        predictions = dict(found.predictions)
        for name in predictions:
            if name.startswith(("test", "ood")):
                predictions[name] = rng.permuted(predictions[name], axis=-1)
        session = with_units(found.session, rates=Ragged(values, found.session.units.rates.offsets))
        return PredictedSession(session, found.ood, predictions)

    chosen = chosen_units(sessions)
    assert chosen_units([shuffled(s) for s in sessions]) == chosen
    for area in ("M1", "S1"):
        scores = {}
        for found in sessions:
            for u, layer in enumerate(found.predictions["layer_ood"]):
                if found.session.units.areas[u] == area:
                    scores[found.session.id, u] = found.predictions["cv_ev_ood"][layer, u]
        for percentile in PERCENTILES:
            (unit,) = [(name, u) for a, p, name, u in chosen if (a, p) == (area, percentile)]
            nearest = np.percentile(list(scores.values()), percentile, method="nearest")
            assert scores[unit] == pytest.approx(nearest)
    turned = [
        replace(s, predictions=s.predictions | {"cv_ev_ood": -s.predictions["cv_ev_ood"]}) for s in sessions
    ]
    assert chosen_units(turned) != chosen


def test_an_area_of_two_units_shows_each_once(run, out):
    found = predictions_of(run, out)[0]
    few = with_units(found.session, areas=("PMv",) * 2 + ("M1",) * 10)
    shown = [e.unit for e in choose_examples([replace(found, session=few)]) if e.area == "PMv"]
    assert sorted(shown) == [0, 1]


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes_whatever_the_user_has_set(drawn, out, tmp_path):
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 7, "figure.dpi": 30}):
        again = draw_figures("network", "planted", out=out, to=tmp_path)
    for name in ALL:
        for one, other in zip(drawn.files[name], again.files[name], strict=True):
            assert one.read_bytes() == other.read_bytes(), name
    raw, chunks, at = drawn.files["scores"][0].read_bytes(), set(), 8
    while at < len(raw):
        size, kind = struct.unpack(">I4s", raw[at : at + 8])
        chunks.add(kind)
        at += size + 12
    assert chunks == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}  # no text: neither date nor version


def test_nothing_is_cut_off_overlaps_or_is_too_small_to_print(drawn, one_layer, written):
    assert len(written) >= 5 + 3  # those of other tests too
    assert_legible(written)


def test_a_model_of_one_layer_has_no_layer_figure_and_leaves_no_older_one(one_layer, out):
    assert set(one_layer.left_out) == {"layers", "components", *OF_BRAIN_CONTROL, *OF_EMG}
    assert {one_layer.left_out[name] for name in OF_BRAIN_CONTROL} == {"the model moves no body"}
    assert one_layer.left_out["layers"] == "the model has one layer only"
    assert one_layer.left_out["components"].endswith(
        f"`ngb score --model inputs --dataset planted --out {out} --protocol layers` makes it"
    )
    folder = one_layer.files["scores"][0].parent
    names = {f"{name}.{end}" for name in ("scores", "gains", "units") for end in ("png", "csv")}
    assert {p.name for p in folder.iterdir()} == names | {"notes.txt"}
    gains = table(one_layer, "gains")
    assert set(gains.over[gains.gain_ev.notna()]) == {"linear_kinematic", "phase_mean"}
    assert "no controller" in gains[gains.over == "untrained"].reason.iloc[0]


def test_without_held_out_conditions_only_test_is_drawn(run, tmp_path, monkeypatch):
    session = planted_session("friday", 5, n_objects=2)
    data = Dataset("two", "", False, (session,), make_splits({session.id: session.conditions}))
    monkeypatch.setattr("neurobench_grasp.run.workspace.load_dataset", lambda *arguments, **options: data)
    evaluate("network", "two", protocols=("encoding", "layers"), seeds=(0,), out=tmp_path)
    drawn = draw_figures("network", "two", out=tmp_path)
    assert set(drawn.files) == {"scores"} and drawn.title == "network (seed 0) on two (recordings)"
    assert {drawn.left_out[name] for name in ("gains", "layers", "components")} == {
        "the split ood has no trials"
    }
    assert drawn.left_out["units"].startswith("no unit was mapped and recorded in 2 trials of held-out")
    scores = table(drawn, "scores")
    assert (
        pick(scores, split="ood").ev.isna().all()
        and pick(scores, split="test", kind="model").ev.notna().all()
    )


@pytest.mark.slow
def test_where_conditions_are_few_there_is_no_interval_and_the_reason(run, written, tmp_path, monkeypatch):
    session = planted_session("friday", 5, n_objects=10)
    data = Dataset("few", "", False, (session,), make_splits({session.id: session.conditions}))
    monkeypatch.setattr("neurobench_grasp.run.workspace.load_dataset", lambda *arguments, **options: data)
    evaluate("network", "few", protocols=("encoding", "layers"), seeds=(0,), out=tmp_path)
    before = len(written)
    drawn = draw_figures("network", "few", out=tmp_path)
    reason = "no interval: 2 conditions, fewer than 5"
    for name in ("scores", "gains", "layers", "components"):
        data = table(drawn, name)
        column = "gain_ev" if name == "gains" else "ev"
        ood = data[data[column].notna() & (data.get("split", "ood") == "ood")]
        ood = ood[ood.get("kind", "") != "unit"]
        assert len(ood) and ood[f"{column}_ci_low"].isna().all() and set(ood.reason) == {reason}
    pages = dict(zip(drawn.files, written[before:], strict=True))
    for name in ("scores", "gains", "layers", "components"):
        assert any(reason[1:] in text.replace("\n", " ") for text, _, _ in pages[name].texts), name


def test_predictions_that_are_not_those_of_the_record_are_not_shown(run, out, tmp_path, monkeypatch):
    def otherwise(context):
        return [
            replace(s, predictions=s.predictions | {"ood": s.predictions["ood"] * 0.5})
            for s in predicted_sessions(context)
        ]

    monkeypatch.setattr(figures, "predicted_sessions", otherwise)
    for name in ("scores", "gains", "layers"):
        monkeypatch.setattr(figures, name, lambda networks: None)
    with pytest.raises(NgbError, match=r"are not those that were scored .* score again"):
        draw_figures("network", "planted", out=out, to=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "seeds", "command"),
    [
        ("network", (5,), "ngb score --model network --dataset planted --seed 5 --out"),
        ("network", (0, 1, 2), "ngb score --model network --dataset planted --seeds 3 --out"),
        ("unscored", None, "ngb score --model unscored --dataset planted --out"),
    ],
)
def test_without_a_record_the_command_that_makes_it_is_named(run, out, model, seeds, command):
    with pytest.raises(NgbError, match=rf"^There is no record of {model}.* score first: `{command} .*`\.$"):
        draw_figures(model, "planted", seeds=seeds, out=out)


def test_a_record_of_other_data_or_other_training_does_not_count(run, out, tmp_path, monkeypatch):
    other = replace(run.data, sessions=run.data.sessions[:1])
    monkeypatch.setattr("neurobench_grasp.run.workspace.load_dataset", lambda *arguments, **options: other)
    with pytest.raises(NgbError, match="There is no record of network on this dataset"):
        draw_figures("network", "planted", out=out)
    monkeypatch.setattr(
        "neurobench_grasp.run.workspace.load_dataset",
        lambda registry, name, *rest, **options: other if name == "elsewhere" else run.data,
    )
    with pytest.raises(NgbError, match="--dataset planted --trained-on elsewhere --out"):
        draw_figures("network", "planted", trained_on="elsewhere", out=out)


def test_no_run_folder_is_made_where_there_is_none(run, tmp_path):
    with pytest.raises(NgbError, match="There is no record"):
        draw_figures("network", "planted", out=tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(run, out, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for name in ("gains", "layers", "units", "components"):
        monkeypatch.setattr(figures, name, no_figure)
    with pytest.raises(NgbError, match=r"^Cannot write .*; choose another folder with --to\.$"):
        draw_figures("network", "planted", out=out, to=tmp_path / "file")


def no_figure(*arguments):
    raise UnsupportedError("not here")


def test_the_command_says_what_it_drew(run, out, printed, monkeypatch):
    assert printed["title"] == "network (seeds 0, 1) on planted (synthetic self-test)"
    for name in ("gains", "layers", "units", "components"):
        monkeypatch.setattr(figures, name, no_figure)
    arguments = ["figures", "--model", "network", "--dataset", "planted", "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--seed", "1", "--to", str(out / "new")])
    assert result.exit_code == 0, result.stderr
    assert f"scores: {out / 'new' / 'scores.png'}, its data: {out / 'new' / 'scores.csv'}" in result.stdout
    assert (
        "no gains, layers, units, components: not here" in result.stdout
        and "(seed 1) on planted" in result.stdout
    )
    for bad, code, sentence in (
        (["--seeds", "2", "--seed", "1"], 2, "give one of --seeds and --seed"),
        (["--seed", "9"], 1, "score first: `ngb score --model network --dataset planted --seed 9"),
    ):
        result = CliRunner().invoke(app, [*arguments, *bad])
        assert result.exit_code == code and sentence in " ".join(result.stderr.split()), result.stderr


def test_several_models_have_a_folder_each(out, tmp_path, monkeypatch):
    for name in ("layers", "units", "components"):
        monkeypatch.setattr(figures, name, no_figure)
    both = [part for model in MODELS for part in ("--model", model)]
    arguments = ["figures", *both, "--dataset", "planted", "--out", str(out), "--to", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    drawn = json.loads(result.stdout)
    assert list(drawn) == list(MODELS)
    for model, one in drawn.items():
        assert one["title"].startswith(model)
        data = pd.read_csv(one["files"]["scores"]["csv"])
        assert Path(one["files"]["scores"]["csv"]).parent == tmp_path / model
        assert set(data.model) == {model}

"""Commands in this process, the flow behind them replaced by a fake."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from compared import scored, steady, write
from typer.testing import CliRunner

from neurobench_grasp import NgbError, ScoreRecord, __version__
from neurobench_grasp.checks.fixture import layers_in
from neurobench_grasp.checks.rules import Broken, CheckResult, Report
from neurobench_grasp.cli import EXAMPLES, app
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.records import read_record, write_record
from neurobench_grasp.run.job import Job, Options

DISTRIBUTIONS = Path(__file__).parents[1] / "plugins" / "distributions"


@pytest.fixture
def ngb(tmp_path, monkeypatch):
    """Run the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def install(monkeypatch):
    """Put fake distributions on the path."""

    def add(*names):
        for name in names:
            monkeypatch.syspath_prepend(str(DISTRIBUTIONS / name))
        load_registry.cache_clear()

    yield add
    load_registry.cache_clear()


def rows(area="M1", value=0.2134):
    base = {"split": "ood", "area": area, "n_units": 84, "n_conditions": 7}
    on_test = {**base, "split": "test"}
    headline = {"metric": "single_trial_ev", "value": value, "ci": [value - 0.1, value + 0.1]}
    undefined = {
        "metric": "condition_averaged_ev",
        "value": None,
        "reason": "fewer than two conditions have 3 trials",
    }
    out = [{**base, **headline}, {**on_test, **headline}, {**base, **undefined}, {**on_test, **undefined}]
    for reference in ("circular_shift", "condition_locked_noise", "phase_mean"):
        out.append({**base, **headline, "reference": reference, "value": -0.0012, "ci": [-0.0123, 0.0101]})
        gain = {"metric": f"gain_over_{reference}", "of": "single_trial_ev"}
        out.append({**base, **headline, **gain})
        out.append({**base, **headline, **gain, "of": "condition_averaged_ev", "value": 77.0})
    absent = {"metric": "single_trial_ev", "reference": "untrained", "value": None, "reason": "it has none"}
    out.append({**base, **absent})
    out.append({**base, **headline, "session": "monday", "value": 77.0})
    out.append({**base, **headline, "layer": "first", "value": 77.0})
    out.append({**base, "metric": "n_units_below_minus_1", "value": 0})
    return out


def record(model="fake_model", seed=0, *, synthetic=True, scores=None):
    return ScoreRecord(
        model=model,
        seed=seed,
        dataset={"id": "demo", "sha256": "ab" * 32, "splits": "cd" * 32, "synthetic": synthetic},
        protocol={"name": "encoding", "version": 1, "settings": {}},
        scores=scores or [*rows("M1"), *rows("S1")],
        dropped=[
            {"session": "a", "what": "trials", "n": 2, "ids": ["3", "4"], "reason": "no event contact"},
            {"session": "b", "what": "trials", "n": 1, "ids": ["7"], "reason": "no event contact"},
            {"session": "a", "what": "note", "reason": "units were unsorted"},
        ],
        provenance={"date": "2026-01-01T00:00:00+00:00"},
    )


@pytest.fixture
def evaluated(monkeypatch):
    """Replace planning and scoring by functions that write a record per seed; returns the calls of `plan`."""
    calls = []

    def plan(workspace, model, dataset, protocols, seeds, options, *, curves):
        calls.append((model, dataset, protocols, seeds, options, curves))
        return [Job(model, "a.nwb", "encoding", seed) for seed in seeds or (0,)]

    def score(job, workspace):
        workspace.progress("encoding monday: activations")
        print("a library prints to standard output")
        made = record(job.model, job.seed)
        write_record(workspace.out / "records", made)
        return made

    monkeypatch.setattr("neurobench_grasp.run.plan.plan", plan)
    monkeypatch.setattr("neurobench_grasp.run.evaluate.score", score)
    return calls


def scored_as(monkeypatch, made):
    """Let a single job give this record, or raise this error."""

    def score(job, workspace):
        if isinstance(made, BaseException):
            raise made
        write_record(workspace.out / "records", made)
        return made

    monkeypatch.setattr("neurobench_grasp.run.plan.plan", lambda *a, **k: [Job("x", "a.nwb", "encoding")])
    monkeypatch.setattr("neurobench_grasp.run.evaluate.score", score)


def test_version_and_help(ngb):
    assert ngb("--version").stdout == f"ngb {__version__}\n"
    shown = ngb("--help")
    assert shown.exit_code == 0
    listings = ("models", "datasets", "protocols", "decoders", "bodies", "plugins")
    for command in ("score", *listings, "compare", "leaderboard", "data"):
        assert re.search(rf"│ {command} +\w", shown.stdout)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_in_help_name_options_that_exist(line):
    _, name, *arguments = shlex.split(line.partition(" > ")[0])
    command = typer.main.get_command(app).commands[name]
    command.make_parser(command.make_context(name, ["--help"], resilient_parsing=True)).parse_args(arguments)


def test_score_prints_a_table_and_writes_the_record(ngb, evaluated, tmp_path):
    result = ngb("score", "--model", "fake_model", "--full")
    assert result.exit_code == 0
    assert evaluated == [("fake_model", "demo", (), None, Options(train=True), False)]
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[0] == "fake_model (seed 0) on demo (synthetic self-test), encoding v1"
    printed = [" ".join(line.split()) for line in lines]
    assert printed.count("M1 test ood units") == printed.count("S1 test ood units") == 1
    assert printed.count("single-trial EV 0.213 [0.113, 0.313] 0.213 [0.113, 0.313] 84") == 2
    assert printed.count("condition-averaged EV – – 84") == 2
    assert printed.count("circular_shift -0.001 [-0.012, 0.010] 84") == 2
    assert printed.count("phase_mean 0.213 [0.113, 0.313] 84") == 2  # the gain over it
    assert "M1 and S1 condition-averaged EV test and ood: fewer than two conditions have 3 trials" in printed
    assert printed.count("M1 and S1 untrained ood: it has none") == 1  # and no separate row
    assert not any(line.startswith("untrained") for line in printed)
    assert "left out: 3 trials: no event contact" in lines
    assert "note: units were unsorted" in lines
    assert "77.0" not in result.stdout
    assert max(len(line) for line in lines if "─" in line or "[" in line) <= 80  # tables; notes may fold
    (path,) = (tmp_path / "ngb-runs" / "records").iterdir()
    assert lines[-1] == f"record: ngb-runs/records/{path.name}"
    assert "encoding monday: activations" in result.stderr
    assert "a library prints" not in result.stdout


@pytest.mark.parametrize("sign", ["\x1b", "\x07", "\u202e", "\u2066"])
def test_signs_that_steer_a_terminal_or_turn_text_around_are_replaced(ngb, monkeypatch, sign):
    def plan(workspace, *arguments, **options):
        workspace.progress(f"reading a{sign}b")
        raise NgbError(f"The file a{sign}b is none.")

    monkeypatch.setattr("neurobench_grasp.run.plan.plan", plan)
    result = ngb("score", "--model", "x", "--full")
    assert sign not in result.stderr and result.stderr.count("a\ufffdb") == 2


def test_the_table_has_no_colour_codes_and_fits_80_columns_in_the_worst_case(ngb, monkeypatch):
    wide = [
        {
            "metric": m,
            "split": s,
            "area": "unknown",
            "value": -0.1234,
            "ci": [-0.2345, -0.1111],
            "n_units": 1200,
            **extra,
        }
        for s in ("test", "ood")
        for m, extra in (
            ("condition_averaged_ev", {}),
            ("single_trial_ev", {"reference": "condition_locked_noise"}),
            ("gain_over_condition_locked_noise", {"of": "single_trial_ev"}),
        )
    ]
    scored_as(monkeypatch, record(scores=wide))
    result = ngb("score", "--model", "x", "--full")
    assert "\x1b" not in result.stdout
    table = [line.rstrip() for line in result.stdout.splitlines() if "-0.123" in line]
    assert len(table) == 3
    assert all(line.count("-0.123 [-0.234, -0.111]") == 2 for line in table)  # nothing is folded
    assert max(map(len, table)) <= 80


def test_a_protocol_of_a_plugin_is_shown_too(ngb, monkeypatch):
    scores = [
        {"metric": "tracking_error", "split": "test", "value": 5.1, "ci": [4.8, 5.4], "unit": "mm"},
        {"metric": "n_trials", "value": 12},
    ]
    scored_as(monkeypatch, record(scores=scores, synthetic=False))
    result = ngb("score", "--model", "x", "--full")
    assert re.search(r"tracking error \(mm\) +5\.10 \[4\.80, 5\.40\]", result.stdout)
    assert re.search(r"n_trials +12", result.stdout)
    assert "(recordings)" in result.stdout


def test_errors_of_single_keypoints_are_shown_and_those_of_single_joints_are_not(ngb, monkeypatch):
    error = {"metric": "tracking_error", "split": "test", "unit": "mm"}
    scores = [
        {**error, "value": 5.1},
        {**error, "metric": "tracking_error_tips", "value": 6.1},
        {**error, "reference": "average_posture", "value": 20.1},
        {**error, "dimension": "elbow", "value": 4.1},
        {**error, "dimension": "elbow", "reference": "average_posture", "value": 19.1},
        {"metric": "decoding_ev_joint_angles", "split": "test", "value": 0.771, "dimension": "elbow"},
    ]
    scored_as(monkeypatch, record(scores=scores, synthetic=False))
    printed = [" ".join(line.split()) for line in ngb("score", "--model", "x", "--full").stdout.splitlines()]
    assert {"tracking error (mm) 5.10", "tracking error, elbow (mm) 4.10"} <= set(printed)
    assert {"average_posture 20.10", "average_posture, elbow 19.10"} <= set(printed)
    assert "tracking error, tips (mm) 6.10" in printed
    assert not any("0.771" in line for line in printed)


def test_curves_of_both_splits_are_shown(ngb, monkeypatch):
    row = {"metric": "brain_control_error", "area": "M1", "decoded": "embedding", "unit": "mm", "noise": 0.0}
    scores = [
        {**row, "split": split, "n_decoded_units": n, "value": value}
        for split, n, value in (
            ("test", "1", 9.1),
            ("test", "all", 7.1),
            ("ood", "1", 9.2),
            ("ood", "all", 7.2),
        )
    ]
    scored_as(monkeypatch, record(scores=scores))
    printed = " ".join(ngb("score", "--model", "x", "--full").stdout.split())
    for split, one, every in (("test", "9.10", "7.10"), ("ood", "9.20", "7.20")):
        expected = rf"M1, error on {split} \(mm\), decoded: embedding ─+ 1 unit {one} all units {every}"
        assert re.search(expected, printed)


def test_score_json_is_the_list_of_records(ngb, evaluated):
    result = ngb("score", "--model", "fake_model", "--seeds", "2", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [r["seed"] for r in found] == [0, 1]
    assert found[0]["scores"][0]["value"] == 0.2134


def test_score_options_reach_the_flow(ngb, evaluated, tmp_path):
    arguments = [
        "--dataset",
        "x/a.nwb",
        "--layout",
        "mine.yaml",
        "--protocol",
        "a",
        "--protocol",
        "b",
        "--seed",
        "7",
        "--decoder",
        "kalman",
        "--curves",
        "--quarantine",
        "--no-train",
    ]
    assert ngb("score", "--model", "m", *arguments, "--out", "else").exit_code == 0
    options = Options(layout="mine.yaml", decoder="kalman", quarantine=True)
    assert evaluated == [("m", "x/a.nwb", ["a", "b"], (7,), options, True)]
    assert (tmp_path / "else" / "records").is_dir()


@pytest.mark.parametrize("ci", [None, [0.1, 0.3]])
def test_a_fold_of_few_conditions_says_what_gives_an_interval(ngb, monkeypatch, ci):
    """Where it has one, nothing is said of the other folds."""
    own = {"metric": "single_trial_ev", "split": "ood", "area": "M1", "value": 0.2, "ci": ci}
    made = record(scores=[{**own, "n_units": 9, "n_conditions": 1}])
    made = replace(made, dataset={**made.dataset, "fold": 0, "n_folds": 5})
    scored_as(monkeypatch, made)
    said = "ood: no interval: only 1 of 5 folds of the conditions; score all (--seeds 5)"
    assert (said in ngb("score", "-m", "x", "--full").stdout.splitlines()) == (ci is None)
    scored_as(monkeypatch, replace(made, dataset={**made.dataset, "n_folds": 4}))
    said = (
        "ood: no interval: 4 conditions, fewer than 5; no command gives one (1 of 4 folds of the conditions"
    )
    assert (said in ngb("score", "-m", "x", "--full").stdout) == (ci is None)


@pytest.fixture
def of_folds(monkeypatch):
    """Three networks, the last of which lacks a unit and has a separate note."""
    made = {}
    for seed in range(3):
        one = scored("x", steady(0.2)[:, : 9 if seed == 2 else 10], seed=seed)
        notes = ["units were unsorted", f"turned by {40 if seed < 2 else 30} degrees"]
        dropped = [{"session": "s", "what": "note", "reason": note} for note in notes]
        made[seed] = replace(one, record=replace(one.record, dropped=dropped))

    def score(job, workspace):
        (path,) = write(workspace.out / "records", made[job.seed])
        return read_record(path)

    jobs = [Job("x", "a.nwb", "encoding", seed) for seed in made]
    monkeypatch.setattr("neurobench_grasp.run.plan.plan", lambda *a, **k: jobs)
    monkeypatch.setattr("neurobench_grasp.run.evaluate.score", score)


def test_what_a_mean_over_networks_leaves_out_is_named(ngb, of_folds):
    lines = ngb("score", "-m", "x", "--full").stdout.splitlines()
    assert "M1 single-trial EV ood: the mean leaves out u9, without a score by seed 2" in lines


def test_notes_of_all_folds_are_printed(ngb, of_folds):
    lines = ngb("score", "-m", "x", "--full").stdout.splitlines()
    assert {"note, seeds 0, 1: turned by 40 degrees", "note, seed 2: turned by 30 degrees"} <= {*lines}
    assert lines.count("note: units were unsorted") == 1


def test_listings(ngb, install):
    install("good")
    shown = ngb("models")
    assert re.search(r"fake_model +a fake +fake-good 2\.1", shown.stdout)
    (model,) = [m for m in json.loads(ngb("models", "--json").stdout) if m["name"] == "fake_model"]
    assert model == {
        "name": "fake_model",
        "summary": "a fake",
        "card": {
            "licence": "CC0-1.0",
            "authors": ["A. Author"],
            "citation": "",
            "action_space": "none",
            "training_data": ["dandi:000128"],
            "parameters": 0,
            "steps": 0,
            "compute": "none",
            "seeds": [],
            "simulator": "none",
        },
        "provider": {"distribution": "fake-good", "version": "2.1"},
    }
    assert re.search(r"fake_data +nothing \(synthetic self-test\)", ngb("datasets").stdout)
    assert {"fake_data"} <= {
        d["name"] for d in json.loads(ngb("datasets", "--json").stdout) if d["synthetic"]
    }
    assert {("fake_protocol", 3)} <= {
        (p["name"], p["version"]) for p in json.loads(ngb("protocols", "--json").stdout)
    }
    assert re.search(r"fake_decoder +rests +fake-good 2\.1", ngb("decoders").stdout)
    assert {
        "name": "fake_decoder",
        "summary": "rests",
        "provider": {"distribution": "fake-good", "version": "2.1"},
    } in json.loads(ngb("decoders", "--json").stdout)


def test_broken_plugins_are_in_view_and_all_else_works(ngb, install):
    install("importerror", "exits", "good")
    shown = ngb("plugins")
    assert shown.exit_code == 0
    assert re.search(r"importerror +fake-importerror 1\.0 +broken", shown.stdout)
    assert "importerror (fake-importerror 1.0): ModuleNotFoundError: No module named" in shown.stdout
    assert "exits (fake-exits 0.3): SystemExit: this plugin wants to stop the tool" in shown.stdout
    assert {p["name"]: p["status"] for p in json.loads(ngb("plugins", "--json").stdout)}["exits"] == "broken"
    models = ngb("models")
    assert "fake_model" in models.stdout
    assert "could not be loaded: see `ngb plugins`" in models.stderr


def test_two_plugins_with_one_name_are_both_named(ngb, install):
    install("twin_a", "twin_b")
    result = ngb("score", "--model", "twin")
    assert result.exit_code == 1
    assert result.stderr == (
        "Model 'twin' is offered by fake-twin_a 1.0 and fake-twin_b 2.0; "
        "uninstall one, or disable its plugin with NGB_DISABLE_PLUGINS.\n"
    )
    assert "clash" in ngb("plugins").stdout
    assert "offer a name that another plugin offers, too" in ngb("models").stderr


def test_an_unknown_model_brings_a_suggestion(ngb, install, tmp_path):
    install("good")
    result = ngb("score", "--model", "fake_modle")
    assert result.exit_code == 1
    assert result.stderr.startswith("There is no model 'fake_modle'. Did you mean 'fake_model'?")
    assert list(tmp_path.iterdir()) == []


def test_what_a_plugin_prints_is_not_a_result(ngb, install):
    install("noisy")
    result = ngb("models", "--json")
    assert "noisy" in {m["name"] for m in json.loads(result.stdout)}


def test_leaderboard_ranks_recordings_and_self_tests_apart(ngb, tmp_path):
    folder = tmp_path / "ngb-runs" / "records"
    scores = (("good", 0.9), ("twin", 0.9), ("bad", 0.1))
    write(folder, *(scored(m, steady(v), synthetic=s) for m, v in scores for s in (False, True)))
    (folder / "broken.json").write_text("{")
    result = ngb("leaderboard")
    assert result.exit_code == 0
    assert "broken.json is not valid JSON" in result.stderr
    first, second = result.stdout.split("M1 on data (synthetic self-test")
    assert first.startswith("M1 on data (recordings, data aaaaaaaa), encoding v1 (settings 44136fa3)")
    for part in (first, second):
        assert re.search(r"1–2 a +good +0\.900 +\[0\.\d+, 0\.\d+\] +1 +10", part)
        assert re.search(r"1–2 a +twin ", part)
        assert re.search(r"3 b +bad ", part)
        assert "good, twin, bad: one network, so intervals do not contain how networks differ" in part
    assert "Two models differ if and only if" in second
    assert [r["model"] for r in json.loads(ngb("leaderboard", folder, "--json").stdout)][:3] == [
        "good",
        "twin",
        "bad",
    ]


def test_leaderboard_without_records_says_how_to_make_one(ngb, monkeypatch, tmp_path):
    monkeypatch.setattr("neurobench_grasp.resources.resource", lambda _: tmp_path)  # none are shipped
    result = ngb("leaderboard", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == []
    assert "make one with `ngb score --model NAME`" in result.stderr
    absent = ngb("leaderboard", "nowhere")
    assert absent.exit_code == 1 and absent.stderr.startswith("left out: there is no folder nowhere\n")
    assert "None of these has records; name run folders, submissions or folders of records." in absent.stderr


def test_a_submission_without_its_bundle_is_refused_not_taken_for_a_run(ngb, tmp_path):
    write_record(tmp_path / "mine" / "records", record())
    (tmp_path / "mine" / "card.json").write_text("{}")
    result = ngb("verify", "mine")
    assert result.exit_code == 1
    assert "bundle.json: it is missing" in result.stdout + result.stderr


@pytest.mark.parametrize("spoilt", ["{", '{"schema": 1}'])
def test_files_of_a_record_that_cannot_be_read_are_not_called_superfluous(ngb, tmp_path, spoilt):
    (tmp_path / "mine" / "records").mkdir(parents=True)
    for name in ("bundle.json", "card.json", "records/a.json", "records/a.units.npz"):
        (tmp_path / "mine" / name).write_text("{}")
    (tmp_path / "mine" / "records" / "a.json").write_text(spoilt)
    result = ngb("verify", "mine")
    assert result.exit_code == 1
    assert "records/a.json: " in result.stdout
    assert "belongs to no record" not in result.stdout
    assert "there are no records" not in result.stdout


def test_checks_that_were_not_run_are_counted_one_by_its_name(ngb, monkeypatch):
    rows = [
        CheckResult("model a", check, "a rule", "not run", f"Not run, because {cause} did not pass.", 0.0)
        for check, cause in (("restores", "plain_state"), ("fits", "builds"), ("causal", "builds"))
    ]
    monkeypatch.setattr("neurobench_grasp.checks.run_checks", lambda *_, **__: Report("a", tuple(rows)))
    lines = [line.split() for line in ngb("check", "a").stdout.splitlines()]
    assert any(line[:3] == ["restores", "not", "run"] for line in lines)
    assert any(line[:4] == ["2", "others", "not", "run"] for line in lines)
    assert not any(line[:2] == ["1", "others"] for line in lines)


def test_a_missing_layer_mapping_is_reported_with_the_required_form():
    with pytest.raises(Broken, match=r"must return Activations\(\{name: Ragged\}\)\.$"):
        layers_in({"hidden": 0}, "activations")


def test_data_layouts(ngb):
    assert re.search(r"ngb-grasp-1 +canonical grasp session", ngb("data", "layouts").stdout)
    assert {"ngb-grasp-1", "m1-wrist"} <= {
        layout["name"] for layout in json.loads(ngb("data", "layouts", "--json").stdout)
    }

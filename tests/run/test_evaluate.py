import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded import planted_session, write_for_test, write_planted
from typer.testing import CliRunner

from neurobench_grasp.alignment.align import align
from neurobench_grasp.data import load_session
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols.event_tuning import event_tuning
from neurobench_grasp.records import to_json
from neurobench_grasp.records.record import read_records
from neurobench_grasp.records.table import tables_of
from neurobench_grasp.run.dataset import load_dataset
from neurobench_grasp.run.evaluate import evaluate

STAGES = ("fit", "activations", "map", "shift", "score")
SHARED_STAGES = ("linear_kinematic", "linear_lookahead", "quadratic_kinematic", "noise")
VOLATILE = ("date", "wall_time_s", "peak_memory_bytes", "blas")


@pytest.fixture(scope="module")
def planted_file(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("data") / "planted.nwb")


def score_command(dataset, out):
    return [sys.executable, str(Path(__file__).parents[2] / "cli.py"), "score", "--model", "linear_kinematic",
            "--dataset", str(dataset), "--out", str(out), "--json"]  # fmt: skip


def stable(record):
    """All of a record but times and memory."""
    provenance = {k: v for k, v in record["provenance"].items() if k not in VOLATILE}
    return record | {"provenance": provenance}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_no_model_takes_part_in_is_computed_once_for_all_run_folders(planted_file, tmp_path, cache):
    evaluate("linear_kinematic", planted_file, seeds=(0,), out=tmp_path / "one")
    kept = {p: p.stat().st_mtime_ns for p in (cache / "references").glob("*/arrays.npz")}
    assert {p.parent.name.split("-")[0] for p in kept} == set(SHARED_STAGES)
    evaluate("linear_kinematic", planted_file, seeds=(0,), out=tmp_path / "two")
    assert {p: p.stat().st_mtime_ns for p in (cache / "references").glob("*/arrays.npz")} == kept


def test_the_files_of_a_folder_are_sessions_of_one_dataset(tmp_path):
    folder = tmp_path / "both.days"
    folder.mkdir()
    for seed, name in enumerate(("monday", "tuesday")):
        write_for_test(folder / f"{name}.nwb", replace(planted_session(seed=seed), id=name))
    for other in ("notes.txt", "._monday.nwb"):
        (folder / other).write_text("not a recording")
    data = load_dataset(load_registry(), str(folder))
    assert data.id == "both.days" and [session.id for session in data.sessions] == ["monday", "tuesday"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(NgbError, match="is a folder; name one of the NWB files in it"):
        load_dataset(load_registry(), str(tmp_path / "empty"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_without_a_cache_the_run_folder_keeps_everything(planted_file, tmp_path, cache):
    cache.mkdir(mode=0o500)
    evaluate("linear_kinematic", planted_file, seeds=(0,), out=tmp_path / "run")
    stages = {p.name.split("-")[0] for p in (tmp_path / "run" / "stages").iterdir()}
    assert stages == {*STAGES, *SHARED_STAGES}


def test_a_score_is_a_record_and_the_second_run_computes_nothing(planted_file, tmp_path, cache):
    (first,) = evaluate("linear_kinematic", planted_file, seeds=(0,), out=tmp_path)
    row = next(r for r in first.scores if r["metric"] == "single_trial_ev" and r["split"] == "test")
    assert 0.1 < row["value"] < 0.9 and row["n_units"] == 6
    assert first.dataset["synthetic"] is True and first.dataset["id"] == "planted"
    stages = {p: p.stat().st_mtime_ns for p in (tmp_path / "stages").glob("*/arrays.npz")}
    assert {p.parent.name.split("-")[0] for p in stages} == set(STAGES)
    (second,) = evaluate("linear_kinematic", planted_file, seeds=(0,), out=tmp_path)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "stages").glob("*/arrays.npz")} == stages
    assert second.scores == first.scores
    records, problems = read_records([tmp_path])
    assert len(records) == 1 and not problems
    splits = json.loads(next((tmp_path / "splits").glob("*.json")).read_text())
    assert (
        len(splits["train"]["planted"]) + len(splits["test"]["planted"]) + len(splits["ood"]["planted"]) == 48
    )


def test_a_seed_is_a_record_of_its_own(planted_file, tmp_path):
    records = evaluate("linear_kinematic", planted_file, seeds=(0, 1), out=tmp_path)
    assert [r.seed for r in records] == [0, 1]
    assert len(read_records([tmp_path])[0]) == 2


class Dead(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def unbroken(planted_file, tmp_path_factory):
    """Record of a run that nothing stopped."""
    (record,) = evaluate(
        "linear_kinematic", planted_file, seeds=(0,), out=tmp_path_factory.mktemp("unbroken")
    )
    return stable(json.loads(json.dumps(to_json(record))))


@pytest.mark.parametrize("moment", ["written", "renamed"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_dies_at_any_stage_continues_to_the_same_record(
    planted_file, tmp_path, unbroken, monkeypatch, stage, moment
):
    """Before its files get their name, and after."""

    def die(self, target, rename=Path.rename):
        ours = self.name.startswith(f".{stage}-")
        if ours and moment == "written":
            raise Dead
        rename(self, target)
        if ours:
            raise Dead

    with monkeypatch.context() as patch, pytest.raises(Dead):
        patch.setattr(Path, "rename", die)
        evaluate("linear_kinematic", planted_file, seeds=(0,), out=tmp_path)
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("stages/*/arrays.npz")}
    assert any(p.parent.name.startswith(stage) for p in kept) == (moment == "renamed")
    (record,) = evaluate("linear_kinematic", planted_file, seeds=(0,), out=tmp_path)
    assert stable(json.loads(json.dumps(to_json(record)))) == unbroken
    assert kept.items() <= {p: p.stat().st_mtime_ns for p in tmp_path.glob("stages/*/arrays.npz")}.items()


def test_a_run_killed_by_the_system_continues_to_the_same_record(planted_file, tmp_path, unbroken):
    process = subprocess.Popen(
        score_command(planted_file, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("stages/fit-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    again = subprocess.run(score_command(planted_file, tmp_path), capture_output=True)
    assert stable(json.loads(again.stdout)[0]) == unbroken


def main_row(record, metric, split, **labels):
    wanted = {"metric": metric, "split": split, "area": "M1", **labels}
    return next(
        r
        for r in record.scores
        if all(r.get(k) == v for k, v in wanted.items()) and ("reference" in r) == ("reference" in wanted)
    )


def test_real_reaching_scores_in_the_published_range_and_nulls_at_zero(real_file, tmp_path):
    """An independent analysis of this recording found a median of 0.29 and a best unit of 0.71."""
    records = evaluate("linear_kinematic", real_file("real/m1_center_out.nwb"), out=tmp_path)
    (networks,) = tables_of(records, tmp_path / "records")
    held_out = [c for record in records for c in record.dataset["held_out_conditions"]]
    assert len(held_out) == len(set(held_out)) == 8, "every direction is held out once"
    on_ood = networks.score("single_trial_ev", split="ood", area="M1")
    assert on_ood.ci[0] > 0 and on_ood.median > 0.05  # one fold of two directions gave no interval
    shifted = networks.score("single_trial_ev", split="ood", area="M1", reference="circular_shift")
    assert abs(shifted.value) < 0.003
    record = records[0]
    on_test = main_row(record, "single_trial_ev", "test")
    assert on_test["n_units"] == 84 and 0.22 < on_test["median"] < 0.38
    assert main_row(record, "gain_over_phase_mean", "test")["ci"][0] > 0
    noise = main_row(record, "single_trial_ev", "test", reference="condition_locked_noise")
    assert noise["ci"][0] > 0.1  # it knows the direction; the reason why ood leads


def test_real_wrist_recording_is_scored_from_its_cursor_without_its_emg(real_file, tmp_path):
    path = real_file("real/m1_wrist_0719.nwb")
    session = load_session(path)
    assert set(session.signals) - set(align(session).trials.signals) == {"emg"}
    (record,) = evaluate("linear_kinematic", path, seeds=(0,), out=tmp_path)
    assert main_row(record, "single_trial_ev", "test")["value"] > 0.2
    emg = main_row(record, "single_trial_ev", "ood", reference="linear_emg")["value"]
    assert emg > main_row(record, "single_trial_ev", "ood")["value"], "it stands apart"
    assert abs(main_row(record, "single_trial_ev", "ood", reference="circular_shift")["value"]) < 0.003


@pytest.mark.parametrize("name", ["s1_grasp35_0", "s1_grasp35_2", "s1_grasp35_4"])
def test_real_grasps_without_kinematics_load_and_say_why_they_cannot_be_scored(real_file, tmp_path, name):
    path = real_file(f"real/{name}.nwb")
    with pytest.raises(NgbError, match="neither joint angles nor other behavioural signals"):
        evaluate("linear_kinematic", path, seeds=(0,), out=tmp_path)


def test_real_object_tuning_grows_from_before_the_movement_to_the_grasp(real_file):
    """Event 1 lies before the movement, event 6 at about the grasp; pooled over the units of all sessions."""
    reliability, n_units = {"event_1": [], "event_6": []}, []
    for name in ("s1_grasp35_0", "s1_grasp35_2", "s1_grasp35_4"):
        session = load_session(real_file(f"real/{name}.nwb"))
        rows = {r["event"]: r["reliability"] for r in event_tuning(session)}
        assert rows["event_6"] > rows["event_1"] + 0.1
        n_units.append(len(session.units))
        for event, values in reliability.items():
            values.append(rows[event])
    assert np.average(reliability["event_1"], weights=n_units) < 0.2
    assert np.average(reliability["event_6"], weights=n_units) > 0.6


def test_a_file_whose_name_no_record_may_hold_is_not_read(planted_file, tmp_path, monkeypatch):
    monkeypatch.setattr("neurobench_grasp.run.dataset.load_session", lambda *a, **k: pytest.fail("read"))
    named = shutil.copy(planted_file, tmp_path / "ses\x1b[2Jsion.nwb")
    with pytest.raises(NgbError, match="invisible characters; rename it") as error:
        evaluate("linear_kinematic", named, seeds=(0,), out=tmp_path / "run")
    assert "\x1b" not in str(error.value)


def test_an_output_folder_that_is_a_file_is_one_sentence_before_anything_is_read(planted_file, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(NgbError, match="Cannot write to the output folder"):
        evaluate("linear_kinematic", planted_file, seeds=(0,), out=tmp_path / "taken")


@pytest.mark.parametrize("name", ["no/such/file.nwb", "missing.nwb"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(NgbError, match=Path(name).name):
        evaluate("linear_kinematic", name, seeds=(0,), out=tmp_path)


def test_exported_behaviour_with_a_layer_added_is_scored_like_a_model(planted_file, tmp_path):
    """The two commands of docs/arrays.md."""
    from neurobench_grasp.cli import app

    steps, mine, out = (tmp_path / name for name in ("steps.npz", "Mine.npz", "runs"))
    runner = CliRunner()
    assert runner.invoke(app, ["data", "export", str(planted_file), "--to", str(steps)]).exit_code == 0
    arrays = dict(np.load(steps))
    np.savez(mine, **arrays, layer_position=arrays["signal position"])
    command = [
        "score",
        "--activations",
        str(mine),
        "--dataset",
        str(planted_file),
        "--out",
        str(out),
        "--json",
    ]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    (record, *others), _ = read_records([out])
    assert len(others) == 4, "every fold is scored"
    assert (
        record.model == "mine"
        and record.provenance["weights"] == hashlib.sha256(mine.read_bytes()).hexdigest()
    )
    assert main_row(record, "single_trial_ev", "test")["value"] > 0.1
    taken = runner.invoke(app, [*command, "--model", "linear_kinematic"])
    assert taken.exit_code == 1 and "There is a model linear_kinematic already" in taken.output
    assert runner.invoke(app, ["score"]).exit_code == 2

"""What a user sees of a grid: its plan, its status, and why parts of it failed."""

import json
import re
from dataclasses import replace

import pytest
from recorded import write_planted
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.run.grid import Grid, Task


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))


def ngb(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "100"})


def score_task(seed):
    return Task(
        "score", {"model": "muscle_ppo", "dataset": "/data/x.nwb", "protocol": "encoding", "seed": seed}
    )


def test_status_counts_and_names_what_runs_and_what_failed(tmp_path):
    grid = Grid.open(tmp_path, [score_task(seed) for seed in range(4)], ["code"])
    grid.begin(0).end("done", result={}, seconds=60.0)
    grid.begin(1).end("failed", reason="No layout fits.")
    grid.begin(2)
    shown = ngb("status", tmp_path)
    assert shown.exit_code == 1
    assert "1 of 4 tasks done, 1 running, 1 waiting, 1 failed; about 2 min left" in shown.stdout
    assert "failed: muscle_ppo (seed 1) by encoding on x.nwb: No layout fits." in shown.stdout
    assert re.search(r"running: muscle_ppo \(seed 2\) by encoding on x.nwb for \d+ s on", shown.stdout)
    data = json.loads(ngb("status", tmp_path, "--json").stdout)
    assert data["counts"] == {"done": 1, "running": 1, "waiting": 1, "failed": 1}
    assert data["seconds_left"] == pytest.approx(120)


def test_status_names_what_others_needed_once(tmp_path):
    fetch = Task("fetch", {"dataset": "/data/x.nwb"})
    scores = [replace(score_task(seed), needs=(0,)) for seed in range(3)]
    grid = Grid.open(tmp_path, [fetch, *scores], ["code"] * 4)
    grid.begin(0).end("failed", reason="No layout fits.")
    shown = json.loads(ngb("status", tmp_path, "--json").stdout)
    assert shown["counts"]["failed"] == 4
    assert shown["failed"] == ["fetch on x.nwb: No layout fits. (3 more need it)"]


def test_status_says_when_nothing_runs_and_what_to_do(tmp_path):
    grid = Grid.open(tmp_path, [score_task(seed) for seed in range(2)], ["code"])
    idle = f"nothing runs now; unless jobs are queued, repeat the command or use `ngb work {tmp_path}`"
    assert idle in ngb("status", tmp_path).stdout.replace("\n", " ")
    grid.begin(0)
    assert "nothing runs now" not in ngb("status", tmp_path).stdout


def test_a_folder_without_a_grid_is_one_sentence(tmp_path):
    shown = ngb("status", tmp_path)
    assert shown.exit_code == 1 and "There is no grid in" in shown.stderr


def test_one_command_scores_models_on_several_datasets_and_reports_what_failed(tmp_path):
    files = [write_planted(tmp_path / f"{name}.nwb", seed=k) for k, name in enumerate("ab")]
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        json.dumps([
            {"models": ["linear_kinematic"], "datasets": [*map(str, files)], "protocols": ["encoding"], "seeds": [1]},
            {"models": ["linear_kinematic"], "datasets": [str(files[0])], "protocols": ["tracking"], "seeds": [0]},
        ])
    )  # fmt: skip
    planned = ngb("plan", "--grid", grid)
    assert [json.loads(line)["protocol"] for line in planned.stdout.splitlines()] == [
        "encoding", "encoding", "tracking"
    ]  # fmt: skip
    scored = ngb("score", "--grid", grid, "--out", tmp_path / "run")
    assert scored.exit_code == 1
    assert len(list((tmp_path / "run" / "records").glob("*.json"))) == 2
    table = scored.stdout[scored.stdout.index("not scored") :]
    assert "linear_kinematic (seed 0) by tracking on a.nwb" in table and "moves no body" in table
    status = json.loads(ngb("status", tmp_path / "run", "--json").stdout)
    assert status["counts"] == {"done": 2, "running": 0, "waiting": 0, "failed": 1}


def test_a_grid_file_states_everything(tmp_path):
    (tmp_path / "grid.yaml").write_text("models: [linear_kinematic]")
    refused = ngb("score", "--grid", tmp_path / "grid.yaml", "--model", "muscle_ppo")
    assert refused.exit_code == 2 and "leave out --model" in refused.stderr


def test_a_dataset_of_a_grid_that_does_not_exist_is_refused_before_anything_runs(tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("{models: [linear_kinematic], datasets: [demoo], protocols: [encoding], seeds: 1}")
    for command in ("plan", "score"):
        refused = ngb(command, "--grid", grid, *(("--out", tmp_path / "run") if command == "score" else ()))
        assert refused.exit_code == 1 and "Did you mean 'demo'" in refused.stderr
    assert not (tmp_path / "run" / "grids").exists()

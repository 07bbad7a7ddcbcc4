"""The grid of a run: states follow from the files alone, also from those of other processes."""

import json
import os
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp import claims
from neurobench_grasp.claims import create, owner
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.grid import (
    BROKEN,
    DONE,
    FAILED,
    MOST_ATTEMPTS,
    RUNNING,
    STOPPED,
    WAITING,
    Grid,
    Task,
    grids,
)
from neurobench_grasp.run.job import Job, Options
from neurobench_grasp.run.tasks import code_versions, job_of, label, tasks_of

ADD = Task("add", {"x": 1})
DEAD = {"started": "1"}


def grid_of(folder, *tasks):
    return Grid.open(folder, tasks or (ADD,), ["code"])


def seen(grid):
    """The grid as another process reads it."""
    other = Grid.read(grid.folder)
    other.read_log()
    return other


# --- attempts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "state"), [(DONE, DONE), (FAILED, FAILED), (BROKEN, WAITING), (STOPPED, WAITING)]
)
def test_how_an_attempt_ends_is_the_state_that_others_read(tmp_path, end, state):
    grid = grid_of(tmp_path)
    attempt = grid.begin(0)
    assert seen(grid).state(0).name == RUNNING
    attempt.end(end, reason="why", result={"x": 2}, seconds=1.0)
    assert seen(grid).state(0).name == grid.state(0).name == state
    assert seen(grid).is_finished() == (end in (DONE, FAILED))


def test_one_of_two_processes_begins_a_task(tmp_path):
    grid = grid_of(tmp_path)
    other = Grid.read(grid.folder)
    assert grid.begin(0) is not None and other.begin(0) is None
    assert other.state(0).name == RUNNING and list(other.ready()) == []


@pytest.mark.parametrize("end", [BROKEN, None])
def test_a_task_that_breaks_or_is_lost_is_given_up_in_the_end(tmp_path, end):
    grid = grid_of(tmp_path)
    for number in range(1, MOST_ATTEMPTS + 1):
        assert grid.state(0).name == WAITING
        attempt = grid.begin(0)
        assert attempt.number == number
        if end:
            attempt.end(end, reason="no space")
        else:
            attempt.path.write_text(json.dumps(owner() | DEAD))
            grid.read_log()
    assert grid.is_finished() and grid.state(0).name == FAILED
    assert grid.reason(0).startswith("no space" if end else "Its process was lost 3 times")


def test_stops_from_outside_do_not_count_as_attempts(tmp_path):
    grid = grid_of(tmp_path)
    for _ in range(2 * MOST_ATTEMPTS):
        grid.begin(0).end(STOPPED)
    assert seen(grid).state(0).name == WAITING
    grid.begin(0).end(DONE, result={}, seconds=0)
    assert seen(grid).state(0).name == DONE


def test_an_attempt_elsewhere_is_lost_when_its_claim_is_no_longer_touched(tmp_path, monkeypatch):
    grid = grid_of(tmp_path)
    claim = grid.folder / "log" / "0.1.run"
    assert create(claim, owner() | {"kernel": "elsewhere"})
    assert seen(grid).state(0).name == RUNNING
    long_ago = time.time() - claims.EXPIRES_S - 60
    os.utime(claim, (long_ago, long_ago))
    assert seen(grid).state(0).name == WAITING
    assert seen(grid).begin(0).number == 2


ENDS = st.sampled_from([DONE, FAILED, BROKEN, STOPPED, None])


@settings(max_examples=60)
@given(st.lists(st.lists(ENDS, max_size=5), min_size=1, max_size=4))
def test_states_are_those_of_a_simple_count(tmp_path_factory, histories):
    """Reference: read the attempts of each task in order, and stop at what ends it."""
    grid = grid_of(tmp_path_factory.mktemp("grid"), *[ADD] * len(histories))
    expected = []
    for i, history in enumerate(histories):
        state, tries = WAITING, 0
        for number, end in enumerate(history, 1):
            if state != WAITING:
                break
            create(grid.folder / "log" / f"{i}.{number}.run", owner() | DEAD)
            if end:
                create(grid.folder / "log" / f"{i}.{number}.{end}", {"reason": "r"})
            tries += end != STOPPED
            state = end if end in (DONE, FAILED) else FAILED if tries == MOST_ATTEMPTS else WAITING
        expected.append(state)
    other = seen(grid)
    assert [other.state(i).name for i in range(len(histories))] == expected
    assert other.counts() == Counter(expected) | Counter({WAITING: expected.count(WAITING)})


def test_what_needs_a_failed_task_fails_with_its_reason_and_what_comes_after_begins(tmp_path):
    grid = grid_of(
        tmp_path, ADD, Task("add", {}, needs=(0,)), Task("add", {}, after=(0,)), Task("add", {}, needs=(1,))
    )
    assert list(grid.ready()) == [0]
    grid.begin(0).end(FAILED, reason="No such file.")
    other = seen(grid)
    assert list(other.ready()) == [2]
    assert [other.state(i).name for i in range(4)] == [FAILED, FAILED, WAITING, FAILED]
    assert other.reason(3) == other.reason(1) == "No such file."


# --- which grid -------------------------------------------------------------------------------------


def test_an_unfinished_grid_of_the_same_tasks_and_code_continues_and_no_other(tmp_path):
    first = grid_of(tmp_path, ADD, ADD)
    first.begin(0).end(DONE, result={}, seconds=0)
    same = grid_of(tmp_path, ADD, ADD)
    assert same.folder == first.folder and same.state(0).name == DONE
    assert Grid.open(tmp_path, (ADD, ADD), ["other code"]).folder != first.folder
    assert Grid.open(tmp_path, (ADD, ADD), [None]).folder != first.folder
    assert grid_of(tmp_path, ADD).folder != first.folder
    same.begin(1).end(DONE, result={}, seconds=0)
    assert grid_of(tmp_path, ADD, ADD).folder != first.folder, "a finished grid is history"
    assert len(grids(tmp_path)) == 5


@pytest.mark.parametrize("raw", ["{", '["add"]\n', "[" * 100_000])
def test_a_damaged_grid_is_one_sentence(tmp_path, raw):
    grid = grid_of(tmp_path)
    (grid.folder / "tasks").write_text(raw)
    with pytest.raises(NgbError, match="is damaged"):
        Grid.read(grid.folder)


def test_a_damaged_result_is_one_sentence(tmp_path):
    grid = grid_of(tmp_path)
    grid.begin(0).end(DONE, result={}, seconds=0)
    (grid.folder / "log" / "0.1.done").write_text("{}")
    with pytest.raises(NgbError, match="lacks one of result"):
        seen(grid).result(0)


def test_a_run_folder_that_cannot_be_written_to_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NgbError, match="choose another with --out"):
        grid_of(tmp_path / "file")


def test_a_run_folder_that_is_a_link_to_nothing_is_one_sentence(tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "purged")
    with pytest.raises(NgbError, match="choose another with --out"):
        grid_of(tmp_path / "run")


@pytest.mark.parametrize("needs", [[1], [-1], ["x"]])
def test_a_task_that_needs_a_later_one_is_damage(tmp_path, needs):
    grid = grid_of(tmp_path)
    (grid.folder / "tasks").write_text(json.dumps(["add", {}, needs, []]) + "\n")
    with pytest.raises(NgbError, match="is damaged"):
        Grid.read(grid.folder)


def test_what_needs_a_task_that_just_failed_does_not_begin(tmp_path):
    grid = grid_of(tmp_path, ADD, Task("add", {}, needs=(0,)))
    attempt = grid.begin(0)
    grid.refresh()
    attempt.end(FAILED, reason="no")
    assert list(grid.ready()) == []


def test_stops_are_not_counted_as_losses(tmp_path):
    grid = grid_of(tmp_path)
    for _ in range(4):
        grid.begin(0).end(STOPPED)
    for _ in range(MOST_ATTEMPTS):
        grid.begin(0).path.write_text(json.dumps(owner() | DEAD))
        grid.read_log()
    assert "was lost 3 times" in grid.reason(0)


def test_an_edited_file_of_a_folder_or_layout_begins_a_new_grid(tmp_path):
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "a.nwb"
    file.write_text("one")
    before = code_versions([], [str(tmp_path / "data")], load_registry())
    file.write_text("another")
    assert code_versions([], [str(tmp_path / "data")], load_registry()) != before


# --- tasks of jobs ----------------------------------------------------------------------------------


def test_datasets_are_fetched_and_networks_trained_once_before_what_needs_them():
    options = Options(train=True)
    jobs = [
        Job("muscle_ppo", "demo", protocol, seed, options)
        for seed in (0, 1)
        for protocol in ("tracking", "encoding")
    ]
    tasks = tasks_of(jobs, load_registry())
    assert Counter(task.kind for task in tasks) == {"fetch": 1, "network": 2, "score": 4}
    for task in tasks:
        assert all(k < tasks.index(task) for k in (*task.needs, *task.after)), "serial order is a valid order"
        if task.kind == "score":
            assert [tasks[k].kind for k in task.needs] == ["fetch", "network"]
            assert job_of(tasks[task.needs[1]]).seed == job_of(task).seed
    assert [job_of(task) for task in tasks if task.kind == "score"] == jobs


def test_jobs_that_share_come_after_the_first_of_them(tmp_path):
    file = tmp_path / "a.nwb"
    file.touch()
    jobs = [Job(model, str(file), protocol) for model in ("one", "two") for protocol in ("p", "q")]
    tasks = tasks_of(jobs, load_registry())
    assert [(t.kind, t.needs, t.after) for t in tasks] == [
        ("score", (), ()), ("score", (), (0,)), ("score", (), (0,)), ("score", (), (2, 1))
    ]  # fmt: skip
    assert label(tasks[3]) == "two (seed 0) by q on a.nwb"

"""Jobs: planned by name, written as lines, run here or in worker processes to the same records."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import write_planted
from typer.testing import CliRunner

from neurobench_grasp.errors import NgbError, UnknownNameError, UnsupportedError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.records import read_records
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.run.executors import executor_of, run_tasks
from neurobench_grasp.run.executors.local import IN_PROCESS, InProcess, Workers
from neurobench_grasp.run.grid import Task
from neurobench_grasp.run.job import Job, Options, networks, read_jobs
from neurobench_grasp.run.plan import plan
from neurobench_grasp.run.scored import score_jobs
from neurobench_grasp.run.workspace import Workspace

NAMES = st.text(min_size=1, max_size=8)
TRAINING = st.sampled_from(
    [{}, {"train": True}, {"train": True, "steps": 1}, {"train": True, "steps": 10**12}]
)
OPTIONS = st.builds(
    lambda training, **others: Options(**training, **others),
    TRAINING,
    layout=st.none() | NAMES,
    trained_on=st.none() | NAMES,
    activations=st.none() | NAMES,
    decoder=NAMES,
    quarantine=st.booleans(),
    isolated=st.lists(NAMES, max_size=2).map(tuple),
    time_limit=st.floats(0.01, 1e4),
    memory_limit=st.floats(0.5, 1e3),
)
JOBS = st.builds(Job, NAMES, NAMES, NAMES, st.integers(0, 10**9), OPTIONS)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def planted_file(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("data") / "planted.nwb")


def stable(records):
    """Records in a fixed order, without times, memory and the number of cores."""
    volatile = ("date", "wall_time_s", "peak_memory_bytes", "blas", "cpu")
    kept = [
        replace(r, provenance={k: v for k, v in r.provenance.items() if k not in volatile}) for r in records
    ]
    return sorted(kept, key=lambda r: (r.model, r.seed))


# --- lines ------------------------------------------------------------------------------------------


@given(JOBS)
def test_a_job_is_one_line_and_comes_back_equal(job):
    line = job.to_line()
    assert "\n" not in line and "\r" not in line
    assert Job.from_line(line) == job


@given(st.lists(JOBS, max_size=6))
def test_jobs_of_a_network_are_grouped_in_the_order_of_their_first(jobs):
    groups = networks(jobs)
    assert sorted(map(Job.to_line, jobs)) == sorted(job.to_line() for group in groups for job in group)
    assert all(len({job.network for job in group}) == 1 for group in groups)
    firsts = [jobs.index(group[0]) for group in groups]
    assert firsts == sorted(firsts)


GOOD = Job("m", "d", "p")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "line of JSON"),
        ("[" * 100_000, "line of JSON"),
        ("[1]", "JSON object"),
        ('{"model": "m", "dataset": "d"}', "'protocol'"),
        ('{"model": "m", "dataset": "d", "protocol": "p", "seed": -1}', "'seed'"),
        ('{"model": "m", "dataset": "d", "protocol": "p", "seed": true}', "'seed'"),
        ('{"model": "m", "dataset": "d", "protocol": "p", "seed": 1.5}', "'seed'"),
        ('{"model": 3, "dataset": "d", "protocol": "p"}', "'model'"),
        ('{"model": "m", "dataset": "d", "protocol": "p", "run": "rm"}', "'run'"),
        ('{"model": "m", "dataset": "d", "protocol": "p", "options": 1}', "'options'"),
        ('{"model": "m", "dataset": "d", "protocol": "p", "options": {"isolated": "x"}}', "'isolated'"),
        ('{"model": "m", "dataset": "d", "protocol": "p", "options": {"isolated": [1]}}', "'isolated'"),
        ('{"model": "m", "dataset": "d", "protocol": "p", "options": {"quarantine": 1}}', "'quarantine'"),
        (
            '{"model": "m", "dataset": "d", "protocol": "p", "options": {"memory_limit": -1}}',
            "'memory_limit'",
        ),
        (
            '{"model": "m", "dataset": "d", "protocol": "p", "options": {"time_limit": NaN}}',
            "NaN is not a JSON number",
        ),
        ('{"model": "m", "dataset": "d", "protocol": "p", "options": {"train": 1}}', "'train'"),
        (
            '{"model": "m", "dataset": "d", "protocol": "p", "options": {"train": true, "steps": 0}}',
            "'steps'",
        ),
        (
            '{"model": "m", "dataset": "d", "protocol": "p", "options": {"train": true, "steps": 1.5}}',
            "'steps'",
        ),
        ('{"model": "m", "dataset": "d", "protocol": "p", "options": {"steps": 9}}', "'train'"),
    ],
)
def test_what_is_no_job_is_one_sentence_that_names_line_and_field(tmp_path, line, named):
    path = tmp_path / "jobs"
    path.write_text(f"{GOOD.to_line()}\n\n{line}\n")
    with pytest.raises(NgbError, match=named) as raised:
        read_jobs(path)
    assert f"Line 3 of {path}" in str(raised.value)


@pytest.mark.parametrize("raw", [None, b"", b"\n\n", b"\xff\xfe"])
def test_a_file_without_jobs_is_one_sentence(tmp_path, raw):
    path = tmp_path / "jobs"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(NgbError, match="`ngb plan` prints them"):
        read_jobs(path)


# --- planning ---------------------------------------------------------------------------------------


def test_a_plan_with_named_protocols_reads_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("neurobench_grasp.run.workspace.load_dataset", lambda *a, **k: pytest.fail("read"))
    workspace = Workspace(load_registry(), tmp_path)
    jobs = plan(workspace, "muscle_ppo", "demo", ["tracking", "encoding"], (0, 1))
    assert [(j.seed, j.protocol) for j in jobs] == [
        (0, "tracking"), (0, "encoding"), (1, "tracking"), (1, "encoding")
    ]  # fmt: skip


def test_the_dataset_decides_which_protocols_apply(planted_file, tmp_path):
    reports = []
    workspace = Workspace(load_registry(), tmp_path, reports.append)
    jobs = plan(workspace, "linear_kinematic", planted_file)  # each fold once: nothing has to be trained
    assert [(j.protocol, j.seed) for j in jobs] == [("encoding", seed) for seed in range(5)]
    jobs = plan(workspace, "muscle_ppo", planted_file)
    assert [(j.protocol, j.seed) for j in jobs] == [("encoding", 0)]
    assert [text.split(" is left out: ")[0] for text in reports if "left out" in text] == [
        "tracking", "brain-control"
    ]  # fmt: skip
    reading = [text for text in reports if "reading" in text]
    assert len(reading) == 1, "one command reads a dataset once"


def test_paths_in_jobs_are_absolute_and_names_are_not(planted_file, tmp_path, monkeypatch):
    monkeypatch.chdir(planted_file.parent)
    workspace = Workspace(load_registry(), tmp_path)
    options = Options(trained_on="planted.nwb", layout="ngb-grasp-1")
    (job,) = plan(workspace, "linear_kinematic", "planted.nwb", ["encoding"], (0,), options=options)
    assert job.dataset == job.options.trained_on == str(planted_file.resolve())
    assert job.options.layout == "ngb-grasp-1"
    options = Options(trained_on="demo")
    (named,) = plan(workspace, "linear_kinematic", "demo", ["encoding"], (0,), options=options)
    assert (named.dataset, named.options.trained_on) == ("demo", "demo")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("unknown_model", "demo", ["encoding"]), UnknownNameError),
        (("linear_kinematic", "demo", ["no-protocol"]), UnknownNameError),
        (("linear_kinematic", "demo", ["encoding"], (0,), Options(decoder="none")), UnknownNameError),
    ],
)
def test_unknown_names_are_reported_when_planning(tmp_path, arguments, error):
    with pytest.raises(error):
        plan(Workspace(load_registry(), tmp_path / "run"), *arguments)
    assert not (tmp_path / "run").exists()


def test_curves_of_a_model_that_moves_no_body_are_refused_when_planning(tmp_path):
    with pytest.raises(UnsupportedError):
        plan(Workspace(load_registry(), tmp_path), "linear_kinematic", "demo", ["encoding"], curves=True)


# --- executors --------------------------------------------------------------------------------------


def test_names_of_executors():
    assert executor_of("local") is IN_PROCESS and executor_of("local:3") == Workers(3)
    assert executor_of("dask:tcp://host:8786").address == "tcp://host:8786"
    assert executor_of("slurm", cancel=True).cancel
    for name in ("local:0", "local:", "local:-1", "somewhere", "local:99999", "", "dask:", "dask:a b"):
        with pytest.raises(UnknownNameError, match="local:N"):
            executor_of(name)


def test_a_failure_of_any_kind_ends_no_other_task(tmp_path, monkeypatch):
    def perform(task, workspace):
        if task.what["model"] == "bad" and task.what["seed"] < 2:
            raise (NgbError("no"), ValueError("a plugin's own"))[task.what["seed"]]
        return {"sum": task.what["seed"]}

    monkeypatch.setattr("neurobench_grasp.run.work.KINDS", {"add": perform})
    tasks = [Task("add", {"model": m, "seed": s}) for m in ("bad", "good") for s in range(3)]
    outcome = run_tasks(tasks, Workspace(load_registry(), tmp_path), IN_PROCESS, [None])
    assert [(task.what["model"], found["sum"]) for task, found in outcome.results] == [
        ("bad", 2), ("good", 0), ("good", 1), ("good", 2)
    ]  # fmt: skip
    assert [(t.what["seed"], str(e)) for t, e in outcome.failures] == [(0, "no"), (1, "a plugin's own")]


@pytest.mark.parametrize("executor", [InProcess(), Workers(2)])
def test_executors_report_the_same_failures(planted_file, tmp_path, cache, executor):
    """Of two networks, on other datasets and by another protocol: each failed job with its reason."""
    absent = str(tmp_path / "absent.nwb")
    jobs = [
        Job("linear_kinematic", absent, "encoding"),
        Job("linear_kinematic", str(planted_file), "tracking"),
        Job("linear_kinematic", str(planted_file), "encoding"),
    ]
    scored = score_jobs(jobs, Workspace(load_registry(), tmp_path / "run"), executor)
    assert list(scored.records) == jobs[2:]
    assert [job for job, _ in scored.failures] == jobs[:2]
    first, second = (str(error) for _, error in scored.failures)
    assert "absent.nwb" in first and "moves no body" in second and "was not scored" not in first + second


def test_worker_processes_give_the_records_of_this_process(planted_file, tmp_path, cache):
    options = {"protocols": ["encoding"], "seeds": (0, 1, 2)}
    here = evaluate("linear_kinematic", planted_file, out=tmp_path / "here", **options)
    reports = []
    there = evaluate(
        "linear_kinematic", planted_file, out=tmp_path / "there", executor=Workers(2), progress=reports.append,
        **options,
    )  # fmt: skip
    assert stable(there) == stable(here)
    assert stable(read_records([tmp_path / "there"])[0]) == stable(here)
    for seed in range(3):
        assert any(f"linear_kinematic (seed {seed}) by encoding" in text for text in reports)


# --- the command line -------------------------------------------------------------------------------


def ngb(*arguments, **options):
    from neurobench_grasp.cli import app

    return CliRunner().invoke(app, [str(a) for a in arguments], **options)


def test_planned_jobs_are_run_from_a_file(planted_file, tmp_path, cache):
    planned = ngb("plan", "--model", "linear_kinematic", "--dataset", planted_file, "--seeds", 2)
    assert planned.exit_code == 0, planned.stderr
    lines = planned.stdout.splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1]
    assert json.loads(ngb("plan", "--model", "linear_kinematic", "-d", planted_file, "-p", "encoding", "--seed", 0, "--json").stdout) == [json.loads(lines[0])]  # fmt: skip
    file = tmp_path / "job"
    file.write_text(lines[1])
    scored = ngb("score", "--job", file, "--json", "--out", tmp_path / "run")
    assert scored.exit_code == 0, scored.stderr
    (record,) = json.loads(scored.stdout)
    assert (record["model"], record["seed"]) == ("linear_kinematic", 1)


def test_jobs_can_be_piped(planted_file, tmp_path, cache):
    line = Job("linear_kinematic", str(planted_file), "encoding").to_line()
    command = [
        sys.executable,
        "-m",
        "neurobench_grasp",
        "score",
        "--job",
        "-",
        "--json",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, input=line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 1


@pytest.mark.parametrize(
    "option", [("--model", "m"), ("--dataset", "demo"), ("--seeds", "2"), ("--quarantine",), ("--curves",)]
)
def test_jobs_state_their_own_options(tmp_path, option):
    refused = ngb("score", "--job", tmp_path / "job", *option)
    assert refused.exit_code == 2 and option[0] in refused.stderr


def test_a_pipe_is_no_file_of_jobs(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NgbError, match="is not a file"):
        read_jobs(tmp_path / "pipe")


def test_planning_writes_nothing(planted_file, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    assert ngb("plan", "-m", "linear_kinematic", "-d", planted_file).exit_code == 0
    assert not (tmp_path / "ngb-runs").exists()


def test_workers_end_with_a_killed_parent(planted_file, tmp_path, cache):
    command = [sys.executable, "-m", "neurobench_grasp", "score", "-m", "linear_kinematic", "-d", str(planted_file),
               "-p", "encoding", "--seeds", "3", "--on", "local:2", "--out", str(tmp_path / "run")]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        next(line for line in process.stderr if "reading" in line)
        process.kill()
    deadline = time.monotonic() + 10
    while (left := workers_of(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def test_ctrl_c_leaves_no_worker_behind(planted_file, tmp_path, cache):
    command = [sys.executable, "-m", "neurobench_grasp", "score", "-m", "linear_kinematic", "-d", str(planted_file),
               "-p", "encoding", "--seeds", "3", "--on", "local:2", "--out", str(tmp_path / "run")]  # fmt: skip
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    ) as process:
        next(line for line in process.stderr if "reading" in line)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 130
    deadline = time.monotonic() + 10
    while (left := workers_of(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def workers_of(folder):
    """Processes that write to a run folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if str(folder).encode() in (process / "cmdline").read_bytes():
                    found.append(process.name)
            except OSError:
                continue
    return found


def test_evaluate_is_read_aloud_in_a_minute():
    """The first file a newcomer reads stays short, and every field of a job can be written as JSON."""
    import neurobench_grasp.run.evaluate as module

    assert len(Path(module.__file__).read_text().splitlines()) <= 80
    assert {f.name for f in fields(Job)} == set(json.loads(GOOD.to_line()))

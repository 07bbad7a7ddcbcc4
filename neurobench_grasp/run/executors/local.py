"""Jobs on this machine: one after the other in this process, or networks in parallel in worker processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import IO

from neurobench_grasp.errors import NgbError
from neurobench_grasp.records.record import from_json
from neurobench_grasp.run.executors import Outcome, Score
from neurobench_grasp.run.job import Job, networks
from neurobench_grasp.run.workspace import Workspace

COMMAND = (sys.executable, "-m", "neurobench_grasp", "score", "--job", "-", "--json")
PARENT = "NGB_WORKER_OF"
"""Environment variable with the process that a worker ends with."""
PATIENT_S = 5.0
"""Seconds for which the last messages of a worker that has ended are awaited."""


@dataclass(frozen=True)
class InProcess:
    """Runs jobs one after the other."""

    def map(self, score: Score, jobs: Sequence[Job], workspace: Workspace) -> Outcome:
        """Score every job."""
        outcome = Outcome()
        for job in jobs:
            try:
                outcome.records.append(score(job, workspace))
            except (Exception, SystemExit) as error:  # a plugin may raise anything, and must not stop others
                outcome.failures.append((job, error))
        return outcome


IN_PROCESS = InProcess()


@dataclass(frozen=True)
class Workers:
    """Runs each network's jobs as ``ngb score --job`` in one of several worker processes.

    Names are looked up in what is installed, whatever the registry of the workspace.

    Parameters
    ----------
    n : int
        Workers at a time, at least one; each gets its share of the cores.
    """

    n: int

    def map(self, score: Score, jobs: Sequence[Job], workspace: Workspace) -> Outcome:
        """Score every job; the jobs of a single network are scored in this process."""
        groups = networks(jobs)
        if len(groups) < 2:
            return IN_PROCESS.map(score, jobs, workspace)
        n, outcome, running = min(self.n, len(groups)), Outcome(), list[subprocess.Popen[str]]()
        free: SimpleQueue[int] = SimpleQueue()
        for slot in range(n):
            free.put(slot)

        def run(group: Sequence[Job]) -> Outcome:
            slot = free.get()
            try:
                _take_cores(slot, n)
                return _run(group, workspace, running)
            finally:
                free.put(slot)

        with ThreadPoolExecutor(n) as pool:
            futures = [pool.submit(run, group) for group in groups]
            try:
                for future in futures:
                    done = future.result()
                    outcome.records += done.records
                    outcome.failures += done.failures
            finally:  # an interrupt leaves no worker behind
                pool.shutdown(wait=False, cancel_futures=True)
                for process in running:
                    process.kill()
        return outcome


def failure_line(job: Job, reason: str) -> str:
    """Return the line that reports a job without a record."""
    return f"{_label(job)} was not scored: {reason}"


def _label(job: Job) -> str:
    return (
        f"{job.model} (seed {job.seed}) by {job.protocol} on {os.path.basename(job.dataset) or job.dataset}"
    )


def _run(jobs: Sequence[Job], workspace: Workspace, running: list[subprocess.Popen[str]]) -> Outcome:
    """Score the jobs of one network in a worker process."""
    with subprocess.Popen(
        [*COMMAND, "--out", str(workspace.out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, PARENT: str(os.getpid())},
        encoding="utf-8",
        errors="replace",
    ) as process:
        running.append(process)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        lines: list[str] = []
        name = f"{jobs[0].model} (seed {jobs[0].seed})"
        listener = Thread(
            target=_forward, args=(process.stderr, lines, lambda line: workspace.progress(f"{name}: {line}"))
        )
        listener.daemon = True
        listener.start()
        with contextlib.suppress(BrokenPipeError), process.stdin as jobs_in:  # its end is reported below
            jobs_in.write("".join(f"{job.to_line()}\n" for job in jobs))
        answer = process.stdout.read()
        process.wait()
        listener.join(PATIENT_S)  # what a plugin has left running may hold the pipe open
    running.remove(process)
    records = [from_json(data) for data in json.loads(answer)] if answer.strip() else []
    scored = {record.protocol["name"] for record in records}
    missing = [job for job in jobs if job.protocol not in scored]
    return Outcome(records, [(job, NgbError(_reason(job, lines, process.returncode))) for job in missing])


def _forward(stream: IO[str], lines: list[str], report: Callable[[str], None]) -> None:
    """Keep and report the lines of a worker."""
    with contextlib.suppress(ValueError, OSError):  # the stream was closed meanwhile
        for line in filter(None, map(str.strip, stream)):
            lines.append(line)
            report(line)


def _reason(job: Job, lines: Sequence[str], code: int) -> str:
    """Return why a worker has no record of a job: what it reported, or how it ended."""
    start = failure_line(job, "")
    reported = [line.removeprefix(start) for line in lines if line.startswith(start)]
    if reported:
        return reported[-1]
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code} and no reason"
    return f"Its worker process {how}; run the same command again, it resumes."


def _take_cores(slot: int, n: int) -> None:
    """Leave this thread, and the process that it starts, only its share of the cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(os.getpid()))
        os.sched_setaffinity(0, set(cores[slot::n]) or {cores[slot % len(cores)]})

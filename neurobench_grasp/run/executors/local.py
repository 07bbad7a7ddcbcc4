"""Jobs on this machine: one after the other in this process, or networks side by side in worker processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Thread

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.errors import NgbError
from neurobench_grasp.records.record import from_json
from neurobench_grasp.run.executors import Outcome, Score
from neurobench_grasp.run.job import Job, networks
from neurobench_grasp.run.workspace import Workspace


@dataclass(frozen=True)
class InProcess:
    """Runs jobs one after the other; the first failure of a model ends its jobs, but not those of others."""

    def map(self, score: Score, jobs: Sequence[Job], workspace: Workspace) -> Outcome:
        """Score every job."""
        outcome = Outcome()
        for job in jobs:
            if job.model not in outcome.failures:
                try:
                    outcome.records.append(score(job, workspace))
                except NgbError as error:
                    outcome.failures[job.model] = error
        return outcome


IN_PROCESS = InProcess()
COMMAND = (sys.executable, "-m", "neurobench_grasp", "score", "--job", "-", "--json")


@dataclass(frozen=True)
class Workers:
    """Runs each network's jobs as ``ngb score --job`` in one of several worker processes.

    Parameters
    ----------
    n : int
        Workers at a time; each gets its share of the cores.
    """

    n: int

    def map(self, score: Score, jobs: Sequence[Job], workspace: Workspace) -> Outcome:
        """Score every job; what cannot be shared out, the jobs of one network, is scored in this process."""
        groups = networks(jobs)
        if len(groups) < 2:
            return IN_PROCESS.map(score, jobs, workspace)
        outcome, running = Outcome(), list[subprocess.Popen[str]]()
        with ThreadPoolExecutor(min(self.n, len(groups))) as pool:
            futures = [
                pool.submit(_run, group, workspace, self.n, i, running) for i, group in enumerate(groups)
            ]
            try:
                for group, future in zip(groups, futures, strict=True):
                    records, failure = future.result()
                    outcome.records += records
                    if failure is not None:
                        outcome.failures[f"{group[0].model} (seed {group[0].seed})"] = failure
            finally:  # an interrupt leaves no worker behind
                pool.shutdown(wait=False, cancel_futures=True)
                for process in running:
                    process.kill()
        return outcome


def _run(
    jobs: Sequence[Job], workspace: Workspace, n: int, place: int, running: list[subprocess.Popen[str]]
) -> tuple[list[ScoreRecord], NgbError | None]:
    """Score the jobs of one network in a worker process."""
    name = f"{jobs[0].model} (seed {jobs[0].seed})"
    _take_cores(place % n, n)
    last = [""]
    with subprocess.Popen(
        [*COMMAND, "--out", str(workspace.out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        running.append(process)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None

        def forward(lines: Iterable[str]) -> None:
            for line in filter(None, map(str.strip, lines)):
                last.append(line)
                workspace.progress(f"{name}: {line}")

        listener = Thread(target=forward, args=(process.stderr,), daemon=True)
        listener.start()
        with contextlib.suppress(BrokenPipeError), process.stdin as jobs_in:  # its end is reported below
            jobs_in.write("".join(f"{job.to_line()}\n" for job in jobs))
        answer = process.stdout.read()
        listener.join()
    running.remove(process)
    records = [from_json(data) for data in json.loads(answer)] if answer.strip() else []
    if process.returncode == 0 and len(records) == len(jobs):
        return records, None
    ended = f"its worker process was ended by signal {-process.returncode}"
    return records, NgbError(ended if process.returncode < 0 else last[-1])


def _take_cores(place: int, n: int) -> None:
    """Leave this thread, and the process that it starts, only its share of the cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(os.getpid()))
        os.sched_setaffinity(0, set(cores[place::n]) or {cores[place % len(cores)]})

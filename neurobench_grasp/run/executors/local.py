"""Tasks on this machine: one after the other in this process, or in parallel in worker processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Thread
from typing import IO

from neurobench_grasp.errors import NgbError
from neurobench_grasp.run.executors.watch import Watch
from neurobench_grasp.run.grid import Grid
from neurobench_grasp.run.how_far import HowFar, summary
from neurobench_grasp.run.tasks import FETCH
from neurobench_grasp.run.work import POLL_S, Benches, work
from neurobench_grasp.run.workspace import Workspace

COMMAND = (sys.executable, "-m", "neurobench_grasp", "work")
PARENT = "NGB_WORKER_OF"
"""Environment variable with the process that a worker ends with."""
PATIENT_S = 5.0
"""Seconds for which a worker's end, and then its last messages, are awaited."""


@dataclass(frozen=True)
class InProcess:
    """Performs tasks one after the other."""

    def run(self, grid: Grid, workspace: Workspace) -> Mapping[int, BaseException]:
        """Perform all tasks; those that another process has begun are awaited."""
        failures: dict[int, BaseException] = {}
        benches = Benches(workspace.folder, workspace.progress, given=workspace)
        watch = Watch(grid, workspace.progress)
        while True:
            work(grid, benches, alone=True, failures=failures)
            if grid.is_finished():
                return failures
            watch.report()
            time.sleep(POLL_S)


IN_PROCESS = InProcess()


@dataclass(frozen=True)
class Workers:
    """Performs tasks in worker processes (``ngb work``), which are replaced when they are killed.

    Names are looked up in what is installed, whatever the registry of the workspace.

    Parameters
    ----------
    n : int
        Workers at a time, at least one; each gets its share of the cores.
    """

    n: int

    def run(self, grid: Grid, workspace: Workspace) -> Mapping[int, BaseException]:
        """Perform all tasks."""
        failures = fetch_here(grid, workspace)
        stop, watch = Event(), Watch(grid, workspace.progress)
        while not grid.is_finished():
            n = min(self.n, sum(1 for _ in grid.unended()))
            with ThreadPoolExecutor(n) as pool:
                slots = [pool.submit(_supervise, slot, n, grid, workspace, stop) for slot in range(n)]
                try:
                    problems = [slot.result() for slot in slots]
                finally:  # an interrupt leaves no worker behind
                    stop.set()
            if all(problems):
                raise NgbError(f"No worker process can work: {problems[0]}")
            stop.clear()
            watch.report()
            time.sleep(POLL_S)  # what is left is done by other processes
        return failures


def fetch_here(grid: Grid, workspace: Workspace) -> dict[int, BaseException]:
    """Fetch datasets in this process, since workers may have no network."""
    failures: dict[int, BaseException] = {}
    benches = Benches(workspace.folder, workspace.progress, given=workspace)
    work(grid, benches, {FETCH}, alone=True, failures=failures)
    return failures


def _supervise(slot: int, n: int, grid: Grid, workspace: Workspace, stop: Event) -> str:
    """Keep one worker running while there is work for it; return why it could not work, if it could not."""
    own = Grid(grid.folder, grid.tasks)
    _take_cores(slot, n)
    while not own.is_finished():
        before = own.attempts()
        code, last = _worker(own, workspace, stop)
        if code == 0 or stop.is_set():
            return ""
        own.read_log()
        if own.attempts() == before:
            return last or f"it ended with exit code {code}."
    return ""


def _worker(grid: Grid, workspace: Workspace, stop: Event) -> tuple[int, str]:
    """Run one worker to its end; return its exit code and last message."""
    lines = [""]

    def forward(stream: IO[str]) -> None:
        with contextlib.suppress(ValueError, OSError), stream:
            for line in filter(None, map(str.strip, stream)):
                lines[0] = line
                grid.refresh()
                workspace.progress(HowFar(line, summary(grid).brief))

    process = subprocess.Popen(
        [*COMMAND, str(grid.folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, PARENT: str(os.getpid())},
        encoding="utf-8",
        errors="replace",
    )
    listener = Thread(target=forward, args=(process.stderr,), daemon=True)
    listener.start()
    while process.poll() is None:
        if stop.wait(POLL_S):
            process.terminate()  # it stores that it was stopped, and a training what it has
            try:
                process.wait(PATIENT_S)
            except subprocess.TimeoutExpired:
                process.kill()
    listener.join(PATIENT_S)  # what a plugin has left running may hold the pipe open
    return process.returncode, lines[0]


def _take_cores(slot: int, n: int) -> None:
    """Leave this thread, and the processes that it starts, only its share of the cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(os.getpid()))
        os.sched_setaffinity(0, set(cores[slot::n]) or {cores[slot % len(cores)]})

"""Work on the tasks of a grid, beside any number of other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from neurobench_grasp.contract import Progress
from neurobench_grasp.errors import is_transient, sentence
from neurobench_grasp.run.dataset import find_files
from neurobench_grasp.run.grid import BROKEN, DONE, FAILED, RUNNING, STOPPED, WAITING, Attempt, Grid, Task
from neurobench_grasp.run.how_far import summary
from neurobench_grasp.run.isolated import with_isolated
from neurobench_grasp.run.job import DEFAULTS
from neurobench_grasp.run.tasks import FETCH, NETWORK, SCORE, TRAIN, VERIFY, job_of, label
from neurobench_grasp.run.workspace import Workspace

Result = Mapping[str, Any]
NEAR = 32
"""Tasks among which a worker prefers one that shares data with its last one."""
POLL_S = 0.2
"""Seconds between checks of the grid while a worker waits for what other workers make."""
LONGEST_REASON = 4000


def work(
    grid: Grid,
    benches: Benches,
    kinds: Collection[str] = (),
    *,
    alone: bool = False,
    failures: dict[int, BaseException] | None = None,
) -> None:
    """Perform tasks until none is left that could begin.

    Parameters
    ----------
    grid : Grid
    benches : Benches
    kinds : collection of str
        Only tasks of these; default: all.
    alone : bool
        No other worker could try again: every error is final. Otherwise a worker stops after an error that
        another machine may not have, and leaves the rest to others.
    failures : dict of int to exception, optional
        Receives the errors of tasks.

    Raises
    ------
    OSError
        If the run folder cannot be written to.
    """
    last: Task | None = None
    while True:
        chosen = _choose(grid, kinds, last)
        if chosen is None:
            if not _others_may_follow(grid, kinds):
                return
            time.sleep(POLL_S)
            continue
        attempt = grid.begin(chosen)
        if attempt is not None:
            last = attempt.task
            if len(grid.tasks) > 1:
                benches.progress(summary(grid, f"{label(last)}: begins; "))
            error = perform(attempt, benches, alone=alone)
            if error is not None:
                benches.progress(f"{label(last)}: {sentence(error)}")
            if error is not None and failures is not None:
                failures[chosen] = error
            if error is not None and not alone and is_transient(error):
                return


def perform(attempt: Attempt, benches: Benches, *, alone: bool = False) -> BaseException | None:
    """Perform a task and store how that ended; return its error. See :func:`work`."""
    started = time.monotonic()
    with attempt.beating():
        try:
            with benches.of(attempt.task) as workspace:
                result = KINDS[attempt.task.kind](attempt.task, workspace)
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            reason = sentence(error)[:LONGEST_REASON]
            attempt.end(BROKEN if is_transient(error) and not alone else FAILED, reason=reason)
            return error
        except BaseException:  # an interrupt
            attempt.end(STOPPED)
            raise
        attempt.end(DONE, result=result, seconds=round(time.monotonic() - started, 3))
    return None


@dataclass
class Benches:
    """Workspaces for tasks, one after the other; isolated plugins run as long as tasks need the same ones.

    Parameters
    ----------
    out : path
        Run folder.
    progress : callable
    given : Workspace, optional
        Used for every task.
    """

    out: Path
    progress: Progress = lambda text: None
    given: Workspace | None = None
    _open: ExitStack = field(default_factory=ExitStack)
    _task: Task | None = None
    _key: tuple[Any, ...] | None = None
    _workspace: Workspace | None = None

    @contextmanager
    def of(self, task: Task) -> Iterator[Workspace]:
        """Yield the workspace of a task."""
        if self.given is not None:
            yield self.given
            return
        options = task.what.get("options", {})
        key = tuple(options.get("isolated", ())), options.get("time_limit"), options.get("memory_limit")
        if self._workspace is None or key != self._key:
            self.close()
            minutes, gib = key[1] or DEFAULTS.time_limit, key[2] or DEFAULTS.memory_limit
            registry, _ = self._open.enter_context(with_isolated(key[0], minutes, gib, self._report))
            self._key, self._workspace = key, Workspace(registry, self.out, self._report)
        self._task = task
        yield self._workspace

    def _report(self, text: str) -> None:
        self.progress(f"{label(self._task)}: {text}" if self._task else text)

    def close(self) -> None:
        """End the processes of isolated plugins."""
        self._open.close()
        self._key = self._workspace = None


def _choose(grid: Grid, kinds: Collection[str], last: Task | None) -> int | None:
    """Return a task that can begin: if possible one of the last one's network, or of its dataset."""
    near = list(islice((i for i in grid.ready() if not kinds or grid.tasks[i].kind in kinds), NEAR))
    if not near:
        return None
    shared = ("dataset", "model", "seed", "options")
    return max(near, key=lambda i: _in_common(grid.tasks[i], last, shared)) if last else near[0]


def _in_common(task: Task, last: Task, fields: tuple[str, ...]) -> int:
    """Count the leading fields in which two tasks agree."""
    n = 0
    while n < len(fields) and task.what.get(fields[n]) == last.what.get(fields[n]):
        n += 1
    return n


def _others_may_follow(grid: Grid, kinds: Collection[str]) -> bool:
    """Return whether tasks wait for what other workers make."""
    grid.refresh()
    return any(
        grid.state(i).name == WAITING
        and any(grid.state(k).name == RUNNING for k in (*grid.tasks[i].needs, *grid.tasks[i].after))
        for i in grid.unended()
        if not kinds or grid.tasks[i].kind in kinds
    )


# --- kinds of tasks -------------------------------------------------------------------------------


def _fetch(task: Task, workspace: Workspace) -> Result:
    find_files(workspace.registry, task.what["dataset"], workspace.progress)
    return {}


def _network(task: Task, workspace: Workspace) -> Result:
    workspace.context(job_of(task))
    return {}


def _score(task: Task, workspace: Workspace) -> Result:
    from neurobench_grasp.records.record import record_path
    from neurobench_grasp.run.evaluate import score

    record = score(job_of(task), workspace)
    return {"record": record_path(Path(), record).name}


def _train(task: Task, workspace: Workspace) -> Result:
    from neurobench_grasp.run.train import train_network

    what = dict(task.what)
    what.pop("options", None)
    to = what.pop("to")
    path, _ = train_network(
        **what, to=Path(to) if to else None, registry=workspace.registry, progress=workspace.progress
    )
    return {"card": str(path)}


def _verify(task: Task, workspace: Workspace) -> Result:
    from neurobench_grasp.run.verify import verify_network

    return verify_network(task.what, workspace)


KINDS: Mapping[str, Callable[[Task, Workspace], Result]] = {
    FETCH: _fetch,
    NETWORK: _network,
    SCORE: _score,
    TRAIN: _train,
    VERIFY: _verify,
}
"""Kinds of tasks; results are JSON values, everything larger is a file of the run folder or the cache."""

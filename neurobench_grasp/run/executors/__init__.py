"""Executors perform the tasks of a grid: here, in worker processes, on a Dask cluster, on SLURM."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from neurobench_grasp.errors import NgbError, UnknownNameError
from neurobench_grasp.run.grid import DONE, FAILED, Grid, Task
from neurobench_grasp.run.workspace import Workspace


class Executor(Protocol):
    """Performs tasks somewhere."""

    def run(self, grid: Grid, workspace: Workspace) -> Mapping[int, BaseException]:
        """Perform the tasks of a grid until nothing will be tried any more.

        Returns
        -------
        dict of int to exception
            Errors of tasks that were performed in this process; those of others are in the grid.
        """


@dataclass
class Outcome:
    """What became of tasks.

    Parameters
    ----------
    results : list of (Task, mapping)
    failures : list of (Task, exception)
    """

    results: list[tuple[Task, Mapping[str, Any]]] = field(default_factory=list)
    failures: list[tuple[Task, BaseException]] = field(default_factory=list)


def run_tasks(
    tasks: Sequence[Task], workspace: Workspace, executor: Executor, depends_on: Sequence[str | None]
) -> Outcome:
    """Perform tasks, and return the results of those that no other task needs.

    Parameters
    ----------
    tasks, depends_on
        See :meth:`neurobench_grasp.run.grid.Grid.open`.
    workspace : Workspace
        Its run folder holds the grid.
    executor : Executor

    Raises
    ------
    NgbError
        If the grid cannot be written.
    """
    grid = Grid.open(workspace.folder, tasks, depends_on)
    errors = executor.run(grid, workspace)
    outcome = Outcome()
    needed = {k for task in tasks for k in task.needs}
    for i, task in enumerate(tasks):
        if i in needed:
            continue
        if grid.state(i).name == DONE:
            outcome.results.append((task, grid.result(i)))
        else:
            cause = next((k for k in task.needs if grid.state(k).name == FAILED), i)
            outcome.failures.append((task, errors.get(cause) or NgbError(grid.reason(i))))
    return outcome


def executor_of(name: str, *, cancel: bool = False) -> Executor:
    """Return the executor that ``--on`` names.

    Parameters
    ----------
    name : str
        ``local`` is this process, ``local:4`` four worker processes, ``dask:local`` and ``dask:ADDRESS`` a
        Dask cluster, ``slurm`` job arrays.
    cancel : bool
        Cancel the jobs of a cluster when this process is interrupted, instead of leaving them.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    NgbError
        If this machine has no SLURM, or the settings of the site are wrong.
    """
    from neurobench_grasp.run.executors.local import IN_PROCESS, Workers

    if name == "local":
        return IN_PROCESS
    if found := re.fullmatch(r"local:([1-9][0-9]{0,3})", name):
        return Workers(int(found[1]))
    if found := re.fullmatch(r"dask:(\S+)", name):
        from neurobench_grasp.run.executors.dask import Dask

        return Dask(found[1], cancel=cancel)
    if name == "slurm":
        from neurobench_grasp.run.executors.slurm import Slurm

        return Slurm.here(cancel=cancel)
    raise UnknownNameError(
        f"There is no executor {name!r}; give `local`, `local:N` for N worker processes, `dask:local` or "
        "`dask:ADDRESS` for a Dask cluster, or `slurm`."
    )

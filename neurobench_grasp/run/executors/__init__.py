"""Executors run jobs: in this process, in worker processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.errors import UnknownNameError
from neurobench_grasp.run.job import Job
from neurobench_grasp.run.workspace import Workspace

Score = Callable[[Job, Workspace], ScoreRecord]


@dataclass
class Outcome:
    """Results of jobs, network by network.

    Parameters
    ----------
    records : list of ScoreRecord
    failures : list of (Job, exception)
        Jobs without a record, each with the reason.
    """

    records: list[ScoreRecord] = field(default_factory=list)
    failures: list[tuple[Job, BaseException]] = field(default_factory=list)


class Executor(Protocol):
    """Runs jobs somewhere."""

    def map(self, score: Score, jobs: Sequence[Job], workspace: Workspace) -> Outcome:
        """Score every job and write its record to the run folder; a failure does not stop other jobs."""


def executor_of(name: str) -> Executor:
    """Return the executor that ``--on`` names: ``local`` is this process, ``local:4`` four worker processes.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    from neurobench_grasp.run.executors.local import IN_PROCESS, Workers

    if name == "local":
        return IN_PROCESS
    if found := re.fullmatch(r"local:([1-9][0-9]{0,3})", name):
        return Workers(int(found[1]))
    raise UnknownNameError(
        f"There is no executor {name!r}; give `local`, or `local:N` for N worker processes."
    )

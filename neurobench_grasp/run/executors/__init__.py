"""Executors run jobs: in this process, in worker processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.errors import NgbError, UnknownNameError
from neurobench_grasp.run.job import Job
from neurobench_grasp.run.workspace import Workspace

Score = Callable[[Job, Workspace], ScoreRecord]


@dataclass
class Outcome:
    """What became of jobs.

    Parameters
    ----------
    records : list of ScoreRecord
        In the order of the jobs.
    failures : dict of str to NgbError
        Network → why its remaining jobs were given up.
    """

    records: list[ScoreRecord] = field(default_factory=list)
    failures: dict[str, NgbError] = field(default_factory=dict)


class Executor(Protocol):
    """Runs jobs somewhere."""

    def map(self, score: Score, jobs: Sequence[Job], workspace: Workspace) -> Outcome:
        """Score every job and write its record to ``workspace.out``."""


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

"""Score jobs wherever an executor performs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.records.record import RECORDS, read_record
from neurobench_grasp.run.executors import Executor, run_tasks
from neurobench_grasp.run.job import Job
from neurobench_grasp.run.tasks import code_versions, job_of, tasks_of
from neurobench_grasp.run.workspace import Workspace


@dataclass(frozen=True)
class Scored:
    """What became of jobs.

    Parameters
    ----------
    records : dict of Job to ScoreRecord
        Network by network.
    failures : list of (Job, exception)
        Jobs without a record, each with the reason.
    """

    records: dict[Job, ScoreRecord]
    failures: list[tuple[Job, BaseException]]


def score_jobs(jobs: Sequence[Job], workspace: Workspace, executor: Executor) -> Scored:
    """Score jobs wherever the executor performs them; a failure does not stop other jobs."""
    registry = workspace.registry
    places = [
        p
        for j in jobs
        for p in (j.dataset, j.options.trained_on, j.options.activations, j.options.layout)
        if p
    ]
    versions = code_versions([job.model for job in jobs], places, registry)
    outcome = run_tasks(tasks_of(jobs, registry), workspace, executor, versions)
    records = {
        job_of(task): read_record(workspace.folder / RECORDS / found["record"])
        for task, found in outcome.results
    }
    return Scored(records, [(job_of(task), error) for task, error in outcome.failures])


def score_all(jobs: Sequence[Job], workspace: Workspace, executor: Executor) -> dict[Job, ScoreRecord]:
    """Score jobs, and raise the first failure; records of other jobs have been written."""
    scored = score_jobs(jobs, workspace, executor)
    for _, failure in scored.failures:
        raise failure
    return scored.records

"""The whole flow: recordings in, a model's activations, scores, a record. Read this file first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from neurobench_grasp.contract import Progress, ScoreRecord
from neurobench_grasp.plugins import Registry, load_registry
from neurobench_grasp.run.executors import Executor
from neurobench_grasp.run.executors.local import IN_PROCESS
from neurobench_grasp.run.job import DEFAULTS, RUNS, Job, Options
from neurobench_grasp.run.plan import plan
from neurobench_grasp.run.record import keep_record
from neurobench_grasp.run.scored import score_all
from neurobench_grasp.run.scores import run_protocol
from neurobench_grasp.run.workspace import Workspace


def evaluate(
    model: str,
    dataset: str | Path,
    *,
    out: str | Path = RUNS,
    protocols: Sequence[str] = (),
    curves: bool = False,
    seeds: Sequence[int] | None = None,
    options: Options = DEFAULTS,
    executor: Executor = IN_PROCESS,
    registry: Registry | None = None,
    progress: Progress = lambda text: None,
) -> list[ScoreRecord]:
    """Score a model on a dataset; each record is written as soon as it is complete.

    Parameters
    ----------
    model : str
        Name of a registered model; with ``options.activations`` a new name, for the record.
    dataset : str or path
        Name of a registered dataset, an NWB file, or an address such as ``dandi:000128``.
    out : path
        Run folder: finished stages are kept in it and found again, records go to ``out/records``.
    protocols, curves, seeds, options
        See :func:`neurobench_grasp.run.plan.plan`.
    executor : Executor
        Runs the jobs; default: this process, one after the other.
    registry : Registry, optional
        Where names are looked up. Default: what is installed.
    progress : callable
        Called with one-line status messages.

    Returns
    -------
    list of ScoreRecord
        One per seed and protocol.

    Raises
    ------
    NgbError
        The first failure, if something the user can fix is wrong; the message says what.
    """
    workspace = Workspace(registry or load_registry(), Path(out), progress)
    jobs = plan(workspace, model, dataset, protocols, seeds, options, curves=curves)
    return list(score_all(jobs, workspace, executor).values())


def score(job: Job, workspace: Workspace) -> ScoreRecord:
    """Score one job and write its record; what was read or fitted for the job before is used again."""
    started = time.monotonic()
    protocol = workspace.registry.protocol(job.protocol)
    task = workspace.task(job)  # files -> sessions -> trials and splits; model and decoder by name
    context = workspace.context(job)  # the fitted model, lazily; stages keyed in one place
    scores = run_protocol(protocol, context, task)
    return keep_record(workspace.folder, task, context, protocol.spec, scores, time.monotonic() - started)

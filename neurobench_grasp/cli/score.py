"""``ngb score``: the main job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurobench_grasp.cli.executing import Cancel, On
from neurobench_grasp.cli.isolated import Isolated, MemoryLimit, TimeLimit
from neurobench_grasp.cli.jobs import (
    Curves,
    Datasets,
    DecoderName,
    GridFile,
    LayoutName,
    Models,
    Protocols,
    Seed,
    Seeds,
    Steps,
    StoredArrays,
    Train,
    TrainedOn,
    choice,
    planned,
    read_grid,
    refuse_given,
    stored,
)
from neurobench_grasp.cli.terminal import (
    Json,
    Out,
    QuarantineOption,
    Result,
    note,
    progress,
    table,
)
from neurobench_grasp.errors import sentence
from neurobench_grasp.run.job import RUNS

if TYPE_CHECKING:
    from neurobench_grasp.contract import ScoreRecord
    from neurobench_grasp.run.job import Job


def score(
    ctx: typer.Context,
    model: Models = None,
    dataset: Datasets = None,
    layout: LayoutName = None,
    protocol: Protocols = None,
    seeds: Seeds = None,
    seed: Seed = None,
    activations: StoredArrays = None,
    trained_on: TrainedOn = None,
    decoder: DecoderName = "ridge",
    curves: Curves = False,
    quarantine: QuarantineOption = True,
    isolated: Isolated = None,
    time_limit: TimeLimit = 60,
    memory_limit: MemoryLimit = 8,
    train: Train = True,
    steps: Steps = None,
    job: Annotated[
        Path | None,
        typer.Option(
            "--job", help="Run the jobs of a file (`-`: standard input), as `ngb plan` prints them."
        ),
    ] = None,
    grid: GridFile = None,
    on: On = "local",
    cancel: Cancel = False,
    full: Annotated[bool, typer.Option("--full", help="Print every row of the records.")] = False,
    out: Out = RUNS,
    as_json: Json = False,
) -> Result:
    """Score models on a dataset and write the records.

    A network that does not exist for the training trials is trained first, and kept in the cache folder.
    """
    from neurobench_grasp.cli.score_tables import full_tables
    from neurobench_grasp.cli.summary import summaries
    from neurobench_grasp.records import to_json
    from neurobench_grasp.records.table import tables_of
    from neurobench_grasp.run.executors import executor_of
    from neurobench_grasp.run.scored import score_jobs

    executor = executor_of(on, cancel=cancel)
    with progress() as report:
        if job is not None:
            refuse_given(ctx, "--job", "jobs state what is scored and how")
            made = stored(job, out, report)
        elif grid is not None:
            refuse_given(ctx, "--grid", "the grid file states what is scored and how")
            made = planned(read_grid(grid), out, report)
        else:
            chosen = choice(
                model, dataset, layout, protocol, seeds, seed, activations, trained_on, decoder, curves,
                quarantine, isolated, time_limit, memory_limit, train, steps,
            )  # fmt: skip
            made = planned([chosen], out, report)
        with made as plan:
            outcome = score_jobs(plan.jobs, plan.workspace, executor)
    records = list(outcome.records.values())
    errors = [*plan.failures.values(), *(error for _, error in outcome.failures)]
    if job is None and grid is None and not records and len({str(error) for error in errors}) == 1:
        raise errors[0]
    reasons = [(name, sentence(error)) for name, error in plan.failures.items()]
    reasons += [(_what(failed), sentence(error)) for failed, error in outcome.failures]
    for what, why in reasons if as_json else ():
        note(f"{what} was not scored: {why}")
    tables = tables_of(records, out / "records")
    view = [part for each in tables for part in full_tables(each)] if full else list(summaries(tables, out))
    view += _networks(records)
    view += ["", table("not scored", "why", rows=reasons)] if reasons else []
    return Result([to_json(r) for r in records], view, exit_code=1 if reasons else 0)


def _networks(records: Sequence[ScoreRecord]) -> list[str]:
    """List those of the user's networks that were scored, and how long each was trained."""
    weights = {str(digest) for record in records if (digest := record.provenance.get("weights"))}
    if not weights:
        return []
    from neurobench_grasp.controllers.checkpoints import own_cards

    return [
        f"network: {path} ({card.steps:,} steps in {card.wall_time_s / 60:.1f} min)"
        for path, card in own_cards(weights)
    ]


def _what(job: Job) -> str:
    """Return what a job is about, for people."""
    dataset = os.path.basename(job.dataset) or job.dataset
    return f"{job.model} (seed {job.seed}) by {job.protocol} on {dataset}"

"""``ngb plan``: the jobs of a score, one on each line."""

from __future__ import annotations

import json

import typer

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
)
from neurobench_grasp.cli.terminal import Json, QuarantineOption, Result, note, progress


def plan(
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
    grid: GridFile = None,
    as_json: Json = False,
) -> Result:
    """Print the jobs of a score as lines of JSON; `ngb score --job FILE` runs them.

    The dataset is read only where no protocols are named, since it decides which of them apply.
    """
    if grid is None:
        chosen = [
            choice(
                model, dataset, layout, protocol, seeds, seed, activations, trained_on, decoder, curves,
                quarantine, isolated, time_limit, memory_limit, train, steps,
            )
        ]  # fmt: skip
    else:
        refuse_given(ctx, "--grid", "the grid file states what is scored and how")
        chosen = read_grid(grid)
    with progress() as report, planned(chosen, None, report) as made:
        lines = [job.to_line() for job in made.jobs]
    for name, error in made.failures.items():
        note(f"{name} has no jobs: {error}")
    return Result([json.loads(line) for line in lines], lines, exit_code=1 if made.failures else 0)

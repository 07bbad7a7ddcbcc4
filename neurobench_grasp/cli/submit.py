"""``ngb submit``: put the records of a model into a folder for a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurobench_grasp.cli.terminal import Json, Result, table


def submit(
    run: Annotated[Path, typer.Argument(help="Run folder that `ngb score` wrote.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Which model, if the run folder has several.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make the submission in.")] = Path(
        "ngb-submissions"
    ),
    as_json: Json = False,
) -> Result:
    """Collect the records of a model, its card and its checkpoint in a folder for a pull request."""
    from neurobench_grasp.run.submit import as_json as described
    from neurobench_grasp.run.submit import make_submission

    made = make_submission(run, model, out)
    rows = [
        (str(r.seed), str(r.dataset["id"]), f"{r.protocol['name']} v{r.protocol['version']}")
        for r in made.records
    ]
    view = [
        f"{made.model}: {len(rows)} {'record' if len(rows) == 1 else 'records'}, {made.bytes / 1e6:.2f} MB",
        table("seed", "dataset", "protocol", rows=rows),
        "",
        *(f"note: {note}" for note in made.notes),
        f"submission: {made.folder}",
        "next: `ngb verify` on that folder; then copy it into registry/results of a fork of the project and",
        "open a pull request. docs/submitting.md describes what happens then.",
    ]
    return Result(described(made), view)

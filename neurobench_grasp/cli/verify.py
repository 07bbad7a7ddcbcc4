"""``ngb verify``: check records, and score or train again on request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.executing import Cancel, On
from neurobench_grasp.cli.terminal import Json, Result, progress, table
from neurobench_grasp.run.job import RUNS

if TYPE_CHECKING:
    from neurobench_grasp.run.verify import Report, Verified


def verify(
    path: Annotated[Path, typer.Argument(help="A record, a run folder, or a folder that `ngb submit` made.")],
    rescore: Annotated[
        bool,
        typer.Option("--rescore", help="Make the activations again from the checkpoint, and score them."),
    ] = False,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain",
            help="Fit again and score; where training takes long, at the tiny profile beside --rescore.",
        ),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Store in the record what was verified, if all is well.")
    ] = False,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Where the data are, if they are not registered.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the file (default: the one that fits best).")
    ] = None,
    on: On = "local",
    cancel: Cancel = False,
    as_json: Json = False,
) -> Result:
    """Check digests and arithmetic of records; --rescore and --retrain run the plugin that is installed."""
    from neurobench_grasp.run import verify as checks
    from neurobench_grasp.run.executors import executor_of

    with progress() as status:
        report = checks.verify(
            path,
            rescore=rescore,
            retrain=retrain,
            write=write,
            dataset=dataset,
            layout=layout,
            out=None if on == "local" else RUNS / "verify",
            executor=executor_of(on, cancel=cancel),
            progress=status,
        )
    return Result(_as_json(report), _view(report, write), exit_code=1 if report.problems else 0)


def _view(report: Report, written: bool) -> list[Any]:
    rows = [
        (
            v.record.model,
            str(v.record.seed),
            str(v.record.dataset["id"]),
            str(v.record.protocol["name"]),
            v.level,
        )
        for v in report.verified
    ]
    ways = dict.fromkeys(v.how for v in report.verified if not v.problems)
    view: list[Any] = (
        [table("model", "seed", "dataset", "protocol", "verified now", rows=rows)] if rows else []
    )
    if report.problems:
        return [
            *view,
            *(f"refused: {problem}" for problem in report.problems),
            *(f"note: {note}" for note in report.notes),
            f"{report.path}: {len(report.problems)} problem{'s' if len(report.problems) > 1 else ''}",
        ]
    stored = ", and the records say so now" if written else ""
    return [*view, *ways, *(f"note: {note}" for note in report.notes), f"{report.path}: all is well{stored}"]


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "ok": not report.problems,
        "problems": list(report.problems),
        "notes": list(report.notes),
        "records": [_one(v) for v in report.verified],
    }


def _one(found: Verified) -> dict[str, Any]:
    return {
        "file": str(found.path),
        "model": found.record.model,
        "seed": found.record.seed,
        "dataset": found.record.dataset["id"],
        "protocol": found.record.protocol["name"],
        "level": found.level,
        "how": found.how,
        "largest_difference": found.largest_difference,
    }

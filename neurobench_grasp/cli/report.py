"""``ngb report``: what has been scored, panel by panel as in the reference study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurobench_grasp.cli.claims import Muscle, Torque
from neurobench_grasp.cli.terminal import Json, Result, note, progress
from neurobench_grasp.run.job import RUNS


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Run folders, submissions, folders of records, or folders of these.",
            show_default=str(RUNS),
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", "-d", help="Dataset, or NWB file, if there are records on several."),
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the file, if it was scored with one.")
    ] = None,
    muscle: Muscle = "muscle_ppo",
    torque: Torque = "torque_ppo",
    to: Annotated[Path, typer.Option("--to", help="Folder for the page and its figures.")] = Path(
        "ngb-report"
    ),
    as_json: Json = False,
) -> Result:
    """Write a report after the figures of the reference study: a page, and figures as PDF, SVG and PNG."""
    from neurobench_grasp.cli.claims import check_models
    from neurobench_grasp.leaderboard import Models
    from neurobench_grasp.run.report import make_report

    check_models(muscle, torque)
    with progress() as status:
        made = make_report(
            runs or [RUNS],
            dataset=dataset,
            layout=layout,
            models=Models(muscle, torque),
            to=to,
            progress=status,
        )
    for problem in made.problems:
        note(f"left out: {problem}")
    files = {number: [str(path) for path in paths] for number, paths in made.figures.items()}
    view = [
        made.title,
        f"page: {made.page}",
        *(f"figure {number}: {', '.join(paths)}" for number, paths in files.items()),
        *(f"no panel {letter}: {reason}" for letter, reason in made.missing.items()),
    ]
    tables = {name: str(path) for name, path in made.tables.items()}
    found = {"title": made.title, "page": str(made.page), "figures": files, "tables": tables}
    return Result({**found, "missing": dict(made.missing)}, view)

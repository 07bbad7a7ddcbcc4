"""``ngb data``: look into NWB files, list layouts, make the built-in recordings."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurobench_grasp.cli.terminal import Command, Json, Result, progress, table

if TYPE_CHECKING:
    pass

app = typer.Typer(
    help="Look into NWB files, list layouts, make the built-in recordings.", no_args_is_help=True
)
File = Annotated[Path, typer.Argument(metavar="FILE", help="An NWB file.")]
Layout = Annotated[
    str | None, typer.Option("--layout", help="Name or file of a layout [default: the one that fits best].")
]


@app.command("validate", cls=Command)
def validate(file: File, layout: Layout = None, as_json: Json = False) -> Result:
    """List every finding in a file, with severity and place; exit code 1 if one is an error."""
    from neurobench_grasp.data import validate_file

    findings = validate_file(file, layout)
    count = Counter(f.severity for f in findings)
    summary = ", ".join(f"{count[s]} {s}" for s in ("error", "warning", "info") if count[s])
    lines = [f"{f.severity:8} {f.place}: {f.message}" for f in findings]
    view = [f"{file}: {summary or 'nothing to report'}", *lines]
    return Result([asdict(f) for f in findings], view, exit_code=1 if count["error"] else 0)


@app.command("make", cls=Command)
def make(
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the files [default: the user's cache folder].")
    ] = None,
    as_json: Json = False,
) -> Result:
    """Make the recordings of the built-in dataset `demo` (synthetic, a self-test)."""
    from neurobench_grasp.demo import make_demo

    with progress() as tell:
        paths = make_demo(to, tell)
    return Result([str(p) for p in paths], [str(p) for p in paths])


@app.command("layouts", cls=Command)
def layouts(as_json: Json = False) -> Result:
    """List the layouts by which files are read."""
    from neurobench_grasp.data import layouts as known

    found = known()
    rows = [(name, layout.summary) for name, layout in found.items()]
    return Result(
        [asdict(layout) for layout in found.values()], [table("layouts", "name", "summary", rows=rows)]
    )

"""``ngb body``: bodies whose models are no part of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurobench_grasp.cli.terminal import Command, Json, Result, progress

app = typer.Typer(help="Fetch the model of a body that is no part of the package.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `fetch` a subcommand, though it is the only one."""


@app.command("fetch", cls=Command)
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="`macaque_arm`.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="The OpenSim file itself (default: download it).")
    ] = None,
    as_json: Json = False,
) -> Result:
    """Fetch a body's model into the user's cache, verify it by its digest and convert it."""
    from neurobench_grasp.bodies.macaque_arm import LICENCE, NAME, fetch_macaque_arm

    if name != NAME:
        raise typer.BadParameter(f"there is no body {name!r} to fetch; known: {NAME}", param_hint="NAME")
    with progress() as report:
        place = fetch_macaque_arm(source, progress=report)
    view = [f"{place}", f"licence: {LICENCE}", "Next:", f"  ngb bodies {NAME}"]
    return Result({"folder": str(place), "licence": LICENCE}, view)

"""Options of commands whose tasks can be performed elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

On = Annotated[
    str,
    typer.Option(
        "--on",
        help="Where tasks run: `local`, `local:N` (processes), `dask:local`, `dask:ADDRESS`, or `slurm`.",
    ),
]
Cancel = Annotated[
    bool,
    typer.Option("--cancel", help="On Ctrl-C, end what runs on a cluster instead of leaving it."),
]

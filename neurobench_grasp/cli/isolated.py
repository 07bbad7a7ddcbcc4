"""Options of commands that use models of plugins in separate environments."""

from __future__ import annotations

from typing import Annotated

import typer

Isolated = Annotated[
    list[str] | None,
    typer.Option(
        "--isolated",
        metavar="SOURCE",
        help="Folder of a plugin, or a requirement for pip: installed into a separate environment, run "
        "in a process with limits. May be repeated.",
    ),
]
TimeLimit = Annotated[
    float, typer.Option("--time-limit", min=0.01, help="Minutes that an isolated model may take per request.")
]
MemoryLimit = Annotated[
    float, typer.Option("--memory-limit", min=0.5, help="GiB of memory that an isolated model may allocate.")
]

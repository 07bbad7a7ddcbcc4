"""Options of commands that use models of plugins in separate environments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from neurobench_grasp.cli.terminal import note
from neurobench_grasp.contract import Progress

if TYPE_CHECKING:
    from neurobench_grasp.plugins import Registry

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


@contextmanager
def isolation(
    sources: Sequence[str] | None, minutes: float, gib: float, status: Progress
) -> Iterator[tuple[Registry | None, list[str]]]:
    """Yield the registry with isolated models added, and their names; ``None`` if there are no sources."""
    if not sources:
        yield None, []
        return
    from neurobench_grasp.isolation import isolated_models
    from neurobench_grasp.isolation.process import LIMITS
    from neurobench_grasp.plugins import canonical, load_registry
    from neurobench_grasp.sandbox.limits import GIB

    registry = load_registry()
    limits = replace(LIMITS, seconds=60 * minutes, memory=round(gib * GIB))
    with isolated_models(sources, limits=limits, progress=status) as models:
        theirs = {(p.spec.name, canonical(p.distribution)) for p in models}
        for known in registry.models():
            if (known.spec.name, canonical(known.distribution)) in theirs:
                note(
                    f"{known.spec.name}: the isolated model is used, not that of the installed "
                    f"{known.provider}"
                )
        yield registry.with_isolated(models), [p.spec.name for p in models]

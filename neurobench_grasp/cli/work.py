"""``ngb work``: a worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from neurobench_grasp.cli.status import newest_grid
from neurobench_grasp.cli.terminal import Json, Result, note


def work(
    run: Annotated[Path, typer.Argument(help="Run folder, or one of its grids.")],
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Perform only tasks of this kind; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> Result:
    """Perform tasks of a run, beside any number of other workers, until none is left that could begin.

    `ngb score --on …` starts workers; this is for other schedulers. Start as many as you like, on any machine
    that sees the run folder and the cache, and again when some were lost.
    """
    from neurobench_grasp.run import work as worker
    from neurobench_grasp.run.executors.local import PARENT

    if PARENT in os.environ:
        _end_with(int(os.environ[PARENT]))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    # a scheduler's request is an interrupt, after which a training first saves what it has
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    grid = newest_grid(run)
    benches = worker.Benches(grid.folder.parent.parent, note)
    try:
        worker.work(grid, benches, kind or ())
    except KeyboardInterrupt:
        if PARENT in os.environ:  # which says that it was stopped
            raise typer.Exit(130) from None
        raise
    finally:
        benches.close()
    counts = dict(grid.counts())
    return Result(counts, [", ".join(f"{n} {name}" for name, n in counts.items() if n)])


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, even if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

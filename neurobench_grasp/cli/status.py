"""``ngb status``: how far a run is, from its files."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.terminal import Json, Result, table
from neurobench_grasp.errors import NgbError
from neurobench_grasp.run.job import RUNS

if TYPE_CHECKING:
    from neurobench_grasp.run.grid import Grid

STATES = ("done", "running", "waiting", "failed")
MOST_SHOWN = 20
MOST_GRIDS = 10
"""The newest ones of a run folder, among which one that is unfinished is sought."""


def status(
    run: Annotated[Path, typer.Argument(help="Run folder.")] = RUNS,
    as_json: Json = False,
) -> Result:
    """Show a run: what is done, running, waiting and failed, and the time left.

    Only files are read, so that this works while a run goes on, wherever it runs.
    """
    from neurobench_grasp.run.how_far import summary, time_left

    grid = newest_grid(run)
    grid.read_log(time.time())
    rows: defaultdict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for i, task in enumerate(grid.tasks):
        model = str(task.what.get("model", ""))
        rows[task.kind, model, _dataset(task.what)][grid.state(i).name] += 1
    heads = ("kind", "model", "dataset", *STATES)
    cells = [(*key, *(str(counts[state] or "") for state in STATES)) for key, counts in rows.items()]
    running, failed = _details(grid)
    view = [f"{grid.folder}: {summary(grid)}", table(*heads, rows=cells, numbers=STATES)]
    for title, each in (("running", running), ("failed", failed)):
        view += ["", *(f"{title}: {line}" for line in each[:MOST_SHOWN])] if each else []
        view += [f"{title}: {len(each) - MOST_SHOWN} more, see --json"] if len(each) > MOST_SHOWN else []
    if not running and grid.counts()["waiting"]:
        view += ["", f"nothing runs now; unless jobs are queued, repeat the command or use `ngb work {run}`"]
    data = {
        "grid": str(grid.folder),
        "counts": {state: grid.counts()[state] for state in STATES},
        "seconds_left": time_left(grid),
        "running": running,
        "failed": failed,
    }
    return Result(data, view, exit_code=1 if failed else 0)


def newest_grid(run: Path) -> Grid:
    """Read a grid, or of a run folder the newest one that is unfinished, else the newest.

    Raises
    ------
    NgbError
        If there is none.
    """
    from neurobench_grasp.run.grid import TASKS, Grid, grids

    if (run / TASKS).is_file():
        return Grid.read(run)
    found = [Grid.read(folder) for folder in grids(run)[-MOST_GRIDS:]]
    if not found:
        raise NgbError(f"There is no grid in {run}; name the folder that was given to `ngb score --out`.")
    now = time.time()
    return next((grid for grid in reversed(found) if not grid.is_finished(now)), found[-1])


def _dataset(what: Any) -> str:
    return Path(str(what.get("dataset") or what.get("path", ""))).name


def _details(grid: Grid) -> tuple[list[str], list[str]]:
    """Return a line for each task that is running, and for each that has failed."""
    from neurobench_grasp.run.how_far import duration
    from neurobench_grasp.run.tasks import label

    running, failed = [], []
    lost = {i for i in range(len(grid.tasks)) if grid.state(i).name == "failed"}
    lacking = Counter(k for i in lost for k in grid.tasks[i].needs)
    for i, task in enumerate(grid.tasks):
        state = grid.state(i)
        if state.name == "running":
            claim = grid.claim(i)
            where = f"{claim['host']}, process {claim['pid']}"
            again = f", attempt {state.attempts}" if state.attempts > 1 else ""
            running.append(f"{label(task)} for {duration(grid.seconds(i))} on {where}{again}")
        elif i in lost and lost.isdisjoint(task.needs):
            others = f" ({lacking[i]} more need it)" if lacking[i] else ""
            failed.append(f"{label(task)}: {grid.reason(i)}{others}")
    return running, failed

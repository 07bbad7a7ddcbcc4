"""``ngb leaderboard``: rank the records of some folders."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.terminal import Json, Result, note, table
from neurobench_grasp.errors import NgbError

if TYPE_CHECKING:
    from rich.console import RenderableType

RUNS = Path("ngb-runs")


def leaderboard(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...",
            help="Run folders or folders of records (default: ngb-runs and the reviewed results).",
        ),
    ] = None,
    as_json: Json = False,
) -> Result:
    """Rank models by single-trial explained variance on held-out objects."""
    from neurobench_grasp.leaderboard import BOARD, RANK_RULE, ranking, read_records

    records, problems = read_records(folders or _default_folders())
    for problem in problems:
        note(f"left out: {problem}")
    rows = ranking(records)
    if not records and problems:
        raise NgbError("None of these could be read; name run folders or folders of records.")
    if not rows:
        note("There are no scores to rank yet; make one with `ngb score --model NAME`.")
    boards = [list(group) for _, group in groupby(rows, key=lambda row: [row[key] for key in BOARD])]
    view = [part for board in boards for part in (*_table(board), "")]
    return Result(rows, [*view, RANK_RULE] if rows else [])


def _default_folders() -> list[Path]:
    from neurobench_grasp.resources import resource

    try:
        reviewed = [resource("registry/results")]
    except NgbError:  # none yet
        reviewed = []
    return [folder for folder in (RUNS, *reviewed) if folder.is_dir()]


def _table(rows: list[dict[str, Any]]) -> Iterator[RenderableType]:
    first = rows[0]
    kind = "synthetic self-test" if first["synthetic"] else "recordings"
    yield (
        f"{first['area']} on {first['dataset']} ({kind}, data {first['dataset_sha256'][:8]}), "
        f"{first['protocol']} v{first['version']}"
    )
    cells = [
        (
            "–" if row["rank"] is None else str(row["rank"]),
            row["model"],
            "–" if row["value"] is None else f"{row['value']:.3f}",
            f"[{row['ci'][0]:.3f}, {row['ci'][1]:.3f}]" if row["ci"] else row["reason"],
            str(row["n_seeds"]),
            str(row["n_units"] or "–"),
        )
        for row in rows
    ]
    columns = ("rank", "model", "EV on ood", "95 % interval", "seeds", "units")
    yield table(*columns, rows=cells, numbers=("rank", "EV on ood", "seeds", "units"))

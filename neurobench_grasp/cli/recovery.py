"""``ngb recovery``: test whether the benchmark can distinguish hypotheses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.terminal import Json, Result, progress, table

if TYPE_CHECKING:
    from rich.console import RenderableType


def recovery(
    teachers: Annotated[
        str, typer.Option("--teachers", help="What generates units, separated by commas.")
    ] = "muscle_ppo,torque_ppo,linear_kinematic",
    networks: Annotated[
        int, typer.Option("--networks", min=2, help="Networks of each candidate, seeds 0 … N-1.")
    ] = 5,
    teacher_seed: Annotated[
        list[int] | None,
        typer.Option("--teacher-seed", min=0, help="Seed of a teacher's network; may be repeated."),
    ] = None,
    units: Annotated[int, typer.Option("--units", min=2, help="Units of each session.")] = 120,
    sessions: Annotated[
        int, typer.Option("--sessions", min=1, help="Sessions of `demo` whose movements are used.")
    ] = 1,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder; an interrupted run resumes.")] = Path(
        "ngb-runs/recovery"
    ),
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for table and picture (default: the run folder).")
    ] = None,
    as_json: Json = False,
) -> Result:
    """Generate units from known models and test whether the benchmark identifies them (docs/recovery.md)."""
    from neurobench_grasp.recovery import TEACHER_SEEDS, recover, rows, write_report

    with progress() as status:
        found = recover(
            [name.strip() for name in teachers.split(",")],
            networks=networks,
            teacher_seeds=teacher_seed or TEACHER_SEEDS,
            n_units=units,
            n_sessions=sessions,
            out=out,
            progress=status,
        )
    data, picture = write_report(found, to or out)
    view = [part for one in found for part in _view(rows([one]), one.why_not)]
    return Result(rows(found), [*view, f"picture: {picture}", f"its data: {data}"])


def _view(cells: Sequence[dict[str, Any]], why_not: str) -> Iterator[RenderableType]:
    first = cells[0]
    verdict = f"not recovered: {why_not}" if why_not else "recovered"
    yield f"teacher {first['teacher']} (seed {first['teacher_seed']}), synthetic self-test: {verdict}"
    body = [
        (
            f"{cell['candidate']}{' (untrained)' if cell['untrained'] else ''}",
            cell["kind"],
            _value(cell, "ev"),
            _value(cell, "margin"),
        )
        for cell in sorted(cells, key=lambda cell: -(cell["ev"] or 0))
    ]
    yield table("candidate", "kind", "EV on ood", "own kind above it", rows=body)
    yield ""


def _value(cell: dict[str, Any], what: str) -> str:
    if cell[what] is None:
        return ""
    low, high = cell[f"{what}_ci_low"], cell[f"{what}_ci_high"]
    interval = "no interval" if low is None else f"[{low:.3f}, {high:.3f}]"
    return f"{cell[what]:.3f} {interval}"

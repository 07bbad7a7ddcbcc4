"""``ngb check``: whether a plugin fulfils the contract."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from neurobench_grasp.cli.terminal import Json, Result, progress, table

if TYPE_CHECKING:
    from neurobench_grasp.checks import CheckResult

SHOWN = ("pass", "fail", "skip", "not run")


def check(
    name: Annotated[
        str, typer.Argument(help="A plugin, its distribution, or a model, dataset, protocol or decoder.")
    ],
    import_s: Annotated[float, typer.Option(help="Seconds that importing it may take.", min=0.1)] = 5.0,
    check_s: Annotated[float, typer.Option(help="Seconds that a single check may take.", min=0.1)] = 60.0,
    as_json: Json = False,
) -> Result:
    """Check that a plugin fulfils the contract; exit code 1 if it does not."""
    from neurobench_grasp.checks import Limits, run_checks

    with progress() as status:
        report = run_checks(name, Limits(import_s=import_s, check_s=check_s), progress=status)
    view = []
    for subject, rows in groupby(report.rows, key=lambda row: row.subject):
        view += [subject, table("check", "result", "rule, or what to change", rows=_cells(list(rows))), ""]
    return Result(report.to_json(), [*view, _summary(report.rows)], exit_code=0 if report.passed else 1)


def _cells(rows: list[CheckResult]) -> list[tuple[str, str, str]]:
    """Return one line per check; checks not run for the same reason share a line."""
    lines = [(row.check, row.status, row.message or row.rule) for row in rows if row.status != "not run"]
    left = [row for row in rows if row.status == "not run"]
    for why in dict.fromkeys(row.message for row in left):
        names = [row.check for row in left if row.message == why]
        if len(names) == 1:
            lines.append((names[0], "not run", why))
        else:
            lines.append((f"{len(names)} others", "not run", f"{why} These are {', '.join(names)}."))
    return lines


def _summary(rows: tuple[CheckResult, ...]) -> str:
    counts = ((status, sum(row.status == status for row in rows)) for status in SHOWN)
    return ", ".join(f"{n} {status}" for status, n in counts if n)

"""``ngb claims`` and ``ngb power``: what records show of the reference study's claims, or could show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.board import default_folders
from neurobench_grasp.cli.terminal import Json, Result, note, number, table, with_interval
from neurobench_grasp.errors import NgbError

if TYPE_CHECKING:
    from rich.console import RenderableType

Runs = Annotated[
    list[Path] | None,
    typer.Option(
        "--runs",
        metavar="DIR",
        help="Run folder, submission, folder of records, or folder of these; may be repeated "
        "(default: ngb-runs, reviewed results).",
    ),
]
Muscle = Annotated[str, typer.Option(metavar="MODEL", help="Controller by muscles.")]
Torque = Annotated[str, typer.Option(metavar="MODEL", help="Controller by joint torques.")]
NUMBERS = ("units", "conditions", "networks")
RULE = (
    "supported, contradicted: the 95 % interval of the statistic lies above, below 0. Power: probability that "
    "an effect of the size beside it would have been supported."
)


def claims(
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Only records on this dataset (default: all).")
    ] = None,
    runs: Runs = None,
    muscle: Muscle = "muscle_ppo",
    torque: Torque = "torque_ppo",
    as_json: Json = False,
) -> Result:
    """Judge the claims of the reference study on what has been scored, and state the power."""
    from neurobench_grasp.leaderboard import claims as judge
    from neurobench_grasp.leaderboard.evidence import Models
    from neurobench_grasp.records import read_scored

    scored, problems = read_scored(runs or default_folders(), lambda labels: True)
    for problem in problems:
        note(f"left out: {problem}")
    found = judge(scored, Models(muscle, torque), dataset)
    if not found:
        where = f" on {dataset}" if dataset else ""
        raise NgbError(
            f"There is no record of {muscle} or {torque}{where}; `ngb score --model {muscle} --dataset "
            f"{dataset or 'demo'} --seeds 5` makes some."
        )
    return Result(found, [*(part for one in found for part in (*_claims(one), "")), RULE])


def power(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset whose records are the pilot.")],
    effect: Annotated[
        float, typer.Option(min=1e-6, max=1.0, help="Difference of explained variance to be shown.")
    ] = 0.01,
    runs: Runs = None,
    muscle: Muscle = "muscle_ppo",
    torque: Torque = "torque_ppo",
    as_json: Json = False,
) -> Result:
    """State which effect the design of a dataset can show, and what a wanted one needs."""
    from neurobench_grasp.leaderboard import powers
    from neurobench_grasp.leaderboard.evidence import Models
    from neurobench_grasp.records import read_scored

    scored, problems = read_scored(runs or default_folders(), lambda labels: True)
    for problem in problems:
        note(f"left out: {problem}")
    rows = powers(scored, dataset, effect, Models(muscle, torque))
    if not rows:
        raise NgbError(
            f"There is no record on {dataset} that shows how precisely effects are measured; "
            f"`ngb score --model {muscle} --dataset {dataset} --seeds 5` makes one."
        )
    return Result(rows, list(_powers(rows)))


def _claims(one: Mapping[str, Any]) -> Iterator[RenderableType]:
    """View of one dataset: a table of what is measured, then what is missing."""
    rows = one["claims"]
    kind = "synthetic self-test" if one["synthetic"] else "recordings"
    yield f"claims of the reference study on {one['dataset']} ({kind})"
    cells = [
        (
            ", ".join(filter(None, (r["claim"], r["area"]))),
            r["verdict"],
            with_interval(r, 2 if r["unit"] else 3) + (f" {r['unit']}" if r["unit"] else ""),
            f"{number(r['power'], 2)} for {number(r['effect'], 2 if r['unit'] else 3)}",
        )
        for r in rows
        if r["value"] is not None
    ]
    if cells:
        yield table("claim", "verdict", "statistic", "power", rows=cells)
    for name in dict.fromkeys(r["reason"] for r in rows if r.get("reason")):
        about = ", ".join(dict.fromkeys(r["name"] for r in rows if r.get("reason") == name))
        yield f"{about}: {name}"


def _powers(rows: list[dict[str, Any]]) -> Iterator[RenderableType]:
    """View of what can be shown: now, and with other numbers of units, conditions or networks."""
    known = [r for r in rows if "se" in r]
    cells = [
        (
            f"{r['effect']}, {r['area']}",
            with_interval(r, 3),
            number(r["detectable"], 3),
            f"{number(r['power'], 2)} for {number(r['wanted'], 3)}",
            *(
                f"{_count(r[f'{what}_needed'])} ({r[f'n_{what}']})"
                for what in ("units", "conditions", "networks")
            ),
        )
        for r in known
    ]
    if cells:
        yield table(
            "effect", "measured", "detectable", "power", "units", "conditions", "networks", rows=cells
        )
        yield (
            "detectable: shown with a power of 0.8. Units, conditions, networks: how many of these alone show the "
            "wanted effect with this power (there are now); –: no number does."
        )
    yield from dict.fromkeys(f"{r['effect']}: {r['reason']}" for r in rows if "reason" in r)


def _count(n: int | None) -> str:
    return "–" if n is None else str(n)

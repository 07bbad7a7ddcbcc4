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

    from neurobench_grasp.records import Scored

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
    "supported, contradicted: the 95 % interval of the statistic lies above, below 0. Power: probability "
    "that an effect of the size beside it is supported by such records. *: to be read with its remark."
)
LEGEND = (
    "detectable: shown with a power of 0.8. Its interval, and that of the power, are what a pilot of this "
    "size leaves open, since its variances are estimates. Units, conditions, networks: how many of these "
    "alone show the wanted effect with this power, in brackets how many there are; –: no number does."
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
    from neurobench_grasp.leaderboard import Models
    from neurobench_grasp.leaderboard import claims as judge

    check_models(muscle, torque)
    known = _known()
    found = judge(_read(runs), Models(muscle, torque), dataset, known)
    if not found:
        raise _none(muscle, dataset, known)
    return Result(found, [*(part for one in found for part in (*_claims(one), "")), RULE])


def power(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset whose records are the pilot.")],
    effect: Annotated[
        float,
        typer.Option(
            min=1e-6, max=1.0, help="Difference of explained variance to be shown; of gains, half of it."
        ),
    ] = 0.01,
    runs: Runs = None,
    muscle: Muscle = "muscle_ppo",
    torque: Torque = "torque_ppo",
    as_json: Json = False,
) -> Result:
    """State which effect the design of a dataset can show, and what a wanted one needs."""
    from neurobench_grasp.leaderboard import Models, powers

    check_models(muscle, torque)
    known = _known()
    found = powers(_read(runs), dataset, effect, Models(muscle, torque), known)
    if not found:
        raise _none(muscle, dataset, known)
    return Result(found, [*(part for one in found for part in (*_powers(one), "")), LEGEND])


def check_models(muscle: str, torque: str) -> None:
    """Refuse models that the claims cannot be about."""
    from neurobench_grasp.plugins import load_registry

    if muscle == torque:
        raise typer.BadParameter("name two models", param_hint="--muscle, --torque")
    known = {provided.spec.name: provided.spec for provided in load_registry().models()}
    for option, name in (("--muscle", muscle), ("--torque", torque)):
        if name in known and not known[name].controller:
            raise typer.BadParameter(f"{name} moves no body", param_hint=option)


def _read(runs: list[Path] | None) -> tuple[Scored, ...]:
    """Read the records of some folders; what is damaged is reported."""
    from neurobench_grasp.leaderboard import of_claims
    from neurobench_grasp.records import read_scored

    scored, problems = read_scored(runs or default_folders(), of_claims)
    for problem in problems:
        note(f"left out: {problem}")
    return scored


def _known() -> set[str]:
    """Names of the datasets that a command can be given."""
    from neurobench_grasp.plugins import load_registry

    return {provided.spec.name for provided in load_registry().datasets()}


def _none(model: str, dataset: str | None, known: set[str]) -> NgbError:
    named = dataset or "demo"
    what, where = (named, "") if named in known else ("FILE", f", where FILE is the path of {named}")
    return NgbError(
        f"There is no record of units scored by these models{f' on {dataset}' if dataset else ''}; "
        f"`ngb score --model {model} --dataset {what} --seeds 5` makes some{where}."
    )


def _title(one: Mapping[str, Any]) -> str:
    kind = "synthetic self-test" if one["synthetic"] else "recordings"
    frozen = f", trained on {one['trained_on']}" if one["trained_on"] else ""
    return f"{one['dataset']} ({kind}, data {one['dataset_sha256'][:8]}){frozen}"


def _claims(one: Mapping[str, Any]) -> Iterator[RenderableType]:
    """View of one dataset: a table of what is measured, then what is missing."""
    rows = one["claims"]
    yield f"claims of the reference study on {_title(one)}"
    cells = [
        (
            f"{', '.join(filter(None, (r['name'], r['area'])))}: {r['claim']}",
            r["verdict"] + ("*" if r["remark"] else ""),
            with_interval(r, 2 if r["unit"] else 4) + (f" {r['unit']}" if r["unit"] else ""),
            f"{number(r['power'], 2)} for {number(r['effect'], 2 if r['unit'] else 3)}",
        )
        for r in rows
        if r["value"] is not None
    ]
    if cells:
        yield table("claim", "verdict", "statistic", "power", rows=cells)
    yield from (f"* {remark}" for remark in _once(rows, "remark", "name", "area"))
    yield from _once(rows, "reason", "name")


def _once(rows: list[dict[str, Any]], text: str, *labels: str) -> Iterator[str]:
    """List the texts of rows, each once, after the rows that have it."""
    for said in dict.fromkeys(r[text] for r in rows if r.get(text)):
        names = (", ".join(filter(None, map(r.get, labels))) for r in rows if r.get(text) == said)
        yield f"{'; '.join(dict.fromkeys(names))}: {said}"


def _powers(one: Mapping[str, Any]) -> Iterator[RenderableType]:
    """View of what can be shown: now, and with other numbers of units, conditions or networks."""
    rows = one["effects"]
    yield f"effects of {_title(one)}"
    cells = [
        (
            f"{r['effect']}, {r['area']}",
            with_interval(r, 3),
            with_interval({"value": r["detectable"], "ci": r["detectable_ci"]}, 3),
            f"{with_interval({'value': r['power'], 'ci': r['power_ci']}, 2)} for {number(r['wanted'], 3)}",
            *(f"{number(r[f'{what}_needed'], 0)} ({r[f'n_{what}']})" for what in NUMBERS),
        )
        for r in rows
        if "se" in r
    ]
    if cells:
        yield table("effect", "measured", "detectable", "power", *NUMBERS, rows=cells)
    yield from _once(rows, "reason", "effect")

"""``ngb compare``: models pair by pair, by the rule that decides ranks and ties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.board import caveats, default_folders, rank, title
from neurobench_grasp.cli.terminal import Json, Result, note, number, table, with_interval

if TYPE_CHECKING:
    from rich.console import RenderableType

Fields = Mapping[str, Any]
"""A part of the result of :func:`neurobench_grasp.leaderboard.comparison`."""


def compare(
    models: Annotated[list[str], typer.Argument(metavar="MODEL MODEL...", help="Names of scored models.")],
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--runs",
            metavar="DIR",
            help="Run folder, submission, folder of records, or folder of these; may be repeated "
            "(default: ngb-runs, reviewed results).",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Only records on this dataset (default: all).")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Split that is compared.")] = "ood",
    metric: Annotated[str, typer.Option("--metric", help="Score that is compared.")] = "single_trial_ev",
    as_json: Json = False,
) -> Result:
    """Compare scored models pair by pair, unit by unit."""
    if len(set(models)) < 2:
        raise typer.BadParameter("name at least two models", param_hint="MODEL")
    from neurobench_grasp.leaderboard import RANK_RULE, comparison, unit_scores_of
    from neurobench_grasp.records import read_scored

    scored, problems = read_scored(runs or default_folders(), unit_scores_of(metric, split))
    for problem in problems:
        note(f"left out: {problem}")
    boards = comparison(scored, models, metric=metric, split=split, dataset=dataset)
    view = [part for board in boards for part in (*_view(board), "")]
    return Result(boards, [*view, RANK_RULE])


def _view(board: Fields) -> Iterator[RenderableType]:
    """View of a board: models, the differences that decide, gains over untrained twins, tests, caveats."""
    from neurobench_grasp.records.names import metric_name

    digits = 2 if board["unit"] else 3
    unit = f" ({board['unit']})" if board["unit"] else ""
    better = "lower" if board["lower_is_better"] else "higher"
    yield title(board)
    yield f"{metric_name(board['metric'])}{unit} on {board['split']}; {better} is better"
    yield ""
    yield _models(board["models"], digits)
    yield ""
    yield _differences(board["pairs"], digits)
    yield ""
    if any(row["gain"] for row in board["models"]):
        yield _gains(board, digits)
        yield ""
    yield _tests(board["pairs"])
    yield ""
    yield from _notes(board["pairs"])
    yield from caveats(board["models"])
    if board["absent"]:
        yield f"{', '.join(board['absent'])}: not scored alike, so not compared here"


def _models(rows: list[dict[str, Any]], digits: int) -> RenderableType:
    cells = [
        (
            rank(row),
            row["model"],
            with_interval(row, digits),
            str(row["n_networks"]),
            *_errors(row, digits),
            str(row["n_units"] or "–"),
        )
        for row in rows
    ]
    columns = ("rank", "model", "mean [95 % interval]", "nets", "SE data", "SE nets", "units")
    return table(*columns, rows=cells, numbers=("nets", "SE data", "SE nets", "units"))


def _differences(pairs: list[Fields], digits: int) -> RenderableType:
    cells = [
        (
            _pair(p),
            with_interval(p, digits),
            *_errors(p, digits),
            p["verdict"] or "no interval",
        )
        for p in pairs
    ]
    cells += [
        (f" {animal} alone", with_interval(part, digits), *_errors(part, digits), "")
        for p in pairs
        for animal, part in p["animals"].items()
        if len(pairs) == 1  # of several the table would be all of these; --json has them
    ]
    columns = ("difference", "mean [95 % interval]", "SE data", "SE nets", "better")
    return table(*columns, rows=cells, numbers=("SE data", "SE nets"))


def _gains(board: Fields, digits: int) -> RenderableType:
    of_models = [(row["model"], row["gain"]) for row in board["models"] if row["gain"]]
    of_pairs = [(f"contrast: {_pair(p)}", p["contrast"]) for p in board["pairs"] if p["contrast"]]
    cells = [
        (name, with_interval(gain, digits), *_errors(gain, digits)) for name, gain in (*of_models, *of_pairs)
    ]
    columns = ("above the untrained twin", "mean [95 % interval]", "SE data", "SE nets")
    return table(*columns, rows=cells, numbers=("SE data", "SE nets"))


def _tests(pairs: list[Fields]) -> RenderableType:
    cells = [(_pair(p), *_p_values(p["mann_whitney"]), *_p_values(p["wilcoxon"])) for p in pairs]
    columns = ("tests, which decide nothing", "Mann–Whitney p", "Holm", "Wilcoxon p", "Holm")
    return table(*columns, rows=cells, numbers=columns[1:])


def _notes(pairs: list[Fields]) -> Iterator[str]:
    """Explain the columns, and the smallest p of Mann–Whitney."""
    yield "SE data: which conditions and units were recorded; SE nets: which networks were trained."
    yield (
        "Mann–Whitney is over networks and exact, Wilcoxon over units averaged over networks; Holm corrects "
        f"for {len(pairs)} pair{'s' if len(pairs) > 1 else ''}."
    )
    for smallest in sorted({p["mann_whitney"]["smallest_p"] for p in pairs if p["mann_whitney"]}):
        same = [_pair(p) for p in pairs if p["mann_whitney"] and p["mann_whitney"]["smallest_p"] == smallest]
        yield f"The smallest p that Mann–Whitney can reach is {smallest:.3g} for {', '.join(same)}."


def _errors(row: Fields, digits: int) -> tuple[str, str]:
    """Format the standard errors over data and over networks."""
    return number(row["data_se"], digits), number(row["network_se"], digits)


def _pair(pair: Fields) -> str:
    return f"{pair['a']} − {pair['b']}"


def _p_values(test: Fields | None) -> tuple[str, str]:
    return ("–", "–") if test is None else (_p(test["p"]), _p(test["p_holm"]))


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"

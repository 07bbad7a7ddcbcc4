"""``ngb leaderboard``: rank the records of some folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.terminal import Json, Result, note, number, table
from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import parse_yaml
from neurobench_grasp.run.job import RUNS
from neurobench_grasp.text import is_line

LONGEST_TITLE = 100
"""Characters of the title of a site."""

if TYPE_CHECKING:
    from rich.console import RenderableType

    from neurobench_grasp.leaderboard.site import Facts


def leaderboard(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...",
            help="Run folders, submissions, folders of records, or folders of these "
            "(default: ngb-runs and the reviewed results).",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Build the board as a web site in this folder.", show_default=False),
    ] = None,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Title of the web site, such as the name of a laboratory.")
    ] = "neurobench_grasp",
    logo: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Logo of the web site, a small PNG image.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> Result:
    """Rank models by single-trial explained variance on held-out objects."""
    if html is not None:
        return _site(folders or default_folders(), html, title, logo)
    if logo is not None:
        raise NgbError("A logo is shown on the web site only; add --html DIR.")
    from neurobench_grasp.leaderboard import BOARD, RANK_RULE, rank_models, unit_scores_of
    from neurobench_grasp.records import read_scored

    scored, problems = read_scored(folders or default_folders(), unit_scores_of())
    for problem in problems:
        note(f"left out: {problem}")
    rows = rank_models(scored)
    if not scored and problems:
        raise NgbError("None of these has records; name run folders, submissions or folders of records.")
    if not rows:
        note("There are no scores to rank yet; make one with `ngb score --model NAME`.")
    boards = [list(group) for _, group in groupby(rows, key=lambda row: [row[key] for key in BOARD])]
    view = [part for board in boards for part in (*_table(board), "")]
    return Result(rows, [*view, RANK_RULE] if rows else [])


def default_folders() -> list[Path]:
    """Folders that are read by default: local runs and the reviewed submissions, as far as there are any."""
    from neurobench_grasp.resources import resource

    runs = [RUNS] if (RUNS / "records").is_dir() else []
    try:
        reviewed = resource("registry/results")
    except NgbError:  # none yet
        return runs
    return [*runs, reviewed] if any(reviewed.iterdir()) else runs


def _site(folders: list[Path], to: Path, title: str, logo: Path | None) -> Result:
    """Build the web site and report where it is."""
    from neurobench_grasp.leaderboard.site import build_site, read_logo

    if not (0 < len(title) <= LONGEST_TITLE and is_line(title)):
        raise NgbError(
            f"The title of the site must be one line of 1 to {LONGEST_TITLE} characters; change --title."
        )
    image = b"" if logo is None else read_logo(logo)
    site = build_site(folders, to, replace(_facts(), title=title, logo=image))
    for problem in site.problems:
        note(f"left out: {problem}")
    if not site.n_records:
        note("There are no scores to show yet; make one with `ngb score --model NAME`.")
    models, boards = _count(site.n_models, "model"), _count(site.n_boards, "board")
    built = {
        "index": str(site.index),
        "records": site.n_records,
        "models": site.n_models,
        "boards": site.n_boards,
    }
    return Result(built, [f"{models} on {boards}: open {site.index}, or put its folder on a web server"])


def _facts() -> Facts:
    """Collect what the package itself provides, so that the same records give the same site everywhere."""
    from neurobench_grasp.builtin import ngb_datasets, ngb_protocols
    from neurobench_grasp.controllers.checkpoints import CHECKPOINTS, NetworkCard
    from neurobench_grasp.data.nwb.layout import load_layout
    from neurobench_grasp.leaderboard.site import Facts
    from neurobench_grasp.resources import resource

    try:
        paths = sorted(resource(CHECKPOINTS).glob("*/*.json"))
    except NgbError:  # an installation without networks
        paths = []
    cards = map(NetworkCard.read, paths)
    datasets = {spec.name: spec for spec in ngb_datasets()}
    return Facts(
        datasets,
        {spec.name: spec for spec in ngb_protocols()},
        {name: load_layout(spec.layout).body for name, spec in datasets.items() if spec.layout},
        {card.sha256: card.curve for card in cards},
        citation=_citation(),
    )


def _citation() -> Mapping[str, Any]:
    """Fields of ``CITATION.cff``; empty in an installation without it."""
    from neurobench_grasp.resources import resource

    try:
        found = parse_yaml(resource("CITATION.cff").read_bytes())
    except NgbError:
        return {}
    return dict(found)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def title(board: Mapping[str, Any]) -> str:
    """Title of a board: what was scored alike."""
    kind = "synthetic self-test" if board["synthetic"] else "recordings"
    frozen = f", trained on {board['trained_on']}" if board["trained_on"] else ""
    return (
        f"{board['area'] or 'movement'} on {board['dataset']} ({kind}, data {board['dataset_sha256'][:8]}), "
        f"{board['protocol']} v{board['version']} (settings {board['settings_sha256'][:8]}){frozen}"
    )


def rank(row: Mapping[str, Any]) -> str:
    """Format a rank, from the best to the worst possible, and the letters of its ties."""
    best, worst = row["rank"], row["rank_worst"]
    if best is None:
        return "–"
    return f"{best if best == worst else f'{best}–{worst}'} {row['ties']}"


def caveats(rows: list[dict[str, Any]]) -> Iterator[str]:
    """List why something is missing, and what intervals do not contain; each reason once."""
    for reason in dict.fromkeys(row["reason"] for row in rows if row.get("reason")):
        yield f"{', '.join(row['model'] for row in rows if row.get('reason') == reason)}: {reason}"
    if alone := [row["model"] for row in rows if row["n_networks"] == 1 and row["has_networks"]]:
        yield f"{', '.join(alone)}: one network, so intervals do not contain how networks differ"


def _table(rows: list[dict[str, Any]]) -> Iterator[RenderableType]:
    yield title(rows[0])
    cells = [
        (
            rank(row),
            row["model"],
            number(row["value"], 3),
            f"[{number(row['ci'][0], 3)}, {number(row['ci'][1], 3)}]" if row["ci"] else "–",
            str(row["n_networks"]),
            str(row["n_units"] or "–"),
        )
        for row in rows
    ]
    columns = ("rank", "model", "EV on ood", "95 % interval", "networks", "units")
    yield table(*columns, rows=cells, numbers=("EV on ood", "networks", "units"))
    yield from caveats(rows)

"""Page of two models side by side: their numbers on every board that has both, and the paired difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from neurobench_grasp.leaderboard.ranking import verdict
from neurobench_grasp.leaderboard.site.boards import BoardRow, BoardTable, Column, Group
from neurobench_grasp.leaderboard.site.format import NOTHING, networks, shown, slug, spread
from neurobench_grasp.leaderboard.site.glossary import CARD
from neurobench_grasp.leaderboard.site.model_page import Grid
from neurobench_grasp.records.table import Score

MOST_PAIRS = 2000
"""Pages of pairs at most."""


@dataclass(frozen=True)
class Meeting:
    """A board that has both models.

    Parameters
    ----------
    group : Group
    table : BoardTable
    result : str
        Which of them is better, as a sentence.
    grid : Grid
        All numbers of both.
    """

    group: Group
    table: BoardTable
    result: str
    grid: Grid


def pairs_of(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Pairs of models that are compared on some board, each in order of names; those of the first boards."""
    found = (pair for group in groups for table in group.tables for pair in table.pairs)
    return sorted(islice(dict.fromkeys((min(pair), max(pair)) for pair in found), MOST_PAIRS))


def pair_path(one: str, other: str) -> str:
    """Path of the page of two models, whatever their order."""
    return f"pairs/{'--'.join(map(slug, sorted((one, other))))}.html"


def meetings(groups: Sequence[Group], first: str, second: str) -> Iterator[Meeting]:
    """Yield the boards that have both models, in the order of the boards."""
    for group in groups:
        for table in group.tables:
            rows = {row.model: row for row in table.rows}
            if first in rows and second in rows:
                lines = [
                    [
                        ", ".join(filter(None, (column.group, column.head))),
                        *(_cell(rows[model], column) for model in (first, second)),
                    ]
                    for column in table.columns
                ]
                grid = Grid(f"{table.name}, {first} and {second}", ["", first, second], lines)
                yield Meeting(group, table, _result(table, first, second), grid)


def _cell(row: BoardRow, column: Column) -> str:
    other = row.other_networks.get(column.key)
    text = spread(row.cells[column.key], column.digits)
    return f"{text} ({networks(other)})" if other else text


def _result(table: BoardTable, first: str, second: str) -> str:
    """State the paired difference and what follows from it."""
    pair = (first, second) if (first, second) in table.pairs else (second, first)
    total = table.pairs.get(pair)
    if total is None or total.ci is None:
        return "Their difference has no interval, so they are not compared here."
    (column,) = [column for column in table.columns if column.drawn]
    sign = -verdict(total) if column.lower else verdict(total)
    name = ", ".join(filter(None, (column.group, column.head)))
    numbers = f"{name}, {pair[0]} minus {pair[1]}, paired: {spread(Score.of(total), column.digits)}"
    better = {1: f"{pair[0]} is better.", -1: f"{pair[1]} is better.", 0: "They tie."}
    return f"{better[sign]} {numbers}."


def card_grid(first: str, second: str, cards: Mapping[str, Mapping[str, Any] | None]) -> Grid:
    """Cards of both models."""
    both = [cards[model] or {} for model in (first, second)]
    rows = [
        [name, *(shown(card.get(key)) for card in both)]
        for key, name in CARD.items()
        if any(shown(card.get(key)) != NOTHING for card in both)
    ]
    return Grid("Cards", ["", first, second], rows)

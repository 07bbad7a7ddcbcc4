"""Boards of a site: models that were scored alike, numbers with their intervals."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from neurobench_grasp.leaderboard.site.entries import LINEAR, Entry, lowest_level
from neurobench_grasp.leaderboard.site.format import slug
from neurobench_grasp.leaderboard.standings import (
    BEST_KINEMATIC,
    IDENTITY,
    METRIC,
    PERMUTED,
    SPLIT,
    TWIN,
    Board,
    Candidate,
    best_first,
    boards,
    differences,
    gain_over,
    identity,
    standing,
)
from neurobench_grasp.records.names import REFERENCES, lower_is_better
from neurobench_grasp.records.table import Score
from neurobench_grasp.records.units import CEILING
from neurobench_grasp.scoring.intervals import Summary, UnitScores
from neurobench_grasp.scoring.networks import average, mean_of_networks

Place = tuple[Any, ...]
Pairs = Mapping[tuple[str, str], Summary | None]
MOST_COMPARED = 20
"""Models of a board, from the best, that are compared side by side: pairs grow as the square of models."""
MOST_UNITWISE = 8
"""Models of a board, from the best, whose single units are on pages of sessions."""
MOST_ACTION = 80
"""Characters of an action space in a filter."""
Number = tuple[Score, Sequence[int]]
"""A score, and the seeds of the networks that it is a mean over."""


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Parameters
    ----------
    key : str
        Name in data files.
    head, group : str
        Its header, and the header above it and its neighbours.
    about : str
        What the number is, in a sentence.
    digits : int
        Behind the point.
    drawn : bool
        Its intervals are drawn.
    lower : bool
        True if lower is better.
    """

    key: str
    head: str
    group: str
    about: str
    digits: int = 3
    drawn: bool = False
    lower: bool = False


@dataclass(frozen=True)
class BoardRow:
    """One model of a board.

    Parameters
    ----------
    model : str
    rank, rank_worst : int, optional
        Best and worst rank that the rule allows.
    ties : str
        Letters of its groups of ties.
    cells : mapping of str to Score
        By key of the column.
    seeds : list of int
        Networks behind the number that ranks.
    other_networks : mapping of str to list of int
        Networks behind those cells that are means over others; of a gain over another model, its networks.
    has_networks : bool
        False if the model does not depend on a seed.
    level : str
        How it was verified at least.
    contaminated : bool
    action : str
        What the model moves its body with, as its newest card says; empty without a card.
    reason : str
        Why something is missing, or what the interval does not cover.
    """

    model: str
    rank: int | None
    rank_worst: int | None
    ties: str
    cells: Mapping[str, Score]
    seeds: list[int]
    other_networks: Mapping[str, list[int]]
    has_networks: bool
    level: str
    contaminated: bool
    action: str
    reason: str


@dataclass(frozen=True)
class BoardTable:
    """One board.

    Parameters
    ----------
    labels : mapping
        What was scored alike, see :data:`neurobench_grasp.leaderboard.standings.BOARD`.
    kind : str
        ``encoding`` or ``hand``.
    columns : sequence of Column
        Those that some model has a number in.
    rows : sequence of BoardRow
        Best first.
    about : str
        Number of units and conditions, as text.
    lines : mapping of str to float
        Noise ceiling and scores of references in new conditions, as far as they are known.
    pairs : mapping of (str, str) to Summary
        Difference of the number that ranks, first model minus second, the better placed first; of the first
        :data:`MOST_COMPARED` models.
    units : mapping of str to sequence of UnitScores
        Model → scores of its units, mean over networks, session by session; of the first
        :data:`MOST_UNITWISE` models.
    """

    labels: Board
    kind: str
    columns: Sequence[Column]
    rows: Sequence[BoardRow]
    about: str = ""
    lines: Mapping[str, float] = field(default_factory=dict)
    pairs: Pairs = field(default_factory=dict)
    units: Mapping[str, Sequence[UnitScores]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Anchor on the page."""
        return (
            "board-" + hashlib.sha256(json.dumps(dict(self.labels), sort_keys=True).encode()).hexdigest()[:10]
        )

    def anchor(self, model: str) -> str:
        """Anchor of the row of a model."""
        return f"{self.id}-{slug(model)}"

    @property
    def name(self) -> str:
        """Area that is scored, or the movement."""
        return str(self.labels["area"]) if self.kind == "encoding" else "Movement"

    @property
    def reference(self) -> float | None:
        """Score of the linear model, if it is among the models."""
        drawn = [column.key for column in self.columns if column.drawn]
        found = [row.cells[key].value for row in self.rows for key in drawn if row.model == LINEAR]
        return found[0] if found else None


@dataclass(frozen=True)
class Group:
    """Boards on the same data.

    Parameters
    ----------
    labels : mapping
        See :data:`neurobench_grasp.leaderboard.standings.IDENTITY`.
    tables : sequence of BoardTable
    """

    labels: Board
    tables: Sequence[BoardTable]

    @property
    def models(self) -> list[str]:
        """All models on some board of the group."""
        return sorted({row.model for table in self.tables for row in table.rows})


LINES = {
    CEILING: "noise ceiling",
    BEST_KINEMATIC: REFERENCES[BEST_KINEMATIC],
    "phase_mean": REFERENCES["phase_mean"],
}
"""Scores that scatter plots draw as lines, and their names."""
ERRORS = {"tracking_error_ood": "tracking error, mm", "brain_control_error_ood": "brain-control error, mm"}
"""Columns that scatter plots draw the explained variance against, and the names of their axes."""
_ENCODING = (
    Column(
        "single_trial_ev_ood",
        "new conditions",
        "Single-trial EV",
        "Explained variance of single units in single trials, in conditions that neither model nor map has "
        "seen, with 95 % interval.",
        drawn=True,
    ),
    Column(
        "single_trial_ev_test", "new trials", "Single-trial EV", "The same on new trials of known conditions."
    ),
    Column(
        "condition_averaged_ev_ood",
        "new conditions",
        "Condition-averaged EV",
        "Explained variance of the mean over the trials of each condition, in new conditions.",
    ),
    Column(
        "condition_averaged_ev_test",
        "new trials",
        "Condition-averaged EV",
        "The same on new trials of known conditions.",
    ),
    Column(
        f"gain_over_{BEST_KINEMATIC}",
        "kinematics",
        "Gain over",
        "Single-trial EV in new conditions minus that of the best map from recorded movement (linear, linear "
        "with look-ahead, quadratic; chosen on training trials), paired unit by unit.",
    ),
    Column(
        "gain_over_linear_kinematic",
        "linear",
        "Gain over",
        "Single-trial EV in new conditions minus that of a linear map from muscle lengths and velocities, "
        "paired unit by unit.",
    ),
    Column(
        "gain_over_untrained",
        "untrained",
        "Gain over",
        "Single-trial EV in new conditions minus that of the same network untrained, on the same inputs, "
        "paired unit by unit.",
    ),
    Column(
        f"gain_over_{PERMUTED}",
        "permuted",
        "Gain over",
        "Single-trial EV in new conditions minus that of the model whose muscles act as those of no animal: "
        "each joint’s moment arms are permuted among the muscles that cross it.",
    ),
    Column(
        "tracking_error_ood",
        "tracking",
        "Error, mm",
        "Mean distance of the body’s keypoints from the recorded movement, in new conditions.",
        digits=2,
        lower=True,
    ),
    Column(
        "brain_control_error_ood",
        "brain control",
        "Error, mm",
        "The same when the body’s goal is decoded from this area’s spikes.",
        digits=2,
        lower=True,
    ),
)
_HAND = (
    Column(
        "tracking_error_ood",
        "new conditions",
        "Tracking error, mm",
        "Mean distance of the body’s keypoints from the recorded movement, on objects that the controller "
        "has not seen, with 95 % interval.",
        digits=2,
        drawn=True,
        lower=True,
    ),
    Column(
        "tracking_error_test",
        "new trials",
        "Tracking error, mm",
        "The same on new trials of known conditions.",
        digits=2,
        lower=True,
    ),
    Column(
        "tracking_error_tips_ood",
        "tips",
        "Tracking error, mm",
        "The same for the tips of the body alone, such as fingertips, in new conditions.",
        digits=2,
        lower=True,
    ),
    Column(
        "joint_error_ood",
        "joints, °",
        "",
        "Mean error of joint angles, in new conditions.",
        digits=2,
        lower=True,
    ),
)


def groups(entries: Sequence[Entry]) -> list[Group]:
    """Return the boards of some records; recordings first, then synthetic self-tests.

    Parameters
    ----------
    entries : sequence of Entry

    Returns
    -------
    list of Group
    """
    found = _Found(entries)
    tables = [*found.encoding(), *found.hand()]
    tables.sort(key=lambda table: _place(table.labels, IDENTITY))
    return [
        Group(dict(zip(IDENTITY, place, strict=True)), list(same))
        for place, same in groupby(tables, key=lambda table: _place(table.labels, IDENTITY))
    ]


class _Found:
    """Every number of every board, by board, model and column."""

    def __init__(self, entries: Sequence[Entry]):
        self.scored = [entry.scored for entry in entries]
        self._boards: dict[tuple[str, str], dict[Place, tuple[Board, dict[str, Candidate]]]] = {}
        self._entries: dict[tuple[Place, str], list[Entry]] = defaultdict(list)
        for entry in entries:
            protocol = entry.record.protocol
            self._entries[
                (*identity(entry.record), protocol["name"], protocol["version"]), entry.record.model
            ].append(entry)

    def encoding(self) -> Iterable[BoardTable]:
        """Boards of the headline."""
        for board, candidates in self.of(METRIC, SPLIT).values():
            rows = []
            standings, pairs = self._standing(candidates, lower=False)
            for candidate, row in standings:
                found = {c.key: self._number(c.key, board, candidate.model) for c in _ENCODING[1:4]}
                for reference in (BEST_KINEMATIC, LINEAR, TWIN):
                    gain = Score.of(gain_over(candidate, reference))
                    found[f"gain_over_{reference}"] = gain, candidate.seeds
                found[f"gain_over_{PERMUTED}"] = _over(candidate, candidates.get(PERMUTED))
                for metric in ("tracking_error", "brain_control_error"):
                    found[f"{metric}_{SPLIT}"] = self._of_hand(metric, board, candidate.model)
                rows.append(self._row(board, candidate, row, _ENCODING[0].key, found))
            table = _table(board, "encoding", _ENCODING, rows, pairs)
            shown = [candidates[row.model] for row in rows if candidates[row.model].networks]
            units = {c.model: mean_of_networks(c.scores) for c in shown[:MOST_UNITWISE]}
            about, lines = _how_much(candidates.values()), _lines(candidates.values())
            yield replace(table, about=about, lines=lines, units=units)

    def hand(self) -> Iterable[BoardTable]:
        """Boards of tracking, with the errors of brain control beside them."""
        for board, candidates in self.of("tracking_error", SPLIT).values():
            data = _place(board, IDENTITY)
            areas = sorted(
                {
                    str(other["area"])
                    for other, _ in self.of("brain_control_error", SPLIT).values()
                    if _place(other, IDENTITY) == data
                }
            )
            columns = [*_HAND, *map(_driven_by, areas)]
            rows = []
            standings, pairs = self._standing(candidates, lower=True)
            for candidate, row in standings:
                found = {c.key: self._number(c.key, board, candidate.model) for c in _HAND[1:]}
                for area in areas:
                    where = {**board, "area": area}
                    found[_driven_by(area).key] = self._of_hand("brain_control_error", where, candidate.model)
                rows.append(self._row(board, candidate, row, _HAND[0].key, found))
            yield _table(board, "hand", columns, rows, pairs)

    def of(self, metric: str, split: str) -> Mapping[Place, tuple[Board, dict[str, Candidate]]]:
        """Boards of a metric by all their labels: labels, and models by name."""
        if (metric, split) not in self._boards:
            self._boards[metric, split] = {
                tuple(board.values()): (board, {c.model: c for c in candidates})
                for board, candidates in boards(self.scored, metric, split)
            }
        return self._boards[metric, split]

    def _standing(
        self, candidates: Mapping[str, Candidate], *, lower: bool
    ) -> tuple[Iterable[tuple[Candidate, Any]], Pairs]:
        """Candidates with their rows, best first, and the differences of the first of them."""
        ordered = best_first(candidates.values(), lower=lower)
        found = differences(ordered)
        pairs = {
            (ordered[i].model, ordered[j].model): total
            for (i, j), total in found.items()
            if j < MOST_COMPARED
        }
        return zip(ordered, standing(ordered, found, lower=lower), strict=True), pairs

    def _number(self, key: str, board: Board, model: str) -> Number:
        """Return the number of the same board in another metric or split."""
        metric, _, split = key.rpartition("_")
        _, candidates = self.of(metric, split).get(tuple(board.values()), ({}, {}))
        return _number_of(candidates.get(model))

    def _of_hand(self, metric: str, board: Board, model: str) -> Number:
        """Return the error of a model's body on the same data; of several settings those of most models."""
        data, area = _place(board, IDENTITY), board["area"] if metric.startswith("brain") else ""
        found = [
            (len(candidates), other["version"], other["settings_sha256"], candidates)
            for other, candidates in self.of(metric, SPLIT).values()
            if _place(other, IDENTITY) == data and other["area"] == area
        ]
        candidates = max(found, key=lambda one: one[:3])[3] if found else {}
        return _number_of(candidates.get(model))

    def _of(self, board: Board, model: str) -> list[Entry]:
        return self._entries[(*_place(board, IDENTITY), board["protocol"], board["version"]), model]

    def _row(
        self,
        board: Board,
        candidate: Candidate,
        row: Mapping[str, Any],
        ranks: str,
        found: Mapping[str, Number],
    ) -> BoardRow:
        """Make a row of the number that ranks and of the others that were found for the model."""
        model, networks = candidate.model, sorted(candidate.seeds)
        mine = self._of(board, model)
        averaged = {key: sorted(seeds) for key, (score, seeds) in found.items() if score.value is not None}
        return BoardRow(
            model,
            row["rank"],
            row["rank_worst"],
            row["ties"] or "",
            {ranks: _cell(row)} | {key: score for key, (score, _) in found.items()},
            networks,
            {key: seeds for key, seeds in averaged.items() if seeds != networks},
            candidate.has_networks,
            lowest_level(mine),
            any(entry.contaminated for entry in mine),
            _action(mine),
            row.get("reason", ""),
        )


def _action(mine: Iterable[Entry]) -> str:
    cards = [(entry.date, entry.file, entry.record.card) for entry in mine if entry.record.card]
    return str(max(cards, key=lambda one: one[:2])[2].get("action_space", ""))[:MOST_ACTION] if cards else ""


def _how_much(candidates: Iterable[Candidate]) -> str:
    """Count the units and conditions of a board, as far as scores of single units confirm them."""
    confirmed = [(row, c) for c in candidates for seed, row in c.rows.items() if seed in c.networks]
    n_units = max((row.get("n_units", 0) for row, _ in confirmed), default=0)
    n_conditions = max(
        (c.total.n_groups for row, c in confirmed if c.total and "n_conditions" in row), default=0
    )
    counts = {"units": n_units, "held-out conditions": n_conditions}
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n)


def _over(candidate: Candidate, other: Candidate | None) -> Number:
    """Difference from another model of the board, unit by unit; none from itself."""
    if other is None or other.model == candidate.model:
        return Score(), ()
    return Score.of(differences([candidate, other]).get((0, 1))), other.seeds


def _number_of(candidate: Candidate | None) -> Number:
    return (_cell(candidate.row()), candidate.seeds) if candidate else (Score(), ())


def _cell(row: Mapping[str, Any]) -> Score:
    return Score(row["value"], tuple(row["ci"]) if row["ci"] else None)


def _driven_by(area: str) -> Column:
    return Column(
        f"brain_control_error_{SPLIT}_{area}",
        area,
        "Brain control, mm",
        f"Tracking error in new conditions when the body’s goal is decoded from spikes of {area}.",
        digits=2,
        lower=lower_is_better("brain_control_error"),
    )


def _lines(candidates: Iterable[Candidate]) -> dict[str, float]:
    """Ceiling and references as scored beside the model of most networks: they depend on the data alone."""
    most = max(candidates, key=lambda c: (len(c.networks), c.model))
    found = {name: average(most.beside[name]) for name in LINES if name in most.beside}
    return {name: total.value for name, total in found.items() if total is not None}


def _table(
    board: Board,
    kind: str,
    columns: Iterable[Column],
    rows: Sequence[BoardRow],
    pairs: Pairs,
) -> BoardTable:
    kept = [c for c in columns if c.drawn or any(row.cells[c.key].value is not None for row in rows)]
    return BoardTable(board, kind, kept, rows, pairs=pairs)


def _place(labels: Board, keys: Iterable[str]) -> Place:
    return tuple(labels[key] for key in keys)

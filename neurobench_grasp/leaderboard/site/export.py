"""The numbers of a site as JSON and CSV, the same bytes for the same records."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from neurobench_grasp.leaderboard.site.boards import BoardRow, BoardTable, Group
from neurobench_grasp.leaderboard.site.entries import Entry, by_model
from neurobench_grasp.leaderboard.site.model_page import unit_headlines
from neurobench_grasp.leaderboard.standings import BOARD, RANK_RULE
from neurobench_grasp.records.table import LABELS, RowKey, Score, ScoreTable
from neurobench_grasp.text import cell

DIGITS = 10
"""Significant digits of what is computed here; further ones differ between machines."""
MOST_UNITS = 200_000
"""Rows of ``units.csv`` at most; with more, it would be larger than everything else together."""
_ABOUT = (
    "record",
    "model",
    "seed",
    "dataset",
    "dataset_sha256",
    "synthetic",
    "trained_on",
    "protocol",
    "version",
)
_NUMBERS = ("value", "ci_low", "ci_high", "unit", "n_units", "n_conditions", "median", "reason")


def board_json(groups: Sequence[Group]) -> bytes:
    """Every board with all its numbers."""
    tables = [
        {
            **table.labels,
            "id": table.id,
            "kind": table.kind,
            "models": [_row(table, row) for row in table.rows],
        }
        for group in groups
        for table in group.tables
    ]
    text = json.dumps(
        {"schema": 1, "rule": RANK_RULE, "boards": tables}, indent=1, sort_keys=True, allow_nan=False
    )
    return text.encode() + b"\n"


def _row(table: BoardTable, row: BoardRow) -> dict[str, Any]:
    return {
        "model": row.model,
        "rank": row.rank,
        "rank_worst": row.rank_worst,
        "ties": row.ties,
        "seeds": row.seeds,
        "verification": row.level,
        "contaminated": row.contaminated,
        "reason": row.reason,
        "has_networks": row.has_networks,
        "scores": {
            key: _cell(row.cells[key])
            | ({"seeds": row.other_networks[key]} if key in row.other_networks else {})
            for key in (column.key for column in table.columns)
        },
    }


def _cell(score: Score) -> dict[str, Any]:
    ci = [_rounded(end) for end in score.ci] if score.ci else None
    return {"value": _rounded(score.value), "ci": ci}


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.{DIGITS}g}")


def board_csv(groups: Sequence[Group]) -> bytes:
    """Every board, one line for each model."""
    tables = [table for group in groups for table in group.tables]
    keys = list(dict.fromkeys(column.key for table in tables for column in table.columns))
    head = [f"{key}{end}" for key in keys for end in ("", "_ci_low", "_ci_high")]
    about = (
        "kind",
        *BOARD,
        "rank",
        "rank_worst",
        "ties",
        "model",
        "n_networks",
        "verification",
        "contaminated",
        "other_networks",
    )

    def rows() -> Iterator[list[Any]]:
        for table in tables:
            for row in table.rows:
                scores = [row.cells.get(key, Score()) for key in keys]
                numbers = [_rounded(n) for s in scores for n in (s.value, *(s.ci or (None, None)))]
                yield [
                    table.kind, *(table.labels[key] for key in BOARD), row.rank, row.rank_worst, row.ties,
                    row.model, len(row.seeds), row.level, row.contaminated, dict(row.other_networks) or None,
                    *numbers, row.reason,
                ]  # fmt: skip

    return _csv([*about, *head, "reason"], rows())


def scores_csv(entries: Iterable[Entry]) -> bytes:
    """Every row of every record, tidy: one number a line; ``stated``: no unit scores need be behind it."""

    def rows() -> Iterator[list[Any]]:
        for entry in entries:
            record, data = entry.record, entry.record.dataset
            about = [
                entry.file, record.model, record.seed, data["id"], data["sha256"], data["synthetic"],
                data.get("trained_on"), record.protocol["name"], record.protocol["version"],
            ]  # fmt: skip
            for row in record.scores:
                low, high = row.get("ci") or (None, None)
                numbers = [row["value"], low, high, *(row.get(key) for key in _NUMBERS[3:])]
                stated = not RowKey.of_row(row).needs_units
                yield [*about, *(row.get(key) for key in LABELS), *numbers, stated]

    return _csv([*_ABOUT, *LABELS, *_NUMBERS, "stated"], rows())


def units_csv(entries: Iterable[Entry]) -> bytes:
    """Headline score of every unit, mean over networks; empty if there are none, or too many."""
    found: list[list[Any]] = []
    for model, mine in by_model(entries).items():
        alike: dict[tuple[Any, ...], list[Entry]] = {}
        for entry in mine:
            data, protocol = entry.record.dataset, entry.record.protocol
            key = (
                data["id"],
                data["sha256"],
                data.get("trained_on", ""),
                protocol["name"],
                protocol["version"],
            )
            alike.setdefault((*key, json.dumps(protocol.get("settings", {}), sort_keys=True)), []).append(
                entry
            )
        for key, some in alike.items():
            table = ScoreTable(tuple(entry.scored for entry in some))
            for area in table.values("area"):
                found += [
                    [model, *key[:5], area, session, unit, _rounded(value)]
                    for session, unit, value in unit_headlines(table, area)
                ]
    if not found or len(found) > MOST_UNITS:
        return b""
    head = [
        "model",
        "dataset",
        "dataset_sha256",
        "trained_on",
        "protocol",
        "version",
        "area",
        "session",
        "unit",
    ]
    return _csv([*head, "single_trial_ev_ood"], found)


_AS_THEY_ARE = (float, int)  # most of millions of cells


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([v if v is None or type(v) in _AS_THEY_ARE else _plain(v) for v in row] for row in rows)
    return out.getvalue().encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return cell(value)
    if isinstance(value, list | dict):
        return cell(json.dumps(value, sort_keys=True))
    return str(value).lower() if isinstance(value, bool) else value

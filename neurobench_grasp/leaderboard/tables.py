"""Rank records: one tidy row per (model, dataset, area), recordings and synthetic self-tests apart."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neurobench_grasp.types import ScoreRecord

Row = Mapping[str, Any]
BOARD = (
    "synthetic",
    "dataset",
    "dataset_sha256",
    "splits",
    "trained_on",
    "protocol",
    "version",
    "settings_sha256",
    "area",
)
HEADLINE = {"metric": "single_trial_ev", "split": "ood"}
DETAIL_KEYS = ("reference", "session", "layer")
RANK_RULE = (
    "Models whose 95 % interval overlaps that of the best of their group share a rank: they are not ordered. "
    "Values and intervals are means over seeds."
)


def main_rows(record: ScoreRecord) -> list[Row]:
    """Rows that score the model itself: not a reference, a single session or a single layer."""
    return [row for row in record.scores if not any(key in row for key in DETAIL_KEYS)]


def ranking(records: Iterable[ScoreRecord]) -> list[dict[str, Any]]:
    """Rank models by single-trial EV on held-out objects.

    Only what was scored alike shares a board: content of the dataset, splits, protocol with its version
    and settings, area. Boards of synthetic self-tests come last.

    Parameters
    ----------
    records : iterable of ScoreRecord
        Of several records of one model and seed on one board the newest counts.

    Returns
    -------
    list of dict
        Tidy rows, board after board (:data:`BOARD`) and best first, with ``rank, model, value, ci,
        seed_sd, n_seeds, n_units`` and, where there is no value or interval, ``reason``. ``rank`` is
        ``None`` without an interval, because such a row cannot be told from others.
    """
    boards: dict[str, dict[str, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for record in sorted(records, key=lambda r: str(r.provenance.get("date", ""))):
        for row in main_rows(record):
            if row.items() >= HEADLINE.items() and "area" in row:
                board = json.dumps(_board(record, row))
                boards[board][record.model][record.seed] = row
    out: list[dict[str, Any]] = []
    for board in sorted(boards):
        models = [{"model": model, **_over_seeds(seeds)} for model, seeds in boards[board].items()]
        out += [json.loads(board) | row for row in _rank(models)]
    return out


def _board(record: ScoreRecord, row: Row) -> dict[str, Any]:
    """Everything that must be equal for two scores to share a board, in sorting order."""
    dataset, protocol = record.dataset, record.protocol
    settings = json.dumps(protocol.get("settings", {}), sort_keys=True).encode()
    values = (
        bool(dataset["synthetic"]),
        dataset["id"],
        dataset["sha256"],
        dataset["splits"],
        dataset.get("trained_on", ""),
        protocol["name"],
        protocol["version"],
        hashlib.sha256(settings).hexdigest(),
        row["area"],
    )
    return dict(zip(BOARD, values, strict=True))


def _over_seeds(seeds: Mapping[int, Row]) -> dict[str, Any]:
    """Mean over the seeds of one model, and their spread apart."""
    scored = [row for row in seeds.values() if row["value"] is not None]
    values = [row["value"] for row in scored]
    intervals = [row["ci"] for row in scored if row.get("ci") is not None]
    complete = bool(intervals) and len(intervals) == len(scored)
    out = {
        "value": statistics.fmean(values) if values else None,
        "ci": [statistics.fmean(ends) for ends in zip(*intervals, strict=True)] if complete else None,
        "seed_sd": statistics.stdev(values) if len(values) > 1 else None,
        "n_seeds": len(values),
        "n_units": next((row["n_units"] for row in scored if "n_units" in row), None),
    }
    if not complete:
        out["reason"] = next((row["reason"] for row in seeds.values() if row.get("reason")), "no interval")
    return out


def _rank(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order by value; rows whose interval overlaps that of the best of their group share its rank."""
    rows = sorted(rows, key=lambda r: (r["ci"] is None, r["value"] is None, -(r["value"] or 0), r["model"]))
    best: dict[str, Any] | None = None
    ranked = []
    for position, row in enumerate(rows, start=1):
        rank = None
        if row["ci"] is not None:
            if best is None or row["ci"][1] < best["ci"][0] or row["ci"][0] > best["ci"][1]:
                best = {**row, "rank": position}
            rank = best["rank"]
        ranked.append({"rank": rank, **row})
    return ranked

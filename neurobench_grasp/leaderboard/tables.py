"""Rank records: one tidy row per (model, dataset, area), recordings and synthetic self-tests apart."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neurobench_grasp.types import ScoreRecord

HEADLINE = {"metric": "single_trial_ev", "split": "ood"}
DETAIL_KEYS = ("reference", "session", "layer")
RANK_RULE = (
    "Models whose 95 % interval overlaps that of the best of their group share a rank: they are not ordered. "
    "Values and intervals are means over seeds."
)


def main_rows(record: ScoreRecord) -> list[Mapping[str, Any]]:
    """Rows that score the model itself: not a reference, a single session or a single layer."""
    return [row for row in record.scores if not any(key in row for key in DETAIL_KEYS)]


def ranking(records: Iterable[ScoreRecord]) -> list[dict[str, Any]]:
    """Rank models by single-trial EV on held-out objects.

    Only what was scored alike shares a ranking: the same content of the dataset, splits, protocol,
    protocol version and settings, and area. Synthetic self-tests come last.

    Parameters
    ----------
    records : iterable of ScoreRecord
        Of several records of one model, seed and ranking the newest counts.

    Returns
    -------
    list of dict
        Tidy rows in order, with ``synthetic, dataset, dataset_sha256, protocol, version, area, rank,
        model, value, ci, seed_sd, n_seeds, n_units`` and, where there is no value or interval, ``reason``.
        ``rank`` is ``None`` without an interval, because such a row cannot be told from others.
    """
    tables: dict[str, dict[str, dict[int, tuple[ScoreRecord, Mapping[str, Any]]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for record in sorted(records, key=_date):
        for row in main_rows(record):
            if row.items() >= HEADLINE.items() and "area" in row:
                tables[_comparable(record, row)][record.model][record.seed] = (record, row)
    return [row for key in sorted(tables) for row in _rank([_over_seeds(m) for m in tables[key].values()])]


def _date(record: ScoreRecord) -> str:
    return str(record.provenance.get("date", ""))


def _comparable(record: ScoreRecord, row: Mapping[str, Any]) -> str:
    """Everything that must be equal for two scores to share a ranking, in sorting order."""
    dataset, protocol = record.dataset, record.protocol
    name = [protocol["name"], protocol["version"], protocol.get("settings", {})]
    data = [bool(dataset["synthetic"]), dataset["id"], dataset["sha256"], dataset["splits"]]
    return json.dumps([*data, *name, row["area"]], sort_keys=True)


def _over_seeds(seeds: Mapping[int, tuple[ScoreRecord, Mapping[str, Any]]]) -> dict[str, Any]:
    """One model's row: means over its seeds, and their spread apart."""
    record, first = next(iter(seeds.values()))
    scored = [row for _, row in seeds.values() if row["value"] is not None]
    intervals = [row["ci"] for row in scored if row.get("ci") is not None]
    values = [row["value"] for row in scored]
    out = {
        "synthetic": record.dataset["synthetic"],
        "dataset": record.dataset["id"],
        "dataset_sha256": record.dataset["sha256"],
        "protocol": record.protocol["name"],
        "version": record.protocol["version"],
        "area": first["area"],
        "rank": None,
        "model": record.model,
        "value": statistics.fmean(values) if values else None,
        "ci": None,
        "seed_sd": statistics.stdev(values) if len(values) > 1 else None,
        "n_seeds": len(values),
        "n_units": first.get("n_units"),
    }
    if intervals and len(intervals) == len(scored):
        out["ci"] = [statistics.fmean(ends) for ends in zip(*intervals, strict=True)]
    else:
        out["reason"] = next((row["reason"] for _, row in seeds.values() if row.get("reason")), "no interval")
    return out


def _rank(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order by value; rows whose interval overlaps that of the best of their group share its rank."""
    ranked = sorted((r for r in rows if r["ci"] is not None), key=lambda r: -r["value"])
    best: dict[str, Any] | None = None
    for position, row in enumerate(ranked, start=1):
        if best is None or row["ci"][1] < best["ci"][0] or row["ci"][0] > best["ci"][1]:
            best = row
            row["rank"] = position
        else:
            row["rank"] = best["rank"]
    unranked = sorted(
        (r for r in rows if r["ci"] is None),
        key=lambda r: (r["value"] is None, -(r["value"] or 0), r["model"]),
    )
    return [*ranked, *unranked]

"""Boards of records that were scored alike, and the ranking; recordings and synthetic self-tests apart."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurobench_grasp.contract import ScoreRecord, StoredRow
from neurobench_grasp.leaderboard.contamination import contamination
from neurobench_grasp.leaderboard.pairs import all_differences
from neurobench_grasp.leaderboard.ranking import (
    beats,
    gains,
    rank_intervals,
    tie_groups,
)
from neurobench_grasp.records.record import Scored
from neurobench_grasp.records.table import NO_INTERVAL, RowKey, Score, open_folds, with_interval
from neurobench_grasp.records.units import Labels
from neurobench_grasp.scoring.intervals import MIN_NETWORKS, Summary, UnitScores
from neurobench_grasp.scoring.networks import Networks, average

Board = Mapping[str, Any]
"""Labels of a board, see :data:`BOARD`."""
IDENTITY = ("synthetic", "dataset", "dataset_sha256", "splits", "trained_on", "trained_on_sha256")
"""Labels of the data, which boards of several protocols share."""
BOARD = (*IDENTITY, "protocol", "version", "settings_sha256", "area")
"""Labels of what was scored alike, in sorting order."""
METRIC, SPLIT = "single_trial_ev", "ood"
"""Headline metric and split."""
TWIN, BEST_KINEMATIC = "untrained", "best_kinematic"
PERMUTED = "permuted_muscles"
"""Model with the muscles of no animal: what a gain over it shows is anatomy, not the number of features."""
RANK_RULE = (
    "Two models differ if and only if the 95 % interval of their difference, paired unit by unit and "
    "condition by condition, excludes 0; else they tie. Ranks run from the best to the worst place that "
    "this leaves open; models that share a letter are tied."
)


def unit_scores_of(metric: str = METRIC, split: str = SPLIT) -> Callable[[Labels], bool]:
    """Select the scores of single units that a table needs: those of the models and of their twins."""
    return lambda labels: (labels.metric, labels.split) == (metric, split) and labels.reference in ("", TWIN)


def rank_models(scored: Iterable[Scored]) -> list[dict[str, Any]]:
    """Rank models by single-trial EV on held-out objects.

    Only what was scored alike shares a board: content of the dataset, splits, protocol with its version
    and settings, area. Boards of synthetic self-tests come last.

    Parameters
    ----------
    scored : iterable of Scored
        Of several records of one model and seed on one board the newest counts.

    Returns
    -------
    list of dict
        Tidy rows, board after board (:data:`BOARD`) and best first, with ``rank, rank_worst, ties, model,
        value, ci, data_se, network_se, n_units, n_groups, n_networks, seeds, has_networks, contaminated``
        and, where something is missing or contaminated, ``reason``. ``rank`` is ``None`` without scores of
        single units or interval, because such a row cannot be compared with others.
    """
    rows = []
    for board, found in boards(scored):
        candidates = best_first(found, lower=False)
        rows += [board | row for row in standing(candidates, differences(candidates), lower=False)]
    return rows


@dataclass(frozen=True)
class Candidate:
    """One model on one board.

    Parameters
    ----------
    model : str
    rows : mapping of int to mapping
        Seed → row of its record.
    networks : mapping of int to sequence of UnitScores
        Seed → scores of its units, session by session; only seeds that have them.
    beside : mapping of str to sequence of sequence of UnitScores
        Reference → what it scored beside each of these networks; only references that all have.
    problems : tuple of str
        Why scores of units could not be read.
    total : Summary, optional
        Mean over the networks.
    contamination : str
        Why its scores are contaminated; empty if they are not.
    open_folds : str
        Which folds are not scored; empty if all are.
    has_networks : bool
        False if its card states no trainable weights, so that seeds do not make it differ.
    """

    model: str
    rows: Mapping[int, StoredRow]
    networks: Mapping[int, Sequence[UnitScores]]
    beside: Mapping[str, Networks]
    problems: tuple[str, ...]
    total: Summary | None
    contamination: str = ""
    open_folds: str = ""
    has_networks: bool = True

    @classmethod
    def of(cls, model: str, found: Mapping[int, tuple[StoredRow, Scored]], labels: Labels) -> Candidate:
        """Collect the records of one model: seed → row and record."""
        seeds = sorted(found)
        records = [found[seed][1].record for seed in seeds]
        unscored = open_folds(records, labels.split)
        units = {seed: found[seed][1].units.scores for seed in seeds}
        networks = {seed: units[seed][labels] for seed in seeds if labels in units[seed]}
        tables = [units[seed] for seed in networks]
        known = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
        alike = [other for other in known if other.reference and other._replace(reference="") == labels]
        return cls(
            model,
            {seed: found[seed][0] for seed in seeds},
            networks,
            {other.reference: [table[other] for table in tables] for other in alike},
            tuple(found[seed][1].problem for seed in seeds if found[seed][1].problem),
            with_interval(average(list(networks.values())), unscored) if networks else None,
            next(filter(None, map(contamination, records)), ""),
            unscored,
            any((record.card or {}).get("parameters") != 0 for record in records),
        )

    @property
    def seeds(self) -> list[int]:
        """Seeds of the networks that its number is a mean over; all that were scored if it has no number."""
        if self.total is not None:
            return list(self.networks)
        return [seed for seed, row in self.rows.items() if row["value"] is not None] or list(self.rows)

    @property
    def untrained(self) -> Networks:
        """The twin of each network; empty if some network lacks one."""
        return self.beside.get(TWIN, [])

    @property
    def scores(self) -> Networks:
        """Scores of the networks, in the order of their seeds."""
        return list(self.networks.values())

    def row(self) -> dict[str, Any]:
        """Mean over networks, and why something is missing or what the interval does not cover."""
        score = Score.over(list(self.rows.values()), self.total)
        out = numbers(self.total, len(self.networks)) | {"value": score.value, "n_units": score.n_units}
        out |= {"n_networks": len(self.networks), "seeds": list(self.networks)}
        out |= {"has_networks": self.has_networks, "contaminated": bool(self.contamination)}
        reasons = [text for text in (self.contamination, self.open_folds or score.reason) if text]
        if missing := [seed for seed in self.rows if seed not in self.networks]:
            reasons.append(f"no scores of single units for seed {', '.join(map(str, missing))}")
        if out["ci"] is None and not reasons:
            reasons.append("no interval")
        return out | ({"reason": "; ".join(reasons)} if reasons else {})


def boards(
    scored: Iterable[Scored], metric: str = METRIC, split: str = SPLIT
) -> Iterator[tuple[dict[str, Any], list[Candidate]]]:
    """Group what was scored alike, board by board in sorting order.

    Parameters
    ----------
    scored : iterable of Scored
        Of several records of one model and seed on one board the newest counts.
    metric, split : str

    Yields
    ------
    board : dict
        Its labels, see :data:`BOARD`.
    candidates : list of Candidate
    """
    found: dict[str, dict[str, dict[int, tuple[StoredRow, Scored]]]] = defaultdict(lambda: defaultdict(dict))
    for entry in sorted(scored, key=lambda s: str(s.record.provenance.get("date", ""))):
        for row in entry.record.scores:
            if (row["metric"], row.get("split")) == (metric, split) and RowKey.of_row(row).is_main:
                board = json.dumps(_board(entry.record, row))
                found[board][entry.record.model][entry.record.seed] = (row, entry)
    for board in sorted(found):
        labels = json.loads(board)
        of = Labels(labels["area"], split, metric, "")
        yield labels, [Candidate.of(model, seeds, of) for model, seeds in found[board].items()]


def _board(record: ScoreRecord, row: StoredRow) -> dict[str, Any]:
    """Labels of the board of a row; the error of a movement has no area."""
    protocol = record.protocol
    how = (protocol["name"], protocol["version"], settings_digest(record), row.get("area", ""))
    return dict(zip(BOARD, (*identity(record), *how), strict=True))


def identity(record: ScoreRecord) -> tuple[Any, ...]:
    """Labels that identify the data of a record, see :data:`IDENTITY`."""
    data = record.dataset
    splits = data.get("folds", data["splits"])  # networks have separate splits, and folds in common
    trained = (data.get(name, "") for name in ("trained_on", "trained_on_sha256"))
    return bool(data["synthetic"]), data["id"], data["sha256"], splits, *trained


def settings_digest(record: ScoreRecord) -> str:
    """Digest of the settings of a record's protocol."""
    settings = json.dumps(record.protocol.get("settings", {}), sort_keys=True).encode()
    return hashlib.sha256(settings).hexdigest()


def best_first(candidates: Iterable[Candidate], *, lower: bool) -> list[Candidate]:
    """Order candidates by their value; those without interval or value come last."""

    def place(candidate: Candidate) -> tuple[bool, bool, float, str]:
        row = candidate.row()
        value = row["value"]
        return row["ci"] is None, value is None, (value or 0.0) * (1 if lower else -1), candidate.model

    return sorted(candidates, key=place)


Differences = Mapping[tuple[int, int], Summary | None]


def differences(candidates: Sequence[Candidate]) -> Differences:
    """Every difference, first minus second, of those that have scores of single units.

    Without an interval where a fold of either is not scored.
    """
    found = all_differences({i: c.scores for i, c in enumerate(candidates) if c.networks})
    return {
        pair: with_interval(total, next(filter(None, (candidates[i].open_folds for i in pair)), ""))
        for pair, total in found.items()
    }


def standing(candidates: Sequence[Candidate], found: Differences, *, lower: bool) -> list[dict[str, Any]]:
    """Return the rows of one board: rank, tie groups and numbers of each candidate.

    Parameters
    ----------
    candidates : sequence of Candidate
        As :func:`best_first` orders them.
    found : mapping
        As :func:`differences` returns.
    lower : bool
        True if lower scores are better.

    Returns
    -------
    list of dict
    """
    n = sum(c.total is not None and c.total.ci is not None for c in candidates)
    better = beats({pair: total for pair, total in found.items() if max(pair) < n}, n, lower=lower)
    groups = tie_groups(better)
    none = {"rank": None, "rank_worst": None, "ties": None}
    places = [
        {
            "rank": best,
            "rank_worst": worst,
            "ties": "".join(_letter(k) for k, group in enumerate(groups) if i in group),
        }
        for i, (best, worst) in enumerate(rank_intervals(better))
    ] + [none] * (len(candidates) - n)
    return [{**place, "model": c.model, **c.row()} for place, c in zip(places, candidates, strict=True)]


def gain_over(candidate: Candidate, reference: str) -> Summary | None:
    """Gain of each network over a reference beside it, unit by unit; ``None`` where it has no scores.

    Without an interval below three networks, and where a fold is not scored.
    """
    beside = candidate.beside.get(reference)
    if not beside or candidate.model == reference:
        return None
    few = NO_INTERVAL if len(beside) < MIN_NETWORKS else ""
    return with_interval(average(gains(candidate.scores, beside)), candidate.open_folds or few)


def numbers(total: Summary | None, n_networks: int) -> dict[str, Any]:
    """Return a summary as JSON values; from one network it is not known how networks differ."""
    return {
        "value": total and total.value,
        "ci": total and total.ci and list(total.ci),
        "data_se": total and total.data_se,
        "network_se": total.draw_se if total and n_networks > 1 else None,
        "n_units": total and total.n_units,
        "n_groups": total and total.n_groups,
    }


def _letter(k: int) -> str:
    return chr(ord("a") + k % 26) + (str(k // 26) if k >= 26 else "")

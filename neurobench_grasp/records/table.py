"""The table of scores: what identifies a row, which rows are about the model itself, means over networks.

A row of a record is identified by its labels (:class:`RowKey`); everything else in it is a value. Whatever
selects, prints, compares or verifies rows does so by these labels, so that a row cannot be one thing to a
check and another to the board.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from neurobench_grasp.contract import ScoreRecord, ScoreRow, StoredRow
from neurobench_grasp.records.record import Scored, read_units, record_path
from neurobench_grasp.records.units import CEILING, Labels, UnitTable
from neurobench_grasp.scoring.intervals import (
    MIN_GROUPS,
    MIN_NETWORKS,
    Summary,
    UnitScores,
    summarise_ratio,
)
from neurobench_grasp.scoring.networks import Networks, average, in_common, mean_in_common
from neurobench_grasp.scoring.sums import JOINED

HELD_OUT = ("test", "ood")
"""Splits that a model has not seen."""
CORRELATION, RSA = "emg_correlation", "muscle_rsa"
SIMILARITIES = CCA, PROCRUSTES, DSA, CONDITION_RSA = "cca", "procrustes", "dsa", "condition_rsa"
"""Measures of populations."""
EXPLAINED_VARIANCE = ("single_trial_ev", "condition_averaged_ev", "object_tuning_ev")
ERRORS = (
    "tracking_error",
    "tracking_error_tips",
    "joint_error",
    "brain_control_error",
    "brain_control_error_joint_angles",
)
DRIVEN = {"brain_control_error": "embedding", "brain_control_error_joint_angles": "joint_angles"}
"""Metric → decoded signal that the body is driven with."""
GAIN = "gain_over_"
UNIQUE = "unique_ev"
"""Score of a model with all groups of features, minus that of one fitted without a group."""
ADDED = "added_ev"
"""Score of a model with quadratic kinematics and a group of features, minus that with the former alone."""
ONLY, WITHOUT, WITH = "only ", "without ", "quadratic and "
"""Before the name of a group: labels of the unit scores of models with this group alone, without it, or with
it and quadratic kinematics."""
SHARE = "share_of_ceiling"
NO_INTERVAL = "no interval"
ONE_NETWORK = f"{NO_INTERVAL}: networks differ, and this is one; score at least {MIN_NETWORKS} (--seeds)"
"""Why a gain of a model that depends on a seed has none."""


class RowKey(NamedTuple):
    """Labels of a row as text; empty where the row has none."""

    metric: str
    of: str = ""
    split: str = ""
    area: str = ""
    session: str = ""
    subject: str = ""
    reference: str = ""
    layer: str = ""
    n_components: str = ""
    decoded: str = ""
    dimension: str = ""
    n_decoded_units: str = ""
    noise: str = ""
    group: str = ""

    @classmethod
    def of_row(cls, row: StoredRow) -> RowKey:
        """Labels of a row."""
        values = map(row.get, LABELS)
        return cls._make(["" if value is None else str(value) for value in values])

    @classmethod
    def of_labels(cls, metric: str, **labels: Any) -> RowKey:
        """Labels of the row that has these and no others."""
        return cls(metric, **{name: str(value) for name, value in labels.items()})

    def __str__(self) -> str:
        """Labels that the row has, safe to print: ``single_trial_ev, ood, M1``."""
        return ", ".join(label[:60] for label in self if label).encode("utf-8", "replace").decode()

    @property
    def is_main(self) -> bool:
        """Whether the row is about the model itself: not a reference, a session, a layer or the like."""
        return not any(getattr(self, name) for name in DETAILS)

    @property
    def is_difference(self) -> bool:
        """Whether the row is a difference of two scores, which networks of a model enter."""
        return self.metric.startswith(GAIN) or self.metric in (UNIQUE, ADDED)

    @property
    def needs_units(self) -> bool:
        """Whether unit scores must stand behind the row: verification computes it again or refuses it.

        These are all rows that a board may rank, those of their sessions and animals, their ceilings, and
        references in new conditions. Pages mark all others as stated by the record alone.
        """
        if self.split not in HELD_OUT or not self._bare.is_main:
            return False
        if self.reference:
            return self.metric in (*EXPLAINED_VARIANCE, *SIMILARITIES) and self.split == "ood"
        metric = self.of if self._follows else self.metric
        of_units = (*EXPLAINED_VARIANCE, CORRELATION, RSA, *SIMILARITIES)
        return metric in of_units or self.metric in ERRORS

    @property
    def _follows(self) -> bool:
        """Whether the row is about another metric, ``of``."""
        return self.is_difference or self.metric in (CEILING, SHARE)

    @property
    def _bare(self) -> RowKey:
        """The same without labels that unit scores have, too."""
        return self._replace(session="", subject="", reference="", group="")

    @property
    def terms(self) -> tuple[Labels, Labels]:
        """Labels of the two scores that a difference is of."""
        mine = Labels(self.area, self.split, self.of, "")
        if self.metric == UNIQUE:
            return mine, mine._replace(reference=f"{WITHOUT}{self.group}")
        if self.metric == ADDED:
            return mine._replace(reference=f"{WITH}{self.group}"), mine._replace(reference=f"{ONLY}quadratic")
        return mine, mine._replace(reference=self.metric.removeprefix(GAIN))

    def unit_scores(self, units: UnitTable) -> Sequence[UnitScores] | None:
        """Return the unit scores that the row is a summary of; ``None`` if they are not kept."""
        channel = self.dimension if CORRELATION in (self.metric, self.of) else ""
        if (
            not self._replace(dimension="" if channel else self.dimension)._bare.is_main
            or (self.of and not self._follows)
            or (self.group and self._follows and self.metric not in (UNIQUE, ADDED))
            or self.decoded != DRIVEN.get(self.metric, "")
        ):
            return None
        if self.is_difference:
            found = _minus(units, *self.terms)
        elif self.metric == CEILING:
            found = units.scores.get(Labels(self.area, self.split, self.of, CEILING))
        else:
            other = f"{ONLY}{self.group}" if self.group else self.reference
            found = units.scores.get(Labels(self.area, self.split, self.metric, other))
        if channel and found is not None:
            found = [p.of([channel], [*p.left_out]) for p in found if channel in p.units] or None
        if found is None or not (self.session or self.subject):
            return found
        return [
            p for p in found if self.session in ("", p.session) and self.subject in ("", p.subject)
        ] or None


LABELS = RowKey._fields
"""Columns that identify a row."""
DETAILS = (
    "session",
    "subject",
    "reference",
    "layer",
    "n_components",
    "dimension",
    "n_decoded_units",
    "noise",
    "group",
)
"""Labels of rows that are not about the model as a whole."""


def _minus(units: UnitTable, mine: Labels, other: Labels) -> Sequence[UnitScores] | None:
    """Paired differences of two sets of unit scores; ``None`` unless both have the same units and groups."""
    try:
        pairs = zip(units.scores[mine], units.scores[other], strict=True)
        return [a.minus(b) for a, b in pairs]
    except (KeyError, ValueError):
        return None


def open_folds(records: Sequence[ScoreRecord], split: str) -> str:
    """Return which folds of the conditions are not scored, as a reason; empty if that does not matter."""
    n_folds = max((record.dataset.get("n_folds", 1) for record in records), default=1)
    scored = {record.dataset.get("fold", 0) for record in records}
    if split not in JOINED or len(scored) == n_folds:
        return ""
    folds = f"{len(scored)} of {n_folds} folds of the conditions"
    if why := few_conditions(records, split):
        return f"{why}; no command gives one ({folds} are scored)"
    return f"{NO_INTERVAL}: only {folds}; score all (--seeds {n_folds})"


def few_conditions(records: Sequence[ScoreRecord], split: str) -> str:
    """Return why nothing gives an interval on new conditions; empty unless there are too few of them.

    There are as many folds as conditions if these are fewer than five.
    """
    n_folds = max((record.dataset.get("n_folds", 1) for record in records), default=1)
    if split not in JOINED or not 1 < n_folds < MIN_GROUPS:
        return ""
    return f"{NO_INTERVAL}: {n_folds} conditions, fewer than {MIN_GROUPS}"


def one_network(gain: ScoreRow, *, seeded: bool) -> ScoreRow:
    """Return a gain of one network: of a model that depends on a seed without its interval."""
    if not seeded or gain.get("ci") is None:
        return gain
    kept = {name: value for name, value in gain.items() if name != "ci_over"}
    return kept | {"ci": None, "reason": "; ".join(filter(None, [gain.get("reason"), ONE_NETWORK]))}


def with_interval(total: Summary | None, reason: str) -> Summary | None:
    """Return a summary without its interval if there is a reason for that."""
    return replace(total, ci=None, data_se=None) if total is not None and reason else total


def row_name(i: int, row: StoredRow) -> str:
    """Name of a row in messages: ``scores[12] (single_trial_ev, ood, M1)``."""
    return f"scores[{i}] ({RowKey.of_row(row)})"


def main_rows(record: ScoreRecord) -> list[StoredRow]:
    """Rows that are about the model itself."""
    return [row for row in record.scores if RowKey.of_row(row).is_main]


def pair_rows(
    recorded: Sequence[StoredRow], found: Sequence[StoredRow]
) -> tuple[list[tuple[StoredRow, StoredRow | None]], list[StoredRow]]:
    """Pair the rows of two records by their labels; rows with equal labels in their order.

    Returns
    -------
    pairs : list of (row, row)
        One for each recorded row, ``None`` where it was not found.
    extra : list of row
        Rows that were found and not recorded.
    """
    waiting: dict[RowKey, list[StoredRow]] = defaultdict(list)
    for row in found:
        waiting[RowKey.of_row(row)].append(row)
    same = [waiting[RowKey.of_row(row)] for row in recorded]
    pairs = [(row, rows.pop(0) if rows else None) for row, rows in zip(recorded, same, strict=True)]
    return pairs, [row for rows in waiting.values() for row in rows]


class Score(NamedTuple):
    """A number with its 95 % interval, ``None`` where there is none.

    ``mean_ci`` is the mean of the networks' own intervals, which does not contain how networks differ;
    ``stated`` means that the record alone says so: verification does not compute it again from unit scores.
    """

    value: float | None = None
    ci: tuple[float, float] | None = None
    n_units: int | None = None
    reason: str = ""
    mean_ci: tuple[float, float] | None = None
    median: float | None = None
    stated: bool = False

    @classmethod
    def of(cls, total: Summary | None) -> Score:
        """Score of a summary over units."""
        return cls() if total is None else cls(total.value, total.ci, total.n_units, median=total.median)

    @classmethod
    def over(cls, rows: Sequence[StoredRow], total: Summary | None) -> Score:
        """Mean of one row over the networks of a model.

        Parameters
        ----------
        rows : sequence of mapping
            One of each network.
        total : Summary, optional
            Mean over networks unit by unit, where unit scores were kept; only then the interval of
            several networks contains how these differ.
        """
        reasons = dict.fromkeys(row["reason"] for row in rows if row.get("reason"))
        if total is not None and total.ci is not None:
            reasons = {r: None for r in reasons if not r.startswith(NO_INTERVAL)}  # which several have
        reason = "; ".join(reasons)
        if total is not None:
            return cls.of(total)._replace(reason=reason)
        n_units = next((row["n_units"] for row in rows if "n_units" in row), None)
        defined = [row for row in rows if row["value"] is not None]
        ends = [row["ci"] for row in defined if row.get("ci")]
        if not defined:
            return cls(n_units=n_units, reason=reason)
        if len(defined) == 1:
            return cls(defined[0]["value"], tuple(ends[0]) if ends else None, n_units, reason)
        mean_ci = None
        if len(ends) == len(defined):
            low, high = map(statistics.fmean, zip(*ends, strict=True))
            mean_ci = (low, high)
        return cls(statistics.fmean(row["value"] for row in defined), None, n_units, reason, mean_ci)


@dataclass(frozen=True)
class ScoreTable:
    """Rows of the records of one model's networks, scored alike.

    Parameters
    ----------
    networks : tuple of Scored
        At least one record, in the order of their seeds.
    """

    networks: tuple[Scored, ...]

    @property
    def first(self) -> Scored:
        """The network of the lowest seed."""
        return self.networks[0]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the networks."""
        return [scored.record.seed for scored in self.networks]

    @cached_property
    def _rows(self) -> list[dict[RowKey, StoredRow]]:
        """Rows of each network by their labels, in the order of the record; of equal labels the first."""
        found: list[dict[RowKey, StoredRow]] = [{} for _ in self.networks]
        for rows, scored in zip(found, self.networks, strict=True):
            for row in scored.record.scores:
                rows.setdefault(RowKey.of_row(row), row)
        return found

    def values(self, name: str) -> list[str]:
        """Every value that a label has somewhere, sorted."""
        at = LABELS.index(name)
        return sorted({key[at] for rows in self._rows for key in rows if key[at]})

    def rows(self, metric: str, **labels: Any) -> list[StoredRow]:
        """Rows of the first network that have these labels, whatever the others."""
        wanted = {name: str(value) for name, value in {"metric": metric, **labels}.items()}.items()
        return [row for key, row in self._rows[0].items() if key._asdict().items() >= wanted]

    @property
    def shown(self) -> list[int | None]:
        """Lines of a figure: ``None`` for the mean over networks, and the seeds of several networks."""
        return [None, *(self.seeds if len(self.seeds) > 1 else ())]

    def score(self, metric: str, seed: int | None = None, /, **labels: Any) -> Score:
        """Score with exactly these labels: mean over networks, or of one network as its record has it."""
        return self._score(RowKey.of_labels(metric, **labels), seed)

    @property
    def mean_rows(self) -> list[StoredRow]:
        """Rows as of one record: means over networks, in the order of the first network's record."""
        if len(self.networks) == 1:
            return list(self.first.record.scores)
        return [self._mean_row(key, row) for key, row in self._rows[0].items()]

    def _mean_row(self, key: RowKey, row: StoredRow) -> StoredRow:
        score = self._score(key)
        labels = {name: row[name] for name in (*LABELS, "unit") if name in row}
        found = {"ci": score.ci, "median": score.median, "n_units": score.n_units, "reason": score.reason}
        if "n_units" not in row:  # errors of hands are not scores of units
            del found["n_units"]
        return {**labels, "value": score.value, **{k: v for k, v in found.items() if v not in (None, "")}}

    def _score(self, key: RowKey, seed: int | None = None) -> Score:
        found = self._rows if seed is None else [self._rows[self.seeds.index(seed)]]
        rows = [rows[key] for rows in found if key in rows]
        if not rows:
            return Score(reason="not in the record")
        if len(rows) == 1:
            confirmed = key.needs_units and self._confirms(key, rows[0], seed)
            return Score.over(rows, None)._replace(stated=not confirmed)
        total, why = self._total(key), self._no_interval(key)
        stated = total is None or not key.needs_units
        score = Score.over(rows, with_interval(total, why))._replace(stated=stated)
        return score._replace(reason=why) if why and total is not None else score

    def _confirms(self, key: RowKey, row: StoredRow, seed: int | None) -> bool:
        """Whether the value of one network follows from its unit scores."""
        networks = self.networks if seed is None else [self.networks[self.seeds.index(seed)]]
        found = [ScoreTable((network,))._total(key) for network in networks]
        values = [total.value for total in found if total is not None]
        return row["value"] is None or any(
            math.isclose(value, row["value"], rel_tol=1e-4, abs_tol=1e-4) for value in values
        )

    def _no_interval(self, key: RowKey) -> str:
        """Return why a mean over networks has no interval."""
        if key.is_difference and len(self.networks) < MIN_NETWORKS:
            return f"{NO_INTERVAL}: networks differ, and there are {len(self.networks)}; score {MIN_NETWORKS}"
        return open_folds([scored.record for scored in self.networks], key.split)

    def along(self, name: str, metric: str, **labels: Any) -> dict[str, Score]:
        """Scores by the values of one label, the others fixed, in the order of the record."""
        key, at = RowKey.of_labels(metric, **labels), LABELS.index(name)
        found = dict.fromkeys(
            k[at] for rows in self._rows for k in rows if k[at] and (*k[:at], "", *k[at + 1 :]) == key
        )
        return {value: self.score(metric, **labels, **{name: value}) for value in found}

    def unit_scores(self, key: RowKey) -> list[Sequence[UnitScores]]:
        """Return the unit scores behind a row, network by network; empty unless all networks have them."""
        found = [key.unit_scores(scored.units) for scored in self.networks]
        return [parts for parts in found if parts is not None] if None not in found else []

    def left_out(self, key: RowKey) -> dict[str, list[int]]:
        """Units that a mean over networks leaves out, with the seeds that have no score of them.

        Units of several sessions are named with their session.
        """
        networks = self.unit_scores(key)
        several = len({part.session for parts in networks for part in parts}) > 1
        scored = [
            {
                f"{unit} of {part.session}" if several else unit: None
                for part in parts
                for unit, has in zip(part.units, part.has_data, strict=True)
                if has
            }
            for parts in networks
        ]
        lacking = {
            unit: [seed for seed, own in zip(self.seeds, scored, strict=True) if unit not in own]
            for unit in dict.fromkeys(unit for own in scored for unit in own)
        }
        return {unit: seeds for unit, seeds in lacking.items() if seeds}

    def _total(self, key: RowKey) -> Summary | None:
        if key.metric == SHARE:
            return self._share(key)
        networks = self.unit_scores(key)
        return average(networks) if networks else None

    def _share(self, key: RowKey) -> Summary | None:
        parts = [self.unit_scores(part) for part in parts_of_share(key)]
        return share_of_ceiling(*parts) if all(parts) else None


def parts_of_share(key: RowKey) -> tuple[RowKey, RowKey]:
    """Return the rows of score and ceiling that a share of the ceiling is the ratio of."""
    return RowKey(key.of, "", key.split, key.area), RowKey(CEILING, key.of, key.split, key.area)


def share_of_ceiling(scores: Networks, ceilings: Networks) -> Summary | None:
    """Return the share of the ceiling from the unit scores of networks."""
    mean_score, mean_ceiling = (mean_in_common(networks) for networks in in_common(scores, ceilings))
    return summarise_ratio(mean_score, mean_ceiling)


def tables_of(records: Sequence[ScoreRecord], folder: Path) -> list[ScoreTable]:
    """Group records of a folder whose networks were scored alike, in the order of their first."""
    groups: dict[str, list[ScoreRecord]] = defaultdict(list)
    for record in records:
        own = ("splits", "fold", "held_out_conditions", "turns")  # of its network
        data = {k: v for k, v in record.dataset.items() if k not in own}
        groups[json.dumps([record.model, data, record.protocol], sort_keys=True)].append(record)
    return [ScoreTable(tuple(_with_units(group, folder))) for group in groups.values()]


def _with_units(networks: Sequence[ScoreRecord], folder: Path) -> Iterator[Scored]:
    for record in sorted(networks, key=lambda record: record.seed):
        path = record_path(folder, record)
        several = len(networks) > 1  # one network has its own numbers in its record
        units = read_units(path, record) if several else None
        yield Scored(record, units or UnitTable({}), path=path)

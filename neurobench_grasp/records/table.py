"""The table of scores: what identifies a row, which rows are about the model itself, means over networks.

A row of a record is identified by its labels (:class:`RowKey`); everything else in it is a value. Whatever
selects, prints, compares or verifies rows does so by these labels, so that a row cannot be one thing to a
check and another to the board.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from neurobench_grasp.contract import ScoreRecord, StoredRow
from neurobench_grasp.records.record import Scored
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.intervals import Summary, UnitScores
from neurobench_grasp.scoring.networks import average

HELD_OUT = ("test", "ood")
"""Splits that a model has not seen."""
EXPLAINED_VARIANCE = ("single_trial_ev", "condition_averaged_ev", "object_tuning_ev")
ERRORS = (
    "tracking_error",
    "tracking_error_tips",
    "joint_error",
    "brain_control_error",
    "brain_control_error_joint_angles",
)
GAIN = "gain_over_"


class RowKey(NamedTuple):
    """Labels of a row as text; empty where the row has none."""

    metric: str
    of: str = ""
    split: str = ""
    area: str = ""
    session: str = ""
    reference: str = ""
    layer: str = ""
    n_components: str = ""
    decoded: str = ""
    dimension: str = ""
    n_decoded_units: str = ""
    noise: str = ""

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
    def needs_units(self) -> bool:
        """Whether unit scores must stand behind the row: all that a board may rank, and its sessions."""
        gain = self.metric.startswith(GAIN) and self.of in EXPLAINED_VARIANCE
        scored = gain or self.metric in EXPLAINED_VARIANCE or self.metric in ERRORS
        return scored and self.split in HELD_OUT and self._replace(session="").is_main

    def unit_scores(self, units: UnitTable) -> Sequence[UnitScores] | None:
        """Return the unit scores that the row is a summary of; ``None`` if they are not kept."""
        if not self._replace(session="", reference="").is_main:
            return None
        if self.metric.startswith(GAIN):
            mine = Labels(self.area, self.split, self.of, "")
            found = _minus(units, mine, mine._replace(reference=self.metric.removeprefix(GAIN)))
        else:
            found = units.scores.get(Labels(self.area, self.split, self.metric, self.reference))
        if found is None or not self.session:
            return found
        return [part for part in found if part.session == self.session] or None


LABELS = RowKey._fields
"""Columns that identify a row."""
DETAILS = ("session", "reference", "layer", "n_components", "dimension", "n_decoded_units", "noise")
"""Labels of rows that are not about the model as a whole."""


def _minus(units: UnitTable, mine: Labels, other: Labels) -> Sequence[UnitScores] | None:
    """Paired differences of two sets of unit scores; ``None`` unless both have the same units and groups."""
    try:
        pairs = zip(units.scores[mine], units.scores[other], strict=True)
        return [a.minus(b) for a, b in pairs]
    except (KeyError, ValueError):
        return None


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

    ``mean_ci`` is the mean of the networks' own intervals, which does not contain how networks differ.
    """

    value: float | None = None
    ci: tuple[float, float] | None = None
    n_units: int | None = None
    reason: str = ""
    mean_ci: tuple[float, float] | None = None

    @classmethod
    def of(cls, total: Summary | None) -> Score:
        """Score of a summary over units."""
        return cls() if total is None else cls(total.value, total.ci, total.n_units)

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
        reason = "; ".join(dict.fromkeys(row["reason"] for row in rows if row.get("reason")))
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
        key = RowKey.of_labels(metric, **labels)
        found = self._rows if seed is None else [self._rows[self.seeds.index(seed)]]
        rows = [rows[key] for rows in found if key in rows]
        if not rows:
            return Score(reason="not in the record")
        return Score.over(rows, self._total(key) if len(rows) > 1 else None)

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

    def _total(self, key: RowKey) -> Summary | None:
        networks = self.unit_scores(key)
        return average(networks) if networks else None

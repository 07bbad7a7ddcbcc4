"""Whether a record agrees with itself: its rows with the scores of single units that they are means of.

A check of the arithmetic alone: it finds what was edited, not what was measured wrongly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neurobench_grasp.contract import ScoreRecord, StoredRow
from neurobench_grasp.records.names import METRICS
from neurobench_grasp.records.table import (
    ONE_NETWORK,
    SHARE,
    RowKey,
    parts_of_share,
    row_name,
    share_of_ceiling,
    with_interval,
)
from neurobench_grasp.records.units import UnitTable
from neurobench_grasp.scoring.intervals import MIN_GROUPS, Summary, UnitScores, summarise
from neurobench_grasp.scoring.sums import JOINED

TOLERANCE = 1e-6
"""Of values, as a share of the largest score of a unit: they follow from numbers in single precision."""
TOLERANCE_OF_ENDS = 1e-3
"""Of an interval's ends, as a share of its width, beside ten times that of values.

What leaving out a condition changes is kept in half precision.
"""


def contradictions(record: ScoreRecord, units: UnitTable) -> Iterator[str]:
    """List what does not follow from the scores of single units: sentences that begin with the field.

    Every row whose unit scores are kept is computed again; where :attr:`RowKey.needs_units`, a row without
    them is named.
    """
    yield from _of_dataset(record, units)
    rows: dict[RowKey, StoredRow] = {}
    for i, row in enumerate(record.scores):
        key, name = RowKey.of_row(row), row_name(i, row)
        found = recompute(key, units)
        if found is not None:
            total, tolerance, over_trials = found
            if key.is_difference and row.get("ci") is None:
                total = with_interval(total, ONE_NETWORK)  # what one network of a model does not have
            wrong = _differences(key, row, total, tolerance, _width(key, total, units), over_trials)
            yield from (f"{name}: {what}" for what in wrong)
        elif key.needs_units and row["value"] is not None:
            yield f"{name}: no scores of single units stand behind it; score again."
        if key in rows:
            yield f"{name}: there is another row with these labels; score again."
        rows.setdefault(key, row)
    yield from _of_names_and_baselines(record, rows)


def recompute(key: RowKey, units: UnitTable) -> tuple[Summary | None, float, bool] | None:
    """Compute a row again from the unit scores behind it; ``None`` if they are not kept.

    Returns
    -------
    Summary, optional
        ``None`` if no unit has a score.
    float
        Rounding error allowed to the value.
    bool
        Whether the groups that are left out in turn are trials, not conditions.
    """
    if key.metric == SHARE:
        parts = [part.unit_scores(units) for part in parts_of_share(key)] if key.is_main else [None]
        if None in parts:
            return None
        scores, ceilings = (part for part in parts if part is not None)
        total, ceiling = share_of_ceiling([scores], [ceilings]), summarise(ceilings)
        if total is None or ceiling is None:
            return None, 0.0, False
        rounding = _rounding([*scores, *ceilings]) * (1 + abs(total.value)) / abs(ceiling.value)
        return total, rounding, False
    found = key.unit_scores(units)
    if found is None:
        return None
    over_trials = all(group.startswith(f"{part.session}/") for part in found for group in part.left_out)
    return summarise(found), _rounding(found), over_trials


def _rounding(parts: Sequence[UnitScores]) -> float:
    return TOLERANCE * max((float(np.nanmax(np.abs(p.values), initial=1.0)) for p in parts), default=1.0)


def _of_names_and_baselines(record: ScoreRecord, rows: Mapping[RowKey, StoredRow]) -> Iterator[str]:
    """Check units of measurement, and numbers that are those of other rows."""
    for i, row in enumerate(record.scores):
        known, key = METRICS.get(str(row["metric"])), RowKey.of_row(row)
        if known is not None and row.get("unit", "") != known.unit:
            yield f"{row_name(i, row)}: unit is {row.get('unit')}, but it is {known.unit or 'none'}."
        if "baseline_value" in row:
            other = rows.get(key._replace(reference=str(row.get("baseline"))), {})
            if row["baseline_value"] != other.get("value"):
                yield f"{row_name(i, row)}: baseline_value is not that of {row.get('baseline')}; score again."


def _width(key: RowKey, total: Summary | None, units: UnitTable) -> float:
    """Return the width of an interval, and of those of two scores that it is the difference of.

    Their changes are rounded, which of two that are alike leaves a difference that is less exact.
    """
    if total is None or total.ci is None:
        return 0.0
    terms = [summarise(units.scores[labels]) for labels in key.terms] if key.is_difference else []
    return sum(t.ci[1] - t.ci[0] for t in (total, *terms) if t is not None and t.ci is not None)


def _differences(
    key: RowKey,
    row: StoredRow,
    total: Summary | None,
    tolerance: float,
    width: float,
    over_trials: bool,
) -> Iterator[str]:
    """List the numbers of a row that do not follow from the unit scores."""
    if total is None or row["value"] is None:
        if (total is None) != (row["value"] is None):
            yield f"value is {row['value']}, but the scores of single units give {total and total.value}."
        return
    if not _near(row["value"], total.value, tolerance):
        yield f"value is {row['value']}, but the scores of single units give {total.value}."
    if "median" in row and not _near(row["median"], total.median, tolerance):
        yield f"median is {row['median']}, but the scores of single units give {total.median}."
    if "n_units" in row and row["n_units"] != total.n_units:
        yield f"n_units is {row['n_units']}, but {total.n_units} units have a score."
    n_conditions = row.get("n_conditions", total.n_groups)
    few = key.split not in JOINED and 0 < n_conditions < MIN_GROUPS
    # Of few conditions there are more trials, which are then the groups; and some may have no score.
    fits = n_conditions <= total.n_groups if over_trials else n_conditions >= total.n_groups
    if n_conditions != total.n_groups and not (few and fits):
        yield f"n_conditions is {n_conditions}, but there are {total.n_groups}."
    ci = row.get("ci")
    if (ci is None) != (total.ci is None):
        yield f"ci is {ci}, but the scores of single units give {total.ci}."
    elif ci is not None and total.ci is not None:
        allowed = TOLERANCE_OF_ENDS * width + 10 * tolerance
        if any(abs(a - b) > allowed for a, b in zip(ci, total.ci, strict=True)):
            yield f"ci is {list(ci)}, but the scores of single units give {list(total.ci)}."


def _near(a: Any, b: float, tolerance: float) -> bool:
    return isinstance(a, int | float) and abs(a - b) <= tolerance


def _of_dataset(record: ScoreRecord, units: UnitTable) -> Iterator[str]:
    """Check that the sessions are those of the dataset, and its digest is that of its sessions."""
    sessions = record.dataset.get("sessions") or []
    known = {str(s.get("id")): str(s.get("subject")) for s in sessions if isinstance(s, Mapping)}
    digests = [str(s.get("sha256")) for s in sessions if isinstance(s, Mapping)]
    if digests and hashlib.sha256("".join(sorted(digests)).encode()).hexdigest() != record.dataset["sha256"]:
        yield "dataset.sha256: it is not the digest of dataset.sessions; score again."
    for session, subject in sorted({(p.session, p.subject) for ps in units.scores.values() for p in ps}):
        if known.get(session) != subject:
            yield f"dataset.sessions: there are scores of units of {session} ({subject}), which it lacks."

"""Whether a record agrees with itself: its rows with the scores of single units that they are means of.

A check of the arithmetic alone: it finds what was edited, not what was measured wrongly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from neurobench_grasp.contract import ScoreRecord, StoredRow
from neurobench_grasp.records.table import RowKey, row_name
from neurobench_grasp.records.units import UnitTable
from neurobench_grasp.scoring.intervals import Summary, summarise

TOLERANCE = 1e-9
"""Of values, which are kept in double precision."""
TOLERANCE_OF_ENDS = 1e-4
"""Of an interval's ends, as a share of its width: scores without a group are kept in single precision."""


def contradictions(record: ScoreRecord, units: UnitTable) -> Iterator[str]:
    """List what does not follow from the scores of single units: sentences that begin with the field.

    Every row whose unit scores are kept is computed again; those that a board may rank or show as a headline
    must have them.
    """
    yield from _of_dataset(record, units)
    seen: set[RowKey] = set()
    for i, row in enumerate(record.scores):
        key, name = RowKey.of_row(row), row_name(i, row)
        parts = key.unit_scores(units)
        if parts is not None:
            yield from (f"{name}: {what}" for what in _differences(row, summarise(parts)))
        elif key.needs_units and row["value"] is not None:
            yield f"{name}: no scores of single units stand behind it; score again."
        if key in seen and (parts is not None or key.needs_units):
            yield f"{name}: there is another row with these labels; score again."
        seen.add(key)


def _differences(row: StoredRow, total: Summary | None) -> Iterator[str]:
    """List the numbers of a row that do not follow from the unit scores."""
    if total is None or row["value"] is None:
        if (total is None) != (row["value"] is None):
            yield f"value is {row['value']}, but the scores of single units give {total and total.value}."
        return
    if not _near(row["value"], total.value):
        yield f"value is {row['value']}, but the scores of single units give {total.value}."
    if "median" in row and not _near(row["median"], total.median):
        yield f"median is {row['median']}, but the scores of single units give {total.median}."
    if "n_units" in row and row["n_units"] != total.n_units:
        yield f"n_units is {row['n_units']}, but {total.n_units} units have a score."
    if counts_conditions(row) and row.get("n_conditions") != total.n_groups:
        yield f"n_conditions is {row.get('n_conditions')}, but there are {total.n_groups}."
    ci = row.get("ci")
    if (ci is None) != (total.ci is None):
        yield f"ci is {ci}, but the scores of single units give {total.ci}."
    elif ci is not None and total.ci is not None:
        allowed = TOLERANCE_OF_ENDS * (total.ci[1] - total.ci[0]) + 1e-6 * max(1.0, abs(total.value))
        if any(abs(a - b) > allowed for a, b in zip(ci, total.ci, strict=True)):
            yield f"ci is {list(ci)}, but the scores of single units give {list(total.ci)}."


def counts_conditions(row: StoredRow) -> bool:
    """Whether the unit scores leave out one condition at a time, so that they say how many there are."""
    return "condition" in row.get("ci_over", ())


def _near(a: Any, b: float) -> bool:
    return isinstance(a, int | float) and abs(a - b) <= TOLERANCE * max(1.0, abs(b))


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

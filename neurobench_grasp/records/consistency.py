"""Whether a record agrees with itself: its rows with the scores of single units that they come from.

A check of the arithmetic alone: it finds what was edited, not what was measured wrongly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.intervals import Summary, UnitScores, summarise

Row = Mapping[str, Any]
NEEDS_UNITS = {
    "encoding": ("single_trial_ev", "condition_averaged_ev", "object_tuning_ev"),
    "tracking": ("tracking_error", "tracking_error_tips", "joint_error"),
    "brain-control": ("brain_control_error", "brain_control_error_joint_angles"),
}
"""Protocol → the metrics whose rows on held-out trials must come from scores of single units."""
HELD_OUT = ("test", "ood")
OTHER_ROWS = ("layer", "dimension", "noise", "n_components")
"""What marks rows that scores of single units are not kept for."""
GAIN = "gain_over_"
TOLERANCE = 1e-9
"""Of values, which are kept in double precision."""
TOLERANCE_OF_ENDS = 1e-4
"""Of an interval's ends, as a share of its width: what lacks a group is kept in single precision."""


@dataclass(frozen=True)
class Agreement:
    """How the rows of a record agree with the scores of single units.

    Parameters
    ----------
    recomputed : int
        Rows that were computed again.
    rows : int
        All rows.
    problems : tuple of str
        One sentence for each field that does not agree; begins with its name.
    """

    recomputed: int
    rows: int
    problems: tuple[str, ...]


def agreement(record: ScoreRecord, units: UnitTable | None) -> Agreement:
    """Compute the rows of a record again, as far as they come from scores of single units.

    Parameters
    ----------
    record : ScoreRecord
    units : UnitTable, optional
        ``None`` if none were kept.
    """
    table = units or UnitTable({})
    recomputed, problems = 0, list(_of_dataset(record, table))
    for i, row in enumerate(record.scores):
        parts = _parts(row, table)
        if parts is None:
            problems += _unsupported(record, i, row)
            continue
        recomputed += 1
        problems += (f"{named(i, row)}: {what}" for what in _differences(row, summarise(parts)))
    return Agreement(recomputed, len(record.scores), tuple(problems))


def named(i: int, row: Row) -> str:
    """Name a row: ``scores[12] (single_trial_ev, ood, M1)``."""
    keys = ("metric", "of", "split", "area", "reference", "session", "layer", "decoded", "dimension", "noise")
    words = ", ".join(str(row[key])[:60] for key in keys if row.get(key) not in (None, ""))
    return f"scores[{i}] ({words.encode('utf-8', 'replace').decode()})"


def _parts(row: Row, table: UnitTable) -> Sequence[UnitScores] | None:
    """Scores of single units that a row is a summary of; ``None`` if they are not kept."""
    if any(key in row for key in OTHER_ROWS):
        return None
    metric, reference = str(row["metric"]), str(row.get("reference", ""))
    labels = Labels(str(row.get("area", "")), str(row.get("split", "")), metric, reference)
    if metric.startswith(GAIN):
        labels = labels._replace(metric=str(row.get("of", "")), reference="")
        other = table.scores.get(labels._replace(reference=metric.removeprefix(GAIN)))
        mine = table.scores.get(labels)
        parts = None if mine is None or other is None else _gains(mine, other)
    else:
        parts = table.scores.get(labels)
    if parts is None or "session" not in row:
        return parts
    return [part for part in parts if part.session == row["session"]] or None


def _gains(mine: Sequence[UnitScores], other: Sequence[UnitScores]) -> Sequence[UnitScores] | None:
    try:
        return [a.minus(b) for a, b in zip(mine, other, strict=True)]
    except (ValueError, KeyError):  # not of the same sessions, units or conditions
        return None


def _unsupported(record: ScoreRecord, i: int, row: Row) -> Iterator[str]:
    """Refuse a headline that no scores of single units stand behind."""
    needed = NEEDS_UNITS.get(str(record.protocol["name"]), ())
    own = not any(key in row for key in (*OTHER_ROWS, "reference"))
    if own and row["value"] is not None and row["metric"] in needed and row.get("split") in HELD_OUT:
        yield f"{named(i, row)}: no scores of single units stand behind it; score again."


def _differences(row: Row, total: Summary | None) -> Iterator[str]:
    """Name the numbers of a row that do not follow from the scores of single units."""
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
    by_condition = "condition" in row.get("ci_over", ())
    if by_condition and row.get("n_conditions") != total.n_groups:
        yield f"n_conditions is {row.get('n_conditions')}, but there are {total.n_groups}."
    ci = row.get("ci")
    if (ci is None) != (total.ci is None):
        yield f"ci is {ci}, but the scores of single units give {total.ci}."
    elif ci is not None and total.ci is not None:
        allowed = TOLERANCE_OF_ENDS * (total.ci[1] - total.ci[0]) + 1e-6 * max(1.0, abs(total.value))
        if any(abs(a - b) > allowed for a, b in zip(ci, total.ci, strict=True)):
            yield f"ci is {list(ci)}, but the scores of single units give {list(total.ci)}."


def _near(a: Any, b: float) -> bool:
    return isinstance(a, int | float) and abs(a - b) <= TOLERANCE * max(1.0, abs(b))


def _of_dataset(record: ScoreRecord, table: UnitTable) -> Iterator[str]:
    """Whether the sessions are those of the dataset, and the dataset's digest is that of its sessions."""
    sessions = record.dataset.get("sessions") or []
    known = {str(s.get("id")): str(s.get("subject")) for s in sessions if isinstance(s, Mapping)}
    digests = [str(s.get("sha256")) for s in sessions if isinstance(s, Mapping)]
    if digests and hashlib.sha256("".join(sorted(digests)).encode()).hexdigest() != record.dataset["sha256"]:
        yield "dataset.sha256: it is not the digest of dataset.sessions; score again."
    for session, subject in sorted({(p.session, p.subject) for ps in table.scores.values() for p in ps}):
        if known.get(session) != subject:
            yield f"dataset.sessions: there are scores of units of {session} ({subject}), which it lacks."

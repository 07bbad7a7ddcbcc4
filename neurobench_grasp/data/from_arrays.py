"""Build a session from a user's spike times, joint angles and trial table, as arrays or CSV files."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.posture import refuse_rivals
from neurobench_grasp.contract import DEFAULT_BODY, Floats, Session, Signal, TrialTable, Units, Window
from neurobench_grasp.data.digest import session_digest
from neurobench_grasp.data.labels import label_of, text_label
from neurobench_grasp.data.nwb import validate as checks
from neurobench_grasp.data.nwb.clocks import check_clocks
from neurobench_grasp.data.nwb.findings import Report
from neurobench_grasp.data.nwb.header import CANONICAL
from neurobench_grasp.data.nwb.layout import load_layout
from neurobench_grasp.errors import NgbError

AngleUnit = Literal["rad", "deg"]

MISSING = ("", "NA", "N/A", "#N/A", "null", "None")
"""Cells of a CSV file that stand for a missing number, besides ``NaN``."""


def session_from_arrays(
    *,
    id: str,
    subject: str,
    spike_times: Mapping[str, ArrayLike],
    areas: Mapping[str, str],
    trials: Mapping[str, Sequence[Any]],
    joint_angles: Mapping[str, ArrayLike] | None = None,
    angle_times: ArrayLike | None = None,
    angle_unit: AngleUnit = "rad",
    joint_map: Mapping[str, tuple[str, float, float]] | None = None,
    body: str = DEFAULT_BODY,
    window: Window | None = None,
) -> Session:
    """Build a session from arrays.

    Parameters
    ----------
    id, subject : str
        Names of the session and of the animal.
    spike_times : mapping of str to array, shape (n_spikes,)
        Unit → its spike times in seconds.
    areas : mapping of str to str
        Unit → cortical area (``M1``, ``S1`` …).
    trials : mapping of str to sequence, length n_trials
        Columns ``start``, ``stop`` (seconds), ``condition`` (the object), and one column of times in
        seconds per event (NaN where a trial lacks it). The window's events must be among them. A column
        ``id`` is optional.
    joint_angles : mapping of str to array, shape (n_samples,), optional
        Joint → angle.
    angle_times : array, shape (n_samples,), optional
        Seconds, on the clock of the spikes.
    angle_unit : str
        ``rad`` or ``deg``.
    joint_map : mapping of str to tuple, optional
        Column of the joint angles → (joint of the body, sign, offset in rad); by default each column is
        named after its joint. Columns that a given map leaves out are recorded signals and move no joint.
    body : str
        Name of the body of these joints.
    window : Window, optional
        What is scored; by default from ``move_onset`` to ``contact``.

    Returns
    -------
    Session
        Ready for :func:`~neurobench_grasp.data.write_session`; corrections are listed in its ``notes``.

    Raises
    ------
    NgbError
        Naming the column that is missing or wrong; for one that is named after no joint of the body, with
        the joint of the nearest name.
    """
    window = window or load_layout(CANONICAL).window
    absent = [repr(column) for column in joint_map or () if column not in (joint_angles or ())]
    if absent:
        raise NgbError(
            f"joint_map names the columns {', '.join(absent)}, which joint_angles does not have; it has "
            f"{', '.join(map(repr, joint_angles or ())) or 'none'}."
        )
    joint_map = {c: (c, 1.0, 0.0) for c in joint_angles or ()} if joint_map is None else joint_map
    _check_joints(joint_map, body)
    report = Report()
    signals = {}
    if joint_angles is not None:
        signal = _angles(joint_angles, angle_times, angle_unit)
        checks.check_signal(signal, "joint_angles", report)
        signals[signal.name] = signal
    units = checks.check_spikes(_units(spike_times, areas), "units", report)
    order = load_layout(CANONICAL).trials.event_order
    table = checks.check_trials(_trials(trials, window), "trials", "error", order, report)
    session = Session(
        id=id,
        subject=subject,
        layout=f"{CANONICAL}@{load_layout(CANONICAL).version}",
        sha256="",
        synthetic=False,
        units=units,
        trials=table,
        signals=signals,
        window=window,
        joint_map=joint_map,
        body=body,
    )
    checks.check_names(units, table, report)
    checks.check_areas(units.areas, report)
    checks.check_conditions(table.condition, "trials", report)
    session = check_clocks(session, report)
    if report.errors:
        raise NgbError(f"The session {id!r} cannot be built, because {report.errors[0]}.")
    return replace(session, sha256=session_digest(session), notes=report.notes)


def session_from_csv(
    *,
    id: str,
    subject: str,
    units: str | os.PathLike[str],
    trials: str | os.PathLike[str],
    joint_angles: str | os.PathLike[str] | None = None,
    angle_unit: AngleUnit = "rad",
    joint_map: Mapping[str, tuple[str, float, float]] | None = None,
    body: str = DEFAULT_BODY,
    window: Window | None = None,
) -> Session:
    """Build a session from CSV files, each with a header line.

    Parameters
    ----------
    id, subject : str
        Names of the session and of the animal.
    units : path-like
        One line per spike: ``unit, area, time`` (seconds).
    trials : path-like
        One line per trial: ``start, stop, condition`` and one column per event; empty cells are missing
        events. Columns other than these and ``id`` are events.
    joint_angles : path-like, optional
        One line per sample: ``time`` (seconds) and one column per hand joint.
    angle_unit, joint_map, body, window
        As for :func:`session_from_arrays`.

    Returns
    -------
    Session

    Raises
    ------
    NgbError
        Naming the file, the column and the line at fault.
    """
    spikes = _Csv(units, ("unit", "area", "time"))
    table = _Csv(trials, ("start", "stop", "condition"))
    columns: dict[str, Any] = {
        c: v if c in ("id", "condition") else table.numbers(c) for c, v in table.columns.items()
    }
    angles: dict[str, Floats] | None = None
    clock: Floats | None = None
    if joint_angles is not None:
        samples = _Csv(joint_angles, ("time",))
        angles = {c: samples.numbers(c) for c in samples.columns}
        clock = angles.pop("time")
    trains = spikes.split("time", by="unit")
    return session_from_arrays(
        id=id,
        subject=subject,
        spike_times={name: trains[name] for name in sorted(trains, key=_natural)},
        areas=spikes.one_each("area", of="unit"),
        trials=columns,
        joint_angles=angles,
        angle_times=clock,
        angle_unit=angle_unit,
        joint_map=joint_map,
        body=body,
        window=window,
    )


def _units(spike_times: Mapping[str, ArrayLike], areas: Mapping[str, str]) -> Units:
    trains = {str(name): _vector(times, f"spike_times[{name!r}]") for name, times in spike_times.items()}
    labels = {str(name): text_label(str(area)) for name, area in areas.items()}
    for name in trains:
        if name not in labels:
            raise NgbError(f"The area of unit {name!r} is missing from areas.")
    ends = np.cumsum([0, *(len(t) for t in trains.values())])
    return Units(
        ids=tuple(trains),
        areas=tuple(labels[name] for name in trains),
        spike_times=np.concatenate([np.empty(0), *trains.values()]),
        spike_offsets=ends.astype(np.int64),
    )


def _trials(columns: Mapping[str, Sequence[Any]], window: Window) -> TrialTable:
    for name in ("start", "stop", "condition", window.start_event, window.stop_event):
        if name not in columns:
            raise NgbError(
                f"The trial table lacks the column {name!r}; it has {', '.join(map(repr, columns))}."
            )
    n_trials = len(columns["start"])
    for name, values in columns.items():
        if len(values) != n_trials:
            raise NgbError(f"The trial column {name!r} has {len(values)} rows, but 'start' has {n_trials}.")
    events = [c for c in columns if c not in ("id", "start", "stop", "condition")]
    return TrialTable(
        ids=tuple(str(i) for i in columns.get("id", range(n_trials))),
        start=_vector(columns["start"], "the trial column 'start'"),
        stop=_vector(columns["stop"], "the trial column 'stop'"),
        condition=tuple(map(label_of, columns["condition"])),
        events={e: _vector(columns[e], f"the trial column {e!r}") for e in events},
    )


def _check_joints(joint_map: Mapping[str, tuple[str, float, float]], name: str) -> None:
    """Refuse entries that are malformed, joints that the body does not have, and two columns for one."""
    if not joint_map:
        return
    for column, entry in joint_map.items():
        _check_entry(column, entry)
    body = find_body(name)
    alike = {joint: joint for joint in body.joints}
    alike |= {f"{part.name}_{joint}": joint for part in body.parts for joint in part.joints}
    near = {
        column: (alike[get_close_matches(joint.lower(), alike, n=1, cutoff=0.0)[0]], *numbers)
        for column, (joint, *numbers) in joint_map.items()
        if joint not in body.joints
    }
    if near:
        example = ", ".join(f"{column!r}: {entry!r}" for column, entry in near.items())
        others = [f"{c!r} is mapped to {joint_map[c][0]!r}" for c in near if joint_map[c][0] != c]
        raise NgbError(
            f"{len(near)} of {len(joint_map)} columns of the joint angles are no joints of {name}"
            f"{' (' * bool(others)}{', '.join(others)}{')' * bool(others)}: name "
            f"each column's joint, sign and offset, which `ngb bodies {name}` explains; by name alone the "
            f"nearest joints are joint_map={{{example}}}, to be checked; a column left out of joint_map is a "
            "recorded signal and moves no joint."
        )
    refuse_rivals(joint_map)


def _check_entry(column: str, entry: Any) -> None:
    match entry:
        case [str(), Real() as sign, Real() as offset] if sign and np.isfinite(float(sign) + float(offset)):
            return
    raise NgbError(
        f"joint_map has {entry!r} for the column {column!r}; write (joint, sign, offset in rad), such as "
        "('mcp2_flexion', -1.0, 0.2), with a sign (or another factor) that is not 0."
    )


def _angles(angles: Mapping[str, ArrayLike], times: ArrayLike | None, unit: str) -> Signal:
    if times is None:
        raise NgbError("Joint angles need angle_times, the time of each sample in seconds.")
    if unit not in ("rad", "deg"):
        raise NgbError(f"The angle unit {unit!r} is unknown; use 'rad' or 'deg'.")
    if not angles:
        raise NgbError("The joint angles have no columns; add one per hand joint.")
    clock = _vector(times, "angle_times")
    columns = {joint: _vector(values, f"joint_angles[{joint!r}]") for joint, values in angles.items()}
    for joint, values in columns.items():
        if len(values) != len(clock):
            raise NgbError(
                f"joint_angles[{joint!r}] has {len(values)} samples, but angle_times {len(clock)}."
            )
    values = np.stack(list(columns.values()), axis=1)
    return Signal(
        name="joint_angles",
        role="joint_angle",
        columns=tuple(columns),
        unit="rad",
        times=clock,
        values=np.deg2rad(values) if unit == "deg" else values,
    )


def _vector(values: ArrayLike, what: str) -> Floats:
    """Copy numbers into a one-dimensional float64 array."""
    try:
        vector = np.array(values, dtype=np.float64)
    except (ValueError, TypeError):
        raise NgbError(f"Expected numbers in {what}.") from None
    if vector.ndim != 1:
        raise NgbError(f"Expected one dimension in {what}, not the shape {vector.shape}.")
    return vector


class _Csv:
    """A CSV file with a header line, whose errors name the file and the line."""

    def __init__(self, path: str | os.PathLike[str], required: tuple[str, ...]) -> None:
        self.path = path
        try:
            with Path(path).open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file)
                rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
        except (OSError, UnicodeDecodeError, csv.Error) as cause:
            reason = cause.strerror if isinstance(cause, OSError) else f"{cause}; save it as CSV in UTF-8"
            raise NgbError(f"{path} cannot be read as CSV ({reason}).") from cause
        header = rows[0][1] if rows else []
        for column in required:
            if column not in header:
                hint = " (are its cells separated by commas?)" if len(header) == 1 else ""
                raise NgbError(
                    f"{path} lacks the column {column!r}; its header is {', '.join(header) or 'empty'}{hint}."
                )
        if len(set(header)) != len(header):
            raise NgbError(f"{path} has two columns of the same name.")
        if len(rows) == 1:
            raise NgbError(f"{path} has a header but no lines below it.")
        for line, row in rows[1:]:
            if len(row) != len(header):
                raise NgbError(f"{path}, line {line}: {len(row)} cells for {len(header)} columns.")
        self.lines = [line for line, _ in rows[1:]]
        self.columns = {column: [row[i] for _, row in rows[1:]] for i, column in enumerate(header)}

    def numbers(self, column: str) -> Floats:
        """Return a column as numbers; cells that are empty or mark a missing value become NaN."""
        cells = ["nan" if cell in MISSING else cell for cell in self.columns[column]]
        try:
            return np.array(cells, dtype=np.float64)
        except ValueError:
            line, cell = next((i, c) for i, c in zip(self.lines, cells, strict=True) if not _is_number(c))
            raise NgbError(
                f"{self.path}, line {line}: {cell!r} in column {column!r} is not a number; leave the cell "
                "empty where a value is missing."
            ) from None

    def split(self, column: str, by: str) -> dict[str, Floats]:
        """Return the numbers of a column, grouped by the values of another."""
        names, group = np.unique(np.array(self.columns[by]), return_inverse=True)
        numbers = self.numbers(column)[np.argsort(group, kind="stable")]
        return dict(zip(names.tolist(), np.split(numbers, np.cumsum(np.bincount(group))[:-1]), strict=True))

    def one_each(self, column: str, of: str) -> dict[str, str]:
        """Return the single value of a column for each value of another."""
        found: dict[str, str] = {}
        for line, name, word in zip(self.lines, self.columns[of], self.columns[column], strict=True):
            if found.setdefault(name, word) != word:
                raise NgbError(
                    f"{self.path}, line {line}: {of} {name!r} has the {column} {word!r} here and "
                    f"{found[name]!r} before."
                )
        return found


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _natural(name: str) -> tuple[int, str]:
    """Sort key: names that are numbers sort by value."""
    return (int(name), "") if name.isdecimal() else (1 << 62, name)

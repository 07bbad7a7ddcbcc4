"""Read an NWB file into a :class:`Session` by a layout, and report all its faults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Floats, Ragged, Session, Signal, TrialTable, Units
from neurobench_grasp.data.digest import Hashes, session_digest
from neurobench_grasp.data.nwb import validate as checks
from neurobench_grasp.data.nwb.detection import detect_movements
from neurobench_grasp.data.nwb.file import NwbFile, open_nwb
from neurobench_grasp.data.nwb.findings import Finding, Report
from neurobench_grasp.data.nwb.header import FileHeader, read_header
from neurobench_grasp.data.nwb.layout import (
    POSTURE,
    ConditionLayout,
    SignalLayout,
    UnitsLayout,
    layouts,
    load_layout,
)
from neurobench_grasp.data.nwb.locate import (
    Fit,
    choose_layout,
    fit,
    locate_column,
    locate_signals,
    locate_table,
    locate_units,
    nearest_first,
    separate_series,
)
from neurobench_grasp.data.nwb.series import Parts
from neurobench_grasp.errors import CorruptFileError, LayoutError

ELECTRODES = "general/extracellular_ephys/electrodes"
RADIANS = ("rad", "radian", "radians")
DEGREES = ("deg", "degree", "degrees", "°")
JOINT = " / "
"""Separator between the parts of a label."""

NO_UNITS = Units((), (), spike_times=np.empty(0), spike_offsets=np.zeros(1, np.int64))
NEWEST = (2, 11)
"""Newest NWB version whose files were tested."""


def load_session(path: str | os.PathLike[str], layout: str | Path | None = None) -> Session:
    """Read a recording session: scan the file, read it by a layout, validate it.

    Parameters
    ----------
    path : path-like
        An NWB 2 file.
    layout : str or path, optional
        Name of a shipped layout or path of a YAML file; ``None``: the one that fits best.

    Returns
    -------
    Session
        Entirely in memory; corrections and warnings are in its ``notes``.

    Raises
    ------
    UnsafeFileError
        If the scan refuses the file; no data was read.
    CorruptFileError
        If it is damaged, or validation finds errors.
    LayoutError
        If the layout does not fit, or none does, or two fit equally well.
    """
    with open_nwb(path) as nwb:
        header = read_header(nwb)
        reader = Reader(nwb, choose_layout(nwb, layout, header), header)
        session = reader.session()
        errors = reader.report.errors
        if session is None or errors:
            more = f", and {len(errors) - 1} more errors" if len(errors) > 1 else ""
            raise CorruptFileError(
                f"{nwb.name} is refused, because {errors[0]}{more}; "
                f"`ngb data validate {nwb.path}` lists everything."
            )
        return session


def validate_file(path: str | os.PathLike[str], layout: str | Path | None = None) -> tuple[Finding, ...]:
    """List everything that is wrong or unusual in a file.

    Parameters
    ----------
    path : path-like
    layout : str or path, optional
        As for :func:`load_session`; where none fits, the message lists what the best one lacks.

    Returns
    -------
    tuple of Finding
        Errors first.

    Raises
    ------
    UnsafeFileError, CorruptFileError
        If the file cannot be opened at all.
    """
    with open_nwb(path) as nwb:
        header = read_header(nwb)
        chosen = _layout_to_validate(nwb, layout, header)
        reader = Reader(nwb, chosen, header)
        for missing in chosen.missing:
            reader.report.error(missing.looked_for[0], f"the layout {chosen.layout.name!r} lacks {missing}")
        reader.session()
    ranks = ("error", "warning", "info")
    return tuple(sorted(reader.report.findings, key=lambda f: ranks.index(f.severity)))


def _layout_to_validate(nwb: NwbFile, wanted: str | Path | None, header: FileHeader | None) -> Fit:
    if wanted is not None:
        return fit(nwb, load_layout(wanted), header)
    try:
        return choose_layout(nwb, None, header)
    except LayoutError:
        return nearest_first(fit(nwb, layout, header) for layout in layouts().values())[0]


class Reader:
    """Reads the parts that a layout names; faults are reported, and reading continues."""

    def __init__(self, nwb: NwbFile, chosen: Fit, header: FileHeader | None) -> None:
        self.nwb = nwb
        self.layout = chosen.layout
        self.window = chosen.window
        self.complete = not chosen.missing
        self.header = header if header and header.layout == chosen.layout.name else None
        self.report = Report()
        self.parts = Parts(nwb, self.report)
        self.hashes = Hashes()

    def session(self) -> Session | None:
        """Read the session; ``None`` if a part is faulty or missing."""
        with self.hashes:
            return self.part_by_part()

    def part_by_part(self) -> Session | None:
        """Read the parts; large ones are hashed in the background."""
        self.metadata()
        units = self.units()
        if units is not None and units.spike_times is not None:
            self.hashes.begin(units.spike_times)
        trials = self.trials()
        signals = self.signals()
        if units is None or trials is None or not self.complete or self.report.errors:
            return None
        trials = self.with_movements(trials, signals)
        signals |= self.posture(signals)
        joints = [c for s in signals.values() if s.role == "joint_angle" for c in s.columns]
        joint_map = self.layout.joint_map
        if joint_map is None:
            joint_map = self.header.joint_map if self.header else {c: (c, 1.0, 0.0) for c in joints}
        session = Session(
            id=self.nwb.text("general/session_id") or self.nwb.text("identifier") or self.nwb.path.stem,
            subject=self.subject(),
            layout=f"{self.layout.name}@{self.layout.version}",
            sha256="",
            synthetic=self.header is not None and self.header.synthetic,
            units=units,
            trials=trials,
            signals=signals,
            window=self.window,
            joint_map=joint_map,
            true_rates=self.true_rates(),
            body=self.header.body if self.header else self.layout.body,
        )
        checks.check_session(session, self.report)
        session = replace(session, sha256=session_digest(session, self.hashes))
        if self.header and self.header.digest != session.sha256:
            self.report.error(
                "identifier", "the content does not match its digest, so the file was damaged or edited"
            )
        return replace(session, notes=self.report.notes)

    def subject(self) -> str:
        """Return the animal's name, extracted as the layout prescribes."""
        name = self.nwb.text("general/subject/subject_id") or "unknown"
        found = re.search(self.layout.subject, name) if self.layout.subject else None
        return (found[1] if found else None) or name

    def metadata(self) -> None:
        """Report a newer NWB version, missing metadata, and notes of the file's author."""
        version = re.match(r"(\d+)\.(\d+)", str(self.nwb.attribute("", "nwb_version") or ""))
        if version and tuple(map(int, version.groups())) > NEWEST:
            self.report.warning(
                "nwb_version", f"NWB {version[0]} is newer than the versions this reader was tested with"
            )
        for place in ("session_start_time", "general/session_id", "general/subject/subject_id"):
            if not self.nwb.text(place):
                self.report.info(place, "it is missing or empty")
        notes = self.nwb.text("general/notes")
        if self.header and notes:
            self.report.warning("general/notes", notes)

    # -- units ---------------------------------------------------------------------------------------

    def units(self) -> Units | None:
        """Read the units from the layout's paths."""
        located = locate_units(self.nwb, self.layout)
        if located is None:
            return NO_UNITS if not self.layout.units or self.layout.units_optional else None
        return self.units_at(*located)

    def units_at(self, units: UnitsLayout, path: str) -> Units | None:
        """Read the units at one path."""
        return self.spikes(units, path) if units.kind == "spikes" else self.counts(units, path)

    def spikes(self, layout: UnitsLayout, path: str) -> Units | None:
        """Read a units table."""
        n_units = self.parts.table(path)
        ids = self.parts.names(path, layout.ids, n_units)
        if not self.nwb.has_dataset(f"{path}/spike_times_index"):
            return None
        times = self.parts.numbers(f"{path}/spike_times")
        if times is None or times.ndim != 1:
            return None
        index = self.nwb.read(f"{path}/spike_times_index")
        offsets = checks.ragged_offsets(index, n_units, len(times), f"{path}/spike_times_index", self.report)
        if offsets is None:
            return None
        areas = self.areas(layout, f"{path}/electrodes", n_units)
        units = Units(
            ids, areas, spike_times=times, spike_offsets=offsets, observed=self.observed(path, n_units)
        )
        return checks.check_spikes(units, path, self.report)

    def observed(self, path: str, n_units: int) -> Ragged | None:
        """Read when each unit was observed; ``None`` if the file does not state it."""
        place = f"{path}/obs_intervals"
        if not self.nwb.has_dataset(place):
            return None
        bounds = self.parts.numbers(place)
        if bounds is None or bounds.ndim != 2 or bounds.shape[1] != 2:
            self.report.error(place, "expected intervals of two columns, start and stop")
            return None
        if not self.nwb.has_dataset(f"{place}_index"):
            self.report.error(f"{place}_index", "it is missing, so the intervals belong to no unit")
            return None
        index = self.nwb.read(f"{place}_index")
        offsets = checks.ragged_offsets(index, n_units, len(bounds), f"{place}_index", self.report)
        return None if offsets is None else Ragged(bounds, offsets)

    def counts(self, layout: UnitsLayout, path: str) -> Units | None:
        """Read counts in bins."""
        series = self.parts.series(path, None)
        if series is None:
            return None
        values, times, _ = series
        if len(times) < 2:
            self.report.error(path, f"{len(times)} bins are too few")
            return None
        whole = (
            np.isfinite(values).all() and not (values < 0).any() and bool((values == np.rint(values)).all())
        )
        if not whole:
            self.report.error(f"{path}/data", "counts must be non-negative whole numbers")
            return None
        if not np.isfinite(times).all():
            self.report.error(f"{path}/timestamps", "some bin times are NaN or infinite")
            return None
        width = checks.bin_width(times)
        n_units = values.shape[1]
        units = Units(
            self.parts.names(ELECTRODES, layout.ids, n_units),
            self.areas(layout, None, n_units),
            counts=values.astype(np.int32),
            count_times=times - {"start": 0.0, "center": 0.5, "end": 1.0}[layout.bin_label] * width,
            bin_width=width,
        )
        return checks.check_counts(units, path, self.report)

    def areas(self, layout: UnitsLayout, region: str | None, n_units: int) -> tuple[str, ...]:
        """Return the area of each unit: from its first electrode, or row by row if ``region`` is ``None``."""
        unknown = ("unknown",) * n_units
        if layout.area.constant is not None:
            return (layout.area.constant,) * n_units
        place = f"{ELECTRODES}/{layout.area.electrodes}"
        if not self.nwb.has_dataset(place) or (region and not self.nwb.has_dataset(region)):
            self.report.info(region or place, "it is missing, so the areas of the units are unknown")
            return unknown
        labels = self.nwb.read(place)
        rows: NDArray[Any] | None = (
            np.arange(n_units) if region is None else self.electrode_rows(region, n_units)
        )
        if rows is None:
            return unknown
        if region is None and len(labels) != n_units:
            self.report.error(place, f"{len(labels)} electrodes do not match {n_units} columns of counts")
            return unknown
        if len(rows) and rows.max(initial=-1) >= len(labels):
            self.report.error(region or place, f"it names electrode row {rows.max()} of {len(labels)}")
            return unknown
        return tuple(str(labels[r]).strip() or "unknown" if r >= 0 else "unknown" for r in rows)

    def electrode_rows(self, region: str, n_units: int) -> NDArray[Any] | None:
        """Return the row of each unit's first electrode, -1 for none."""
        rows = self.nwb.read(region)
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            self.report.error(region, f"expected row numbers, not {rows.dtype}")
            return None
        if not self.nwb.has_dataset(f"{region}_index"):
            if len(rows) == n_units:
                return rows.astype(np.int64)
            self.report.error(
                region, f"{len(rows)} electrodes for {n_units} units, and no index that sorts them"
            )
            return None
        index = self.nwb.read(f"{region}_index")
        offsets = checks.ragged_offsets(index, n_units, len(rows), f"{region}_index", self.report)
        if offsets is None:
            return None
        padded = np.append(rows.astype(np.int64), -1)
        return np.where(np.diff(offsets) > 0, padded[offsets[:-1]], -1)

    # -- trials --------------------------------------------------------------------------------------

    def trials(self) -> TrialTable | None:
        """Read the trials table."""
        layout = self.layout.trials
        path = locate_table(self.nwb, layout.paths)
        if path is None:
            return None
        n_trials = self.parts.table(path)
        bounds = [self.times(path, column, n_trials) for column in (layout.start, layout.stop)]
        events = {e: self.times(path, c, n_trials) for e, c in self.event_columns(path).items()}
        if any(b is None for b in bounds):
            return None
        ids = self.parts.names(path, layout.ids, n_trials)
        labels = self.conditions(path, layout.condition, n_trials)
        table = TrialTable(
            ids=ids,
            start=np.asarray(bounds[0]),
            stop=np.asarray(bounds[1]),
            condition=labels or ("",) * n_trials,
            events={e: t for e, t in events.items() if t is not None},
            group=() if layout.block is None else _blocks(np.asarray(bounds[0]), layout.block),
        )
        table = self.kept(path, table)
        return checks.check_trials(table, path, layout.overlap, layout.event_order, self.report)

    def times(self, path: str, column: str, n_trials: int) -> Floats | None:
        """Read a column of times, in any of its spellings."""
        return self.parts.column(path, locate_column(self.nwb, path, column), n_trials)

    def event_columns(self, path: str) -> dict[str, str]:
        """Return event → column, with ``*`` expanded."""
        events = dict(self.layout.trials.events)
        pattern = events.pop("*", None)
        if pattern is not None:
            prefix, _, suffix = pattern.partition("*")
            bounds = (self.layout.trials.start, self.layout.trials.stop)
            for column in self.nwb.members(path):
                if column.startswith(prefix) and column.endswith(suffix) and column not in bounds:
                    events.setdefault(column[len(prefix) : len(column) - len(suffix)], column)
        return events

    def kept(self, path: str, table: TrialTable) -> TrialTable:
        """Drop trials with other outcomes, and those without a label."""
        keep = np.ones(len(table), bool)
        rule = self.layout.trials.keep
        found = self.labels(path, rule.column, ConditionLayout(), len(table)) if rule else None
        if rule is not None and found is not None:
            keep = np.isin(found, rule.values) if rule.values else ~np.isin(found, rule.without)
            if not keep.all():
                wrong = f"not {' or '.join(rule.values)}" if rule.values else " or ".join(rule.without)
                place = f"{path}/{locate_column(self.nwb, path, rule.column)}"
                self.report.changed(
                    place, f"{(~keep).sum()} of {len(table)} trials are {wrong}, so left out", "info"
                )
        nameless = keep & (np.array(table.condition, dtype=object) == "")
        if nameless.any() and self.complete:
            self.report.changed(path, f"{nameless.sum()} trials without a condition label were left out")
            keep &= ~nameless
        return table if keep.all() else _select(table, np.flatnonzero(keep))

    def conditions(self, path: str, layout: ConditionLayout, n_trials: int) -> tuple[str, ...] | None:
        """Label each trial's condition; a trial that lacks a part of its label is unlabelled."""
        if layout.constant is not None:
            return (layout.constant,) * n_trials
        parts = [self.labels(path, column, layout, n_trials) for column in layout.needed]
        found = [labels for labels in parts if labels is not None]
        if len(found) < len(parts):
            return None
        return tuple(JOINT.join(p) if all(p) else "" for p in zip(*found, strict=True))

    def labels(
        self, path: str, column: str, layout: ConditionLayout, n_trials: int
    ) -> tuple[str, ...] | None:
        """Read one label for each trial; several values of a trial are joined."""
        place = f"{path}/{locate_column(self.nwb, path, column)}"
        if not self.nwb.has_dataset(place):
            return None
        values = self.nwb.read(place)
        ragged = self.nwb.has_dataset(f"{place}_index")
        if values.dtype.kind not in "OiufbS" or values.ndim > 2 or (values.ndim == 2 and ragged):
            self.report.error(place, f"expected labels of trials, not {values.dtype} of shape {values.shape}")
            return None
        if ragged:
            index = self.nwb.read(f"{place}_index")
            offsets = checks.ragged_offsets(index, n_trials, len(values), f"{place}_index", self.report)
            rows = None if offsets is None else [values[a:b] for a, b in pairwise(offsets)]
        elif len(values) != n_trials:
            self.report.error(place, f"expected one label per trial, not the shape {values.shape}")
            rows = None
        else:
            rows = list(values if values.ndim == 2 else values[:, None])
        return None if rows is None else tuple(_joined(row, layout) for row in rows)

    def with_movements(self, trials: TrialTable, signals: Mapping[str, Signal]) -> TrialTable:
        """Add the events that the layout detects in a signal."""
        how = self.layout.trials.detect
        if how is None or how.signal not in signals:
            return trials
        found = detect_movements(signals[how.signal], trials, how)
        still = np.isnan(found[how.start])
        self.report.changed(
            how.signal,
            f"the events {how.start} and {how.stop} were detected from the speed of this signal, and none in "
            f"{still.sum()} of {len(trials)} trials",
            "info",
        )
        return replace(trials, events={**trials.events, **found})

    # -- signals -------------------------------------------------------------------------------------

    def signals(self) -> dict[str, Signal]:
        """Read all signals."""
        found: dict[str, Signal] = {}
        taken: set[str] = set()
        for layout in self.layout.signals:
            for path in locate_signals(self.nwb, layout):
                name = path.rpartition("/")[2] if layout.name == "*" else layout.name
                if path in taken:
                    continue
                if layout.container != "separate_timeseries":  # a folder may contain several such signals
                    taken.add(path)
                signal = self.signal(replace(layout, name=name), path)
                if signal is not None:
                    self.hashes.begin(signal.values)
                    checks.check_signal(signal, path, self.report)
                    found[name] = signal
        return found

    def signal(self, layout: SignalLayout, path: str) -> Signal | None:
        """Read one signal, joint angles in rad, times at the instant of each sample."""
        parts = self.columns(layout, path)
        if parts is None:
            return None
        values, times, unit, columns = parts
        if len(columns) != values.shape[1]:
            self.report.error(path, f"{len(columns)} column names for {values.shape[1]} columns")
            return None
        role = self.parts.comment(path, r"role=(\w+)") or layout.role
        if role == "joint_angle":
            if unit.lower() in DEGREES:
                values = np.deg2rad(values)
            elif unit.lower() not in RADIANS:
                self.report.error(f"{path}/data", f"joint angles are in {unit!r}; expected rad or degrees")
            unit = "rad"
        if layout.time_label != "sample" and len(times) > 1:
            half = 0.5 * checks.bin_width(times)
            times = times + (half if layout.time_label == "start" else -half)
        return Signal(layout.name, role, tuple(columns), unit, times, values)

    def columns(self, layout: SignalLayout, path: str) -> tuple[Floats, Floats, str, list[str]] | None:
        """Read values, times, unit and names of a signal's columns."""
        if layout.container == "behavioral_timeseries":
            names = [m for m in self.nwb.members(path) if self.nwb.has_dataset(f"{path}/{m}/data")]
            if not names:
                self.report.error(path, "it contains no series")
                return None
            return self.parts.joined([f"{path}/{m}" for m in names], names, layout.unit)
        if layout.container == "separate_timeseries":
            names = [column.split("|")[0].strip() for column in layout.columns]
            return self.parts.joined(separate_series(self.nwb, layout, path), names, layout.unit)
        series = self.parts.series(path, layout.unit, layout.rate)
        if series is None:
            return None
        return *series, list(layout.columns) or self.parts.column_names(path, series[0].shape[1])

    def posture(self, signals: Mapping[str, Signal]) -> dict[str, Signal]:
        """Turn columns that drive several joints into joint angles, one column for each joint."""
        angles: dict[str, Floats] = {}
        times: Floats | None = None
        for part in self.layout.posture:
            signal = signals.get(part.signal)
            if signal is None:  # optional
                return {}
            if part.column not in signal.columns or (times is not None and signal.times is not times):
                self.report.error(part.signal, f"it has no column {part.column!r} on the clock of the others")
                return {}
            times = signal.times
            value = signal.values[:, signal.columns.index(part.column)]
            for joint, (extended, flexed) in part.joints.items():
                angles[joint] = extended + value * (flexed - extended)
        if times is None:
            return {}
        drives = "; ".join(f"{p.column} drives {', '.join(p.joints)}" for p in self.layout.posture)
        self.report.changed(
            POSTURE, f"a partial posture of the body, not recorded joint angles: {drives}", "info"
        )
        made = np.stack(list(angles.values()), axis=1)
        return {POSTURE: Signal(POSTURE, "joint_angle", tuple(angles), "rad", times, made)}

    def true_rates(self) -> Signal | None:
        """Read the generator's rates, if the layout has any."""
        path = self.layout.true_rates
        if path is None or not self.nwb.has_dataset(f"{path}/data"):
            return None
        return self.signal(SignalLayout("true_rates", "other", (path,)), path)


def _joined(values: NDArray[Any], layout: ConditionLayout) -> str:
    """Return the label of one trial; empty if a part of it is missing."""
    parts = [_label(value, layout) for value in values]
    return JOINT.join(parts) if all(parts) else ""


def _blocks(start: Floats, seconds: float) -> tuple[str, ...]:
    """Return the name of the block of the recording in which each trial starts."""
    return tuple(f"block {int(b)}" if np.isfinite(b) else "" for b in np.floor(start / seconds))


def _label(value: Any, layout: ConditionLayout) -> str:
    """Format a condition label: text unchanged, numbers scaled and rounded; NaN is no label."""
    if isinstance(value, str | bytes):
        return (value.decode() if isinstance(value, bytes) else value).strip()
    number = float(value) * layout.scale
    if np.isnan(number):
        return ""
    if layout.decimals is not None:
        number = round(number, layout.decimals) + 0.0
        return f"{number:.{layout.decimals}f}"
    return str(int(number)) if number == int(number) else repr(number)


def _select(table: TrialTable, rows: NDArray[Any]) -> TrialTable:
    return TrialTable(
        ids=tuple(table.ids[i] for i in rows),
        start=table.start[rows],
        stop=table.stop[rows],
        condition=tuple(table.condition[i] for i in rows),
        events={e: t[rows] for e, t in table.events.items()},
        group=tuple(table.group[i] for i in rows) if table.group else (),
    )

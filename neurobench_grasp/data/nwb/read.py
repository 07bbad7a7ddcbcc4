"""Read an NWB file into a :class:`Session` by a layout, and report all its faults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import (
    Bools,
    Endpoint,
    Floats,
    Ints,
    Session,
    Signal,
    TrialTable,
    Units,
)
from neurobench_grasp.data.digest import Hashes, session_digest
from neurobench_grasp.data.labels import is_angle, label_of, text_label
from neurobench_grasp.data.nwb import validate as checks
from neurobench_grasp.data.nwb.clocks import check_clocks
from neurobench_grasp.data.nwb.detection import detect_movements
from neurobench_grasp.data.nwb.file import NwbFile
from neurobench_grasp.data.nwb.findings import Finding, Report, named_trials
from neurobench_grasp.data.nwb.header import FileHeader, read_header
from neurobench_grasp.data.nwb.layout import (
    POSTURE,
    ConditionLayout,
    SignalLayout,
    kinds_of_files,
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
from neurobench_grasp.data.nwb.reaches import cut_trials, label_directions
from neurobench_grasp.data.nwb.series import Parts
from neurobench_grasp.data.nwb.units import UnitsReader
from neurobench_grasp.errors import CorruptFileError, LayoutError

RADIANS = ("rad", "radian", "radians")
DEGREES = ("deg", "degree", "degrees", "°")
INVALID = "intervals/invalid_times"
JOINT = " / "
"""Separator between the parts of a label."""

NO_UNITS = Units((), (), spike_times=np.empty(0), spike_offsets=np.zeros(1, np.int64))
NEWEST = (2, 11)
"""Newest NWB version whose files were tested."""


def session_of(nwb: NwbFile, layout: str | Path | None) -> Session:
    """Read the session of an open file; as :func:`neurobench_grasp.data.load_session`."""
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


def findings_of(nwb: NwbFile, layout: str | Path | None) -> tuple[Finding, ...]:
    """List the findings on an open file; as :func:`neurobench_grasp.data.validate_file`."""
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
        return nearest_first(fit(nwb, layout, header) for layout in kinds_of_files().values())[0]


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
        self.neurons = UnitsReader(self.parts)
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
            return None  # each with a finding, or a part that the layout lacks
        trials = self.with_directions(self.with_movements(trials, signals), signals)
        signals |= self.posture(signals)
        joints = [c for s in signals.values() if s.role == "joint_angle" for c in s.columns]
        joint_map = self.joint_map
        if joint_map is None:
            joint_map = {c: (c, 1.0, 0.0) for c in joints}
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
            body=self.body,
            endpoint=self.endpoint,
            muscle_map=self.header.muscle_map if self.header else self.layout.muscle_map,
        )
        session = check_clocks(session, self.report)
        session = replace(session, sha256=session_digest(session, self.hashes))
        if self.header and self.header.digest != session.sha256:
            self.report.error(
                "identifier", "the content does not match its digest, so the file was damaged or edited"
            )
        return replace(session, notes=self.report.notes)

    @property
    def body(self) -> str:
        """Body of the joint angles, by the file's header, if it has one, else by the layout."""
        return self.header.body if self.header else self.layout.body

    @property
    def joint_map(self) -> Mapping[str, tuple[str, float, float]] | None:
        """Columns of joint angles and their joints, of the layout or else the header; ``None``: by names."""
        stated = self.layout.joint_map
        return self.header.joint_map if stated is None and self.header else stated

    @property
    def endpoint(self) -> Endpoint | None:
        """Signal from which the joint angles follow, if any."""
        return self.header.endpoint if self.header else self.layout.endpoint

    def subject(self) -> str:
        """Return the animal's name, extracted as the layout prescribes."""
        return self.layout.subject_in(self.nwb.text("general/subject/subject_id") or "unknown")

    def metadata(self) -> None:
        """Report a newer NWB version, missing metadata, and notes of the file's author."""
        version = re.match(r"(\d+)\.(\d+)", self.nwb.text_of("", "nwb_version"))
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
            self.report_others((path for units in self.layout.units for path in units.paths), "units")
            return NO_UNITS if not self.layout.units or self.layout.units_optional else None
        return self.neurons.units(*located)

    def report_others(self, paths: Iterable[str], what: str) -> None:
        """Report paths at which there is something else than what the layout reads there."""
        for path in paths:
            if self.nwb.has_group(path) or self.nwb.has_dataset(path):
                self.report.warning(path, f"there is something else than {what}, so it was not read")

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
        rows = self.kept(path, table)
        table = self.cut(path, table.select(rows), rows, n_trials)
        table = checks.check_trials(table, path, layout.overlap, layout.event_order, self.report)
        checks.check_conditions(table.condition, path, self.report, angles=is_angle(layout.condition.scale))
        return self.valid(table)

    def valid(self, trials: TrialTable) -> TrialTable:
        """Leave out trials that meet the file's ``invalid_times``."""
        n_rows = self.parts.table(INVALID) if self.nwb.has_group(INVALID) else 0
        start, stop = (self.parts.column(INVALID, c, n_rows) for c in ("start_time", "stop_time"))
        if start is None or stop is None:
            return trials
        met = (trials.start[:, None] < np.nan_to_num(stop, nan=np.inf)) & (trials.stop[:, None] > start)
        invalid: Bools = np.asarray(met.any(axis=1))
        if invalid.any():
            which = named_trials(trials, invalid)
            self.report.changed(INVALID, f"{which} meet times that the file marks so, and were left out")
        return trials.select(np.flatnonzero(~invalid))

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

    def kept(self, path: str, table: TrialTable) -> Ints:
        """Return the rows of the trials to use: not those with other outcomes, or without a label."""
        keep = np.ones(len(table), bool)
        for rule in self.layout.trials.keep:
            found = self.labels(path, rule.column, ConditionLayout(), len(table))
            if found is None:
                continue
            used = np.array([rule.keeps(label) for label in found], dtype=bool)
            if not used.all():
                place = f"{path}/{locate_column(self.nwb, path, rule.column)}"
                self.report.changed(
                    place, f"{(~used).sum()} of {len(table)} trials are {rule.others}, so left out", "info"
                )
            keep &= used
        nameless = keep & (np.array(table.condition, dtype=object) == "")
        labelled_later = self.layout.trials.condition.direction is not None
        if nameless.any() and self.complete and not labelled_later:
            self.report.changed(path, f"{nameless.sum()} trials without a condition label were left out")
            keep &= ~nameless
        return np.flatnonzero(keep)

    def cut(self, path: str, table: TrialTable, rows: Ints, n_trials: int) -> TrialTable:
        """Cut trials at the times of a column, if the layout says so; ``rows`` are theirs in the file."""
        layout = self.layout.trials
        if layout.cut_at is None:
            return table
        place = f"{path}/{locate_column(self.nwb, path, layout.cut_at)}"
        times = (
            self.rows_of(place, n_trials, "times for each trial", "iuf")
            if self.nwb.has_dataset(place)
            else None
        )
        if times is None:
            return table
        bounds = {"start": layout.start, "stop": layout.stop}
        events = {event: b for event, column in layout.events.items() for b in bounds if column == bounds[b]}
        cut, unusable = cut_trials(table, [times[i].astype(np.float64) for i in rows], events)
        self.report.changed(place, f"{len(rows)} trials were cut at these times into {len(cut)}", "info")
        if unusable:
            self.report.changed(
                place,
                f"{len(unusable)} of {len(rows)} trials have no times here, or none that rise within the "
                "trial, and were left out",
            )
        return cut

    def conditions(self, path: str, layout: ConditionLayout, n_trials: int) -> tuple[str, ...] | None:
        """Label each trial's condition; a trial that lacks a part of its label is unlabelled."""
        if layout.constant is not None:
            return (layout.constant,) * n_trials
        if layout.direction is not None:  # follows when the signals are known
            return None
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
        rows = self.rows_of(place, n_trials, "one label per trial", "OiufbS")
        if rows is None:
            return None
        names = {text_label(label): name for label, name in layout.labels.get(column, {}).items()}
        return tuple(names.get(label, label) for label in (_joined(row, layout) for row in rows))

    def rows_of(self, place: str, n_trials: int, what: str, kinds: str) -> list[NDArray[Any]] | None:
        """Read a column with one or several values for each trial, of any of the NumPy ``kinds``."""
        values = self.parts.column_values(place)
        ragged = self.nwb.has_dataset(f"{place}_index")
        if n_trials == 1 and not ragged and values.ndim == 1:  # several values of the only trial
            values = values[None]
        if values.dtype.kind not in kinds or values.ndim > 2 or (values.ndim == 2 and ragged):
            self.report.error(place, f"expected {what}, not {values.dtype} of shape {values.shape}")
            return None
        if ragged:
            offsets = self.parts.offsets(place, n_trials, len(values))
            return None if offsets is None else [values[a:b] for a, b in pairwise(offsets)]
        if len(values) != n_trials:
            self.report.error(place, f"expected {what}, not the shape {values.shape}")
            return None
        return list(values if values.ndim == 2 else values[:, None])

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

    def with_directions(self, trials: TrialTable, signals: Mapping[str, Signal]) -> TrialTable:
        """Label trials by the direction of a movement, if the layout says so; leave out those without one."""
        how = self.layout.trials.condition.direction
        if how is None or how.signal not in signals:
            return trials
        signal = signals[how.signal]
        absent = [axis for axis in how.axes if axis not in signal.columns]
        if absent:
            self.report.error(
                how.signal,
                f"it has no column {absent[0]!r}, of which the layout takes directions of movement",
            )
            return trials
        unknown = [e for e in (how.start, how.stop) if e is not None and e not in trials.events]
        if unknown:
            self.report.error(
                how.signal, f"directions of movement need the event {unknown[0]!r}, which no column has"
            )
            return trials
        labels, distance = label_directions(signal, trials, how)
        labelled = np.array([label != "" for label in labels], dtype=bool)
        span = f"between {how.start or 'begin'} and {how.stop or 'end'}"
        for left_out, why in (
            (np.isnan(distance), f"is not known {span}"),
            (~labelled & ~np.isnan(distance), f"moves less than {how.least:g} of the median distance {span}"),
        ):
            if left_out.any():
                n = f"{left_out.sum()} of {len(trials)} trials"
                self.report.changed(how.signal, f"{n} were left out, in which it {why}")
        self.report.changed(
            how.signal,
            f"conditions are directions in which it moves {span}, in {how.sectors} sectors",
            "info",
        )
        return replace(trials, condition=tuple(labels)).select(np.flatnonzero(labelled))

    # -- signals -------------------------------------------------------------------------------------

    def signals(self) -> dict[str, Signal]:
        """Read all signals."""
        found: dict[str, Signal] = {}
        for layout, path in self.located_signals():
            signal = self.signal(layout, path)
            if signal is not None:
                self.hashes.begin(signal.values)
                checks.check_signal(signal, path, self.report)
                found[layout.name] = signal
        return found

    def located_signals(self) -> Iterator[tuple[SignalLayout, str]]:
        """Yield each signal that the file has, under the name it is read by, and its path."""
        taken: set[str] = set()
        for layout in self.layout.signals:
            located = locate_signals(self.nwb, layout)
            if not located and layout.container != "separate_timeseries":  # in a folder of other things
                self.report_others(layout.paths, "a series with data")
            for path in located:
                name = path.rpartition("/")[2] if layout.name == "*" else layout.name
                if path in taken:
                    continue
                if layout.container != "separate_timeseries":  # a folder may contain several such signals
                    taken.add(path)
                yield replace(layout, name=name), path

    def role(self, layout: SignalLayout, path: str) -> str:
        """Return the role of a signal: the one in the comments of its series, or else the layout's."""
        return self.parts.comment(path, r"role=(\w+)") or layout.role

    def signal(self, layout: SignalLayout, path: str) -> Signal | None:
        """Read one signal, joint angles in rad, times at the instant of each sample."""
        parts = self.columns(layout, path)
        if parts is None:
            return None
        values, times, unit, columns = parts
        if len(columns) != values.shape[1]:
            self.report.error(path, f"{len(columns)} column names for {values.shape[1]} columns")
            return None
        role = self.role(layout, path)
        if role == "joint_angle":
            if unit.strip().lower() in DEGREES:
                values = np.deg2rad(values)
            elif unit.strip().lower() not in RADIANS:
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
    parts = [label_of(value, layout.scale, layout.decimals) for value in values]
    return JOINT.join(parts) if all(parts) else ""


def _blocks(start: Floats, seconds: float) -> tuple[str, ...]:
    """Return the name of the block of the recording in which each trial starts."""
    return tuple(f"block {int(b)}" if np.isfinite(b) else "" for b in np.floor(start / seconds))

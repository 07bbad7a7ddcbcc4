"""Inspect an NWB file and report its contents, whether or not a layout fits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurobench_grasp.contract import TARGET_ROLES, Floats, Ints, TrialTable, Units
from neurobench_grasp.data.nwb.file import NwbFile
from neurobench_grasp.data.nwb.findings import Report
from neurobench_grasp.data.nwb.header import CANONICAL, FileHeader, read_header
from neurobench_grasp.data.nwb.layout import (
    Layout,
    UnitsLayout,
    kinds_of_files,
    load_layout,
    posture_source,
    scored_by_protocol,
)
from neurobench_grasp.data.nwb.locate import (
    Fit,
    choose_layout,
    fit,
    locate_units,
    nearest_first,
    units_tables,
)
from neurobench_grasp.data.nwb.read import Reader
from neurobench_grasp.data.nwb.series import Parts
from neurobench_grasp.data.nwb.validate import ragged_offsets
from neurobench_grasp.errors import LayoutError

N_TIMESTAMPS = 1000
"""Timestamps from which the rate of a remote series is estimated."""
FOLDERS = ("acquisition", "analysis", "processing")
"""Groups searched for signals."""


@dataclass(frozen=True)
class AreaSummary:
    """Units of one area and their mean rates over the recording, spikes/s, if known."""

    area: str
    n_units: int
    min_rate: float | None
    median_rate: float | None
    max_rate: float | None


@dataclass(frozen=True)
class EventSummary:
    """How many trials have an event and how many lack it."""

    name: str
    count: int
    missing: int


@dataclass(frozen=True)
class TableSummary:
    """A table of intervals: where it is, how many rows, which columns, which columns of times."""

    path: str
    n_rows: int
    columns: tuple[str, ...]
    times: tuple[EventSummary, ...]


@dataclass(frozen=True)
class SignalSummary:
    """A recorded series: columns, samples, median rate (Hz), unit, first and last time (s)."""

    path: str
    columns: tuple[str, ...]
    n_samples: int
    rate: float | None
    unit: str
    start: float | None
    stop: float | None


@dataclass(frozen=True)
class LayoutFit:
    """What one layout lacks in the file, as text; empty if it fits."""

    layout: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """Contents of a file. ``dataclasses.asdict`` returns plain values for JSON.

    Parameters
    ----------
    path : str
    size : int
        Bytes.
    nwb_version : str
    session, subject, species, description : str
        Empty if the file does not state it.
    label : str
        ``synthetic, a self-test`` for generated sessions, else empty.
    licence : str
        As the file states it; empty if it does not.
    layout : str or None
        The layout that was asked for, if it fits, or else the one that fits best.
    fits : tuple of LayoutFit
        Every shipped layout (and the one asked for), and what it lacks; best fit first.
    units_looked_for : tuple of str
        Where the layout (the canonical one where none fits) expects units.
    units_found : tuple of str
        Where units were found.
    n_units : int
    areas : tuple of AreaSummary
    n_trials : int or None
        Trials that the layout uses; ``None`` if no layout fits.
    conditions : mapping of str to int, or None
        Trials of each condition; ``None`` also for a remote file whose conditions follow from its signals.
    events : tuple of EventSummary
        Events of those trials.
    tables : tuple of TableSummary
        Every table of intervals in the file.
    signals : tuple of SignalSummary
        Every series under acquisition, analysis and processing.
    scores : mapping of str to str
        Protocol → ``yes``, or why the file cannot be scored by it.
    """

    path: str
    size: int
    nwb_version: str
    session: str
    subject: str
    species: str
    description: str
    label: str
    licence: str
    layout: str | None
    fits: tuple[LayoutFit, ...]
    units_looked_for: tuple[str, ...]
    units_found: tuple[str, ...]
    n_units: int
    areas: tuple[AreaSummary, ...]
    n_trials: int | None
    conditions: dict[str, int] | None
    events: tuple[EventSummary, ...]
    tables: tuple[TableSummary, ...]
    signals: tuple[SignalSummary, ...]
    scores: dict[str, str]


def inspection_of(nwb: NwbFile, layout: str | Path | None) -> Inspection:
    """Report what is inside an open file; as :func:`neurobench_grasp.data.inspect_file`."""
    return inspect_open(nwb, str(nwb.path), nwb.path.stat().st_size, layout)


def inspect_open(nwb: NwbFile, path: str, size: int, layout: str | Path | None = None) -> Inspection:
    """Report what is inside an open file, named ``path`` in messages; little is read of a remote file."""
    header = read_header(nwb)
    fits = _fits(nwb, layout, header)
    chosen = _fitting(nwb, layout, header)
    looked_for = chosen.layout if chosen else load_layout(layout or CANONICAL)
    found, units = _units(nwb, looked_for, header)
    reader = Reader(nwb, chosen, header) if chosen else None
    trials = _trials(reader) if reader else None
    return Inspection(
        path=path,
        size=size,
        nwb_version=nwb.text_of("", "nwb_version"),
        session=nwb.text("general/session_id") or nwb.text("identifier"),
        subject=nwb.text("general/subject/subject_id"),
        species=nwb.text("general/subject/species"),
        description=nwb.text("session_description"),
        label=header.label if header else "",
        licence=header.licence if header else "",
        layout=chosen.layout.name if chosen else None,
        fits=tuple(LayoutFit(f.layout.name, tuple(map(str, f.missing))) for f in fits),
        units_looked_for=tuple(p for u in looked_for.units for p in u.paths),
        units_found=found,
        n_units=sum(len(areas) for areas, _ in units),
        areas=tuple(summary for areas, rates in units for summary in _areas(areas, rates)),
        n_trials=None if trials is None else len(trials),
        conditions=None
        if trials is None or "" in trials.condition
        else dict(sorted(Counter(trials.condition).items())),
        events=() if trials is None else tuple(_event(e, t) for e, t in trials.events.items()),
        tables=_tables(nwb),
        signals=_signals(nwb),
        scores=_scores(reader, sum(len(areas) for areas, _ in units)),
    )


def _scores(reader: Reader | None, n_units: int) -> dict[str, str]:
    """Return by which protocols the file can be scored, and why not by the others."""
    if reader is None:
        return dict.fromkeys(("encoding", "tracking", "brain-control"), "no layout fits")
    units = "yes" if n_units else "it contains no units"
    roles = {signal.name: reader.role(signal, path) for signal, path in reader.located_signals()}
    hand = posture_source(reader.layout, roles, reader.body, reader.endpoint, reader.joint_map)
    if n_units and all(role in TARGET_ROLES for role in roles.values()):
        contains = "no behaviour but EMG, which no model may see" if roles else "no behaviour"
        units = f"with activations of your own only, because it contains {contains}"
    return scored_by_protocol(hand, units)


def _fits(nwb: NwbFile, wanted: str | Path | None, header: FileHeader | None) -> list[Fit]:
    known = kinds_of_files()
    if wanted is not None:
        own = load_layout(wanted)
        known[own.name] = own
    return nearest_first(fit(nwb, layout, header) for layout in known.values())


def _fitting(nwb: NwbFile, wanted: str | Path | None, header: FileHeader | None) -> Fit | None:
    try:
        return choose_layout(nwb, wanted, header)
    except LayoutError:
        return None


def _units(
    nwb: NwbFile, layout: Layout, header: FileHeader | None
) -> tuple[tuple[str, ...], list[tuple[tuple[str, ...], Floats | None]]]:
    """Locate units, by the layout or else any units table; return their areas and rates."""
    located = locate_units(nwb, layout)
    places = (located,) if located else tuple((UnitsLayout("spikes", (p,)), p) for p in units_tables(nwb))
    reader = Reader(nwb, fit(nwb, layout, header), header)
    if nwb.remote:
        summaries = (units_without_spikes(reader, where, path) for where, path in places)
        return tuple(path for _, path in places), [s for s in summaries if s is not None]
    read = (reader.neurons.units(where, path) for where, path in places)
    return tuple(path for _, path in places), [(u.areas, _rates(u)) for u in read if u is not None]


def _areas(areas: tuple[str, ...], rates: Floats | None) -> list[AreaSummary]:
    found = []
    for area in sorted(set(areas)):
        mine = np.array(areas) == area
        rate = [None if rates is None else float(f(rates[mine])) for f in (np.min, np.median, np.max)]
        found.append(AreaSummary(area, int(mine.sum()), *rate))
    return found


def _rates(units: Units) -> Floats:
    """Return the mean rate of each unit over the time it was observed, spikes/s, (n_units,)."""
    if units.counts is not None and units.bin_width is not None:
        return np.asarray(units.counts.mean(axis=0) / units.bin_width)
    assert units.spike_times is not None and units.spike_offsets is not None
    span = float(np.ptp(units.spike_times)) if len(units.spike_times) else 0.0
    seconds = np.full(len(units), span)
    if units.observed is not None:
        seconds = np.array([np.diff(spans, axis=1).sum() for spans in units.observed])
    rates: Floats = np.divide(
        np.diff(units.spike_offsets), seconds, out=np.zeros(len(units)), where=seconds > 0
    )
    return rates


def _trials(reader: Reader) -> TrialTable | None:
    """Read the trials; signals only to detect events and directions, and not in a remote file."""
    trials, layout = reader.trials(), reader.layout.trials
    follows_from_signals = layout.detect is not None or layout.condition.direction is not None
    if trials is None or not follows_from_signals or reader.nwb.remote:
        return trials
    signals = reader.signals()
    return reader.with_directions(reader.with_movements(trials, signals), signals)


def _tables(nwb: NwbFile) -> tuple[TableSummary, ...]:
    paths = [g for g in sorted(nwb.tree.groups) if nwb.type_of(g) == "TimeIntervals"]
    return tuple(_table(nwb, path) for path in paths)


def _table(nwb: NwbFile, path: str) -> TableSummary:
    columns = [m for m in nwb.members(path) if nwb.has_dataset(f"{path}/{m}") and m != "id"]
    parts = Parts(nwb, Report())
    times = {c: parts.numbers(f"{path}/{c}") for c in columns if c.endswith("_time")}
    rows = nwb.shape(f"{path}/id") if nwb.has_dataset(f"{path}/id") else (0,)
    return TableSummary(
        path=path,
        n_rows=rows[0] if rows else 0,
        columns=tuple(columns),
        times=tuple(_event(c, t) for c, t in times.items() if t is not None),
    )


def _event(name: str, times: Floats) -> EventSummary:
    missing = int(np.isnan(times).sum())
    return EventSummary(name, int(times.size) - missing, missing)


def _signals(nwb: NwbFile) -> tuple[SignalSummary, ...]:
    places = [p for p in sorted(nwb.tree.groups) if p.split("/")[0] in FOLDERS]
    return tuple(_signal(nwb, p) for p in places if nwb.has_dataset(f"{p}/data"))


def _signal(nwb: NwbFile, path: str) -> SignalSummary:
    """Describe a series without reading its data."""
    parts = Parts(nwb, Report())
    shape = nwb.shape(f"{path}/data") or (0,)
    n_columns = shape[1] if len(shape) > 1 else 1
    names = parts.column_names(path, n_columns)
    start = stop = rate = None
    if nwb.has_dataset(f"{path}/timestamps") and nwb.remote:
        start, stop, rate = times_from_ends(nwb, f"{path}/timestamps") or (None, None, None)
    elif nwb.has_dataset(f"{path}/timestamps"):
        times = parts.times(path, shape)
        if times is not None and len(times) > 1:
            start, stop, rate = float(times[0]), float(times[-1]), 1.0 / float(np.median(np.diff(times)))
    else:
        clock = parts.regular_clock(path)
        if clock is not None:
            start, rate = clock
            stop = start + (shape[0] - 1) / rate
    return SignalSummary(
        path=path,
        columns=tuple(names) if len(names) == n_columns else (),
        n_samples=shape[0],
        rate=rate,
        unit=nwb.text_of(f"{path}/data", "unit"),
        start=start,
        stop=stop,
    )


def units_without_spikes(
    reader: Reader, where: UnitsLayout, path: str
) -> tuple[tuple[str, ...], Floats | None] | None:
    """Return areas and mean rates (spikes/s, shape (n_units,)) of units without reading their spikes.

    Rates are over the time a unit was observed, else between first and last spike of the unit with most
    spikes; ``None`` for counts, which would all have to be read.
    """
    nwb = reader.nwb
    if where.kind == "counts":
        shape = nwb.shape(f"{path}/data")
        n_units = shape[1] if len(shape) > 1 else 1
        return reader.neurons.areas(where, None, n_units), None
    n_units = reader.parts.table(path)
    index, times = f"{path}/spike_times_index", f"{path}/spike_times"
    if not (nwb.has_dataset(index) and nwb.has_dataset(times)):
        return None
    n_spikes = (nwb.shape(times) or (0,))[0]
    offsets = ragged_offsets(nwb.read(index), n_units, n_spikes, index, reader.report)
    if offsets is None:
        return None
    observed = reader.neurons.observed(path, n_units)
    if observed is not None:
        seconds = np.array([np.diff(spans, axis=1).sum() for spans in observed])
    else:
        seconds = np.full(n_units, _span_of_most_active(nwb, times, offsets))
    rates: Floats = np.divide(np.diff(offsets), seconds, out=np.zeros(n_units), where=seconds > 0)
    return reader.neurons.areas(where, path, n_units), rates


def _span_of_most_active(nwb: NwbFile, place: str, offsets: Ints) -> float:
    """Return the seconds between first and last spike of the unit with most spikes."""
    if len(offsets) < 2 or not offsets[-1]:
        return 0.0
    unit = int(np.argmax(np.diff(offsets)))
    first, last = (nwb.rows(place, i, i + 1) for i in (int(offsets[unit]), int(offsets[unit + 1]) - 1))
    return float(last[0] - first[0])


def times_from_ends(nwb: NwbFile, place: str) -> tuple[float, float, float] | None:
    """Return first and last time (s) and rate (Hz) of a series from its first and last timestamps."""
    n_times = (nwb.shape(place) or (0,))[0]
    if n_times < 2:
        return None
    first, last = nwb.rows(place, 0, min(N_TIMESTAMPS, n_times)), nwb.rows(place, n_times - 1, n_times)
    if first.dtype.kind not in "iuf" or first.ndim != 1:
        return None
    return float(first[0]), float(last[0]), 1.0 / float(np.median(np.diff(first)))

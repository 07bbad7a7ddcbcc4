"""Write a session in the canonical layout."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.atomic import new_file
from neurobench_grasp.contract import Floats, Session, Signal, Units
from neurobench_grasp.data.digest import session_digest
from neurobench_grasp.data.nwb import validate as checks
from neurobench_grasp.data.nwb.clocks import check_clocks
from neurobench_grasp.data.nwb.findings import Report
from neurobench_grasp.data.nwb.header import CANONICAL, HEADER_NAME, SYNTHETIC_LABEL, FileHeader
from neurobench_grasp.data.nwb.layout import CHOICES
from neurobench_grasp.data.nwb.series import regular_times
from neurobench_grasp.errors import NgbError

if TYPE_CHECKING:
    from pynwb import NWBFile, TimeSeries
    from pynwb.core import DynamicTable, VectorData

CHUNK_BYTES = 1 << 20
LIBVER = ("v110", "v110")
"""HDF5 metadata of this format carries checksums; every HDF5 since 2016 reads it."""


def write_session(
    path: str | os.PathLike[str],
    session: Session,
    *,
    species: str,
    sex: str,
    age: str | None,
    session_start_time: datetime | str,
    description: str,
    institution: str | None = None,
    licence: str = "",
    notes: str = "",
    resolution: Mapping[str, float] | None = None,
    unit_labels: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write a session as an NWB file in the canonical layout (``nwb_schemas/ngb-grasp-1.yaml``).

    The file appears under its name only when it is complete. Its datasets carry checksums and it stores
    the digest of its content, so that ``load_session`` returns exactly this session or raises.

    Parameters
    ----------
    path : path-like
        Replaced if it exists.
    session : Session
    species : str
        Latin binomial, such as ``Macaca mulatta``.
    sex : str
        ``M``, ``F``, ``U`` (unknown) or ``O`` (other).
    age : str, optional
        ISO 8601 duration, such as ``P8Y``; ``None`` where it is not known.
    session_start_time : datetime or str
        Of time 0; ISO 8601 if text. Without a time zone it is taken as UTC.
    description : str
    institution : str, optional
    licence : str
        SPDX identifier of the data's licence.
    notes : str
        Remarks for readers of scores on this file; added to the notes of the session when read.
    resolution : mapping of str to float, optional
        Signal (or ``true_rates``) → step; all values must be whole multiples of it and are
        stored as integers, which keeps the file small.
    unit_labels : mapping of str to sequence of str, optional
        Further columns of the units table. They are not part of the session: ``load_session`` does not read
        them, :func:`neurobench_grasp.data.unit_labels` does.

    Raises
    ------
    NgbError
        If the session could not be read back unchanged, metadata do not follow NWB's rules,
        or the file cannot be written.
    """
    path = Path(path)
    steps = dict(resolution or {})
    _check_writable(session, steps)
    _check_subject(species, sex, age)
    header = FileHeader(
        layout=CANONICAL,
        digest=session_digest(session),
        label=SYNTHETIC_LABEL if session.synthetic else "",
        licence=licence,
        window=session.window,
        joint_map=session.joint_map,
        body=session.body,
        endpoint=session.endpoint,
        muscle_map=session.muscle_map,
    )
    nwb = _nwb_file(session, header, _when(session_start_time), description, institution, notes)
    _add_subject(nwb, session.subject, species, sex, age)
    _add_units(nwb, session.units, unit_labels or {})
    _add_trials(nwb, session)
    _add_signals(nwb, session, steps)
    _save(nwb, path)


def _check_writable(session: Session, steps: Mapping[str, float]) -> None:
    """Raise if reading would refuse or alter the session."""
    report = Report()
    units, trials = session.units, session.trials
    checks.check_spikes(units, "units", report)
    checks.check_counts(units, "units", report)
    checks.check_trials(trials, "trials", "error", (), report)
    checks.check_names(units, trials, report)
    check_clocks(session, report)
    if len(trials) == 0:
        report.error("trials", "there are none")
    if trials.group:
        report.error("trials", "groups of trials are not supported by the canonical layout")
    if (
        units.counts is not None
        and units.count_times is not None
        and (len(units.count_times) < 2 or checks.bin_width(units.count_times) != units.bin_width)
    ):
        report.error("units", f"the bin times are not those of bins of {units.bin_width} s")
    for name in session.window.start_event, session.window.stop_event:
        if name not in trials.events:
            report.error("window", f"the trials have no event {name!r}")
    for name in trials.events:
        if not re.fullmatch(r"[A-Za-z]\w*", name) or name in ("start", "stop"):
            report.error("trials", f"{name!r} cannot be the name of an event")
    signals = {**session.signals, **({"true_rates": session.true_rates} if session.true_rates else {})}
    for name, signal in signals.items():
        _check_signal(name, signal, report)
    for name in steps:
        if name not in signals:
            report.error(name, "a resolution is given, but there is no such signal")
    problems = report.errors + report.changes
    if problems:
        raise NgbError(f"The session {session.id!r} cannot be written, because {problems[0]}.")


def _check_signal(name: str, signal: Signal, report: Report) -> None:
    checks.check_signal(signal, name, report)
    checks.check_labels(signal.columns, name, "columns", report)
    if name != signal.name or not re.fullmatch(r"[A-Za-z]\w*", name) or name.endswith("_columns"):
        report.error(
            name, "it cannot be the name of a signal (letters, digits and _, not ending in _columns)"
        )
    if signal.role not in CHOICES["role"]:
        report.error(name, f"its role {signal.role!r} is not one of {', '.join(CHOICES['role'])}")
    if signal.role == "joint_angle" and signal.unit != "rad":
        report.error(name, f"joint angles must be in rad, not {signal.unit!r}")
    if signal.values.shape != (len(signal.times), len(signal.columns)) or not signal.values.size:
        report.error(name, f"values of shape {signal.values.shape} do not match its times and columns")


def _check_subject(species: str, sex: str, age: str | None) -> None:
    for what, value, pattern, example in (
        ("species", species, r"[A-Z][a-z]+ [a-z]+", "'Macaca mulatta'"),
        ("sex", sex, r"[MFUO]", "'M', 'F', 'U' (unknown) or 'O' (other)"),
        ("age", age, r"P(?!$)(\d+(\.\d+)?[YMWD])*(T(\d+(\.\d+)?[HMS])+)?", "'P8Y'"),
    ):
        if value is not None and not re.fullmatch(pattern, value):
            raise NgbError(f"The {what} {value!r} does not follow NWB's rules; write it like {example}.")


def _when(time: datetime | str) -> datetime:
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            raise NgbError(
                f"The session start time {time!r} is not ISO 8601; write it like '2024-05-31T09:30:00'."
            ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# -- contents --------------------------------------------------------------------------------------------


def _nwb_file(
    session: Session,
    header: FileHeader,
    start: datetime,
    description: str,
    institution: str | None,
    notes: str,
) -> NWBFile:
    from pynwb import NWBFile
    from pynwb.core import ScratchData

    nwb = NWBFile(
        session_description=f"{header.label}: {description}" if header.label else description,
        identifier=header.identifier,
        session_start_time=start,
        session_id=session.id,
        institution=institution,
        notes=notes or None,
        keywords=["grasp", *(["synthetic"] if session.synthetic else [])],
    )
    nwb.add_scratch(
        ScratchData(
            name=HEADER_NAME,
            data=header.to_json(),
            description="layout, digest of the content, licence, window and joint map, as JSON",
        )
    )
    return nwb


def _add_subject(nwb: NWBFile, subject: str, species: str, sex: str, age: str | None) -> None:
    from pynwb.file import Subject

    nwb.subject = Subject(subject_id=subject, species=species, sex=sex, age=age)


def _add_units(nwb: NWBFile, units: Units, labels: Mapping[str, Sequence[str]]) -> None:
    from pynwb.core import DynamicTableRegion
    from pynwb.misc import Units as UnitsTable

    if len(units) == 0:
        return
    _add_electrodes(nwb, units)
    if units.counts is not None and units.count_times is not None:
        series = _series(
            "binned_spikes",
            units.counts.astype(np.min_scalar_type(int(units.counts.max(initial=0)))),
            units.count_times,
            unit="counts",
            description="spikes per bin; times are bin starts",
        )
        _module(nwb, "ecephys", "binned spike counts").add(series)
        return
    assert units.spike_times is not None and units.spike_offsets is not None
    rows, names = _row_names(units.ids)
    columns = _ragged("spike_times", "seconds, ascending", units.spike_times, units.spike_offsets[1:])
    if units.observed is not None:
        columns += _ragged(
            "obs_intervals", "when the unit was observed", units.observed.values, units.observed.offsets[1:]
        )
    region = DynamicTableRegion(
        name="electrodes", data=list(range(len(units))), description="site", table=nwb.electrodes
    )
    columns += [region, _index(region, np.arange(1, len(units) + 1))]
    if names is not None:
        columns.append(_text("unit_name", "name of the unit", names))
    columns += [_text(name, "not part of the session", values) for name, values in labels.items()]
    nwb.units = UnitsTable(name="units", description="recorded units", columns=columns, id=rows)


def _add_electrodes(nwb: NWBFile, units: Units) -> None:
    """One row per unit: only its area is known."""
    device = nwb.create_device(name="array", description="not further described")
    groups = {
        area: nwb.create_electrode_group(
            name=f"group{i}", description="all sites of an area", location=area, device=device
        )
        for i, area in enumerate(sorted(set(units.areas)))
    }
    if units.counts is not None:
        nwb.add_electrode_column(name="unit_name", description="name of the unit of this row")
    for name, area in zip(units.ids, units.areas, strict=True):
        label = {"unit_name": name} if units.counts is not None else {}
        nwb.add_electrode(location=area, group=groups[area], **label)


def _add_trials(nwb: NWBFile, session: Session) -> None:
    from pynwb.epoch import TimeIntervals

    trials = session.trials
    rows, names = _row_names(trials.ids)
    columns = [
        _column("start_time", "start of the trial, s", trials.start),
        _column("stop_time", "end of the trial, s", trials.stop),
        _text("object_name", "condition: the object that is grasped", trials.condition),
        *(_column(f"{e}_time", f"{e}, s; NaN where missing", t) for e, t in sorted(trials.events.items())),
    ]
    if names is not None:
        columns.append(_text("trial_name", "name of the trial", names))
    nwb.trials = TimeIntervals(name="trials", description="trials", columns=columns, id=rows)


def _add_signals(nwb: NWBFile, session: Session, steps: Mapping[str, float]) -> None:
    for name, signal in sorted(session.signals.items()):
        module = _module(nwb, "behavior", "recorded behaviour")
        module.add(_signal_series(signal, steps.get(name)))
        module.add(_column_table(signal))
    if session.true_rates is not None:
        module = _module(nwb, "ecephys", "rates of the generator")
        module.add(_signal_series(session.true_rates, steps.get("true_rates")))
        module.add(_column_table(session.true_rates))


def _signal_series(signal: Signal, step: float | None) -> TimeSeries:
    values: NDArray[Any] = signal.values
    if step is not None:
        values = _whole_steps(signal, step)
    elif np.array_equal(values.astype(np.float32), values, equal_nan=True):
        values = values.astype(np.float32)
    return _series(
        signal.name,
        values,
        signal.times,
        unit=signal.unit,
        conversion=1.0 if step is None else float(step),
        description=f"{signal.role}, one column per row of {signal.name}_columns",
        comments=f"role={signal.role}; columns=[{','.join(signal.columns)}]",
    )


def _whole_steps(signal: Signal, step: float) -> NDArray[Any]:
    """Return values as integers, so that ``integer * step`` restores them bit for bit."""
    with np.errstate(all="ignore"):
        whole = np.rint(signal.values / step)
    if (
        not np.array_equal(whole * step, signal.values)
        or np.abs(whole).max(initial=0) > np.iinfo(np.int32).max
    ):
        raise NgbError(f"The values of {signal.name!r} are not whole multiples of the resolution {step}.")
    return whole.astype(np.int16 if np.abs(whole).max(initial=0) <= np.iinfo(np.int16).max else np.int32)


def _column_table(signal: Signal) -> DynamicTable:
    from pynwb.core import DynamicTable

    name = "joint" if signal.role == "joint_angle" else "label"
    return DynamicTable(
        name=f"{signal.name}_columns",
        description=f"one row per column of {signal.name}",
        columns=[_text(name, "name of the column", signal.columns)],
    )


# -- pieces ----------------------------------------------------------------------------------------------


def _series(name: str, values: NDArray[Any], times: Floats, **options: Any) -> TimeSeries:
    from pynwb import TimeSeries

    rate = _regular_rate(times)
    clock: dict[str, Any] = {"timestamps": _stored(times)}
    if rate is not None:
        clock = {"starting_time": float(times[0]), "rate": rate}
    return TimeSeries(name=name, data=_stored(values), **clock, **options)


def _regular_rate(times: Floats) -> float | None:
    """Return the rate that yields exactly these times, if there is one."""
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    mean = (len(times) - 1) / (times[-1] - times[0])
    for rate in (round(mean), round(mean, 6), 1.0 / checks.bin_width(times) if mean < 1e6 else 0.0, mean):
        if rate > 0 and np.array_equal(regular_times(float(times[0]), float(rate), len(times)), times):
            return float(rate)
    return None


def _row_names(names: Sequence[str]) -> tuple[list[int], tuple[str, ...] | None]:
    """Integer ids of a table's rows, and a column of names if the names are not integers."""
    if all(re.fullmatch(r"0|[1-9]\d{0,8}", n) for n in names):
        return [int(n) for n in names], None
    return list(range(len(names))), tuple(names)


def _ragged(name: str, description: str, values: NDArray[Any], ends: NDArray[Any]) -> list[VectorData]:
    from pynwb.core import VectorData

    column = VectorData(name=name, description=description, data=_stored(values))
    return [column, _index(column, ends)]


def _index(column: VectorData, ends: NDArray[Any]) -> VectorData:
    from pynwb.core import VectorIndex

    return VectorIndex(name=f"{column.name}_index", data=_stored(ends.astype(np.uint64)), target=column)


def _column(name: str, description: str, values: Floats) -> VectorData:
    from pynwb.core import VectorData

    return VectorData(name=name, description=description, data=_stored(values))


def _text(name: str, description: str, values: Sequence[str]) -> VectorData:
    from pynwb.core import VectorData

    return VectorData(name=name, description=description, data=list(values))


def _stored(values: NDArray[Any]) -> Any:
    """Return the data chunked, compressed, with a checksum on every chunk."""
    from pynwb import H5DataIO

    if values.size == 0:
        return values
    row_bytes = values.itemsize * int(np.prod(values.shape[1:]))
    rows = max(1, min(len(values), CHUNK_BYTES // row_bytes))
    return H5DataIO(
        values,
        chunks=(rows, *values.shape[1:]),
        compression="gzip",
        shuffle=True,
        fletcher32=True,
    )


def _module(nwb: NWBFile, name: str, description: str) -> Any:
    if name not in nwb.processing:
        nwb.create_processing_module(name=name, description=description)
    return nwb.processing[name]


def _save(nwb: NWBFile, path: Path) -> None:
    """Write to a temporary file, sync, then rename it."""
    from pynwb import NWBHDF5IO

    if path.is_dir():
        raise NgbError(f"{path} is a folder; name a file in it, such as {path / 'monday.nwb'}.")
    if not path.parent.is_dir():
        raise NgbError(f"The folder {path.parent} does not exist; create it first, or choose another.")
    try:
        with (
            new_file(path) as part,
            h5py.File(part, "w", libver=LIBVER) as h5,
            NWBHDF5IO(file=h5, mode="w") as io,
        ):
            io.write(nwb)
    except OSError as cause:
        raise NgbError(f"{path} cannot be written ({cause.strerror or cause}).") from cause

"""NWB files written group by group with h5py, as the published listings of DANDI describe them."""

import uuid
from contextlib import contextmanager
from dataclasses import dataclass

import h5py
import numpy as np

TEXT = h5py.string_dtype()


@dataclass
class Ragged:
    """A column with several values for each row; rows that are lists of arrays are indexed twice."""

    rows: list


def _typed(thing, kind, namespace="core", **attributes):
    thing.attrs["namespace"] = namespace
    thing.attrs["neurodata_type"] = kind
    thing.attrs["object_id"] = str(uuid.uuid4())
    for name, value in attributes.items():
        thing.attrs[name] = value
    return thing


@contextmanager
def nwb_file(path, *, identifier, subject, species="Macaca mulatta", session_id=None,
             start="2012-09-24T00:00:00-05:00", version="2.6.0"):  # fmt: skip
    """Open a new file with what every NWB file has."""
    with h5py.File(path, "w") as file:
        _typed(file, "NWBFile", nwb_version=version)
        for name, value in {
            "identifier": identifier,
            "session_description": "as published",
            "session_start_time": start,
            "timestamps_reference_time": start,
        }.items():
            file.create_dataset(name, data=value, dtype=TEXT)
        file.create_dataset("file_create_date", data=[start], dtype=TEXT)
        for group in ("acquisition", "analysis", "processing", "stimulus/presentation",
                      "stimulus/templates", "general"):  # fmt: skip
            file.create_group(group)
        animal = _typed(file.create_group("general/subject"), "Subject")
        for name, value in {"subject_id": subject, "species": species, "sex": "M", "age": "P7Y"}.items():
            animal.create_dataset(name, data=value, dtype=TEXT)
        if session_id is not None:
            file.create_dataset("general/session_id", data=session_id, dtype=TEXT)
        yield file


def _column(group, name, values, description="as published"):
    kind = {"kind": "VectorData", "namespace": "hdmf-common", "description": description}
    if isinstance(values, Ragged):
        rows = values.rows
        if rows and isinstance(rows[0], list):  # two indices: rows of lists of arrays
            inner = [array for row in rows for array in row]
            flat = np.concatenate(inner)
            ends = {f"{name}_index": [len(a) for a in inner], f"{name}_index_index": [len(r) for r in rows]}
        else:
            flat = np.concatenate(rows) if rows else np.empty(0)
            ends = {f"{name}_index": [len(r) for r in rows]}
        data = _typed(group.create_dataset(name, data=flat, dtype=_dtype(flat)), **kind)
        for index, lengths in ends.items():
            data = _typed(
                group.create_dataset(index, data=np.cumsum(lengths).astype(np.uint32)),
                "VectorIndex", "hdmf-common", description="index", target=data.ref,
            )  # fmt: skip
        return
    values = np.asarray(values)
    _typed(group.create_dataset(name, data=values, dtype=_dtype(values)), **kind)


def _dtype(values):
    return TEXT if values.dtype.kind in "OU" else values.dtype


def table(file, path, kind, columns, ids=None, namespace="core"):
    """Write a table; its columns are arrays of one value per row, or Ragged."""
    group = _typed(file.create_group(path), kind, namespace, description=path.rpartition("/")[2])
    group.attrs.create("colnames", list(columns), dtype=TEXT)
    for name, values in columns.items():
        _column(group, name, values)
    first = next(iter(columns.values()))
    n_rows = len(first.rows if isinstance(first, Ragged) else first)
    ids = np.arange(n_rows) if ids is None else np.asarray(ids)
    _typed(group.create_dataset("id", data=ids), "ElementIdentifiers", "hdmf-common")
    return group


def trials(file, columns, path="intervals/trials"):
    """Write a table of intervals."""
    return table(file, path, "TimeIntervals", columns)


def series_column(group, name, series, n_rows):
    """Add a column that refers each row to all of the given series, as pynwb's `timeseries=` does."""
    kind = np.dtype([("idx_start", "i4"), ("count", "i4"), ("timeseries", h5py.ref_dtype)])
    rows = np.array([(0, len(s["data"]), s.ref) for _ in range(n_rows) for s in series], kind)
    data = group.create_dataset(name, data=rows)
    _typed(data, "TimeSeriesReferenceVectorData", "core", description="the series of the trial")
    index = group.create_dataset(f"{name}_index", data=(np.arange(n_rows) + 1) * len(series))
    _typed(index, "VectorIndex", "hdmf-common", description="index", target=data.ref)
    group.attrs.create("colnames", [*group.attrs["colnames"], name], dtype=TEXT)


def electrodes(file, locations, group_names):
    """Write the electrodes and the groups they belong to."""
    place = "general/extracellular_ephys"
    device = _typed(file.create_group("general/devices/array"), "Device", description="an array")
    for name in dict.fromkeys(group_names):
        group = _typed(
            file.create_group(f"{place}/{name}"), "ElectrodeGroup", description=name, location="Motor Cortex"
        )
        group["device"] = h5py.SoftLink(device.name)
    made = table(
        file, f"{place}/electrodes", "DynamicTable",
        {
            "location": np.array(locations, object),
            "group_name": np.array(group_names, object),
            **{name: np.full(len(locations), np.nan) for name in ("x", "y", "z", "imp")},
            "filtering": np.array(["unknown"] * len(locations), object),
        },
        namespace="hdmf-common",
    )  # fmt: skip
    made.create_dataset("group", data=[file[f"{place}/{n}"].ref for n in group_names], dtype=h5py.ref_dtype)
    _typed(made["group"], "VectorData", "hdmf-common", description="group")
    made.attrs.create("colnames", [*made.attrs["colnames"], "group"], dtype=TEXT)
    return made


def units(file, spikes, *, observed=None, electrode_rows=None, **columns):
    """Write the units table; each column is there only if it is given."""
    parts = {"spike_times": Ragged(spikes)}
    if observed is not None:
        parts["obs_intervals"] = Ragged([np.asarray(observed, float).reshape(-1, 2)] * len(spikes))
    made = table(file, "units", "Units", parts | columns)
    if electrode_rows is not None:
        data = made.create_dataset("electrodes", data=np.asarray(electrode_rows))
        target = file["general/extracellular_ephys/electrodes"].ref
        _typed(data, "DynamicTableRegion", "hdmf-common", description="electrodes", table=target)
        index = made.create_dataset("electrodes_index", data=np.arange(1, len(spikes) + 1, dtype=np.uint32))
        _typed(index, "VectorIndex", "hdmf-common", description="index", target=data.ref)
        made.attrs.create("colnames", [*made.attrs["colnames"], "electrodes"], dtype=TEXT)
    return made


def series(file, path, data, unit, *, times=None, rate=None, start=0.0, comments="no comments",
           kind="TimeSeries", description="no description", conversion=1.0):  # fmt: skip
    """Write a series, stamped either with the time of each sample or with a start and a rate."""
    group = _typed(file.create_group(path), kind, comments=comments, description=description)
    values = group.create_dataset("data", data=data)
    values.attrs.update({"unit": unit, "conversion": conversion, "offset": 0.0, "resolution": -1.0})
    if times is not None:
        timestamps = group.create_dataset("timestamps", data=times)
        timestamps.attrs.update({"interval": 1, "unit": "seconds"})
    else:
        first = group.create_dataset("starting_time", data=float(start))
        first.attrs.update({"rate": np.float32(rate), "unit": "seconds"})
    if kind == "SpatialSeries":
        group.create_dataset("reference_frame", data="unknown", dtype=TEXT)
    return group


def module(file, name):
    """Write a processing module."""
    return _typed(file.create_group(f"processing/{name}"), "ProcessingModule", description=name)


def container(file, path, kind):
    """Write a container of series."""
    return _typed(file.create_group(path), kind)

"""Read columns, tables and series of an NWB file and report faults."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.data.nwb.file import NwbFile
from neurobench_grasp.data.nwb.findings import Report


@dataclass(frozen=True)
class Parts:
    """Parts of one file; ``None`` stands for a faulty part, which is reported.

    Parameters
    ----------
    nwb : NwbFile
    report : Report
    """

    nwb: NwbFile
    report: Report

    def table(self, path: str) -> int:
        """Check that a table's columns agree, and return its number of rows."""
        members = [m for m in self.nwb.members(path) if self.nwb.has_dataset(f"{path}/{m}")]
        lengths = {
            m: (self.nwb.shape(f"{path}/{m}") or (0,))[0] for m in members if f"{m}_index" not in members
        }
        n_rows = lengths.get("id", max(lengths.values(), default=0))
        for member, length in lengths.items():
            if length != n_rows:
                self.report.error(f"{path}/{member}", f"it has {length} rows, the table {n_rows}")
        listed = self.nwb.attribute(path, "colnames")
        if listed is not None:
            for name in set(listed) - set(members):
                self.report.warning(path, f"it lists the column {name!r}, which does not exist")
            for name in members:
                if name != "id" and not name.endswith("_index") and name not in listed:
                    self.report.warning(
                        f"{path}/{name}", "the table does not list this column, so other readers miss it"
                    )
        return n_rows

    def names(self, table: str, columns: tuple[str, ...], n_rows: int) -> tuple[str, ...]:
        """Return the names of a table's rows from the first column that exists, else row numbers."""
        for column in columns:
            place = f"{table}/{column}"
            if self.nwb.has_dataset(place):
                values = self.nwb.read(place)
                if values.ndim == 1 and len(values) == n_rows:
                    names = tuple(str(v) for v in values)
                    if len(set(names)) < len(names):
                        self.report.error(place, "two rows have the same name")
                    return names
        return tuple(str(i) for i in range(n_rows))

    def column(self, table: str, column: str, n_rows: int) -> Floats | None:
        """Read a numeric column of a table; ``None`` if missing or unusable."""
        place = f"{table}/{column}"
        if not self.nwb.has_dataset(place):
            return None
        values = self.numbers(place)
        if values is None or values.shape != (n_rows,):
            if values is not None:
                self.report.error(place, f"expected one number per row, not the shape {values.shape}")
            return None
        return values

    def numbers(self, place: str) -> Floats | None:
        """Read a dataset as float64; other types are reported."""
        values = self.nwb.read(place)
        if values.dtype.kind not in "iufb":
            kind = "text" if values.dtype.kind in "OSU" else str(values.dtype)
            self.report.error(place, f"expected numbers, but it contains {kind}")
            return None
        return values.astype(np.float64, copy=False)

    def joined(
        self, paths: Sequence[str], names: Sequence[str], unit: str | None
    ) -> tuple[Floats, Floats, str, list[str]] | None:
        """Join one-column series, which must share one clock, under the given names."""
        series = [self.series(path, unit) for path in paths]
        first = series[0]
        if first is None:
            return None
        for path, one in zip(paths, series, strict=True):
            if one is None:
                return None
            if not np.array_equal(one[1], first[1]):
                self.report.error(path, f"its sample times differ from those of {names[0]}")
                return None
            if one[0].shape[1] != 1 or one[2] != first[2]:
                self.report.error(path, f"expected one column in {first[2]!r}, as in {names[0]}")
                return None
        return np.concatenate([one[0] for one in series if one], axis=1), first[1], first[2], list(names)

    def series(
        self, path: str, unit: str | None, rate: float | None = None
    ) -> tuple[Floats, Floats, str] | None:
        """Return values (n_samples, n_columns), times (n_samples,) and unit of a TimeSeries.

        ``unit`` and ``rate`` (Hz) override what the file states.
        """
        place = f"{path}/data"
        values = self.numbers(place)
        if values is None:
            return None
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim != 2:
            self.report.error(place, f"expected at most two dimensions, not the shape {values.shape}")
            return None
        conversion, offset = (self.nwb.attribute(place, name) for name in ("conversion", "offset"))
        if conversion is not None and float(conversion) != 1.0:
            values = values * float(conversion)
        if offset is not None and float(offset) != 0.0:
            values = values + float(offset)
        times = self.times(path, values.shape, rate)
        stated = str(self.nwb.attribute(place, "unit") or "unknown")
        return None if times is None else (values, times, unit or stated)

    def times(self, path: str, shape: tuple[int, ...], rate: float | None = None) -> Floats | None:
        """Return the sample times of a series of the given shape, (n_samples,), in seconds."""
        place = f"{path}/timestamps"
        if self.nwb.has_dataset(place):
            times = self.numbers(place)
            if times is None:
                return None
            if times.shape != shape[:1]:
                hint = " (is the data transposed?)" if times.shape == shape[1:] else ""
                self.report.error(place, f"{times.size} timestamps for {shape[0]} samples{hint}")
                return None
            return times
        clock = self.regular_clock(path)
        return None if clock is None else regular_times(clock[0], rate or clock[1], shape[0])

    def regular_clock(self, path: str) -> tuple[float, float] | None:
        """Return starting time (s) and rate (Hz) of a series without timestamps."""
        place = f"{path}/starting_time"
        start = self.numbers(place) if self.nwb.has_dataset(place) else None
        rate = self.nwb.attribute(place, "rate") if start is not None else None
        if start is None or start.size != 1 or rate is None:
            self.report.error(path, "it has neither timestamps nor starting_time and rate")
            return None
        if not (np.isfinite(float(rate)) and float(rate) > 0):
            self.report.error(place, f"the rate is {float(rate)} Hz")
            return None
        return float(start.item()), float(rate)

    def column_names(self, path: str, n_columns: int) -> list[str]:
        """Return names from the table ``<series>_columns``, else from ``comments``, else numbers."""
        table = f"{path}_columns"
        if self.nwb.has_group(table):
            for column in self.nwb.attribute(table, "colnames") or []:
                if self.nwb.has_dataset(f"{table}/{column}"):
                    return [str(v) for v in self.nwb.read(f"{table}/{column}")]
        listed = self.comment(path, r"columns=\[([^\]]*)\]")
        if listed:
            return [c.strip() for c in listed.split(",")]
        name = path.rpartition("/")[2]
        return [name] if n_columns == 1 else [f"{name}_{i}" for i in range(n_columns)]

    def comment(self, path: str, pattern: str) -> str:
        """Search the ``comments`` of a series; empty if nothing matches."""
        found = re.search(pattern, str(self.nwb.attribute(path, "comments") or ""))
        return found[1] if found else ""


def regular_times(start: float, rate: float, n_samples: int) -> Floats:
    """Return the sample times of a TimeSeries with ``starting_time`` and ``rate``, (n_samples,), in s."""
    return start + np.arange(n_samples) / rate

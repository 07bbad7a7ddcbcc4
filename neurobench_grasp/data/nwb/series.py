"""Read columns, tables and series of an NWB file and report faults."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Floats, Ints
from neurobench_grasp.data.nwb.file import NwbFile
from neurobench_grasp.data.nwb.findings import Report
from neurobench_grasp.data.nwb.validate import ragged_offsets


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
        members = [m for m in members if not self.holds_values_of_enum(path, m)]
        shapes = {m: self.nwb.shape(f"{path}/{m}") or (0,) for m in members if f"{m}_index" not in members}
        n_rows = prod(shapes["id"]) if "id" in shapes else max((s[0] for s in shapes.values()), default=0)
        for member, shape in shapes.items():
            if shape[0] != n_rows and shape != (1, n_rows):
                self.report.error(f"{path}/{member}", f"it has {shape[0]} rows, the table {n_rows}")
        if self.nwb.attribute(path, "colnames") is not None:
            listed = self.nwb.texts_of(path, "colnames")
            for name in set(listed) - set(members):
                self.report.warning(path, f"it lists the column {name!r}, which does not exist")
            for name in members:
                if name != "id" and not name.endswith("_index") and name not in listed:
                    self.report.warning(
                        f"{path}/{name}", "the table does not list this column, so other readers miss it"
                    )
        return n_rows

    def holds_values_of_enum(self, table: str, member: str) -> bool:
        """Return whether a dataset is what the numbers of an EnumData column stand for, not a column."""
        column = f"{table}/{member.removesuffix('_elements')}"
        return member.endswith("_elements") and self.nwb.has_dataset(column) and self.is_enum(column)

    def is_enum(self, place: str) -> bool:
        """Return whether a column holds numbers of the rows of its ``<column>_elements``."""
        return self.nwb.type_of(place) == "EnumData" and self.nwb.has_dataset(f"{place}_elements")

    def column_values(self, place: str) -> NDArray[Any]:
        """Read a column: with the elements of an EnumData, and flat where MATLAB wrote (N, 1) or (1, N)."""
        values = self.nwb.read(place)
        if values.ndim == 0:
            self.report.error(place, "it is a single value, not a column")
        if values.ndim != 1 and values.size == max(values.shape, default=1):
            values = values.reshape(-1)
        if not self.is_enum(place) or values.dtype.kind not in "iu":
            return values
        elements = self.column_values(f"{place}_elements")
        known = (values >= 0) & (values < len(elements))
        if not known.all():
            self.report.error(place, f"{(~known).sum()} values are not rows of its {len(elements)} elements")
        return np.where(known, elements[np.where(known, values, 0)], "") if len(elements) else values

    def offsets(self, place: str, n_rows: int, n_values: int) -> Ints | None:
        """Return the offsets of a ragged column, (n_rows + 1,), from its index."""
        return ragged_offsets(
            self.column_values(f"{place}_index"), n_rows, n_values, f"{place}_index", self.report
        )

    def names(self, table: str, columns: tuple[str, ...], n_rows: int) -> tuple[str, ...]:
        """Return the names of a table's rows from the first column that exists, else row numbers."""
        for column in columns:
            place = f"{table}/{column}"
            if self.nwb.has_dataset(place):
                values = self.column_values(place)
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
        values = self.numbers(place, flat=True)
        if values is None or values.shape != (n_rows,):
            if values is not None:
                self.report.error(place, f"expected one number per row, not the shape {values.shape}")
            return None
        return values

    def numbers(self, place: str, *, flat: bool = False, whole: bool = False) -> NDArray[Any] | None:
        """Read a dataset, or with ``flat`` a column of a table, as float64; other types are reported.

        With ``whole``, integers stay as small as they are stored.
        """
        values = self.column_values(place) if flat else self.nwb.read(place)
        if values.dtype.kind not in "iufb":
            kind = "text" if values.dtype.kind in "OSU" else str(values.dtype)
            self.report.error(place, f"expected numbers, but it contains {kind}")
            return None
        return values if whole and values.dtype.kind in "iu" else values.astype(np.float64, copy=False)

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
        self, path: str, unit: str | None, rate: float | None = None, *, whole: bool = False
    ) -> tuple[NDArray[Any], Floats, str] | None:
        """Return values (n_samples, n_columns), times (n_samples,) and unit of a TimeSeries.

        ``unit`` and ``rate`` (Hz) override what the file states. ``whole``: see :meth:`numbers`.
        """
        place = f"{path}/data"
        values = self.numbers(place, whole=whole)
        if values is None:
            return None
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim != 2:
            self.report.error(place, f"expected at most two dimensions, not the shape {values.shape}")
            return None
        conversion, offset = (self.factor(place, *one) for one in (("conversion", 1.0), ("offset", 0.0)))
        with np.errstate(over="ignore", invalid="ignore"):  # infinite values are reported
            if conversion != 1.0:
                values = values * conversion
            if offset != 0.0:
                values = values + offset
        times = self.times(path, values.shape, rate)
        stated = self.nwb.text_of(place, "unit") or "unknown"
        return None if times is None else (values, times, unit or stated)

    def factor(self, place: str, name: str, usual: float) -> float:
        """Return a numeric attribute of a series' data; the usual value where it is missing or no number."""
        stated = self.nwb.attribute(place, name)
        if stated is None:
            return usual
        value = np.asarray(stated)
        if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
            self.report.error(place, f"its {name} is {stated!r}; expected a number")
            return usual
        return float(value.item())

    def times(self, path: str, shape: tuple[int, ...], rate: float | None = None) -> Floats | None:
        """Return the sample times of a series of the given shape, (n_samples,), in seconds."""
        place = f"{path}/timestamps"
        if self.nwb.has_dataset(place):
            times = self.numbers(place, flat=True)
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
        if start is None or start.size != 1 or self.nwb.attribute(place, "rate") is None:
            self.report.error(path, "it has neither timestamps nor starting_time and rate")
            return None
        rate = self.factor(place, "rate", 1.0)
        if not rate > 0:
            self.report.error(place, f"the rate is {rate} Hz")
            return None
        return float(start.item()), rate

    def column_names(self, path: str, n_columns: int) -> list[str]:
        """Return names from the table ``<series>_columns``, else from ``comments``, else numbers."""
        table = f"{path}_columns"
        if self.nwb.has_group(table):
            for column in self.nwb.texts_of(table, "colnames"):
                if self.nwb.has_dataset(f"{table}/{column}"):
                    return [str(v) for v in self.column_values(f"{table}/{column}")]
        listed = self.comment(path, r"columns=\[([^\]]*)\]")
        if listed:
            return [c.strip() for c in listed.split(",")]
        name = path.rpartition("/")[2]
        return [name] if n_columns == 1 else [f"{name}_{i}" for i in range(n_columns)]

    def comment(self, path: str, pattern: str) -> str:
        """Search the ``comments`` of a series; empty if nothing matches."""
        found = re.search(pattern, self.nwb.text_of(path, "comments"))
        return found[1] if found else ""


def regular_times(start: float, rate: float, n_samples: int) -> Floats:
    """Return the sample times of a TimeSeries with ``starting_time`` and ``rate``, (n_samples,), in s."""
    return start + np.arange(n_samples) / rate

"""Read the units of an NWB file: spike times or counts, areas, and when they were observed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Ragged, Units
from neurobench_grasp.data.labels import label_of, text_label
from neurobench_grasp.data.nwb import validate as checks
from neurobench_grasp.data.nwb.clocks import LATEST
from neurobench_grasp.data.nwb.file import open_nwb
from neurobench_grasp.data.nwb.layout import UnitsLayout
from neurobench_grasp.data.nwb.locate import ELECTRODES, locate_column
from neurobench_grasp.data.nwb.series import Parts

QUALITY = "quality"
"""Column of a units table with the judgement of the spike sorter."""
UNKNOWN = "unknown"
"""Area of units whose area the file does not state."""


class UnitsReader:
    """Reads units by a layout; faults are reported, and ``None`` stands for a faulty part.

    Parameters
    ----------
    parts : Parts
    """

    def __init__(self, parts: Parts) -> None:
        self.parts, self.nwb, self.report = parts, parts.nwb, parts.report

    def units(self, units: UnitsLayout, path: str) -> Units | None:
        """Read the units at one path."""
        return self.spikes(units, path) if units.kind == "spikes" else self.counts(units, path)

    def spikes(self, layout: UnitsLayout, path: str) -> Units | None:
        """Read a units table."""
        n_units = self.parts.table(path)
        ids = self.parts.names(path, layout.ids, n_units)
        for column in ("spike_times", "spike_times_index"):
            if not self.nwb.has_dataset(f"{path}/{column}"):
                self.report.error(
                    f"{path}/{column}", "it is missing, so the spikes of the units are not known"
                )
                return None
        times = self.parts.numbers(f"{path}/spike_times", flat=True)
        if times is None:
            return None
        if times.ndim != 1:
            self.report.error(
                f"{path}/spike_times", f"expected one column of times, not the shape {times.shape}"
            )
            return None
        offsets = self.parts.offsets(f"{path}/spike_times", n_units, len(times))
        if offsets is None:
            return None
        areas = self.areas(layout, path, n_units)
        units = Units(
            ids, areas, spike_times=times, spike_offsets=offsets, observed=self.observed(path, n_units)
        )
        return checks.check_spikes(self.kept_units(units, layout, path), path, self.report)

    def kept_units(self, units: Units, layout: UnitsLayout, table: str) -> Units:
        """Keep the units that the layout wants; without a rule, report what the spike sorter stated."""
        rule = layout.keep
        place = f"{table}/{locate_column(self.nwb, table, rule.column if rule else QUALITY)}"
        if not self.nwb.has_dataset(place):
            if rule is not None:
                self.report.error(place, "it is missing, and the layout keeps units by it")
            return units
        values = self.parts.column_values(place)
        if values.shape != (len(units),):
            self.report.error(place, f"expected one value per unit, not the shape {values.shape}")
            return units
        found = [label_of(value) for value in values]
        if rule is None:
            each = ", ".join(f"{value or 'empty'} {n}" for value, n in Counter(found).most_common(5))
            if len(set(found)) > 1:
                self.report.warning(
                    place,
                    f"units of different quality are used alike ({each}); the layout's units.keep selects",
                )
            return units
        kept = [u for u, value in enumerate(found) if rule.keeps(value)]
        if len(kept) < len(units):
            left = f"{len(units) - len(kept)} of {len(units)} units"
            self.report.changed(place, f"{left} are {rule.others}, so left out", "info")
        return units.select(kept)

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
        offsets = self.parts.offsets(place, n_units, len(bounds))
        return None if offsets is None else Ragged(bounds, offsets)

    def counts(self, layout: UnitsLayout, path: str) -> Units | None:
        """Read counts in bins."""
        series = self.parts.series(path, None, whole=True)
        if series is None:
            return None
        values, times, _ = series
        if len(times) < 2:
            self.report.error(path, f"{len(times)} bins are too few")
            return None
        whole = values.dtype.kind in "iu" or (np.isfinite(values).all() and (values == np.rint(values)).all())
        if not whole or values.min(initial=0) < 0:
            self.report.error(f"{path}/data", "counts must be non-negative whole numbers")
            return None
        if values.max(initial=0) > np.iinfo(np.int32).max:
            self.report.error(f"{path}/data", f"counts reach {values.max():g}, more than a bin can contain")
            return None
        if not (np.abs(times) <= LATEST).all():
            self.report.error(f"{path}/timestamps", "some bin times are NaN, infinite or beyond any clock")
            return None
        width = checks.bin_width(times)
        n_units = values.shape[1]
        units = Units(
            self.parts.names(ELECTRODES, layout.ids, n_units),
            self.areas(layout, None, n_units),
            counts=values.astype(np.min_scalar_type(int(values.max(initial=0))), copy=False),
            count_times=times - {"start": 0.0, "center": 0.5, "end": 1.0}[layout.bin_label] * width,
            bin_width=width,
        )
        return checks.check_counts(self.kept_units(units, layout, ELECTRODES), path, self.report)

    def areas(self, layout: UnitsLayout, table: str | None, n_units: int) -> tuple[str, ...]:
        """Return the area of each unit of a table: of its first electrode, or its electrode group.

        With ``table`` ``None``, units are the rows of the electrodes table.
        """
        if layout.area.constant is not None:
            return (layout.area.constant,) * n_units
        names = {text_label(name): text_label(area) for name, area in layout.area.names.items()}
        found = [text_label(area) or UNKNOWN for area in self.stated_areas(layout, table, n_units)]
        areas = tuple(names.get(area, area) for area in found)
        checks.check_areas(areas, self.report)
        return areas

    def stated_areas(self, layout: UnitsLayout, table: str | None, n_units: int) -> Sequence[str]:
        """Return the area of each unit as the file states it, empty where it does not."""
        unknown = ("",) * n_units
        region = None if table is None else f"{table}/electrodes"
        if table is not None and not self.nwb.has_dataset(f"{table}/electrodes"):
            groups = f"{table}/electrode_group"
            if self.nwb.has_dataset(groups) and self.nwb.shape(groups) == (n_units,):
                return [self.group_area(group) for group in self.nwb.targets(groups)]
            self.report.info(f"{table}/electrodes", "it is missing, so the areas of the units are unknown")
            return unknown
        labels = self.electrode_areas(layout.area.electrodes)
        if labels is None:
            place = f"{ELECTRODES}/{layout.area.electrodes}"
            self.report.info(place, "it is missing, so the areas of the units are unknown")
            return unknown
        if region is None:
            if len(labels) != n_units:
                what = f"{len(labels)} electrodes do not match {n_units} columns of counts"
                self.report.error(f"{ELECTRODES}/{layout.area.electrodes}", what)
                return unknown
            return labels
        rows = self.electrode_rows(region, n_units, len(labels))
        return unknown if rows is None else [labels[r] if r >= 0 else "" for r in rows]

    def electrode_areas(self, column: str) -> list[str] | None:
        """Return the area of each electrode: its own or, where that is not stated, that of its group."""
        own, groups = self.electrode_texts(column), self.electrode_texts("group_name")
        if groups is None or (own is not None and all(map(_is_known, own))):
            return own
        of_group = {g: self.group_area(f"general/extracellular_ephys/{g}") for g in set(groups)}
        if own is None:
            return [of_group[g] for g in groups] if any(of_group.values()) else None
        return [a if _is_known(a) else of_group[g] or a for a, g in zip(own, groups, strict=False)]

    def electrode_texts(self, column: str) -> list[str] | None:
        """Return a column of the electrodes table as text; ``None`` if there is none."""
        place = f"{ELECTRODES}/{column}"
        if not self.nwb.has_dataset(place):
            return None
        return [str(value).strip() for value in self.parts.column_values(place)]

    def group_area(self, path: str) -> str:
        """Return the location of an electrode group, empty if it states none."""
        return self.nwb.text_of(path, "location") if self.nwb.has_group(path) else ""

    def electrode_rows(self, region: str, n_units: int, n_electrodes: int) -> NDArray[Any] | None:
        """Return the row of each unit's first electrode, -1 for none."""
        rows = self.parts.column_values(region)
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            self.report.error(region, f"expected row numbers, not {rows.dtype}")
            return None
        beyond = (rows < 0) | (rows >= n_electrodes)
        if beyond.any():
            self.report.error(region, f"it names electrode row {rows[beyond][0]} of {n_electrodes}")
            return None
        if not self.nwb.has_dataset(f"{region}_index"):
            if len(rows) == n_units:
                return rows.astype(np.int64)
            self.report.error(
                region, f"{len(rows)} electrodes for {n_units} units, and no index that sorts them"
            )
            return None
        offsets = self.parts.offsets(region, n_units, len(rows))
        if offsets is None:
            return None
        padded = np.append(rows.astype(np.int64), -1)
        return np.where(np.diff(offsets) > 0, padded[offsets[:-1]], -1)


def _is_known(area: str) -> bool:
    return area.lower() not in ("", UNKNOWN)


def unit_labels(path: str | os.PathLike[str], column: str) -> dict[str, str]:
    """Read a column of text in the units table of a file in the canonical layout.

    Parameters
    ----------
    path : path-like
        Written by :func:`neurobench_grasp.data.write_session` with ``unit_labels``.
    column : str

    Returns
    -------
    dict of str to str
        Id of each unit → its label; empty if the file has no such column.

    Raises
    ------
    NgbError
        If the file cannot be read.
    """
    with open_nwb(path) as nwb:
        if not nwb.has_dataset(f"units/{column}"):
            return {}
        names = "units/unit_name" if nwb.has_dataset("units/unit_name") else "units/id"
        return dict(zip(map(str, nwb.read(names)), map(str, nwb.read(f"units/{column}")), strict=True))

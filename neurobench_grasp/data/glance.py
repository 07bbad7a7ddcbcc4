"""Look at large parts of a file by reading little of them, for files that lie on a server."""

from __future__ import annotations

import numpy as np

from neurobench_grasp.contract import Floats, Ints
from neurobench_grasp.data.nwb import validate as checks
from neurobench_grasp.data.nwb.file import NwbFile
from neurobench_grasp.data.nwb.layout import UnitsLayout
from neurobench_grasp.data.nwb.read import Reader

FIRST = 1000
"""Timestamps that tell the rate of a series."""


def glance_at_units(
    reader: Reader, where: UnitsLayout, path: str
) -> tuple[tuple[str, ...], Floats | None] | None:
    """Area and mean rate (spikes/s, shape (n_units,)) of units without reading their spikes.

    Rates are over the time a unit was observed or else between first and last spike of the busiest unit;
    ``None`` for counts, whose bins would all have to be read.
    """
    nwb = reader.nwb
    if where.kind == "counts":
        shape = nwb.shape(f"{path}/data")
        n_units = shape[1] if len(shape) > 1 else 1
        return reader.areas(where, None, n_units), None
    n_units = reader.parts.table(path)
    index, times = f"{path}/spike_times_index", f"{path}/spike_times"
    if not (nwb.has_dataset(index) and nwb.has_dataset(times)):
        return None
    n_spikes = (nwb.shape(times) or (0,))[0]
    offsets = checks.ragged_offsets(nwb.read(index), n_units, n_spikes, index, reader.report)
    if offsets is None:
        return None
    observed = reader.observed(path, n_units)
    if observed is not None:
        seconds = np.array([np.diff(spans, axis=1).sum() for spans in observed])
    else:
        seconds = np.full(n_units, _span_of_busiest(nwb, times, offsets))
    rates: Floats = np.divide(np.diff(offsets), seconds, out=np.zeros(n_units), where=seconds > 0)
    return reader.areas(where, f"{path}/electrodes", n_units), rates


def _span_of_busiest(nwb: NwbFile, place: str, offsets: Ints) -> float:
    """Seconds between first and last spike of the unit that fired most."""
    if len(offsets) < 2 or not offsets[-1]:
        return 0.0
    busiest = int(np.argmax(np.diff(offsets)))
    first, last = (nwb.rows(place, i, i + 1) for i in (int(offsets[busiest]), int(offsets[busiest + 1]) - 1))
    return float(last[0] - first[0])


def glance_at_times(nwb: NwbFile, place: str) -> tuple[float, float, float] | None:
    """First and last time (s) and rate (Hz) of a series, from its first and last timestamps."""
    n_times = (nwb.shape(place) or (0,))[0]
    if n_times < 2:
        return None
    first, last = nwb.rows(place, 0, min(FIRST, n_times)), nwb.rows(place, n_times - 1, n_times)
    if first.dtype.kind not in "iuf" or first.ndim != 1:
        return None
    return float(first[0]), float(last[0]), 1.0 / float(np.median(np.diff(first)))

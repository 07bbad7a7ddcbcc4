"""The digest of a session's content, the same however a file stores it."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.types import Session, Signal, Units

BLOCK = 4 << 20
"""Bytes hashed at a time. Part of the digest's definition: another size gives other digests."""

THREADS = 4
"""Blocks are hashed side by side (hashing releases the interpreter lock)."""


def session_digest(session: Session) -> str:
    """Digest of the canonical content: ids, areas, spikes, trials, signals, window, joint map, rates.

    Independent of file bytes, HDF5 chunking and number types, layout name and notes.

    Parameters
    ----------
    session : Session

    Returns
    -------
    str
        SHA-256 in hexadecimal, of a JSON text that holds the digest of each array.
    """
    trials = session.trials
    content = {
        "id": session.id,
        "subject": session.subject,
        "synthetic": session.synthetic,
        "units": _units(session.units),
        "trials": {
            "ids": trials.ids,
            "start": _array(trials.start, "<f8"),
            "stop": _array(trials.stop, "<f8"),
            "condition": trials.condition,
            "events": {name: _array(times, "<f8") for name, times in trials.events.items()},
        },
        "signals": {name: _signal(signal) for name, signal in session.signals.items()},
        "window": {k: float(v) if isinstance(v, int) else v for k, v in asdict(session.window).items()},
        "joint_map": {
            k: [j, float(sign), float(offset)] for k, (j, sign, offset) in session.joint_map.items()
        },
        "true_rates": None if session.true_rates is None else _signal(session.true_rates),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _units(units: Units) -> dict[str, Any]:
    content: dict[str, Any] = {"ids": units.ids, "areas": units.areas}
    if units.counts is not None and units.count_times is not None:
        content["counts"] = _array(units.counts, "<i4")
        content["count_times"] = _array(units.count_times, "<f8")
        content["bin_width"] = None if units.bin_width is None else float(units.bin_width)
    elif units.spike_times is not None and units.spike_offsets is not None:
        content["spike_times"] = _array(units.spike_times, "<f8")
        content["spike_offsets"] = _array(units.spike_offsets, "<i8")
    if units.observed is not None:
        content["observed"] = _array(units.observed.values, "<f8")
        content["observed_offsets"] = _array(units.observed.offsets, "<i8")
    return content


def _signal(signal: Signal) -> dict[str, Any]:
    return {
        "name": signal.name,
        "role": signal.role,
        "columns": signal.columns,
        "unit": signal.unit,
        "times": _array(signal.times, "<f8"),
        "values": _array(signal.values, "<f8"),
    }


def _array(values: NDArray[Any], dtype: str) -> list[Any]:
    """Shape and digest of an array's little-endian bytes: SHA-256 over the SHA-256 of each block."""
    data = np.ascontiguousarray(values, dtype=dtype)
    content = data.reshape(-1).view(np.uint8)
    blocks = [content[i : i + BLOCK].data for i in range(0, len(content), BLOCK)]
    if len(blocks) < 2:
        digests = [_sha256(block) for block in blocks]
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            digests = list(pool.map(_sha256, blocks))
    return [list(data.shape), hashlib.sha256(b"".join(digests)).hexdigest()]


def _sha256(block: memoryview) -> bytes:
    return hashlib.sha256(block).digest()

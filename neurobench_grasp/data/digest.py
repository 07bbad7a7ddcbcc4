"""Digest of a session's content, independent of how a file stores it."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import DEFAULT_BODY, Session, Signal, Units

BLOCK = 16 << 20
"""Block size in bytes. Part of the digest's definition: another size yields other digests."""

THREADS = 2
"""Blocks are hashed in parallel; hashing and reading HDF5 release the GIL."""


class Hashes:
    """Digests of arrays, computed in the background while the next part of a file is read."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS)
        self._begun: dict[int, tuple[NDArray[Any], list[Future[bytes]]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, values: NDArray[Any], dtype: str = "<f8") -> None:
        """Start hashing an array, which must not change afterwards."""
        content, wanted = np.ascontiguousarray(values).reshape(-1), np.dtype(dtype)
        n = BLOCK // wanted.itemsize
        blocks = (content[i : i + n] for i in range(0, len(content), n))
        self._begun[id(values)] = (values, [self._pool.submit(_sha256, block, wanted) for block in blocks])

    def of(self, values: NDArray[Any], dtype: str = "<f8") -> list[Any]:
        """Return shape and digest of an array's little-endian bytes: SHA-256 over those of the blocks."""
        if id(values) not in self._begun:
            self.begin(values, dtype)
        _, blocks = self._begun[id(values)]
        return [list(values.shape), hashlib.sha256(b"".join(b.result() for b in blocks)).hexdigest()]


def _sha256(block: NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    return hashlib.sha256(block.astype(dtype, copy=False).data).digest()


def session_digest(session: Session, hashes: Hashes | None = None) -> str:
    """Return the digest of the canonical content: ids, areas, spikes, trials, signals, window, map, rates.

    Independent of file bytes, HDF5 chunking and number types, layout name and notes.

    Parameters
    ----------
    session : Session
    hashes : Hashes, optional
        Hashes that may have been started for some arrays.

    Returns
    -------
    str
        SHA-256 in hexadecimal, of a JSON text with the digest of each array.
    """
    if hashes is None:
        with Hashes() as fresh:
            return session_digest(session, fresh)
    trials = session.trials
    content = {
        "id": session.id,
        "subject": session.subject,
        "synthetic": session.synthetic,
        "units": _units(session.units, hashes),
        "trials": {
            "ids": trials.ids,
            "start": hashes.of(trials.start),
            "stop": hashes.of(trials.stop),
            "condition": trials.condition,
            "events": {name: hashes.of(times) for name, times in trials.events.items()},
            **({"group": trials.group} if trials.group else {}),
        },
        "signals": {name: _signal(signal, hashes) for name, signal in session.signals.items()},
        "window": {k: float(v) if isinstance(v, int) else v for k, v in asdict(session.window).items()},
        "joint_map": {
            k: [j, float(sign), float(offset)] for k, (j, sign, offset) in session.joint_map.items()
        },
        "true_rates": None if session.true_rates is None else _signal(session.true_rates, hashes),
        **({} if session.body == DEFAULT_BODY else {"body": session.body}),
        **({} if session.endpoint is None else {"endpoint": session.endpoint.to_json()}),
        **({"muscle_map": dict(session.muscle_map)} if session.muscle_map else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _units(units: Units, hashes: Hashes) -> dict[str, Any]:
    content: dict[str, Any] = {"ids": units.ids, "areas": units.areas}
    if units.counts is not None and units.count_times is not None:
        content["counts"] = hashes.of(units.counts, "<i4")
        content["count_times"] = hashes.of(units.count_times)
        content["bin_width"] = None if units.bin_width is None else float(units.bin_width)
    elif units.spike_times is not None and units.spike_offsets is not None:
        content["spike_times"] = hashes.of(units.spike_times)
        content["spike_offsets"] = hashes.of(units.spike_offsets, "<i8")
    if units.observed is not None:
        content["observed"] = hashes.of(units.observed.values)
        content["observed_offsets"] = hashes.of(units.observed.offsets, "<i8")
    return content


def _signal(signal: Signal, hashes: Hashes) -> dict[str, Any]:
    return {
        "name": signal.name,
        "role": signal.role,
        "columns": signal.columns,
        "unit": signal.unit,
        "times": hashes.of(signal.times),
        "values": hashes.of(signal.values),
    }

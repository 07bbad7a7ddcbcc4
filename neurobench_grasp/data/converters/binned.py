"""Convert trials that were stored separately as binned counts to one session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import (
    DEFAULT_BODY,
    Endpoint,
    Floats,
    Session,
    Signal,
    TrialTable,
    Units,
    Window,
)
from neurobench_grasp.data import session_digest, write_session
from neurobench_grasp.data.nwb.clocks import check_clocks
from neurobench_grasp.data.nwb.findings import Report
from neurobench_grasp.errors import LayoutError

GAP_S = 2.0
"""Seconds between trials: longer than any padding."""

NOMINAL_DATE = datetime(2020, 1, 1, tzinfo=UTC)
"""Date of recordings without a date."""

NARROWEST_S, WIDEST_S = 0.0005, 0.2
"""Valid range of bin widths."""


@dataclass(frozen=True)
class BinnedTrial:
    """One trial with its own clock.

    Parameters
    ----------
    id, condition : str
    counts : ndarray, shape (n_bins, n_units)
        Whole numbers.
    events : mapping of str to float
        Seconds from the start of the first bin, NaN where missing; the same events in every trial.
    signals : mapping of str to ndarray, shape (n_bins, n_columns)
    """

    id: str
    condition: str
    counts: NDArray[Any]
    events: Mapping[str, float]
    signals: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class SignalKind:
    """Role, column names and unit of a signal."""

    role: str
    columns: tuple[str, ...]
    unit: str = "unknown"


@dataclass(frozen=True)
class Converted:
    """A session converted from another format.

    Parameters
    ----------
    session : Session
        Changes and omissions are in its ``notes``.
    unverified : tuple of str
        Assumptions that could not be checked against a file.
    description : str
    licence : str
    start : datetime
        Date of the recording; nominal if the file states none.
    """

    session: Session
    unverified: tuple[str, ...]
    description: str
    licence: str
    start: datetime = NOMINAL_DATE

    def write(self, folder: Path) -> Path:
        """Write the session as ``<id>.nwb``; the file's notes state what is unverified."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.session.id}.nwb"
        nominal = ("the date is nominal",) if self.start == NOMINAL_DATE else ()
        notes = [*(f"unverified: {what}" for what in self.unverified), *self.session.notes, *nominal]
        write_session(
            path,
            self.session,
            species="Macaca mulatta",
            sex="U",
            age=None,
            session_start_time=self.start,
            description=self.description,
            licence=self.licence,
            notes="; ".join(notes),
        )
        return path


def lay_end_to_end(
    *,
    id: str,
    subject: str,
    trials: Sequence[BinnedTrial],
    units: Sequence[str],
    areas: Sequence[str],
    width: float,
    kinds: Mapping[str, SignalKind],
    window: Window,
    notes: Sequence[str] = (),
    body: str = DEFAULT_BODY,
    joint_map: Mapping[str, tuple[str, float, float]] | None = None,
    endpoint: Endpoint | None = None,
) -> Session:
    """Build a session from separate trials whose positions in the recording are unknown.

    Trials are placed end to end on one grid of bins, with gaps. Events outside their trial's bins count as
    missing. Signals are placed at the centres of the bins.

    Parameters
    ----------
    id, subject : str
    trials : sequence of BinnedTrial
    units, areas : sequence of str, length n_units
    width : float
        Seconds per bin; rounded to whole microseconds.
    kinds : mapping of str to SignalKind
        Signal → its description.
    window : Window
    notes : sequence of str
    body : str
        Name of the body whose endpoint or joints were recorded.
    joint_map : mapping of str to tuple, optional
        Column of the joint angles → (joint of the body, sign, offset in rad). Default: none.
    endpoint : Endpoint, optional
        The signal of that endpoint.

    Returns
    -------
    Session
    """
    width = round(width * 1e6) / 1e6
    lengths = np.array([len(t.counts) for t in trials])
    gap = ceil(GAP_S / width)
    first = np.concatenate([[0], np.cumsum(lengths + gap)[:-1]])
    bins = np.concatenate([np.arange(n) + f for n, f in zip(lengths, first, strict=True)])
    events, missing = _events(trials, first, lengths, width)
    session = Session(
        id=id,
        subject=subject,
        layout="ngb-grasp-1",
        sha256="",
        synthetic=False,
        units=Units(
            tuple(units),
            tuple(areas),
            counts=np.concatenate([t.counts for t in trials]).astype(np.int32),
            count_times=bins * width,
            bin_width=width,
        ),
        trials=TrialTable(
            ids=tuple(t.id for t in trials),
            start=first * width,
            stop=(first + lengths) * width,
            condition=tuple(t.condition for t in trials),
            events=events,
        ),
        signals={
            name: Signal(
                name,
                kind.role,
                kind.columns,
                kind.unit,
                (bins + 0.5) * width,
                np.concatenate([t.signals[name] for t in trials]).astype(np.float64),
            )
            for name, kind in kinds.items()
        },
        window=window,
        body=body,
        joint_map=joint_map or {},
        endpoint=endpoint,
    )
    report = Report()
    session = check_clocks(session, report)
    return replace(session, sha256=session_digest(session), notes=(*notes, *missing, *report.notes))


def _events(
    trials: Sequence[BinnedTrial], first: NDArray[Any], lengths: NDArray[Any], width: float
) -> tuple[dict[str, Floats], list[str]]:
    """Return the event times on the session's clock, and notes on events outside their trial."""
    found, notes = {}, []
    for name in trials[0].events:
        within = np.array([t.events[name] for t in trials])
        outside = (within < 0) | (within > lengths * width)
        if outside.any():
            notes.append(
                f"the event {name} lies outside the bins of its trial, and so counts as missing, in "
                f"{outside.sum()} of {len(trials)} trials"
            )
        found[name] = first * width + np.where(outside, np.nan, within)
    return found, notes


def check_counts(counts: NDArray[Any], place: str) -> NDArray[Any]:
    """Raise unless a matrix contains counts; return them in the smallest integer type.

    Raises
    ------
    LayoutError
        States the first invalid value.
    """
    if counts.ndim != 2:
        raise LayoutError(f"{place} has the shape {counts.shape}; expected bins × units.")
    whole = np.isfinite(counts) & (counts >= 0) & (counts == np.rint(counts))
    wrong = ~(whole & (counts <= np.iinfo(np.int32).max))
    if wrong.any():
        at = np.argwhere(wrong)[0]
        raise LayoutError(
            f"{place} has {counts[tuple(at)]:g} in bin {at[0] + 1} of unit {at[1] + 1}, which is not a count "
            "of spikes; convert the file without smoothing or scaling."
        )
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def check_width(width: float, place: str) -> float:
    """Raise unless a bin width is plausible for spike counts.

    Raises
    ------
    LayoutError
        If it is not.
    """
    if not NARROWEST_S <= width <= WIDEST_S:
        raise LayoutError(f"{place} has bins of {width:g} s; expected {NARROWEST_S:g} to {WIDEST_S:g} s.")
    return width

"""Trials that were stored one by one as counts in bins, laid end to end as one session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Floats, Session, Signal, TrialTable, Units, Window
from neurobench_grasp.data import session_digest, write_session
from neurobench_grasp.errors import LayoutError

GAP_S = 2.0
"""Seconds between trials: more than any padding."""

NOMINAL_DATE = datetime(2020, 1, 1, tzinfo=UTC)
"""Date of recordings that state none."""

NARROWEST_S, WIDEST_S = 0.0005, 0.2
"""Bins of spikes and movements are between these."""


@dataclass(frozen=True)
class BinnedTrial:
    """One trial on its own clock.

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
    """What a signal is: its role, the names of its columns, and its unit."""

    role: str
    columns: tuple[str, ...]
    unit: str = "unknown"


@dataclass(frozen=True)
class Converted:
    """A session made from a file of another format.

    Parameters
    ----------
    session : Session
        What was left out or changed is in its ``notes``.
    unverified : tuple of str
        What was taken for granted, because no file was at hand to check it.
    description : str
    licence : str
    start : datetime
        Of the recording; nominal where the file states none.
    """

    session: Session
    unverified: tuple[str, ...]
    description: str
    licence: str
    start: datetime = NOMINAL_DATE

    def write(self, folder: Path) -> Path:
        """Write the session as ``<id>.nwb``; the file's notes say what is unverified."""
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
) -> Session:
    """Make a session of separate trials; where in the recording they were is not kept.

    All trials stand on one grid of bins, with gaps between them. Events outside their trial's bins count as
    missing. Signals are placed at the centres of the bins.

    Parameters
    ----------
    id, subject : str
    trials : sequence of BinnedTrial
    units, areas : sequence of str, length n_units
    width : float
        Seconds per bin; rounded to whole microseconds.
    kinds : mapping of str to SignalKind
        Signal → what it is.
    window : Window
    notes : sequence of str

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
    )
    return replace(session, sha256=session_digest(session), notes=(*notes, *missing))


def _events(
    trials: Sequence[BinnedTrial], first: NDArray[Any], lengths: NDArray[Any], width: float
) -> tuple[dict[str, Floats], list[str]]:
    """Return the times of events on the session's clock, and words on those outside their trial."""
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
    """Make sure that a matrix holds counts; give them in the smallest type of whole numbers.

    Raises
    ------
    LayoutError
        Naming the first value that is none.
    """
    if counts.ndim != 2:
        raise LayoutError(f"{place} has the shape {counts.shape}; bins × units are expected.")
    wrong = ~(np.isfinite(counts) & (counts >= 0) & (counts == np.rint(counts)))
    if wrong.any():
        at = np.argwhere(wrong)[0]
        raise LayoutError(
            f"{place} holds {counts[tuple(at)]:g} in bin {at[0] + 1} of unit {at[1] + 1}, which is no count "
            "of spikes; convert the file as it was before smoothing or scaling."
        )
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def check_width(width: float, place: str) -> float:
    """Make sure that a bin is as wide as bins of spikes are.

    Raises
    ------
    LayoutError
        If it is not.
    """
    if not NARROWEST_S <= width <= WIDEST_S:
        raise LayoutError(
            f"{place} gives bins of {width:g} s; {NARROWEST_S:g} to {WIDEST_S:g} s are expected."
        )
    return width

"""Convert sessions in MATLAB's TrialData convention: a struct array with one element per trial.

``M1_spikes`` and similar fields are counts (bins × units), ``pos``, ``vel`` and similar behaviour in the same
bins, ``bin_size`` the width of a bin in seconds, and each ``idx_…`` the bin of an event, counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.bodies import macaque_arm
from neurobench_grasp.contract import DEFAULT_BODY, Endpoint, Window
from neurobench_grasp.data.converters.arm_model import arm_signals
from neurobench_grasp.data.converters.binned import (
    NOMINAL_DATE,
    BinnedTrial,
    Converted,
    SignalKind,
    check_counts,
    check_width,
    lay_end_to_end,
)
from neurobench_grasp.data.converters.matlab import MatFile, open_mat
from neurobench_grasp.data.converters.matvalues import Cells, MatValue, Struct, numbers, texts
from neurobench_grasp.data.labels import number_label, text_label
from neurobench_grasp.errors import LayoutError

SPIKES, EVENT, GUIDE = "_spikes", "idx_", "_unit_guide"

EVENTS = {
    "idx_trial_start": "trial_start",
    "idx_startTime": "trial_start",
    "idx_target_on": "target_on",
    "idx_tgtOnTime": "target_on",
    "idx_go_cue": "go_cue",
    "idx_goCueTime": "go_cue",
    "idx_movement_on": "move_onset",
    "idx_trial_end": "trial_end",
    "idx_endTime": "trial_end",
}
"""Fields with a standard event name; others keep theirs, without ``idx_``."""

STARTS = ("idx_movement_on", "idx_go_cue", "idx_goCueTime")
STOPS = ("idx_trial_end", "idx_endTime")
"""Candidate fields for begin and end of the scored window; the first that exists is used."""

BEHAVIOUR = {
    "pos": ("position", ("x", "y", "z")),
    "vel": ("velocity", ("vx", "vy", "vz")),
    "acc": ("other", ("ax", "ay", "az")),
    "force": ("force", ()),
    "emg": ("emg", ()),
    "markers": ("position", ()),
    "opensim": ("other", ()),
    "joint_ang": ("other", ()),
    "joint_vel": ("velocity", ()),
    "muscle_len": ("other", ()),
    "muscle_vel": ("velocity", ()),
}
"""Behavioural fields → role and column names; other fields, which may be neural, are used on request only."""

NAMES = {
    "markers": ("marker_names",),
    "joint_ang": ("joint_ang_names", "joint_names"),
    "joint_vel": ("joint_vel_names", "joint_names"),
    "muscle_len": ("muscle_len_names", "muscle_names"),
    "muscle_vel": ("muscle_vel_names", "muscle_names"),
}
"""Fields that may have the column names of another, if it is not ``<field>_names``."""

ANGLES = ("target_direction", "tgtDir")
"""Fields used as condition by default: directions, in degrees if above 2 pi."""

HAND, ARM = "pos", "planar_arm"
"""Field with the position of the hand, and the body whose posture follows from it."""

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Units of a position, m; files of this convention state none."""

REACHES = (0.02, 0.6)
"""Least and largest width of a workspace of reaches, m: positions that span it in cm are taken as cm."""

TOLERANCE = 1e-6

REWARDED = "R"
DATES = ("%m-%d-%Y", "%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%Y%m%d", "%d-%b-%Y")

UNVERIFIED = (
    "no file of this convention was available; the fields are those that its published tools read",
    "idx_ fields are assumed to count bins from 1, and an event to be at the start of its bin",
    "behaviour is placed at the centres of the bins; its units are not known",
)


@dataclass(frozen=True)
class Options:
    """User options for a file that does not follow the defaults.

    Parameters
    ----------
    variable : str, optional
        The struct array; by default the only one that has spikes.
    condition : str, optional
        Field with the condition; by default the direction of the target.
    start, stop : str, optional
        Fields ``idx_…`` at which the scored window begins and ends.
    signals : tuple of str
        Behavioural fields in addition to the usual ones.
    licence : str
    position_unit : str, optional
        Unit of ``pos`` (``m``, ``cm`` or ``mm``), or ``none`` if it is not the position of a hand. By default
        ``cm``, as the convention's authors use, if positions then span what an arm reaches.
    """

    variable: str | None = None
    condition: str | None = None
    start: str | None = None
    stop: str | None = None
    signals: tuple[str, ...] = ()
    licence: str = ""
    position_unit: str | None = None


def convert(path: Path, options: Options) -> Converted:
    """Convert one file.

    Parameters
    ----------
    path : path
        A MATLAB file, v5 to v7.3.
    options : Options

    Returns
    -------
    Converted

    Raises
    ------
    NgbError
        States the field that is missing or invalid, and the existing ones.
    """
    with open_mat(path) as mat:
        table = _TrialFields(_trial_data(mat, options.variable))
        session_date, undated = table.date()
        areas = table.ending(SPIKES)
        chosen, notes = table.chosen(options.condition)
        spikes = {a: [table.counts(a + SPIKES, i) for i in chosen] for a in areas}
        lengths = table.lengths(spikes, chosen)
        kinds, behaviour, left_out = table.behaviour(options.signals, chosen, lengths)
        events, several = table.events(chosen)
        width = table.bin_size(chosen)
        ids, conditions = table.ids(chosen), table.conditions(options.condition, chosen)
        units = {a: table.units(a, spikes[a][0].shape[1]) for a in areas}
        window = table.window(options.start, options.stop)
        subject = table.word("monkey") or "unknown"
    endpoint, assumed = _endpoint(kinds, behaviour, options.position_unit)
    body = DEFAULT_BODY if endpoint is None else ARM
    kinds, behaviour, angles = arm_signals(kinds, behaviour)
    if angles:
        body, endpoint, assumed = macaque_arm.NAME, None, [angles]
    trials = [
        BinnedTrial(
            id=ids[k],
            condition=str(conditions[k]),
            counts=np.hstack([spikes[a][k] for a in areas]),
            events={name: (bins[k] - 1) * width for name, bins in events.items()},
            signals={name: values[k] for name, values in behaviour.items()},
        )
        for k in range(len(chosen))
    ]
    session = lay_end_to_end(
        id=path.stem,
        subject=subject,
        trials=trials,
        units=[name for names in units.values() for name in names],
        areas=[area for area, names in units.items() for _ in names],
        width=width,
        kinds=kinds,
        window=window,
        notes=(*notes, *several, *left_out, *undated),
        body=body,
        joint_map={joint: (joint, 1.0, 0.0) for joint in macaque_arm.JOINTS} if angles else {},
        endpoint=endpoint,
    )
    return Converted(
        session,
        (*UNVERIFIED, *assumed),
        f"converted from {path.name} (TrialData convention); unverified",
        options.licence,
        session_date,
    )


def _endpoint(
    kinds: Mapping[str, SignalKind], behaviour: Mapping[str, list[NDArray[Any]]], unit: str | None
) -> tuple[Endpoint | None, list[str]]:
    """Return where the hand was recorded, and what is assumed about it."""
    if unit is not None and unit not in (*METRES, "none"):
        raise LayoutError(f"{unit!r} is no unit of a position; use {', '.join(METRES)} or none.")
    if unit == "none" or HAND not in kinds or len(kinds[HAND].columns) < 2:
        return None, []
    values = np.concatenate(behaviour[HAND])[:, :2]
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) == 0:
        return None, []
    low, high = np.percentile(values, (2.5, 97.5), axis=0)
    width = METRES[unit or "cm"] * float(np.max(high - low))
    if unit is None and not REACHES[0] <= width <= REACHES[1]:
        return None, [
            f"no posture of an arm follows from {HAND}, because its unit is not known and positions in cm "
            f"would span {100 * width:.3g} cm; state the unit with --position-unit"
        ]
    assumed = f"{HAND} is taken as the position of a right hand in {unit or 'cm'}, to the right and ahead"
    return Endpoint(HAND, kinds[HAND].columns[:2], METRES[unit or "cm"]), [assumed]


def _trial_data(mat: MatFile, variable: str | None) -> Struct:
    """Return the struct array of trials."""
    if variable is not None:
        value = mat.get(variable)
        if not isinstance(value, Struct) or not value.n:
            raise LayoutError(f"{mat.path.name}: {variable!r} is not a struct array.")
        return value
    values = {name: mat.get(name) for name in mat.variables}
    found = {
        name: value
        for name, value in values.items()
        if isinstance(value, Struct) and value.n and any(f.endswith(SPIKES) for f in value.fields)
    }
    if len(found) != 1:
        which = "none" if not found else f"{len(found)} ({', '.join(found)})"
        fields = {f for v in values.values() if isinstance(v, Struct) for f in v.fields}
        fields_there = f" with the fields {_some(sorted(fields))}" if fields else ""
        raise LayoutError(
            f"{mat.path.name} must contain one struct array with a field like M1{SPIKES}, but has {which}; "
            f"its variables are {', '.join(values) or 'none'}{fields_there}; "
            "select one with --variable."
        )
    return next(iter(found.values()))


class _TrialFields:
    """Columns of a struct array of trials; messages name field and trial."""

    def __init__(self, data: Struct) -> None:
        self.data = data
        self.fields = data.fields

    def place(self, field: str, trial: int | None = None) -> str:
        where = "" if trial is None else f" of trial {trial + 1}"
        return f"{self.data.place}, field {field!r}{where},"

    def ending(self, end: str) -> list[str]:
        """Return the prefixes of the fields with a given ending."""
        return [f.removesuffix(end) for f in self.fields if f.endswith(end) and f != end]

    def number(self, field: str, trial: int) -> float:
        """Read one number, NaN if missing."""
        values = numbers(self.data.get(field, trial), self.place(field, trial))
        return float(values[0]) if values.size else np.nan

    def word(self, field: str, trial: int = 0) -> str:
        """Read a text, empty if missing."""
        found = texts(self.data.get(field, trial)) if field in self.fields else ()
        return found[0].strip() if found else ""

    # -- trials --------------------------------------------------------------------------------------

    def chosen(self, condition: str | None) -> tuple[list[int], list[str]]:
        """Return the trials to keep, rewarded and with a condition, and notes on the others."""
        every = range(self.data.n)
        kept, notes = list(every), []
        if "result" in self.fields:
            kept = [i for i in every if self.word("result", i) == REWARDED]
            if len(kept) < self.data.n:
                notes.append(
                    f"{self.data.n - len(kept)} of {self.data.n} trials were not rewarded and left out"
                )
        labelled = [i for i, c in zip(kept, self.conditions(condition, kept), strict=True) if c is not None]
        if len(labelled) < len(kept):
            notes.append(
                f"{len(kept) - len(labelled)} of {self.data.n} trials have no condition and were left out"
            )
        if not labelled:
            raise LayoutError(f"{self.data.place} has no rewarded trial with a condition.")
        return labelled, notes

    def conditions(self, field: str | None, chosen: Sequence[int]) -> list[str | None]:
        """Return the condition of each trial; directions in whole degrees."""
        wanted = field or next((f for f in ANGLES if f in self.fields), None)
        if wanted is None:
            raise LayoutError(
                f"{self.data.place} has neither {' nor '.join(map(repr, ANGLES))}; name the field with "
                f"the condition with --condition; it has {_some(self.fields)}."
            )
        values = [self.data.get(wanted, i) for i in chosen]
        if all(isinstance(v, str) for v in values):
            return [text_label(v) or None for v in values if isinstance(v, str)]
        numbers = np.array([self.number(wanted, i) for i in chosen])
        if wanted not in ANGLES:
            return [number_label(x) or None for x in numbers]
        in_radians = not np.any(np.abs(numbers) > 2 * np.pi + TOLERANCE)
        degrees = np.rad2deg(numbers) if in_radians else numbers
        return [number_label(x, decimals=0, angle=True) or None for x in degrees]

    def ids(self, chosen: Sequence[int]) -> list[str]:
        """Return the names of trials: their ``trial_id``, or if these repeat, their index in the file."""
        if "trial_id" in self.fields:
            names = [number_label(self.number("trial_id", i)) or str(i + 1) for i in chosen]
            if len(set(names)) == len(names):
                return names
        return [str(i + 1) for i in chosen]

    def date(self) -> tuple[datetime, list[str]]:
        """Return the date of the recording, or a nominal date, and a note if it is in an unknown form."""
        stated = [word for word in (self.word(f) for f in ("date", "date_time")) if word]
        for word in stated:
            for form in DATES:
                try:
                    return datetime.strptime(re.split(r"[ T]", word)[0], form).replace(tzinfo=UTC), []
                except ValueError:
                    continue
        wanted = "month-day-year (03-13-2015), year-month-day (2015-03-13) and 13-Mar-2015 are known"
        return NOMINAL_DATE, [f"the date {word!r} is not read, because only {wanted}" for word in stated[:1]]

    def bin_size(self, chosen: Sequence[int]) -> float:
        """Return the width of a bin, s."""
        widths = {self.number("bin_size", i) for i in chosen}
        if len(widths) > 1:
            raise LayoutError(f"{self.place('bin_size')} differs between trials: {sorted(widths)}.")
        return check_width(widths.pop(), self.place("bin_size").rstrip(","))

    # -- units and behaviour -------------------------------------------------------------------------

    def counts(self, field: str, trial: int) -> NDArray[Any]:
        """Read the counts of one area in one trial."""
        return check_counts(self.matrix(field, trial), self.place(field, trial))

    def matrix(self, field: str, trial: int) -> NDArray[Any]:
        value = self.data.get(field, trial)
        if not isinstance(value, np.ndarray) or value.ndim != 2:
            raise LayoutError(f"{self.place(field, trial)} is not a matrix of numbers.")
        return value

    def lengths(self, spikes: dict[str, list[NDArray[Any]]], chosen: Sequence[int]) -> list[int]:
        """Return the number of bins of each trial; raise if areas, or units between trials, disagree."""
        first, lengths = next(iter(spikes)), [len(c) for c in next(iter(spikes.values()))]
        for area, counts in spikes.items():
            for i, n, matrix in zip(chosen, lengths, counts, strict=True):
                if len(matrix) != n or n == 0:
                    raise LayoutError(
                        f"{self.place(area + SPIKES, i)} has {len(matrix)} bins, and {first + SPIKES!r} {n}."
                    )
                if matrix.shape[1] != counts[0].shape[1]:
                    raise LayoutError(
                        f"{self.place(area + SPIKES, i)} has {matrix.shape[1]} units, but the first trial "
                        f"{counts[0].shape[1]}; keep the units common to all trials (getCommonUnits)."
                    )
        return lengths

    def units(self, area: str, n: int) -> list[str]:
        """Return the names of an area's units: channel and number from the unit guide, or else the index."""
        guide = self.data.get(area + GUIDE) if area + GUIDE in self.fields else None
        if isinstance(guide, np.ndarray) and guide.shape == (n, 2):
            names = [f"{area} {channel:g}.{unit:g}" for channel, unit in guide]
            if len(set(names)) == n:
                return names
        return [f"{area} {i + 1}" for i in range(n)]

    def behaviour(
        self, more: Sequence[str], chosen: Sequence[int], lengths: Sequence[int]
    ) -> tuple[dict[str, SignalKind], dict[str, list[NDArray[Any]]], list[str]]:
        """Read behavioural fields that have one row per bin, and notes on the others."""
        kinds, found, notes = {}, {}, []
        for field in (*(f for f in BEHAVIOUR if f in self.fields), *more):
            values = [self.matrix(field, i) for i in chosen]
            width = values[0].shape[1]
            fits = all(v.shape == (n, width) for v, n in zip(values, lengths, strict=True))
            if fits and width:
                role, _ = BEHAVIOUR.get(field, ("other", ()))
                kinds[field] = SignalKind(role, self.columns(field, width))
                found[field] = values
            elif field in more:
                raise LayoutError(f"{self.place(field)} does not have one row per bin in every trial.")
            else:
                notes.append(f"{field} does not have one row per bin in every trial, and was left out")
        return kinds, found, notes

    def columns(self, field: str, n: int) -> tuple[str, ...]:
        """Return the names of a signal's columns."""
        named = next((f for f in NAMES.get(field, (f"{field}_names",)) if f in self.fields), None)
        value: MatValue = self.data.get(named) if named else Cells("", 0, lambda i: "")
        alternatives = texts(value)
        usual = BEHAVIOUR.get(field, ("", ()))[1]
        for names in (alternatives, usual[:n]):
            if len(names) == n and len(set(names)) == n and all(names):
                return tuple(names)
        return tuple(f"{field}_{i + 1}" for i in range(n))

    # -- events --------------------------------------------------------------------------------------

    def event_names(self) -> dict[str, str]:
        """Return the name of each field's event; of two with one name the second keeps its field name."""
        names: dict[str, str] = {}
        for field in (f for f in self.fields if f.startswith(EVENT) and f != EVENT):
            own = field.removeprefix(EVENT)
            name = EVENTS.get(field, own)
            name = own if name in names.values() else name
            names[field] = f"event_{name}" if name in ("start", "stop") else name
        return names

    def events(self, chosen: Sequence[int]) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
        """Return the bin of each event, counted from 1, NaN if missing, and notes on ambiguous ones."""
        found: dict[str, NDArray[np.float64]] = {}
        notes = []
        for field, name in self.event_names().items():
            values = [numbers(self.data.get(field, i), self.place(field, i)) for i in chosen]
            several = sum(v.size > 1 for v in values)
            if several:
                notes.append(f"{field} names several bins in {several} trials, of which the first is used")
            bins = np.array([v[0] if v.size else np.nan for v in values])
            wrong = np.flatnonzero(np.isfinite(bins) & (bins != np.rint(bins)))
            if len(wrong):
                first = wrong[0]
                raise LayoutError(
                    f"{self.place(field, chosen[first])} is {bins[first]:g}, which is not a bin number."
                )
            found[name] = bins
        return found, notes

    def window(self, start: str | None, stop: str | None) -> Window:
        """Return the scored window, from the requested fields or the defaults."""
        return Window(
            self.end(start, STARTS, "--start-event"),
            self.end(stop, STOPS, "--stop-event"),
            contiguous="trial",
        )

    def end(self, asked: str | None, usual: Sequence[str], option: str) -> str:
        """Return the event at one end of the window."""
        fields = [f"{EVENT}{asked.removeprefix(EVENT)}"] if asked else usual
        names = self.event_names()
        found = next((names[f] for f in fields if f in names), None)
        if found is None:
            raise LayoutError(
                f"{self.data.place} has no field {' or '.join(map(repr, fields))}; name the event with "
                f"{option}; it has {_some(tuple(names))}."
            )
        return found


def _some(names: Sequence[str]) -> str:
    return (", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")) or "none"

"""Recordings and what is computed from them: sessions, trials, activations, movements.

Dimension names (``n_trials``, ``n_steps``, ``n_units`` …) are in the glossary of CONTRIBUTING.md.
Arrays are read-only once they are inside one of these classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.errors import NgbError
from neurobench_grasp.text import is_line

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
DEFAULT_BODY = "myohand"
"""Body of sessions, layouts and networks that name none."""
TARGET_ROLES = ("emg",)
"""Roles of signals that models are to explain, and therefore never receive."""
MUSCLE_LAYER = "muscle_activation"
"""Layer in which a model that moves no body has the activation, 0 … 1, of the body's muscles, in order."""
LOOK_AHEAD_S = 0.2
"""Seconds of later behaviour that activations at a step may depend on: a controller receives its goal."""


def _freeze(instance: object) -> None:
    """Make every array of a dataclass read-only, so that no stage can edit another's data."""
    for value in vars(instance).values():
        for item in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(item, np.ndarray):
                item.setflags(write=False)


@dataclass(frozen=True)
class Ragged:
    """Trials of unequal length, stored end to end.

    Parameters
    ----------
    values : ndarray, shape (n_total_steps, n_features)
        The steps of all trials, one trial after the other.
    offsets : ndarray of int64, shape (n_trials + 1,)
        Trial ``i`` is rows ``offsets[i]:offsets[i + 1]``.

    Raises
    ------
    NgbError
        If the offsets do not cover the rows exactly.
    """

    values: NDArray[Any]
    offsets: Ints

    def __post_init__(self) -> None:
        o = self.offsets
        if o.ndim != 1 or len(o) == 0 or o[0] != 0 or o[-1] != len(self.values) or np.any(np.diff(o) < 0):
            raise NgbError(
                f"Ragged offsets must rise from 0 to the number of rows ({len(self.values)}); "
                f"got {o[:3].tolist()} … {o[-1:].tolist()}."
            )
        _freeze(self)

    @classmethod
    def of(cls, trials: Sequence[NDArray[Any]]) -> Ragged:
        """Join arrays of shape (n_steps, n_features), one per trial."""
        lengths = [len(t) for t in trials]
        values = np.concatenate(list(trials)) if trials else np.empty((0, 0))
        return cls(values, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64))

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Ragged:
        """Trials of several ragged arrays, one array after the other."""
        return cls.of([trial for part in parts for trial in part])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, trial: int) -> NDArray[Any]:
        if not -len(self) <= trial < len(self):
            raise IndexError(trial)
        trial %= len(self)
        return self.values[self.offsets[trial] : self.offsets[trial + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    @property
    def lengths(self) -> Ints:
        """Steps of each trial, shape (n_trials,)."""
        return np.diff(self.offsets)

    def select(self, trials: Sequence[int] | Ints) -> Ragged:
        """Take the given trials, in the given order."""
        if len(trials) == 0:
            return Ragged(self.values[:0], np.zeros(1, np.int64))
        return Ragged.of([self[int(i)] for i in trials])

    def part(self, trials: Sequence[int] | Ints, features: Ints) -> Ragged:
        """Take some trials and some features; the whole is not copied."""
        if np.array_equal(trials, np.arange(len(self))):
            return Ragged(_columns(self.values, features), self.offsets)
        if len(trials) == 0:
            return Ragged(_columns(self.values[:0], features), np.zeros(1, np.int64))
        return Ragged.of([_columns(self[int(i)], features) for i in trials])

    def astype(self, dtype: Any) -> Ragged:
        """Return the same numbers in another type."""
        return Ragged(self.values.astype(dtype), self.offsets)

    def at(self, steps: Ints, features: Ints) -> NDArray[Any]:
        """Return some steps of some features, (n_steps, n_features)."""
        return _columns(self.values[steps], features)

    def cut(self, first: Ints, stop: Ints) -> Ragged:
        """Take the steps ``first`` … ``stop`` − 1 of each trial."""
        return Ragged.of([trial[a:z] for trial, a, z in zip(self, first, stop, strict=True)])


def _columns(values: NDArray[Any], columns: Ints) -> NDArray[Any]:
    """Take some columns, row after row in memory, which brackets do not promise; all of them are no copy."""
    whole = np.array_equal(columns, np.arange(values.shape[1]))
    return values if whole else np.take(values, columns, axis=1)


@dataclass(frozen=True)
class Signal:
    """One recorded behavioural signal on the session's clock.

    Parameters
    ----------
    name : str
    role : str
        ``joint_angle``, ``position``, ``velocity``, ``emg``, ``force`` or ``other``.
    columns : tuple of str, length n_columns
    unit : str
        Unit of ``values`` after the layout's conversion; joint angles are always ``rad``.
    times : ndarray, shape (n_samples,)
        Seconds on the session's clock, strictly increasing, at the instant a sample stands for
        (for binned signals the centre of the bin).
    values : ndarray, shape (n_samples, n_columns)
    """

    name: str
    role: str
    columns: tuple[str, ...]
    unit: str
    times: Floats
    values: Floats

    def __post_init__(self) -> None:
        _freeze(self)


@dataclass(frozen=True)
class Units:
    """The recorded units: spike times, or counts in bins that the file already made.

    Parameters
    ----------
    ids : tuple of str, length n_units
    areas : tuple of str, length n_units
        Cortical area of each unit (``M1``, ``S1`` …), ``unknown`` if the file does not state it.
    spike_times : ndarray, shape (n_spikes,), optional
        Seconds, unit after unit, ascending within a unit.
    spike_offsets : ndarray of int64, shape (n_units + 1,), optional
        Unit ``u`` fired at ``spike_times[spike_offsets[u]:spike_offsets[u + 1]]``.
    counts : ndarray, shape (n_bins, n_units), optional
    count_times : ndarray, shape (n_bins,), optional
        Start of each bin in seconds.
    bin_width : float, optional
        Seconds; given exactly when ``counts`` is.
    observed : Ragged, optional
        Per unit, shape (n_intervals, 2): when the unit was observed, seconds. ``None``: always.
    """

    ids: tuple[str, ...]
    areas: tuple[str, ...]
    spike_times: Floats | None = None
    spike_offsets: Ints | None = None
    counts: NDArray[Any] | None = None
    count_times: Floats | None = None
    bin_width: float | None = None
    observed: Ragged | None = None

    def __post_init__(self) -> None:
        _freeze(self)

    def __len__(self) -> int:
        return len(self.ids)

    def train(self, unit: int) -> Floats:
        """Return the spike times of one unit, (n_spikes,) in s; none where counts are stored."""
        if self.spike_times is None or self.spike_offsets is None:
            return np.empty(0)
        return self.spike_times[self.spike_offsets[unit] : self.spike_offsets[unit + 1]]

    def select(self, units: Sequence[int] | Ints) -> Units:
        """Take the given units, in the given order."""
        index = np.asarray(units, dtype=np.int64)
        trains = [self.train(int(u)) for u in index]
        with_times = self.spike_times is not None
        return replace(
            self,
            ids=tuple(self.ids[u] for u in index),
            areas=tuple(self.areas[u] for u in index),
            spike_times=np.concatenate([np.empty(0), *trains]) if with_times else None,
            spike_offsets=np.cumsum([0, *map(len, trains)], dtype=np.int64) if with_times else None,
            counts=None if self.counts is None else self.counts[:, index],
            observed=None if self.observed is None else self.observed.select(index),
        )


@dataclass(frozen=True)
class TrialTable:
    """The trials of one session as the file states them.

    Parameters
    ----------
    ids : tuple of str, length n_trials
        Unique within the session.
    start, stop : ndarray, shape (n_trials,)
        Seconds.
    condition : tuple of str, length n_trials
        Label of the condition (object, target direction …).
    events : mapping of str to ndarray, shape (n_trials,)
        Event times in seconds, NaN where a trial lacks the event.
    group : tuple of str, length n_trials or 0
        Trials of one group stay together when trials are split; those with an empty name, and all where
        this is empty, are on their own.
    """

    ids: tuple[str, ...]
    start: Floats
    stop: Floats
    condition: tuple[str, ...]
    events: Mapping[str, Floats]
    group: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _freeze(self)

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Sequence[int] | Ints) -> TrialTable:
        """Take the given trials, in the given order; one may be named several times."""
        index = np.asarray(rows, dtype=np.int64)
        return TrialTable(
            ids=tuple(self.ids[i] for i in index),
            start=self.start[index],
            stop=self.stop[index],
            condition=tuple(self.condition[i] for i in index),
            events={e: t[index] for e, t in self.events.items()},
            group=tuple(self.group[i] for i in index) if self.group else (),
        )


@dataclass(frozen=True)
class Window:
    """Which part of a trial is scored, and how far around it a model may look.

    Parameters
    ----------
    start_event, stop_event : str
        Names among the trial table's events.
    start_offset, stop_offset : float
        Seconds added to the event's time.
    pad_before, pad_after : float
        Seconds of behaviour that a model receives around the window.
    max_lag : float
        Seconds; the latency grid runs from ``-max_lag`` to ``+max_lag``.
    signal_lags : tuple of float
        Seconds before (negative) and after the step that a linear model of recorded signals uses.
    contiguous : str
        ``recording``: the file is one unbroken stretch (apart from ``observed``);
        ``trial``: only the inside of a trial is unbroken, even where trials abut.
    """

    start_event: str
    stop_event: str
    start_offset: float = 0.0
    stop_offset: float = 0.0
    pad_before: float = 0.5
    pad_after: float = 0.5
    max_lag: float = 0.2
    signal_lags: tuple[float, float] = (-0.1, 0.2)
    contiguous: str = "recording"


HELD = "held"
"""In place of a column: the endpoint stays where it is in the body's neutral posture, along this axis."""


@dataclass(frozen=True)
class Endpoint:
    """Where a body's endpoint was recorded; postures follow from it by inverse kinematics.

    Parameters
    ----------
    signal : str
        Name of a recorded signal.
    axes : tuple of str
        For each axis of the body's endpoint, the column that was recorded along it, after ``-`` where it
        points the other way; :data:`HELD` where none was, as for a hand that moved in a plane.
    scale : float
        Metres per unit of the signal.
    origin : tuple of float, optional
        Where the recorded zero is in the body's frame, m. Default: such that the middle of the recorded
        positions is where the body's neutral posture has its endpoint.
    turn : tuple of tuple of float, optional
        Matrix, one row for each axis of the body, that turns the recorded axes into the body's.
    aligned_by : str
        ``emg``: the turn is not stated, but fitted on the training trials of each fold, such that recorded
        muscles are active in the directions in which the body's muscles pull.
    keypoints : mapping of str to tuple of str
        Further keypoints of the body that the signal contains, such as its elbow → their columns, like
        ``axes`` and in the same units, directions and origin.
    """

    signal: str
    axes: tuple[str, ...]
    scale: float
    origin: tuple[float, ...] | None = None
    turn: tuple[tuple[float, ...], ...] | None = None
    aligned_by: str = ""
    keypoints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the signal, axis by axis, without axes that were not recorded."""
        every = (*self.axes, *chain.from_iterable(self.keypoints.values()))
        return tuple(axis.removeprefix("-") for axis in every if axis != HELD)

    def in_metres(self, values: Floats, columns: Sequence[str]) -> Floats:
        """Turn rows of the signal along the body's axes, in m and without the origin.

        Of the endpoint and then of each further keypoint, (n_rows, (1 + n_keypoints) · n_axes).
        """
        points = []
        for axes in (self.axes, *self.keypoints.values()):
            chosen = np.zeros((len(values), len(axes)))
            for k, axis in enumerate(axes):
                if axis != HELD:
                    sign = -1.0 if axis.startswith("-") else 1.0
                    chosen[:, k] = self.scale * sign * values[:, columns.index(axis.removeprefix("-"))]
            points.append(chosen if self.turn is None else chosen @ np.array(self.turn).T)
        return np.hstack(points)

    def to_json(self) -> dict[str, Any]:
        """Return the fields; those that are younger than files with an endpoint only where they are given."""
        younger: dict[str, Any] = {"turn": None, "aligned_by": "", "keypoints": {}}
        return {k: v for k, v in asdict(self).items() if k not in younger or v != younger[k]}


@dataclass(frozen=True)
class Session:
    """One recording session, wholly in memory.

    Parameters
    ----------
    id, subject : str
        One line of text each, without control characters.
    layout : str
        Name and version of the layout it was read by.
    sha256 : str
        Digest of the canonical content (:func:`neurobench_grasp.data.session_digest`).
    synthetic : bool
        True when a generator made the spikes.
    units : Units
    trials : TrialTable
    signals : mapping of str to Signal
    window : Window
    joint_map : mapping of str to tuple
        Column of the joint-angle signal → (joint of the body, sign, offset in rad).
    true_rates : Signal, optional
        The generator's rates in spikes/s, one column per unit, where the dataset knows them.
    notes : tuple of str
        What the reader changed or left out, one sentence each.
    body : str
        Name of the body whose joints the joint angles are mapped to.
    endpoint : Endpoint, optional
        What the joint angles follow from, where none were recorded.
    muscle_map : mapping of str to tuple of str
        Column of the EMG → muscles of the body that it recorded, one or more.

    Raises
    ------
    NgbError
        If id or subject is something else.
    """

    id: str
    subject: str
    layout: str
    sha256: str
    synthetic: bool
    units: Units
    trials: TrialTable
    signals: Mapping[str, Signal]
    window: Window
    joint_map: Mapping[str, tuple[str, float, float]] = field(default_factory=dict)
    true_rates: Signal | None = None
    notes: tuple[str, ...] = ()
    body: str = DEFAULT_BODY
    endpoint: Endpoint | None = None
    muscle_map: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, name in (("id", self.id), ("subject", self.subject)):
            if not isinstance(name, str) or not name.strip() or not is_line(name):
                raise NgbError(
                    f"The {what} of a session must be one line of text without control characters, not "
                    f"{name!a:.80}; write it again under another name."
                )

    @property
    def inputs(self) -> dict[str, Signal]:
        """Signals that a model may see: all except EMG, which models are to explain."""
        return {name: signal for name, signal in self.signals.items() if signal.role not in TARGET_ROLES}


@dataclass(frozen=True)
class Trials:
    """The behaviour of some trials: everything a model receives; never neural data.

    Parameters
    ----------
    sessions : tuple of str, length n_trials
        Session that each trial comes from.
    ids : tuple of str, length n_trials
    condition : tuple of str, length n_trials
    dt : float
        Seconds per step.
    window : ndarray of int64, shape (n_trials, 2)
        First step of the scored window and the step after its last, within the trial's own steps;
        what lies outside is padding.
    offsets : ndarray of int64, shape (n_trials + 1,)
        Steps of the trials end to end; activations must have exactly these.
    signals : mapping of str to Ragged
        Recorded signals, each (trial, step, n_columns), sampled at the centre of the step; no EMG,
        which models are to explain (:attr:`Session.inputs`).
    joint_angles : Ragged, optional
        (trial, step, n_joints) in rad, in the order of the body's joints and within its limits.
    events : mapping of str to ndarray, shape (n_trials,)
        Seconds after the start of the window; NaN where missing.
    signal_lags : tuple of float
        See :class:`Window`.
    body : str, optional
        Name of the body of the joint angles; ``None`` without joint angles.
    roles : mapping of str to str
        Role of each signal (:class:`Signal`), where it is known.
    inferred_from : str
        Signal that the joint angles follow from by inverse kinematics; empty where they were recorded.
    """

    sessions: tuple[str, ...]
    ids: tuple[str, ...]
    condition: tuple[str, ...]
    dt: float
    window: Ints
    offsets: Ints
    signals: Mapping[str, Ragged]
    joint_angles: Ragged | None
    events: Mapping[str, Floats]
    signal_lags: tuple[float, float] = (-0.1, 0.2)
    body: str | None = DEFAULT_BODY
    roles: Mapping[str, str] = field(default_factory=dict)
    inferred_from: str = ""

    def __post_init__(self) -> None:
        if self.joint_angles is None:
            object.__setattr__(self, "body", None)
            object.__setattr__(self, "inferred_from", "")
        _freeze(self)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def sha256(self) -> str:
        """Digest of all that a model is given, the same on every machine.

        Signals count to six decimals: interpolation differs between machines in its last bits.
        """
        labels = {
            "trials": [self.sessions, self.ids, self.condition],
            "dt": self.dt,
            "window": self.window.tolist(),
            "offsets": self.offsets.tolist(),
            "lags": self.signal_lags,
            "signals": list(self.signals),
        }
        if self.body not in (None, DEFAULT_BODY):  # digests of the first body are older than this field
            labels["body"] = self.body
        if self.inferred_from:
            labels["inferred_from"] = self.inferred_from
        digest = hashlib.sha256(json.dumps(labels, sort_keys=True).encode())
        for ragged in (*self.signals.values(), self.joint_angles):
            if ragged is not None:
                rounded = np.round(np.asarray(ragged.values, np.float64), 6) + 0.0  # + 0.0: no -0.0
                digest.update(rounded.tobytes())
        return digest.hexdigest()

    def select(self, trials: Sequence[int] | Ints) -> Trials:
        """Take the given trials, in the given order."""
        index = np.asarray(trials, dtype=np.int64)
        return Trials(
            sessions=tuple(self.sessions[i] for i in index),
            ids=tuple(self.ids[i] for i in index),
            condition=tuple(self.condition[i] for i in index),
            dt=self.dt,
            window=self.window[index],
            offsets=np.concatenate([[0], np.cumsum(np.diff(self.offsets)[index])]).astype(np.int64),
            signals={k: v.select(index) for k, v in self.signals.items()},
            joint_angles=None if self.joint_angles is None else self.joint_angles.select(index),
            events={k: v[index] for k, v in self.events.items()},
            signal_lags=self.signal_lags,
            body=self.body,
            roles=self.roles,
            inferred_from=self.inferred_from,
        )

    def cut(self, first: Ints, stop: Ints) -> Trials:
        """Take the steps ``first`` … ``stop`` − 1 of each trial, which contain its window."""
        return replace(
            self,
            window=self.window - first[:, None],
            offsets=np.concatenate([[0], np.cumsum(stop - first)]).astype(np.int64),
            signals={k: v.cut(first, stop) for k, v in self.signals.items()},
            joint_angles=None if self.joint_angles is None else self.joint_angles.cut(first, stop),
        )

    @classmethod
    def join(cls, parts: Sequence[Trials]) -> Trials:
        """Trials of several sessions as one; signals that some session lacks are left out."""
        first = parts[0]
        if any(p.dt != first.dt for p in parts):
            raise NgbError(
                f"Sessions {', '.join(sorted({s for p in parts for s in p.sessions}))} have different "
                "bin widths and cannot be joined; score them as separate datasets."
            )
        angles = [p.joint_angles for p in parts]
        bodies = {p.body for p in parts if p.body is not None}
        if len(bodies) > 1:
            raise NgbError(
                f"The sessions have joint angles of different bodies ({', '.join(sorted(bodies))}) and "
                "cannot be joined; score them as separate datasets."
            )
        common = [k for k in first.signals if all(k in p.signals for p in parts)]
        events = [k for k in first.events if all(k in p.events for p in parts)]
        return cls(
            sessions=sum((p.sessions for p in parts), ()),
            ids=sum((p.ids for p in parts), ()),
            condition=sum((p.condition for p in parts), ()),
            dt=first.dt,
            window=np.concatenate([p.window for p in parts]),
            offsets=Ragged.join([Ragged(np.empty((p.offsets[-1], 0)), p.offsets) for p in parts]).offsets,
            signals={k: Ragged.join([p.signals[k] for p in parts]) for k in common},
            joint_angles=None if any(a is None for a in angles) else Ragged.join([a for a in angles if a]),
            events={k: np.concatenate([p.events[k] for p in parts]) for k in events},
            signal_lags=first.signal_lags,
            body=first.body,
            roles={k: role for k, role in first.roles.items() if k in common},
            inferred_from=next((p.inferred_from for p in parts if p.inferred_from), ""),
        )


@dataclass(frozen=True)
class Activations:
    """What a model computed from the trials.

    Parameters
    ----------
    layers : mapping of str to Ragged
        Layer name → (trial, step, n_features); every layer has exactly the steps of the trials.
    """

    layers: Mapping[str, Ragged]


@dataclass(frozen=True)
class Tracking:
    """What the simulated body did in closed loop.

    Parameters
    ----------
    joint_angles : Ragged
        (trial, step, n_joints), rad.
    keypoints : Ragged
        (trial, step, 3 · n_keypoints), metres in the body's frame.
    muscle_activation : Ragged, optional
        (trial, step, n_muscles), 0 … 1; ``None`` for a body without muscles.
    body : str, optional
        Name of the body that moved, if not that of the trials: the same joints and keypoints, other muscles.
    """

    joint_angles: Ragged
    keypoints: Ragged
    muscle_activation: Ragged | None = None
    body: str | None = None


@dataclass(frozen=True)
class Goal:
    """A signal that replaces the reference in closed loop.

    Parameters
    ----------
    kind : str
        ``joint_angles`` or ``embedding``.
    values : Ragged
        (trial, step, n_features): an embedding as of ``embed``, or the postures of the next steps side by
        side, up to 0.1 s ahead (five, in steps of 20 ms).
    """

    kind: str
    values: Ragged

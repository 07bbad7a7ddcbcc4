"""Layouts: where a file stores its units, trials and signals.

A layout is a YAML file (``nwb_schemas/*.yaml``); the classes here are its fields. How to write one:
see ``docs/layouts.md``.
"""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from neurobench_grasp.contract import DEFAULT_BODY, Endpoint, Window
from neurobench_grasp.data.labels import text_label
from neurobench_grasp.errors import CorruptFileError, LayoutError, NgbError, UnknownNameError, UnsafeFileError
from neurobench_grasp.formats import MOST_YAML, parse_yaml, read_plain
from neurobench_grasp.resources import resource

CHOICES = {
    "kind": ("spikes", "counts"),
    "bin_label": ("start", "center", "end"),
    "time_label": ("sample", "start", "end"),
    "container": ("timeseries", "behavioral_timeseries", "separate_timeseries"),
    "role": ("joint_angle", "position", "velocity", "emg", "force", "muscle_length", "other"),
    "overlap": ("error", "allow"),
    "contiguous": ("recording", "trial"),
    "aligned_by": ("emg",),
}
"""Fields with a fixed set of values."""

LONGEST_PATTERN, MOST_REPEATS, LONGEST_NAME = 100, 3, 100
"""Of the regular expression in ``subject``, and of the name that it is searched in."""
EXTENDED = ("trials", "window", "endpoint")
"""Fields whose own fields an extending layout replaces one by one."""
POSTURE = "partial_posture"
"""Name of the signal made by a layout's ``posture``."""


@dataclass(frozen=True)
class AreaSource:
    """Where the area of each unit is stored.

    Parameters
    ----------
    electrodes : str
        Column of the electrodes table, reached through the unit's electrodes (spikes), or one row per
        unit (counts).
    constant : str, optional
        The area of all units, where the file does not state it.
    names : mapping of str to str
        Name in the file → name of the area (``Primary motor cortex`` → ``M1``); others stay as they are.
    """

    electrodes: str = "location"
    constant: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KeepLayout:
    """What is used, trials or units: those whose ``column`` has one of ``values``, or none of ``without``."""

    column: str
    values: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def keeps(self, label: str) -> bool:
        """Return whether a label is one of those that are used."""
        named = label in {text_label(value) for value in self.values or self.without}
        return named == bool(self.values)

    @property
    def others(self) -> str:
        """What is left out, as text."""
        return f"not {' or '.join(self.values)}" if self.values else " or ".join(self.without)


@dataclass(frozen=True)
class UnitsLayout:
    """One way in which units may be stored.

    Parameters
    ----------
    kind : str
        ``spikes``: a units table with spike times; ``counts``: a TimeSeries (n_bins, n_units).
    paths : tuple of str
        Candidate paths; the first that exists is used.
    bin_label : str
        Whether a bin's time is its ``start``, ``center`` or ``end``.
    area : AreaSource
    ids : tuple of str
        Columns that may name the units, of the units table (spikes) or the electrodes table (counts);
        the first that exists is used.
    keep : KeepLayout, optional
        By a column of the same table, such as the ``quality`` that a spike sorter stated.
    """

    kind: str
    paths: tuple[str, ...]
    bin_label: str = "start"
    area: AreaSource = AreaSource()
    ids: tuple[str, ...] = ("id",)
    keep: KeepLayout | None = None


@dataclass(frozen=True)
class SignalLayout:
    """One recorded signal.

    Parameters
    ----------
    name : str
        Name in the session; ``*`` takes each name from the path's last part.
    role : str
        ``joint_angle``, ``position``, ``velocity``, ``emg``, ``force`` or ``other``; where the series'
        ``comments`` contain ``role=…``, that takes precedence.
    paths : tuple of str
        Candidate paths; the first that exists is used. A last part ``*`` matches every series there.
    container : str
        ``timeseries``; ``behavioral_timeseries``: a group with one series per column;
        ``separate_timeseries``: a folder of series, of which those in ``columns`` are used, one column each.
    columns : tuple of str
        Names of the columns; where empty, the table ``<series>_columns`` or ``comments="columns=[…]"``
        of the file names them.
    time_label : str
        Whether a sample's time is the instant (``sample``) or a bin's ``start`` or ``end``.
    unit : str, optional
        Unit of the numbers, where the file states none or a wrong one.
    rate : float, optional
        Samples per second, where the file states a wrong rate; ignored for series with timestamps.
    optional : bool
        Whether the layout still fits without it.
    """

    name: str
    role: str
    paths: tuple[str, ...]
    container: str = "timeseries"
    columns: tuple[str, ...] = ()
    time_label: str = "sample"
    unit: str | None = None
    rate: float | None = None
    optional: bool = False


@dataclass(frozen=True)
class DirectionLayout:
    """How to label trials by the direction of a movement, in sectors of equal width.

    The direction is that of the displacement of a recorded position between two events. Labels are the
    middles of the sectors in whole degrees, counter-clockwise from the first axis.

    Parameters
    ----------
    signal : str
        Name of one of the layout's signals, a position.
    axes : tuple of str
        The two columns that span the plane.
    start, stop : str, optional
        Events between which the signal is displaced; by default begin and end of the trial.
    sectors : int
        The first one has the direction 0 in its middle.
    least : float
        Smallest displacement that has a direction, as a fraction of the median over trials.
    """

    signal: str
    axes: tuple[str, str]
    start: str | None = None
    stop: str | None = None
    sectors: int = 8
    least: float = 0.25


@dataclass(frozen=True)
class ConditionLayout:
    """How a trial's condition is labelled: by one of the first four fields.

    Parameters
    ----------
    column : str, optional
        Several values of one trial are joined.
    columns : tuple of str
        Columns whose labels are joined.
    constant : str, optional
        The condition of all trials, if the file states none; no condition can then be held out.
    direction : DirectionLayout, optional
        The direction of the trial's movement.
    scale : float
        Factor for numeric labels (for example, rad to degrees).
    decimals : int, optional
        Decimals of numeric labels; ``None`` writes them in full.
    labels : mapping of str to mapping of str to str
        Column → what replaces its labels (``0`` → ``active``); a label that is not listed stays as it is.
    """

    column: str | None = None
    columns: tuple[str, ...] = ()
    constant: str | None = None
    direction: DirectionLayout | None = None
    scale: float = 1.0
    decimals: int | None = None
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that are read."""
        return (self.column,) if self.column is not None else self.columns


@dataclass(frozen=True)
class DetectLayout:
    """How to detect the movement of a trial in files that mark no events.

    Parameters
    ----------
    signal : str
        Name of the layout's signal whose speed is used.
    start, stop : str
        Names of the detected events: begin and end of the movement.
    cutoff : float
        Hz; the signal is low-pass filtered before it is differentiated.
    threshold : float
        Fraction of the trial's peak speed above which the hand moves.
    pause : float
        Seconds; shorter pauses belong to the movement.
    shortest : float
        Seconds; shorter movements are ignored.
    least_peak : float
        Minimum peak speed of a movement, in the signal's unit (rad for joint angles) per second.
    """

    signal: str
    start: str = "move_onset"
    stop: str = "move_stop"
    cutoff: float = 6.0
    threshold: float = 0.05
    pause: float = 0.2
    shortest: float = 0.3
    least_peak: float = 0.0


@dataclass(frozen=True)
class PostureLayout:
    """A column that drives several joints of the body: a partial posture.

    Parameters
    ----------
    signal, column : str
        One of the layout's signals, and one of its columns.
    joints : mapping of str to tuple of float
        Joint of the body → its angle in rad where the column is 0, and where it is 1; linear between.
    """

    signal: str
    column: str
    joints: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class TrialsLayout:
    """The trials table. A column may have alternative spellings, ``first|second``.

    Parameters
    ----------
    paths : tuple of str
        Candidate paths (``intervals/trials``, ``intervals/epochs``); the first that exists is used.
    condition : ConditionLayout
    events : mapping of str to str
        Event → column with its times in seconds; ``"*": "*_time"`` matches every such column.
    start, stop : str
        Columns of the trial's bounds.
    keep : tuple of KeepLayout
        Rules that all hold for the trials that are used; in the file a list, or one rule alone.
    overlap : str
        ``error``: overlapping trials are refused; ``allow``: they are part of the design.
    block : float, optional
        Seconds. For pseudo-trials that were cut from a continuous recording: those that start in the same
        block of it stay together when trials are split.
    detect : DetectLayout, optional
        Two more events, detected in a signal.
    cut_at : str, optional
        Column with several times in each row, such as the go cues of several reaches: each begins a trial,
        which ends at the next one or, the last, with the row.
    event_order : tuple of str
        Expected order of events; deviating trials are reported.
    ids : tuple of str
        Columns that may name the trials; the first that exists is used.
    """

    paths: tuple[str, ...]
    condition: ConditionLayout
    events: Mapping[str, str]
    start: str = "start_time"
    stop: str = "stop_time"
    keep: tuple[KeepLayout, ...] = ()
    detect: DetectLayout | None = None
    cut_at: str | None = None
    overlap: str = "error"
    block: float | None = None
    event_order: tuple[str, ...] = ()
    ids: tuple[str, ...] = ("id",)


@dataclass(frozen=True)
class Layout:
    """Where one kind of file stores what a session needs.

    Parameters
    ----------
    name : str
    version : int
    summary : str
    trials : TrialsLayout
    window : Window
    extends : str, optional
        Shipped layout whose fields hold where this one states none, such as one with another body
        for the same files. A layout that extends one is never chosen automatically.
    units : tuple of UnitsLayout
        Alternatives, in order; empty for recordings without neurons.
    units_optional : bool
        Whether the layout fits a file without units.
    signals : tuple of SignalLayout
    joint_map : mapping of str to tuple, optional
        Column of the joint angles → (joint of the body, sign, offset in rad); ``None`` maps each column to
        the joint of the same name.
    posture : tuple of PostureLayout
        Columns that drive several joints each.
    true_rates : str, optional
        Path of a TimeSeries with the generator's rates, for synthetic sessions.
    subject : str, optional
        Regular expression with one group, the animal's name within the file's subject_id; see
        :meth:`subject_in`.
    body : str
        Name of the body whose joints the joint angles are mapped to; ``ngb bodies`` lists them.
    endpoint : Endpoint, optional
        The signal from which the joint angles follow, where no joint of the body was recorded.
    muscle_map : mapping of str to tuple of str
        Column of the EMG → muscles of the body that it recorded.
    """

    name: str
    version: int
    summary: str
    trials: TrialsLayout
    window: Window
    extends: str | None = None
    units: tuple[UnitsLayout, ...] = ()
    units_optional: bool = False
    signals: tuple[SignalLayout, ...] = ()
    joint_map: Mapping[str, tuple[str, float, float]] | None = field(default_factory=dict)
    posture: tuple[PostureLayout, ...] = ()
    true_rates: str | None = None
    subject: str | None = None
    body: str = DEFAULT_BODY
    endpoint: Endpoint | None = None
    muscle_map: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def subject_in(self, name: str) -> str:
        """Return the animal's name within the file's ``subject_id``."""
        found = re.search(self.subject, name[:LONGEST_NAME]) if self.subject else None
        return (found[1] if found else None) or name


@cache
def _shipped() -> Mapping[str, Layout]:
    files = sorted(resource("nwb_schemas").glob("*.yaml"), key=lambda path: path.stem)
    found = [_from_file(path) for path in files]
    return {layout.name: layout for layout in found}


def layouts() -> dict[str, Layout]:
    """Return the layouts that ship with the package, by name."""
    return dict(_shipped())


def kinds_of_files() -> dict[str, Layout]:
    """Return the shipped layouts of which one is chosen for a file: those that extend no other."""
    return {name: layout for name, layout in _shipped().items() if layout.extends is None}


def extensions_of(name: str) -> tuple[str, ...]:
    """Return the names of the shipped layouts that extend one."""
    return tuple(other.name for other in _shipped().values() if other.extends == name)


def load_layout(name_or_path: str | Path) -> Layout:
    """Return a shipped layout by name, or read one from a YAML file.

    Parameters
    ----------
    name_or_path : str or path
        A name among :func:`layouts`, or a path ending in ``.yaml`` or ``.yml``.

    Returns
    -------
    Layout

    Raises
    ------
    UnknownNameError
        If no shipped layout has that name; the message suggests similar names.
    LayoutError
        If the file is not a layout; the message names the field.
    """
    if str(name_or_path) in _shipped():
        return _shipped()[str(name_or_path)]
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return _from_file(path)
    raise UnknownNameError(
        f"There is no layout {str(name_or_path)!r}{_suggest(str(name_or_path), _shipped())}; "
        f"the shipped ones are {', '.join(_shipped())}, your own is named by a path ending in .yaml."
    )


def scored_by_protocol(posture: str, encoding: str) -> dict[str, str]:
    """Return protocol → ``yes``, or why not; what has no units or no posture is not decoded either.

    Parameters
    ----------
    posture : str
        As of :func:`posture_source`.
    encoding : str
        ``yes``, or why not.
    """
    decoding = posture.partition(":")[0] if encoding == "yes" or not posture.startswith("yes") else encoding
    return {"encoding": encoding, "tracking": posture, "brain-control": decoding}


def posture_source(
    layout: Layout,
    roles: Mapping[str, str],
    body: str,
    endpoint: Endpoint | None,
    joint_map: Mapping[str, Any] | None,
) -> str:
    """Return whether postures of a body are available to controllers, and from what.

    Parameters
    ----------
    layout : Layout
    roles : mapping of str to str
        Signal that is there → its role.
    body : str
    endpoint : Endpoint, optional
    joint_map : mapping, optional
        All as the layout states them, or the header of a file.

    Returns
    -------
    str
        ``yes``, perhaps with a colon and more; otherwise the reason.
    """
    if any(part.signal in roles for part in layout.posture):
        drives = "; ".join(f"{p.column} drives {', '.join(p.joints)}" for p in layout.posture)
        return f"yes, as a partial posture: {drives}"
    recorded = "joint_angle" in roles.values()
    if recorded and joint_map != {}:
        return "yes" if body == DEFAULT_BODY else f"yes, with the body {body}"
    if endpoint is not None and endpoint.signal in roles:
        return f"yes, with the body {body}: its posture follows from {endpoint.signal}"
    return (
        "its joint angles are not mapped to a body" if recorded else "no joint angles of a body were recorded"
    )


def _from_file(path: Path) -> Layout:
    try:
        target = Path(os.path.realpath(path))  # the user's own, so it may be behind a link
        content = parse_yaml(read_plain(target, MOST_YAML, advice="check its permissions"))
    except (CorruptFileError, UnsafeFileError) as cause:
        if not path.exists():
            raise NgbError(f"There is no layout file {path}.") from None
        raise LayoutError(f"The layout file {path} cannot be read: {cause}") from cause
    except ValueError as cause:
        raise LayoutError(f"The layout file {path} is not valid YAML ({cause}).") from cause
    layout: Layout = _Builder(path.name).build(Layout, _extended(content, path), "")
    _check(layout, path.name)
    return layout


def _extended(content: Any, path: Path) -> Any:
    """Add the fields of the layout that this one extends, where this one states none."""
    if not isinstance(content, dict) or content.get("extends") is None or "name" not in content:
        return content
    name, files = content["extends"], {p.stem: p for p in resource("nwb_schemas").glob("*.yaml")}
    known = isinstance(name, str) and name in files
    base: dict[str, Any] = parse_yaml(files[name].read_bytes()) if known else {"extends": ""}
    if "extends" in base:
        raise LayoutError(
            f"The layout file {path.name} is wrong at extends: expected a shipped layout that extends none, "
            f"not {name!r:.60}; `ngb data layouts` lists them."
        )
    whole = {**base, **content}
    for part in EXTENDED:
        if isinstance(content.get(part), dict):
            whole[part] = {**(base.get(part) or {}), **content[part]}
    return whole


def _check(layout: Layout, source: str) -> None:
    """Raise if the parts of a layout contradict each other."""
    for fault in (*_event_faults(layout), *_trial_faults(layout), *_signal_faults(layout)):
        raise LayoutError(f"The layout file {source} {fault}.")


def _event_faults(layout: Layout) -> Iterator[str]:
    detect, events = layout.trials.detect, _defined_events(layout)
    named = [layout.window.start_event, layout.window.stop_event, *layout.trials.event_order]
    for event in named:
        if event not in events and "*" not in events:
            yield f"uses the event {event!r}, which its trials do not define"
    if detect and detect.signal not in [s.name for s in layout.signals if not s.optional]:
        yield (f"is wrong at trials.detect.signal: {detect.signal!r} is not one of its required signals")
    if detect and not (0 < detect.cutoff < 50 and 0 < detect.threshold < 1):
        yield (
            "is wrong at trials.detect: cutoff must lie between 0 and 50 (Hz), and threshold between 0 and 1"
        )


def _defined_events(layout: Layout) -> set[str]:
    detect = layout.trials.detect
    return {*layout.trials.events, *((detect.start, detect.stop) if detect else ())}


def _trial_faults(layout: Layout) -> Iterator[str]:
    trials, condition = layout.trials, layout.trials.condition
    one_of = (condition.column, condition.columns or None, condition.constant, condition.direction)
    if sum(given is not None for given in one_of) != 1:
        yield "is wrong at trials.condition: expected one of column, columns, constant and direction"
    if condition.constant is not None and not condition.constant.strip():
        yield "is wrong at trials.condition.constant: expected a label"
    for column in condition.labels:
        if column not in condition.needed:
            yield f"is wrong at trials.condition.labels: {column!r} is not one of the condition's columns"
    yield from _direction_faults(layout)
    rules = [
        *(("trials.keep", rule) for rule in trials.keep),
        *((f"units[{i}].keep", u.keep) for i, u in enumerate(layout.units)),
    ]
    for place, rule in rules:
        if rule and bool(rule.values) == bool(rule.without):
            yield f"is wrong at {place}: expected either values or without"
    if trials.block is not None and not 0 < trials.block < float("inf"):
        yield f"is wrong at trials.block: expected seconds above 0, not {trials.block}"


def _direction_faults(layout: Layout) -> Iterator[str]:
    direction = layout.trials.condition.direction
    if direction is None:
        return
    place = "is wrong at trials.condition.direction"
    signals = {s.name: s for s in layout.signals if not s.optional}
    if direction.signal not in signals:
        yield f"{place}.signal: {direction.signal!r} is not one of its required signals"
    elif missing := sorted(set(direction.axes) - set(signals[direction.signal].columns or direction.axes)):
        yield f"{place}.axes: {missing[0]!r} is not a column of {direction.signal}"
    events = _defined_events(layout)
    for event in (direction.start, direction.stop):
        if event is not None and event not in events and "*" not in events:
            yield f"{place}: {event!r} is not one of the events that its trials define"
    if direction.sectors < 2 or not 0 <= direction.least < float("inf"):
        yield f"{place}: expected at least 2 sectors, and a least displacement of 0 or more"


def _signal_faults(layout: Layout) -> Iterator[str]:
    signals = {s.name: s for s in layout.signals}
    for signal in layout.signals:
        if signal.rate is not None and not 0 < signal.rate < float("inf"):
            yield f"is wrong at the rate of {signal.name}: expected Hz above 0, not {signal.rate}"
        if signal.container == "separate_timeseries" and not signal.columns:
            yield f"is wrong at {signal.name}: the columns of a separate_timeseries must be named"
    driven = [joint for part in layout.posture for joint in part.joints]
    for part in layout.posture:
        if part.signal not in signals:
            yield f"is wrong at posture: {part.signal!r} is not one of its signals"
        if not part.joints:
            yield f"is wrong at posture: {part.column!r} drives no joint"
    for joint in sorted({j for j in driven if driven.count(j) > 1}):
        yield f"is wrong at posture: the joint {joint!r} is driven twice"
    if driven and (POSTURE in signals or any(s.role == "joint_angle" for s in layout.signals)):
        yield "is wrong at posture: the layout already has joint angles"
    yield from _endpoint_faults(layout)
    if layout.muscle_map and not any(s.role == "emg" for s in layout.signals):
        yield "is wrong at muscle_map: none of its signals has the role emg"
    for channel, muscles in layout.muscle_map.items():
        if not muscles:
            yield f"is wrong at muscle_map: {channel!r} names no muscle"
    if layout.subject is not None and not _is_plain(layout.subject):
        yield (
            f"is wrong at subject: {layout.subject!r:.60} is not a regular expression with one group that is "
            f"not repeated, at most {MOST_REPEATS} repetitions and {LONGEST_PATTERN} characters"
        )


def _endpoint_faults(layout: Layout) -> Iterator[str]:
    endpoint, signals = layout.endpoint, {s.name: s for s in layout.signals}
    if endpoint is None:
        return
    if layout.posture:
        yield "is wrong at endpoint: the layout already has a posture"
    if endpoint.signal not in signals:
        yield f"is wrong at endpoint.signal: {endpoint.signal!r} is not one of its signals"
    elif (columns := signals[endpoint.signal].columns) and not set(endpoint.columns) <= set(columns):
        missing = next(column for column in endpoint.columns if column not in columns)
        where = "axes" if missing in {axis.removeprefix("-") for axis in endpoint.axes} else "keypoints"
        yield f"is wrong at endpoint.{where}: {missing!r} is not a column of {endpoint.signal}"
    for keypoint, axes in endpoint.keypoints.items():
        if len(axes) != len(endpoint.axes):
            yield f"is wrong at endpoint.keypoints.{keypoint}: expected a column for each of the axes"
    if not 0 < endpoint.scale < float("inf"):
        yield f"is wrong at endpoint.scale: expected metres per unit above 0, not {endpoint.scale}"
    if endpoint.origin is not None and len(endpoint.origin) != len(endpoint.axes):
        yield "is wrong at endpoint.origin: expected a value for each of the axes"
    turn = endpoint.turn
    if turn is not None and [len(endpoint.axes)] * len(endpoint.axes) != [len(row) for row in turn]:
        yield "is wrong at endpoint.turn: expected a row for each of the axes, with a number for each"
    elif turn is not None and not _is_rotation(turn):
        yield "is wrong at endpoint.turn: expected a rotation; mirrored axes are stated by their signs"
    if endpoint.aligned_by and not layout.muscle_map:
        yield "is wrong at endpoint.aligned_by: muscle_map must name the muscles of the EMG"


def _is_rotation(matrix: tuple[tuple[float, ...], ...]) -> bool:
    """Whether a matrix turns and nothing else, to three digits."""
    turn = np.array(matrix)
    return np.allclose(turn @ turn.T, np.eye(len(turn)), atol=2e-3) and float(np.linalg.det(turn)) > 0


def _is_plain(pattern: str) -> bool:
    """Whether a regular expression has one group and never takes long: no repeated group, few repetitions."""
    if re.search(r"\(\?[^:]", pattern):  # flags, comments, look-around
        return False
    bare = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", pattern, flags=re.DOTALL)
    repeats = len(re.findall(r"[*+{]|(?<!\()\?", bare))
    if len(pattern) > LONGEST_PATTERN or repeats > MOST_REPEATS or re.search(r"\)[*+?{]", bare):
        return False
    try:
        with warnings.catch_warnings(action="error"):  # of sets that other versions of Python read otherwise
            return re.compile(pattern).groups == 1
    except (re.error, OverflowError, RecursionError, FutureWarning, DeprecationWarning):
        return False


class _Builder:
    """Builds dataclasses from plain YAML values, and raises on invalid fields."""

    def __init__(self, source: str) -> None:
        self.source = source

    def refuse(self, where: str, problem: str) -> LayoutError:
        return LayoutError(
            f"The layout file {self.source} is wrong at {where[:200] or 'its top level'}: {problem:.300}."
        )

    def build(self, cls: type, value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise self.refuse(where, f"expected fields, not {value!r}")
        known = {f.name: f for f in fields(cls)}
        for key in value:
            if key not in known:
                raise self.refuse(where, f"there is no field {key!r}{_suggest(str(key), known)}")
        lacking = [
            f.name
            for f in known.values()
            if f.name not in value and f.default is MISSING and f.default_factory is MISSING
        ]
        if lacking:
            raise self.refuse(where, f"the field {lacking[0]!r} is missing")
        hints = get_type_hints(cls)
        made = {k: self.convert(hints[k], v, f"{where}.{k}".lstrip("."), k) for k, v in value.items()}
        return cls(**made)

    def convert(self, hint: Any, value: Any, where: str, key: str = "") -> Any:
        """Convert a YAML value to the type of a field's annotation."""
        origin = get_origin(hint)
        if origin in (Union, UnionType):
            if value is None:
                return None
            return self.convert(next(a for a in get_args(hint) if a is not NoneType), value, where, key)
        if is_dataclass(hint) and isinstance(hint, type):
            return self.build(hint, value, where)
        if origin is tuple:
            return self.sequence(get_args(hint), value, where)
        if origin is not None:
            if not isinstance(value, dict):
                raise self.refuse(where, f"expected a mapping, not {value!r}")
            inner = get_args(hint)[1]
            return {str(k): self.convert(inner, v, f"{where}.{k}") for k, v in value.items()}
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not hint:
            raise self.refuse(where, f"expected {hint.__name__}, not {value!r}")
        if key in CHOICES and value not in CHOICES[key]:
            raise self.refuse(where, f"{value!r} is not one of {', '.join(CHOICES[key])}")
        return value

    def sequence(self, inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
        if inner[0] is KeepLayout and not isinstance(value, list):
            value = [] if value is None else [value]
        if not isinstance(value, list):
            raise self.refuse(where, f"expected a list, not {value!r}")
        if len(inner) == 2 and inner[1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) != len(value):
            raise self.refuse(where, f"expected {len(inner)} values, not {value!r}")
        return tuple(
            self.convert(h, v, f"{where}[{i}]") for i, (h, v) in enumerate(zip(inner, value, strict=True))
        )


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""

"""Layouts: where a file stores its units, trials and signals.

A layout is a YAML file (``nwb_schemas/*.yaml``); the classes here are its fields. How to write one:
see ``docs/layouts.md``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from neurobench_grasp.contract import DEFAULT_BODY, Window
from neurobench_grasp.errors import LayoutError, NgbError, UnknownNameError
from neurobench_grasp.resources import resource

CHOICES = {
    "kind": ("spikes", "counts"),
    "bin_label": ("start", "center", "end"),
    "time_label": ("sample", "start", "end"),
    "container": ("timeseries", "behavioral_timeseries", "separate_timeseries"),
    "role": ("joint_angle", "position", "velocity", "emg", "force", "other"),
    "overlap": ("error", "allow"),
    "contiguous": ("recording", "trial"),
}
"""Fields with a fixed set of values."""

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
    """

    electrodes: str = "location"
    constant: str | None = None


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
    """

    kind: str
    paths: tuple[str, ...]
    bin_label: str = "start"
    area: AreaSource = AreaSource()
    ids: tuple[str, ...] = ("id",)


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
class ConditionLayout:
    """How a trial's condition is labelled: by one of the first three fields.

    Parameters
    ----------
    column : str, optional
        Several values of one trial are joined.
    columns : tuple of str
        Columns whose labels are joined.
    constant : str, optional
        The condition of all trials, if the file states none; no condition can then be held out.
    scale : float
        Factor for numeric labels (for example, rad to degrees).
    decimals : int, optional
        Decimals of numeric labels; ``None`` writes them in full.
    """

    column: str | None = None
    columns: tuple[str, ...] = ()
    constant: str | None = None
    scale: float = 1.0
    decimals: int | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that are read."""
        return (self.column,) if self.column is not None else self.columns


@dataclass(frozen=True)
class KeepLayout:
    """Which trials are used: those whose ``column`` has one of ``values``, or none of ``without``."""

    column: str
    values: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


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
    keep : KeepLayout, optional
    overlap : str
        ``error``: overlapping trials are refused; ``allow``: they are part of the design.
    block : float, optional
        Seconds. For pseudo-trials that were cut from a continuous recording: those that start in the same
        block of it stay together when trials are split.
    detect : DetectLayout, optional
        Two more events, detected in a signal.
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
    keep: KeepLayout | None = None
    detect: DetectLayout | None = None
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
        Regular expression with one group, the animal's name within the file's subject_id.
    body : str
        Name of the body whose joints the joint angles are mapped to; ``ngb bodies`` lists them.
    """

    name: str
    version: int
    summary: str
    trials: TrialsLayout
    window: Window
    units: tuple[UnitsLayout, ...] = ()
    units_optional: bool = False
    signals: tuple[SignalLayout, ...] = ()
    joint_map: Mapping[str, tuple[str, float, float]] | None = field(default_factory=dict)
    posture: tuple[PostureLayout, ...] = ()
    true_rates: str | None = None
    subject: str | None = None
    body: str = DEFAULT_BODY


@cache
def _shipped() -> Mapping[str, Layout]:
    found = [_from_file(path) for path in sorted(resource("nwb_schemas").glob("*.yaml"))]
    return {layout.name: layout for layout in found}


def layouts() -> dict[str, Layout]:
    """Return the layouts that ship with the package, by name."""
    return dict(_shipped())


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


def _from_file(path: Path) -> Layout:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NgbError(f"There is no layout file {path}.") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise LayoutError(f"The layout file {path} cannot be read ({cause}).") from cause
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as cause:
        reason = " ".join(str(cause).split())
        raise LayoutError(f"The layout file {path} is not valid YAML ({reason}).") from cause
    layout: Layout = _Builder(path.name).build(Layout, content, "")
    _check(layout, path.name)
    return layout


def _check(layout: Layout, source: str) -> None:
    """Raise if the parts of a layout contradict each other."""
    for fault in (*_event_faults(layout), *_trial_faults(layout), *_signal_faults(layout)):
        raise LayoutError(f"The layout file {source} {fault}.")


def _event_faults(layout: Layout) -> Iterator[str]:
    detect = layout.trials.detect
    events = {*layout.trials.events, *((detect.start, detect.stop) if detect else ())}
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


def _trial_faults(layout: Layout) -> Iterator[str]:
    trials, condition = layout.trials, layout.trials.condition
    given = [condition.column is not None, bool(condition.columns), condition.constant is not None]
    if sum(given) != 1:
        yield "is wrong at trials.condition: expected one of column, columns and constant"
    if condition.constant is not None and not condition.constant.strip():
        yield "is wrong at trials.condition.constant: expected a label"
    if trials.keep and bool(trials.keep.values) == bool(trials.keep.without):
        yield "is wrong at trials.keep: expected either values or without"
    if trials.block is not None and not 0 < trials.block < float("inf"):
        yield f"is wrong at trials.block: expected seconds above 0, not {trials.block}"


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
    if layout.subject is not None and not _has_one_group(layout.subject):
        yield f"is wrong at subject: {layout.subject!r} is not a regular expression with one group"


def _has_one_group(pattern: str) -> bool:
    try:
        return re.compile(pattern).groups == 1
    except re.error:
        return False


class _Builder:
    """Builds dataclasses from plain YAML values, and raises on invalid fields."""

    def __init__(self, source: str) -> None:
        self.source = source

    def refuse(self, where: str, problem: str) -> LayoutError:
        return LayoutError(
            f"The layout file {self.source} is wrong at {where or 'its top level'}: {problem}."
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

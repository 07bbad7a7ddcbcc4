"""Layouts: where a file keeps its units, trials and signals, as data.

A layout is a YAML file (``nwb_schemas/*.yaml``); the classes here are its fields. How to write one is
in ``docs/layouts.md``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from neurobench_grasp.errors import LayoutError, NgbError, UnknownNameError
from neurobench_grasp.resources import resource
from neurobench_grasp.types import Window

CHOICES = {
    "kind": ("spikes", "counts"),
    "bin_label": ("start", "center", "end"),
    "time_label": ("sample", "start", "end"),
    "container": ("timeseries", "behavioral_timeseries"),
    "role": ("joint_angle", "position", "velocity", "emg", "force", "other"),
    "overlap": ("error", "allow"),
    "contiguous": ("recording", "trial"),
}
"""Fields that take one of a few words."""


@dataclass(frozen=True)
class AreaSource:
    """Where the area of each unit is written.

    Parameters
    ----------
    electrodes : str
        Column of the electrodes table, reached through the unit's electrodes (spikes), or one row per
        unit (counts).
    constant : str, optional
        The area of all units, where the file does not say.
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
        Where it may be; the first that exists is taken.
    bin_label : str
        What the time of a bin names: its ``start``, ``center`` or ``end``.
    area : AreaSource
    ids : tuple of str
        Columns that may name the units, of the units table (spikes) or the electrodes table (counts);
        the first that exists is taken.
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
        ``comments`` hold ``role=…``, that wins.
    paths : tuple of str
        Where it may be; the first that exists is taken. A last part ``*`` takes every series there.
    container : str
        ``timeseries``, or ``behavioral_timeseries``: a group with one series per column.
    columns : tuple of str
        Names of the columns; where empty, the table ``<series>_columns`` or ``comments="columns=[…]"``
        of the file names them.
    time_label : str
        What a sample's time names: the instant (``sample``) or a bin's ``start`` or ``end``.
    unit : str, optional
        Unit of the numbers, where the file states none or a wrong one.
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
    optional: bool = False


@dataclass(frozen=True)
class ConditionLayout:
    """The column that labels a trial's condition.

    Parameters
    ----------
    column : str
    scale : float
        Factor for numeric labels (rad to degrees, say).
    decimals : int, optional
        Decimals of numeric labels; ``None`` writes them in full.
    """

    column: str
    scale: float = 1.0
    decimals: int | None = None


@dataclass(frozen=True)
class KeepLayout:
    """Which trials are used: those whose ``column`` holds one of ``values``."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class DetectLayout:
    """How to find the movement of a trial where the file marks no events.

    Parameters
    ----------
    signal : str
        Name of the signal whose speed tells; one of the layout's.
    start, stop : str
        Names of the events found: when the movement begins and when it has ended.
    cutoff : float
        Hz; the signal is low-pass filtered before it is differentiated.
    threshold : float
        Fraction of the trial's peak speed above which the hand moves.
    pause : float
        Seconds; shorter pauses belong to the movement.
    shortest : float
        Seconds; what is shorter is no movement.
    least_peak : float
        Peak speed that a movement has at least, in the signal's unit (rad for joint angles) per second.
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
class TrialsLayout:
    """The trials table.

    Parameters
    ----------
    paths : tuple of str
        Where it may be; the first that exists is taken.
    condition : ConditionLayout
    events : mapping of str to str
        Event → column with its times in seconds; ``"*": "*_time"`` takes every such column.
    start, stop : str
        Columns of the trial's bounds.
    keep : KeepLayout, optional
    overlap : str
        ``error``: overlapping trials are refused; ``allow``: they belong to the design.
    detect : DetectLayout, optional
        Two more events, found in a signal.
    event_order : tuple of str
        Events that follow each other; trials where they do not are reported.
    ids : tuple of str
        Columns that may name the trials; the first that exists is taken.
    """

    paths: tuple[str, ...]
    condition: ConditionLayout
    events: Mapping[str, str]
    start: str = "start_time"
    stop: str = "stop_time"
    keep: KeepLayout | None = None
    detect: DetectLayout | None = None
    overlap: str = "error"
    event_order: tuple[str, ...] = ()
    ids: tuple[str, ...] = ("id",)


@dataclass(frozen=True)
class Layout:
    """Where a kind of file keeps what a session needs.

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
        Whether the layout still fits a file that has no units at all.
    signals : tuple of SignalLayout
    joint_map : mapping of str to tuple, optional
        Column of the joint angles → (hand joint, sign, offset in rad); ``None`` maps each column to the
        hand joint of its own name.
    true_rates : str, optional
        Path of a TimeSeries with the generator's rates, for synthetic sessions.
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
    true_rates: str | None = None


@cache
def _shipped() -> Mapping[str, Layout]:
    found = [_from_file(path) for path in sorted(resource("nwb_schemas").glob("*.yaml"))]
    return {layout.name: layout for layout in found}


def layouts() -> dict[str, Layout]:
    """Give the layouts that ship with the package, by name."""
    return dict(_shipped())


def load_layout(name_or_path: str | Path) -> Layout:
    """Find a shipped layout by name, or read one from a YAML file.

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
        If no shipped layout has that name; near names are suggested.
    LayoutError
        If the file is not a layout; the field at fault is named.
    """
    if str(name_or_path) in _shipped():
        return _shipped()[str(name_or_path)]
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return _from_file(path)
    raise UnknownNameError(
        f"There is no layout {str(name_or_path)!r}{_suggest(str(name_or_path), _shipped())}; "
        f"the shipped ones are {', '.join(_shipped())}, and a path ending in .yaml names one of your own."
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
    """Refuse a layout whose parts contradict each other."""
    detect = layout.trials.detect
    events = {*layout.trials.events, *((detect.start, detect.stop) if detect else ())}
    named = [layout.window.start_event, layout.window.stop_event, *layout.trials.event_order]
    unknown = [e for e in named if e not in events and "*" not in events]
    if unknown:
        raise LayoutError(
            f"The layout file {source} uses the event {unknown[0]!r}, which its trials define nowhere."
        )
    if detect and detect.signal not in [s.name for s in layout.signals if not s.optional]:
        raise LayoutError(
            f"The layout file {source} is wrong at trials.detect.signal: {detect.signal!r} is none of its "
            "signals, or an optional one."
        )
    if detect and not (0 < detect.cutoff < 50 and 0 < detect.threshold < 1):
        raise LayoutError(
            f"The layout file {source} is wrong at trials.detect: cutoff must lie between 0 and 50 (Hz), and "
            "threshold between 0 and 1."
        )


class _Builder:
    """Build dataclasses from plain YAML values, refusing what their fields do not allow."""

    def __init__(self, source: str) -> None:
        self.source = source

    def refuse(self, where: str, problem: str) -> LayoutError:
        return LayoutError(
            f"The layout file {self.source} is wrong at {where or 'its top level'}: {problem}."
        )

    def build(self, cls: type, value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise self.refuse(where, f"fields are expected here, not {value!r}")
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
        """Turn a YAML value into what the field's annotation says."""
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
                raise self.refuse(where, f"a mapping is expected, not {value!r}")
            inner = get_args(hint)[1]
            return {str(k): self.convert(inner, v, f"{where}.{k}") for k, v in value.items()}
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not hint:
            raise self.refuse(where, f"{hint.__name__} is expected, not {value!r}")
        if key in CHOICES and value not in CHOICES[key]:
            raise self.refuse(where, f"{value!r} is none of {', '.join(CHOICES[key])}")
        return value

    def sequence(self, inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise self.refuse(where, f"a list is expected, not {value!r}")
        if len(inner) == 2 and inner[1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) != len(value):
            raise self.refuse(where, f"{len(inner)} values are expected, not {value!r}")
        return tuple(
            self.convert(h, v, f"{where}[{i}]") for i, (h, v) in enumerate(zip(inner, value, strict=True))
        )


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""

"""Find the layout that fits a file, and what is missing if none does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from neurobench_grasp.contract import Window
from neurobench_grasp.data.nwb.file import NwbFile
from neurobench_grasp.data.nwb.findings import Report
from neurobench_grasp.data.nwb.header import CANONICAL, FileHeader
from neurobench_grasp.data.nwb.layout import Layout, SignalLayout, UnitsLayout, kinds_of_files, load_layout
from neurobench_grasp.data.nwb.series import Parts
from neurobench_grasp.errors import LayoutError

ELECTRODES = "general/extracellular_ephys/electrodes"


@dataclass(frozen=True)
class Missing:
    """A part that a layout looks for and the file lacks.

    Parameters
    ----------
    part : str
        Description.
    looked_for : tuple of str
        The paths that were tried.
    instead : tuple of str
        Paths found instead.
    """

    part: str
    looked_for: tuple[str, ...]
    instead: tuple[str, ...]

    def __str__(self) -> str:
        there = f"there is {_some(self.instead)}" if self.instead else "there is nothing like it"
        return f"{self.part} (looked for at {' or '.join(self.looked_for)}; {there})"


@dataclass(frozen=True)
class Fit:
    """Comparison of one layout with one file.

    Parameters
    ----------
    layout : Layout
    window : Window
        The layout's, unless the file's header states its own.
    found : frozenset of str
        Paths of the layout that exist.
    missing : tuple of Missing
    """

    layout: Layout
    window: Window
    found: frozenset[str]
    missing: tuple[Missing, ...]


def choose_layout(nwb: NwbFile, wanted: str | Path | None, header: FileHeader | None) -> Fit:
    """Return the requested layout, the one named in the file's header, or the best fit.

    Parameters
    ----------
    nwb : NwbFile
    wanted : str or path, optional
    header : FileHeader, optional

    Returns
    -------
    Fit
        Without missing parts.

    Raises
    ------
    LayoutError
        States what is missing, what is there instead, and which layout fits best.
    """
    name = wanted or (header.layout if header else None)
    fits = [fit(nwb, layout, header) for layout in kinds_of_files().values()]
    if name is not None:
        chosen = fit(nwb, load_layout(name), header)
        if chosen.missing:
            raise LayoutError(
                f"{nwb.name} does not fit the layout {chosen.layout.name!r}, because it lacks "
                f"{_lacks(chosen)}; {_best_of(fits)}; {_inspect(nwb)}."
            )
        return chosen
    fitting = sorted((f for f in fits if not f.missing), key=lambda f: -len(f.found))
    if not fitting:
        best = nearest_first(fits)[0]
        raise LayoutError(
            f"{nwb.name} fits none of the shipped layouts; the nearest, {best.layout.name!r}, lacks "
            f"{_lacks(best)}; {_inspect(nwb)}."
        )
    if len(fitting) > 1 and len(fitting[0].found) == len(fitting[1].found):
        names = " and ".join(f.layout.name for f in fitting[:2])
        raise LayoutError(f"{nwb.name} fits the layouts {names} equally well; choose one with --layout.")
    return fitting[0]


def nearest_first(fits: Iterable[Fit]) -> list[Fit]:
    """Sort layouts by the fraction of their parts that is found; the canonical one wins ties."""

    def rank(one: Fit) -> tuple[float, bool]:
        return len(one.found) / max(1, len(one.found) + len(one.missing)), one.layout.name == CANONICAL

    return sorted(fits, key=rank, reverse=True)


def fit(nwb: NwbFile, layout: Layout, header: FileHeader | None = None) -> Fit:
    """Compare a layout's paths with a file's."""
    window = header.window if header and header.layout == layout.name else layout.window
    search = _Search(nwb)
    search.units(layout)
    search.trials(layout, window)
    for signal in layout.signals:
        search.signal(layout, signal)
    return Fit(layout, window, frozenset(search.found), tuple(search.missing))


def locate_units(nwb: NwbFile, layout: Layout) -> tuple[UnitsLayout, str] | None:
    """Find the first way of storing units, of those in the layout, that the file uses."""
    for units in layout.units:
        for path in units.paths:
            inside = f"{path}/id" if units.kind == "spikes" else f"{path}/data"
            if nwb.has_dataset(inside):
                return units, path
    return None


def locate_table(nwb: NwbFile, paths: Iterable[str]) -> str | None:
    """Return the first group that exists."""
    return next((p for p in paths if nwb.has_group(p)), None)


def locate_signals(nwb: NwbFile, signal: SignalLayout) -> list[str]:
    """Find the series of a signal; several only where its path ends in ``*``."""
    for path in signal.paths:
        parent, _, last = path.rpartition("/")
        if last == "*":
            return [f"{parent}/{m}" for m in nwb.members(parent) if nwb.has_dataset(f"{parent}/{m}/data")]
        if signal.container == "separate_timeseries":
            if separate_series(nwb, signal, path):
                return [path]
        elif nwb.has_dataset(f"{path}/data") or (
            signal.container == "behavioral_timeseries" and nwb.has_group(path)
        ):
            return [path]
    return []


def locate_column(nwb: NwbFile, table: str, column: str) -> str:
    """Return the first spelling of a column, ``one|other``, that a table has, or else the first."""
    spellings = [c.strip() for c in column.split("|")]
    return next((c for c in spellings if nwb.has_dataset(f"{table}/{c}")), spellings[0])


def separate_series(nwb: NwbFile, signal: SignalLayout, folder: str) -> list[str]:
    """Find the series that are the columns of a signal: all or none."""
    found = [
        next((c for c in map(str.strip, names.split("|")) if nwb.has_dataset(f"{folder}/{c}/data")), None)
        for names in signal.columns
    ]
    return [] if None in found else [f"{folder}/{name}" for name in found]


def units_tables(nwb: NwbFile) -> tuple[str, ...]:
    """Return the paths of all units tables."""
    return tuple(sorted(g for g in nwb.tree.groups if nwb.type_of(g) == "Units"))


class _Search:
    """Collects found and missing parts."""

    def __init__(self, nwb: NwbFile) -> None:
        self.nwb = nwb
        self.found: set[str] = set()
        self.missing: list[Missing] = []

    def lack(self, part: str, looked_for: Iterable[str], instead: Iterable[str] = ()) -> None:
        self.missing.append(Missing(part, tuple(looked_for), tuple(instead)))

    def units(self, layout: Layout) -> None:
        located = locate_units(self.nwb, layout)
        looked = [p for u in layout.units for p in u.paths]
        if located is None:
            elsewhere = units_tables(self.nwb) if looked else ()
            if looked and (elsewhere or not layout.units_optional):
                self.lack("the units", looked, elsewhere or self.around(looked[0]))
            return
        units, path = located
        if units.kind == "counts":
            self.found.add(path)
        else:
            for column in ("spike_times", "spike_times_index"):
                self.column(path, column, "units")
        if units.keep:
            self.column(ELECTRODES if units.kind == "counts" else path, units.keep.column, "units")

    def trials(self, layout: Layout, window: Window) -> None:
        trials = layout.trials
        path = locate_table(self.nwb, trials.paths)
        if path is None:
            self.lack("the trials table", trials.paths, self.around(trials.paths[0]))
            return
        columns = {trials.start, trials.stop, *trials.condition.needed}
        columns |= {column for event, column in trials.events.items() if event != "*"}
        if "*" in trials.events:
            names = (window.start_event, window.stop_event)
            columns |= {trials.events.get(e, trials.events["*"].replace("*", e)) for e in names}
        columns |= {rule.column for rule in trials.keep}
        columns |= {trials.cut_at} if trials.cut_at else set()
        for column in sorted(columns):
            self.column(path, column, "trials")

    def column(self, table: str, column: str, what: str) -> None:
        place = f"{table}/{locate_column(self.nwb, table, column)}"
        if self.nwb.has_dataset(place):
            self.found.add(place)
        else:
            spellings = [c.strip() for c in column.split("|")]
            alternatives = " or ".join(map(repr, spellings))
            looked_for = [f"{table}/{c}" for c in spellings]
            by_name = sorted(self.nwb.members(table), key=lambda m: -nearness(m, spellings[0]))
            self.lack(f"the {what} column {alternatives}", looked_for, by_name)

    def signal(self, layout: Layout, signal: SignalLayout) -> None:
        located = locate_signals(self.nwb, signal)
        if signal.container == "separate_timeseries":
            self.found.update(*(separate_series(self.nwb, signal, folder) for folder in located))
        else:
            self.found.update(located)
        if not located and not signal.optional:
            self.lack(f"the signal {signal.name!r}", signal.paths, self.around(signal.paths[0]))
        for path in located if signal.role == "joint_angle" else ():
            self.joints(layout, signal, path)

    def joints(self, layout: Layout, signal: SignalLayout, path: str) -> None:
        """Look for the columns of the joint map: without them the angles are another laboratory's."""
        shape = self.nwb.shape(f"{path}/data") if self.nwb.has_dataset(f"{path}/data") else ()
        if signal.columns or not layout.joint_map or len(shape) != 2:
            return
        columns = Parts(self.nwb, Report()).column_names(path, shape[1])
        absent = [column for column in layout.joint_map if column not in columns]
        if absent:
            self.lack(f"the column {absent[0]!r} of {signal.name}", [path], columns)

    def around(self, path: str) -> list[str]:
        """List the members of the nearest existing group above a path."""
        parent = path.rpartition("/")[0]
        while parent and not self.nwb.has_group(parent):
            parent = parent.rpartition("/")[0]
        if not parent:
            return []
        return [f"{parent}/{m}" for m in self.nwb.members(parent)] or [f"an empty {parent}"]


def nearness(name: str, wanted: str) -> float:
    """Return how alike two names are, 0 … 1."""
    return difflib.SequenceMatcher(None, name, wanted).ratio()


def _lacks(fit: Fit) -> str:
    more = len(fit.missing) - 1
    parts = f" and {more} more {'part' if more == 1 else 'parts'}" if more else ""
    return f"{fit.missing[0]}{parts}"


def _best_of(fits: list[Fit]) -> str:
    best = nearest_first(fits)[0]
    if best.missing:
        return f"no shipped layout fits, and {best.layout.name!r} fits best"
    return f"the layout {best.layout.name!r} fits"


def _inspect(nwb: NwbFile) -> str:
    return f"`ngb data inspect {nwb.path}` lists its contents"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")

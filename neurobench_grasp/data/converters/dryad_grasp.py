"""The grasp recordings of Suresh, Goodman and colleagues (2020), doi:10.5061/dryad.xsj3tx9cm.

Macaques grasp 35 objects while units of motor and somatosensory cortex are recorded; 17 MATLAB files, of
which 15 have units recorded sequentially and 2 units recorded simultaneously. The user downloads them.

No file was available when this was written. Names and contents of the fields are known from published
code that reads datasets 3 and 4; all other assumptions are in :data:`UNVERIFIED`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Floats, Window
from neurobench_grasp.data.converters.binned import (
    NARROWEST_S,
    WIDEST_S,
    BinnedTrial,
    Converted,
    check_counts,
    check_width,
    lay_end_to_end,
)
from neurobench_grasp.data.converters.matlab import MatFile, open_mat
from neurobench_grasp.data.converters.matvalues import Struct, matrices, numbers
from neurobench_grasp.errors import LayoutError, UnsupportedError

AREAS = {"M1": "M1", "SCx": "S1"}
"""Field of ``SpikeCounts`` → area."""

EVENTS = {"WristStartMove": "move_onset", "MaxApp": "max_aperture", "FingerGrasp": "contact"}
"""Field of ``EventTimes`` → event."""

OPTIONAL = "MaxApp"
N_OBJECTS = 35
NAME = re.compile(
    r"Dataset(\d+)_Monkey(\d+)_Session(\d+)_(Grasp|Reach)Data(Sequential|Simultaneous)Recording"
)
WINDOW = Window("move_onset", "contact", contiguous="trial")

UNVERIFIED = (
    "no file of this set was available; the fields are those that published code reads from datasets 3 and 4",
    "TimeBins is assumed to be the start of each bin, and EventTimes to be on the same clock",
    "the somatosensory units (SCx) are entered as S1; their exact areas are not known",
    "no kinematics are read; it is not known whether the files contain any, and under which name",
)
SEQUENTIAL = (
    "files of units recorded sequentially are assumed to have the structure of those recorded simultaneously"
)


class _Name(NamedTuple):
    """Facts in a file's name."""

    session: str
    subject: str
    sequential: bool


def convert(path: Path) -> Converted:
    """Convert one file.

    Parameters
    ----------
    path : path
        ``Dataset…_GraspData…Recording.mat`` as downloaded.

    Returns
    -------
    Converted

    Raises
    ------
    UnsupportedError
        If the file is a reaching dataset.
    NgbError
        States the field that is missing or invalid.
    """
    name = _name(path)
    with open_mat(path) as mat:
        objects = _objects(mat)
        clocks = list(matrices(mat.get("TimeBins"), f"{path.name}: 'TimeBins'"))
        areas = _counts(mat)
        events = _events(mat, len(objects))
    for field, found in {"TimeBins": clocks, **areas}.items():
        if len(found) != len(objects):
            raise LayoutError(
                f"{path.name}: {field!r} has {len(found)} trials, but 'ObjectInd' has {len(objects)}."
            )
    unit, width = _bin(clocks, path.name)
    notes = [f"TimeBins is assumed to be in {'milliseconds' if unit < 1 else 'seconds'}"]
    if OPTIONAL not in events:
        notes.append(f"{OPTIONAL} is not in the file, so the event {EVENTS[OPTIONAL]} is not known")
    silent = [a for a, c in areas.items() if not any(m.size for m in c)]
    notes += [f"{a} has no units" for a in silent]
    areas = {a: c for a, c in areas.items() if a not in silent}
    kept = [i for i, clock in enumerate(clocks) if clock.size > 1 and all(c[i].size for c in areas.values())]
    if len(kept) < len(clocks):
        notes.append(f"{len(clocks) - len(kept)} of {len(clocks)} trials have no counts and were left out")
    if not kept or not areas:
        raise LayoutError(f"{path.name} has no trial with counts.")
    trials = [
        BinnedTrial(
            id=str(i + 1),
            condition=f"object {objects[i]}",
            counts=np.hstack([_trial(c[i], clocks[i], f"{path.name}: {a!r}", i) for a, c in areas.items()]),
            events={EVENTS[e]: float(t[i] - clocks[i].flat[0]) * unit for e, t in events.items()},
        )
        for i in kept
    ]
    n_units = {a: _n_units([c[i] for i in kept], f"{path.name}: {a!r}") for a, c in areas.items()}
    session = lay_end_to_end(
        id=name.session,
        subject=name.subject,
        trials=trials,
        units=[f"{a} {i + 1}" for a, n in n_units.items() for i in range(n)],
        areas=[AREAS.get(a, a) for a, n in n_units.items() for _ in range(n)],
        width=width,
        kinds={},
        window=WINDOW,
        notes=notes,
    )
    return Converted(
        session,
        (*UNVERIFIED, SEQUENTIAL) if name.sequential else UNVERIFIED,
        "grasp of 35 objects (Suresh et al. 2020, doi:10.5061/dryad.xsj3tx9cm), converted; unverified",
        licence="CC0-1.0",
    )


def _name(path: Path) -> _Name:
    """Parse session and animal from a file's name."""
    found = NAME.search(path.stem)
    if found is None:
        return _Name(path.stem, "unknown", sequential=False)
    dataset, monkey, session, task, how = found.groups()
    if task == "Reach":
        raise UnsupportedError(
            f"{path.name} is a reaching dataset (5 and 6 of the set); only the grasp recordings are "
            "converted."
        )
    return _Name(f"dataset{dataset}_monkey{monkey}_session{session}", f"monkey{monkey}", how == "Sequential")


def _objects(mat: MatFile) -> NDArray[np.int64]:
    """Return the object of each trial, (n_trials,)."""
    place = f"{mat.path.name}: 'ObjectInd'"
    objects = numbers(mat.get("ObjectInd"), place)
    wrong = np.flatnonzero(~np.isin(objects, np.arange(1, N_OBJECTS + 1)))
    if len(wrong):
        first = wrong[0]
        raise LayoutError(
            f"{place} is {objects[first]:g} in trial {first + 1}; expected objects 1 to {N_OBJECTS}."
        )
    return objects.astype(np.int64)


def _counts(mat: MatFile) -> dict[str, list[NDArray[Any]]]:
    """Return the count matrices of each area, trial by trial."""
    counts = _struct(mat, "SpikeCounts")
    return {
        area: [
            check_counts(m, f"{mat.path.name}: {area!r} of trial {i + 1}") if m.size else m
            for i, m in enumerate(matrices(counts.get(area), f"{counts.place} field {area!r}"))
        ]
        for area in counts.fields
    }


def _events(mat: MatFile, n_trials: int) -> dict[str, Floats]:
    """Return the times of each event, (n_trials,), in the unit of ``TimeBins``."""
    times = _struct(mat, "EventTimes")
    wanted = [e for e in EVENTS if e != OPTIONAL or e in times.fields]
    found = {e: numbers(times.get(e), f"{times.place} field {e!r}") for e in wanted}
    for event, values in found.items():
        if len(values) != n_trials:
            raise LayoutError(
                f"{times.place} field {event!r} has {len(values)} trials, but 'ObjectInd' has {n_trials}."
            )
    return found


def _struct(mat: MatFile, variable: str) -> Struct:
    value = mat.get(variable)
    if not isinstance(value, Struct) or value.n != 1:
        raise LayoutError(f"{mat.path.name}: {variable!r} is not a struct.")
    return value


def _bin(clocks: Sequence[NDArray[Any]], name: str) -> tuple[float, float]:
    """Return seconds per unit of ``TimeBins``, and the width of a bin in seconds; bins must be regular."""
    steps = np.concatenate([np.empty(0), *(np.diff(c.ravel().astype(np.float64)) for c in clocks)])
    if not steps.size:
        raise LayoutError(f"{name} has no trial with counts.")
    width = float(np.median(steps))
    if not np.all(np.abs(steps - width) <= 0.01 * abs(width)):
        raise LayoutError(
            f"{name}: 'TimeBins' has bins of different widths, {steps.min():g} to {steps.max():g}."
        )
    unit = 1e-3 if 1e3 * NARROWEST_S <= width <= 1e3 * WIDEST_S else 1.0
    return unit, check_width(width * unit, f"{name}: 'TimeBins'")


def _trial(counts: NDArray[Any], clock: NDArray[Any], place: str, trial: int) -> NDArray[Any]:
    """Check the counts of one area in one trial against its bins."""
    if len(counts) != clock.size:
        raise LayoutError(
            f"{place} has {len(counts)} bins in trial {trial + 1}, but 'TimeBins' has {clock.size}; "
            "expected bins × units."
        )
    return counts


def _n_units(counts: Sequence[NDArray[Any]], place: str) -> int:
    """Return the number of units, the same in every trial."""
    n = {int(c.shape[1]) for c in counts}
    if len(n) > 1:
        raise LayoutError(f"{place} has {min(n)} units in one trial and {max(n)} in another.")
    return n.pop()

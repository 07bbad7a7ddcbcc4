"""The grid of a run: its tasks and what became of them, as files that any number of processes can share.

A grid is a folder: ``tasks``, one task in JSON on each line, and ``log``, to which files are only added. The
``k``-th attempt at task ``i`` begins with ``log/i.k.run``, a claim (:mod:`neurobench_grasp.claims`), and ends
with ``log/i.k.STATE``, so that the state of every task follows from the names alone.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.cache import content_key
from neurobench_grasp.claims import beating, clock, create, expired, owner
from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import parse_json, read_plain

GRIDS, TASKS, LOG = "grids", "tasks", "log"
WAITING, RUNNING, DONE, FAILED, BROKEN, STOPPED = "waiting", "running", "done", "failed", "broken", "stopped"
ENDS = DONE, FAILED, BROKEN, STOPPED
"""How an attempt ends: with a result; with an error that would come again; with one that may not, such as a
full disk; or from outside, as by a scheduler. A lost attempt has no end."""
MOST_ATTEMPTS = 3
"""At a task, if they break or are lost. A convention: enough for one bad node and one bad moment."""
MOST_STOPS = 30
"""Of a task: a training of five days in jobs of four hours."""
MOST_BYTES = 1 << 30
"""Of a file of tasks; a task has a few hundred."""
FRESH_S = 1.0
"""Seconds for which a reading of the log is used again."""


@dataclass(frozen=True)
class Task:
    """One piece of work, in JSON values.

    Parameters
    ----------
    kind : str
        Key of :data:`neurobench_grasp.run.work.KINDS`.
    what : dict
        Arguments.
    needs : tuple of int
        Tasks, by number, without which this one fails.
    after : tuple of int
        Tasks that should have ended before this one begins, successful or not: they make what this one would
        otherwise wait for.
    """

    kind: str
    what: Mapping[str, Any]
    needs: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class State:
    """State of a task.

    Parameters
    ----------
    name : str
        ``waiting``, ``running``, ``done`` or ``failed``.
    attempts, stops : int
        Those that were begun, and those of them that were stopped from outside.
    """

    name: str = WAITING
    attempts: int = 0
    stops: int = 0

    @property
    def ended(self) -> bool:
        """True if nothing will be tried any more."""
        return self.name in (DONE, FAILED)


@dataclass
class Grid:
    """Tasks of a run, and their states as they were last read.

    Parameters
    ----------
    folder : path
    tasks : sequence of Task
    """

    folder: Path
    tasks: Sequence[Task]
    _states: dict[int, State] = field(default_factory=dict)
    _unended: list[int] = field(default_factory=list)
    _seconds: dict[int, float] = field(default_factory=dict)  # of tasks that are done
    _read_at: float | None = None

    @classmethod
    def open(cls, run: Path, tasks: Sequence[Task], depends_on: Sequence[str | None]) -> Grid:
        """Return the last grid of a run with these tasks if it is unfinished, else a new one.

        Parameters
        ----------
        run : path
            Run folder.
        tasks : sequence of Task
        depends_on : sequence of str
            Digests of what results depend on beside the tasks; ``None`` for what cannot be identified.

        Raises
        ------
        NgbError
            If it cannot be written.
        """
        lines = [json.dumps([task.kind, task.what, task.needs, task.after]) for task in tasks]
        digest = content_key({"tasks": lines, "depends_on": list(depends_on)})[:12]
        known = grids(run)
        same = [folder for folder in known if folder.name.endswith(digest)]
        if same and None not in depends_on and not (found := cls(same[-1], tasks)).is_finished():
            return found
        try:
            folder = _new_folder(run / GRIDS, len(known) + 1, digest)
        except OSError as error:
            raise NgbError(
                f"Cannot write to the run folder {run} ({error.strerror}); choose another with --out."
            ) from error
        write_atomically(folder / TASKS, "".join(f"{line}\n" for line in lines).encode())
        return cls(folder, tasks)

    @classmethod
    def read(cls, folder: Path) -> Grid:
        """Read a grid.

        Raises
        ------
        NgbError
            If it is damaged.
        """
        raw = read_plain(folder / TASKS, MOST_BYTES, advice="score again")
        try:
            parts = [json.loads(line) for line in raw.decode().splitlines()]
            tasks = [Task(kind, dict(what), tuple(needs), tuple(after)) for kind, what, needs, after in parts]
            for i, task in enumerate(tasks):
                if not all(0 <= k < i for k in (*task.needs, *task.after)):
                    raise ValueError(f"task {i} comes before what it needs")
        except (ValueError, TypeError, RecursionError) as error:
            raise NgbError(
                f"{folder / TASKS} is damaged ({error}); score again with another --out."
            ) from error
        return cls(folder, tasks)

    # --- states ---------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read the log, unless that was done within the last second."""
        if self._read_at is None or time.monotonic() - self._read_at > FRESH_S:
            self.read_log()

    def read_log(self, now: float | None = None) -> None:
        """Read the log; what has ended stays as it is.

        Parameters
        ----------
        now : float, optional
            Default: by the clock of the file system, which is asked by touching a file.
        """
        log = _by_task(os.listdir(self.folder / LOG))
        now = clock(self.folder / LOG) if now is None else now
        known = self._states
        self._states = {
            i: known[i] if i in known and known[i].ended else self._state(i, ends, now)
            for i, ends in log.items()
        }
        self._unended = []
        for i, task in enumerate(self.tasks):
            if any(self.state(k).name == FAILED for k in task.needs):
                self._states[i] = State(FAILED, self.state(i).attempts)
            if not self.state(i).ended:
                self._unended.append(i)
        self._read_at = time.monotonic()

    def state(self, i: int) -> State:
        """Return the state of a task, as it was last read."""
        return self._states.get(i, State())

    def counts(self) -> Counter[str]:
        """Count the tasks by state, as it was last read."""
        found = Counter(state.name for state in self._states.values())
        found[WAITING] += len(self.tasks) - len(self._states)
        return found

    def attempts(self) -> int:
        """Count the attempts that were begun, as it was last read."""
        return sum(state.attempts for state in self._states.values())

    def is_finished(self, now: float | None = None) -> bool:
        """Read the log, and return whether nothing will be tried any more."""
        self.read_log(now)
        return not self._unended

    def unended(self) -> Iterator[int]:
        """Yield the tasks that have not ended, in order."""
        self.refresh()
        return (i for i in self._unended if not self.state(i).ended)

    def ready(self) -> Iterator[int]:
        """Yield the tasks that can begin, in order."""
        for i in self.unended():
            task = self.tasks[i]
            made = all(self.state(k).name == DONE for k in task.needs)
            if self.state(i).name == WAITING and made and all(self.state(k).ended for k in task.after):
                yield i

    def _state(self, i: int, ends: Mapping[int, str], now: float) -> State:
        attempts = max(ends)
        last = ends[attempts]
        if last in (DONE, FAILED):
            return State(last, attempts)
        if last == "run" and not self._lost(i, attempts, now):
            return State(RUNNING, attempts)
        stops = sum(end == STOPPED for end in ends.values())
        given_up = attempts - stops >= MOST_ATTEMPTS or stops >= MOST_STOPS
        return State(FAILED if given_up else WAITING, attempts, stops)

    def _lost(self, i: int, attempt: int, now: float) -> bool:
        """Return whether an attempt has no owner any more; one that ended after the listing is not lost."""
        if not expired(self._file(i, attempt, "run"), now):
            return False
        return not any(self._file(i, attempt, end).exists() for end in ENDS)

    # --- attempts -------------------------------------------------------------------------------------

    def begin(self, i: int) -> Attempt | None:
        """Claim the next attempt at a task; ``None`` if another process was faster.

        Raises
        ------
        OSError
            If the log cannot be written to.
        """
        number = self.state(i).attempts + 1
        path = self._file(i, number, "run")
        if not create(path, owner()):
            self.read_log()
            return None
        self._states[i] = State(RUNNING, number)
        return Attempt(self, i, number, path)

    def note(self, i: int, state: State) -> None:
        """Store what is known about a task without reading the log."""
        self._states[i] = state

    def result(self, i: int) -> Mapping[str, Any]:
        """Return the result of a task that is done.

        Raises
        ------
        NgbError
            If it cannot be read.
        """
        path = self._file(i, self.state(i).attempts, DONE)
        found: Mapping[str, Any] = _stored(path, ("result",))["result"]
        return found

    def seconds(self, i: int) -> float:
        """Return how long a task took that is done, or how long one has been running; else 0."""
        state = self.state(i)
        with suppress(NgbError, OSError):
            if state.name == DONE:
                if i not in self._seconds:
                    path = self._file(i, state.attempts, DONE)
                    self._seconds[i] = float(_stored(path, ("seconds",))["seconds"])
                return self._seconds[i]
            if state.name == RUNNING:
                return time.time() - float(self.claim(i)["time"])
        return 0.0

    def claim(self, i: int) -> Mapping[str, Any]:
        """Return which process runs a task: its host, pid and the time at which it began.

        Raises
        ------
        NgbError
            If that cannot be read.
        """
        return _stored(self._file(i, self.state(i).attempts, "run"), ("host", "pid", "time"))

    def reason(self, i: int) -> str:
        """Return why a task has failed, as a sentence."""
        for k in self.tasks[i].needs:
            if self.state(k).name == FAILED:
                return self.reason(k)
        attempts, stops = self.state(i).attempts, self.state(i).stops
        for end in (FAILED, BROKEN):
            with suppress(NgbError):
                reason = str(_stored(self._file(i, attempts, end), ("reason",))["reason"])
                return reason if end == FAILED else f"{reason} (tried {attempts - stops} times)"
        if stops >= MOST_STOPS:
            return f"It was stopped {stops} times, for instance by a time limit; allow more minutes."
        return (
            f"Its process was lost {attempts - stops} times (killed, or out of memory); give it more "
            "memory, then run the same command again."
        )

    def _file(self, i: int, attempt: int, end: str) -> Path:
        return self.folder / LOG / f"{i}.{attempt}.{end}"


@dataclass(frozen=True)
class Attempt:
    """An attempt at a task, which this process has claimed.

    Parameters
    ----------
    grid : Grid
    i : int
        Number of the task.
    number : int
        Of the attempt, from 1.
    path : path
        The claim.
    """

    grid: Grid
    i: int
    number: int
    path: Path

    @property
    def task(self) -> Task:
        """The task."""
        return self.grid.tasks[self.i]

    def beating(self) -> AbstractContextManager[None]:
        """Keep the claim while a block runs."""
        return beating(self.path)

    def end(self, state: str, **stored: Any) -> None:
        """Store how the attempt ended.

        Raises
        ------
        OSError
            If the log cannot be written to; the attempt counts as lost then.
        """
        create(self.path.with_suffix(f".{state}"), stored)
        if state in (DONE, FAILED):
            self.grid.note(self.i, State(state, self.number))
        else:
            self.grid.read_log()


def grids(run: Path) -> list[Path]:
    """List the grids of a run folder, the oldest first."""
    return sorted(place.parent for place in (run / GRIDS).glob(f"[0-9]*-*/{TASKS}"))


def _new_folder(parent: Path, number: int, digest: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        folder = parent / f"{number:04d}-{digest}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        (folder / LOG).mkdir()
        return folder


def _by_task(names: Iterable[str]) -> dict[int, dict[int, str]]:
    """Return how each attempt ended, by task and number; ``run`` if it has not."""
    found: dict[int, dict[int, str]] = {}
    for name in names:
        task, _, rest = name.partition(".")
        number, _, end = rest.partition(".")
        if task.isdecimal() and number.isdecimal():
            ends = found.setdefault(int(task), {})
            if ends.get(int(number), "run") == "run":
                ends[int(number)] = end
    return found


def _stored(path: Path, fields: Sequence[str]) -> Mapping[str, Any]:
    try:
        stored = parse_json(read_plain(path, MOST_BYTES))
    except ValueError as error:
        raise NgbError(f"{path} is damaged ({error}); score again with another --out.") from error
    if not isinstance(stored, dict) or not all(name in stored for name in fields):
        raise NgbError(f"{path} lacks one of {', '.join(fields)}; score again with another --out.")
    return stored

"""Claims: files by which processes on one or several machines share work, also on NFS.

A claim appears by a hard link, which one process alone can create; its owner touches it while it works. One
that is no longer touched, or whose process is gone, has expired: another process takes over by creating the
next number, so that no process removes or replaces the claim of another one.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from neurobench_grasp.errors import NgbError

BEAT_S = 10.0
"""Seconds between touches of a claim."""
EXPIRES_S = 90.0
"""Seconds without a touch after which a claim has expired: NFS clients see times of files up to 60 s late."""
POLL_S = 0.05, 1.0
"""Seconds between checks of a claim of another process: the first and the longest."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def claimed(place: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the claim to a file or folder that is about to be made.

    Parameters
    ----------
    place : path
        Claims are hidden files beside it; none is left when the last owner has finished.
    waiting : callable
        Called once if another process has the claim.

    Raises
    ------
    NgbError
        If the folder cannot be written to.
    """
    prefix = f".{place.name}.claim-"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        mine = _take(place.parent, prefix, waiting)
    except OSError as error:
        where = f"Cannot write to {place.parent} ({error.strerror})"
        raise NgbError(f"{where}; choose another folder.") from error
    try:
        with beating(mine):
            yield
    finally:
        for _, path in _claims(place.parent, prefix):
            if path == mine or expired(path, clock(place.parent)):
                path.unlink(missing_ok=True)


def create(path: Path, content: dict[str, Any]) -> bool:
    """Create a file with its content at once, unless it exists; ``False`` if it does.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        new.write_text(json.dumps(content))
        try:
            os.link(new, path)
        except OSError as error:
            if error.errno in NO_LINKS:
                return _create_without_links(path, content)
            if error.errno != errno.EEXIST:
                raise
            return new.stat().st_nlink == 2  # the answer of an NFS server was lost, and the request repeated
        return True
    finally:
        new.unlink(missing_ok=True)


def owner() -> dict[str, Any]:
    """Return what identifies this process."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "kernel": _kernel(),
        "pid": pid,
        "started": _started(pid),
        "time": time.time(),
    }


def expired(path: Path, now: float) -> bool:
    """Return whether the owner of a claim is gone; a claim that was removed has not expired.

    Parameters
    ----------
    path : path
    now : float
        :func:`clock` of its folder.
    """
    try:
        return _is_dead(path) or now - path.stat().st_mtime > EXPIRES_S
    except OSError:
        return False


def clock(folder: Path) -> float:
    """Return the time of a file system, which may be that of a server; of this machine if it is read-only."""
    probe = folder / f".clock-{uuid.uuid4().hex[:8]}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


@contextmanager
def beating(path: Path) -> Iterator[None]:
    """Touch a claim as long as the block runs."""
    _Heart.of_process().add(path)
    try:
        yield
    finally:
        _Heart.of_process().remove(path)


class _Heart:
    """A thread that touches all claims of this process."""

    _one: _Heart | None = None

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._paths: list[Path] = []
        threading.Thread(target=self._run, name="ngb-claims", daemon=True).start()

    @classmethod
    def of_process(cls) -> _Heart:
        if cls._one is None or cls._one.pid != os.getpid():  # threads do not survive a fork
            cls._one = cls()
        return cls._one

    def add(self, path: Path) -> None:
        self._paths.append(path)

    def remove(self, path: Path) -> None:
        self._paths.remove(path)

    def _run(self) -> None:
        while True:
            time.sleep(BEAT_S)
            for path in list(self._paths):
                with suppress(OSError):
                    os.utime(path)  # by the clock of the file system


def _take(folder: Path, prefix: str, waiting: Callable[[], None]) -> Path:
    pause, longest = POLL_S
    reported = False
    while True:
        number, newest = max(_claims(folder, prefix), default=(0, None))
        if newest is None or expired(newest, clock(folder)):
            mine = folder / f"{prefix}{number + 1}"
            if create(mine, owner()):
                return mine
            continue
        if not reported:
            waiting()
        reported = True
        time.sleep(pause)
        pause = min(2 * pause, longest)


def _claims(folder: Path, prefix: str) -> list[tuple[int, Path]]:
    found = [name.removeprefix(prefix) for name in os.listdir(folder) if name.startswith(prefix)]
    return [(int(number), folder / f"{prefix}{number}") for number in found if number.isdecimal()]


def _create_without_links(path: Path, content: dict[str, Any]) -> bool:
    """For file systems without hard links; exclusive creation is atomic there."""
    try:
        with path.open("x") as file:
            json.dump(content, file)
    except FileExistsError:
        return False
    return True


def _is_dead(path: Path) -> bool:
    """Return whether the owner ran under this kernel and has ended."""
    try:
        stated = json.loads(path.read_text())
        here, pid, started = stated["kernel"] == _kernel(), int(stated["pid"]), stated["started"]
    except (ValueError, TypeError, KeyError):
        return False  # damaged: it expires
    return here and started is not None and _started(pid) != started


@cache
def _kernel() -> str:
    """Return what identifies the running kernel and its numbering of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """Return when a process was started, in ticks of the kernel; ``None`` if there is none, or no /proc."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in ("Z", "X") else rest[18]

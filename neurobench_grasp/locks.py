"""Locks between processes, by files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from neurobench_grasp.errors import NgbError

try:
    import fcntl
except ImportError:  # no file locks on this system
    fcntl = None  # type: ignore[assignment]

_POLL_S = 0.2


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of that path; it ends with the process, however that ends.

    Nothing is locked where the system has no locks.

    Parameters
    ----------
    path : path
        File that exists while the lock is held; its folder is created if needed.
    waiting : callable
        Called once if another process has the lock.

    Raises
    ------
    NgbError
        If the file cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _opened(path, waiting)
    except OSError as error:
        raise NgbError(f"Cannot write to {path.parent} ({error.strerror}); choose another folder.") from error
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Let one process after the other change what a folder holds; no file is left, however a process ends.

    Nothing is locked where the system has no locks.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _opened(path: Path, waiting: Callable[[], None]) -> IO[bytes]:
    """Open and lock the file; one that its last owner has removed meanwhile excludes no other process."""
    reported = False
    while True:
        file = path.open("ab")
        free = lock(file) is not False
        if free and is_at(file, path):
            return file
        file.close()
        if not free:
            if not reported:
                waiting()
            reported = True
            time.sleep(_POLL_S)


def lock(file: IO[bytes], *, shared: bool = False) -> bool | None:
    """Lock a file until it is closed: ``False`` if another process has it, ``None`` without lock support."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def is_at(file: IO[bytes], path: Path) -> bool:
    """Return whether the open file still has that name; another process may have removed or finished it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False

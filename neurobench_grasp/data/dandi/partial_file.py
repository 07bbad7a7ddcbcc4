"""Partial downloads: used by one process at a time, kept for the next when interrupted."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from neurobench_grasp.data.dandi.retry import RetryPolicy
from neurobench_grasp.errors import NgbError
from neurobench_grasp.locks import is_at, lock

SUFFIX = ".part"
_AHEAD = 32 << 20  # bytes per background sync
_DISK = ThreadPoolExecutor(2, "ngb-disk")
_POLL = 0.1  # s between checks whether another process has finished


class Part:
    """A partial file.

    Parameters
    ----------
    path : pathlib.Path
    file : binary file
        Unbuffered, open for appending.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        """Size in bytes."""
        self._synced = self.size
        self._syncing: Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Append bytes; earlier ones are synced in the background, so that the final sync is short."""
        rest = memoryview(data)
        while rest:
            n_written = self._file.write(rest)
            self.size += n_written
            rest = rest[n_written:]
        if self.size >= self._synced + _AHEAD and (self._syncing is None or self._syncing.done()):
            self._wait()
            self._synced = self.size
            self._syncing = _DISK.submit(os.fsync, self._file.fileno())

    def sync(self) -> None:
        """Wait until everything is synced to disk."""
        self._wait()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._syncing is not None:
            wait([self._syncing])
        self._file.close()

    def _wait(self) -> None:
        """Wait for the background sync, and raise its error."""
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.result()

    def clear(self) -> None:
        """Delete all bytes."""
        os.ftruncate(self._file.fileno(), 0)
        self.size = self._synced = 0


@contextmanager
def claimed(place: Path, retry: RetryPolicy, waiting: Callable[[], None]) -> Iterator[Part]:
    """Open and lock a partial file; it is removed if empty in the end.

    Where files cannot be locked, each process has a separate partial file, which is not resumed later.

    Parameters
    ----------
    place : pathlib.Path
    retry : RetryPolicy
    waiting : callable
        Called when another process has locked the file.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    path, file, locked = _open(place, retry, waiting)
    part = Part(path, file)
    try:
        yield part
    finally:
        if part.size == 0 or not locked:
            path.unlink(missing_ok=True)
        part.close()


def abandoned(folder: Path) -> list[Path]:
    """List the partial files that no process is working on."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            with path.open("rb") as file:  # the cache may be read-only
                if lock(file, shared=True) is not False:
                    found.append(path)
        except FileNotFoundError:  # finished meanwhile
            continue
    return found


def _open(path: Path, retry: RetryPolicy, waiting: Callable[[], None]) -> tuple[Path, IO[bytes], bool]:
    """Open and lock the partial file, or one of this process if locks are unsupported."""
    reported = False
    while not retry.stop.is_set():
        file = path.open("ab", buffering=0)
        locked = lock(file)
        if locked and is_at(file, path):
            return path, file, True
        file.close()
        if locked is None:
            own = path.with_name(f"{path.stem}-{uuid.uuid4().hex[:8]}{SUFFIX}")
            return own, own.open("xb", buffering=0), False
        if not locked:
            if not reported:
                waiting()
            reported = True
            retry.stop.wait(_POLL)
    raise NgbError(f"{path.stem} was not fetched, because it was stopped.")

"""Digests of a file while it is downloaded: SHA-256 and DANDI's etag, each on a separate thread."""

from __future__ import annotations

import hashlib
import math
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PART = 64 << 20
MOST_PARTS = 10_000
CHUNK = 1 << 20
_WAITING = 16  # length of the queue of each digest, in chunks


def part_size(size: int) -> int:
    """Return the part size of DANDI's etag for a file of ``size`` bytes."""
    return PART if math.ceil(size / PART) < MOST_PARTS else math.ceil(size / MOST_PARTS)


class Etag:
    """DANDI's etag: the MD5 of the MD5 digests of the file's parts, and their number.

    Parameters
    ----------
    size : int
        Bytes of the whole file.
    """

    def __init__(self, size: int) -> None:
        self.part = part_size(size)
        self.room = self.part
        self.current = hashlib.md5(usedforsecurity=False)
        self.parts: list[bytes] = []

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        rest = memoryview(data)
        while rest:
            self.current.update(rest[: self.room])
            taken = min(len(rest), self.room)
            rest, self.room = rest[taken:], self.room - taken
            if not self.room:
                self._next_part()

    def _next_part(self) -> None:
        self.parts.append(self.current.digest())
        self.current, self.room = hashlib.md5(usedforsecurity=False), self.part

    def result(self) -> str:
        """Return the etag of all bytes so far."""
        if self.room < self.part:
            self._next_part()
        whole = hashlib.md5(b"".join(self.parts), usedforsecurity=False)
        return f"{whole.hexdigest()}-{len(self.parts)}"


class Digests:
    """SHA-256 and etag of the same bytes.

    Parameters
    ----------
    size : int
        Bytes of the whole file.
    """

    def __init__(self, size: int) -> None:
        self.sha256 = hashlib.sha256()
        etag = Etag(size)
        self.etag: Etag | None = etag
        self.lanes = [_Lane(self.sha256.update), _Lane(etag.update)]

    def without_etag(self) -> None:
        """Stop computing the etag; MD5 takes twice the time of SHA-256."""
        self.etag = None
        self.lanes.pop().waiting.put(b"")

    def update(self, data: bytes) -> None:
        """Add the next bytes, which must not change afterwards."""
        for lane in self.lanes:
            lane.waiting.put(data)

    def read(self, path: Path, size: int) -> None:
        """Add the first bytes of a file."""
        with path.open("rb") as file:
            while size and (data := file.read(min(CHUNK, size))):
                self.update(data)
                size -= len(data)

    def __enter__(self) -> Digests:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in self.lanes:
            lane.waiting.put(b"")
        for lane in self.lanes:
            lane.thread.join()

    def result(self) -> tuple[str, str | None]:
        """Return SHA-256 and etag (``None`` if not computed); call it after leaving the context."""
        return self.sha256.hexdigest(), None if self.etag is None else self.etag.result()


class _Lane:
    """A thread that processes bytes in order; an empty piece ends it."""

    def __init__(self, update: Callable[[bytes], None]) -> None:
        self.waiting: queue.Queue[bytes] = queue.Queue(_WAITING)
        self.thread = threading.Thread(target=self._run, args=(update,), daemon=True)
        self.thread.start()

    def _run(self, update: Callable[[bytes], None]) -> None:
        while data := self.waiting.get():
            update(data)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

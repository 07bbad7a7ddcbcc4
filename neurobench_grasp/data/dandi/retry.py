"""How long to wait for a server."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Parameters
    ----------
    connect, read : float
        Seconds for the connection, and without any byte of an answer.
    tries : int
        Of one request.
    pause : float
        Seconds before the second try; doubled before each further one.
    longest_pause : float
        Seconds that a server may ask for at most.
    span, least : float, int
        An answer that brings fewer than ``least`` bytes in ``span`` seconds is given up: every byte comes in
        time, but the file would take days.
    stop : threading.Event
        Set to give up early.
    """

    connect: float = 10.0
    read: float = 30.0
    tries: int = 4
    pause: float = 1.0
    longest_pause: float = 60.0
    span: float = 60.0
    least: int = 60_000
    stop: threading.Event = field(default_factory=threading.Event)

    def wait(self, attempt: int, asked: str = "") -> None:
        """Wait after a failed try; ``asked`` is what the server wants, in seconds."""
        seconds = float(asked) if re.fullmatch(r"\d{1,6}", asked) else self.pause * 2**attempt
        self.stop.wait(min(seconds, self.longest_pause))


class Pace:
    """How fast an answer comes.

    Parameters
    ----------
    patience : Patience
    """

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.since = time.monotonic()
        self.n_bytes = 0

    def is_kept(self, n_bytes: int) -> bool:
        """Count bytes that came; ``False`` if a span is over that brought too few."""
        self.n_bytes += n_bytes
        if time.monotonic() < self.since + self.patience.span:
            return True
        enough = self.n_bytes >= self.patience.least
        self.since, self.n_bytes = time.monotonic(), 0
        return enough

    @property
    def words(self) -> str:
        """Why an answer is given up."""
        return f"it brings less than {self.patience.least / 1000:g} kB in {self.patience.span:g} s"

"""Timeouts and retries of requests to a server."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RetryPolicy:
    """Timeouts and retries of requests to a server.

    Parameters
    ----------
    connect, read : float
        Seconds until connected, and without receiving any byte.
    tries : int
        Maximum attempts of one request.
    pause : float
        Seconds before the second try; doubled before each further one.
    longest_pause : float
        Maximum seconds that a server may ask to wait.
    span, least : float, int
        A response that brings fewer than ``least`` bytes in ``span`` seconds is aborted: without a timeout
        between bytes, the file would take days.
    stop : threading.Event
        Set to abort.
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
        """Wait after a failed try; ``asked`` is the server's Retry-After in seconds."""
        seconds = float(asked) if re.fullmatch(r"\d{1,6}", asked) else self.pause * 2**attempt
        self.stop.wait(min(seconds, self.longest_pause))


class Pace:
    """Transfer rate of a response.

    Parameters
    ----------
    retry : RetryPolicy
    """

    def __init__(self, retry: RetryPolicy) -> None:
        self.retry = retry
        self.since = time.monotonic()
        self.n_bytes = 0

    def is_kept(self, n_bytes: int) -> bool:
        """Add received bytes; return ``False`` if a span ended with too few."""
        self.n_bytes += n_bytes
        if time.monotonic() < self.since + self.retry.span:
            return True
        enough = self.n_bytes >= self.retry.least
        self.since, self.n_bytes = time.monotonic(), 0
        return enough

    @property
    def problem(self) -> str:
        """Reason for aborting a response."""
        return f"it is slower than {self.retry.least / 1000:g} kB in {self.retry.span:g} s"

"""How long to wait for a server."""

from __future__ import annotations

import re
import threading
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
    stop : threading.Event
        Set to give up early.
    """

    connect: float = 10.0
    read: float = 30.0
    tries: int = 4
    pause: float = 1.0
    longest_pause: float = 60.0
    stop: threading.Event = field(default_factory=threading.Event)

    def wait(self, attempt: int, asked: str = "") -> None:
        """Wait after a failed try; ``asked`` is what the server wants, in seconds."""
        seconds = float(asked) if re.fullmatch(r"\d{1,6}", asked) else self.pause * 2**attempt
        self.stop.wait(min(seconds, self.longest_pause))

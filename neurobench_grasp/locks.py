"""Locks of open files, which end with their process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # no file locks on this system
    fcntl = None  # type: ignore[assignment]


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

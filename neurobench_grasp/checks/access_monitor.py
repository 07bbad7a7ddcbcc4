"""Detect whether any file of a folder was opened, by any means, with Linux's inotify."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

IN_OPEN, IN_ISDIR = 0x20, 0x40000000
HEADER = struct.Struct("iIII")  # event header: watch, mask, cookie, length of the name


class AccessMonitor:
    """Monitors a folder from now on; without inotify, it detects nothing.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = -1
        if sys.platform != "linux":
            return
        libc = ctypes.CDLL(None)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            libc.inotify_add_watch(self._descriptor, os.fsencode(folder), IN_OPEN)

    def touched(self) -> bool:
        """Return whether a file was opened since the last call."""
        if self._descriptor < 0:
            return False
        try:
            raw = os.read(self._descriptor, 1 << 16)
        except OSError:  # no event
            return False
        return any(not mask & IN_ISDIR for mask in _masks(raw))


def _masks(raw: bytes) -> list[int]:
    masks, at = [], 0
    while at < len(raw):
        _, mask, _, length = HEADER.unpack_from(raw, at)
        masks.append(mask)
        at += HEADER.size + length
    return masks

"""Limits that a process sets itself, for good, before it does what is not trusted.

Only the standard library is used, so that a process can do this before any library starts threads.
"""

from __future__ import annotations

import ctypes
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def confine(memory: int, cpu: int | None, disk: int, *, mapped: bool = True) -> list[str]:
    """Return up, for good, what reading a file or running a model does not need.

    Parameters
    ----------
    memory, disk : int
        Bytes of memory, and of any one file that is written.
    cpu : int, optional
        Seconds of computing; ``None``: no limit.
    mapped : bool
        Whether memory counts the whole address space, or only what can be written to: large libraries map
        far more than they use.

    Returns
    -------
    list of str
        What this system does not let a process give up.
    """
    import resource

    limits = {
        "a limit on memory": (resource.RLIMIT_AS if mapped else resource.RLIMIT_DATA, memory),
        "a limit on what it writes": (resource.RLIMIT_FSIZE, disk),
        "no dumps of memory": (resource.RLIMIT_CORE, 0),
    }
    if cpu is not None:
        limits["a limit on computing time"] = (resource.RLIMIT_CPU, cpu)
    unsupported_limits = []
    for words, (which, most) in limits.items():
        hard = resource.getrlimit(which)[1]
        last = most + 5 if which == resource.RLIMIT_CPU else most  # a signal first, which tells why
        if hard != resource.RLIM_INFINITY:
            most, last = min(most, hard), min(last, hard)
        try:
            resource.setrlimit(which, (most, last))
        except (ValueError, OSError):  # macOS knows some limits by name only
            unsupported_limits.append(words)
    if not without_network():
        unsupported_limits.append("no network")
    return unsupported_limits


def without_network() -> bool:
    """Move into an empty network of its own, which Linux allows to processes of one thread."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    return bool(hasattr(libc, "unshare") and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)

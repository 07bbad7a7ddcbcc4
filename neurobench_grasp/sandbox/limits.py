"""Irrevocable limits that a process sets itself before it runs untrusted code.

Only the standard library is used, so that this can precede any library that starts threads.
"""

from __future__ import annotations

import ctypes
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def apply_limits(memory: int, cpu: int | None, disk: int, *, mapped: bool = True) -> list[str]:
    """Limit or disable, irrevocably, resources that reading a file or running a model does not need.

    Parameters
    ----------
    memory, disk : int
        Bytes of memory, and of any one file that is written.
    cpu : int, optional
        Seconds of processor time; ``None``: no limit.
    mapped : bool
        Whether memory counts the whole address space, or only writable memory: large libraries map far more
        than they use.

    Returns
    -------
    list of str
        Limits that this system does not support.
    """
    import resource

    limits = {
        "memory limit": (resource.RLIMIT_AS if mapped else resource.RLIMIT_DATA, memory),
        "limit on written files": (resource.RLIMIT_FSIZE, disk),
        "disabling of core dumps": (resource.RLIMIT_CORE, 0),
    }
    if cpu is not None:
        limits["limit on processor time"] = (resource.RLIMIT_CPU, cpu)
    unsupported_limits = []
    for name, (which, most) in limits.items():
        hard = resource.getrlimit(which)[1]
        last = most + 5 if which == resource.RLIMIT_CPU else most  # the soft limit's signal names the reason
        if hard != resource.RLIM_INFINITY:
            most, last = min(most, hard), min(last, hard)
        try:
            resource.setrlimit(which, (most, last))
        except (ValueError, OSError):  # macOS supports some limits in name only
            unsupported_limits.append(name)
    if not without_network():
        unsupported_limits.append("network isolation")
    return unsupported_limits


def without_network() -> bool:
    """Move into a new, empty network namespace, which Linux allows for single-threaded processes."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    return bool(hasattr(libc, "unshare") and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)

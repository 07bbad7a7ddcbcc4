"""Irrevocable limits that a process sets itself before it runs untrusted code.

Only the standard library is used, so that this can precede any library that starts threads.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

GIB = 1 << 30
MIB = 1 << 20
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Limits:
    """Limits of a subprocess; ``None``: no limit.

    Parameters
    ----------
    seconds : float
        Wall time of a request.
    memory, disk : int, optional
        Bytes of memory, and of any one file that is written.
    cpu : int, optional
        Seconds of processor time in total.
    mapped : bool
        Whether memory counts the whole address space, or only writable memory: large libraries map far more
        than they use.
    network : bool
        Whether the network can be reached.
    """

    seconds: float = 3600.0
    memory: int | None = None
    disk: int | None = None
    cpu: int | None = None
    mapped: bool = False
    network: bool = False


def apply_limits(limits: Limits) -> list[str]:
    """Apply limits to this process, irrevocably; return those that this system does not support."""
    import resource

    wanted = {
        "memory limit": (resource.RLIMIT_AS if limits.mapped else resource.RLIMIT_DATA, limits.memory),
        "limit on written files": (resource.RLIMIT_FSIZE, limits.disk),
        "limit on processor time": (resource.RLIMIT_CPU, limits.cpu),
        "disabling of core dumps": (resource.RLIMIT_CORE, 0),
    }
    unsupported_limits = []
    for name, (which, most) in wanted.items():
        if most is None:
            continue
        hard = resource.getrlimit(which)[1]
        last = most + 5 if which == resource.RLIMIT_CPU else most  # the soft limit's signal names the reason
        if hard != resource.RLIM_INFINITY:
            most, last = min(most, hard), min(last, hard)
        try:
            resource.setrlimit(which, (most, last))
        except (ValueError, OSError):  # macOS supports some limits in name only
            unsupported_limits.append(name)
    if not limits.network and not _leave_network():
        unsupported_limits.append("network isolation")
    return unsupported_limits


def narrow(memory: int, cpu: int) -> None:
    """Lower limits that were applied, or raise them again, to at most those.

    Parameters
    ----------
    memory : int
        Bytes of address space.
    cpu : int
        Seconds of processor time since the start of this process.
    """
    import resource

    for which, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu)):
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _leave_network() -> bool:
    """Move into a new, empty network namespace, which Linux allows for single-threaded processes."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    return bool(hasattr(libc, "unshare") and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)


def end_with_parent(signal: int) -> None:
    """Let the kernel send this process a signal when its parent ends, where it can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)

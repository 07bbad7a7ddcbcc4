"""The process in which a stranger's file is read; :mod:`neurobench_grasp.data.quarantine` starts it.

It confines itself before the file is opened, reads, writes its answer into the current folder, and ends.
"""

from __future__ import annotations

import ctypes
import errno
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neurobench_grasp.data.inspection import inspect_file
from neurobench_grasp.data.packed import write_packed
from neurobench_grasp.data.quarantine import NOT_HAD, REFUSED
from neurobench_grasp.data.reader import load_session, validate_file
from neurobench_grasp.errors import NgbError

TASKS: Mapping[str, Callable[..., Any]] = {
    "session": load_session,
    "inspection": inspect_file,
    "findings": validate_file,
}
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def main() -> None:
    """Do what the first argument orders, as JSON."""
    order = json.loads(sys.argv[1])
    not_had = confine(**order["limits"])
    Path(NOT_HAD).write_text(json.dumps(not_had))
    try:
        value = TASKS[order["task"]](order["path"], order["layout"])
        write_packed(Path(), value)
    except NgbError as error:
        refused = {"kind": type(error).__name__, "message": str(error)}
    except MemoryError:
        refused = {"limit": "memory"}
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        refused = {"limit": "disk"}
    else:
        return
    Path(REFUSED).write_text(json.dumps(refused))


def confine(memory: int, cpu: int, disk: int) -> list[str]:
    """Give up, for good, what reading a file does not need.

    Parameters
    ----------
    memory, disk : int
        Bytes of address space, and of any one file that is written.
    cpu : int
        Seconds of computing.

    Returns
    -------
    list of str
        What this system does not let a process give up.
    """
    import resource

    limits = {
        "a limit on memory": (resource.RLIMIT_AS, memory),
        "a limit on computing time": (resource.RLIMIT_CPU, cpu),
        "a limit on what it writes": (resource.RLIMIT_FSIZE, disk),
        "no dumps of memory": (resource.RLIMIT_CORE, 0),
    }
    not_had = []
    for words, (which, most) in limits.items():
        hard = resource.getrlimit(which)[1]
        last = most + 5 if which == resource.RLIMIT_CPU else most  # a signal first, which tells why
        if hard != resource.RLIM_INFINITY:
            most, last = min(most, hard), min(last, hard)
        try:
            resource.setrlimit(which, (most, last))
        except (ValueError, OSError):  # macOS knows some limits by name only
            not_had.append(words)
    if not _without_network():
        not_had.append("no network")
    return not_had


def _without_network() -> bool:
    """Move into an empty network of its own, which Linux allows to processes of one thread."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    return bool(hasattr(libc, "unshare") and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)


if __name__ == "__main__":
    main()

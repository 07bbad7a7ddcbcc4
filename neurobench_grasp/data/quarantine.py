"""Read files of unknown origin in a resource-limited subprocess.

HDF5 is a large library in C, and the pre-scan itself runs on it. Whatever a file does to it, this process
only receives plain numbers and text, which it checks, or how the subprocess ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurobench_grasp.contract import Session
from neurobench_grasp.data.digest import session_digest
from neurobench_grasp.data.nwb import inspect, read
from neurobench_grasp.data.nwb.file import NwbFile, check_heaps, check_regular, open_nwb
from neurobench_grasp.data.nwb.findings import Finding
from neurobench_grasp.data.nwb.inspect import Inspection
from neurobench_grasp.data.validate import is_consistent
from neurobench_grasp.errors import NgbError, UnsafeFileError
from neurobench_grasp.sandbox.environment import NETWORK, child_environment
from neurobench_grasp.sandbox.limits import GIB, MIB, Limits, narrow
from neurobench_grasp.sandbox.process import Process, ProcessError
from neurobench_grasp.text import plain

LIMITS = Limits(seconds=600.0, memory=6 * GIB, disk=4 * GIB, cpu=300, mapped=True)
BASE_MEMORY, BASE_CPU = 768 * MIB, 8
"""Bytes, and seconds of processor time, in which any file can be opened and scanned."""
COPIES = 4
"""Times that the content of a file is in memory while it is read, checked and sent."""
CPU_PER_GIB = 40
"""Seconds of processor time for each GiB of content, in addition."""
TASKS: Mapping[str, Callable[[NwbFile, str | Path | None], Any]] = {
    "session": read.session_of,
    "inspection": inspect.inspection_of,
    "findings": read.findings_of,
}
SERVE = f"{__name__}:Reader"
OWN = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}
"""Environment variables of the subprocess: threads take address space, and HDF5 finds no plugins at all."""
MOST_TEXT = 4000  # characters of a note


def load_session(
    path: str | os.PathLike[str],
    layout: str | Path | None = None,
    *,
    quarantine: bool = True,
    limits: Limits = LIMITS,
    progress: Callable[[str], None] = lambda text: None,
) -> Session:
    """Read a recording session: scan the file, read it by a layout, validate it.

    Parameters
    ----------
    path : path-like
        An NWB 2 file.
    layout : str or path, optional
        Name of a shipped layout or path of a YAML file; ``None``: the one that fits best.
    quarantine : bool
        Read it in a resource-limited subprocess; ``False``: in this process, for files that you trust.
    limits : Limits
        Of the subprocess.
    progress : callable
        Called with the protections that this machine does not support.

    Returns
    -------
    Session
        Entirely in memory; corrections and warnings are in its ``notes``.

    Raises
    ------
    UnsafeFileError
        If the scan refuses the file, or the subprocess crashes, reaches a limit or responds invalidly.
    CorruptFileError
        If it is damaged, or validation finds errors.
    LayoutError
        If the layout does not fit, or none does, or two fit equally well.
    NgbError
        If subprocesses cannot be limited on this system.
    """
    session: Session = _read("session", Session, path, layout, quarantine, limits, progress)
    if not quarantine:
        return session
    if not is_consistent(session) or session_digest(session) != session.sha256:
        raise _invalid(path)
    return replace(session, notes=tuple(plain(n, MOST_TEXT) for n in session.notes))


def inspect_file(
    path: str | os.PathLike[str],
    layout: str | Path | None = None,
    *,
    quarantine: bool = True,
    limits: Limits = LIMITS,
    progress: Callable[[str], None] = lambda text: None,
) -> Inspection:
    """Report what is inside an NWB file, even where no layout fits; parameters of :func:`load_session`."""
    found: Inspection = _read("inspection", Inspection, path, layout, quarantine, limits, progress)
    return replace(found, path=os.fspath(path))


def validate_file(
    path: str | os.PathLike[str],
    layout: str | Path | None = None,
    *,
    quarantine: bool = True,
    limits: Limits = LIMITS,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[Finding, ...]:
    """List everything that is wrong or unusual in a file; parameters of :func:`load_session`.

    Returns
    -------
    tuple of Finding
        Errors first. Where no layout fits, they list what the best one lacks.
    """
    kind = tuple[Finding, ...]
    findings: tuple[Finding, ...] = _read("findings", kind, path, layout, quarantine, limits, progress)
    return findings


class Reader:
    """Reads one file in the subprocess; ``narrow`` lets it have what the declared content explains.

    Parameters
    ----------
    progress : callable
    """

    def __init__(self, progress: Callable[[str], None]) -> None:
        allow(0)

    def do_read(self, task: str, path: str, layout: str | None) -> Any:
        """Scan the file and perform a task."""
        check_regular(Path(path), "NWB")
        check_heaps(Path(path))
        with open_nwb(path) as nwb:
            allow(nwb.tree.n_bytes)
            return TASKS[task](nwb, layout)


def allow(content: int) -> None:
    """Limit this process to the memory and the time that so many bytes of content explain."""
    narrow(BASE_MEMORY + COPIES * content, BASE_CPU + CPU_PER_GIB * content // GIB)


def _read(
    task: str,
    kind: Any,
    path: str | os.PathLike[str],
    layout: str | Path | None,
    quarantine: bool,
    limits: Limits,
    progress: Callable[[str], None],
) -> Any:
    if not quarantine:
        with open_nwb(path) as nwb:
            return TASKS[task](nwb, layout)
    given = {"task": task, "path": os.fspath(path), "layout": None if layout is None else str(layout)}
    return ask(SERVE, kind, path, limits, progress, **given)


def ask(
    serve: str,
    kind: Any,
    path: str | os.PathLike[str],
    limits: Limits,
    progress: Callable[[str], None],
    /,
    **given: Any,
) -> Any:
    """Call ``do_read`` of a server in a subprocess.

    Parameters
    ----------
    serve : str
        As for :class:`~neurobench_grasp.sandbox.process.Process`.
    kind : type
        Of the result.
    path : path-like
        Of the file, for error messages.
    limits : Limits
    progress : callable
    given
        Arguments, as JSON.

    Raises
    ------
    NgbError
        As of :func:`load_session`.
    """
    if os.name != "posix":
        raise NgbError(
            "Files of unknown origin are read in a subprocess with limits, which only Linux and macOS have; "
            "read the file in a virtual machine, or with --no-quarantine if you trust it."
        )
    environment = child_environment(*(NETWORK if limits.network else ()), **OWN)
    with Process(
        serve, limits, name="quarantine", environment=environment, cwd=Path.cwd(), progress=progress
    ) as process:
        try:
            return process.ask("read", kind=kind, **given)
        except ProcessError as error:
            raise _refused(path, error, limits) from error


def _refused(path: str | os.PathLike[str], error: ProcessError, limits: Limits) -> UnsafeFileError:
    """Return the error for a file that was not read."""
    reached = {
        "memory": f"needs more memory than its content explains (or {(limits.memory or 0) / GIB:.3g} GiB)",
        "cpu": f"takes more processor time than its content explains (or {limits.cpu} s)",
        "seconds": f"takes more than {limits.seconds:g} s",
        "disk": f"yields more than {(limits.disk or 0) / GIB:.3g} GiB of data",
    }
    if error.reason in reached:
        return UnsafeFileError(
            f"{Path(path).name} was not read, because reading it {reached[error.reason]}, the limit of "
            "quarantine; read it with --no-quarantine only if you trust its source."
        )
    if error.reason == "invalid":
        return _invalid(path)
    how = f"failed: {error.text.rstrip('.')}" if error.reason == "failed" else error.text
    return UnsafeFileError(
        f"{Path(path).name} was not read, because the quarantine process {how}; do not use the file."
    )


def _invalid(path: str | os.PathLike[str]) -> UnsafeFileError:
    return UnsafeFileError(
        f"{Path(path).name} was not read, because the quarantine process returned an invalid response; "
        "do not use the file."
    )

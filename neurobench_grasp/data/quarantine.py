"""Read an untrusted file in a resource-limited subprocess.

HDF5 is a large library in C, and the pre-scan itself runs on it. Whatever a file does to it, this process
only receives plain numbers and text, which it checks, or the exit code of the subprocess.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neurobench_grasp import errors
from neurobench_grasp.contract import Session
from neurobench_grasp.data.dandi.instances import plain
from neurobench_grasp.data.digest import session_digest
from neurobench_grasp.data.nwb.findings import Finding
from neurobench_grasp.data.nwb.inspect import Inspection
from neurobench_grasp.data.nwb.scan import GIB, MIB
from neurobench_grasp.data.validate import is_consistent
from neurobench_grasp.errors import NgbError, UnsafeFileError
from neurobench_grasp.sandbox.wire import PackedError, read_packed

CHILD = "neurobench_grasp.data.quarantine_worker"
REFUSED, UNSUPPORTED = "refused.json", "unsupported_limits.json"
"""Written by the child next to its answer: the error, and the limits that it could not set."""
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")
"""Environment variables passed on; tokens and the path of HDF5 plugins are not among them."""
MOST_TEXT = 4000  # characters of a message


@dataclass(frozen=True)
class Quarantine:
    """Reads files in a subprocess, as :func:`load_session`, :func:`inspect_file`, :func:`validate_file` do.

    Parameters
    ----------
    memory, disk : int
        Bytes of address space, and of any one file that the process writes.
    cpu, wall : float
        Seconds of processor time and of wall time.
    progress : callable
        Called with the protections that this machine does not support.
    """

    memory: int = 6 * GIB
    disk: int = 4 * GIB
    cpu: int = 300
    wall: float = 600.0
    progress: Callable[[str], None] = lambda text: None

    def load_session(self, path: str | os.PathLike[str], layout: str | Path | None = None) -> Session:
        """Read a session; its digest is that of a direct read.

        Raises
        ------
        UnsafeFileError
            If the process crashes, reaches a limit or returns an invalid response.
        NgbError
            Errors of a direct read, too; and if processes cannot be limited on this system.
        """
        session: Session = self._read("session", path, layout, Session)
        if not is_consistent(session) or session_digest(session) != session.sha256:
            raise self._invalid(path)
        return replace(session, notes=tuple(plain(n, MOST_TEXT) for n in session.notes))

    def inspect_file(self, path: str | os.PathLike[str], layout: str | Path | None = None) -> Inspection:
        """Report what is inside a file; errors as of :meth:`load_session`."""
        found: Inspection = self._read("inspection", path, layout, Inspection)
        return replace(found, path=str(path))

    def validate_file(
        self, path: str | os.PathLike[str], layout: str | Path | None = None
    ) -> tuple[Finding, ...]:
        """List everything that is wrong or unusual in a file; errors as of :meth:`load_session`."""
        findings: tuple[Finding, ...] = self._read("findings", path, layout, tuple[Finding, ...])
        return findings

    def _read(self, task: str, path: str | os.PathLike[str], layout: str | Path | None, kind: Any) -> Any:
        if os.name != "posix":
            raise NgbError(
                "Quarantine needs limits on processes, which only Linux and macOS have; read the file in a "
                "virtual machine, or without --quarantine if you trust it."
            )
        order = {
            "task": task,
            "path": os.path.abspath(path),
            "layout": _absolute(layout),
            "limits": {"memory": self.memory, "cpu": self.cpu, "disk": self.disk},
        }
        with tempfile.TemporaryDirectory(prefix="ngb-quarantine-") as folder:
            scratch = Path(folder)
            code = _run(_command(order), scratch, self.wall)
            self._report_unsupported(_json(scratch / UNSUPPORTED))
            if code != 0:
                raise self._ended(path, code)
            refused = _json(scratch / REFUSED)
            if isinstance(refused, dict):
                raise self._refused(path, refused)
            try:
                return read_packed(scratch, kind)
            except PackedError as error:
                raise self._invalid(path) from error

    def _report_unsupported(self, unsupported_limits: Any) -> None:
        if isinstance(unsupported_limits, list) and unsupported_limits:
            limits = ", ".join(plain(w, 100) for w in unsupported_limits)
            self.progress(f"quarantine: not supported on this machine: {limits}")

    def _refused(self, path: str | os.PathLike[str], refused: dict[str, Any]) -> NgbError:
        """Convert the child's error into one of this package's errors."""
        limits = {
            "memory": f"needs more than {self.memory / GIB:.3g} GiB of memory",
            "disk": f"yields more than {self.disk / GIB:.3g} GiB of data",
        }
        if refused.get("limit") in limits:
            return self._beyond(path, limits[refused["limit"]])
        kind = getattr(errors, str(refused.get("kind")), None)
        message = plain(refused.get("message"), MOST_TEXT)
        if not (isinstance(kind, type) and issubclass(kind, NgbError) and message):
            return self._invalid(path)
        return kind(message)

    def _ended(self, path: str | os.PathLike[str], code: int | None) -> NgbError:
        """Return the error for a child that ended without an answer; ``None``: it was stopped on timeout."""
        if code is None:
            return self._beyond(path, f"takes more than {self.wall:g} s")
        if code == -signal.SIGXCPU:
            return self._beyond(path, f"takes more than {self.cpu} s of processor time")
        how = f"crashed ({_signal_name(-code)})" if code < 0 else f"stopped (exit code {code})"
        return UnsafeFileError(
            f"{Path(path).name} was not read, because the quarantine process {how}; do not "
            f"use the file, unless it is so large that it may need more than {self.memory / GIB:.3g} GiB."
        )

    def _beyond(self, path: str | os.PathLike[str], what: str) -> UnsafeFileError:
        return UnsafeFileError(
            f"{Path(path).name} was not read, because reading it {what}, the limit of quarantine; "
            "read it without --quarantine only if you trust its source."
        )

    def _invalid(self, path: str | os.PathLike[str]) -> UnsafeFileError:
        return UnsafeFileError(
            f"{Path(path).name} was not read, because the quarantine process returned an invalid response; "
            "do not use the file."
        )


def _command(order: dict[str, Any]) -> list[str]:
    """Return the command of the child; it does not import code from its working folder."""
    return [sys.executable, "-P", "-m", CHILD, json.dumps(order)]


def _run(command: list[str], scratch: Path, wall: float) -> int | None:
    """Run the child until it ends; ``None`` on timeout."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    own = {
        "TMPDIR": str(scratch),
        "HDF5_PLUGIN_PRELOAD": "::",  # no plugins at all
        "OPENBLAS_NUM_THREADS": "1",  # threads take address space and prevent a new network namespace
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    silent = subprocess.DEVNULL
    child = subprocess.Popen(
        command,
        cwd=scratch,
        env=kept | own,
        stdin=silent,
        stdout=silent,
        stderr=silent,
        start_new_session=True,
    )
    try:
        return child.wait(wall)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _json(path: Path) -> Any:
    """Read a short JSON file of the child; ``None`` if there is none."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MIB:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _absolute(layout: str | Path | None) -> str | None:
    """Make the path of a layout file absolute; names of shipped layouts stay."""
    if layout is None:
        return None
    return os.path.abspath(layout) if Path(layout).suffix in (".yaml", ".yml") else str(layout)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""Read an untrusted file in a subprocess, with limits, so that it can do no harm to this one.

HDF5 is a large library in C, and the pre-scan itself runs on it. Whatever a file does to it, this process
only sees an answer of plain numbers and text, which it checks, or a process that ended.
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
from neurobench_grasp.data.validate import is_whole
from neurobench_grasp.errors import NgbError, UnsafeFileError
from neurobench_grasp.sandbox.wire import PackedError, read_packed

CHILD = "neurobench_grasp.data.quarantine_worker"
REFUSED, NOT_HAD = "refused.json", "unsupported_limits.json"
"""What the child writes beside its answer: why there is none, and which limits it could not set."""
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")
"""Of the environment; tokens and the place of HDF5 plugins are not among it."""
MOST_TEXT = 4000  # characters of a message


@dataclass(frozen=True)
class Quarantine:
    """Reads files as :func:`load_session`, :func:`inspect_file` and :func:`validate_file` do, but apart.

    Parameters
    ----------
    memory, disk : int
        Bytes of address space, and of any one file that the process writes.
    cpu, wall : float
        Seconds of computing, and in all.
    tell : callable
        Told in words which protections this machine does not have.
    """

    memory: int = 6 * GIB
    disk: int = 4 * GIB
    cpu: int = 300
    wall: float = 600.0
    tell: Callable[[str], None] = lambda text: None

    def load_session(self, path: str | os.PathLike[str], layout: str | Path | None = None) -> Session:
        """Read a session; its digest is that of a direct read.

        Raises
        ------
        UnsafeFileError
            If the process crashes, reaches a limit or hands back nonsense.
        NgbError
            Those of a direct read, too; and where processes cannot be limited at all.
        """
        session: Session = self._read("session", path, layout, Session)
        if not is_whole(session) or session_digest(session) != session.sha256:
            raise self._nonsense(path)
        return replace(session, notes=tuple(plain(n, MOST_TEXT) for n in session.notes))

    def inspect_file(self, path: str | os.PathLike[str], layout: str | Path | None = None) -> Inspection:
        """Report what is inside a file; errors as of :meth:`load_session`."""
        found: Inspection = self._read("inspection", path, layout, Inspection)
        return replace(found, path=str(path))

    def validate_file(
        self, path: str | os.PathLike[str], layout: str | Path | None = None
    ) -> tuple[Finding, ...]:
        """List everything that is wrong or odd in a file; errors as of :meth:`load_session`."""
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
            self._tell_not_had(_json(scratch / NOT_HAD))
            if code != 0:
                raise self._ended(path, code)
            refused = _json(scratch / REFUSED)
            if isinstance(refused, dict):
                raise self._refused(path, refused)
            try:
                return read_packed(scratch, kind)
            except PackedError as error:
                raise self._nonsense(path) from error

    def _tell_not_had(self, unsupported_limits: Any) -> None:
        if isinstance(unsupported_limits, list) and unsupported_limits:
            words = ", ".join(plain(w, 100) for w in unsupported_limits)
            self.tell(f"quarantine: this machine does not give the process that reads {words}")

    def _refused(self, path: str | os.PathLike[str], refused: dict[str, Any]) -> NgbError:
        """Repeat the child's error, in one of our own kinds."""
        limits = {
            "memory": f"takes more than {self.memory / GIB:.3g} GiB of memory",
            "disk": f"gives more than {self.disk / GIB:.3g} GiB of data",
        }
        if refused.get("limit") in limits:
            return self._beyond(path, limits[refused["limit"]])
        kind = getattr(errors, str(refused.get("kind")), None)
        message = plain(refused.get("message"), MOST_TEXT)
        if not (isinstance(kind, type) and issubclass(kind, NgbError) and message):
            return self._nonsense(path)
        return kind(message)

    def _ended(self, path: str | os.PathLike[str], code: int | None) -> NgbError:
        """Report how a process ended that gave no answer; ``None``: it was stopped after all its time."""
        if code is None:
            return self._beyond(path, f"takes more than {self.wall:g} s")
        if code == -signal.SIGXCPU:
            return self._beyond(path, f"takes more than {self.cpu} s of computing")
        how = f"crashed ({_signal_name(-code)})" if code < 0 else f"broke off (exit code {code})"
        return UnsafeFileError(
            f"{Path(path).name} was not read, because the process that read it in quarantine {how}; do not "
            f"use the file, unless it is so large that {self.memory / GIB:.3g} GiB of memory may not do."
        )

    def _beyond(self, path: str | os.PathLike[str], what: str) -> UnsafeFileError:
        return UnsafeFileError(
            f"{Path(path).name} was not read, because reading it {what}, the most that quarantine allows; "
            "read it without --quarantine only if you trust where it comes from."
        )

    def _nonsense(self, path: str | os.PathLike[str]) -> UnsafeFileError:
        return UnsafeFileError(
            f"{Path(path).name} was not read, because the process that read it in quarantine handed back "
            "what is no sound answer; do not use the file."
        )


def _command(order: dict[str, Any]) -> list[str]:
    """Command of the child; it does not look for code in its folder."""
    return [sys.executable, "-P", "-m", CHILD, json.dumps(order)]


def _run(command: list[str], scratch: Path, wall: float) -> int | None:
    """Run the child to its end; ``None`` where it had to be stopped."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    own = {
        "TMPDIR": str(scratch),
        "HDF5_PLUGIN_PRELOAD": "::",  # no plugins at all
        "OPENBLAS_NUM_THREADS": "1",  # threads take address space and forbid a network of its own
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
    """Read a short JSON file of the child; ``None`` where there is none."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MIB:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _absolute(layout: str | Path | None) -> str | None:
    """Let a layout's file be found from another folder; names of shipped layouts stay."""
    if layout is None:
        return None
    return os.path.abspath(layout) if Path(layout).suffix in (".yaml", ".yml") else str(layout)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""Subprocesses in which plugins are checked, so that one that hangs, exits or crashes affects no other."""

from __future__ import annotations

import json
import os
import queue
import signal
import site
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

CHILD = "neurobench_grasp.checks.worker"
KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "NGB_DISABLE_PLUGINS",
)
"""Environment variables passed on; tokens are not among them."""
OWN = {"cwd": "", "home": "HOME", "tmp": "TMPDIR", "tmp/cache": "XDG_CACHE_HOME", "cache": "NGB_CACHE"}
"""Folders of a child, and the environment variables that name them."""

START_S = 60.0
"""Seconds within which a child must start."""


class EndedError(Exception):
    """A child ended prematurely; the message states how."""


@dataclass(frozen=True)
class Child:
    """A process that runs one task and reports line by line.

    Parameters
    ----------
    folder : path
        Parent of its home, temporary and current folders.
    shares : bool
        Keep the user's own home and cache, for datasets that are fetched once.
    """

    folder: Path
    shares: bool = False

    def run(self, order: Mapping[str, Any], limit: float) -> Iterator[dict[str, Any]]:
        """Yield the messages of a child while it runs a task.

        Parameters
        ----------
        order : mapping
            JSON values; see :mod:`neurobench_grasp.checks.worker`.
        limit : float
            Seconds without a message, after its start, until it is stopped.

        Raises
        ------
        EndedError
            If it ends prematurely, or is stopped after the time limit.
        """
        with (self.folder / "stderr.txt").open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", CHILD, json.dumps(order)],
                cwd=self._folders()["cwd"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert child.stdout is not None
        lines: queue.Queue[bytes] = queue.Queue()
        reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
        reader.start()
        try:
            yield from self._messages(child, lines, limit)
        finally:
            _stop(child)
            reader.join()

    def _messages(
        self, child: subprocess.Popen[bytes], lines: queue.Queue[bytes], limit: float
    ) -> Iterator[dict[str, Any]]:
        wait = max(limit, START_S)
        while True:
            try:
                line = lines.get(timeout=wait)
            except queue.Empty:
                raise EndedError(f"did not finish within {wait:g} s and was stopped") from None
            wait = limit
            if not line:
                raise EndedError(self._ending(child.wait()))
            message = json.loads(line)
            if message == {"done": True}:
                return
            yield message

    def _ending(self, code: int) -> str:
        if code < 0:
            return f"crashed the process ({signal.Signals(-code).name})"
        last = (self.folder / "stderr.txt").read_text(errors="replace").strip().splitlines()[-1:]
        why = f": {last[0][:200]}" if code == 1 and last else ""
        return f"ended the process (exit code {code}){why}"

    def _folders(self) -> dict[str, Path]:
        folders = {name: self.folder / name for name in OWN}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        return folders

    def _environment(self) -> dict[str, str]:
        given = dict(os.environ) if self.shares else {k: os.environ[k] for k in KEPT if k in os.environ}
        folders = self._folders()
        own = (
            {}
            if self.shares
            else {variable: str(folders[name]) for name, variable in OWN.items() if variable}
        )
        return given | own | {
            "PYTHONUSERBASE": site.getuserbase(),  # target of `pip install --user`, independent of HOME
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLCONFIGDIR": str(folders["tmp"]),
            "OPENBLAS_NUM_THREADS": "1",  # a multi-threaded process cannot change its network namespace
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip


def _read(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    """Forward each line, and an empty one at the end."""
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(b"")


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Stop a child and its descendants."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        child.kill()
    child.wait()

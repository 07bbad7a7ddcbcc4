"""Children in which plugins are looked at: a plugin that hangs, exits or crashes harms nobody else."""

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
"""Of the environment; tokens are not among it."""
OWN = {"cwd": "", "home": "HOME", "tmp": "TMPDIR", "tmp/cache": "XDG_CACHE_HOME", "cache": "NGB_CACHE"}
"""Folders of a child, and the variables that name them to it."""

START_S = 60.0
"""Seconds that a child may take to begin."""


class EndedError(Exception):
    """A child ended before it was done; the message says how."""


@dataclass(frozen=True)
class Child:
    """A process that does one thing and tells of it line by line.

    Parameters
    ----------
    folder : path
        Where its home, temporary and current folders are.
    shares : bool
        Keep the user's own home and cache, for datasets that are fetched once.
    """

    folder: Path
    shares: bool = False

    def tell(self, order: Mapping[str, Any], limit: float) -> Iterator[dict[str, Any]]:
        """Yield what a child says while it does what is ordered.

        Parameters
        ----------
        order : mapping
            JSON values; see :mod:`neurobench_grasp.checks.worker`.
        limit : float
            Seconds that it may be silent once it has begun.

        Raises
        ------
        EndedError
            If it breaks off, or is silent for too long and is stopped.
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
            yield from self._said(child, lines, limit)
        finally:
            _stop(child)
            reader.join()

    def _said(
        self, child: subprocess.Popen[bytes], lines: queue.Queue[bytes], limit: float
    ) -> Iterator[dict[str, Any]]:
        wait = max(limit, START_S)
        while True:
            try:
                line = lines.get(timeout=wait)
            except queue.Empty:
                raise EndedError(f"was not done after {wait:g} s and was stopped") from None
            wait = limit
            if not line:
                raise EndedError(self._ending(child.wait()))
            said = json.loads(line)
            if said == {"done": True}:
                return
            yield said

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
            "PYTHONUSERBASE": site.getuserbase(),  # where `pip install --user` puts things, whatever HOME is
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLCONFIGDIR": str(folders["tmp"]),
            "OPENBLAS_NUM_THREADS": "1",  # a process of several threads cannot leave the network
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip


def _read(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    """Hand on each line, and an empty one at the end."""
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(b"")


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a child and whatever it has started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        child.kill()
    child.wait()

"""Subprocesses in which plugins are checked, so that one that hangs, exits or crashes affects no other."""

from __future__ import annotations

import site
from pathlib import Path

from neurobench_grasp.sandbox.environment import NETWORK, child_environment
from neurobench_grasp.sandbox.limits import Limits
from neurobench_grasp.sandbox.process import Process, ProcessError

FOLDERS = {"cwd": "", "home": "HOME", "tmp": "TMPDIR", "tmp/cache": "XDG_CACHE_HOME", "cache": "NGB_CACHE"}
"""Folders of a process, and the environment variables that name them."""


def process_of(folder: Path, seconds: float, *, shares: bool = False) -> Process:
    """Return a process that serves :class:`neurobench_grasp.checks.worker.Checker`.

    Parameters
    ----------
    folder : path
        Parent of its home, temporary and current folders.
    seconds : float
        Time limit of each request.
    shares : bool
        Keep the user's own home and cache, and the network, for datasets that are fetched once.
    """
    folders = {name: folder / name for name in FOLDERS}
    for each in folders.values():
        each.mkdir(parents=True, exist_ok=True)
    own = {variable: str(folders[name]) for name, variable in FOLDERS.items() if variable}
    environment = {
        **(child_environment(*NETWORK) if shares else child_environment(**own)),
        "PYTHONUSERBASE": site.getuserbase(),  # target of `pip install --user`, independent of HOME
        "MPLCONFIGDIR": str(folders["tmp"]),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    return Process(
        "neurobench_grasp.checks.worker:Checker",
        Limits(seconds, network=shares),
        environment=environment,
        cwd=folders["cwd"],
    )


def ending_of(error: ProcessError) -> str:
    """Return how a plugin ended its process, as the end of a sentence about it."""
    if error.reason == "seconds":
        return f"did not finish within {error.text.removeprefix('took more than ')} and was stopped"
    if error.code is None:
        return f"failed ({error.text})"
    if error.code < 0:
        return error.text.replace("crashed", "crashed the process")
    return f"ended the process (exit code {error.code})" + (f": {error.last}" if error.last else "")

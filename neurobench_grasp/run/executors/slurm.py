"""Tasks on SLURM: job arrays of workers, submitted and watched from a login node."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.errors import NgbError
from neurobench_grasp.run.executors.local import fetch_here
from neurobench_grasp.run.executors.watch import Left, Watch
from neurobench_grasp.run.grid import Grid
from neurobench_grasp.run.resources import Resources, Site, read_site
from neurobench_grasp.run.tasks import FETCH
from neurobench_grasp.run.workspace import Workspace
from neurobench_grasp.sandbox.environment import child_environment
from neurobench_grasp.threads import CORES

POLL_S = 2.0
"""Seconds between checks of the grid."""
ASK_S = 10.0
"""Seconds between questions to the scheduler."""
TRIES = 6
"""Of a submission, while the scheduler does not answer."""
ROUNDS = 3
"""Of submissions without any attempt at a task, after which nothing is submitted again."""
WARNING_S = 60
"""Seconds before a time limit at which a worker is asked to end; at most a quarter of the limit."""
SITE_VARIABLES = (
    "SLURM_CONF", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "VIRTUAL_ENV", "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV", "MODULEPATH", "MODULESHOME", "LMOD_CMD", "LMOD_DIR", "BASH_ENV", "XDG_CONFIG_HOME",
    "NGB_DANDI_INSTANCE",
)  # fmt: skip
"""Beside those that subprocesses receive; no token or key is among them."""
THREADS = CORES, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"


@dataclass(frozen=True)
class Slurm:
    """Performs tasks in job arrays, one array for each kind of task.

    Each job of an array is a worker (``ngb work``) that performs tasks until none is left, so that arrays
    are short, and a job that is preempted, killed or out of time leaves its task to another one. All that is
    known of tasks is in the grid's files; neither accounting nor a running daemon of ours is needed. Run
    folder, cache and Python must be visible on the nodes.

    Parameters
    ----------
    site : Site
    cancel : bool
        When interrupted, cancel the jobs instead of leaving them.
    """

    site: Site
    cancel: bool = False

    @classmethod
    def here(cls, *, cancel: bool) -> Slurm:
        """Return the executor of this machine's cluster.

        Raises
        ------
        NgbError
            If it has none, or the settings of the site are wrong.
        """
        if shutil.which("sbatch") is None:
            raise NgbError(
                "There is no `sbatch` on this machine; use --on slurm on a login node of a cluster."
            )
        return cls(read_site(), cancel)

    def run(self, grid: Grid, workspace: Workspace) -> Mapping[int, BaseException]:
        """Perform all tasks."""
        failures = fetch_here(grid, workspace)
        arrays = known_arrays(grid)
        try:
            _until_finished(grid, workspace, self.site, arrays)
        except KeyboardInterrupt as error:
            if not (submitted := known_arrays(grid)):
                raise
            named = f"the SLURM jobs {', '.join(submitted)}"
            if self.cancel and subprocess.run(["scancel", *submitted], check=False).returncode == 0:
                raise KeyboardInterrupt(
                    f"Stopped, and cancelled {named}; the same command continues."
                ) from error
            raise Left(f"{named} go on") from error
        return failures


def known_arrays(grid: Grid) -> list[str]:
    """Return the arrays that were submitted for a grid."""
    return sorted(path.suffix[1:] for path in grid.folder.glob("slurm/*.sh.*") if path.suffix[1:].isdecimal())


def _until_finished(grid: Grid, workspace: Workspace, site: Site, arrays: list[str]) -> None:
    """Submit arrays whenever tasks are left and no job is, until all tasks have ended."""
    asked, tried, rounds = -ASK_S, -1, 0
    watch = Watch(grid, workspace.progress)
    while not grid.is_finished():
        if time.monotonic() - asked >= ASK_S:
            asked = time.monotonic()
            ready = next(grid.ready(), None) is not None  # else a claim of a lost job has not expired yet
            if ready and _alive(arrays) is False:
                attempts = grid.attempts()
                rounds = rounds + 1 if attempts == tried else 1
                if rounds > ROUNDS:
                    raise NgbError(
                        f"SLURM jobs ended {ROUNDS} times without beginning a task; see the logs in "
                        f"{grid.folder / 'slurm'}."
                    )
                tried = attempts
                arrays += submit(grid, site)
                workspace.progress(f"submitted to SLURM: {', '.join(arrays)}")
        watch.report()
        time.sleep(POLL_S)


def submit(grid: Grid, site: Site) -> list[str]:
    """Submit an array for each kind of task that is left; return their ids.

    Jobs that need what others make start after these have ended.
    """
    left = Counter(grid.tasks[i].kind for i in grid.unended())
    folder = grid.folder / "slurm"
    folder.mkdir(exist_ok=True)
    arrays: list[str] = []
    for kind in sorted(left, key=lambda kind: kind not in _needed(grid)):
        resources = site.resources.get(kind) or Resources()
        if any(str(task.what.get("device")).startswith("cuda") for task in grid.tasks if task.kind == kind):
            resources = replace(resources, gpus=max(1, resources.gpus))
        script = folder / f"{kind}.sh"
        write_atomically(script, _script(grid, kind, min(left[kind], site.workers), resources, site).encode())
        after = [f"--dependency=afterany:{':'.join(arrays)}"] if arrays else []
        log = str(folder.resolve()).replace("%", "%%") + "/%A_%a.log"
        arrays.append(_sbatch([*after, f"--output={log}", str(script)]))
        script.with_suffix(f".sh.{arrays[-1]}").touch()
    return arrays


def _sbatch(arguments: Sequence[str]) -> str:
    """Submit a script, and return the id of its array; a scheduler that is busy is asked again."""
    for attempt in range(1, TRIES + 1):
        done = subprocess.run(
            ["sbatch", "--parsable", *arguments],
            env=child_environment(*SITE_VARIABLES),
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.match(r"(\d+)(;|\s|$)", done.stdout)
        if done.returncode == 0 and found:
            return found[1]
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        if attempt == TRIES or not re.search("timed out|[Uu]nable to contact|temporarily", reason):
            break
        time.sleep(ASK_S)
    raise NgbError(
        f"sbatch refused {arguments[-1]} ({reason}); see docs/clusters.md for the site's settings."
    )


def _needed(grid: Grid) -> set[str]:
    """Return the kinds of tasks without which others fail."""
    return {grid.tasks[k].kind for task in grid.tasks for k in task.needs} - {FETCH}


def _script(grid: Grid, kind: str, n: int, resources: Resources, site: Site) -> str:
    """Return the script of an array of workers."""
    folder = grid.folder.resolve()
    options = {
        "job-name": f"ngb-{kind}",
        "array": f"0-{n - 1}",
        "ntasks": "1",
        "cpus-per-task": str(resources.cores),
        "mem": f"{round(resources.memory_gb * 1024)}M",
        "time": str(resources.minutes),
        "signal": f"B:TERM@{min(WARNING_S, 15 * resources.minutes)}",
        "open-mode": "append",
        **({"gres": f"gpu:{resources.gpus}"} if resources.gpus else {}),
        **({"partition": site.partition} if site.partition else {}),
        **({"account": site.account} if site.account else {}),
    }
    lines = ["#!/bin/bash", *(f"#SBATCH --{name}={value}" for name, value in options.items())]
    lines += ["#SBATCH --requeue", *(f"#SBATCH {line}" for line in site.lines), "set -e"]
    lines += [f"module load {shlex.quote(module)}" for module in site.modules]
    lines += [*site.setup, *(f"export {name}={resources.cores}" for name in THREADS)]
    command = [sys.executable, "-m", "neurobench_grasp", "work", str(folder), "--kind", kind]
    return "\n".join([*lines, f"exec {shlex.join(command)}", ""])


def _alive(arrays: Sequence[str]) -> bool | None:
    """Return whether a job of some array is left; ``None`` if the scheduler does not answer."""
    if not arrays:
        return False
    command = ["squeue", "--noheader", "--format=%A", f"--jobs={','.join(arrays)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    if "Invalid job id" in done.stderr:  # ended so long ago that it was forgotten
        return False
    return None if done.returncode else bool(done.stdout.strip())

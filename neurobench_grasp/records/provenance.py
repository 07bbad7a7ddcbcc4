"""Provenance of a result: code, libraries, machine, time, memory; never names of users or their folders."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import neurobench_grasp
from neurobench_grasp.threads import usable_cores

PACKAGES = (
    "daqp",
    "h5py",
    "hdmf",
    "mujoco",
    "myosuite",
    "numpy",
    "pandas",
    "pynwb",
    "scikit-learn",
    "scipy",
    "stable-baselines3",
    "torch",
)
CPU_FLAGS = ("avx2", "avx512f", "fma")  # those that change results of BLAS and of simulators
CODE = ("neurobench_grasp", "nwb_schemas")


def provenance(
    *,
    wall_time_s: float,
    code: Mapping[str, str | None],
    weights: str | None = None,
    train: str | None = None,
    units: bytes = b"",
    isolated: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe what produced a result.

    Parameters
    ----------
    wall_time_s : float
        Seconds that the result took.
    code : mapping of str to str or None
        Distribution → digest of its code; ``None`` where it cannot be identified.
    weights : str, optional
        Digest of the weights or of the file of activations that was scored.
    train : str, optional
        Digest of the behaviour that the model was fitted on.
    units : bytes
        Scores of single units that are kept beside the record.
    isolated : mapping of str to str, optional
        Packages of the model's separate environment, in place of ``packages``, if it ran in one.

    Returns
    -------
    dict
        JSON values only.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_time_s": round(wall_time_s, 3),
        "peak_memory_bytes": _peak_memory(),
        "ngb": neurobench_grasp.__version__,
        "code": dict(code),
        "weights": weights,
        "train_sha256": train,
        "units_sha256": hashlib.sha256(units).hexdigest() if units else None,
        "git": _own_checkout(),
        "packages": _versions(),
        **({} if isolated is None else {"isolated": {"packages": dict(isolated)}}),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "blas": _blas(),
    }


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def _own_checkout() -> dict[str, Any] | None:
    """State of the package's checkout when the process first asks; its code was loaded before that."""
    return _git(Path(neurobench_grasp.__file__).parents[1])


def _git(checkout: Path) -> dict[str, Any] | None:
    """Commit and state of the package's checkout; ``None`` for an installed wheel."""
    if not (checkout / ".git").exists():  # a wheel inside some other project's checkout is not that project
        return None
    try:
        head, *changes = _run_git(checkout, "status", "--porcelain=2", "--branch", "--", *CODE).splitlines()
        changed = any(not line.startswith("#") for line in changes)
        return {"commit": head.removeprefix("# branch.oid "), "dirty": changed}
    except (OSError, subprocess.SubprocessError):
        return None


def _run_git(checkout: Path, *arguments: str) -> str:
    # GIT_* would point to another repository when run from one of its hooks.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(
        ["git", "--no-optional-locks", "-C", str(checkout), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.strip()


def _cpu() -> dict[str, Any]:
    info = _cpuinfo()
    flags = info.get("flags", "").split()
    return {
        "model": info.get("model name") or platform.processor() or platform.machine(),
        "flags": [f for f in CPU_FLAGS if f in flags],
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
    }


@cache
def _cpuinfo() -> dict[str, str]:
    """First processor of Linux's list; empty on other systems."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _blas() -> list[dict[str, Any]]:
    """Numerical thread pools of the loaded libraries, without their paths, sorted."""
    import threadpoolctl

    keys = ("user_api", "internal_api", "version", "architecture", "num_threads")
    pools = ({k: pool[k] for k in keys if k in pool} for pool in threadpoolctl.threadpool_info())
    return sorted(pools, key=lambda pool: list(map(str, pool.values())))


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

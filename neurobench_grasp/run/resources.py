"""Resources of tasks, and the site's settings of SLURM."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import MB, parse_yaml, read_plain
from neurobench_grasp.run.tasks import NETWORK, SCORE, TRAIN, VERIFY
from neurobench_grasp.text import among, is_line


@dataclass(frozen=True)
class Resources:
    """What one worker for tasks of a kind gets.

    Parameters
    ----------
    cores : int
    memory_gb : float
    minutes : int
        Of wall time; a task that was stopped by the limit continues in the next job, so that a training may
        take longer.
    gpus : int
    """

    cores: int = 1
    memory_gb: float = 6.0
    minutes: int = 120
    gpus: int = 0


DEFAULT = Resources()
"""Of scoring and verification on one core: see docs/clusters.md for what was measured."""
TRAINING = Resources(cores=4, memory_gb=6.0, minutes=240)
"""Of training: faster with more cores, see docs/controllers.md."""
KINDS: Mapping[str, Resources] = {
    SCORE: DEFAULT, VERIFY: DEFAULT, NETWORK: TRAINING, TRAIN: TRAINING,
}  # fmt: skip


MOST = 1_000_000
"""Of any number."""


@dataclass(frozen=True)
class Site:
    """Settings of a SLURM site, from ``slurm.yaml`` in the user's configuration folder.

    Parameters
    ----------
    partition, account : str
        Empty: the user's default.
    modules : tuple of str
        Loaded before the worker starts.
    setup : tuple of str
        Lines of shell that come before the worker.
    lines : tuple of str
        More options of ``#SBATCH``.
    workers : int
        Jobs of an array that run at a time, at most.
    resources : mapping of str to Resources
        By kind of task.
    """

    partition: str = ""
    account: str = ""
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    workers: int = 20
    resources: Mapping[str, Resources] = field(default_factory=lambda: dict(KINDS))


def site_file() -> Path:
    """Return the path of the settings."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "ngb" / "slurm.yaml"


def read_site() -> Site:
    """Read the settings of the site; the defaults if there is no file.

    Raises
    ------
    NgbError
        If the file says something else than it may; the message names the field.
    """
    path = site_file()
    if not path.exists():
        return Site()
    try:
        given = parse_yaml(read_plain(path, MB, advice="make it readable"))
    except ValueError as error:
        raise NgbError(f"{path} is not a YAML file ({error}); docs/clusters.md has an example.") from error
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise NgbError(f"{path} is not a mapping of fields; known are {', '.join(_names(Site))}.")
    if unknown := [name for name in given if name not in _names(Site)]:
        raise NgbError(f"{path} has an unknown field {among(unknown[0], _names(Site))}")
    resources = {kind: KINDS[kind] for kind in KINDS}
    for kind, changed in _mapping(path, "resources", given.pop("resources", {})).items():
        if kind not in resources:
            raise NgbError(f"{path}: resources has an unknown kind {among(kind, KINDS)}")
        numbers = _mapping(path, f"resources.{kind}", changed)
        for name, value in numbers.items():
            least = 0 if name == "gpus" else 1
            kinds = (int, float) if name == "memory_gb" else (int,)
            right = isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= MOST
            if name not in _names(Resources) or not right:
                known = ", ".join(_names(Resources))
                raise NgbError(
                    f"{path}: resources.{kind}.{name} is {value!r}; known are {known}, each a number from "
                    f"{least} to {MOST}."
                )
        resources[kind] = replace(resources[kind], **numbers)
    return Site(**{name: _checked(path, name, value) for name, value in given.items()}, resources=resources)


def _checked(path: Path, name: str, value: Any) -> Any:
    if name == "workers":
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000:
            return value
        raise NgbError(f"{path}: workers is {value!r}; it must be a whole number from 1 to 10000.")
    several = name in ("modules", "setup", "lines")
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) != several or not all(isinstance(v, str) and is_line(v) for v in values):
        kind = "a list of lines of text" if several else "one line of text"
        raise NgbError(f"{path}: {name} is {value!r}; it must be {kind}.")
    return tuple(values) if several else value


def _mapping(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NgbError(f"{path}: {name} is {value!r}; it must be a mapping.")
    return value


def _names(kind: type) -> list[str]:
    return [f.name for f in fields(kind)]

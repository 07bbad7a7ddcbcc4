"""Jobs: what is scored, by names and options alone, so that it can be printed, stored and sent elsewhere."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import parse_json
from neurobench_grasp.text import among

RUNS = Path("ngb-runs")
"""Run folder, unless another one is named."""
MOST_BYTES = 64 << 20
"""Of a file of jobs; a job has a few hundred."""
MOST_STEPS = 10**12
"""Of one training; a year on one core has fewer."""


@dataclass(frozen=True)
class Options:
    """How a model is scored, apart from what by.

    Parameters
    ----------
    layout : str, optional
        Layout of the files; by default the registered dataset's own, or the one that fits best.
    trained_on : str, optional
        Dataset on whose training trials the model was fitted, if it is another one: the split ``session``.
        The model is frozen, and only the map to units is fitted on the scored dataset.
    activations : str, optional
        Activations that were computed elsewhere, see docs/arrays.md; they replace a model.
    decoder : str
        Name of a registered decoder, for protocols that decode.
    quarantine : bool
        Read files in a resource-limited subprocess (:mod:`neurobench_grasp.data.quarantine`), unless they are
        of a registered dataset. ``False``: for files that are trusted.
    isolated : tuple of str
        Sources of plugins that are installed in separate environments and run in subprocesses.
    time_limit, memory_limit : float
        Minutes that an isolated model may take at a time, and GiB of memory.
    train : bool
        Train the network that is scored, if there is none for its training trials. Off by default, since it
        takes minutes and leaves the network in the user's cache; ``ngb score`` and ``ngb plan`` turn it on.
    steps : int, optional
        Control steps of experience of a network that is trained. Default: the model's own choice.
    """

    layout: str | None = None
    trained_on: str | None = None
    activations: str | None = None
    decoder: str = "ridge"
    quarantine: bool = True
    isolated: tuple[str, ...] = ()
    time_limit: float = 60.0
    memory_limit: float = 8.0
    train: bool = False
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and not self.train:
            raise NgbError("The options give steps for networks that are trained, but not 'train': true.")


DEFAULTS = Options()


@dataclass(frozen=True)
class Job:
    """One network of a model, scored by one protocol on one dataset.

    Parameters
    ----------
    model, dataset, protocol : str
        Names; the dataset may be a file or an address.
    seed : int
    options : Options
    """

    model: str
    dataset: str
    protocol: str
    seed: int = 0
    options: Options = DEFAULTS

    @property
    def network(self) -> tuple[str, str, int, Options]:
        """What jobs have in common that share a fitted model."""
        return self.model, self.dataset, self.seed, self.options

    def to_line(self) -> str:
        """Return the job as one line of JSON; options with their default value are left out."""
        given = asdict(self)
        defaults = asdict(DEFAULTS)
        given["options"] = {k: v for k, v in given["options"].items() if v != defaults[k]}
        return json.dumps(given)

    @classmethod
    def from_line(cls, line: str, where: str = "The job") -> Job:
        """Read a job; the inverse of :meth:`to_line`.

        Raises
        ------
        NgbError
            If the line is no job; the message names the field.
        """
        try:
            data = parse_json(line)
        except ValueError as error:
            raise NgbError(f"{where} is not a line of JSON ({error}); `ngb plan` prints jobs.") from error
        given = checked(data, cls, where)
        options = checked(given.pop("options", {}), Options, where)
        options["isolated"] = tuple(options.get("isolated", ()))
        try:
            return cls(**given, options=Options(**options))
        except NgbError as error:
            raise NgbError(f"{where}: {error}") from error


def read_jobs(path: Path) -> list[Job]:
    """Read the jobs of a file, one on each line; of standard input if the path is ``-``.

    Raises
    ------
    NgbError
        If the file cannot be read, or a line is no job; the message names line and field.
    """
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
                raise NgbError(f"{path} is not a file; `ngb plan` prints jobs.")
            with path.open("rb") as file:
                raw = file.read(MOST_BYTES + 1)
        lines = raw.decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise NgbError(f"Cannot read jobs from {path} ({reason}); `ngb plan` prints them.") from error
    if len(raw) > MOST_BYTES:
        raise NgbError(f"{path} is larger than {MOST_BYTES >> 20} MB, so it holds other things than jobs.")
    jobs = [Job.from_line(line, f"Line {i} of {path}") for i, line in enumerate(lines, 1) if line.strip()]
    if not jobs:
        raise NgbError(f"There are no jobs in {path}; `ngb plan` prints them.")
    return jobs


def networks(jobs: Iterable[Job]) -> list[list[Job]]:
    """Group jobs that share a fitted model, in the order of their first."""
    groups: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.network, []).append(job)
    return list(groups.values())


KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "text"),
    "str | None": ((str, type(None)), "text or null"),
    "int": ((int,), "a whole number"),
    "int | None": ((int, type(None)), "a whole number or null"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "tuple[str, ...]": ((list,), "a list of text"),
    "Options": ((dict,), "an object"),
}
"""Annotations of fields → types of their JSON values, and what these are called."""
LEAST = {"seed": 0, "time_limit": 0.01, "memory_limit": 0.5, "steps": 1}
MOST = {"seed": 2**63 - 1, "time_limit": 1e6, "memory_limit": 1e6, "steps": MOST_STEPS}


def checked(data: Any, kind: type, where: str) -> dict[str, Any]:
    """Return JSON values for the fields of a dataclass, each of its type and in its range."""
    if not isinstance(data, dict):
        raise NgbError(f"{where} is not a JSON object; `ngb plan` prints jobs.")
    known = {f.name: str(f.type) for f in fields(kind)}
    for name, value in data.items():
        if name not in known:
            raise NgbError(f"{where} has an unknown field {among(name, known)}")
        types, called = KINDS[known[name]]
        wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        if wrong or (isinstance(value, list) and not all(isinstance(item, str) for item in value)):
            raise NgbError(f"{where} has {value!r} in the field {name!r}; it must be {called}.")
        if name in LEAST and value is not None and not LEAST[name] <= value <= MOST[name]:
            allowed = f"from {LEAST[name]} to {MOST[name]:g}"
            raise NgbError(f"{where} has {value!r} in the field {name!r}; it must be {allowed}.")
    if missing := [n for n in ("model", "dataset", "protocol") if n in known and n not in data]:
        raise NgbError(f"{where} lacks the field {missing[0]!r}.")
    return data

"""The process in which a plugin is looked at; :mod:`neurobench_grasp.checks.processes` starts it.

It says what it is about to do before it does it, one line of JSON each, so that whoever listens knows what
hung or crashed.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neurobench_grasp import plugins
from neurobench_grasp.sandbox.limits import without_network

Tell = Callable[..., None]
HEAVY = ("jax", "mujoco", "pynwb", "stable_baselines3", "tensorflow", "torch")
"""Packages that take seconds to import, or much memory."""
MIB = 1 << 20


def main() -> None:
    """Do what the first argument orders, as JSON."""
    order = json.loads(sys.argv[1])
    tell = _results_alone()
    if not order.get("network"):
        without_network()
    TASKS[order["task"]](order, tell)
    tell(done=True)


def _results_alone() -> Tell:
    """Return a function that says something; all else that prints goes to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(**said: Any) -> None:
        stream.write(json.dumps(said) + "\n")
        stream.flush()

    return tell


def survey(order: Mapping[str, Any], tell: Tell) -> None:
    """Report what every plugin offers but those in ``without``."""
    for info, entry_point in plugins.found_plugins():
        if [info.distribution, info.name] in order["without"]:
            continue
        about = {"name": info.name, "distribution": info.distribution, "version": info.version}
        tell(begins=about)
        tell(**about, **_loaded(entry_point))


def load(order: Mapping[str, Any], tell: Tell) -> None:
    """Load one plugin in a fresh interpreter, and tell what that takes."""
    entry_point = _entry_point(order)
    tell(begins=order["plugin"])
    before, started = _memory(), time.monotonic()
    facts = _loaded(entry_point)
    seconds, memory = time.monotonic() - started, (_memory() - before) / MIB
    heavy = [name for name in HEAVY if name in sys.modules]
    tell(**facts, seconds=round(seconds, 3), megabytes=round(memory, 1), heavy=heavy)


def check(order: Mapping[str, Any], tell: Tell) -> None:
    """Do the checks of one thing that a plugin offers, but those already in ``statuses``."""
    from neurobench_grasp.checks import catalogue

    statuses = dict(order["statuses"])
    case = catalogue.case_of(order, _files(order["distribution"]))
    with case.fences.watch():
        specs = plugins.specs_of(_entry_point(order))
    case.spec = next(
        s for s in specs if (plugins.KINDS[type(s)], s.name) == (order["kind"], order["subject"])
    )
    for one in catalogue.checks_of(order["kind"]):
        if one.name in statuses or one.fresh != order["fresh"]:
            continue
        tell(begins=one.name)
        started = time.monotonic()
        status, message = catalogue.outcome(one, case, statuses)
        statuses[one.name] = status
        tell(check=one.name, status=status, message=message, seconds=round(time.monotonic() - started, 3))


TASKS: Mapping[str, Callable[[Mapping[str, Any], Tell], None]] = {
    "survey": survey,
    "load": load,
    "check": check,
}


def _loaded(entry_point: importlib.metadata.EntryPoint | None) -> dict[str, Any]:
    """Return what a plugin offers, or why it cannot be loaded."""
    try:
        specs = plugins.specs_of(entry_point)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        return {"offers": [], "reason": plugins.reason_of(error), "missing": missing, "card": _of_card(error)}
    offers = [[plugins.KINDS[type(spec)], spec.name] for spec in specs]
    return {"offers": offers, "reason": "", "missing": None, "card": False}


def _of_card(error: BaseException) -> bool:
    """Whether it is the card that was refused."""
    return "model card" in str(error) or "ModelCard." in str(error)


def _entry_point(order: Mapping[str, Any]) -> importlib.metadata.EntryPoint | None:
    wanted = (order["plugin"], order["distribution"])
    return next(entry for info, entry in plugins.found_plugins() if (info.name, info.distribution) == wanted)


def _files(distribution: str) -> set[str]:
    """Paths of a plugin's own files, as Python names them in its frames."""
    paths = plugins.files_of(distribution).values()
    return {name for path in paths for name in (str(path), os.path.realpath(path))}


def _memory() -> int:
    """Bytes in use now; where that cannot be told, the most so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()

"""The process in which a plugin is checked; :mod:`neurobench_grasp.checks.processes` starts it.

It announces every step as one line of JSON before taking it, so that the parent knows what hung or crashed.
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

Send = Callable[..., None]
HEAVY = ("jax", "mujoco", "pynwb", "stable_baselines3", "tensorflow", "torch")
"""Packages that are slow to import or need much memory."""
MIB = 1 << 20


def main() -> None:
    """Run the task given as JSON in the first argument."""
    order = json.loads(sys.argv[1])
    send = _result_stream()
    if not order.get("network"):
        without_network()
    TASKS[order["task"]](order, send)
    send(done=True)


def _result_stream() -> Send:
    """Return a function that sends a message; all other output goes to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(**message: Any) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return send


def survey(order: Mapping[str, Any], send: Send) -> None:
    """Report the offers of every plugin except those in ``without``."""
    for info, entry_point in plugins.found_plugins():
        if [info.distribution, info.name] in order["without"]:
            continue
        about = {"name": info.name, "distribution": info.distribution, "version": info.version}
        send(begins=about)
        send(**about, **_loaded(entry_point))


def load(order: Mapping[str, Any], send: Send) -> None:
    """Load one plugin in a fresh interpreter, and report time and memory."""
    entry_point = _entry_point(order)
    send(begins=order["plugin"])
    before, started = _memory(), time.monotonic()
    facts = _loaded(entry_point)
    seconds, memory = time.monotonic() - started, (_memory() - before) / MIB
    heavy = [name for name in HEAVY if name in sys.modules]
    send(**facts, seconds=round(seconds, 3), megabytes=round(memory, 1), heavy=heavy)


def check(order: Mapping[str, Any], send: Send) -> None:
    """Run the checks of one offer of a plugin, except those in ``statuses``."""
    from neurobench_grasp.checks import catalogue

    statuses = dict(order["statuses"])
    case = catalogue.fixture_of(order, _files(order["distribution"]))
    with case.audit.watch():
        specs = plugins.specs_of(_entry_point(order))
    case.spec = next(
        s for s in specs if (plugins.KINDS[type(s)], s.name) == (order["kind"], order["subject"])
    )
    for one in catalogue.checks_of(order["kind"]):
        if one.name in statuses or one.fresh != order["fresh"]:
            continue
        send(begins=one.name)
        started = time.monotonic()
        status, message = catalogue.outcome(one, case, statuses)
        statuses[one.name] = status
        send(check=one.name, status=status, message=message, seconds=round(time.monotonic() - started, 3))


TASKS: Mapping[str, Callable[[Mapping[str, Any], Send], None]] = {
    "survey": survey,
    "load": load,
    "check": check,
}


def _loaded(entry_point: importlib.metadata.EntryPoint | None) -> dict[str, Any]:
    """Return the offers of a plugin, or why it cannot be loaded."""
    try:
        specs = plugins.specs_of(entry_point)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        return {"offers": [], "reason": plugins.reason_of(error), "missing": missing, "card": _of_card(error)}
    offers = [[plugins.KINDS[type(spec)], spec.name] for spec in specs]
    return {"offers": offers, "reason": "", "missing": None, "card": False}


def _of_card(error: BaseException) -> bool:
    """Return whether an error concerns the model card."""
    return "model card" in str(error) or "ModelCard." in str(error)


def _entry_point(order: Mapping[str, Any]) -> importlib.metadata.EntryPoint | None:
    wanted = (order["plugin"], order["distribution"])
    return next(entry for info, entry in plugins.found_plugins() if (info.name, info.distribution) == wanted)


def _files(distribution: str) -> set[str]:
    """Return the paths of a plugin's own files, as they appear in frames."""
    paths = plugins.files_of(distribution).values()
    return {name for path in paths for name in (str(path), os.path.realpath(path))}


def _memory() -> int:
    """Return the bytes in use now, or the peak if unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()

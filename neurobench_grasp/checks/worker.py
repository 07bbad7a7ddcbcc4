"""What a process serves in which plugins are checked; :mod:`neurobench_grasp.checks.processes` starts it."""

from __future__ import annotations

import importlib.metadata
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neurobench_grasp import plugins

HEAVY = ("jax", "mujoco", "pynwb", "stable_baselines3", "tensorflow", "torch")
"""Packages that are slow to import or need much memory."""
MIB = 1 << 20


class Checker:
    """Lists, loads and checks plugins, one request at a time, so that it is known which one hung or crashed.

    Parameters
    ----------
    progress : callable
    """

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.case: Any = None

    def do_found(self) -> list[dict[str, str]]:
        """List the plugins, without loading any."""
        return [
            {"name": info.name, "distribution": info.distribution, "version": info.version}
            for info, _ in plugins.found_plugins()
        ]

    def do_load(self, plugin: str, distribution: str) -> dict[str, Any]:
        """Load one plugin; report its offers, and time and memory that this takes in a fresh interpreter."""
        entry_point = _entry_point(plugin, distribution)
        before, started = _memory(), time.monotonic()
        facts = _loaded(entry_point)
        seconds, memory = time.monotonic() - started, (_memory() - before) / MIB
        heavy = [name for name in HEAVY if name in sys.modules]
        return {**facts, "seconds": round(seconds, 3), "megabytes": round(memory, 1), "heavy": heavy}

    def do_check(self, name: str, statuses: Mapping[str, str], order: Mapping[str, Any]) -> dict[str, Any]:
        """Run one check of one offer of a plugin."""
        from neurobench_grasp.checks import catalogue

        if self.case is None:
            self.case = _case(order)
        one = next(c for c in catalogue.checks_of(order["kind"]) if c.name == name)
        started = time.monotonic()
        status, message = catalogue.outcome(one, self.case, statuses)
        return {"status": status, "message": message, "seconds": round(time.monotonic() - started, 3)}

    def do_sample(self, folder: str) -> None:
        """Write the session on which models, protocols and decoders are tried, without installed plugins."""
        from neurobench_grasp.checks.sample_session import sample_trials, write_sample
        from neurobench_grasp.sandbox.wire import write_packed

        installed = {info.name for info, _ in plugins.found_plugins()} - {plugins.BUILTIN.name}
        os.environ["NGB_DISABLE_PLUGINS"] = ",".join(installed)  # one that hangs would prevent all checks
        write_packed(Path(folder), sample_trials())
        write_sample(Path(folder) / "session.nwb")


def _case(order: Mapping[str, Any]) -> Any:
    """Return the fixture for the checks of one offer of a plugin."""
    from neurobench_grasp.checks import catalogue

    case = catalogue.fixture_of(order, _files(order["distribution"]))
    with case.audit.watch():
        specs = plugins.specs_of(_entry_point(order["plugin"], order["distribution"]))
    case.spec = next(
        s for s in specs if (plugins.KINDS[type(s)], s.name) == (order["kind"], order["subject"])
    )
    return case


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


def _entry_point(plugin: str, distribution: str) -> importlib.metadata.EntryPoint | None:
    wanted = plugin, distribution
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

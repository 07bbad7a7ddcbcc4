"""The plugin contract as small named checks, run by ``ngb check``.

Plugins are loaded in subprocesses only (:mod:`neurobench_grasp.checks.worker`). The checks are
in ``plugin.py``, ``model.py``, ``controller.py``, ``recurrent.py``, ``dataset.py``, ``protocol.py``,
``decoder.py``, ``body.py`` and ``side_effects.py``, one function each.
"""

from __future__ import annotations

import difflib
import functools
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurobench_grasp.checks.catalogue import checks_of, outcome, why_not
from neurobench_grasp.checks.plugin import Loaded
from neurobench_grasp.checks.processes import ending_of, process_of
from neurobench_grasp.checks.rules import Check, CheckResult, Report
from neurobench_grasp.contract import Progress
from neurobench_grasp.errors import NgbError, UnknownNameError
from neurobench_grasp.plugins import canonical
from neurobench_grasp.sandbox.process import Process, ProcessError

__all__ = ["CheckResult", "Limits", "Report", "planned", "run_checks"]

START_S = 60.0
"""Seconds to list plugins, or to make the session to try them on."""


@dataclass(frozen=True)
class Limits:
    """Limits for a plugin.

    Parameters
    ----------
    import_s : float
        Seconds for importing it and listing its offers.
    import_mb : float
        Megabytes of memory for the same.
    check_s : float
        Seconds of a single check; for datasets including all files of the plugin.
    """

    import_s: float = 5.0
    import_mb: float = 150.0
    check_s: float = 60.0


@dataclass(frozen=True)
class Plugin:
    """A plugin as found by the survey.

    Parameters
    ----------
    name, distribution, version : str
    offers : tuple of (str, str)
        Kind and name of each offer; empty if it cannot be loaded.
    """

    name: str
    distribution: str
    version: str
    offers: tuple[tuple[str, str], ...] = ()

    @property
    def provider(self) -> str:
        """Distribution and version as text."""
        return f"{self.distribution} {self.version}"


def planned(name: str, limits: Limits | None = None) -> list[tuple[str, str]]:
    """List the planned checks.

    Parameters
    ----------
    name : str
        Of an entry point, a distribution, or a model, dataset, protocol, decoder or body.
    limits : Limits, optional

    Returns
    -------
    list of (str, str)
        Subject, such as ``model muscle_ppo``, and name of the check.

    Raises
    ------
    UnknownNameError
        If there is nothing of that name; the message suggests similar names.
    """
    return [
        (f"{kind} {subject}", one.name)
        for plugin, offers in _wanted(name, _survey(limits or Limits()))
        for kind, subject in (("plugin", plugin.name), *offers)
        for one in checks_of(kind)
    ]


def run_checks(name: str, limits: Limits | None = None, *, progress: Progress = lambda text: None) -> Report:
    """Run all checks of a plugin, or of one of its offers; parameters and errors as for :func:`planned`.

    Returns
    -------
    Report
    """
    limits = limits or Limits()
    progress("looking for plugins")
    found = _survey(limits)
    rows: list[CheckResult] = []
    for plugin, offers in _wanted(name, found):
        progress(f"plugin {plugin.name}: loading")
        of_plugin = _plugin_rows(plugin, found, limits)
        rows += of_plugin
        if any(row.status != "pass" and row.check == "card_fits" for row in of_plugin):
            continue
        for kind, subject in offers:
            rows += _Subject(plugin, kind, subject, limits, progress).rows()
    return Report(name, tuple(rows))


def _survey(limits: Limits) -> list[Plugin]:
    """List the offers of every plugin; one that hangs or crashes has none, and the next a new process."""
    with (
        tempfile.TemporaryDirectory(prefix="ngb-check-") as folder,
        process_of(Path(folder), limits.import_s) as process,
    ):
        try:
            found = process.ask("found", seconds=START_S)
        except ProcessError as error:
            raise NgbError(f"No plugin could be inspected: the process {ending_of(error)}.") from error
        plugins = []
        for about in found:
            try:
                facts = process.ask("load", plugin=about["name"], distribution=about["distribution"])
            except ProcessError:
                facts = {"offers": []}
            plugins.append(Plugin(**about, offers=tuple((kind, name) for kind, name in facts["offers"])))
        return plugins


def _wanted(name: str, found: Sequence[Plugin]) -> list[tuple[Plugin, tuple[tuple[str, str], ...]]]:
    """Return the plugins of a name with all offers, or those with an offer of that name, with it alone."""
    whole = [p for p in found if p.name == name or canonical(p.distribution) == canonical(name)]
    if whole:
        return [(plugin, plugin.offers) for plugin in whole]
    parts = [(p, tuple(offer for offer in p.offers if offer[1] == name)) for p in found]
    if some := [(plugin, offers) for plugin, offers in parts if offers]:
        return some
    known = {n for p in found for n in (p.name, p.distribution, *(offered for _, offered in p.offers))}
    near = difflib.get_close_matches(name, sorted(known), n=3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownNameError(
        f"There is no plugin, model, dataset, protocol, decoder or body {name!r}.{hint} "
        "`ngb plugins` lists all."
    )


def _plugin_rows(plugin: Plugin, found: Sequence[Plugin], limits: Limits) -> list[CheckResult]:
    """Load a plugin in a fresh interpreter and run the checks of kind ``plugin``."""
    facts: dict[str, Any] = {}
    ending = ""
    with (
        tempfile.TemporaryDirectory(prefix="ngb-check-") as folder,
        process_of(Path(folder), limits.import_s) as process,
    ):
        try:
            facts = process.ask("load", plugin=plugin.name, distribution=plugin.distribution)
        except ProcessError as error:
            ending = ending_of(error)
    loaded = Loaded(facts, ending, _clashes(plugin, found), limits.import_s, limits.import_mb)
    statuses: dict[str, str] = {}
    rows = []
    for one in checks_of("plugin"):
        statuses[one.name], message = outcome(one, loaded, statuses)
        rows.append(CheckResult(f"plugin {plugin.name}", one.name, one.rule, statuses[one.name], message))
    return rows


def _clashes(plugin: Plugin, found: Sequence[Plugin]) -> dict[str, list[str]]:
    """Return names of a plugin's offers that are also offered elsewhere (or twice), and by whom."""
    every = [(offer, p.provider) for p in found for offer in p.offers]
    providers = {offer: [who for other, who in every if other == offer] for offer in plugin.offers}
    return {f"{kind} {name}": who for (kind, name), who in providers.items() if len(who) > 1}


@dataclass(frozen=True)
class _Subject:
    """One offer of a plugin, and the processes in which it is checked."""

    plugin: Plugin
    kind: str
    name: str
    limits: Limits
    progress: Progress

    def rows(self) -> list[CheckResult]:
        """Run all its checks; one that ends its process fails, and the rest run in a new one."""
        checks = checks_of(self.kind)
        done: dict[str, CheckResult] = {}
        with tempfile.TemporaryDirectory(prefix="ngb-check-") as text:
            folder = Path(text)
            _place_recording(folder)
            for fresh in (False, True):
                seconds = self.limits.check_s
                with process_of(folder, seconds, shares=self.kind == "dataset") as process:
                    for one in (c for c in checks if c.fresh == fresh):
                        done[one.name] = self._outcome(process, one, folder, done)
        return [done[one.name] for one in checks]

    def _outcome(
        self, process: Process, one: Check, folder: Path, done: Mapping[str, CheckResult]
    ) -> CheckResult:
        statuses = {row.check: row.status for row in done.values()}
        if why := why_not(one, statuses):
            result: dict[str, Any] = {"status": "not run", "message": why}
        else:
            self.progress(f"{self.kind} {self.name}: {one.name}")
            order = {
                "kind": self.kind,
                "subject": self.name,
                "plugin": self.plugin.name,
                "distribution": self.plugin.distribution,
                "folder": str(folder),
                "sample": str(_sample()),
            }
            try:
                result = process.ask("check", name=one.name, statuses=statuses, order=order)
            except ProcessError as error:
                ending = ending_of(error)
                result = {"status": "fail", "message": f"It {ending}. {_advice(ending)}"}
        return CheckResult(f"{self.kind} {self.name}", one.name, one.rule, **result)


def _advice(ending: str) -> str:
    if "stopped" in ending:
        return "Give its ModelSpec `smoke` settings that make it quick, and check for endless loops."
    return "A plugin must not end its process; raise an error that states the problem."


@functools.cache
def _sample() -> Path:
    """Return a folder with a serialised session, and with one as an NWB file; made once for all plugins.

    A subprocess makes it, since bodies are found among plugins.
    """
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="ngb-check-sample-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with process_of(folder, START_S) as process:
        try:
            process.ask("sample", folder=str(folder))
        except ProcessError as error:
            raise NgbError(
                f"The session to try plugins on could not be made: the process {ending_of(error)}."
            ) from error
    return folder


def _place_recording(folder: Path) -> None:
    """Place a recording where a plugin would look for the built-in dataset; opening it is a violation."""
    import json

    from neurobench_grasp.cache import MANIFEST
    from neurobench_grasp.demo import DEMO_SHA256

    trap = folder / "cache" / f"demo-{DEMO_SHA256[:12]}"
    trap.mkdir(parents=True)
    file = trap / "demo_a_1.nwb"
    shutil.copy(_sample() / "session.nwb", file)
    content = {"sha256": DEMO_SHA256, "sessions": {}, "sizes": {file.name: file.stat().st_size}}
    (trap / MANIFEST).write_text(json.dumps(content))

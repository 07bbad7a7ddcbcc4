"""The process of an isolated plugin: its limits, the trials that it holds, and its errors in one sentence."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import neurobench_grasp
from neurobench_grasp.contract import Progress, Trials
from neurobench_grasp.errors import NgbError, PluginError
from neurobench_grasp.isolation.environment import Environment
from neurobench_grasp.sandbox.limits import GIB, Limits
from neurobench_grasp.sandbox.process import Process, ProcessError
from neurobench_grasp.text import plain

LIMITS = Limits(seconds=3600.0, memory=8 * GIB, disk=16 * GIB)
"""Of an isolated plugin, for each request: fitting, training, or activations of some trials."""


class PluginProcess:
    """The process of one isolated plugin; started by the first request.

    Parameters
    ----------
    environment : Environment
    limits : Limits
    progress : callable
        Called with progress messages of the plugin, and with protections unsupported on this machine.
    """

    def __init__(self, environment: Environment, limits: Limits, progress: Progress) -> None:
        self.environment, self.limits, self.progress = environment, limits, progress
        self.generation = 0
        """Number of starts; objects of an earlier start are lost."""
        self._held: list[Trials] = []
        self._lock = threading.RLock()
        self._process = Process(
            "neurobench_grasp.isolation.worker:Worker",
            limits,
            given={"distribution": environment.distribution},
            name=f"isolated {self.who}",
            python=(str(environment.python), "-I"),
            progress=progress,
        )

    @property
    def who(self) -> str:
        """Distribution and version as text."""
        return f"{self.environment.distribution} {self.environment.version}"

    def ask(
        self,
        task: str,
        *,
        about: str = "",
        kind: Any = None,
        values: Mapping[str, Any] | None = None,
        trials: Trials | None = None,
        generation: int | None = None,
        **arguments: Any,
    ) -> Any:
        """Send a request and return the response.

        Parameters
        ----------
        task : str
            Name of a ``do_…`` method of :class:`neurobench_grasp.isolation.worker.Worker`.
        about : str
            Subject for error messages: the model's name.
        kind : type, optional
            Expected type of the response; if missing, the response is JSON.
        values, trials, arguments
            Arguments of the request: values in files, trials stored in the process, and JSON values.
        generation : int, optional
            The ``generation`` of the process in which the subject was created.

        Raises
        ------
        NgbError
            If the plugin fails in any way, reaches a limit, or returns an invalid response.
        """
        subject = f"{about or self.who}: {task}"
        with self._lock:
            if generation is not None and (not self._process.running or generation != self.generation):
                raise NgbError(
                    f"{subject}: the process of {self.who} has ended, and the fitted model is lost."
                )
            try:
                if not self._process.running:
                    self._start()
                if trials is not None:
                    arguments["trials"] = self._hold(trials)
                return self._process.ask(task, kind=kind, values=values, **arguments)
            except ProcessError as error:
                raise self._failed(subject, error) from error

    def close(self) -> None:
        """End the process and all that it started; remove its exchange folder."""
        self._process.close()

    def _start(self) -> None:
        self.generation += 1
        self._held = []
        version = self._process.ask("version")
        if version != neurobench_grasp.__version__:
            self.close()
            raise PluginError(
                f"{self.who} installs neurobench-grasp {plain(version, 50)} in its environment, but "
                f"this is {neurobench_grasp.__version__}; its pyproject.toml must allow this version."
            )

    def _hold(self, trials: Trials) -> int:
        """Send trials once; return their number in the process."""
        for number, known in enumerate(self._held):
            if known is trials:
                return number
        self._process.ask("store_trials", values={"trials": trials})
        self._held.append(trials)
        return len(self._held) - 1

    def _failed(self, subject: str, error: ProcessError) -> NgbError:
        """Return the error of this package for one of the process."""
        limits = self.limits
        reached = {
            "memory": (f"needed more than {(limits.memory or 0) / GIB:.3g} GiB of memory", "--memory-limit"),
            "seconds": (f"took more than {limits.seconds / 60:.3g} min", "--time-limit"),
        }
        if error.reason in reached:
            what, option = reached[error.reason]
            return NgbError(
                f"{subject} ({self.who}, isolated) {what}, so its process was stopped; raise the limit with "
                f"{option}, or reduce what the model needs."
            )
        if error.reason == "failed":
            return NgbError(
                f"{subject} failed in the plugin ({self.who}, isolated): {error.text.rstrip('.')}."
            )
        if error.reason == "invalid":
            return NgbError(
                f"{subject} returned an invalid response ({error.text}), which was discarded; "
                f"the fault is in the plugin ({self.who}, isolated)."
            )
        wrote = f"wrote a file of more than {(limits.disk or 0) / GIB:.3g} GiB"
        last = f"; its last output was {error.last!r}" if error.last else ""
        return NgbError(
            f"{subject} returned nothing, because the process of {self.who} "
            f"{wrote if error.reason == 'disk' else error.text}{last}."
        )

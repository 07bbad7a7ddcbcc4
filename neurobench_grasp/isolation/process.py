"""Client of an isolated plugin's process: starts it, sends requests, enforces limits, checks responses."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import neurobench_grasp
from neurobench_grasp import errors
from neurobench_grasp.contract import Progress, Trials
from neurobench_grasp.data.dandi.instances import plain
from neurobench_grasp.data.quarantine import KEPT
from neurobench_grasp.errors import NgbError, PluginError
from neurobench_grasp.isolation import bootstrap as start
from neurobench_grasp.isolation.environment import Environment
from neurobench_grasp.sandbox import limits as sandbox_limits
from neurobench_grasp.sandbox.wire import PackedError, read_packed, write_packed

GIB = 1 << 30
ALSO_KEPT = ("NGB_CACHE", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", "MUJOCO_GL", "OMP_NUM_THREADS",
             "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # fmt: skip
LONGEST_LINE = 1 << 20  # bytes of a response
LONGEST_TEXT = 4000  # characters of a message
NO_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "can't start new thread")
"""Error messages of processes that reached their memory limit."""
START_SECONDS = 300.0  # importing torch from a slow disk takes a while


@dataclass(frozen=True)
class Limits:
    """Limits of an isolated plugin.

    Parameters
    ----------
    seconds : float
        Per request: fitting, training, or activations of some trials.
    memory : int
        Bytes allocated by its process.
    disk : int
        Bytes of any one file that it writes.
    """

    seconds: float = 3600.0
    memory: int = 8 * GIB
    disk: int = 16 * GIB


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
        self._child: subprocess.Popen[bytes] | None = None
        self._scratch = Path()
        self._requests = self._answers = -1
        self._unread, self._awaited = b"", False
        self._asked = 0
        self._held: list[Trials] = []
        self._lock = threading.RLock()

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
            try:
                if generation is not None and (self._child is None or generation != self.generation):
                    raise NgbError(
                        f"{subject}: the process of {self.who} has ended, and the fitted model is lost."
                    )
                self._begin()
                if trials is not None:
                    arguments["trials"] = self._hold(trials, subject)
                return self._ask(task, subject, kind, values or {}, arguments)
            except BaseException:
                if self._awaited:  # its state is unknown, or it has ended
                    self.close()
                raise

    def close(self) -> None:
        """End the process and all that it started; remove its exchange folder."""
        with self._lock:
            if self._child is None:
                return
            child, self._child = self._child, None
            try:
                os.killpg(child.pid, signal.SIGKILL)  # also survivors in its process group
            except (ProcessLookupError, PermissionError):
                child.kill()
            child.wait()
            os.close(self._requests)
            os.close(self._answers)
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._held, self._unread, self._awaited = [], b"", False

    def _begin(self) -> None:
        if self._child is not None:
            return
        self._scratch = Path(tempfile.mkdtemp(prefix="ngb-isolated-"))
        (self._scratch / "tmp").mkdir()
        theirs, self._requests = os.pipe()
        self._answers, also_theirs = os.pipe()
        order = {
            "limits_module": sandbox_limits.__file__,
            "limits": {"memory": self.limits.memory, "cpu": None, "disk": self.limits.disk, "mapped": False},
            "requests": theirs,
            "answers": also_theirs,
            "parent": os.getpid(),
            "scratch": str(self._scratch),
            "distribution": self.environment.distribution,
        }
        names = (*(name for name in KEPT if not name.startswith("PYTHON")), *ALSO_KEPT)
        kept = {name: os.environ[name] for name in names if name in os.environ}
        self._awaited = True
        with (self._scratch / "output").open("wb") as output:
            self._child = subprocess.Popen(
                [str(self.environment.python), "-I", "-B", str(start.__file__), json.dumps(order)],
                cwd=self._scratch / "tmp",
                env=kept | {"TMPDIR": str(self._scratch / "tmp")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs, also_theirs),
                start_new_session=True,
            )
        os.close(theirs)
        os.close(also_theirs)
        self.generation += 1
        self._handshake()
        self._awaited = False

    def _handshake(self) -> None:
        subject = f"{self.who}: start"
        hello = self._line(subject, time.monotonic() + START_SECONDS, START_SECONDS)
        if hello.get("ngb") != neurobench_grasp.__version__:
            raise PluginError(
                f"{self.who} installs neurobench-grasp {plain(hello.get('ngb'), 50)} in its environment, but "
                f"this is {neurobench_grasp.__version__}; its pyproject.toml must allow this version."
            )
        unsupported_limits = hello.get("unsupported_limits")
        if isinstance(unsupported_limits, list) and unsupported_limits:
            missing = ", ".join(plain(w, 100) for w in unsupported_limits)
            self.progress(f"isolation: not supported on this machine for {self.who}: {missing}")

    def _hold(self, trials: Trials, subject: str) -> int:
        """Send trials once; return their number in the process."""
        for number, known in enumerate(self._held):
            if known is trials:
                return number
        self._ask("store_trials", subject, None, {"trials": trials}, {})
        self._held.append(trials)
        return len(self._held) - 1

    def _ask(
        self, task: str, subject: str, kind: Any, values: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> Any:
        self._asked += 1
        folder = self._scratch / str(self._asked)
        into = folder / "answer"
        into.mkdir(parents=True)
        try:
            given = dict(arguments)
            for name, value in values.items():
                given[name] = str(folder / name)
                (folder / name).mkdir()
                write_packed(folder / name, value)
            self._send({"task": task, "given": given, "into": str(into)}, subject)
            answer = self._answer(subject)
            if kind is None:
                return answer.get("result")
            try:
                return read_packed(into, kind)
            except PackedError as error:
                raise self._invalid(subject, str(error)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _send(self, request: Mapping[str, Any], subject: str) -> None:
        raw = (json.dumps(request) + "\n").encode()
        self._awaited = True
        try:
            while raw:
                raw = raw[os.write(self._requests, raw) :]
        except BrokenPipeError:
            raise self._ended(subject) from None

    def _answer(self, subject: str) -> dict[str, Any]:
        """Wait for the response; report progress messages meanwhile."""
        end = time.monotonic() + self.limits.seconds
        while "progress" in (answer := self._line(subject, end, self.limits.seconds)):
            self.progress(plain(answer["progress"], 200))
        if answer.get("limit") == "memory":
            raise self._beyond_memory(subject)
        self._awaited = False
        if "result" not in answer:
            raise self._refused(answer, subject)
        return answer

    def _line(self, subject: str, end: float, allowed: float) -> dict[str, Any]:
        """Return the next line of the process as JSON; raise on timeout."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                left = end - time.monotonic()
                if left <= 0:
                    raise self._beyond(
                        subject,
                        f"took more than {allowed / 60:.3g} min",
                        "--time-limit",
                    )
                if selector.select(min(left, 0.5)):
                    more = os.read(self._answers, 1 << 16)
                    self._unread += more
                    if not more:
                        raise self._ended(subject)
                    if len(self._unread) > LONGEST_LINE:
                        raise self._invalid(subject, "a response is too long")
                elif self._child is None or self._child.poll() is not None:
                    raise self._ended(subject)
        line, self._unread = self._unread.split(b"\n", 1)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._invalid(subject, "a response is not JSON")
        return answer

    def _refused(self, answer: Mapping[str, Any], subject: str) -> NgbError:
        """Return the error for a failure reported by the process."""
        message = plain(answer.get("message"), LONGEST_TEXT)
        failed = plain(answer.get("failed"), LONGEST_TEXT)
        kind = getattr(errors, str(answer.get("kind")), None)
        error: NgbError
        if message and isinstance(kind, type) and issubclass(kind, NgbError):
            error = kind(message)
        elif failed:
            error = NgbError(f"{subject} failed in the plugin ({self.who}, isolated): {failed.rstrip('.')}.")
        else:
            return self._invalid(subject, "a response is empty")
        error.add_note(str(answer.get("trace"))[:LONGEST_LINE])
        return error

    def _ended(self, subject: str) -> NgbError:
        """Return the error for a process that ended without a response."""
        assert self._child is not None
        try:
            code = self._child.wait(10)
        except subprocess.TimeoutExpired:
            return self._invalid(subject, "it closed the connection")
        output = self._last_output()
        if any(text in output for text in NO_MEMORY):
            return self._beyond_memory(subject)
        if code == -signal.SIGKILL:
            how = "was killed, probably by the system for lack of memory"
        elif code == -signal.SIGXFSZ:
            how = f"wrote a file of more than {self.limits.disk / GIB:.3g} GiB"
        else:
            how = (
                f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended itself (exit code {code})"
            )
        last = f"; its last output was {output!r}" if output else ""
        return NgbError(f"{subject} returned nothing, because the process of {self.who} {how}{last}.")

    def _last_output(self) -> str:
        """Return the last line that the process printed."""
        try:
            with (self._scratch / "output").open("rb") as output:
                output.seek(max(0, output.seek(0, os.SEEK_END) - LONGEST_TEXT))
                lines = output.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return plain(next((line for line in reversed(lines) if line.strip()), ""), 300)

    def _beyond_memory(self, subject: str) -> NgbError:
        return self._beyond(
            subject, f"needed more than {self.limits.memory / GIB:.3g} GiB of memory", "--memory-limit"
        )

    def _beyond(self, subject: str, what: str, option: str) -> NgbError:
        return NgbError(
            f"{subject} ({self.who}, isolated) {what}, so its process was stopped; raise the limit with "
            f"{option}, or reduce what the model needs."
        )

    def _invalid(self, subject: str, why: str) -> NgbError:
        return NgbError(
            f"{subject} returned an invalid response ({plain(why, 200)}), which was discarded; "
            f"the fault is in the plugin ({self.who}, isolated)."
        )

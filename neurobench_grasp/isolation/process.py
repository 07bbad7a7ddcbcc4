"""The process of an isolated plugin, seen from here: start, ask, limit it, and trust nothing it says."""

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
from neurobench_grasp.sandbox import limits as confine
from neurobench_grasp.sandbox.wire import PackedError, read_packed, write_packed

GIB = 1 << 30
ALSO_KEPT = ("NGB_CACHE", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", "MUJOCO_GL", "OMP_NUM_THREADS",
             "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # fmt: skip
LONGEST_LINE = 1 << 20  # bytes of an answer
LONGEST_TEXT = 4000  # characters of a message
NO_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "can't start new thread")
"""Last words of processes that reached their limit of memory."""
START_SECONDS = 300.0  # importing torch from a slow disk takes a while


@dataclass(frozen=True)
class Limits:
    """What an isolated plugin may use.

    Parameters
    ----------
    seconds : float
        Of one request: fitting, training, or activations of some trials.
    memory : int
        Bytes that its process allocates.
    disk : int
        Bytes of any one file that it writes.
    """

    seconds: float = 3600.0
    memory: int = 8 * GIB
    disk: int = 16 * GIB


class PluginProcess:
    """The process of one isolated plugin; it is started when it is first asked something.

    Parameters
    ----------
    environment : Environment
    limits : Limits
    tell : callable
        Told in words what the plugin says of its progress, and which protections this machine does not have.
    """

    def __init__(self, environment: Environment, limits: Limits, tell: Progress) -> None:
        self.environment, self.limits, self.tell = environment, limits, tell
        self.life = 0
        """How often it was started; what it was given in an earlier life is gone."""
        self._child: subprocess.Popen[bytes] | None = None
        self._scratch = Path()
        self._requests = self._answers = -1
        self._unread, self._awaited = b"", False
        self._asked = 0
        self._held: list[Trials] = []
        self._lock = threading.RLock()

    @property
    def who(self) -> str:
        """Distribution and version, in words."""
        return f"{self.environment.distribution} {self.environment.version}"

    def ask(
        self,
        task: str,
        *,
        about: str = "",
        kind: Any = None,
        values: Mapping[str, Any] | None = None,
        trials: Trials | None = None,
        life: int | None = None,
        **words: Any,
    ) -> Any:
        """Ask for something.

        Parameters
        ----------
        task : str
            One of the ``do_…`` of :class:`neurobench_grasp.isolation.worker.Worker`.
        about : str
            What it is about, in words, for errors: the model's name.
        kind : type, optional
            What the answer must be; without it, the answer is words.
        values, trials, words
            What is given with the request: values in files, trials that are kept there, and JSON values.
        life : int, optional
            The :attr:`life` in which the process was given what this is about.

        Raises
        ------
        NgbError
            If the plugin fails in any way, reaches a limit, or hands back nonsense.
        """
        subject = f"{about or self.who}: {task}"
        with self._lock:
            try:
                if life is not None and (self._child is None or life != self.life):
                    raise NgbError(
                        f"{subject}: the process of {self.who} has ended, and with it what was fitted."
                    )
                self._begin()
                if trials is not None:
                    words["trials"] = self._hold(trials, subject)
                return self._ask(task, subject, kind, values or {}, words)
            except BaseException:
                if self._awaited:  # it is in an unknown state, or gone
                    self.close()
                raise

    def close(self) -> None:
        """End the process and all that it started; what it wrote for the exchange is removed."""
        with self._lock:
            if self._child is None:
                return
            child, self._child = self._child, None
            try:
                os.killpg(child.pid, signal.SIGKILL)  # also what outlives it in its group
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
            "confine": confine.__file__,
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
        with (self._scratch / "said").open("wb") as said:
            self._child = subprocess.Popen(
                [str(self.environment.python), "-I", "-B", str(start.__file__), json.dumps(order)],
                cwd=self._scratch / "tmp",
                env=kept | {"TMPDIR": str(self._scratch / "tmp")},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=(theirs, also_theirs),
                start_new_session=True,
            )
        os.close(theirs)
        os.close(also_theirs)
        self.life += 1
        self._greet()
        self._awaited = False

    def _greet(self) -> None:
        subject = f"{self.who}: start"
        hello = self._line(subject, time.monotonic() + START_SECONDS, START_SECONDS)
        if hello.get("ngb") != neurobench_grasp.__version__:
            raise PluginError(
                f"{self.who} brings neurobench-grasp {plain(hello.get('ngb'), 50)} into its environment, but "
                f"this is {neurobench_grasp.__version__}; its pyproject.toml must allow this version."
            )
        unsupported_limits = hello.get("unsupported_limits")
        if isinstance(unsupported_limits, list) and unsupported_limits:
            words = ", ".join(plain(w, 100) for w in unsupported_limits)
            self.tell(f"isolation: this machine does not give the process of {self.who} {words}")

    def _hold(self, trials: Trials, subject: str) -> int:
        """Hand trials over once; gives their number there."""
        for number, known in enumerate(self._held):
            if known is trials:
                return number
        self._ask("hold", subject, None, {"trials": trials}, {})
        self._held.append(trials)
        return len(self._held) - 1

    def _ask(
        self, task: str, subject: str, kind: Any, values: Mapping[str, Any], words: Mapping[str, Any]
    ) -> Any:
        self._asked += 1
        folder = self._scratch / str(self._asked)
        into = folder / "answer"
        into.mkdir(parents=True)
        try:
            given = dict(words)
            for name, value in values.items():
                given[name] = str(folder / name)
                (folder / name).mkdir()
                write_packed(folder / name, value)
            self._send({"task": task, "given": given, "into": str(into)}, subject)
            answer = self._answer(subject)
            if kind is None:
                return answer.get("words")
            try:
                return read_packed(into, kind)
            except PackedError as error:
                raise self._nonsense(subject, str(error)) from error
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
        """Wait for the answer; says meanwhile what the plugin says of its progress."""
        end = time.monotonic() + self.limits.seconds
        while "progress" in (answer := self._line(subject, end, self.limits.seconds)):
            self.tell(plain(answer["progress"], 200))
        if answer.get("limit") == "memory":
            raise self._beyond_memory(subject)
        self._awaited = False
        if "words" not in answer:
            raise self._refused(answer, subject)
        return answer

    def _line(self, subject: str, end: float, allowed: float) -> dict[str, Any]:
        """Next line that the process writes until a time, as JSON."""
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
                        raise self._nonsense(subject, "an answer is too long")
                elif self._child is None or self._child.poll() is not None:
                    raise self._ended(subject)
        line, self._unread = self._unread.split(b"\n", 1)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._nonsense(subject, "an answer is no JSON")
        return answer

    def _refused(self, answer: Mapping[str, Any], subject: str) -> NgbError:
        """Repeat what the process tells of a failure."""
        message = plain(answer.get("message"), LONGEST_TEXT)
        failed = plain(answer.get("failed"), LONGEST_TEXT)
        kind = getattr(errors, str(answer.get("kind")), None)
        error: NgbError
        if message and isinstance(kind, type) and issubclass(kind, NgbError):
            error = kind(message)
        elif failed:
            error = NgbError(f"{subject} failed in the plugin ({self.who}, isolated): {failed.rstrip('.')}.")
        else:
            return self._nonsense(subject, "an answer says nothing")
        error.add_note(str(answer.get("trace"))[:LONGEST_LINE])
        return error

    def _ended(self, subject: str) -> NgbError:
        """Report how a process ended that gave no answer."""
        assert self._child is not None
        try:
            code = self._child.wait(10)
        except subprocess.TimeoutExpired:
            return self._nonsense(subject, "it hung up")
        said = self._last_words()
        if any(sign in said for sign in NO_MEMORY):
            return self._beyond_memory(subject)
        if code == -signal.SIGKILL:
            how = "was killed, as the system does when memory runs out"
        elif code == -signal.SIGXFSZ:
            how = f"wrote a file of more than {self.limits.disk / GIB:.3g} GiB"
        else:
            how = (
                f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended itself (exit code {code})"
            )
        words = f"; it last said {said!r}" if said else ""
        return NgbError(f"{subject} gave no answer, because the process of {self.who} {how}{words}.")

    def _last_words(self) -> str:
        """Last line that the process printed."""
        try:
            with (self._scratch / "said").open("rb") as said:
                said.seek(max(0, said.seek(0, os.SEEK_END) - LONGEST_TEXT))
                lines = said.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return plain(next((line for line in reversed(lines) if line.strip()), ""), 300)

    def _beyond_memory(self, subject: str) -> NgbError:
        return self._beyond(
            subject, f"needed more than {self.limits.memory / GIB:.3g} GiB of memory", "--memory-limit"
        )

    def _beyond(self, subject: str, what: str, option: str) -> NgbError:
        return NgbError(
            f"{subject} ({self.who}, isolated) {what}, so its process was stopped; give it more with "
            f"{option}, or let the model need less."
        )

    def _nonsense(self, subject: str, why: str) -> NgbError:
        return NgbError(
            f"{subject} handed back what is no sound answer ({plain(why, 200)}), so nothing of it was used; "
            f"the fault is in the plugin ({self.who}, isolated)."
        )

"""Run untrusted code in a subprocess: start it, ask it, limit what it uses, check its answers, end it.

Requests and answers are lines of JSON on two pipes, and larger values are files in a folder (``wire``), so
that what the code prints does not interfere.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neurobench_grasp import errors
from neurobench_grasp.errors import MissingNetworkError, NgbError
from neurobench_grasp.sandbox import worker
from neurobench_grasp.sandbox.environment import child_environment
from neurobench_grasp.sandbox.limits import MIB, Limits
from neurobench_grasp.sandbox.wire import PackedError, read_packed, write_packed
from neurobench_grasp.text import plain

LONGEST_LINE = MIB  # bytes of an answer
LONGEST_TEXT = 4000  # characters of a message
KEPT_OUTPUT = 1 << 16  # bytes
START_SECONDS = 300.0  # importing torch from a slow disk takes a while
NO_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "can't start new thread")
"""Error messages of processes that reached their memory limit."""


class ProcessError(Exception):
    """A subprocess returned no valid answer.

    Parameters
    ----------
    reason : str
        ``seconds``, ``cpu``, ``memory`` or ``disk``: the limit that it reached. ``ended``: it ended.
        ``failed``: the code raised an error. ``invalid``: the answer is not what was asked for.
    text : str
        What happened, without control characters.
    code : int, optional
        Exit code of a process that ended; negative: the signal.
    last : str
        The last line that it printed.
    """

    def __init__(self, reason: str, text: str = "", code: int | None = None, last: str = "") -> None:
        super().__init__(text or reason)
        self.reason, self.text, self.code, self.last = reason, text, code, last


class Process:
    """A subprocess that serves requests, one at a time, started by the first of them.

    Parameters
    ----------
    serve : str
        Called there to make the server, ``package.module:name``, with a function ``progress``, and with
        ``given``; a request calls one of its ``do_…`` methods.
    limits : Limits
    given : mapping, optional
        Arguments of ``serve``, as JSON.
    name : str
        Begins the name of its folder, and the line that reports limits unsupported on this machine.
    python : sequence of str
        The interpreter and its options.
    environment : mapping of str to str, optional
    cwd : path, optional
        Default: an empty folder, removed afterwards.
    progress : callable
        Called with status messages.
    """

    def __init__(
        self,
        serve: str,
        limits: Limits,
        *,
        given: Mapping[str, Any] | None = None,
        name: str = "sandbox",
        python: Sequence[str] = (sys.executable, "-P"),
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.limits, self.name, self.progress = limits, name, progress
        self._order = {"serve": serve, "given": dict(given or {}), "command": (), "limits": asdict(limits)}
        self._python, self._cwd = python, cwd
        self._environment = child_environment() if environment is None else environment
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._asked = 0

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether it was started and not closed, by the user or after an error."""
        return self._child is not None

    def ask(
        self,
        task: str,
        /,
        *,
        kind: Any = None,
        values: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        **arguments: Any,
    ) -> Any:
        """Send a request and return the answer.

        Parameters
        ----------
        task : str
            Name of a ``do_…`` method of the server.
        kind : type, optional
            Expected type of the answer, for :func:`read_packed`; if missing, the answer is JSON.
        values, arguments : mapping
            Arguments of the method; ``values`` are packed, and it receives the paths of their folders.
        seconds : float, optional
            Time limit of this request.

        Raises
        ------
        ProcessError
            If there is no valid answer. The process is closed, unless it can answer further requests.
        NgbError
            That the method raised.
        """
        with self._lock:
            if not self.running:
                self._start()
            self._asked += 1
            folder = self._scratch / str(self._asked)
            into = folder / "answer"
            into.mkdir(parents=True)
            try:
                for name, value in (values or {}).items():
                    arguments[name] = str(folder / name)
                    (folder / name).mkdir()
                    write_packed(folder / name, value)
                request = {"task": task, "given": arguments, "into": None if kind is None else str(into)}
                answer = self._exchange(request, seconds or self.limits.seconds)
                return answer["result"] if kind is None else read_packed(into, kind, self.limits.disk)
            except PackedError as error:
                raise ProcessError("invalid", plain(str(error), 200)) from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command instead; return its exit code and the end of its output."""
        self._order["command"] = tuple(command)
        self._open()
        try:
            while True:
                self._line(self.limits.seconds, time.monotonic() + self.limits.seconds)
        except ProcessError as error:
            if error.code is None:
                raise
            return error.code, self._output.decode(errors="replace")
        finally:
            self.close()

    def close(self) -> None:
        """End the process and all that it started; remove its folder."""
        with self._lock:
            child, self._child = self._child, None
            if child is None:
                return
            self._lifeline.close()
            child.wait()
            for descriptor in (self._requests, self._answers, self._printed):
                os.close(descriptor)
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self) -> None:
        """Start it, and report the limits that it could not set."""
        self._open()
        try:
            greeting = self._line(START_SECONDS, time.monotonic() + START_SECONDS)
        except BaseException:
            self.close()
            raise
        unsupported = greeting.get("unsupported_limits")
        if isinstance(unsupported, list) and unsupported:
            limits = ", ".join(plain(limit, 100) for limit in unsupported)
            self.progress(f"{self.name}: not supported on this machine: {limits}")

    def _open(self) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix=f"ngb-{self.name.split()[0]}-"))
        (self._scratch / "tmp").mkdir()
        self._unread = self._output = b""
        theirs, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._printed, output = os.pipe()
        self._lifeline, lifeline = socket.socketpair()
        for descriptor in (self._answers, self._printed):
            os.set_blocking(descriptor, False)
        order = self._order | {
            "requests": theirs,
            "answers": answers,
            "lifeline": lifeline.fileno(),
            "scratch": str(self._scratch),
        }
        with lifeline:
            self._child = subprocess.Popen(
                [*self._python, "-S", "-B", str(worker.__file__), json.dumps(order)],
                cwd=self._cwd or self._scratch / "tmp",
                env={"TMPDIR": str(self._scratch / "tmp"), **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs, answers, lifeline.fileno()),
                start_new_session=True,
            )
        for descriptor in (theirs, answers, output):
            os.close(descriptor)

    def _exchange(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request, wait for the answer, and report progress meanwhile."""
        awaited = True
        try:
            self._send((json.dumps(request) + "\n").encode(), seconds)
            end = time.monotonic() + seconds
            while "progress" in (answer := self._line(seconds, end)):
                self.progress(plain(answer["progress"], 200))
            awaited = "limit" in answer
            if "result" not in answer:
                raise _refused(answer)
            return answer
        finally:
            if awaited:  # its state is unknown, or it has ended
                self.close()

    def _send(self, raw: bytes, seconds: float) -> None:
        try:
            while raw:
                raw = raw[os.write(self._requests, raw) :]
        except BrokenPipeError:
            self._line(seconds, time.monotonic() + seconds)  # raises how it ended
            raise ProcessError("invalid", "it closed the connection") from None

    def _line(self, seconds: float, end: float) -> dict[str, Any]:
        """Return the next line of the process as JSON; raise when it ends, or at the time limit."""
        with selectors.DefaultSelector() as selector:
            for source in (self._answers, self._printed, self._lifeline):
                selector.register(source, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                ready = selector.select(max(0.0, end - time.monotonic()))
                if not ready:
                    raise ProcessError("seconds", f"took more than {seconds:g} s")
                for key, _ in ready:
                    if key.fileobj is not self._lifeline and not self._receive(key.fd):
                        selector.unregister(key.fd)
                if len(self._unread) > LONGEST_LINE:
                    raise ProcessError("invalid", "a response is too long")
                if any(key.fileobj is self._lifeline for key, _ in ready):
                    self._receive_rest()
                    if b"\n" not in self._unread:
                        raise self._ended()
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ProcessError("invalid", "a response is not JSON")
        return answer

    def _receive(self, source: int) -> bool:
        """Read what is there, and keep only the end of the output; ``False`` at its end."""
        try:
            more = os.read(source, 1 << 16)
        except BlockingIOError:
            return True
        if source == self._answers:
            self._unread += more
        else:
            self._output = (self._output + more)[-KEPT_OUTPUT:]
        return bool(more)

    def _receive_rest(self) -> None:
        """Read what an ended process has left."""
        for source in (self._answers, self._printed):
            for _ in range(KEPT_OUTPUT >> 10):  # one of its children may still write
                self._receive(source)

    def _ended(self) -> ProcessError:
        """Return the error for a process that ended without an answer."""
        try:
            code = int(self._lifeline.recv(16))
        except (OSError, ValueError):
            code = -signal.SIGKILL  # the supervisor as well
        lines = [plain(line, 300) for line in self._output.decode(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        reasons = {-signal.SIGXCPU: "cpu", -signal.SIGXFSZ: "disk"}
        reason = "memory" if code and any(text in last for text in NO_MEMORY) else reasons.get(code, "ended")
        if code == -signal.SIGKILL:
            how = "was killed, probably by the system for lack of memory"
        else:
            how = f"crashed ({_signal_name(-code)})" if code < 0 else f"ended itself (exit code {code})"
        return ProcessError(reason, how, code, last)


def _refused(answer: Mapping[str, Any]) -> Exception:
    """Return the error for a failure that the process reports."""
    if answer.get("limit") in ("memory", "disk"):
        return ProcessError(answer["limit"])
    message, failed = plain(answer.get("message"), LONGEST_TEXT), plain(answer.get("failed"), LONGEST_TEXT)
    kind = getattr(errors, str(answer.get("kind")), None)
    error: Exception
    if message and kind is MissingNetworkError:
        error = MissingNetworkError(message, plain(answer.get("model"), 100))
    elif message and isinstance(kind, type) and issubclass(kind, NgbError):
        error = kind(message)
    elif failed:
        error = ProcessError("failed", failed)
    else:
        return ProcessError("invalid", "a response is empty")
    error.add_note(str(answer.get("trace"))[:LONGEST_LINE])
    return error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"

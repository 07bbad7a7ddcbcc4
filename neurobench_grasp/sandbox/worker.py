"""The other end of :mod:`neurobench_grasp.sandbox.process`: a supervisor, and the worker that serves.

Run as a file, by an interpreter that has imported no installed package, not even their ``.pth`` files: the
worker sets its limits first. The supervisor runs nothing untrusted. It reports how the worker ended; when its
parent ends or hangs up, it kills the worker with all that this started, and removes their folder.
"""

import errno
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

LONGEST_TRACE = 20_000  # characters


def main() -> None:
    """Start the worker for the order given as JSON in the first argument, and watch it."""
    order = json.loads(sys.argv[1])
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    supervisor, worker = os.getpid(), os.fork()
    if worker:
        _supervise(worker, order, ended)
        return
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in (order["lifeline"], ended, wake):
        os.close(descriptor)
    os.setpgid(0, 0)
    _work(order, supervisor)


def _supervise(worker: int, order: dict[str, Any], ended: int) -> None:
    for descriptor in (0, 1, 2, order["requests"], order["answers"]):
        os.close(descriptor)  # so that they end with the worker
    with socket.socket(fileno=order["lifeline"]) as lifeline, suppress(OSError):
        readable, _, _ = select.select([lifeline.fileno(), ended], [], [])
        with suppress(OSError):
            os.setpgid(worker, worker)  # unless it has done so itself
        os.killpg(worker, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if lifeline.fileno() not in readable:
            lifeline.sendall(b"%d\n" % code)
            lifeline.recv(1)  # until the parent has read what the worker left
    shutil.rmtree(order["scratch"], ignore_errors=True)


def _work(order: dict[str, Any], supervisor: int) -> None:
    limits = runpy.run_path(str(Path(__file__).with_name("limits.py")))
    limits["end_with_parent"](signal.SIGKILL)
    if os.getppid() != supervisor:
        return
    unsupported_limits = limits["apply_limits"](limits["Limits"](**order["limits"]))
    if order["command"]:
        os.execv(order["command"][0], order["command"])
    import site

    site.main()
    for name in ("requests", "answers"):
        os.set_inheritable(order[name], False)
    _serve(order, unsupported_limits)


def _serve(order: dict[str, Any], unsupported_limits: list[str]) -> None:
    """Answer requests, each a line of JSON, until there are no more."""
    with os.fdopen(order["requests"]) as requests, os.fdopen(order["answers"], "w") as answers:

        def send(**answer: Any) -> None:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

        module, _, name = order["serve"].partition(":")
        serves = getattr(importlib.import_module(module), name)
        server = serves(progress=lambda text: send(progress=text), **order["given"])
        send(unsupported_limits=unsupported_limits)
        for line in requests:
            send(**_answer(server, json.loads(line)))


def _answer(server: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Serve one request; whatever the called code raises is reported."""
    from neurobench_grasp.errors import NgbError
    from neurobench_grasp.sandbox.wire import PackedError, write_packed

    try:
        result = getattr(server, f"do_{request['task']}")(**request["given"])
        if request["into"] is None:
            json.dumps(result)
            return {"result": result}
        write_packed(Path(request["into"]), result)
        return {"result": None}
    except NgbError as error:
        model = getattr(error, "model", None)
        return {"kind": type(error).__name__, "message": str(error), "model": model, "trace": _trace()}
    except PackedError as error:
        return {"failed": f"its result cannot be transferred: {error}", "trace": _trace()}
    except MemoryError:
        return {"limit": "memory"}
    except BaseException as error:  # also sys.exit
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            return {"limit": "disk"}
        return {"failed": reason_of(error), "trace": _trace()}


def reason_of(error: BaseException) -> str:
    """Return exception, message and place as one line."""
    message = " ".join(str(error).split())
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
    place = f" ({'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {message}{place}" if message else f"{type(error).__name__}{place}"


def _trace() -> str:
    return traceback.format_exc()[-LONGEST_TRACE:]


if __name__ == "__main__":
    main()

"""Record side effects of a plugin: files that it opens, pickles, processes and the network.

Python reports these through audit events. Files opened by C libraries are detected by a wrapper around
h5py, by the access times of recordings, and by listing the folders before and after.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

RECORDINGS = (".nwb", ".h5", ".hdf5", ".mat")
NETWORK = {
    "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname",
    "socket.sendmsg", "socket.sendto",
}  # fmt: skip
CHANGES = {
    "os.chmod": "changes", "os.link": "links", "os.mkdir": "makes", "os.remove": "removes",
    "os.rename": "renames", "os.rmdir": "removes", "os.symlink": "links", "os.truncate": "cuts",
    "sqlite3.connect": "writes",
}  # fmt: skip
"""Events that change files, with descriptions."""
PROCESSES = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "subprocess.Popen",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LEFT_BY_THE_BODY = {"MUJOCO_LOG.TXT"}  # MuJoCo's log of unstable simulations
STANDARD = (sysconfig.get_path("stdlib"), "<frozen")
INSTALLED = ("site-packages", "dist-packages")  # may be inside the standard library's folder
GENERATOR = "neurobench_grasp.demo.neurons"


@dataclass(frozen=True)
class Event:
    """A recorded side effect.

    Parameters
    ----------
    kind : str
        ``write``, ``network``, ``process``, ``pickle`` or ``neurons``.
    what : str
        Description with the path or address.
    place : str
        File and line, as close to the plugin's code as possible.
    """

    kind: str
    what: str
    place: str


class Audit:
    """Records what is done inside :meth:`watch`; an audit hook cannot be removed again.

    Parameters
    ----------
    code : set of str
        Paths of the plugin's own files.
    allowed : sequence of path
        Writable folders.
    traps : path
        Folder of recordings that must not be opened.
    watched : mapping of path to str
        Folders in which nothing may be created, and their names in messages; listed before and after.
    """

    def __init__(self, code: set[str], allowed: list[Path], traps: Path, watched: Mapping[Path, str]) -> None:
        self.events: list[Event] = []
        self._code, self._watched = code, watched
        self._allowed = tuple(f"{folder}{os.sep}" for folder in allowed)
        self._before = {path for folder in watched for path in folder.rglob("*")}
        self._watching = False
        self._traps = [path for path in traps.rglob("*") if path.is_file()]
        for path in self._traps:
            os.utime(path, (0, path.stat().st_mtime))
        sys.addaudithook(self._on_event)
        _wrap_loaders(self._loaded)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Record side effects inside the context."""
        before, self._watching = self._watching, True
        try:
            yield
        finally:
            self._watching = before

    def seen(self, *kinds: str) -> list[Event]:
        """Return the recorded events without duplicates."""
        if "neurons" in kinds and self._were_read() and not self._of("neurons"):
            self.events.append(Event("neurons", "reads a recording in the cache folder", ""))
        if "neurons" in kinds and GENERATOR in sys.modules:
            self.events.append(Event("neurons", f"imports {GENERATOR}, which generates those of demo", ""))
        if "write" in kinds:
            self._look_for_files()
        return list(dict.fromkeys(event for kind in kinds for event in self._of(kind)))

    def _were_read(self) -> bool:
        """Whether a recording was read by any means; unknown where files are mounted without access times."""
        return any(path.stat().st_atime > 0 for path in self._traps)

    def _of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def _on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "open":
            self._opened(*args)
        elif event in CHANGES:
            self._changed(event, args)
        elif event in NETWORK:
            self._connected(event, args)
        elif event in PROCESSES:
            self._started(event, args)
        elif event == "pickle.find_class":
            self._record("pickle", f"unpickles {args[0]}.{args[1]}")

    def _changed(self, event: str, args: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.link"):
            paths = [(args[0], args[2]), (args[1], args[3])]
        elif event == "os.symlink":
            paths = [(args[1], args[2])]
        else:  # the last argument is a folder's descriptor, if any
            paths = [(args[0], -1 if event in ("os.truncate", "sqlite3.connect") else args[-1])]
        for path, folder in paths:
            self._written(_below(path, folder), CHANGES[event])

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else bool((flags or 0) & WRITING)
        if writes:
            self._written(path, "writes")
        elif (name := _absolute(path)).lower().endswith(RECORDINGS):
            self._record("neurons", f"opens {name}")

    def _written(self, path: Any, how: str) -> None:
        name = _absolute(path)
        if name and not name.startswith((*self._allowed, "/dev/", "/proc/")) and "__pycache__" not in name:
            self._record("write", f"{how} {name}")

    def _connected(self, event: str, args: tuple[Any, ...]) -> None:
        address = args[1] if event in ("socket.bind", "socket.connect", "socket.sendto") else args[0]
        if event == "socket.bind" and address in (("::1", 0), ("127.0.0.1", 0), ("localhost", 0)):
            return  # libraries test for IPv6 in this way
        self._record("network", f"uses the network: {event.removeprefix('socket.')} {address!r}")

    def _started(self, event: str, args: tuple[Any, ...]) -> None:
        """Record processes started by the plugin's own code; libraries start some for other reasons."""
        frame = next(_frames(), None)
        if frame is not None and frame.f_code.co_filename in self._code:
            self._record("process", f"starts {args[0]!r}" if args else f"starts a process ({event})")

    def _loaded(self, what: str) -> None:
        if self._watching:
            self._record("neurons", f"calls {what}")

    def _look_for_files(self) -> None:
        """Find files written by C libraries; those written by Python are known already, with their place."""
        known = " ".join(event.what for event in self._of("write"))
        for path in (path for folder in self._watched for path in sorted(folder.rglob("*"))):
            name = self._shown(str(path))
            if path not in self._before and path.name not in LEFT_BY_THE_BODY and name not in known:
                self.events.append(Event("write", f"leaves {name}", ""))

    def _shown(self, text: str) -> str:
        """Replace the folders of a check by their names."""
        for folder, name in self._watched.items():
            text = text.replace(str(folder), name)
        return text

    def _record(self, kind: str, what: str) -> None:
        self.events.append(Event(kind, self._shown(what), self._place()))

    def _place(self) -> str:
        """Return the plugin's innermost line that led here, or else the innermost outside the library."""
        frames = list(_frames())
        own = [f for f in frames if f.f_code.co_filename in self._code]
        found = (own or frames)[:1]
        return f"{Path(found[0].f_code.co_filename).name}:{found[0].f_lineno}" if found else ""


def _frames() -> Iterator[FrameType]:
    """Yield the calling frames, innermost first, without those of this file and the standard library."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        name = frame.f_code.co_filename
        standard = name.startswith(STANDARD) and not any(part in name for part in INSTALLED)
        if name != __file__ and not standard:
            yield frame
        frame = frame.f_back


def _absolute(path: Any) -> str:
    """Return an absolute path as text; empty if it is not a path."""
    if not isinstance(path, str | bytes | os.PathLike):
        return ""
    return os.path.realpath(os.fsdecode(path))


def _below(path: Any, folder: Any) -> Any:
    """Resolve a path relative to an open folder, as when a tree is removed."""
    if not isinstance(folder, int) or folder < 0:
        return path
    try:
        return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
    except (OSError, TypeError):
        return None


def _wrap_loaders(record: Callable[[str], None]) -> None:
    """Wrap the functions that read or make spikes so that calls are recorded."""
    import h5py

    from neurobench_grasp import data
    from neurobench_grasp.data import quarantine

    def wrapped(function: Callable[..., Any], describe: Callable[..., str]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            record(describe(*args))
            return function(*args, **kwargs)

        return call

    load = wrapped(data.load_session, lambda *args: "neurobench_grasp.data.load_session")
    data.load_session = quarantine.load_session = load
    h5py.h5f.open = wrapped(h5py.h5f.open, lambda *args: f"h5py.File({os.fsdecode(args[0])!r})")

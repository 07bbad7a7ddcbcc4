"""Atomic writes of files and folders, also where several processes write the same one."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neurobench_grasp.claims import claimed
from neurobench_grasp.errors import NgbError


def write_atomically(
    path: Path, raw: bytes, *, what: str = "", advice: str = "free some space or choose another folder"
) -> None:
    """Write a file atomically, through a temporary file in the same folder.

    Parameters
    ----------
    path : path
        Its folder is created if needed.
    raw : bytes
    what, advice : str
        For the error message: what was being written, and what to do.

    Raises
    ------
    NgbError
        If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as temporary:
            temporary.write_bytes(raw)
    except OSError as error:
        named = f"{what} {path}" if what else str(path)
        raise NgbError(f"Cannot write {named} ({error.strerror}); {advice}.") from error


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside a file, which it replaces at the end; it never outlives the block."""
    temporary = _beside(path)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        if os.name == "posix":
            _sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside a place; :func:`move_folder` keeps it, else it is removed."""
    temporary = _beside(place)
    try:
        temporary.mkdir()
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_folder(new: Path, place: Path, *, unless: Callable[[], bool] = lambda: False) -> None:
    """Rename a folder; whatever was in its place is removed, a link without its target.

    Parameters
    ----------
    new, place : path
        On one file system; processes rename in turn.
    unless : callable
        Called when it is this process's turn; nothing is done if it returns ``True``.

    Raises
    ------
    OSError
        If it cannot be renamed; what was in its place is still there.
    """
    old = _beside(place)
    with claimed(place.with_name(f"{place.name}.move")):
        if unless():
            return
        with suppress(FileNotFoundError):
            place.rename(old)
        try:
            new.rename(place)
        except OSError:
            with suppress(FileNotFoundError):
                old.rename(place)
            raise
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Return a hidden path in the same folder that no other process uses."""
    return path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Writes a folder atomically, and replaces only a folder that the same command wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from neurobench_grasp.atomic import move_folder, new_folder
from neurobench_grasp.errors import NgbError

MARK = ".ngb-board"
"""File of a site that lists all its files; a folder that holds others is not replaced."""


def write_folder(to: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder through a temporary one beside it, so that it has either the old content or the new.

    Parameters
    ----------
    to : path
        It is made, or replaced if this function wrote it.
    files : mapping of str to bytes
        Content by path within the folder, with ``/``.

    Raises
    ------
    NgbError
        If the folder holds anything else, or cannot be written.
    """
    to = Path(os.path.abspath(to.resolve()))
    check_folder(to)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(to) as new:
            names = [*sorted(files), MARK]
            for name in names:
                path = new / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes("".join(f"{n}\n" for n in names).encode() if name == MARK else files[name])
            move_folder(new, to)
    except OSError as error:
        raise NgbError(
            f"Cannot write the site {to} ({error.strerror}); free some space, or choose another folder "
            "with --html."
        ) from error


def check_folder(to: Path) -> None:
    """Refuse a folder that must not be overwritten, before any work is done.

    Raises
    ------
    NgbError
        If it holds files that this command did not write.
    """
    to = to.resolve()
    other = "choose another folder with --html"
    if to.exists() and not to.is_dir():
        raise NgbError(f"{to} is a file, not a folder; {other}.")
    if not to.is_dir():
        return
    try:
        mark = to / MARK
        ours = {*mark.read_text(encoding="utf-8").splitlines(), MARK} if mark.is_file() else set()
        found = (
            (Path(place) / name).relative_to(to).as_posix()
            for place, _, names in os.walk(to)
            for name in names
        )
        foreign = min((name for name in found if name not in ours), default=None)
    except (OSError, ValueError) as error:
        raise NgbError(f"The folder {to} cannot be read ({error}); {other}.") from error
    if foreign is not None:
        raise NgbError(
            f"{to} holds {foreign!r}, which this command did not write and which would be lost; "
            f"move it, or {other}."
        )

"""Read a dataset's pinned original files from a folder or a wheel."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from neurobench_grasp.data.catalogue.entries import Entry
from neurobench_grasp.errors import CorruptFileError, NgbError

MAX_BYTES = 64 << 20
"""More than the size of any original file; reading stops there."""


def originals(entry: Entry, source: Path) -> dict[str, bytes]:
    """Return the contents of a dataset's original files.

    Files are looked up by their pinned names and nothing is unpacked to disk or parsed, so neither names
    nor content of an untrusted archive are harmful.

    Parameters
    ----------
    entry : Entry
    source : path
        A folder with the files, or a wheel (zip) with them in any one folder.

    Returns
    -------
    dict of str to bytes

    Raises
    ------
    NgbError
        If the source or one of the files is missing.
    CorruptFileError
        If a file is not the pinned one; the message names it.
    """
    if source.is_dir():
        return _checked(entry, source, lambda name: (source / name).open("rb"))
    try:
        with zipfile.ZipFile(source) as archive:
            members = {PurePosixPath(m).name: m for m in archive.namelist()}
            return _checked(entry, source, lambda name: archive.open(members[name]))
    except FileNotFoundError:
        raise NgbError(f"There is no file or folder {source}.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as cause:
        raise CorruptFileError(
            f"{source} is neither a folder nor a valid wheel ({cause}); download it again."
        ) from cause


def _checked(entry: Entry, source: Path, opened: Callable[[str], IO[bytes]]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, sha256 in entry.files.items():
        try:
            with opened(name) as file:
                found[name] = file.read(MAX_BYTES)
        except (FileNotFoundError, KeyError):
            raise NgbError(
                f"{source} lacks {name}, one of the {len(entry.files)} files of {entry.name}; "
                f"they come from {entry.source}."
            ) from None
        if hashlib.sha256(found[name]).hexdigest() != sha256:
            raise CorruptFileError(
                f"{name} in {source} is not the original file of {entry.name} (its sha256 differs); "
                "download it again."
            )
    return found

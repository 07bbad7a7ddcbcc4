"""Atomic file writes."""

import os
import uuid
from pathlib import Path

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
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        named = f"{what} {path}" if what else str(path)
        raise NgbError(f"Cannot write {named} ({error.strerror}); {advice}.") from error
    finally:
        if path.parent.is_dir():
            temporary.unlink(missing_ok=True)

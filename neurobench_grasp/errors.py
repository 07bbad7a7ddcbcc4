"""Errors that users can act on: each message states what happened, where, and what to do next."""

from __future__ import annotations

import errno

HINTS = {
    errno.ENOSPC: "free some space and run the same command again: it resumes where it stopped",
    errno.EDQUOT: "free some space and run the same command again: it resumes where it stopped",
    errno.EACCES: "choose an accessible file or folder",
    errno.EPERM: "choose an accessible file or folder",
    errno.EROFS: "choose a writable folder",
    errno.EEXIST: "a file is where a folder should be; choose another folder",
    errno.ENOTDIR: "a file is where a folder should be; choose another folder",
}
TRANSIENT = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.ETIMEDOUT,
    errno.ENODEV, errno.EMFILE, errno.ENFILE, errno.EAGAIN,
)  # fmt: skip
"""Numbers of errors that another machine, or a later time, may not have."""


class NgbError(Exception):
    """Something the user can fix; the command line prints it as one sentence and exits with 1."""


class CorruptFileError(NgbError):
    """A file is damaged, truncated or not of the type its name implies."""


class UnsafeFileError(NgbError):
    """A file reaches outside itself or asks for unreasonable resources; nothing of it was read."""


class LayoutError(NgbError):
    """A file does not have the parts that a layout looks for."""


class PluginError(NgbError):
    """A plugin cannot be loaded, or clashes with another."""


class UnknownNameError(NgbError):
    """A model, dataset, protocol or layout of that name is not registered."""


class MissingNetworkError(NgbError):
    """A trained network is needed and does not exist.

    Parameters
    ----------
    message : str
    model : str, optional
        Name of the model that ``ngb train`` would train. Default: the one that is scored.
    """

    def __init__(self, message: str, model: str = "") -> None:
        super().__init__(message)
        self.model = model


class UnsupportedError(NgbError):
    """Model, dataset and protocol are incompatible; the message states why."""


def sentence(error: BaseException) -> str:
    """Return one sentence for any error."""
    if isinstance(error, NgbError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        hint = HINTS.get(error.errno or 0)
        return f"{place}{error.strerror}{f'; {hint}' if hint else ''}."
    if isinstance(error, MemoryError):
        return "There is not enough memory for this; close other programs or use a smaller dataset."
    return (
        f"Unexpected {type(error).__name__}: {' '.join(str(error).split())}. "
        "Please report it with the output of `ngb --debug …` for the same command."
    )


def is_transient(error: BaseException) -> bool:
    """Return whether an error, or what caused it, may be absent on another machine or at another time."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, MemoryError | ConnectionError):
            return True
        if isinstance(chain, OSError) and chain.errno in TRANSIENT:
            return True
        chain = chain.__cause__ or chain.__context__
    return False

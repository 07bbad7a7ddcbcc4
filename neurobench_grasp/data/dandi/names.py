"""Addresses of files on DANDI: ``dandi:ID[@VERSION]/path-or-glob``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from neurobench_grasp.errors import NgbError

PREFIX = "dandi:"
DRAFT = "draft"
_FORM = "dandi:ID[@VERSION]/path, such as dandi:000128@0.220113.0400/sub-*.nwb"
_ID = re.compile(r"\d{6}")
_VERSION = re.compile(rf"\d+\.\d+\.\d+|{DRAFT}")
_LONGEST = 100  # characters of a file's name in the cache


@dataclass(frozen=True)
class Address:
    """An address of files.

    Parameters
    ----------
    dandiset : str
        Six digits.
    version : str
        A published version or ``draft``; empty for the newest published one.
    pattern : str
        Path of a file in the dandiset; ``*`` matches any characters, including ``/``, as on DANDI
        itself. Empty for all files.
    """

    dandiset: str
    version: str
    pattern: str

    def __str__(self) -> str:
        """Format the address; the inverse of :func:`parse_address`."""
        version = f"@{self.version}" if self.version else ""
        return f"{PREFIX}{self.dandiset}{version}" + (f"/{self.pattern}" if self.pattern else "")

    @property
    def is_pattern(self) -> bool:
        """Return whether several files may match."""
        return "*" in self.pattern or not self.pattern

    def matches(self, path: str) -> bool:
        """Return whether a file of the dandiset matches."""
        parts = map(re.escape, (self.pattern or "*").split("*"))
        return re.fullmatch(".*".join(parts), path, re.DOTALL) is not None

    def covers(self, dandiset: str, version: str, path: str) -> bool:
        """Return whether a file matches; an address without a version covers all versions."""
        return self.dandiset == dandiset and self.version in ("", version) and self.matches(path)


def is_address(name: object) -> bool:
    """Return whether a dataset's name is an address, not a path."""
    return isinstance(name, str) and name.lower().startswith(PREFIX)


def parse_address(text: str) -> Address:
    """Parse an address.

    Parameters
    ----------
    text : str
        ``dandi:ID[@VERSION]/path-or-glob``; without a path, all files match.

    Returns
    -------
    Address

    Raises
    ------
    NgbError
        If it is malformed.
    """
    place, _, pattern = text.removeprefix(PREFIX).partition("/")
    dandiset, at, version = place.partition("@")
    if not text.startswith(PREFIX):
        raise NgbError(f"{text!r} is not an address on DANDI; write {_FORM}.")
    if not _ID.fullmatch(dandiset):
        raise NgbError(f"{text!r} has no dandiset of six digits; write {_FORM}.")
    if at and not _VERSION.fullmatch(version):
        raise NgbError(
            f"{text!r} has the version {version!r}; a version is draft or three numbers: write {_FORM}."
        )
    if _VERSION.fullmatch(pattern.partition("/")[0]):
        raise NgbError(f"{text!r} has its version after a slash; it belongs after an @: write {_FORM}.")
    if pattern and not is_safe_path(pattern):
        hint = f"; for a whole folder, write {text}*" if pattern.endswith("/") else f"; write {_FORM}"
        raise NgbError(f"{text!r} has an invalid path{hint}.")
    return Address(dandiset, version, pattern)


def is_safe_path(path: str) -> bool:
    """Return whether a path is relative, without ``..``, and printable."""
    return (
        path.isprintable()
        and "\\" not in path
        and all(part not in ("", ".", "..") for part in path.split("/"))
    )


def file_name(path: str) -> str:
    """Return a file's name in the cache: the last part of its path, with plain characters only."""
    name = PurePosixPath(path)
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "_", name.stem).strip(".")[:_LONGEST]
    return f"{stem or 'file'}.nwb"


def dataset_id(address: Address) -> str:
    """Return the dataset's name in records, safe as part of a file name and unique to the address."""
    parts = re.sub(r"[^a-z0-9]+", "-", address.pattern.removesuffix(".nwb").lower())[-24:].strip("-")
    mark = hashlib.sha256(address.pattern.encode()).hexdigest()[:6]
    return "-".join(filter(None, ("dandi", address.dandiset, address.version, parts, mark)))

"""Open an NWB file safely and read parts of it.

All exceptions that h5py raises while a file is read are converted here.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.data.nwb.heaps import broken_heap
from neurobench_grasp.data.nwb.scan import Limits, Tree, no_plugins, prescan, refused, size_in_memory
from neurobench_grasp.errors import CorruptFileError, LayoutError, NgbError, UnsafeFileError
from neurobench_grasp.sandbox.limits import GIB

READ_LIMIT = 8 * GIB
"""Maximum bytes in memory of one dataset that is read."""

NOT_HDF5 = "{} is not an HDF5 file, so it cannot be NWB; check what you downloaded."

BETA_TYPES = {"TableColumn", "ElectrodeTable", "ElectrodeTableRegion"}
"""Types of the NWB 2.0 beta that the final format removed; their tables cannot be read."""


@dataclass(frozen=True)
class NwbFile:
    """An open, pre-scanned NWB file. Paths have no leading slash; soft links are followed.

    Parameters
    ----------
    path : pathlib.Path
    h5 : h5py.File
    tree : Tree
    remote : bool
        Whether the file is on a server, where reading is slow.
    """

    path: Path
    h5: h5py.File
    tree: Tree
    remote: bool = False

    @property
    def name(self) -> str:
        """The file's name, as used in messages."""
        return self.path.name

    def has_group(self, path: str) -> bool:
        """Return whether a group exists."""
        return self.tree.resolve(path) in self.tree.groups

    def has_dataset(self, path: str) -> bool:
        """Return whether a dataset exists."""
        return self.tree.resolve(path) in self.tree.datasets

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of a dataset."""
        return self.tree.datasets[self._at(path)]

    def members(self, path: str) -> list[str]:
        """Return the names directly inside a group, sorted; none if there is no group."""
        inside = self.tree.resolve(path)
        if inside not in self.tree.groups:
            return []
        prefix = f"{inside}/" if inside else ""
        names = {
            p[len(prefix) :]
            for p in (*self.tree.groups, *self.tree.datasets, *self.tree.links)
            if p.startswith(prefix) and p != inside
        }
        return sorted(n for n in names if n and "/" not in n)

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute of a group or dataset, strings as ``str``; ``None`` if absent."""
        value = self.h5[self._at(path) or "/"].attrs.get(name)
        if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
            return [_decoded(v) for v in value.ravel()]
        return _decoded(value)

    def type_of(self, path: str) -> str:
        """Return the ``neurodata_type`` of an object, empty if it has none."""
        return self.text_of(path, "neurodata_type")

    def texts_of(self, path: str, name: str) -> list[str]:
        """Return the texts of an attribute; none if it is absent or holds anything else."""
        value = self.attribute(path, name)
        return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]

    def text_of(self, path: str, name: str) -> str:
        """Return an attribute that is one text; empty if it is absent or anything else."""
        texts = self.texts_of(path, name)
        return texts[0] if len(texts) == 1 else ""

    def read(self, path: str) -> NDArray[Any]:
        """Read a dataset into memory; strings are returned as an object array of ``str``."""
        dataset = self.h5[self._at(path)]
        size = size_in_memory(dataset.id)
        if size >= Limits.ratio_from and size > Limits.ratio * (stored := dataset.id.get_storage_size()):
            raise refused(self.name, path, f"takes {size} bytes in memory but stores only {stored}")
        if size > READ_LIMIT:
            raise UnsafeFileError(
                f"{self.name}: {path!r} has {size / GIB:.0f} GiB, more than the {READ_LIMIT // GIB} GiB that "
                "are read at once; split the file into sessions."
            )
        if h5py.check_string_dtype(dataset.dtype) is not None:
            return np.asarray(np.frompyfunc(_decoded, 1, 1)(np.asarray(dataset[()], dtype=object)), object)
        return np.asarray(dataset[()])

    def targets(self, path: str) -> list[str]:
        """Return the paths that a dataset of object references points to, empty for null references."""
        return [str(self.h5[r].name).strip("/") if r else "" for r in self.read(path).ravel()]

    def rows(self, path: str, first: int, stop: int) -> NDArray[Any]:
        """Read some rows of a numeric dataset into memory."""
        return np.asarray(self.h5[self._at(path)][first:stop])

    def text(self, path: str) -> str:
        """Read a single string, empty if there is none."""
        if not self.has_dataset(path):
            return ""
        value = self.read(path)
        return str(value.item()) if value.size == 1 else ""

    def _at(self, path: str) -> str:
        found = self.tree.resolve(path)
        if found is None:
            raise LayoutError(
                f"{self.name} has no {path!r}; `ngb data inspect {self.path}` lists its contents."
            )
        return found


def _decoded(value: Any) -> Any:
    """Decode bytes as UTF-8 or, as older tools wrote it, Latin-1."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


@contextmanager
def open_nwb(path: str | os.PathLike[str]) -> Iterator[NwbFile]:
    """Scan and open an NWB 2 file; every failure inside is an :class:`NgbError`.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    NwbFile

    Raises
    ------
    NgbError
        If there is no such file, or it is not a regular file, or not readable.
    CorruptFileError
        If it is empty, truncated, damaged, not HDF5, or not NWB 2.
    UnsafeFileError
        If the pre-scan refuses it.
    """
    path = Path(path)
    check_regular(path, "NWB")
    if not is_hdf5(path):
        raise CorruptFileError(NOT_HDF5.format(path.name))
    with _opened(path, path) as nwb:
        yield nwb


@contextmanager
def open_remote_nwb(file: io.RawIOBase, name: str) -> Iterator[NwbFile]:
    """Open an NWB 2 file on a server like :func:`open_nwb`; ``file`` checks its heaps itself."""
    with _opened(Path(name), file) as nwb:
        yield nwb


@contextmanager
def _opened(path: Path, source: Path | io.RawIOBase) -> Iterator[NwbFile]:
    remote = not isinstance(source, Path)
    try:
        with no_plugins(), h5py.File(source, "r", locking=None if remote else "best-effort") as h5:
            _check_generation(h5, path.name)
            tree = prescan(h5, path.name, remote=remote)
            nwb = NwbFile(path, h5, tree, remote)
            _check_nwb(nwb)
            yield nwb
    except (NgbError, MemoryError):
        raise
    except Exception as cause:
        if "memory allocation failed" in str(cause):
            raise MemoryError from cause
        raise corrupt(path, cause) from cause


def check_regular(path: Path, kind: str) -> None:
    """Raise unless a path is a readable file."""
    if path.is_dir() and any((path / name).exists() for name in (".zgroup", ".zattrs", "zarr.json")):
        raise CorruptFileError(
            f"{path.name} is a Zarr store, which is not read here; export it to HDF5 (hdmf-zarr's NWBZarrIO "
            "reads it, pynwb's NWBHDF5IO exports it)."
        )
    if path.is_dir():
        raise NgbError(f"{path} is a folder; name one of the {kind} files in it.")
    if not path.exists():
        raise NgbError(f"There is no file {path}.")
    if not path.is_file():
        raise NgbError(f"{path} is not a regular file; name the {kind} file itself.")
    if not os.access(path, os.R_OK):
        raise NgbError(f"{path} is not readable; ask its owner for permission.")
    if path.stat().st_size == 0:
        raise CorruptFileError(f"{path.name} is empty; copy or download it again.")


def is_hdf5(path: Path) -> bool:
    """Return whether a file has the HDF5 signature."""
    try:
        return bool(h5py.is_hdf5(path))
    except OSError:
        return False


def corrupt(path: Path, cause: Exception) -> CorruptFileError:
    """Return an error that states the cause in one sentence."""
    truncated = re.search(r"truncated file: eof = (\d+),.* stored_eof = (\d+)", str(cause))
    if truncated:
        have, want = truncated.groups()
        return CorruptFileError(
            f"{path.name} is truncated: it has {have} of {want} bytes; copy or download it again."
        )
    if "file signature not found" in str(cause):
        return CorruptFileError(NOT_HDF5.format(path.name))
    reason = " ".join(str(cause.args[0] if cause.args else "").split()).rstrip(".") or "no reason given"
    return CorruptFileError(
        f"{path.name} is damaged and cannot be read ({type(cause).__name__}: {reason[:200]}); "
        "copy or download it again."
    )


def _check_generation(h5: h5py.File, name: str) -> None:
    """Raise unless a file is NWB 2; before the pre-scan, so that NWB 1 is not reported as unsafe links."""
    if "nwb_version" in h5.attrs:
        return
    if h5.id.links.exists(b"nwb_version"):
        raise CorruptFileError(
            f"{name} is NWB 1, a format from before 2018 (its nwb_version is a dataset), and not supported "
            "here; convert it to NWB 2 first."
        )
    raise CorruptFileError(f"{name} is HDF5 but not NWB: it states no nwb_version.")


def check_heaps(path: Path) -> None:
    """Raise if a file has a heap on which the HDF5 library would loop forever."""
    place = broken_heap(path)
    if place is not None:
        raise CorruptFileError(
            f"{path.name} is damaged and cannot be read (its text heap at byte {place} is broken); "
            "copy or download it again."
        )


def _check_nwb(nwb: NwbFile) -> None:
    """Raise if a file is not valid NWB 2."""
    version = nwb.text_of("", "nwb_version")
    if not version:
        raise CorruptFileError(f"{nwb.name} states no NWB version, so it is HDF5, but not NWB.")
    if not re.match(r"2\.\d", version):
        raise CorruptFileError(f"{nwb.name} states the NWB version {version!r}; only NWB 2 is supported.")
    if not nwb.has_dataset("identifier"):
        raise CorruptFileError(
            f"{nwb.name} lacks the identifier that every NWB file has; it is damaged or unfinished."
        )
    if version == "2.0b":
        _check_beta(nwb)


def _check_beta(nwb: NwbFile) -> None:
    for path in sorted((*nwb.tree.groups, *nwb.tree.datasets)):
        if nwb.type_of(path) in BETA_TYPES:
            raise CorruptFileError(
                f"{nwb.name} is of the NWB 2.0 beta and cannot be read: {path!r} has the type "
                f"{nwb.type_of(path)}, which the final format removed; export it with a current NWB tool."
            )

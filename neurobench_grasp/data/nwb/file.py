"""Open an NWB file safely and read single parts of it.

Everything that h5py can raise while a file is read ends here, at one boundary.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.data.nwb.heaps import broken_heap
from neurobench_grasp.data.nwb.scan import GIB, Tree, no_plugins, prescan
from neurobench_grasp.errors import CorruptFileError, LayoutError, NgbError, UnsafeFileError

READ_LIMIT = 8 * GIB
"""Most bytes of one dataset that are taken into memory."""

NOT_HDF5 = "{} is not an HDF5 file, so it cannot be NWB; check what you downloaded."

BETA_TYPES = {"TableColumn", "ElectrodeTable", "ElectrodeTableRegion"}
"""Types of the NWB 2.0 beta that the final format dropped; their tables cannot be read."""


@dataclass(frozen=True)
class NwbFile:
    """An open, pre-scanned NWB file. Paths carry no leading slash; soft links are followed.

    Parameters
    ----------
    path : pathlib.Path
    h5 : h5py.File
    tree : Tree
    far : bool
        Whether reading is slow, since it lies on a server.
    """

    path: Path
    h5: h5py.File
    tree: Tree
    far: bool = False

    @property
    def name(self) -> str:
        """The file's name, as messages give it."""
        return self.path.name

    def has_group(self, path: str) -> bool:
        """Whether a group is there."""
        return self.tree.resolve(path) in self.tree.groups

    def has_dataset(self, path: str) -> bool:
        """Whether a dataset is there."""
        return self.tree.resolve(path) in self.tree.datasets

    def shape(self, path: str) -> tuple[int, ...]:
        """Shape of a dataset."""
        return self.tree.datasets[self._at(path)]

    def members(self, path: str) -> list[str]:
        """Names directly inside a group, sorted; none where there is no group."""
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
        """Attribute of a group or dataset, strings as ``str``; ``None`` where it is absent."""
        value = self.h5[self._at(path) or "/"].attrs.get(name)
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
            return [v.decode() if isinstance(v, bytes) else v for v in value.ravel()]
        return value

    def type_of(self, path: str) -> str:
        """``neurodata_type`` of an object, empty where it has none."""
        return str(self.attribute(path, "neurodata_type") or "")

    def read(self, path: str) -> NDArray[Any]:
        """Take a dataset into memory; strings come as an object array of ``str``."""
        dataset = self.h5[self._at(path)]
        if dataset.size is not None and dataset.size * dataset.dtype.itemsize > READ_LIMIT:
            raise UnsafeFileError(
                f"{self.name}: {path!r} holds {dataset.size * dataset.dtype.itemsize / GIB:.0f} GiB, more "
                f"than the {READ_LIMIT // GIB} GiB that are read at once; cut the file into sessions."
            )
        if h5py.check_string_dtype(dataset.dtype) is not None:
            return np.asarray(dataset.asstr()[()], dtype=object)
        return np.asarray(dataset[()])

    def rows(self, path: str, first: int, stop: int) -> NDArray[Any]:
        """Take some rows of a dataset of numbers into memory."""
        return np.asarray(self.h5[self._at(path)][first:stop])

    def text(self, path: str) -> str:
        """Read a single string, empty where there is none."""
        if not self.has_dataset(path):
            return ""
        value = self.read(path)
        return str(value.item()) if value.size == 1 else ""

    def _at(self, path: str) -> str:
        found = self.tree.resolve(path)
        if found is None:
            raise LayoutError(
                f"{self.name} has no {path!r}; `ngb data inspect {self.path}` shows what it has."
            )
        return found


@contextmanager
def open_nwb(path: str | os.PathLike[str]) -> Iterator[NwbFile]:
    """Open an NWB 2 file after looking it over; every failure inside is an :class:`NgbError`.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    NwbFile

    Raises
    ------
    NgbError
        If there is no such file, or it is no regular file, or may not be read.
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
def open_far_nwb(file: io.RawIOBase, name: str) -> Iterator[NwbFile]:
    """Open an NWB 2 file that lies elsewhere, as :func:`open_nwb` does; ``file`` checks its heaps itself."""
    with _opened(Path(name), file) as nwb:
        yield nwb


@contextmanager
def _opened(path: Path, source: Path | io.RawIOBase) -> Iterator[NwbFile]:
    far = not isinstance(source, Path)
    try:
        with no_plugins(), h5py.File(source, "r", locking=None if far else "best-effort") as h5:
            _check_generation(h5, path.name)
            tree = prescan(h5, path.name, far=far)
            if not far:
                check_heaps(path, tree.bulk)
            nwb = NwbFile(path, h5, tree, far)
            _check_nwb(nwb)
            yield nwb
    except (NgbError, MemoryError):
        raise
    except Exception as cause:
        raise corrupt(path, cause) from cause


def check_regular(path: Path, kind: str) -> None:
    """Report plainly what a path is when it is no readable file of a kind."""
    if path.is_dir():
        raise NgbError(f"{path} is a folder; name one of the {kind} files in it.")
    if not path.exists():
        raise NgbError(f"There is no file {path}.")
    if not path.is_file():
        raise NgbError(f"{path} is not a regular file; name the {kind} file itself.")
    if not os.access(path, os.R_OK):
        raise NgbError(f"{path} may not be read; ask its owner for permission.")
    if path.stat().st_size == 0:
        raise CorruptFileError(f"{path.name} is empty; copy or download it again.")


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    try:
        return bool(h5py.is_hdf5(path))
    except OSError:
        return False


def corrupt(path: Path, cause: Exception) -> CorruptFileError:
    """Put the cause into one sentence."""
    truncated = re.search(r"truncated file: eof = (\d+),.* stored_eof = (\d+)", str(cause))
    if truncated:
        have, want = truncated.groups()
        return CorruptFileError(
            f"{path.name} is truncated: it should hold {want} bytes and holds {have}; "
            "copy or download it again."
        )
    if "file signature not found" in str(cause):
        return CorruptFileError(NOT_HDF5.format(path.name))
    reason = " ".join(str(cause.args[0] if cause.args else "").split()).rstrip(".") or "no reason given"
    return CorruptFileError(
        f"{path.name} is damaged and cannot be read ({type(cause).__name__}: {reason[:200]}); "
        "copy or download it again."
    )


def _check_generation(h5: h5py.File, name: str) -> None:
    """Refuse what is not NWB 2 before the pre-scan, lest an old file be blamed for its links."""
    if "nwb_version" in h5.attrs:
        return
    if h5.id.links.exists(b"nwb_version"):
        raise CorruptFileError(
            f"{name} is NWB 1, a format from before 2018 (its nwb_version is a dataset), and is not read "
            "here; convert it to NWB 2 first."
        )
    raise CorruptFileError(f"{name} is HDF5 but not NWB: it states no nwb_version.")


def check_heaps(path: Path, bulk: Sequence[tuple[int, int]]) -> None:
    """Refuse a file with a heap that the HDF5 library could not walk to its end."""
    place = broken_heap(path, bulk)
    if place is not None:
        raise CorruptFileError(
            f"{path.name} is damaged and cannot be read (its text heap at byte {place} is broken); "
            "copy or download it again."
        )


def _check_nwb(nwb: NwbFile) -> None:
    """Refuse what no NWB 2 reader could make sense of."""
    version = str(nwb.attribute("", "nwb_version"))
    if not re.match(r"2\.\d", version):
        raise CorruptFileError(f"{nwb.name} states the NWB version {version!r}; only NWB 2 is read here.")
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
                f"{nwb.type_of(path)}, which the final format dropped; export it with a current NWB tool."
            )

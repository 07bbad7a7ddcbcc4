"""Read MATLAB files of version 7.3, which are HDF5.

MATLAB writes arrays transposed, text as UTF-16 numbers, and the contents of cells and struct arrays as
references to objects in the group ``#refs#``. Only references to objects that the pre-scan has visited
are followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.data.converters.matvalues import MAX_CELLS, Cells, MatValue, Struct, lines
from neurobench_grasp.data.nwb.file import READ_LIMIT, check_heaps
from neurobench_grasp.data.nwb.scan import Limits, Tree, address, no_plugins, prescan
from neurobench_grasp.errors import CorruptFileError, UnsafeFileError
from neurobench_grasp.sandbox.limits import GIB

LIMITS = Limits(objects=500_000)
"""Every cell is a separate object."""

OTHERS = {"c": "complex numbers", "V": "complex numbers"}
"""Kinds of numpy types that are not supported."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[tuple[str, ...], Callable[[str], MatValue]]]:
    """Open a file; yield the names of its variables and a function that reads one."""
    with no_plugins(), h5py.File(path, "r", locking="best-effort") as h5:
        tree = prescan(h5, path.name, LIMITS)
        check_heaps(path)
        names = tuple(n for n in h5 if not n.startswith("#") and tree.resolve(n) is not None)
        yield names, _Reader(path.name, h5, tree).value


class _Reader:
    """Converts objects of one file to values; counts the bytes read into memory."""

    def __init__(self, name: str, h5: h5py.File, tree: Tree) -> None:
        self.name = name
        self.h5 = h5
        self.tree = tree
        self.n_bytes = 0

    def value(self, path: str) -> MatValue:
        """Read one object; for structs and cells only their structure."""
        item = self.h5[path]
        kind = _text(item.attrs.get("MATLAB_class"))
        if isinstance(item, h5py.Group):
            return self.struct(item, path)
        if "MATLAB_empty" in item.attrs:
            return self.empty(item, path, kind)
        if _holds_references(item):
            return self.cells(item, path)
        values = self.array(item, path)
        return lines(values, self.place(path)) if kind == "char" else values.T

    def struct(self, group: h5py.Group, path: str) -> Struct:
        """Return a struct or, where its fields are references and not cells, a struct array."""
        fields = tuple(group)
        refs = {f: group[f] for f in fields if isinstance(group[f], h5py.Dataset)}
        rows = {f: d for f, d in refs.items() if _holds_references(d) and "MATLAB_class" not in d.attrs}
        if not fields or len(rows) < len(fields):
            return Struct(self.place(path), fields, 1, lambda field, _: self.value(f"{path}/{field}"))
        columns = {f: self.references(d, f"{path}/{f}") for f, d in rows.items()}
        n = len(columns[fields[0]])
        if any(len(c) != n for c in columns.values()):
            raise CorruptFileError(f"{self.place(path)} is damaged: its fields differ in length.")
        return Struct(
            self.place(path), fields, n, lambda field, i: self.follow(columns[field][i], f"{path}/{field}")
        )

    def cells(self, dataset: h5py.Dataset, path: str) -> Cells:
        """Return a cell array."""
        refs = self.references(dataset, path)
        return Cells(self.place(path), len(refs), lambda i: self.follow(refs[i], path))

    def empty(self, dataset: h5py.Dataset, path: str, kind: str) -> MatValue:
        """Return an empty value, whose shape the file stores."""
        if kind == "char":
            return ""
        if kind == "cell":
            return Cells(self.place(path), 0, lambda i: "")
        shape = self.array(dataset, path).ravel()
        if kind == "struct" or not 2 <= len(shape) <= 32 or np.prod(shape.astype(float)) != 0:
            return np.empty((0, 0))
        return np.empty(tuple(min(int(n), np.iinfo(np.int32).max) for n in shape))

    def references(self, dataset: h5py.Dataset, path: str) -> NDArray[Any]:
        """Read references, in column-major order."""
        if dataset.size > MAX_CELLS:
            raise UnsafeFileError(f"{self.place(path)} has {dataset.size} cells, more than {MAX_CELLS}.")
        return self.array(dataset, path).ravel()

    def follow(self, reference: h5py.Reference, path: str) -> MatValue:
        """Read the target of a reference, if a link in the file leads to it as well."""
        found = None
        if isinstance(reference, h5py.Reference) and reference:
            item = h5py.h5r.dereference(reference, self.h5.id)
            if isinstance(item, h5py.h5g.GroupID | h5py.h5d.DatasetID):
                found = self.tree.places.get(address(item))
        if not found:
            raise CorruptFileError(
                f"{self.place(path)} has a reference to no object of the file; copy or download it again."
            )
        return self.value(found)

    def array(self, dataset: h5py.Dataset, path: str) -> NDArray[Any]:
        """Read a dataset into memory."""
        kind = dataset.dtype.kind
        if kind not in "iufb" and not _holds_references(dataset):
            raise CorruptFileError(
                f"{self.place(path)} contains {OTHERS.get(kind, 'other types than numbers')}, which is not "
                "supported; save it as plain numbers."
            )
        self.n_bytes += dataset.size * dataset.dtype.itemsize
        if self.n_bytes > READ_LIMIT:
            raise UnsafeFileError(
                f"{self.name} was not read completely, because its parts need more than "
                f"{READ_LIMIT // GIB} GiB; split the file into sessions."
            )
        return np.asarray(dataset[()])

    def place(self, path: str) -> str:
        """Return the name of a part of the file for messages."""
        return f"{self.name}: {path!r}"


def _holds_references(dataset: h5py.Dataset) -> bool:
    return h5py.check_ref_dtype(dataset.dtype) is h5py.Reference


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")

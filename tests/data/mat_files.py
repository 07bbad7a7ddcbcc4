"""MATLAB files of version 7.3 written object by object with h5py, as MATLAB itself stores them.

Arrays are transposed, text is UTF-16 in numbers, cells and struct arrays are references into ``#refs#``,
an empty array is its shape with the attribute ``MATLAB_empty``, and 512 bytes stand before the HDF5 file.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import h5py
import numpy as np

HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Tue Oct 27 10:00:00 2020 HDF5 schema 1.00 ."


@dataclass
class Cell:
    """A cell array: nested lists, or an object array of two dimensions."""

    contents: object

    def grid(self):
        if isinstance(self.contents, np.ndarray):
            return self.contents
        grid = np.empty((1, len(self.contents)), object)
        for i, value in enumerate(self.contents):
            grid[0, i] = value
        return grid


@dataclass
class StructArray:
    """A struct array of one row: one dictionary per element, all with the same keys."""

    elements: list


class Mat73:
    """Writes variables into an open HDF5 file."""

    def __init__(self, file):
        self.file = file
        self.refs = file.create_group("#refs#")
        self.put(self.refs, "a", np.empty((0, 0)), "canonical empty")
        self.n = 0

    def variables(self, **values):
        for name, value in values.items():
            self.put(self.file, name, value)

    def put(self, group, name, value, kind=None):
        """Write one value under a name; what it consists of goes to ``#refs#``."""
        if isinstance(value, dict):
            made = group.create_group(name)
            made.attrs["MATLAB_class"] = np.bytes_("struct")
            for field, content in value.items():
                self.put(made, field, content)
        elif isinstance(value, StructArray):
            made = group.create_group(name)
            made.attrs["MATLAB_class"] = np.bytes_("struct")
            for field in value.elements[0]:
                column = np.array([[self.reference(e[field])] for e in value.elements], h5py.ref_dtype)
                made.create_dataset(field, data=column)
        elif isinstance(value, Cell):
            grid = value.grid()
            if not grid.size:
                return self.empty(group, name, grid.shape, "cell")
            refs = np.empty(grid.T.shape, h5py.ref_dtype)
            for at in np.ndindex(refs.shape):
                refs[at] = self.reference(grid.T[at])
            made = group.create_dataset(name, data=refs)
            made.attrs["MATLAB_class"] = np.bytes_("cell")
        elif isinstance(value, str):
            if not value:
                return self.empty(group, name, (0, 0), "char")
            codes = np.frombuffer(value.encode("utf-16-le"), "<u2")
            made = group.create_dataset(name, data=codes[:, None])
            made.attrs["MATLAB_class"] = np.bytes_("char")
            made.attrs["MATLAB_int_decode"] = np.int32(2)
        else:
            values = np.atleast_2d(np.asarray(value))
            kind = kind or {"f8": "double", "f4": "single", "b1": "logical"}.get(
                values.dtype.str[1:], values.dtype.name
            )
            if not values.size:
                return self.empty(group, name, values.shape, kind)
            stored = values.astype("u1") if values.dtype == bool else values
            options = {"chunks": stored.T.shape, "compression": "gzip"} if stored.size > 1 else {}
            made = group.create_dataset(name, data=stored.T, **options)
            made.attrs["MATLAB_class"] = np.bytes_(kind)
        return made

    def empty(self, group, name, shape, kind):
        made = group.create_dataset(name, data=np.array(shape, "<u8"))
        made.attrs["MATLAB_class"] = np.bytes_(kind)
        made.attrs["MATLAB_empty"] = np.uint8(1)
        return made

    def reference(self, value):
        """Write a value into ``#refs#`` and give the reference to it."""
        self.n += 1
        return self.put(self.refs, f"r{self.n}", value).ref


@contextmanager
def mat73(path):
    """Open a new file; its first 512 bytes are written at the end."""
    with h5py.File(path, "w", userblock_size=512) as file:
        yield Mat73(file)
    with open(path, "r+b") as file:
        file.write(HEADER.ljust(116) + bytes(8) + b"\x00\x02IM")


def write_mat73(path, **variables):
    with mat73(path) as file:
        file.variables(**variables)

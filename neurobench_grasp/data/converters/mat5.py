"""Read MATLAB files of version 5 to 7.2.

Not with scipy, which trusts the file's own statements, so that a damaged or hostile file crashes the
process (unbounded nesting of cells overflows the stack, single wrong bits cause a segmentation fault). Here
every element is checked to lie within its parent, and is read only on request.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.data.converters.matvalues import MAX_CELLS, Cells, MatValue, Struct, lines
from neurobench_grasp.data.nwb.file import READ_LIMIT
from neurobench_grasp.data.nwb.scan import Limits
from neurobench_grasp.errors import CorruptFileError, UnsafeFileError

HEADER = 128
ORDERS = {b"IM": "<", b"MI": ">"}
MATRIX, COMPRESSED, UTF8 = 14, 15, 16
CELL, STRUCT, OBJECT, CHAR = 1, 2, 3, 4
NUMBERS = range(6, 16)
COMPLEX = 0x0800
STORED = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
    17: "u2",
}  # fmt: skip
"""numpy types in which numbers and characters are stored."""

LIMITS = Limits()
STEP = 1 << 20
"""Bytes decompressed per step."""

HEAD = 4096
"""Bytes at the start of a variable that contain its name."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[tuple[str, ...], Callable[[str], MatValue]]]:
    """Open a file; yield the names of its variables and a function that reads one."""
    with path.open("rb") as file:
        head = file.read(HEADER)
        order = ORDERS.get(head[126:128])
        if order is None or head[:4] == bytes(4):
            raise CorruptFileError(
                f"{path.name} is not a MATLAB file of version 5 or later; check what you downloaded, or save "
                "it again in MATLAB with `-v7.3`."
            )
        reader = _Reader(path, file, order)
        places = {name: at for at, name in reader.variables() if name}
        yield tuple(places), lambda name: reader.variable(places[name], name)


class _Part(NamedTuple):
    """One element: its type, start and end of its content, and start of the next one."""

    kind: int
    start: int
    stop: int
    after: int


class _Array(NamedTuple):
    """Header of an array, and where its content begins."""

    kind: int
    is_complex: bool
    dims: tuple[int, ...]
    name: str
    at: int


class _Reader:
    """Reads elements of one file; counts the bytes read into memory."""

    def __init__(self, path: Path, file: BinaryIO, order: str) -> None:
        self.name = path.name
        self.file = file
        self.order = order
        self.size = path.stat().st_size
        self.n_bytes = 0

    def damaged(self, why: str) -> CorruptFileError:
        return CorruptFileError(f"{self.name} is damaged and cannot be read ({why}).")

    def truncated(self) -> CorruptFileError:
        return CorruptFileError(f"{self.name} is truncated; copy or download it again.")

    # -- variables -------------------------------------------------------------------------------------

    def variables(self) -> Iterator[tuple[int, str]]:
        """Yield the position and name of every variable in the file."""
        at = HEADER
        while at < self.size:
            kind, n = self.tag(at)
            head = self.file.read(min(n, HEAD))
            if kind == COMPRESSED:
                head = zlib.decompressobj().decompress(head, HEAD)
                kind, head = struct.unpack_from(f"{self.order}I", head)[0], head[8:]
            if kind != MATRIX:
                raise self.damaged(f"an element of type {kind} is where a variable should be")
            yield at, self.array(head, 0, len(head)).name
            at += 8 + n

    def tag(self, at: int) -> tuple[int, int]:
        """Read type and length of an element, and seek to its content."""
        self.file.seek(at)
        tag = self.file.read(8)
        if len(tag) < 8:
            raise self.truncated()
        kind, n = struct.unpack(f"{self.order}II", tag)
        if at + 8 + n > self.size:
            raise self.truncated()
        return kind, n

    def variable(self, at: int, name: str) -> MatValue:
        """Read the variable at a position of the file."""
        kind, n = self.tag(at)
        body = self.file.read(n)
        if kind == COMPRESSED:
            body = self.unpacked(body)
            whole = self.part(body, 0, len(body))
            return self.value(body, whole.start, whole.stop, name)
        self.count(n)
        return self.value(body, 0, n, name)

    def unpacked(self, body: bytes) -> bytes:
        """Decompress a variable, up to a limit."""
        engine = zlib.decompressobj()
        parts: list[bytes] = []
        while body and not engine.eof:
            parts.append(engine.decompress(body, STEP))
            body = engine.unconsumed_tail
            self.count(len(parts[-1]))
        if not engine.eof:
            raise self.damaged("a compressed part is incomplete")
        return b"".join(parts)

    def count(self, n: int) -> None:
        """Add to the bytes read into memory; raise beyond the limit."""
        self.n_bytes += n
        most = min(READ_LIMIT, max(LIMITS.ratio_from, LIMITS.ratio * self.size))
        if self.n_bytes > most:
            raise UnsafeFileError(
                f"{self.name} was not read completely, because its parts need more than "
                f"{most >> 20} MiB; use only files from sources you trust."
            )

    # -- elements --------------------------------------------------------------------------------------

    def part(self, body: bytes, at: int, stop: int) -> _Part:
        """Read the tag of an element, which may itself contain up to 4 bytes of content."""
        if at + 8 > stop:
            raise self.damaged("an element ends in its tag")
        kind, n = struct.unpack_from(f"{self.order}II", body, at)
        if kind >> 16:
            kind, n, start, after = kind & 0xFFFF, min(kind >> 16, 4), at + 4, at + 8
        else:
            start, after = at + 8, at + 8 + (n + 7 & ~7)
        if start + n > stop:
            raise self.damaged("an element is longer than its parent")
        return _Part(kind, start, start + n, min(after, stop))

    def array(self, body: bytes, start: int, stop: int) -> _Array:
        """Read the header of an array."""
        flags = self.part(body, start, stop)
        shape = self.part(body, flags.after, stop)
        name = self.part(body, shape.after, stop)
        n_dims, rest = divmod(shape.stop - shape.start, 4)
        dims = struct.unpack_from(f"{self.order}{n_dims}i", body, shape.start)
        if flags.stop - flags.start != 8 or rest or n_dims < 2 or min(dims) < 0:
            raise self.damaged("an array has no shape")
        word = struct.unpack_from(f"{self.order}I", body, flags.start)[0]
        label = body[name.start : name.stop].decode("utf-8", "replace")
        return _Array(word & 0xFF, bool(word & COMPLEX), dims, label, name.after)

    def value(self, body: bytes, start: int, stop: int, place: str) -> MatValue:
        """Read one array; for structs and cells only where their parts begin."""
        if start == stop:
            return np.empty((0, 0))
        array = self.array(body, start, stop)
        where = f"{self.name}: {place!r}"
        if array.kind == CELL:
            cells = self.children(body, array.at, stop, prod(array.dims), where)
            return Cells(where, len(cells), lambda i: self.value(body, *cells[i], place))
        if array.kind in (STRUCT, OBJECT):
            return self.struct(body, array, stop, place)
        if array.kind == CHAR:
            return self.text(body, array, stop, where)
        if array.kind not in NUMBERS or array.is_complex:
            what = "complex numbers" if array.is_complex else "a sparse matrix or an object"
            raise CorruptFileError(
                f"{where} contains {what}, which is not supported; save it as structs, text and numbers."
            )
        return self.numbers(body, array, stop, where)

    def numbers(self, body: bytes, array: _Array, stop: int, where: str) -> NDArray[Any]:
        """Read numbers of any storage type."""
        part = self.part(body, array.at, stop)
        if part.kind not in STORED:
            raise self.damaged(f"{where} is stored as type {part.kind}")
        dtype = np.dtype(STORED[part.kind]).newbyteorder(self.order)  # type: ignore[arg-type]
        n, rest = divmod(part.stop - part.start, dtype.itemsize)
        if rest or n != prod(array.dims):
            raise self.damaged(f"{where} declares {prod(array.dims)} numbers and has {n}")
        return np.frombuffer(body, dtype, n, part.start).reshape(array.dims, order="F")

    def text(self, body: bytes, array: _Array, stop: int, where: str) -> MatValue:
        """Read characters, one line of text per row."""
        part = self.part(body, array.at, stop)
        if part.kind == UTF8:
            letters = body[part.start : part.stop].decode("utf-8", "replace").encode("utf-16-le")
            codes = np.frombuffer(letters, "<u2")
        elif part.start == part.stop:
            return ""
        else:
            codes = self.numbers(body, array, stop, where).ravel(order="F")
        if array.dims[0] == 1 or not codes.size:
            return lines(codes[:, None], where)
        if codes.size != prod(array.dims):
            raise self.damaged(f"{where} declares {prod(array.dims)} characters and has {codes.size}")
        return lines(codes.reshape(-1, array.dims[0]), where)

    def struct(self, body: bytes, array: _Array, stop: int, place: str) -> Struct:
        """Read the fields of a struct array."""
        at = array.at if array.kind == STRUCT else self.part(body, array.at, stop).after
        width = self.part(body, at, stop)
        names = self.part(body, width.after, stop)
        length = int.from_bytes(body[width.start : width.stop], "little" if self.order == "<" else "big")
        if length < 1:
            raise self.damaged("a struct has field names without length")
        starts = range(names.start, names.stop - length + 1, length)
        fields = tuple(body[i : i + length].split(b"\0")[0].decode("utf-8", "replace") for i in starts)
        n, where = prod(array.dims), f"{self.name}: {place!r}"
        parts = self.children(body, names.after, stop, n * len(fields), where)
        column = {field: i for i, field in enumerate(fields)}

        def read(field: str, i: int) -> MatValue:
            return self.value(body, *parts[i * len(fields) + column[field]], f"{place}/{field}")

        return Struct(where, fields, n, read)

    def children(self, body: bytes, at: int, stop: int, n: int, where: str) -> list[tuple[int, int]]:
        """Return where the arrays of a cell or struct array begin and end; their number must match."""
        if n > MAX_CELLS:
            raise UnsafeFileError(f"{where} has {n} cells, more than {MAX_CELLS}.")
        inside: list[tuple[int, int]] = []
        for _ in range(n):
            child = self.part(body, at, stop)
            if child.kind != MATRIX:
                raise self.damaged(f"an element of type {child.kind} is inside a cell or struct")
            inside.append((child.start, child.stop))
            at = child.after
        return inside

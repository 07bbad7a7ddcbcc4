"""Read MATLAB files of version 5 to 7.2 with scipy.

scipy trusts what a file states of itself: a damaged or hostile one may crash the process or exhaust its
memory, so that conversions run in the sandbox (``sandboxed.py``).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from neurobench_grasp.data.converters.matvalues import MAX_CELLS, Cells, MatValue, Struct
from neurobench_grasp.errors import CorruptFileError, UnsafeFileError

HEADER = 128
"""Bytes before the first variable."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[tuple[str, ...], Callable[[str], MatValue]]]:
    """Open a file; yield the names of its variables and a function that reads one."""
    from scipy.io import loadmat, whosmat

    with path.open("rb") as file:
        head = file.read(HEADER)
    if head[126:128] not in (b"IM", b"MI") or head[:4] == bytes(4):
        raise CorruptFileError(
            f"{path.name} is not a MATLAB file of version 5 or later; check what you downloaded, or save "
            "it again in MATLAB with `-v7.3`."
        )

    _check_complete(path, "<" if head[126:128] == b"IM" else ">")

    def read(name: str) -> MatValue:
        return _value(loadmat(path, variable_names=[name])[name], path.name, name)

    yield tuple(name for name, _, _ in whosmat(path)), read


def _check_complete(path: Path, order: str) -> None:
    """Raise if the last variable is cut off, of which scipy does not tell more than that it fails."""
    size, at = path.stat().st_size, HEADER
    with path.open("rb") as file:
        while at < size:
            file.seek(at + 4)
            length = file.read(4)
            at += 8 + struct.unpack(f"{order}I", length)[0] if len(length) == 4 else size
    if at != size:
        raise CorruptFileError(f"{path.name} is truncated; copy or download it again.")


def _value(value: Any, file: str, at: str) -> MatValue:
    """Convert what scipy returns; structs and cells only when they are read."""
    place, kind = f"{file}: {at!r}", value.dtype.kind if isinstance(value, np.ndarray) else "sparse"
    if kind in tuple("iufb"):
        return value  # type: ignore[no-any-return]
    if kind == "U":
        lines = [str(line) for line in value.ravel("F")]
        if len(lines) > 1:
            return Cells(place, len(lines), lambda i: lines[i].rstrip())
        return lines[0] if lines else ""
    if kind not in ("O", "V") or type(value).__name__ in ("MatlabFunction", "MatlabOpaque"):
        what = "complex numbers" if kind == "c" else "a sparse matrix or an object"
        raise CorruptFileError(
            f"{place} contains {what}, which is not supported; save it as structs, text and numbers."
        )
    if value.size > MAX_CELLS:
        raise UnsafeFileError(f"{place} has {value.size} cells, more than {MAX_CELLS}.")
    parts = value.ravel("F")
    if kind == "O":
        return Cells(place, len(parts), lambda i: _value(parts[i], file, at))
    fields = value.dtype.names
    return Struct(place, fields, len(parts), lambda f, i: _value(parts[i][f], file, f"{at}/{f}"))

"""Values of a MATLAB file in four types: structs, cells, text and numbers; read on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.errors import CorruptFileError, LayoutError

MAX_DEPTH = 8
"""Maximum nesting of cells."""

MAX_CELLS = 1_000_000
"""Maximum number of cells read from one cell array, at all levels."""


@dataclass(frozen=True)
class Struct:
    """A struct array, in column-major order; a single struct has one element.

    Parameters
    ----------
    place : str
        Where in the file it is, for messages.
    fields : tuple of str
    n : int
        Elements.
    read : callable
        ``read(field, element)`` returns the value of a field, the element counted from 0.
    """

    place: str
    fields: tuple[str, ...]
    n: int
    read: Callable[[str, int], MatValue]

    def get(self, field: str, element: int = 0) -> MatValue:
        """Read a field of one element.

        Raises
        ------
        LayoutError
            If it is missing; lists the existing fields.
        """
        if field not in self.fields:
            raise LayoutError(
                f"{self.place} lacks the field {field!r}; it has {', '.join(self.fields) or 'none'}."
            )
        return self.read(field, element)


@dataclass(frozen=True)
class Cells:
    """A cell array, in column-major order.

    Parameters
    ----------
    place : str
    n : int
    read : callable
        ``read(cell)`` returns the value of a cell, counted from 0.
    """

    place: str
    n: int
    read: Callable[[int], MatValue]

    def flat(self) -> Iterator[MatValue]:
        """Yield the contents of all cells, with nested cells flattened.

        Raises
        ------
        CorruptFileError
            If cells are nested too deeply, as in a cell that contains itself, or too many.
        """
        pending: list[tuple[Cells, int]] = [(self, 0)]
        n_read = 0
        while pending:
            cells, i = pending.pop()
            if i == cells.n:
                continue
            pending.append((cells, i + 1))
            n_read += 1
            if n_read > MAX_CELLS:
                raise CorruptFileError(f"{self.place} has more than {MAX_CELLS} cells.")
            value = cells.read(i)
            if not isinstance(value, Cells):
                yield value
            elif len(pending) < MAX_DEPTH:
                pending.append((value, 0))
            else:
                raise CorruptFileError(
                    f"{self.place} has cells nested more than {MAX_DEPTH} deep; such a file "
                    "was not saved by MATLAB."
                )


MatValue = Struct | Cells | str | NDArray[Any]
"""Numbers are arrays in MATLAB's own shape (rows, columns …), empty ones with a length of 0."""


def numbers(value: MatValue, place: str) -> NDArray[np.float64]:
    """Return a vector of numbers, from an array or from cells with one number each; empty cells are NaN.

    Raises
    ------
    LayoutError
        If there is anything else.
    """
    parts = list(value.flat()) if isinstance(value, Cells) else None
    if parts is not None and all(isinstance(p, np.ndarray) and p.size <= 1 for p in parts):
        return np.array([float(p.item()) if p.size else np.nan for p in parts if isinstance(p, np.ndarray)])
    if isinstance(value, np.ndarray):
        return value.ravel(order="F").astype(np.float64)
    raise LayoutError(f"{place} does not contain numbers.")


def matrices(value: MatValue, place: str) -> Iterator[NDArray[Any]]:
    """Yield the matrices in a cell array.

    Raises
    ------
    LayoutError
        If there is anything else.
    """
    for part in value.flat() if isinstance(value, Cells) else (value,):
        if not isinstance(value, Cells) or not isinstance(part, np.ndarray):
            raise LayoutError(f"{place} is not a cell array of matrices.")
        yield part


def texts(value: MatValue) -> tuple[str, ...]:
    """Return the lines of text in a value; none for other types."""
    if isinstance(value, str):
        return (value,)
    parts = list(value.flat()) if isinstance(value, Cells) else []
    lines_of_text = tuple(p for p in parts if isinstance(p, str))
    return lines_of_text if len(lines_of_text) == len(parts) else ()


def lines(codes: NDArray[Any], place: str) -> MatValue:
    """Decode UTF-16 numbers, (n_characters, n_lines); several lines become cells.

    Parameters
    ----------
    codes : ndarray of whole numbers
    place : str
        Where in the file they are, for messages.
    """
    if codes.ndim != 2:
        codes = codes.reshape(-1, 1)
    found = [np.ascontiguousarray(c, "<u2").tobytes().decode("utf-16-le", "replace") for c in codes.T]
    return found[0] if len(found) == 1 else Cells(place, len(found), lambda i: found[i].rstrip())

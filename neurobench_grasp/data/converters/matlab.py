"""Open a MATLAB file safely; variables are read on request.

MAT v7.3 is HDF5 (``mat73.py``); v5 to v7.2 have a different format (``mat5.py``). Both yield the same types
of values (``matvalues.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from neurobench_grasp.data.converters import mat5, mat73
from neurobench_grasp.data.converters.matvalues import MatValue
from neurobench_grasp.data.nwb.file import check_regular, corrupt, is_hdf5
from neurobench_grasp.errors import LayoutError, NgbError


@dataclass(frozen=True)
class MatFile:
    """The variables of an open file.

    Parameters
    ----------
    path : pathlib.Path
    variables : tuple of str
    read : callable
        ``read(variable)`` returns its value.
    """

    path: Path
    variables: tuple[str, ...]
    read: Callable[[str], MatValue]

    def get(self, variable: str) -> MatValue:
        """Read a variable.

        Raises
        ------
        LayoutError
            If it is missing; lists the existing variables.
        """
        if variable not in self.variables:
            raise LayoutError(
                f"{self.path.name} lacks the variable {variable!r}; it has "
                f"{', '.join(self.variables) or 'none'}."
            )
        return self.read(variable)


@contextmanager
def open_mat(path: str | os.PathLike[str]) -> Iterator[MatFile]:
    """Scan and open a MATLAB file (v5 to v7.3); every failure inside is an :class:`NgbError`.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    MatFile
        Its values can be read until the file is closed.

    Raises
    ------
    NgbError
        If there is no such file, or it is not a regular file, or not readable.
    CorruptFileError
        If it is empty, truncated, damaged or not a MATLAB file.
    UnsafeFileError
        If it reaches outside itself or asks for unreasonable resources.
    """
    path = Path(path)
    check_regular(path, "MATLAB")
    try:
        with (mat73 if is_hdf5(path) else mat5).opened(path) as (variables, read):
            yield MatFile(path, variables, read)
    except NgbError:
        raise
    except Exception as cause:
        raise corrupt(path, cause) from cause

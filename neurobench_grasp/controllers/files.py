"""Named arrays in one safetensors file, written atomically; never pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.errors import CorruptFileError

KINDS = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64")
"""Types of numbers in safetensors files that numpy has."""


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, str]) -> None:
    """Write arrays and notes atomically."""
    from safetensors.numpy import save

    raw = save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, metadata=dict(notes))
    write_atomically(path, raw)


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read arrays and notes.

    Raises
    ------
    CorruptFileError
        If the file is not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise OSError("not a regular file")
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            for name in names:
                if (kind := file.get_slice(name).get_dtype()) not in KINDS:
                    raise ValueError(f"{name:.60} has numbers of the kind {kind}")
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptFileError(
            f"{path} is not a valid safetensors file ({error}), so it was not used; fetch or train it again."
        ) from error

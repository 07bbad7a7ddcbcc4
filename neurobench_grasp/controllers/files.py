"""Named arrays in one safetensors file, written atomically; never pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.errors import CorruptFileError


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
        with safe_open(path, framework="numpy") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptFileError(
            f"{path} is not a valid safetensors file ({error}), so it was not used; fetch or train it again."
        ) from error

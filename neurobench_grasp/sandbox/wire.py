"""Values as JSON and their arrays as safetensors; on reading, all are checked against their types.

For what is exchanged with an untrusted process. Nothing is pickled, and nothing larger than a limit is read.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from neurobench_grasp.errors import NgbError
from neurobench_grasp.sandbox.limits import GIB, MIB

VALUES, ARRAYS = "values.json", "arrays.safetensors"
JSON_LIMIT = 32 * MIB
"""Bytes of JSON: ids and labels of trials and units, never samples."""
ARRAYS_LIMIT = 16 * GIB


class PackedError(Exception):
    """Values do not have the expected form."""


def write_packed(folder: Path, value: object) -> None:
    """Write a value as ``values.json`` and ``arrays.safetensors``.

    Parameters
    ----------
    folder : pathlib.Path
    value : object
        Of dataclasses, tuples, mappings, arrays and scalars.

    Raises
    ------
    PackedError
        If it contains anything else, or an array of objects, which would have to be pickled.
    """
    data, arrays = pack(value)
    try:
        save_file(
            {name: np.require(array, requirements="C") for name, array in arrays.items()}, folder / ARRAYS
        )
    except SafetensorError as error:
        if "File too large" in str(error):
            raise OSError(errno.EFBIG, str(error)) from error
        raise
    (folder / VALUES).write_text(json.dumps(data))


def read_packed(folder: Path, kind: Any, limit: int | None = None) -> Any:
    """Read a value of a type, with everything inside it checked.

    Parameters
    ----------
    folder : pathlib.Path
        Written by :func:`write_packed` in an untrusted process.
    kind : type
        A frozen dataclass, or ``tuple[Dataclass, ...]``.
    limit : int, optional
        Bytes of all arrays together.

    Raises
    ------
    PackedError
        If anything is missing, too large, or of another type.
    """
    try:
        data = json.loads(_read(folder / VALUES, JSON_LIMIT))
        arrays = load(_read(folder / ARRAYS, limit or ARRAYS_LIMIT))
        return msgspec.convert(data, kind, dec_hook=lambda wanted, item: _array(wanted, item, arrays))
    except PackedError:
        raise
    except Exception as cause:  # the parsers, and the dataclasses themselves, may raise anything
        known = isinstance(cause, msgspec.ValidationError | NgbError)
        raise PackedError(str(cause) if known else f"{type(cause).__name__}: {cause}") from cause


def pack(value: object) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return a value as JSON, and its arrays by the names that stand for them there."""
    arrays: dict[str, NDArray[Any]] = {}

    def hook(item: Any) -> Any:
        if isinstance(item, np.generic):
            return item.item()
        if not isinstance(item, np.ndarray):
            raise PackedError(f"a value of type {type(item).__name__} is not JSON serializable")
        if item.dtype.hasobject:
            raise PackedError("an array contains objects, not plain numbers")
        name = f"a{len(arrays)}"
        if item.dtype.kind not in "USc":
            arrays[name] = item
            return name
        arrays[name] = np.frombuffer(item.tobytes(), np.uint8)  # safetensors has neither text nor complex
        return {"bytes": name, "dtype": item.dtype.str, "shape": item.shape}

    return msgspec.to_builtins(value, enc_hook=hook), arrays


def _read(path: Path, limit: int) -> bytes:
    """Read a regular file that is not too large; its writer may still change it."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
            raise PackedError(f"{path.name} is not a regular file of at most {limit} bytes")
        return file.read(found.st_size)


def _array(kind: Any, data: Any, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return an array of exactly the named type; ``generic`` stands for numbers and text."""
    if typing.get_origin(kind) is not np.ndarray:
        raise PackedError(f"{kind} cannot be read")
    array = _restored(data, arrays) if isinstance(data, dict) else arrays[data]
    (wanted,) = typing.get_args(typing.get_args(kind)[1])
    allowed = {Any: "iufb", np.generic: "iufbcUS"}.get(wanted)
    if array.dtype.kind not in allowed if allowed else array.dtype != np.dtype(wanted):
        raise PackedError(f"{str(data)[:40]!r} is not {kind} but {array.dtype}")
    return array


def _restored(data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return an array of text or complex numbers from its bytes."""
    dtype = np.dtype(str(data["dtype"]))
    if dtype.kind not in "USc" or not dtype.itemsize:
        raise PackedError(f"an array cannot be of type {dtype}")
    array = np.frombuffer(bytearray(arrays[data["bytes"]].tobytes()), dtype).reshape(data["shape"])
    array.tolist()  # raises if it is not text
    return array

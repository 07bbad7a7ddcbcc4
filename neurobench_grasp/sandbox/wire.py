"""Serialise frozen dataclasses as JSON and arrays; on reading, all values are checked against their types.

For results of an untrusted process.
"""

from __future__ import annotations

import json
import stat
import types
import typing
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np
from numpy.typing import NDArray

VALUES, ARRAYS = "values.json", "arrays.npz"
JSON_LIMIT = 256 << 20
"""Bytes of JSON: ids and labels of trials and units, never samples."""

Arrays = Mapping[str, NDArray[Any]]


class PackedError(Exception):
    """Received data do not have the expected form."""


def write_packed(folder: Path, value: object) -> None:
    """Write a value as ``values.json`` and ``arrays.npz``; dataclasses, tuples, mappings, arrays, scalars.

    Raises
    ------
    PackedError
        If an array contains objects, which would be pickled.
    TypeError
        If a value has another type.
    """
    arrays: dict[str, NDArray[Any]] = {}
    data = _pack(value, arrays)
    np.savez(folder / ARRAYS, **arrays)  # type: ignore[arg-type]
    (folder / VALUES).write_text(json.dumps(data))


def read_packed(folder: Path, kind: Any) -> Any:
    """Read a value of a type, with everything inside it checked.

    Parameters
    ----------
    folder : pathlib.Path
        Written by :func:`write_packed` in an untrusted process.
    kind : type
        A frozen dataclass, or ``tuple[Dataclass, ...]``.

    Raises
    ------
    PackedError
        If anything is missing, more than expected, or of another type.
    """
    try:
        data = json.loads(_regular(folder / VALUES, JSON_LIMIT).read_bytes())
        return _unpack(kind, data, _arrays(folder / ARRAYS))
    except PackedError:
        raise
    except Exception as cause:  # the parsers of JSON, zip and npy may raise anything
        raise PackedError(type(cause).__name__) from cause


def _pack(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise PackedError("an array contains objects, not plain numbers")
        name = f"a{len(arrays)}"
        arrays[name] = np.require(value, requirements="C")  # preserves 0-d arrays
        return name
    if is_dataclass(value):
        return {f.name: _pack(getattr(value, f.name), arrays) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _pack(item, arrays) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_pack(item, arrays) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _regular(path: Path, limit: int | None = None) -> Path:
    """Raise unless a path is a regular file, neither link nor pipe, and not too large."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or (limit is not None and found.st_size > limit):
        raise PackedError(f"{path.name} is not a regular file of at most {limit} bytes")
    return path


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    size = _regular(path).stat().st_size
    with zipfile.ZipFile(path) as content:
        members = content.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED for m in members):
            raise PackedError("an array is compressed")
        if sum(m.file_size for m in members) > size:
            raise PackedError("the arrays declare more than is stored")
    with np.load(path, allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


def _unpack(kind: Any, data: Any, arrays: Arrays) -> Any:
    """Convert JSON to a value of a type, or raise."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if data is None and types.NoneType in inner:
            return None
        (kind,) = (k for k in inner if k is not types.NoneType)
        return _unpack(kind, data, arrays)
    if origin is np.ndarray:
        return _array(kind, data, arrays)
    if origin is Literal:
        return _expect(data in inner, data, kind)
    if origin is tuple:
        many = len(inner) == 2 and inner[1] is Ellipsis
        _expect(isinstance(data, list) and (many or len(data) == len(inner)), data, kind)
        kinds = (inner[0],) * len(data) if many else inner
        return tuple(_unpack(k, item, arrays) for k, item in zip(kinds, data, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(data, dict), data, kind)
        return {key: _unpack(inner[1], item, arrays) for key, item in data.items()}
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = [f.name for f in fields(kind)]
        _expect(isinstance(data, dict) and sorted(data) == sorted(names), data, kind)
        return kind(**{name: _unpack(hints[name], data[name], arrays) for name in names})  # type: ignore[operator]
    allowed = (int, float) if kind is float else (kind,)
    return _expect(type(data) in allowed, data, kind)


def _array(kind: Any, data: Any, arrays: Arrays) -> NDArray[Any]:
    """Return an array of exactly the named type; ``generic`` stands for numbers and text."""
    array = arrays[_expect(isinstance(data, str), data, kind)]
    (wanted,) = typing.get_args(typing.get_args(kind)[1])
    if wanted in (Any, np.generic):
        _expect(array.dtype.kind in ("iufb" if wanted is Any else "iufbcUS"), array.dtype, kind)
    else:
        _expect(array.dtype == np.dtype(wanted), array.dtype, kind)
    return array


def _expect(holds: bool, found: Any, kind: Any) -> Any:
    if not holds:
        raise PackedError(f"{str(found)[:40]!r} is not a {kind}")
    return found

"""Reader of arrays in ``.npz`` files in memory, fast for the thousands of small ones that a board reads.

``numpy.load`` takes about a millisecond for each array, mostly for objects of the zip archive and for parsing
headers that all look alike.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_END, _ENTRY, _LOCAL = struct.Struct("<4s4H2LH"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED, _MAGIC = 0, 8, b"\x93NUMPY\x01\x00"
MOST_UNPACKED, MOST_ARRAYS = 256 << 20, 20_000
"""Bytes of all arrays together, and their number."""


_Packing = tuple[int, int, int, int]
"""Compression of an array: method, checksum of its bytes, bytes packed, bytes unpacked."""


class Archive(Mapping[str, NDArray[Any]]):
    """Arrays by name, each read on access; read-only, and never objects.

    Parameters
    ----------
    raw : bytes
        Content of a file as ``numpy.savez`` and ``numpy.savez_compressed`` write it.

    Raises
    ------
    ValueError
        If it is not such a file.
    """

    def __init__(self, raw: bytes):
        self._raw = raw
        try:
            self._members = dict(_members(raw))
        except struct.error as error:
            raise ValueError(f"not a complete archive ({error})") from error
        if sum(size for _, (*_, size) in self._members.values()) > MOST_UNPACKED:
            raise ValueError(f"it unpacks to more than {MOST_UNPACKED >> 20} MB")

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Read an array."""
        offset, packing = self._members[name]
        return _array(_content(packing, _packed(self._raw, offset, packing)))

    def names(self, name: str) -> tuple[str, ...]:
        """Read an array of strings, once for all archives with the same one."""
        offset, packing = self._members[name]
        return _words(packing, _packed(self._raw, offset, packing))

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _members(raw: bytes) -> Iterator[tuple[str, tuple[int, _Packing]]]:
    """Read the directory at the end of the archive, entry by entry."""
    end = len(raw) - _END.size
    if raw[max(end, 0) :][:4] != b"PK\x05\x06":
        raise ValueError("not an archive, or something follows its end")
    _, _, _, _, n, _, place, _ = _END.unpack_from(raw, end)
    if n > MOST_ARRAYS:
        raise ValueError(f"it has more than {MOST_ARRAYS} arrays")
    for _ in range(n):
        magic, _, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment, _, _, _, offset = (
            _ENTRY.unpack_from(raw, place)
        )
        if magic != b"PK\x01\x02" or flags & 1 or offset == 0xFFFFFFFF:
            raise ValueError("its directory is broken, or of a kind that is not read here")
        start = place + _ENTRY.size
        name = raw[start : start + n_name].decode().removesuffix(".npy")
        yield name, (offset, (method, crc, packed, size))
        place = start + n_name + n_extra + n_comment


def _packed(raw: bytes, offset: int, packing: _Packing) -> bytes:
    try:
        *_, n_name, n_extra = _LOCAL.unpack_from(raw, offset)
    except struct.error as error:
        raise ValueError(f"cut off ({error})") from error
    start = offset + _LOCAL.size + n_name + n_extra
    return raw[start : start + packing[2]]


@functools.lru_cache(4096)
def _words(packing: _Packing, packed: bytes) -> tuple[str, ...]:
    return tuple(map(str, _array(_content(packing, packed))))


def _content(packing: _Packing, content: bytes) -> bytes:
    """Unpack an array to exactly as many bytes as its entry says."""
    method, crc, _, size = packing
    if method == _DEFLATED:
        content = _inflated(content, size)
    elif method != _STORED:
        raise ValueError("packed in a way that is not read here")
    if len(content) != size or zlib.crc32(content) != crc:
        raise ValueError("damaged")
    return content


def _inflated(packed: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)  # no bomb bursts beyond it
    except zlib.error as error:
        raise ValueError(f"damaged ({error})") from error


def _array(content: bytes) -> NDArray[Any]:
    if not content.startswith(_MAGIC):
        raise ValueError("not an array")
    start = 10 + int.from_bytes(content[8:10], "little")
    dtype, shape, fortran = _header(content[8:start])
    flat = np.frombuffer(content, dtype, offset=start)
    return flat.reshape(shape, order="F" if fortran else "C")


@functools.lru_cache(4096)
def _header(text: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(text))
    if dtype.hasobject:
        raise ValueError("it holds objects")
    return dtype, shape, fortran

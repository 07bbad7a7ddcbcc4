"""Check the heaps in which an HDF5 file stores its variable-length strings.

They carry no checksum, and the HDF5 library loops forever on a damaged one (an empty object of size 0 points
to itself). Nothing can interrupt that, so the walk is simulated here beforehand.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

SIGNATURE = b"GCOL\x01"
"""Start of a heap: its signature and version 1, the only one."""

HEADER = 16
OBJECT = struct.Struct("<HH4xQ")
SMALLEST = 4096


def broken_heap(path: Path) -> int | None:
    """Return the address of the first heap that cannot be walked to its end; ``None`` if all are valid.

    Heaps are searched everywhere, since a pointer may lead to one inside the data of a dataset.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(SIGNATURE)
        while place >= 0:
            if not _is_valid(content, place):
                return place
            place = content.find(SIGNATURE, place + 1)
    return None


def _is_valid(content: mmap.mmap, place: int) -> bool:
    """Return whether an apparent heap can be walked, or is not a heap."""
    size = heap_size(content[place : place + HEADER], len(content) - place)
    return not size or is_valid(content[place : place + size])


def heap_size(header: bytes, room: int) -> int:
    """Return the size of a heap in bytes; 0 if it is not a heap, or one that the library itself rejects."""
    size = int.from_bytes(header[8:HEADER], "little")
    return size if SMALLEST <= size <= room else 0


def is_valid(heap: bytes) -> bool:
    """Return whether a walk over the objects of one heap always moves forward."""
    at = HEADER
    while len(heap) - at >= OBJECT.size:
        index, _, length = OBJECT.unpack_from(heap, at)
        step = length if index == 0 else OBJECT.size + (length + 7 & ~7)
        if step == 0 or at + step > len(heap):
            return False
        at += step
    return True

"""Scan the structure of a whole HDF5 file before any of its data is read.

HDF5 files can name other files (external links, external raw storage, virtual datasets), loop back on
themselves, or declare terabytes that are not stored. This module walks the tree by its links, one
component at a time, and refuses such files; it opens no dataset's data and no other file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod

import h5py

from neurobench_grasp.errors import UnsafeFileError
from neurobench_grasp.sandbox.limits import GIB, MIB

NUMBER, OBJECT = 8, 64
"""Bytes of a number, and of an object of Python for a string, in memory."""

FILTERS = {32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32015: "zstd", 32026: "blosc2"}
"""Number of an HDF5 filter → what it compresses by; files need not name it."""


@dataclass(frozen=True)
class Limits:
    """Limits on the structure of a file.

    Parameters
    ----------
    depth : int
        Nested groups.
    objects : int
        Groups and datasets in total.
    links : int
        Soft links, and further links to a dataset, in total.
    dataset_bytes, total_bytes : int
        Logical size, uncompressed, of one dataset and of all together.
    chunk_bytes : int
        A chunk is decompressed as a whole, even if only a part is read.
    ratio, ratio_from : int
        Datasets of at least ``ratio_from`` bytes may not be ``ratio`` times their stored size: logical bytes,
        and bytes in memory where one is read.
    """

    depth: int = 32
    objects: int = 100_000
    links: int = 10_000
    dataset_bytes: int = 64 * GIB
    total_bytes: int = 128 * GIB
    chunk_bytes: int = 64 * MIB
    ratio: int = 500
    ratio_from: int = 256 * MIB


@dataclass
class Tree:
    """Contents of a file, by path without leading slash; the root is the empty string.

    Parameters
    ----------
    groups : set of str
    datasets : mapping of str to tuple of int
        Shape of each dataset (``()`` for scalars and null dataspaces).
    links : mapping of str to str
        Soft links and the path each points to.
    places : mapping of (int, int) to str
        Address of each group and dataset, and the path by which it was first reached.
    n_bytes : int
        Bytes in memory of all datasets, as far as what is stored explains them; not of a file on a server.
    """

    groups: set[str] = field(default_factory=lambda: {""})
    datasets: dict[str, tuple[int, ...]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    places: dict[tuple[int, int], str] = field(default_factory=dict)
    n_bytes: int = 0

    def resolve(self, path: str) -> str | None:
        """Resolve soft links textually; ``None`` for a dangling link."""
        hops = 0
        parts = _split(path)
        done = 0
        while done < len(parts):
            link = self.links.get("/".join(parts[: done + 1]))
            if link is None:
                done += 1
                continue
            hops += 1
            if hops > 16:
                return None
            parts = _split(link) + parts[done + 1 :]
            done = 0
        whole = "/".join(parts)
        return whole if whole in self.groups or whole in self.datasets else None


@contextmanager
def no_plugins() -> Iterator[None]:
    """Disable HDF5 filter plugins, wherever ``HDF5_PLUGIN_PATH`` points: they are foreign code."""
    saved = [h5py.h5pl.get(i) for i in range(h5py.h5pl.size())]
    for _ in saved:
        h5py.h5pl.remove(0)
    try:
        yield
    finally:
        for place in saved:
            h5py.h5pl.append(place)


def prescan(file: h5py.File, name: str, limits: Limits | None = None, *, remote: bool = False) -> Tree:
    """Walk every link of an open file and raise if it is unsafe.

    Parameters
    ----------
    file : h5py.File
    name : str
        Name of the file in messages.
    limits : Limits, optional
    remote : bool
        The file is on a server: storage positions of datasets are not looked up, since this walks over their
        chunks, unless they are large enough for ``ratio`` to apply.

    Returns
    -------
    Tree

    Raises
    ------
    UnsafeFileError
        Naming the file, the object and the reason.
    """
    return _Scan(name, limits or Limits(), remote).walk(file)


def refused(name: str, path: str, reason: str) -> UnsafeFileError:
    """Return the error for a file with an object that is unsafe."""
    return UnsafeFileError(
        f"{name} was not read, because {path!r} {reason}; use only files from sources you trust, and save a "
        "self-contained copy."
    )


class _Scan:
    """State of one scan."""

    def __init__(self, name: str, limits: Limits, remote: bool) -> None:
        self.name = name
        self.limits = limits
        self.remote = remote
        self.tree = Tree()
        self.total = self.n_links = 0

    def refuse(self, path: str, reason: str) -> UnsafeFileError:
        return refused(self.name, path, reason)

    def walk(self, file: h5py.File) -> Tree:
        if file.id.get_create_plist().get_sizes() != (8, 8):
            raise self.refuse("/", "uses lengths of other than 8 bytes")
        root = h5py.h5g.open(file.id, b"/")
        self.tree.places[address(root)] = ""
        pending = [(root, "", 0)]
        while pending:
            group, path, depth = pending.pop()
            for member in group:
                child = f"{path}/{member.decode()}" if path else member.decode()
                found = self.visit(group, member, child)
                if found is not None:
                    if depth + 1 > self.limits.depth:
                        raise self.refuse(child, f"is nested more than {self.limits.depth} groups deep")
                    pending.append((found, child, depth + 1))
        for path, target in self.tree.links.items():
            if self.tree.resolve(path) is None:
                raise self.refuse(path, f"is a link to {target!r}, which is not in the file")
        return self.tree

    def visit(self, group: h5py.h5g.GroupID, member: bytes, path: str) -> h5py.h5g.GroupID | None:
        """Record one link; return a group that is still to be walked."""
        kind = group.links.get_info(member).type
        if kind == h5py.h5l.TYPE_EXTERNAL:
            target = group.links.get_val(member)[0].decode(errors="replace")
            raise self.refuse(path, f"is an external link to another file ({target})")
        if kind == h5py.h5l.TYPE_SOFT:
            self.link(path)
            target = group.links.get_val(member).decode()
            parent = "" if target.startswith("/") else path.rpartition("/")[0] + "/"
            self.tree.links[path] = parent + target
            return None
        if kind != h5py.h5l.TYPE_HARD:
            raise self.refuse(path, "is a link of an unknown kind")
        if len(self.tree.groups) + len(self.tree.datasets) >= self.limits.objects:
            raise self.refuse(path, f"is one of more than {self.limits.objects} objects")
        item = h5py.h5o.open(group, member)
        if isinstance(item, h5py.h5g.GroupID):
            if address(item) in self.tree.places:
                raise self.refuse(path, "is a group that occurs twice (a link cycle)")
            self.tree.places[address(item)] = path
            self.tree.groups.add(path)
            return item
        if isinstance(item, h5py.h5d.DatasetID):
            self.dataset(item, path)
        return None

    def dataset(self, dataset: h5py.h5d.DatasetID, path: str) -> None:
        """Check the storage of one dataset: first where its data is, then its size."""
        plist = dataset.get_create_plist()
        layout = plist.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            raise self.refuse(path, "is a virtual dataset, made of parts of other files")
        if plist.get_external_count():
            source = plist.get_external(0)[0].decode(errors="replace")
            raise self.refuse(path, f"keeps its data outside the file (in {source})")
        for i in range(plist.get_nfilters()):
            code, _, _, label = plist.get_filter(i)
            if not h5py.h5z.filter_avail(code):
                name = FILTERS.get(code) or label.decode(errors="replace") or "an unknown method"
                raise UnsafeFileError(
                    f"{self.name} was not read, because {path!r} is compressed by {name} (HDF5 filter "
                    f"{code}), which needs a plugin, and plugins are not loaded; compress it with gzip "
                    "(`h5repack -f GZIP=4 IN OUT`)."
                )
        shape = dataset.shape or ()
        itemsize = dataset.get_type().get_size()
        if layout == h5py.h5d.CHUNKED and prod(plist.get_chunk()) * itemsize > self.limits.chunk_bytes:
            raise self.refuse(path, f"has chunks of more than {self.limits.chunk_bytes // MIB} MiB")
        self.tree.datasets[path] = shape
        if address(dataset) in self.tree.places:
            self.link(path)
        else:
            self.tree.places[address(dataset)] = path
            self.size(dataset, path, prod(shape) * itemsize)

    def link(self, path: str) -> None:
        """Count a link to an object that is reached by another path, too."""
        self.n_links += 1
        if self.n_links > self.limits.links:
            raise self.refuse(path, f"is one of more than {self.limits.links} links to other objects")

    def size(self, dataset: h5py.h5d.DatasetID, path: str, logical: int) -> None:
        """Raise if a dataset decompresses to too much; record its size in memory."""
        limits = self.limits
        self.total += logical
        if logical > limits.dataset_bytes or self.total > limits.total_bytes:
            raise self.refuse(path, f"brings the total to {self.total / GIB:.0f} GiB, more than can be read")
        if self.remote and logical < limits.ratio_from:
            return
        stored = dataset.get_storage_size()
        if logical >= limits.ratio_from and logical > limits.ratio * stored:
            raise self.refuse(path, f"declares {logical} bytes but stores only {stored}")
        self.tree.n_bytes += min(size_in_memory(dataset), limits.ratio * stored)


def size_in_memory(dataset: h5py.h5d.DatasetID) -> int:
    """Return the bytes of a dataset once it is read: numbers become float64, text becomes objects."""
    kind = dataset.get_type()
    size: int = kind.get_size()
    number = isinstance(kind, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID)
    return prod(dataset.shape or ()) * (max(size, NUMBER) if number else size + OBJECT)


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def address(item: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> tuple[int, int]:
    """Return the identity of an object in a file, independent of its path."""
    info = h5py.h5g.get_objinfo(item, b".")  # h5o.get_info walks over the chunks of a dataset
    low, high = info.objno
    return info.fileno[0], low | high << 32

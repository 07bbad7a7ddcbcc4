"""What the project knows about each dataset that can be fetched: ``registry/datasets/*.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import yaml

from neurobench_grasp.resources import resource


@dataclass(frozen=True)
class Entry:
    """One dataset of the catalogue.

    Parameters
    ----------
    name, summary : str
    layout : str
        Layout of its NWB files.
    licence, source, citation : str
        Who allows what, where it comes from, whom to cite.
    sha256 : str
        Digest of its content in the cache (:func:`neurobench_grasp.cache.combined_digest`).
    files : mapping of str to str
        Original file → SHA-256 of its bytes.
    wheel, wheel_sha256, wheel_size : str, optional
        Wheel of the package index that holds the files (``name==version``), its digest and its size in
        words; without, the files can only be taken from a copy of the user's.
    """

    name: str
    summary: str
    layout: str
    licence: str
    source: str
    citation: str
    sha256: str
    files: Mapping[str, str]
    wheel: str | None = None
    wheel_sha256: str = ""
    wheel_size: str = ""


@cache
def catalogue() -> Mapping[str, Entry]:
    """Give the datasets that can be fetched, by name."""
    paths = sorted(resource("registry/datasets").glob("*.yaml"))
    entries = [Entry(**yaml.safe_load(path.read_text(encoding="utf-8"))) for path in paths]
    return {entry.name: entry for entry in entries}

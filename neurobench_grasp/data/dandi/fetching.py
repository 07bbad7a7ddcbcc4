"""Fetch the files of an address into the cache, and record their origin."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from neurobench_grasp.contract import Progress
from neurobench_grasp.data.dandi.assets import Asset, Fetched, Found
from neurobench_grasp.data.dandi.client import Archive, Listed
from neurobench_grasp.data.dandi.instances import instance_url
from neurobench_grasp.data.dandi.names import DRAFT, Address, parse_address
from neurobench_grasp.data.dandi.partial_file import claimed
from neurobench_grasp.data.dandi.retry import RetryPolicy
from neurobench_grasp.data.dandi.store import Store
from neurobench_grasp.data.dandi.thread_pool import run_in_threads
from neurobench_grasp.errors import CorruptFileError, NgbError

AT_ONCE = 4  # downloads
_INTERVAL = 1.0  # s between status messages, at least


def list_files(
    text: str, *, instance: str | None = None, retry: RetryPolicy | None = None
) -> tuple[Address, list[Listed]]:
    """List the files of an address; nothing is downloaded.

    Parameters
    ----------
    text : str
        ``dandi:ID[@VERSION][/path-or-glob]``.
    instance : str, optional
        URL of an archive's API; by default that of the environment's ``NGB_DANDI_INSTANCE``, else DANDI's.
    retry : RetryPolicy, optional

    Returns
    -------
    Address
        The address with its resolved version.
    list of Listed

    Raises
    ------
    NgbError
        If the archive does not answer, or has no such dandiset or version.
    """
    return Archive(instance_url(instance), retry or RetryPolicy()).files(parse_address(text))


def fetch_files(
    text: str,
    *,
    instance: str | None = None,
    pinned: Mapping[str, str] | None = None,
    progress: Progress = lambda text: None,
    retry: RetryPolicy | None = None,
) -> Fetched:
    """Fetch the NWB files of an address into the cache.

    Files that are already in the cache and match their digests are not fetched again. If these are all files
    of a published version, which never changes, the archive is not contacted.

    Parameters
    ----------
    text : str
        ``dandi:ID[@VERSION]/path-or-glob``; without a version, the newest published one is used.
    instance : str, optional
        As for :func:`list_files`.
    pinned : mapping of str to str, optional
        Path → the SHA-256 or dandi-etag that the file must have.
    progress : callable, optional
        Called with status messages.
    retry : RetryPolicy, optional

    Returns
    -------
    Fetched

    Raises
    ------
    NgbError
        If the archive does not answer or a download fails; complete files stay, the others resume next time.
    CorruptFileError
        If a file differs from what the archive announces, or from the pinned one.
    """
    address, place = _one_path(text), instance_url(instance)
    fixed = address.version not in ("", DRAFT)
    known = Store().recall(place, address, progress) if fixed else None
    return _checked(known, pinned) if known else _fetch(address, place, pinned, progress, retry)


def cached_files(
    text: str,
    *,
    instance: str | None = None,
    progress: Progress = lambda text: None,
    retry: RetryPolicy | None = None,
) -> Fetched:
    """Return the files that an address resolved to when last fetched; fetch them if there are none.

    Cached files that match their digests are used without contacting the archive, also for drafts and newest
    versions; parameters and errors as for :func:`fetch_files`.
    """
    address, place = _one_path(text), instance_url(instance)
    known = Store().recall(place, address, progress)
    return known or _fetch(address, place, None, progress, retry)


def source_of(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the origin of files in the cache, for a record; nothing for other files.

    Parameters
    ----------
    files : sequence of pathlib.Path

    Returns
    -------
    list of dict
        As :attr:`Fetched.source`; a file with several origins has several entries.
    """
    store = Store()
    return [
        {**asdict(origin), "sha256": path.parent.name} for path in files for origin in store.origins_of(path)
    ]


def _one_path(text: str) -> Address:
    address = parse_address(text)
    if not address.pattern:
        raise NgbError(
            f"{text} is a whole dandiset; name a file in it, or write {text}/* for all "
            f"(`ngb data files {text}` lists them)."
        )
    return address


def _fetch(
    asked: Address,
    instance: str,
    pinned: Mapping[str, str] | None,
    progress: Progress,
    retry: RetryPolicy | None,
) -> Fetched:
    retry = replace(retry or RetryPolicy(), stop=threading.Event())
    progress(f"{asked}: querying the archive")
    found = Archive(instance, retry).find(asked)
    _compare(found, pinned)
    store = Store()
    _needs_room(store, [a for a in found.assets if store.find(a) is None])
    meter = Meter(progress, sum(a.size for a in found.assets), len(found.assets))
    fetched = run_in_threads(
        lambda asset: _one(store, found, asset, retry, meter), found.assets, AT_ONCE, retry.stop.set
    )
    found = replace(found, assets=tuple(asset for asset, _ in fetched))
    store.remember(asked, found)
    return _checked(Fetched(found, tuple(path for _, path in fetched)), pinned)


def _one(store: Store, found: Found, asset: Asset, retry: RetryPolicy, meter: Meter) -> tuple[Asset, Path]:
    """Return a file's place in the cache, and its asset with SHA-256."""
    from neurobench_grasp.data.dandi.download import download

    def waiting() -> None:
        meter.report(f"{asset.path}: another process is fetching it, waiting")

    cached = store.find_sound(asset, meter.report)
    if cached is None:
        with claimed(store.part_of(asset), retry, waiting) as part:
            cached = store.find(asset)  # another process may have been faster
            if cached is None:
                sha256 = download(found.instance, asset, part, retry, meter.advance)
                known = replace(asset, sha256=sha256)
                return known, store.keep(found, known, part.path)
    meter.advance(asset.size)
    known = replace(asset, sha256=cached.sha256)
    return known, store.keep(found, known)


def _compare(found: Found, pinned: Mapping[str, str] | None) -> None:
    """Raise before any download if an announced digest differs from the pinned one."""
    for asset in found.assets:
        wanted = (pinned or {}).get(asset.path)
        announced = asset.dandi_etag if wanted and "-" in wanted else asset.sha256
        if wanted and announced and announced != wanted:
            raise _other(asset, announced, wanted)


def _checked(fetched: Fetched, pinned: Mapping[str, str] | None) -> Fetched:
    _compare(fetched.found, pinned)
    return fetched


def _other(asset: Asset, announced: str, wanted: str) -> CorruptFileError:
    return CorruptFileError(
        f"{asset.path} is not the pinned file: it has the digest {announced} instead of {wanted}; "
        "its owner may have replaced it in the archive."
    )


def _needs_room(store: Store, missing: Sequence[Asset]) -> None:
    """Raise before any download if the disk is too small."""
    if not missing:
        return
    store.unfinished.mkdir(parents=True, exist_ok=True)
    begun = (p.stat().st_size for p in map(store.part_of, missing) if p.exists())
    needed = sum(a.size for a in missing) - sum(begun)
    free = shutil.disk_usage(store.unfinished).free
    if needed > free:
        what = f"{len(missing)} files need" if len(missing) > 1 else f"{missing[0].path} needs"
        raise NgbError(
            f"{what} {needed / 1e6:.0f} MB, and the disk of {store.folder} has "
            f"{free / 1e6:.0f} MB left; free some space or set NGB_CACHE to a folder on another disk."
        )


class Meter:
    """Reports the total progress of downloads at limited frequency.

    Parameters
    ----------
    progress : callable
    size : int
        Bytes of all files.
    n_files : int
    """

    def __init__(self, progress: Progress, size: int, n_files: int) -> None:
        self.progress = progress
        self.size = size
        self.what = f"{n_files} files" if n_files > 1 else "1 file"
        self.done = 0
        self.reported = (0.0, -1)
        self.lock = threading.Lock()

    def advance(self, n_bytes: int) -> None:
        """Add the bytes of any file."""
        with self.lock:
            self.done += n_bytes
            share = 100 * self.done // max(self.size, 1)
            now = time.monotonic()
            if share > self.reported[1] and (now > self.reported[0] + _INTERVAL or self.done == self.size):
                self.reported = (now, share)
                self.progress(f"{self.what}: {self.done / 1e6:.1f} of {self.size / 1e6:.1f} MB")

    def report(self, text: str) -> None:
        """Report another status message."""
        with self.lock:
            self.progress(text)

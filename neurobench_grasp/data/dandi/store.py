"""Fetched files in the user's cache, each in a folder named by the SHA-256 of its content.

::

    assets/
      files/<sha256>/<name>.nwb       a file, complete and verified
      files/<sha256>/from-*.json      each of its origins: archive, dandiset, version, path
      addresses/<digest>.json         files of an address when it was last fetched
      unfinished/<digest>.part        interrupted downloads, to be resumed

Everything appears by an atomic rename, so processes may share the cache.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.cache import cache_folder
from neurobench_grasp.data.dandi.assets import Asset, Fetched, Found
from neurobench_grasp.data.dandi.digests import sha256_of
from neurobench_grasp.data.dandi.names import Address, file_name
from neurobench_grasp.data.dandi.partial_file import SUFFIX, abandoned
from neurobench_grasp.formats import parse_json


@dataclass(frozen=True)
class Origin:
    """Origin of a file in the cache.

    Parameters
    ----------
    instance, dandiset, version, path, asset_id, dandi_etag : str
    size : int
        Bytes.
    """

    instance: str
    dandiset: str
    version: str
    path: str
    asset_id: str
    dandi_etag: str
    size: int

    @property
    def address(self) -> Address:
        """Address of this file alone."""
        return Address(self.dandiset, self.version, self.path)


@dataclass(frozen=True)
class Cached:
    """A file in the cache.

    Parameters
    ----------
    sha256 : str
        Digest of the content when it was fetched.
    path : pathlib.Path
    size : int
        Current size in bytes.
    origins : tuple of Origin
    """

    sha256: str
    path: Path
    size: int
    origins: tuple[Origin, ...]

    def is_valid(self) -> bool:
        """Return whether the content still matches its digest; reads the whole file."""
        try:
            return sha256_of(self.path) == self.sha256
        except FileNotFoundError:  # another process has removed it
            return False


class Store:
    """Files of DANDI in the cache.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Default: in the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "assets"
        self.files = self.folder / "files"
        self.addresses = self.folder / "addresses"
        self.unfinished = self.folder / "unfinished"

    def origins_of(self, path: Path) -> tuple[Origin, ...]:
        """Return the origins of a file; none if it is not in the cache."""
        cached = self._at(path.parent.name) if path.parent.parent == self.files else None
        return cached.origins if cached else ()

    def find(self, asset: Asset) -> Cached | None:
        """Find a file by its digest, whatever its name."""
        cached = self._at(asset.sha256) if asset.sha256 else self._with_etag(asset)
        return cached if cached is not None and cached.size == asset.size else None

    def find_sound(self, asset: Asset, progress: Callable[[str], None] = lambda text: None) -> Cached | None:
        """Find a file and verify its digest; a damaged file is removed and reported."""
        cached = self.find(asset)
        if cached is None or cached.is_valid():
            return cached
        progress(f"{asset.path} in the cache is damaged, so it was removed, to be fetched again")
        self.discard(cached)
        return None

    def keep(self, found: Found, asset: Asset, made: Path | None = None) -> Path:
        """Record the origin of a file, and move the file into the store if it is new.

        Parameters
        ----------
        found : Found
        asset : Asset
            Including its SHA-256.
        made : pathlib.Path, optional
            The verified file, which is moved.

        Returns
        -------
        pathlib.Path
            Its place in the cache.
        """
        address = found.address
        origin = Origin(
            found.instance,
            address.dandiset,
            address.version,
            asset.path,
            asset.asset_id,
            asset.dandi_etag,
            asset.size,
        )
        folder = self.files / asset.sha256
        cached = self._at(asset.sha256)
        place = cached.path if cached else folder / file_name(asset.path)
        if made is not None:
            folder.mkdir(parents=True, exist_ok=True)
            made.replace(place)
        if cached is None or origin not in cached.origins:
            write_atomically(folder / _note_of(origin), _json(asdict(origin)))
        return place

    def remember(self, asked: Address, found: Found) -> None:
        """Record the files of an address, with and without the resolved version."""
        for address in {asked, found.address}:
            write_atomically(self._noted(found.instance, address), _json(found.as_json()))

    def recall(
        self, instance: str, address: Address, progress: Callable[[str], None] = lambda text: None
    ) -> Fetched | None:
        """Return the files of an address when last fetched, if all are in the cache and intact.

        Needs no network; damaged files are removed and reported.
        """
        if address.is_pattern or not address.version:
            found = _found(self._noted(instance, address))
        else:
            found = self._last_seen(instance, address)
        if found is None:
            return None
        cached = [self.find_sound(asset, progress) for asset in found.assets]
        files = tuple(c.path for c in cached if c is not None)
        return Fetched(found, files) if len(files) == len(cached) else None

    def _last_seen(self, instance: str, address: Address) -> Found | None:
        """Find one file among those fetched last."""
        notes = sorted(self.addresses.glob("*.json"), key=lambda note: note.stat().st_mtime, reverse=True)
        wanted = instance, address.dandiset, address.version
        for found in filter(None, map(_found, notes)):
            assets = tuple(a for a in found.assets if a.path == address.pattern)
            if assets and (found.instance, found.address.dandiset, found.address.version) == wanted:
                return replace(found, address=address, assets=assets)
        return None

    def all(self) -> list[Cached]:
        """List the files, sorted by their origins."""
        cached = [c for folder in self._folders() if (c := self._at(folder.name)) is not None]
        return sorted(cached, key=lambda c: [str(o.address) for o in c.origins])

    def remove(self, address: Address, instance: str | None = None) -> list[Cached]:
        """Remove the files of an address; a file with other origins stays for these.

        Returns
        -------
        list of Cached
            Removed files.
        """
        gone = []
        for cached in self.all():
            kept = [o for o in cached.origins if not _is_meant(o, address, instance)]
            if len(kept) == len(cached.origins):
                continue
            if kept:
                for origin in set(cached.origins) - set(kept):
                    (self.files / cached.sha256 / f"from-{_mark(asdict(origin))}.json").unlink(
                        missing_ok=True
                    )
            else:
                self.discard(cached)
                gone.append(cached)
        return gone

    def discard(self, cached: Cached) -> None:
        """Remove a file and its metadata in one atomic step."""
        grave = self.folder / f".removed-{uuid.uuid4().hex[:8]}"
        try:
            (self.files / cached.sha256).replace(grave)
        except FileNotFoundError:  # another process was faster
            return
        shutil.rmtree(grave, ignore_errors=True)

    def part_of(self, asset: Asset) -> Path:
        """Return the path of an incomplete download."""
        return self.unfinished / f"{asset.sha256 or asset.dandi_etag}{SUFFIX}"

    def parts(self) -> list[Path]:
        """List the interrupted downloads, without those in progress."""
        return abandoned(self.unfinished)

    def _folders(self) -> Iterator[Path]:
        return (folder for folder in sorted(self.files.glob("*")) if folder.is_dir())

    def _at(self, sha256: str) -> Cached | None:
        folder = self.files / sha256
        try:
            path = next(iter(sorted(folder.glob("*.nwb"))), None)
            if path is None:
                return None
            origins = tuple(filter(None, map(_origin, sorted(folder.glob("from-*.json")))))
            return Cached(sha256, path, path.stat().st_size, origins)
        except FileNotFoundError:  # another process has removed it
            return None

    def _with_etag(self, asset: Asset) -> Cached | None:
        for folder in self._folders():
            cached = self._at(folder.name)
            if cached and any(
                (o.dandi_etag, o.size) == (asset.dandi_etag, asset.size) for o in cached.origins
            ):
                return cached
        return None

    def _noted(self, instance: str, address: Address) -> Path:
        return self.addresses / f"{_mark([instance, asdict(address)])}.json"


def _note_of(origin: Origin) -> str:
    """Return the name of the file that records an origin."""
    return f"from-{_mark(asdict(origin))}.json"


def _found(note: Path) -> Found | None:
    try:
        return Found.from_json(parse_json(note.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _origin(path: Path) -> Origin | None:
    try:
        return Origin(**parse_json(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _is_meant(origin: Origin, address: Address, instance: str | None) -> bool:
    return instance in (None, origin.instance) and address.covers(
        origin.dandiset, origin.version, origin.path
    )


def _mark(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _json(data: object) -> bytes:
    return json.dumps(data, indent=1).encode()

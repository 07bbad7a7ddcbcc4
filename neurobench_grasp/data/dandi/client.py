"""Find files in an archive with the dandi package; nothing is downloaded here."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from neurobench_grasp.data.dandi.assets import Asset, Found
from neurobench_grasp.data.dandi.names import DRAFT, Address, is_safe_path
from neurobench_grasp.data.dandi.retry import RetryPolicy
from neurobench_grasp.data.dandi.thread_pool import run_in_threads
from neurobench_grasp.errors import CorruptFileError, NgbError
from neurobench_grasp.text import plain

MOST_FILES = 200_000  # in a dandiset; an endless list is not followed
MOST_BYTES = 5 << 40  # in a file: maximum of the archive's object store
WORKERS = 4
MISUNDERSTOOD = (ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError)
_ETAG = re.compile(r"[0-9a-f]{32}-\d{1,5}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Listed:
    """A file in an archive's listing.

    Parameters
    ----------
    path : str
    size : int
        Bytes.
    is_nwb : bool
        Whether it is a single HDF5 file, which can be fetched; other files and Zarr stores cannot.
    """

    path: str
    size: int
    is_nwb: bool


class Archive:
    """An archive that implements DANDI's API.

    Parameters
    ----------
    instance : str
        URL of its API.
    retry : RetryPolicy

    Raises
    ------
    NgbError
        If the package dandi is not installed.
    """

    def __init__(self, instance: str, retry: RetryPolicy) -> None:
        needed = [name for name in ("dandi", "requests") if importlib.util.find_spec(name) is None]
        if needed:
            raise NgbError(
                f"Access to DANDI requires {' and '.join(needed)}, which is not installed; run "
                "`pip install 'neurobench-grasp[dandi]'`."
            )
        os.environ["DANDI_NO_ET"] = "1"  # no version check over the network
        self.instance = instance
        with self._understood():
            self.client = _client(instance, retry)

    def files(self, address: Address) -> tuple[Address, list[Listed]]:
        """List the files of an address.

        Returns
        -------
        Address
            The address with its resolved version.
        list of Listed
            In the order of their paths.
        """
        with self._understood():
            dandiset = self._dandiset(address)
            listed = [Listed(a.path, a.size, _is_nwb(a)) for a in self._assets(dandiset, address)]
        return self._with_version(address, dandiset), listed

    def find(self, address: Address) -> Found:
        """Find the NWB files of an address and their digests.

        Raises
        ------
        NgbError
            If there are none, or the archive's response is invalid.
        """
        with self._understood():
            dandiset = self._dandiset(address)
            assets = self._assets(dandiset, address)
            wanted = [asset for asset in assets if _is_nwb(asset)]
            address = self._with_version(address, dandiset)
            if not wanted:
                raise NgbError(
                    f"{address} names no NWB file"
                    + (f", only {assets[0].path}" if assets else "")
                    + f"; `ngb data files dandi:{address.dandiset}@{address.version}` lists the files."
                )
            about = dandiset.get_raw_metadata()
            found = tuple(run_in_threads(self._asset, wanted, WORKERS))
        return Found(self.instance, address, *_about(about), assets=found)

    def _dandiset(self, address: Address) -> Any:
        """Return a dandiset in the requested version."""
        from dandi.exceptions import NotFoundError

        try:
            dandiset = self.client.get_dandiset(address.dandiset, lazy=False)
        except NotFoundError:
            raise NgbError(f"{self.instance} has no dandiset {address.dandiset}.") from None
        newest = dandiset.most_recent_published_version
        if not address.version and newest is None:
            raise NgbError(
                f"Dandiset {address.dandiset} has no published version; write "
                f"dandi:{address.dandiset}@{DRAFT}/… for its draft, which may change: a record contains the "
                "digests of its files."
            )
        try:
            return dandiset.for_version(address.version or newest)
        except NotFoundError:
            known = f"the newest is {newest.identifier}" if newest else f"there is only {DRAFT}"
            raise NgbError(
                f"Dandiset {address.dandiset} has no version {address.version}; {known}."
            ) from None

    def _with_version(self, address: Address, dandiset: Any) -> Address:
        return Address(address.dandiset, str(dandiset.version_id), address.pattern)

    def _assets(self, dandiset: Any, address: Address) -> list[Any]:
        """List the assets of an address; the archive ignores case, so the paths are filtered again."""
        if not address.is_pattern:
            listed = dandiset.get_assets_with_path_prefix(address.pattern)
        elif address.pattern:
            listed = dandiset.get_assets_by_glob(address.pattern)
        else:
            listed = dandiset.get_assets()
        assets = [a for a in listed if address.matches(a.path)]
        for asset in assets:
            if not is_safe_path(asset.path):
                raise NgbError(
                    f"Dandiset {address.dandiset} at {self.instance} lists a file with the path "
                    f"{asset.path[:200]!r}, which is outside its folder, so nothing was fetched; report it "
                    "to the archive."
                )
        if len({a.path for a in assets}) < len(assets):
            raise NgbError(f"{self.instance} lists a file of dandiset {address.dandiset} twice.")
        return sorted(assets, key=lambda a: a.path)

    def _asset(self, asset: Any) -> Asset:
        """Request the digests of a file."""
        digest = asset.get_raw_metadata()["digest"]
        etag, sha256 = digest["dandi:dandi-etag"], digest.get("dandi:sha2-256") or ""
        sound = (
            _UUID.fullmatch(asset.identifier)
            and _ETAG.fullmatch(etag)
            and (not sha256 or _SHA256.fullmatch(sha256))
            and 0 <= asset.size <= MOST_BYTES
        )
        if not sound:
            raise ValueError
        return Asset(asset.path, asset.identifier, asset.size, etag, sha256)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Convert exceptions of the dandi package into errors, and suppress its logging."""
        import requests

        logger = logging.getLogger("dandi")
        silent, logger.disabled = logger.disabled, True
        try:
            yield
        except requests.TooManyRedirects:
            raise NgbError(f"{self.instance}: too many redirects; report this to the archive.") from None
        except (requests.RequestException, *MISUNDERSTOOD) as error:
            raise CorruptFileError(
                f"{self.instance} returned an invalid response ({type(error).__name__}); check that "
                "this is the URL of an archive's API, or report it to the archive."
            ) from None
        finally:
            logger.disabled = silent


def _client(instance: str, retry: RetryPolicy) -> Any:
    """Return a client of the dandi package that uses our requests and pagination."""
    from dandi.consts import DandiInstance
    from dandi.dandiapi import DandiAPIClient

    from neurobench_grasp.data.dandi.http import open_session

    class Client(DandiAPIClient):  # type: ignore[misc]
        def paginate(self, path: str, page_size: int | None = None, params: Any = None) -> Iterator[Any]:
            """Follow a list page by page; the announced count is not trusted."""
            page = self.get(path, params={**(params or {}), "page_size": page_size or 1000})
            n_listed = 0
            while True:
                yield from page["results"]
                n_listed += max(len(page["results"]), 1)
                if n_listed > MOST_FILES:
                    raise NgbError(f"{instance} lists more than {MOST_FILES} files; use a narrower pattern.")
                if not page["next"]:
                    return
                page = self.get(page["next"])

    client = Client(dandi_instance=DandiInstance("ngb", None, instance))
    headers = client.session.headers
    client.session = open_session(instance, retry)
    client.session.headers.update(headers)
    return client


def _is_nwb(asset: Any) -> bool:
    return bool(asset.path.endswith(".nwb") and getattr(asset, "blob", None))


def _about(metadata: Any) -> tuple[str, str, str]:
    """Return title, licence and citation of a dandiset."""
    licences = metadata.get("license") or []
    licence = ", ".join(plain(name, 100).removeprefix("spdx:") for name in licences)
    return plain(metadata.get("name")), licence or "not stated", plain(metadata.get("citation"))

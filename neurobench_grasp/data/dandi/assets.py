"""Metadata of a file on DANDI before and after download, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neurobench_grasp.data.dandi.names import Address, dataset_id


@dataclass(frozen=True)
class Asset:
    """One file of a version of a dandiset.

    Parameters
    ----------
    path : str
        Path in the dandiset.
    asset_id : str
        A UUID, unique to the content.
    size : int
        Bytes.
    dandi_etag : str
        Digest that DANDI always provides: MD5 over the MD5 of parts.
    sha256 : str
        Empty if DANDI does not provide it and the file has not been fetched yet.
    """

    path: str
    asset_id: str
    size: int
    dandi_etag: str
    sha256: str = ""


@dataclass(frozen=True)
class Found:
    """Files that an address resolves to.

    Parameters
    ----------
    instance : str
        URL of the archive's API.
    address : Address
        Including the version.
    title, licence, citation : str
        Of the dandiset.
    assets : tuple of Asset
        In the order of their paths.
    """

    instance: str
    address: Address
    title: str
    licence: str
    citation: str
    assets: tuple[Asset, ...]

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Found:
        """Inverse of :meth:`as_json`."""
        assets = tuple(Asset(**asset) for asset in data["assets"])
        return cls(**{**data, "address": Address(**data["address"]), "assets": assets})


@dataclass(frozen=True)
class Fetched:
    """Files of DANDI in the cache.

    Parameters
    ----------
    found : Found
        Every asset with its SHA-256.
    files : tuple of pathlib.Path
        In the order of the assets.
    """

    found: Found
    files: tuple[Path, ...]

    @property
    def dataset_id(self) -> str:
        """Name of the dataset in records."""
        return dataset_id(self.found.address)

    @property
    def source(self) -> list[dict[str, Any]]:
        """Origin of each file, for a record: version and digests identify it exactly."""
        place = {
            "instance": self.found.instance,
            "dandiset": self.found.address.dandiset,
            "version": self.found.address.version,
        }
        return [{**place, **asdict(asset)} for asset in self.found.assets]

"""Files of DANDI, or of an archive like it: found by address, downloaded, verified and cached."""

from neurobench_grasp.data.dandi.assets import Asset, Fetched, Found
from neurobench_grasp.data.dandi.client import Listed
from neurobench_grasp.data.dandi.fetching import cached_files, fetch_files, list_files, source_of
from neurobench_grasp.data.dandi.names import Address, is_address, parse_address
from neurobench_grasp.data.dandi.store import Cached, Origin, Store

__all__ = [
    "Address",
    "Asset",
    "Cached",
    "Fetched",
    "Found",
    "Listed",
    "Origin",
    "Store",
    "cached_files",
    "fetch_files",
    "is_address",
    "list_files",
    "parse_address",
    "source_of",
]

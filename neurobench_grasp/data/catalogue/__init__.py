"""Public datasets that are fetched into the user's cache and verified against the catalogue."""

from neurobench_grasp.data.catalogue.entries import Entry, OnDandi, body_of_layout, catalogue, protocols_of
from neurobench_grasp.data.catalogue.fetching import fetch, fetched_files, find_entry

__all__ = [
    "Entry",
    "OnDandi",
    "body_of_layout",
    "catalogue",
    "fetch",
    "fetched_files",
    "find_entry",
    "protocols_of",
]

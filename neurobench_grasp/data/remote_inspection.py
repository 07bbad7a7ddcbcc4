"""Report what is inside a file on DANDI or at a web address without downloading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from neurobench_grasp.data.dandi.instances import instance_url, shown
from neurobench_grasp.data.dandi.names import Address, is_address, parse_address
from neurobench_grasp.data.dandi.retry import Patience
from neurobench_grasp.data.dandi.store import Store
from neurobench_grasp.data.nwb.file import open_far_nwb
from neurobench_grasp.data.nwb.inspect import Inspection, inspect_file, inspect_open
from neurobench_grasp.data.remote import Place, RemoteFile, check_remfile, place_of_asset, place_of_url
from neurobench_grasp.errors import NgbError


def is_remote(name: str) -> bool:
    """Report what lies on a server from a file's path."""
    return is_address(name) or name.lower().startswith(("http://", "https://"))


def inspect_remote(
    name: str,
    layout: str | Path | None = None,
    *,
    instance: str | None = None,
    patience: Patience | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Inspection:
    """Report what is inside an NWB file on a server; only the bytes that this needs are transferred.

    Rates are those that show without reading spikes, and events that a layout would find in signals are
    left out. A file of DANDI that is in the cache is read there.

    Parameters
    ----------
    name : str
        ``dandi:ID[@VERSION]/path``, or an https address (on this machine, http too).
    layout : str or path, optional
        As for :func:`inspect_file`.
    instance : str, optional
        URL of an archive's API, as for :func:`neurobench_grasp.data.dandi.fetch_files`.
    patience : Patience, optional
    tell : callable
        Told in words how much was transferred.

    Returns
    -------
    Inspection

    Raises
    ------
    NgbError
        If remfile is not installed, or the server does not answer as it should.
    UnsafeFileError, CorruptFileError
        As for a file on disk: the pre-scan is the same.
    """
    patience = patience or Patience()
    if not is_address(name):
        check_remfile()
        return _look(place_of_url(name, patience), shown(name), layout, tell)
    archive, address = instance_url(instance), parse_address(name)
    cached = Store().recall(archive, address, tell)
    if cached is not None and len(cached.files) == 1:
        tell(f"{name} is in the cache and read from there")
        return replace(inspect_file(cached.files[0], layout), path=name)
    check_remfile()
    return _look(_place(archive, address, patience), name, layout, tell)


def _place(instance: str, address: Address, patience: Patience) -> Place:
    from neurobench_grasp.data.dandi.client import Archive

    found = Archive(instance, patience).find(address)
    if len(found.assets) > 1:
        raise NgbError(
            f"{address} names {len(found.assets)} files, and one at a time is looked into; "
            f"`ngb data files {address}` lists them."
        )
    return place_of_asset(instance, found.assets[0], patience)


def _look(place: Place, name: str, layout: str | Path | None, tell: Callable[[str], None]) -> Inspection:
    with place.session, RemoteFile(place) as file:
        with open_far_nwb(file, place.name) as nwb:
            found = inspect_open(nwb, name, place.size, layout)
        tell(
            f"{file.ranges.n_bytes / 1e6:.1f} of {place.size / 1e6:.1f} MB were transferred; rates are "
            "rough, and tuning needs the whole file"
        )
    return found

"""Report what is inside a file on DANDI or at a web address without downloading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from neurobench_grasp.data.dandi.instances import instance_url, shown
from neurobench_grasp.data.dandi.names import Address, is_address, parse_address
from neurobench_grasp.data.dandi.retry import RetryPolicy
from neurobench_grasp.data.dandi.store import Store
from neurobench_grasp.data.nwb.file import open_remote_nwb
from neurobench_grasp.data.nwb.inspect import Inspection, inspect_open
from neurobench_grasp.data.quarantine import LIMITS, ask, inspect_file
from neurobench_grasp.data.remote import Place, RemoteFile, check_remfile, place_of_asset, place_of_url
from neurobench_grasp.errors import NgbError
from neurobench_grasp.sandbox.limits import GIB


def is_remote(name: str) -> bool:
    """Return whether a name is an address on a server, not a local path."""
    return is_address(name) or name.lower().startswith(("http://", "https://"))


def inspect_remote(
    name: str,
    layout: str | Path | None = None,
    *,
    instance: str | None = None,
    retry: RetryPolicy | None = None,
    progress: Callable[[str], None] = lambda text: None,
    quarantine: bool = True,
) -> Inspection:
    """Report what is inside an NWB file on a server; only the required bytes are transferred.

    Rates are those available without reading spikes, and events that a layout would detect in signals are
    omitted. A file of DANDI that is in the cache is read from there.

    Parameters
    ----------
    name : str
        ``dandi:ID[@VERSION]/path``, or an https address (on this machine, http too).
    layout : str or path, optional
        As for :func:`inspect_file`.
    instance : str, optional
        URL of an archive's API, as for :func:`neurobench_grasp.data.dandi.fetch_files`.
    retry : RetryPolicy, optional
    progress : callable
        Called with status messages, such as the amount transferred.
    quarantine : bool
        As for :func:`inspect_file`.

    Returns
    -------
    Inspection

    Raises
    ------
    NgbError
        If remfile is not installed, or the server's response is invalid.
    UnsafeFileError, CorruptFileError
        As for a file on disk: the pre-scan is the same.
    """
    retry = retry or RetryPolicy()
    if not is_address(name):
        check_remfile()
        return _look(place_of_url(name, retry), retry, shown(name), layout, progress, quarantine)
    archive, address = instance_url(instance), parse_address(name)
    cached = Store().recall(archive, address, progress)
    if cached is not None and len(cached.files) == 1:
        progress(f"{name} is read from the cache")
        found = inspect_file(cached.files[0], layout, quarantine=quarantine, progress=progress)
        return replace(found, path=name)
    check_remfile()
    return _look(_place(archive, address, retry), retry, name, layout, progress, quarantine)


def _place(instance: str, address: Address, retry: RetryPolicy) -> Place:
    from neurobench_grasp.data.dandi.client import Archive

    found = Archive(instance, retry).find(address)
    if len(found.assets) > 1:
        raise NgbError(
            f"{address} matches {len(found.assets)} files, but only one can be inspected at a time; "
            f"`ngb data files {address}` lists them."
        )
    return place_of_asset(instance, found.assets[0], retry)


def _look(
    place: Place,
    retry: RetryPolicy,
    name: str,
    layout: str | Path | None,
    progress: Callable[[str], None],
    quarantine: bool,
) -> Inspection:
    if not quarantine:
        return Looker(progress).look(place, retry, name, layout)
    timeouts = {f.name: getattr(retry, f.name) for f in fields(retry) if f.name != "stop"}
    found: Inspection = ask(
        f"{__name__}:Looker",
        Inspection,
        place.name,
        replace(LIMITS, network=True, memory=2 * GIB, cpu=60),
        progress,
        place=asdict(place),
        retry=timeouts,
        layout=None if layout is None else str(layout),
        address=name,
    )
    return found


class Looker:
    """Inspects a file on a server, in the subprocess.

    Parameters
    ----------
    progress : callable
    """

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.progress = progress

    def do_read(
        self, place: dict[str, Any], retry: dict[str, Any], address: str, layout: str | None
    ) -> Inspection:
        """Inspect a file."""
        return self.look(Place(**place), RetryPolicy(**retry), address, layout)

    def look(self, place: Place, retry: RetryPolicy, name: str, layout: str | Path | None) -> Inspection:
        """Inspect a file at a place, named ``name`` in the result."""
        with RemoteFile(place, retry) as file:
            with open_remote_nwb(file, place.name) as nwb:
                found = inspect_open(nwb, name, place.size, layout)
            self.progress(
                f"{file.ranges.n_bytes / 1e6:.1f} of {place.size / 1e6:.1f} MB transferred; rates are "
                "approximate, and tuning requires the whole file"
            )
        return found

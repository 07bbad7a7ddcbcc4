"""The user's cache: folders of dataset files, written atomically."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurobench_grasp.atomic import move_folder
from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import parse_json

MANIFEST = "manifest.json"
_STALE = 24 * 3600  # s after which an unfinished folder of another process counts as abandoned


def content_key(parts: Mapping[str, Any]) -> str:
    """Return a digest of JSON-serialisable parts, the same in every process."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def cache_folder() -> Path:
    """Return the cache folder; the environment variable ``NGB_CACHE`` overrides it."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("NGB_CACHE") or user_cache_path("neurobench_grasp"))


def combined_digest(digests: Mapping[str, str]) -> str:
    """Return a dataset's digest, computed from those of its sessions or files."""
    return hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()


@dataclass(frozen=True)
class CachedDataset:
    """A dataset's folder of files, by default in the cache.

    Parameters
    ----------
    name : str
    sha256 : str
        :func:`combined_digest` of its published content.
    folder : path, optional
        Overrides the place in the cache.
    """

    name: str
    sha256: str
    folder: Path | None = None

    @property
    def place(self) -> Path:
        """Path of the folder, which may not exist yet."""
        return self.folder or cache_folder() / f"{self.name}-{self.sha256[:12]}"

    def files(self) -> list[Path] | None:
        """Return the files if the folder is complete, judged by their sizes; see :meth:`is_valid`."""
        manifest = _manifest(self.place)
        sizes = _by_file(manifest.get("sizes"))
        if sizes is None or manifest.get("sha256") != self.sha256:
            return None
        files = {self.place / name: size for name, size in sizes.items()}
        complete = all(file.is_file() and file.stat().st_size == size for file, size in files.items())
        return list(files) if complete else None

    def is_valid(self) -> bool | None:
        """Return whether all files match their digests; ``None`` if the manifest has no digests."""
        digests = _by_file(_manifest(self.place).get("files"))
        if digests is None:
            return None
        places = {self.place / name: sha256 for name, sha256 in digests.items()}
        return all(file.is_file() and _sha256(file) == sha256 for file, sha256 in places.items())

    def make(self, fill: Callable[[Path], Mapping[str, str]]) -> list[Path]:
        """Create the folder.

        It appears atomically; if two processes create it at the same time, the first one wins.

        Parameters
        ----------
        fill : callable
            ``fill(new)`` writes the NWB files into an empty folder and returns the digest of each session
            (or file); other files in its parent folder are discarded.

        Returns
        -------
        list of pathlib.Path
            The NWB files.

        Raises
        ------
        NgbError
            If the folder contains something else, or the content is not the published one.
        """
        target = self.place
        ours = (target / MANIFEST).exists()
        if target.exists() and not ours and (not target.is_dir() or any(target.iterdir())):
            raise NgbError(
                f"{target} exists and is not a folder of the dataset {self.name}; remove it or choose "
                "another folder."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, self.name)
        work = Path(tempfile.mkdtemp(prefix=f".{self.name}-", dir=target.parent))
        try:
            (work / "new").mkdir()
            self._finish(work / "new", fill(work / "new"))
            move_folder(work / "new", self.place, unless=lambda: bool(self.files()))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return self.files() or []

    def _finish(self, new: Path, digests: Mapping[str, str]) -> None:
        made = combined_digest(digests)
        if made != self.sha256:
            raise NgbError(
                f"The dataset {self.name} made here (sha256 {made}) differs from the published one "
                f"({self.sha256[:12]}…), so its scores would not be comparable; install the package versions "
                "of constraints.txt."
            )
        files = sorted(new.glob("*.nwb"))
        content = {
            "sha256": made,
            "sessions": dict(digests),
            "sizes": {file.name: file.stat().st_size for file in files},
            "files": {file.name: _sha256(file) for file in files},
        }
        (new / MANIFEST).write_text(json.dumps(content, indent=1))


def _manifest(folder: Path) -> dict[str, Any]:
    """Read what a folder says of itself; empty if it cannot be read."""
    try:
        content = parse_json((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _by_file(entries: Any) -> dict[str, Any] | None:
    """Return a manifest's entries by file; ``None`` unless all are files of the same folder."""
    good = isinstance(entries, dict) and entries and all(name and Path(name).name == name for name in entries)
    return entries if good else None


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def cached_datasets() -> list[CachedDataset]:
    """List the datasets whose folders are in the cache, complete or not."""
    found = []
    for manifest in sorted(cache_folder().glob(f"*/{MANIFEST}")):
        name, _, _ = manifest.parent.name.rpartition("-")
        sha256 = _manifest(manifest.parent).get("sha256")
        found.append(CachedDataset(name, str(sha256), manifest.parent))
    return found


def sweep(folder: Path, name: str) -> None:
    """Remove unfinished folders that killed processes left behind."""
    for old in folder.glob(f".{name}-*"):
        if old.stat().st_mtime < time.time() - _STALE:
            shutil.rmtree(old, ignore_errors=True)

"""The demo's files: made at first use, checked against the published digest, kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from neurobench_grasp.errors import NgbError

DEMO_SHA256 = "f3bad1ea8b5f0e5044fde8030a912f672dc5543762aed4e7a57709e9edab3712"
"""Digest over the content of the four sessions, as in every record that was scored on them."""

MANIFEST = "manifest.json"
DESCRIPTION = (
    "Synthetic, a self-test: movements and spikes were made by a generator, not recorded. "
    "Scores on it say how well a model fits its generator, and nothing about brains."
)
_STALE = 24 * 3600  # s after which an unfinished folder of another process is taken for abandoned


def demo_files() -> list[Path]:
    """Paths of the demo's files in the cache; made first if they are not there.

    Returns
    -------
    list of pathlib.Path
        One NWB file per session.

    Raises
    ------
    NgbError
        See :func:`make_demo`.
    """
    folder = _cache() / f"demo-{DEMO_SHA256[:12]}"
    return _listed(folder) or make_demo(folder)


def make_demo(
    folder: str | Path | None = None, progress: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """Make the demo's files.

    The folder appears whole or not at all, whatever stops the making; if another process makes the same
    folder at the same time, whoever is first wins.

    Parameters
    ----------
    folder : path, optional
        A new folder, or one that an earlier call made. Default: in the user's cache (``NGB_CACHE`` sets it).
    progress : callable, optional
        Is told in words what is being done.

    Returns
    -------
    list of pathlib.Path
        One NWB file per session.

    Raises
    ------
    NgbError
        If the folder holds something else, or the content is not the published one.
    """
    target = Path(folder) if folder is not None else _cache() / f"demo-{DEMO_SHA256[:12]}"
    if (
        target.exists()
        and not (target / MANIFEST).exists()
        and (not target.is_dir() or any(target.iterdir()))
    ):
        raise NgbError(
            f"{target} exists and is not a folder of the demo; remove it or choose another folder."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    work = Path(tempfile.mkdtemp(prefix=".demo-", dir=target.parent))
    try:
        _write(work / "new", progress)
        _put_in_place(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _listed(target) or []


def combined_digest(digests: Mapping[str, str]) -> str:
    """Digest of the dataset from those of its sessions."""
    return hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()


def _write(folder: Path, progress: Callable[[str], None]) -> None:
    from neurobench_grasp.data import write_session
    from neurobench_grasp.demo.movements import ANGLE_QUANTUM
    from neurobench_grasp.demo.neurons import RATE_QUANTA
    from neurobench_grasp.demo.sessions import SESSIONS, make_session

    folder.mkdir()
    digests: dict[str, str] = {}
    for day, name in enumerate(SESSIONS, start=1):
        progress(f"making the demo (synthetic, a self-test): session {day} of {len(SESSIONS)}")
        session = make_session(name)
        digests[name] = session.sha256
        write_session(
            folder / f"{name}.nwb",
            session,
            species="Macaca mulatta",
            sex="U",
            age="P8Y",
            session_start_time=datetime(2025, 1, day, tzinfo=UTC),
            description=DESCRIPTION,
            licence="CC0-1.0",
            resolution={"joint_angles": ANGLE_QUANTUM, "true_rates": 1 / RATE_QUANTA},
        )
    made = combined_digest(digests)
    if made != DEMO_SHA256:
        raise NgbError(
            f"The demo made here (sha256 {made}) is not the published one ({DEMO_SHA256[:12]}…), "
            "so its scores could not be compared; install numpy, mujoco and myosuite as in constraints.txt."
        )
    sizes = {file.name: file.stat().st_size for file in sorted(folder.glob("*.nwb"))}
    (folder / MANIFEST).write_text(
        json.dumps({"sha256": made, "sessions": digests, "sizes": sizes}, indent=1)
    )


def _put_in_place(work: Path, target: Path) -> None:
    if _listed(target):  # another process was faster
        return
    if target.exists():
        os.replace(target, work / "old")
    os.replace(work / "new", target)


def _listed(folder: Path) -> list[Path] | None:
    """Files of a complete folder of this version; the files' own checksums guard what is inside them."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    files = [folder / name for name in manifest["sizes"]]
    whole = all(f.is_file() and f.stat().st_size == manifest["sizes"][f.name] for f in files)
    return files if whole and manifest["sha256"] == DEMO_SHA256 else None


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind."""
    for old in folder.glob(".demo-*"):
        if old.stat().st_mtime < time.time() - _STALE:
            shutil.rmtree(old, ignore_errors=True)


def _cache() -> Path:
    from platformdirs import user_cache_path

    return Path(os.environ.get("NGB_CACHE") or user_cache_path("neurobench_grasp"))

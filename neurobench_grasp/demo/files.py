"""Files of the demo: made on first use, verified by the published digest, stored in the user's cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from neurobench_grasp.cache import CachedDataset
from neurobench_grasp.contract import Session

DEMO_SHA256 = "f3bad1ea8b5f0e5044fde8030a912f672dc5543762aed4e7a57709e9edab3712"
"""Digest over the content of the four sessions, as in every record that was scored on them."""

DESCRIPTION = (
    "Synthetic, a self-test: movements and spikes were generated, not recorded. "
    "Scores on it measure how well a model fits its generator, and nothing about brains."
)


def demo_files() -> list[Path]:
    """Return the paths of the demo's files in the cache; make them if they are missing.

    Returns
    -------
    list of pathlib.Path
        One NWB file per session.

    Raises
    ------
    NgbError
        See :func:`make_demo`.
    """
    return CachedDataset("demo", DEMO_SHA256).files() or make_demo()


def make_demo(
    folder: str | Path | None = None, progress: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """Make the demo's files; their folder appears atomically.

    Parameters
    ----------
    folder : path, optional
        A new folder, or one made by an earlier call. Default: in the user's cache (``NGB_CACHE`` sets it).
    progress : callable, optional
        Called with status messages.

    Returns
    -------
    list of pathlib.Path
        One NWB file per session.

    Raises
    ------
    NgbError
        If the folder contains something else, or the content is not the published one.
    """
    kept = CachedDataset("demo", DEMO_SHA256, None if folder is None else Path(folder))
    return kept.make(lambda new: _write(new, progress))


def _write(folder: Path, progress: Callable[[str], None]) -> dict[str, str]:
    from neurobench_grasp.demo.sessions import SESSIONS, make_session

    digests: dict[str, str] = {}
    for day, name in enumerate(SESSIONS, start=1):
        progress(f"making the demo (synthetic, a self-test): session {day} of {len(SESSIONS)}")
        session = make_session(name)
        digests[name] = session.sha256
        write_synthetic(folder / f"{name}.nwb", session, DESCRIPTION, day)
    return digests


def write_synthetic(
    path: Path,
    session: Session,
    description: str,
    day: int = 1,
    unit_labels: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write a generated session: joint angles and true rates are stored as integers.

    Parameters
    ----------
    path : path
    session : Session
        With joint angles and, if it has units, rates as :mod:`neurobench_grasp.demo` makes them.
    description : str
    day : int
        Day of January 2025.
    unit_labels : mapping of str to sequence of str, optional
        See :func:`neurobench_grasp.data.write_session`.
    """
    from neurobench_grasp.data import write_session
    from neurobench_grasp.demo.movements import ANGLE_QUANTUM
    from neurobench_grasp.demo.neurons import RATE_QUANTA

    steps = {"joint_angles": ANGLE_QUANTUM, "true_rates": 1 / RATE_QUANTA}
    if session.true_rates is None:
        del steps["true_rates"]
    write_session(
        path,
        session,
        species="Macaca mulatta",
        sex="U",
        age="P8Y",
        session_start_time=datetime(2025, 1, day, tzinfo=UTC),
        description=description,
        licence="CC0-1.0",
        resolution=steps,
        unit_labels=unit_labels,
    )

"""Checks of datasets."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

from neurobench_grasp.checks.audit import Audit
from neurobench_grasp.checks.fixture import Audited
from neurobench_grasp.checks.rules import Broken, check
from neurobench_grasp.contract import Session
from neurobench_grasp.errors import NgbError

FEWEST = {"conditions": 5, "trials of each condition": 3}
"""Required for an interval over conditions, and for scores of units' condition means."""


class DatasetCase(Audited):
    """A dataset; its files are listed and read once."""

    spec: Any = None

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self._read: dict[Path, Session] = {}

    @cached_property
    def files(self) -> list[Path]:
        """Paths of its files."""
        return [Path(path) for path in self.call("files", self.spec.files)]

    @cached_property
    def sessions(self) -> list[Session]:
        """Its sessions."""
        return [self.session(path) for path in self.files]

    def session(self, path: Path) -> Session:
        """Read one file."""
        from neurobench_grasp.data import load_session

        if path not in self._read:
            self._read[path] = load_session(path, self.spec.layout, quarantine=False)
        return self._read[path]


@check("dataset")
def licence(case: DatasetCase) -> None:
    """It states a licence."""
    if case.spec.licence in ("", "unknown"):
        raise Broken(
            "Its licence is unknown; set `licence` in its DatasetSpec to an SPDX name such as CC-BY-4.0."
        )


@check("dataset")
def files_exist(case: DatasetCase) -> None:
    """`files()` returns the paths of existing files."""
    if not case.files:
        raise Broken("`files` returns no file; it must return the paths of its NWB files.")
    if missing := [path.name for path in case.files if not path.is_file()]:
        raise Broken(
            f"`files` names {', '.join(missing)}, which do not exist; make or fetch them in `files`."
        )


@check("dataset", "files_exist")
def readable(case: DatasetCase) -> None:
    """Every file can be read by its layout, and has trials."""
    from neurobench_grasp.alignment.align import align

    for path in case.files:
        try:
            align(case.session(path))
        except NgbError as error:
            raise Broken(
                f"{path.name}: {error} `ngb data inspect {path.name}` lists its contents."
            ) from error


@check("dataset", "readable")
def unique_ids(case: DatasetCase) -> None:
    """Session ids are unique."""
    ids = [session.id for session in case.sessions]
    if len(set(ids)) < len(ids):
        raise Broken(f"Two sessions have one id ({', '.join(sorted(ids))}); rename one in its file.")


@check("dataset", "readable")
def enough_conditions(case: DatasetCase) -> None:
    """It has enough conditions and trials."""
    from neurobench_grasp.alignment.align import align

    counts: Counter[str] = Counter()
    for session in case.sessions:
        counts.update(align(session).trials.condition)
    fewest = {"conditions": len(counts)}
    if any(len(session.units) for session in case.sessions):
        fewest["trials of each condition"] = min(counts.values(), default=0)
    for what in fewest:
        least = FEWEST[what]
        if fewest[what] < least:
            raise Broken(
                f"It has {fewest[what]} {what}; with fewer than {least} scores lack intervals. Add trials or "
                "sessions, or define coarser conditions in the layout."
            )


@check("dataset", "readable")
def declares_synthetic(case: DatasetCase) -> None:
    """It is declared synthetic if a session is."""
    made = [session.id for session in case.sessions if session.synthetic]
    if made and not case.spec.synthetic:
        raise Broken(f"{', '.join(made)} is synthetic, but the dataset is not: set `synthetic=True`.")

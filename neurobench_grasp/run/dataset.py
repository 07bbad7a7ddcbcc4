"""From the name of a dataset to sessions on one step grid, split into train, test and held-out conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.clock import clock_of
from neurobench_grasp.alignment.overlap import refuse_repeats
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.splits import MAX_FOLDS, Splits, make_splits
from neurobench_grasp.alignment.turn import aligned_by_muscles
from neurobench_grasp.contract import Progress, Trials
from neurobench_grasp.data import load_session
from neurobench_grasp.data.dandi import cached_files, is_address, source_of
from neurobench_grasp.data.nwb.findings import Report
from neurobench_grasp.data.nwb.validate import check_areas, check_conditions
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import Registry
from neurobench_grasp.text import is_line

MOST_KEPT = 1 << 26
"""Bytes of behaviour that is kept for the next network of a fold; more is collected again."""


@dataclass(frozen=True)
class Dataset:
    """A dataset that is ready to be scored.

    Parameters
    ----------
    id, licence : str
    synthetic : bool
    sessions : tuple of AlignedSession
    folds : tuple of Splits
    fold : int
        The fold that :attr:`splits` are of.
    trained_on, trained_on_sha256 : str, optional
        Dataset on which the model was fitted, if it is another one, and the digest of its content.
    source : tuple of dict
        Where each file came from, if it was fetched from an archive.
    """

    id: str
    licence: str
    synthetic: bool
    sessions: tuple[AlignedSession, ...]
    folds: tuple[Splits, ...]
    fold: int = 0
    trained_on: str | None = None
    trained_on_sha256: str | None = None
    source: tuple[Mapping[str, Any], ...] = ()
    _of_networks: dict[object, Dataset] = field(init=False, repr=False, compare=False, default_factory=dict)
    _behaviour: dict[object, Trials] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def sha256(self) -> str:
        """Digest over the content of all sessions."""
        return hashlib.sha256("".join(sorted(s.sha256 for s in self.sessions)).encode()).hexdigest()

    @property
    def splits(self) -> Splits:
        """Splits of the fold."""
        return self.folds[self.fold]

    @property
    def folds_sha256(self) -> str:
        """Digest over the splits of all folds."""
        return hashlib.sha256("".join(fold.sha256 for fold in self.folds).encode()).hexdigest()

    def for_network(self, seed: int, tendons: str | None = None) -> Dataset:
        """Return the dataset as one network receives it.

        Networks take the folds of the conditions in turn. Where EMG decides how recorded axes are turned into
        those of the body, it is that of the fold's training trials.

        Parameters
        ----------
        seed : int
        tendons : str, optional
            Of the body that the network moves, see :class:`~neurobench_grasp.contract.ModelSpec`.
        """
        fold, named = seed % len(self.folds), tendons and tendons.format(seed=seed)
        if (fold, named) not in self._of_networks:
            train = self.folds[fold].train
            sessions = tuple(aligned_by_muscles(s, train[s.id], named) for s in self.sessions)
            if len(self._of_networks) >= MAX_FOLDS:
                self._of_networks.clear()
            self._of_networks[fold, named] = replace(self, sessions=sessions, fold=fold)
        return self._of_networks[fold, named]

    @property
    def has_joint_angles(self) -> bool:
        """True if a controller can move through every session."""
        return all(s.trials.joint_angles is not None for s in self.sessions)

    @property
    def has_units(self) -> bool:
        """True if neurons were recorded in some session."""
        return any(s.units for s in self.sessions)

    def behaviour(self, split: str, step_s: float | None = None) -> Trials:
        """Trials of a split in all sessions, on steps of a model; it is fitted on those of ``train``."""
        if (split, step_s) not in self._behaviour:
            trials = self._selected(split, step_s)
            if sum(values.values.nbytes for values in trials.signals.values()) > MOST_KEPT:
                return trials
            self._behaviour[split, step_s] = trials
        return self._behaviour[split, step_s]

    def _selected(self, split: str, step_s: float | None) -> Trials:
        parts = []
        for session in self.sessions:
            wanted = set(getattr(self.splits, split)[session.id])
            trials = clock_of(session, step_s).trials
            parts.append(trials.select([i for i, t in enumerate(trials.ids) if t in wanted]))
        return Trials.join(parts)

    def dropped(self, session: AlignedSession) -> tuple[tuple[str, str], ...]:
        """Return the trials of a session that are not scored, with the reason."""
        splits = (self.splits.train, self.splits.test, self.splits.ood)
        used = {t for split in splits for t in split[session.id]}
        reason = "shares scored time with a trial of a held-out condition, and so is in no split"
        return (*session.dropped, *((t, reason) for t in session.trials.ids if t not in used))

    def with_notes(self, notes: Mapping[str, str]) -> Dataset:
        """Return the dataset with one more note on each named session."""
        sessions = (replace(s, notes=(*s.notes, notes[s.id])) if s.id in notes else s for s in self.sessions)
        return replace(self, sessions=tuple(sessions))


@dataclass(frozen=True)
class Found:
    """Files of a dataset.

    Parameters
    ----------
    id, licence : str
    files : list of path
    source : sequence of dict
        Where each file came from, if it was fetched from an archive.
    layout : str, optional
    registered : bool
        The files were made or verified here, so that they need no quarantine.
    """

    id: str
    licence: str
    files: Sequence[Path]
    source: Sequence[Mapping[str, Any]] = ()
    layout: str | None = None
    registered: bool = False


def find_files(registry: Registry, name: str | Path, progress: Progress = lambda text: None) -> Found:
    """Find the files of a dataset; they are fetched or made if they are not in the cache.

    Raises
    ------
    NgbError
        If there is no such dataset, or it cannot be fetched.
    """
    if is_address(name):
        fetched = cached_files(str(name), progress=progress)
        return Found(fetched.dataset_id, fetched.found.licence, list(fetched.files), fetched.source)
    if is_path(registry, name):
        files = _files_of(Path(name))
        dataset_id = Path(name).stem if files == [Path(name)] else Path(name).resolve().name
        if not is_line(dataset_id):  # which no record may hold
            raise NgbError(f"The name of the file {str(name)!r} has invisible characters; rename it.")
        return Found(dataset_id, "as stated by its owner", files)
    spec = registry.dataset(str(name)).spec
    progress(f"dataset {spec.name}: files")
    files = [Path(file) for file in spec.files()]
    return Found(spec.name, spec.licence, files, layout=spec.layout, registered=True)


def load_dataset(
    registry: Registry,
    name: str | Path,
    layout: str | Path | None = None,
    progress: Progress = lambda text: None,
    *,
    quarantine: bool = True,
) -> Dataset:
    """Read, align and split a registered dataset, an NWB file or a folder of these, or files of DANDI.

    The files of a folder are the sessions of one dataset.

    Files are read in a subprocess with limits, unless ``quarantine`` is ``False`` or the dataset is
    registered: its files were made or verified here.

    Raises
    ------
    NgbError
        If there is no such dataset or file, or it cannot be read.
    """
    found = find_files(registry, name, progress)
    files, dataset_id = found.files, found.id
    layout, quarantine = layout or found.layout, quarantine and not found.registered
    sessions = []
    for file in files:
        progress(f"dataset {dataset_id}: reading {Path(file).name}")
        sessions.append(load_session(file, layout, quarantine=quarantine, progress=progress))
    aligned = tuple(align(s) for s in sessions)
    refuse_repeats(
        {str(file): s.fingerprints for file, s in zip(files, aligned, strict=True)},
        "leave one of the files out",
    )
    ids = [s.id for s in sessions]
    if len(set(ids)) < len(ids):
        raise NgbError(
            f"Dataset {dataset_id} has two sessions of the same id ({', '.join(sorted(ids))}); rename one."
        )
    aligned = _with_twins(aligned)
    folds = make_splits({s.id: s.conditions for s in aligned}, {s.id: s.groups for s in aligned})
    return Dataset(
        dataset_id,
        found.licence,
        synthetic=any(s.synthetic for s in sessions),
        sessions=aligned,
        folds=folds,
        source=tuple(found.source or source_of([Path(file) for file in files])),
    )


def _with_twins(sessions: tuple[AlignedSession, ...]) -> tuple[AlignedSession, ...]:
    """Note conditions and areas that may be one, but are spelled differently in several sessions."""
    report = Report()
    check_areas([area for s in sessions for area in s.units.areas], report)
    check_conditions([c for s in sessions for c in s.conditions.values()], "intervals/trials", report)
    return tuple(
        replace(s, notes=(*s.notes, *(f"all sessions: {n}" for n in report.notes if n not in s.notes)))
        for s in sessions
    )


def _files_of(path: Path) -> list[Path]:
    """Return the NWB files of a folder, or what else is at the path."""
    inside = sorted(file for file in path.glob("*.nwb") if not file.name.startswith("."))
    return inside or [path]


def is_path(registry: Registry, name: str | Path) -> bool:
    """Return True for a path; a registered name wins over a file of that name, an address over both."""
    if isinstance(name, Path):
        return True
    if is_address(name) or any(p.spec.name == name for p in registry.datasets()):
        return False
    return Path(name).exists() or "/" in name or "\\" in name or name.endswith(".nwb")

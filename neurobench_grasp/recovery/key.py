"""Units of known kinds: which kind the benchmark assigns to each, and how often it is right.

A unit is assigned the kind of the candidate that explains it best. Neither models nor scores receive the key:
it is compared with what was assigned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from neurobench_grasp.contract import Floats, Ints, Progress, ScoreRecord
from neurobench_grasp.data import unit_labels
from neurobench_grasp.demo.mixed import KEY, MIXED_SETS, TEACHER_SEED
from neurobench_grasp.errors import NgbError
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.records.record import RECORDS, read_units, record_path
from neurobench_grasp.records.units import Labels
from neurobench_grasp.recovery.teachers import KINDS
from neurobench_grasp.run.dataset import load_dataset
from neurobench_grasp.run.executors import Executor
from neurobench_grasp.run.executors.local import IN_PROCESS
from neurobench_grasp.run.plan import plan
from neurobench_grasp.run.scored import score_all
from neurobench_grasp.run.workspace import Workspace
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.networks import in_common, mean_in_common

CHANCE = 0.5


@dataclass(frozen=True)
class Share:
    """How many of some units, with the 95 % interval of Wilson (1927), J. Am. Statist. Assoc. 22:209.

    Parameters
    ----------
    n_right, n : int
    """

    n_right: int
    n: int

    @property
    def value(self) -> float:
        """The share."""
        return self.n_right / self.n if self.n else float("nan")

    @property
    def ci(self) -> tuple[float, float]:
        """Its interval, as if units were independent."""
        if not self.n:
            return 0.0, 1.0
        z, n, p = 1.959964, self.n, self.value
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
        return middle - half, middle + half


@dataclass(frozen=True)
class Assigned:
    """Kinds that were assigned to units of known kinds.

    Parameters
    ----------
    units : tuple of str, length n_units
    truth : tuple of str, length n_units
        Kinds of the key.
    kinds : tuple of str, length n_kinds
        Kinds of the candidates.
    scores : ndarray, shape (n_kinds, n_units)
        Explained variance of each unit on held-out conditions of all folds, by each candidate.
    """

    units: tuple[str, ...]
    truth: tuple[str, ...]
    kinds: tuple[str, ...]
    scores: Floats

    @property
    def assigned(self) -> tuple[str, ...]:
        """Kind of the best candidate for each unit."""
        return tuple(self.kinds[k] for k in self.scores.argmax(0))

    @property
    def all_kinds(self) -> tuple[str, ...]:
        """Kinds of the candidates, then those of the key that no candidate is of."""
        return tuple(dict.fromkeys((*self.kinds, *sorted(set(self.truth)))))

    @property
    def confusion(self) -> Ints:
        """Number of units of each kind (row) that each kind was assigned to (column).

        Shape (n_all_kinds, n_kinds).
        """
        pairs = list(zip(self.truth, self.assigned, strict=True))
        return np.array([[pairs.count((t, a)) for a in self.kinds] for t in self.all_kinds])

    def right(self, kind: str = "") -> Share:
        """How often the assigned kind is right, for one kind or all that have a candidate."""
        known = [
            t == a
            for t, a in zip(self.truth, self.assigned, strict=True)
            if (t == kind if kind else t in self.kinds)
        ]
        return Share(sum(known), len(known))

    def between(self, a: str, b: str) -> Share:
        """How often the right one of two candidates is ahead, for units of these two kinds."""
        first, second = (self.scores[self.kinds.index(kind)] for kind in (a, b))
        ahead = [
            (x > y) == (t == a) for x, y, t in zip(first, second, self.truth, strict=True) if t in (a, b)
        ]
        return Share(sum(ahead), len(ahead))

    def pairs(self) -> dict[tuple[str, str], Share]:
        """:meth:`between` for all pairs of candidates' kinds that the key contains."""
        there = [kind for kind in self.kinds if kind in self.truth]
        return {pair: self.between(*pair) for pair in combinations(there, 2)}

    def indistinct(self) -> list[tuple[str, str]]:
        """Pairs of kinds of which the right one is not ahead more often than by chance."""
        return [pair for pair, share in self.pairs().items() if share.ci[0] <= CHANCE]


def has_key(dataset: str | Path) -> bool:
    """Return whether a dataset has a key; making ``mixed`` if it is missing."""
    return bool(_key(dataset))


def _key(dataset: str | Path) -> dict[tuple[str, str], str]:
    """Kind of each unit, by session and unit."""
    files = [dataset] if isinstance(dataset, Path) else load_registry().dataset(dataset).spec.files()
    return {(Path(f).stem, unit): kind for f in files for unit, kind in unit_labels(f, KEY).items()}


def assign(
    dataset: str | Path = "mixed",
    *,
    networks: int = 5,
    candidates: Mapping[str, str] | None = None,
    out: str | Path,
    executor: Executor = IN_PROCESS,
    progress: Progress = lambda text: None,
) -> Assigned:
    """Score every candidate on a dataset with a key, and assign a kind to each unit.

    Parameters
    ----------
    dataset : str or path
        Its files are named after their sessions.
    networks : int
        Candidates are the networks of seeds 0 … ``networks`` − 1, each scored on its own fold of conditions;
        those without networks are scored on every fold.
    candidates : mapping of str to str, optional
        Model → kind. Default: those of a built-in dataset, or the teachers of model recovery.
    out : path
        Run folder; finished stages in it are reused.
    executor : Executor
        Scores the candidates.
    progress : callable

    Raises
    ------
    NgbError
        If a network is missing or drives the units itself, or the dataset has no key.
    """
    registry = load_registry()
    if candidates is None:
        candidates = MIXED_SETS[str(dataset)].candidates if str(dataset) in MIXED_SETS else KINDS
    if networks > TEACHER_SEED:
        raise NgbError(
            f"Network {TEACHER_SEED} drives units of {dataset}, and would have to explain itself; "
            f"use at most {TEACHER_SEED} networks."
        )
    key = _key(dataset)
    if not key:
        raise NgbError(f"The files of {dataset} have no column {KEY} of units; choose a dataset with a key.")
    n_folds = len(load_dataset(registry, dataset, progress=progress).folds)
    workspace = Workspace(registry, Path(out), progress)
    jobs = []
    for name in candidates:
        seeds = range(n_folds if registry.model(name).spec.depends_on is None else networks)
        jobs.append(plan(workspace, name, dataset, ("encoding",), seeds))
    records = score_all([job for each in jobs for job in each], workspace, executor)
    models = [_by_area([records[job] for job in each], workspace.folder / RECORDS) for each in jobs]
    means: list[list[UnitScores]] = [[] for _ in models]
    for area in models[0]:
        for found, model in zip(means, in_common(*(model[area] for model in models)), strict=True):
            found += mean_in_common(model)
    units = [(part.session, unit) for part in means[0] for unit in part.units]
    scores = np.array([np.concatenate([part.values for part in parts]) for parts in means])
    scored = np.flatnonzero(np.isfinite(scores).all(0))
    return Assigned(
        tuple(units[u][1] for u in scored),
        tuple(key[units[u]] for u in scored),
        tuple(candidates.values()),
        scores[:, scored],
    )


def _by_area(records: Sequence[ScoreRecord], folder: Path) -> dict[str, list[Sequence[UnitScores]]]:
    """Scores of a model's networks, area by area."""
    found: dict[str, list[Sequence[UnitScores]]] = {}
    for record in records:
        table = read_units(record_path(folder, record), record, _is_own)
        assert table is not None  # encoding always stores them
        for labels, parts in table.scores.items():
            found.setdefault(labels.area, []).append(parts)
    return found


def _is_own(labels: Labels) -> bool:
    return (labels.split, labels.metric, labels.reference) == (SPLIT, METRIC, "")

"""Model recovery: test whether the benchmark can distinguish hypotheses (protocol section 6).

Units are generated from a known teacher; the candidate of the teacher's kind must explain them best. Reading
order: what drives a teacher's units (`teachers.py`), sessions of such units (`sessions.py`), scores
of the candidates (`candidates.py`), the verdict (`matrix.py`), raw differences, gains and contrasts
(`numbers.py`), how probable each kind is given these (`statement.py`), the power of the design (`power.py`),
units of known kinds (`key.py`), table (`report.py`) and figure (`figure.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from neurobench_grasp.contract import Progress
from neurobench_grasp.data import load_session
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import Registry, load_registry
from neurobench_grasp.records.record import RECORDS
from neurobench_grasp.recovery.candidates import Candidate, candidate_of, jobs_of
from neurobench_grasp.recovery.key import Assigned, Share, assign, has_key
from neurobench_grasp.recovery.matrix import Recovered, compare, with_probabilities
from neurobench_grasp.recovery.numbers import Comparison
from neurobench_grasp.recovery.report import key_rows, rows, write_key_report, write_report
from neurobench_grasp.recovery.sessions import session_file
from neurobench_grasp.recovery.statement import indistinct
from neurobench_grasp.recovery.teachers import KINDS, Teacher
from neurobench_grasp.run.dataset import Dataset, load_dataset
from neurobench_grasp.run.executors import Executor
from neurobench_grasp.run.executors.local import IN_PROCESS
from neurobench_grasp.run.scored import score_all
from neurobench_grasp.run.workspace import Workspace

__all__ = [
    "KINDS",
    "TEACHER_SEEDS",
    "Assigned",
    "Candidate",
    "Comparison",
    "Recovered",
    "Share",
    "Teacher",
    "assign",
    "has_key",
    "indistinct",
    "key_rows",
    "recover",
    "rows",
    "write_key_report",
    "write_report",
]

TEACHER_SEEDS = (100, 101)
"""Networks that teach: two of each kind, since they differ, and none of the candidates."""


def recover(
    teachers: Sequence[str] = tuple(KINDS),
    *,
    networks: int = 5,
    teacher_seeds: Sequence[int] = TEACHER_SEEDS,
    n_units: int = 120,
    n_sessions: int = 1,
    candidates: Mapping[str, str] = KINDS,
    dataset: str | Path = "demo",
    out: str | Path,
    executor: Executor = IN_PROCESS,
    progress: Progress = lambda text: None,
) -> list[Recovered]:
    """Generate sessions from teachers and score every candidate on them.

    Parameters
    ----------
    teachers : sequence of str
        Keys of :data:`KINDS`.
    networks : int
        Candidates are the networks of seeds 0 … ``networks`` − 1, each scored on the fold of conditions that
        it has not seen; at least two, to estimate the variance between networks. Candidates without
        networks are scored on every fold.
    teacher_seeds : sequence of int
        One teacher network each; of a teacher without networks one draw of units each.
    n_units : int
        Units of each session.
    n_sessions : int
        Sessions of the dataset whose movements are used, the first ones.
    candidates : mapping of str to str
        Model → its kind of input or action.
    dataset : str or path
        Dataset whose movements are used, and on which candidates and teachers were trained.
    out : path
        Run folder; finished stages in it are reused.
    executor : Executor
        Scores the candidates.
    progress : callable

    Returns
    -------
    list of Recovered
        One for each teacher.

    Raises
    ------
    NgbError
        If a teacher is unknown or among the candidates, or a network is missing.
    """
    registry = load_registry()
    taught = _teachers(teachers, teacher_seeds)
    _check(taught, candidates, networks)
    data = load_dataset(registry, dataset, progress=progress)
    if n_sessions > len(data.sessions):
        raise NgbError(f"{data.id} has {len(data.sessions)} sessions; request at most these.")
    seeds = {
        name: range(len(data.folds) if registry.model(name).spec.depends_on is None else networks)
        for name in candidates
    }
    _check_networks(registry, taught, seeds, data)
    bases = [
        load_session(file, quarantine=isinstance(dataset, Path))
        for file in _files(registry, dataset)[:n_sessions]
    ]
    folder = Path(out) / "sessions"
    files = [session_file(folder, taught, registry, base, data, n_units, progress) for base in bases]
    workspace = Workspace(registry, Path(out), progress)
    jobs = {name: jobs_of(workspace, name, seeds[name], files, dataset) for name in candidates}
    records = score_all(
        [job for each in jobs.values() for of_file in each for job in of_file], workspace, executor
    )
    scored = {
        name: candidate_of(kind, jobs[name], records, workspace.folder / RECORDS)
        for name, kind in candidates.items()
    }
    found = [
        compare(teacher, {name: on_units_of[teacher.name] for name, on_units_of in scored.items()})
        for teacher in taught
    ]
    return with_probabilities(found)


def _files(registry: Registry, dataset: str | Path) -> list[Path]:
    return [dataset] if isinstance(dataset, Path) else [*registry.dataset(dataset).spec.files()]


def _teachers(names: Sequence[str], seeds: Sequence[int]) -> list[Teacher]:
    for name in names:
        if name not in KINDS:
            raise NgbError(f"{name!r} is not a teacher; choose among {', '.join(KINDS)}.")
    return [
        Teacher(name, KINDS[name], seed) for name in dict.fromkeys(names) for seed in dict.fromkeys(seeds)
    ]


def _check(teachers: Sequence[Teacher], candidates: Mapping[str, str], networks: int) -> None:
    if networks < 2:
        raise NgbError("One network does not show the variance between networks; use at least two.")
    for teacher in teachers:
        if teacher.seed < networks:
            raise NgbError(
                f"The teacher's seed {teacher.seed} is among the candidates' (0 … {networks - 1}), so a "
                "network would have to recover itself; choose another seed for the teacher."
            )
        if teacher.kind not in candidates.values():
            raise NgbError(f"No candidate is of the kind of the teacher {teacher.name} ({teacher.kind}).")


def _check_networks(
    registry: Registry, teachers: Sequence[Teacher], seeds: Mapping[str, Sequence[int]], data: Dataset
) -> None:
    """Check that every network exists before the work starts."""
    wanted = [(name, seed) for name, each in seeds.items() for seed in each]
    for name, seed in [*((t.model, t.seed) for t in teachers), *wanted]:
        spec = registry.model(name).spec
        if spec.depends_on is not None:
            spec.depends_on(seed, data.for_network(seed).behaviour("train", spec.step_s))

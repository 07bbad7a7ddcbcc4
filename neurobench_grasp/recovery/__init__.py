"""Model recovery: test whether the benchmark can distinguish hypotheses (protocol section 6).

Units are generated from a known teacher; the candidate of the teacher's kind must explain them best. Reading
order: what drives a teacher's units (`teachers.py`), sessions of such units (`sessions.py`), scores
of the candidates (`candidates.py`), the verdict (`matrix.py`), table and picture (`report.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from neurobench_grasp.contract import Progress, Trials
from neurobench_grasp.data import load_session
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import Registry, load_registry
from neurobench_grasp.recovery.candidates import score_candidate
from neurobench_grasp.recovery.matrix import Candidate, Recovered, compare
from neurobench_grasp.recovery.report import rows, write_report
from neurobench_grasp.recovery.sessions import session_file
from neurobench_grasp.recovery.teachers import KINDS, Teacher
from neurobench_grasp.run.dataset import load_dataset

__all__ = ["KINDS", "TEACHER_SEEDS", "Candidate", "Recovered", "Teacher", "recover", "rows", "write_report"]

TEACHER_SEEDS = (101,)


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
    progress: Progress = lambda text: None,
) -> list[Recovered]:
    """Generate sessions from teachers and score every candidate on them.

    Parameters
    ----------
    teachers : sequence of str
        Keys of :data:`KINDS`.
    networks : int
        Candidates are the networks of seeds 0 … ``networks`` − 1; at least two, to estimate the variance
        between networks.
    teacher_seeds : sequence of int
        One teacher network each; a teacher without networks is used once, with the first as seed of units.
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
    taught = _teachers(registry, teachers, teacher_seeds)
    _check(taught, candidates, networks)
    data = load_dataset(registry, dataset, progress=progress)
    if n_sessions > len(data.sessions):
        raise NgbError(f"{data.id} has {len(data.sessions)} sessions; request at most these.")
    train = data.behaviour("train")
    seeds = {name: range(networks if registry.model(name).spec.controller else 1) for name in candidates}
    _check_networks(registry, taught, seeds, train)
    bases = [load_session(file) for file in _files(registry, dataset)[:n_sessions]]
    found = []
    for teacher in taught:
        spec = registry.model(teacher.model)
        files = [
            session_file(Path(out) / "sessions", teacher, spec, base, train, n_units, progress)
            for base in bases
        ]
        scored = {
            name: Candidate(kind, *score_candidate(name, seeds[name], files, dataset, out, progress))
            for name, kind in candidates.items()
        }
        found.append(compare(teacher, scored))
    return found


def _files(registry: Registry, dataset: str | Path) -> list[Path]:
    return [dataset] if isinstance(dataset, Path) else [*registry.dataset(dataset).spec.files()]


def _teachers(registry: Registry, names: Sequence[str], seeds: Sequence[int]) -> list[Teacher]:
    for name in names:
        if name not in KINDS:
            raise NgbError(f"{name!r} is not a teacher; choose among {', '.join(KINDS)}.")
    return [
        Teacher(name, KINDS[name], seed)
        for name in dict.fromkeys(names)
        for seed in (dict.fromkeys(seeds) if registry.model(name).spec.controller else seeds[:1])
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
    registry: Registry, teachers: Sequence[Teacher], seeds: Mapping[str, Sequence[int]], train: Trials
) -> None:
    """Check that every network exists before the work starts."""
    wanted = [(name, seed) for name, each in seeds.items() for seed in each]
    for name, seed in [*((t.model, t.seed) for t in teachers), *wanted]:
        depends_on = registry.model(name).spec.depends_on
        if depends_on is not None:
            depends_on(seed, train)

"""Sessions with units driven by teachers: the movements of a synthetic session, other neurons.

The units of all teachers are in one session, those of each in a separate area, so that a candidate runs once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.cache import content_key
from neurobench_grasp.contract import Floats, ModelSpec, Progress, Session, Trials
from neurobench_grasp.demo.driven import mixed_responses, with_population
from neurobench_grasp.demo.files import write_synthetic
from neurobench_grasp.demo.neurons import AREAS, generate_spikes
from neurobench_grasp.plugins import CORE, Provided, Registry, code_digest
from neurobench_grasp.recovery.teachers import Teacher
from neurobench_grasp.run.dataset import Dataset

AREA = "M1"
"""Area of the demo whose units the teachers' are like."""
DESCRIPTION = (
    "Synthetic, a self-test: movements and spikes were generated, not recorded. Units of each area follow "
    "the teacher of that name, to test whether a benchmark identifies it; scores say nothing about brains."
)


def session_file(
    folder: Path,
    teachers: Sequence[Teacher],
    registry: Registry,
    base: Session,
    data: Dataset,
    n_units: int,
    progress: Progress,
) -> Path:
    """Return the session file of all teachers' units with a session's movements; write it if missing.

    Parameters
    ----------
    folder : path
    teachers : sequence of Teacher
    registry : Registry
        Where their models are.
    base : Session
        Session with the movements.
    data : Dataset
        Dataset on which the teachers' networks were trained, each on the training trials of its fold.
    n_units : int
        Of each teacher.
    progress : callable

    Returns
    -------
    path
        Named after the movements, in a folder named after everything that the content depends on.
    """
    models = [registry.model(teacher.model) for teacher in teachers]
    trains = [
        data.for_network(teacher.seed).behaviour("train", model.spec.step_s)
        for teacher, model in zip(teachers, models, strict=True)
    ]
    parts = list(zip(teachers, models, trains, strict=True))
    code = [code_digest(CORE), *(code_digest(model.distribution) for model in models)]
    key = content_key(
        {
            "code": code,
            "teachers": [_inputs(*part) for part in parts],
            "base": base.sha256,
            "units": n_units,
        }
    )
    name = f"teachers-{base.id}"
    path = folder / key[:12] / f"{name}.nwb"
    if path.is_file() and None not in code:
        return path
    aligned, drives = align(base), {}
    for teacher, model, train in parts:
        progress(f"teacher {teacher.name}: units for the movements of {base.id}")
        drives[teacher.name] = teacher.drives(model.spec, train, aligned.trials)
    session = taught_session(name, base, aligned, drives, n_units)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_synthetic(path, session, DESCRIPTION)
    return path


def _inputs(teacher: Teacher, model: Provided[ModelSpec], train: Trials) -> list[str | None]:
    """Return what the units of a teacher depend on."""
    depends_on = model.spec.depends_on
    weights = None if depends_on is None else depends_on(teacher.seed, train)
    return [teacher.name, weights, train.sha256]


def taught_session(
    name: str,
    base: Session,
    aligned: AlignedSession,
    drives: Mapping[str, Mapping[str, Floats]],
    n_units: int,
) -> Session:
    """Return a session's movements with units that follow teachers; random numbers follow from the names.

    The units are like those of the demo's M1 except for their drives: saturating rates, a lead, gains that
    vary from trial to trial, spikes on an integer clock. Outside the teachers' trials the drive is 0.

    Parameters
    ----------
    name : str
        Name of the session.
    base : Session
        Like the demo's: joint angles at the centres of bins of 20 ms from time 0.
    aligned : AlignedSession
        The same session.
    drives : mapping of str to mapping of str to ndarray, shape (n_total_steps, n_features)
        Of each teacher, whose units are in an area of that name; at the steps of the aligned trials,
        standardised.
    n_units : int
        Of each teacher.
    """
    area = replace(AREAS[AREA], n_units=n_units)
    responses = {
        teacher: mixed_responses(f"{name}/{teacher}", area, base, aligned, features)
        for teacher, features in drives.items()
    }
    return with_population(base, name, generate_spikes(name, responses))

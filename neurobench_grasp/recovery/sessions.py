"""Sessions with units driven by a teacher: the movements of a synthetic session, other neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.cache import content_key
from neurobench_grasp.contract import Floats, Ints, ModelSpec, Progress, Session, Trials
from neurobench_grasp.data import session_digest
from neurobench_grasp.demo.files import write_synthetic
from neurobench_grasp.demo.movements import STEP
from neurobench_grasp.demo.neurons import AREAS, draw_drives, generate_spikes, respond
from neurobench_grasp.demo.random_stream import Stream
from neurobench_grasp.demo.sessions import as_rates, as_units
from neurobench_grasp.plugins import CORE, Provided, code_digest
from neurobench_grasp.recovery.teachers import Teacher

AREA = "M1"
DESCRIPTION = (
    "Synthetic, a self-test: movements and spikes were generated, not recorded. Units follow {}, "
    "to test whether a benchmark identifies them; scores are no evidence about brains."
)


def session_file(
    folder: Path,
    teacher: Teacher,
    spec: Provided[ModelSpec],
    base: Session,
    train: Trials,
    n_units: int,
    progress: Progress,
) -> Path:
    """Return the session file of a teacher's units with another session's movements; write it if missing.

    Parameters
    ----------
    folder : path
    teacher : Teacher
    spec : Provided of ModelSpec
        Model of the teacher.
    base : Session
        Session with the movements.
    train : Trials
        Training data of the teacher's network.
    n_units : int
    progress : callable

    Returns
    -------
    path
        Named after teacher and movements, in a folder named after everything that the content depends on.
    """
    depends_on = spec.spec.depends_on
    code = [code_digest(CORE), code_digest(spec.distribution)]
    weights = None if depends_on is None else depends_on(teacher.seed, train)
    key = content_key(
        {"code": code, "weights": weights, "base": base.sha256, "train": train.sha256, "units": n_units}
    )
    name = f"{teacher.name}-{base.id}"
    path = folder / key[:12] / f"{name}.nwb"
    if path.is_file() and None not in code:
        return path
    progress(f"teacher {teacher.name}: units for the movements of {base.id}")
    aligned = align(base)
    drives = teacher.drives(spec.spec, train, aligned.trials)
    session = taught_session(name, base, aligned, drives, n_units)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_synthetic(path, session, DESCRIPTION.format(teacher.name))
    return path


def taught_session(
    name: str, base: Session, aligned: AlignedSession, drives: Mapping[str, Floats], n_units: int
) -> Session:
    """Return a session's movements with units that follow a teacher; all random numbers follow from the name.

    The units are like those of the demo's M1 except for their drives: saturating rates, a lead, gains that
    vary from trial to trial, spikes on an integer clock. Outside the teacher's trials the drive is 0.

    Parameters
    ----------
    name : str
        Name of the session.
    base : Session
        Like the demo's: joint angles at the centres of bins of 20 ms from time 0.
    aligned : AlignedSession
        The same session.
    drives : mapping of str to ndarray, shape (n_total_steps, n_features)
        At the steps of the aligned trials, standardised.
    n_units : int
    """
    area = replace(AREAS[AREA], n_units=n_units, drives=dict.fromkeys(drives, 1.0))
    stream = Stream(f"{name}/{AREA}")
    times = base.signals["joint_angles"].times
    bins = _bins(aligned)
    recorded = (bins >= 0) & (bins < len(times))
    drive = np.zeros((len(times), n_units))
    drive[bins[recorded]] = draw_drives(stream, area, drives)[recorded]
    population = generate_spikes(name, {AREA: respond(stream, area, drive, times, base.trials.start)})
    session = replace(
        base,
        id=name,
        sha256="",
        synthetic=True,
        units=as_units(population),
        true_rates=as_rates(population, times),
        notes=(),
    )
    return replace(session, sha256=session_digest(session))


def _bins(aligned: AlignedSession) -> Ints:
    """Return the bin of the session's clock for each step of the aligned trials, shape (n_total_steps,)."""
    trials = aligned.trials
    first = np.rint(aligned.start / STEP).astype(np.int64) - trials.window[:, 0]
    steps = [a + np.arange(n) for a, n in zip(first, np.diff(trials.offsets), strict=True)]
    return np.concatenate(steps)

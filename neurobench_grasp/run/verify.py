"""Checking records: what they say of themselves, and, on request, scoring or training again.

Without being asked to score or to train, nothing is run and nothing but the files is read. Scoring and
training run the plugin that is installed here, never code from a submission.
"""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import neurobench_grasp
from neurobench_grasp.contract import Model, ModelSpec, Progress, ScoreRecord, Trainable, Trials
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.plugins import Provided, load_registry
from neurobench_grasp.records.consistency import named
from neurobench_grasp.records.record import read_record, write_record
from neurobench_grasp.records.submission import (
    BUNDLE,
    CARD,
    RECORDS,
    Filed,
    check_record,
    check_submission,
    checkpoint_name,
)
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.job import Options
from neurobench_grasp.run.record import keep_record
from neurobench_grasp.run.scores import run_protocol
from neurobench_grasp.run.submit import fitted_state
from neurobench_grasp.run.task import Task
from neurobench_grasp.run.train import some_of
from neurobench_grasp.run.workspace import Workspace

Row = Mapping[str, Any]
State = Mapping[str, NDArray[Any]]
SAME = 1e-9
"""Largest difference of a number, relative to it if it is above 1, for the same code on the same machine."""
SHARE_OF_INTERVAL = 0.05
"""Largest difference of a score elsewhere, as a share of half its own 95 % interval. Closed loops amplify the
last bits of floating-point arithmetic: without a processor's vector instructions, scores differ by less than
1e-6. What is left is room for other versions of libraries, and changes no conclusion."""
ELSEWHERE = 0.01
"""The same for scores without an interval, relative to the score (but at least to 0.1)."""
TIMES = ("decoder_latency", "decoder_latency_joint_angles")
"""Metrics that are times of this machine."""
NUMBERS = ("value", "ci", "median", "n_units", "n_conditions", "n_trials", "baseline_value", "ceiling")
TEXTS = (*NUMBERS, "reason", "units", "ci_over")
"""What does not say which row it is."""
TINY_STEPS = 81_920
"""Of training at the tiny profile: enough for the error to fall, about a minute."""
SAME_START = 0.02
"""Relative difference allowed to the error that training began with, according to the network's card."""


@dataclass(frozen=True)
class Verified:
    """What was found out about one record.

    Parameters
    ----------
    path : path
    record : ScoreRecord
    level : str
        ``self-reported``, ``re-scored`` or ``re-trained``: what was done just now.
    how : str
        In words, what was done.
    largest_difference : float, optional
        Of a number of the record and what was found now.
    problems : tuple of str
        One sentence each, which begins with file and field.
    """

    path: Path
    record: ScoreRecord
    level: str
    how: str
    largest_difference: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What was found out about a record, a run folder or a submission.

    Parameters
    ----------
    path : path
    verified : tuple of Verified
    problems : tuple of str
        All of them; none means that everything agrees.
    notes : tuple of str
    """

    path: Path
    verified: tuple[Verified, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def verify(
    path: Path,
    *,
    rescore: bool = False,
    retrain: bool = False,
    write: bool = False,
    dataset: str | Path | None = None,
    layout: str | Path | None = None,
    progress: Progress = lambda text: None,
) -> Report:
    """Check a record, a run folder or a submission.

    Parameters
    ----------
    path : path
        Of a record, or of a folder that holds ``records``.
    rescore : bool
        Make the activations again from the checkpoint, and score them.
    retrain : bool
        Fit the model anew and score it; one whose training takes long is scored from its checkpoint, and
        trained at the tiny profile.
    write : bool
        Store what was done in the record, if nothing was wrong.
    dataset, layout : str or path, optional
        Where the record's dataset is; only a file needs it.
    progress : callable

    Returns
    -------
    Report

    Raises
    ------
    NgbError
        If there is no record, or it cannot be scored here.
    """
    if write and not (rescore or retrain):
        raise NgbError("There is nothing to write without --rescore or --retrain.")
    folder, chosen = _place(path)
    submitted = any((folder / name).exists() for name in (BUNDLE, CARD))  # a run folder has neither
    checks = [check_submission(folder)] if submitted else [check_record(file, folder) for file in chosen]
    problems = [problem for check in checks for problem in check.problems]
    notes = [note for check in checks for note in check.notes]
    records = [filed for check in checks for filed in check.records if filed.path in chosen]
    if problems or not (rescore or retrain):
        verified = [Verified(f.path, f.record, "self-reported", STATIC) for f in records]
        return Report(path, tuple(verified), tuple(problems), (*notes, *_claims(records)))
    with tempfile.TemporaryDirectory(prefix="ngb-verify-") as work:
        workspace = Workspace(load_registry(), Path(work), progress)
        verified = [
            _again(folder, filed, _task(workspace, filed.record, dataset, layout), workspace, retrain=retrain)
            for filed in records
        ]
    problems = [problem for one in verified for problem in one.problems]
    if write:
        for one in verified:
            if not one.problems:
                _store(one)
    return Report(path, tuple(verified), tuple(problems), tuple(notes))


STATIC = (
    "schema, digests and card were checked, and the rows that come from scores of single units were computed "
    "again; nothing was run"
)


def _place(path: Path) -> tuple[Path, Sequence[Path]]:
    """Give the folder of a submission or run, and the records that are meant."""
    if path.is_dir():
        inside = path if path.name == RECORDS and not (path / RECORDS).is_dir() else path / RECORDS
        found = sorted(file for file in inside.glob("*.json"))
        if not found and not (path / BUNDLE).exists():
            raise NgbError(f"There are no records in {inside}; name a record, a run folder or a submission.")
        return inside.parent, found
    if not path.exists():
        raise NgbError(f"There is no file or folder {path}; name a record, a run folder or a submission.")
    if path.name == BUNDLE:
        return _place(path.parent)
    return path.parent.parent if path.parent.name == RECORDS else path.parent, [path]


def _claims(records: Sequence[Filed]) -> Iterator[str]:
    """Say what a record claims about itself and nobody has checked just now."""
    for filed in records:
        told = filed.record.verification or {}
        if told.get("level", "self-reported") != "self-reported":
            option = "--retrain" if told["level"] == "re-trained" else "--rescore"
            yield (
                f"{filed.path.name}: verification claims {told['level']}; not checked here, "
                f"`ngb verify {option}` does."
            )


# --- scoring again --------------------------------------------------------------------------------


def _again(folder: Path, filed: Filed, task: Task, workspace: Workspace, *, retrain: bool) -> Verified:
    """Score, or fit and score, what one record is about."""
    record, name = filed.record, filed.path.name
    if found := tuple(f"{name}: {what}" for what in _other_data(record, task)):
        return Verified(
            filed.path, record, "self-reported", "the data are not those of the record", None, found
        )
    long = retrain and _trains_long(task.candidate.spec, record.seed)
    state = None if retrain and not long else _checkpoint(folder, record)
    if state:
        task = replace(task, candidate=_restoring(task.candidate, state))
    else:
        _check_network(task, record, folder)
    now = _score(task, record, workspace)
    learned = bool(fitted_state(workspace.out, now))
    if not retrain and not state and learned and record.provenance.get("weights") is None:
        raise NgbError(
            f"{filed.path}: the model learns, but there is no checkpoint of seed {record.seed} to score; use "
            "--retrain, which fits it anew."
        )
    other = _others(record, now)
    exact = not other
    problems = list(_compare(record, now, exact=exact))
    how = _origin(state=bool(state), learned=learned, anew=retrain and not long, record=record)
    how += f"; scored again {_where(other)}: {_agreement(record, now, exact=exact)}"
    if long:
        trained, wrong = _train_tiny(task, record, workspace.out, workspace.progress)
        how, problems = f"{how}; {trained}", [*problems, *wrong]
    level = "self-reported" if problems else "re-trained" if retrain else "re-scored"
    told = tuple(f"{name}: {problem}" for problem in problems)
    return Verified(filed.path, record, level, how, _largest(record, now)[0], told)


def _score(task: Task, record: ScoreRecord, workspace: Workspace) -> ScoreRecord:
    """Score one network; nothing is taken from the user's cache of references."""
    started, own = time.monotonic(), workspace.stages()
    protocol = workspace.registry.protocol(str(record.protocol["name"]))
    context = make_context(task, record.seed, own, own, workspace.progress)
    scores = run_protocol(protocol, context, task)
    return keep_record(workspace.out, task, context, protocol.spec, scores, time.monotonic() - started)


def _task(
    workspace: Workspace, record: ScoreRecord, dataset: str | Path | None, layout: str | Path | None
) -> Task:
    """Find a record's model, dataset and decoder here."""
    name = str(record.dataset["id"])
    if dataset is None and name not in {p.spec.name for p in workspace.registry.datasets()}:
        raise NgbError(
            f"The dataset {name} of the record is no registered one; say with --dataset where it is: a file, "
            "or an address such as dandi:000128/sub-x/file.nwb."
        )
    decoder = str(record.protocol.get("settings", {}).get("decoder", "ridge")).split(" ")[0]
    options = Options(
        layout=None if layout is None else str(layout),
        trained_on=record.dataset.get("trained_on"),
        decoder=decoder,
    )
    return workspace.find(record.model, dataset or name, options)


def _other_data(record: ScoreRecord, task: Task) -> Iterator[str]:
    """Name what of the data here is not as in the record."""
    data = task.data
    for field, here in (
        ("sha256", data.sha256),
        ("splits", data.splits.sha256),
        ("trained_on_sha256", data.trained_on_sha256),
    ):
        if record.dataset.get(field) != here:
            yield (
                f"dataset.{field} is {str(record.dataset.get(field))[:12]}, but here it is {str(here)[:12]}; "
                "the scores are of other data, or of data that were edited."
            )


def _checkpoint(folder: Path, record: ScoreRecord) -> State | None:
    """Give what the model had learned: from the submission, or from the run folder's stages."""
    name = checkpoint_name(record)
    if name is not None and (folder / name).exists():
        from neurobench_grasp.controllers.files import read_arrays

        return read_arrays(folder / name)[0]
    return None if (folder / BUNDLE).exists() else fitted_state(folder, record)


def _restoring(candidate: Provided[ModelSpec], state: State) -> Provided[ModelSpec]:
    """Let a model take back what it had learned instead of learning."""

    def build(seed: int) -> Model:
        model = candidate.spec.build(seed)

        def fit(train: Trials, *, seed: int) -> None:
            model.restore(state)

        model.fit = fit  # type: ignore[method-assign]
        return model

    return replace(candidate, spec=replace(candidate.spec, build=build, depends_on=None))


def _check_network(task: Task, record: ScoreRecord, folder: Path) -> None:
    """Make sure that the network found here is the one of the record.

    Raises
    ------
    NgbError
        If it is another one.
    """
    told, spec = record.provenance.get("weights"), task.candidate.spec
    if told is None:
        return
    here = None if spec.depends_on is None else spec.depends_on(record.seed, task.train)
    if here != told:
        raise NgbError(
            f"{folder}: the weights of the record ({str(told)[:12]}…) are neither in the folder nor on this "
            "machine; score again, and submit from the run folder that has them."
        )


def _origin(*, state: bool, learned: bool, anew: bool, record: ScoreRecord) -> str:
    if anew:
        return f"fitted anew from seed {record.seed}" if learned else "built anew; the model learns nothing"
    if state:
        return "the checkpoint was restored"
    if record.provenance.get("weights") is not None:
        return f"the network of digest {str(record.provenance['weights'])[:12]} was found here"
    return "built anew; the model learns nothing"


# --- comparing ------------------------------------------------------------------------------------


def _others(record: ScoreRecord, now: ScoreRecord) -> list[str]:
    """Name what is other than when the record was made; if nothing is, all numbers must be the same."""
    told, here = record.provenance, now.provenance
    words = {"code": "code", "packages": "libraries", "python": "Python", "cpu": "machine"}
    other = [word for field, word in words.items() if told.get(field) != here.get(field)]
    return other + (["linear algebra"] if _architectures(told) != _architectures(here) else [])


def _architectures(provenance: Mapping[str, Any]) -> set[str]:
    """Give the processors that linear algebra was made for; which libraries were loaded says nothing."""
    pools = provenance.get("blas") or ()
    return {
        str(pool["architecture"]) for pool in pools if isinstance(pool, Mapping) and "architecture" in pool
    }


def _where(other: Sequence[str]) -> str:
    return f"with other {', '.join(other)}" if other else "with the same code on the same kind of machine"


def _compare(record: ScoreRecord, now: ScoreRecord, *, exact: bool) -> Iterator[str]:
    """Name what does not agree within the tolerance."""
    if record.protocol != now.protocol:
        yield f"protocol is {dict(record.protocol)}, but here it is {dict(now.protocol)}."
        return
    if len(record.scores) != len(now.scores):
        yield f"scores has {len(record.scores)} rows, but scoring again gives {len(now.scores)}."
        return
    for i, (told, found) in enumerate(zip(record.scores, now.scores, strict=True)):
        labels = [{k: v for k, v in row.items() if k not in TEXTS} for row in (told, found)]
        if labels[0] != labels[1]:
            yield f"{named(i, told)} is {named(i, found)} when it is scored again."
        elif (told["value"] is None) != (found["value"] is None):
            yield f"{named(i, told)}: value is {told['value']}, but scoring again gives {found['value']}."
        elif not _within(told, found, exact=exact):
            yield (
                f"{named(i, told)}: value is {told['value']} {told.get('ci') or ''}, but scoring again gives "
                f"{found['value']} {list(found.get('ci') or ())}."
            )


def _within(told: Row, found: Row, *, exact: bool) -> bool:
    if told["value"] is None or told["metric"] in TIMES:
        return True
    if exact:
        pairs = zip(_numbers(told), _numbers(found), strict=False)
        return all(abs(a - b) <= SAME * max(1.0, abs(a)) for a, b in pairs)
    value, again = float(told["value"]), float(found["value"])
    if told.get("ci"):
        width = (float(told["ci"][1]) - float(told["ci"][0])) / 2
        return abs(value - again) <= SHARE_OF_INTERVAL * width + SAME
    counted = isinstance(told["value"], int) or told["metric"] == "lag"
    return counted or abs(value - again) <= ELSEWHERE * max(abs(value), 0.1)


def _numbers(row: Row) -> list[float]:
    found: list[float] = []
    for name in NUMBERS:
        value = row.get(name)
        found += [v for v in (value if isinstance(value, list | tuple) else [value]) if v is not None]
    return found


def _largest(record: ScoreRecord, now: ScoreRecord) -> tuple[float, str]:
    """Largest difference of a score, and of which row."""
    found = [
        (abs(told["value"] - again["value"]), named(i, told))
        for i, (told, again) in enumerate(zip(record.scores, now.scores, strict=False))
        if told["value"] is not None and again["value"] is not None and told["metric"] not in TIMES
    ]
    return max(found, default=(0.0, ""))


def _agreement(record: ScoreRecord, now: ScoreRecord, *, exact: bool) -> str:
    difference, row = _largest(record, now)
    band = (
        f"{SAME:g}"
        if exact
        else f"{SHARE_OF_INTERVAL:g} of half the 95 % interval (without one {ELSEWHERE:.0%}; counts free)"
    )
    found = f"largest difference {difference:.3g} in {row}" if difference else "no difference"
    return f"{len(record.scores)} rows, {found}; allowed {band}"


# --- training -------------------------------------------------------------------------------------


def _trains_long(spec: ModelSpec, seed: int) -> bool:
    """Whether a model has a training of its own that takes long."""
    return isinstance(spec.build(seed), Trainable) and (spec.card is None or spec.card.steps > 0)


def _train_tiny(
    task: Task, record: ScoreRecord, work: Path, progress: Progress
) -> tuple[str, tuple[str, ...]]:
    """Train at the tiny profile, and give what was seen and what was wrong."""
    spec = task.candidate.spec
    model = spec.build(record.seed, **spec.smoke)
    assert isinstance(model, Trainable)
    try:
        trained = model.train(
            task.train,
            seed=record.seed,
            steps=TINY_STEPS,
            folder=work / f"training-{record.seed}",
            monitor={"train": some_of(task.train)},
            threads=1,
            progress=progress,
        )
    except UnsupportedError as error:
        return f"it cannot be trained at the tiny profile ({error})", ()
    first, last = trained.facts["curve"][0], trained.facts["curve"][-1]
    before, after = float(first["train"]), float(last["train"])
    how = f"trained at the tiny profile only, {int(last['steps']):,} steps: error on training trials from "
    how += f"{before:.1f} to {after:.1f} mm"
    wrong = [] if after < before else ["training at the tiny profile does not lower the error."]
    told = _start_of(record)
    if told is not None and abs(before - told) > SAME_START * told:
        wrong.append(
            f"training begins with an error of {before:.2f} mm, but its network's with {told:.2f} mm."
        )
    elif told is not None:
        how += ", beginning as its network did"
    return how, tuple(wrong)


def _start_of(record: ScoreRecord) -> float | None:
    """Error that the training of the record's network began with; ``None`` if it is not known here."""
    from neurobench_grasp.controllers.checkpoints import trained_networks

    for _, card in trained_networks(record.model):
        if card.sha256 == record.provenance.get("weights") and card.curve and card.curve[0]["steps"] == 0:
            return float(card.curve[0]["train"])
    return None


def _store(one: Verified) -> None:
    """Write what was verified into the record; its digest leaves that out."""
    verification = {
        "level": one.level,
        "how": one.how,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "ngb": neurobench_grasp.__version__,
        "largest_difference": one.largest_difference,
    }
    record = replace(read_record(one.path), verification=verification)
    write_record(one.path.parent, record)

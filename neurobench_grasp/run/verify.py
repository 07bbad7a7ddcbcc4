"""Verification of records: static checks of the files and, on request, scoring or training again.

By default nothing is run and only the files are read. Scoring and
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
from neurobench_grasp.contract import Model, ModelSpec, Progress, ScoreRecord, StoredRow, Trainable, Trials
from neurobench_grasp.data.dandi import is_address
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.plugins import Provided, load_registry
from neurobench_grasp.records.record import (
    RECORDS,
    read_record,
    read_units,
    record_path,
    write_record,
)
from neurobench_grasp.records.submission import (
    BUNDLE,
    CARD,
    RecordFile,
    check_record,
    check_submission,
    checkpoint_name,
)
from neurobench_grasp.records.table import LABELS, RowKey, pair_rows, row_name
from neurobench_grasp.run.executors import Executor, run_tasks
from neurobench_grasp.run.executors.local import IN_PROCESS
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.grid import Task
from neurobench_grasp.run.job import Options
from neurobench_grasp.run.record import keep_record
from neurobench_grasp.run.scores import run_protocol
from neurobench_grasp.run.submit import fitted_state
from neurobench_grasp.run.task import Task as Scored
from neurobench_grasp.run.tasks import VERIFY, code_versions, fetches
from neurobench_grasp.run.train import some_of
from neurobench_grasp.run.workspace import Workspace

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
FREE = ("reason", "units", "ci_over")
"""Fields of a row that are not compared."""
TINY_STEPS = 81_920
"""Of training at the tiny profile: enough for the error to fall, about a minute."""
SAME_START = 0.02
"""Relative difference allowed to the error that training began with, according to the network's card."""


@dataclass(frozen=True)
class Verified:
    """Result for one record.

    Parameters
    ----------
    path : path
    record : ScoreRecord
    level : str
        ``self-reported``, ``re-scored`` or ``re-trained``: what was done just now.
    how : str
        What was done, as text.
    largest_difference : float, optional
        Between a number of the record and the one found now.
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
    """Result for a record, a run folder or a submission.

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
    out: Path | None = None,
    executor: Executor = IN_PROCESS,
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
        Fit the model again and score it; one whose training takes long is scored from its checkpoint, and
        trained at the tiny profile.
    write : bool
        Store what was done in the record, if nothing was wrong.
    dataset, layout : str or path, optional
        Where the record's dataset is; only a file needs it.
    out : path, optional
        Run folder for the tasks of scoring again, which the executor must see. Default: a temporary one.
    executor : Executor
        Scores again, network by network.
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
    problems += [problem for check in checks for filed in check.records for problem in _built_in(filed)]
    notes = [note for check in checks for note in check.notes]
    records = [filed for check in checks for filed in check.records if filed.path in chosen]
    if problems or not (rescore or retrain):
        verified = [Verified(f.path, f.record, "self-reported", STATIC) for f in records]
        return Report(path, tuple(verified), tuple(problems), (*notes, *_unchecked(records)))
    what = {
        "retrain": retrain,
        "dataset": None if dataset is None else _absolute(dataset),
        "layout": None if layout is None else _absolute(layout),
    }
    with tempfile.TemporaryDirectory(prefix="ngb-verify-") as work:
        workspace = Workspace(load_registry(), out or Path(work), progress)
        verified = _by_tasks(folder, records, what, workspace, executor)
    problems = [problem for one in verified for problem in one.problems]
    if write:
        for one in verified:
            if not one.problems:
                _store(one)
    return Report(path, tuple(verified), tuple(problems), tuple(notes))


def _by_tasks(
    folder: Path,
    records: Sequence[RecordFile],
    what: Mapping[str, Any],
    workspace: Workspace,
    executor: Executor,
) -> list[Verified]:
    """Score records again, those of a network in one task, since they share its activations."""
    groups: dict[tuple[Any, ...], list[RecordFile]] = {}
    for filed in records:
        record = filed.record
        groups.setdefault((record.model, record.seed, record.dataset["id"]), []).append(filed)
    registry = workspace.registry
    names = [str(what["dataset"] or name) for _, _, name in groups]
    registered = {provided.spec.name for provided in registry.datasets()}
    tasks, fetched = fetches(name for name in names if is_address(name) or name in registered)
    for name, ((model, seed, _), group) in zip(names, groups.items(), strict=True):
        files = [str(filed.path.resolve()) for filed in group]
        own = {"model": model, "seed": seed, "path": str(folder.resolve()), "files": files}
        tasks.append(Task(VERIFY, {**own, **what}, (fetched[name],) if name in fetched else ()))
    versions = code_versions([model for model, *_ in groups], [str(f.path) for f in records], registry)
    outcome = run_tasks(tasks, workspace, executor, versions)
    for _, failure in outcome.failures:
        raise failure
    found = {path: one for _, result in outcome.results for path, one in result["verified"].items()}
    return [
        Verified(f.path, f.record, **{**one, "problems": tuple(one["problems"])})
        for f in records
        for one in [found[str(f.path.resolve())]]
    ]


def verify_network(what: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Score the records of one network again, from nothing but their checkpoint; a task of ``ngb verify``."""
    verified: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="ngb-verify-") as work:
        fresh = Workspace(workspace.registry, Path(work), workspace.progress)
        for path in map(Path, what["files"]):
            filed = RecordFile(path, read_record(path))
            task = _task(fresh, filed.record, what["dataset"], what["layout"])
            one = _again(Path(what["path"]), filed, task, fresh, retrain=what["retrain"])
            verified[str(path)] = {
                "level": one.level,
                "how": one.how,
                "largest_difference": one.largest_difference,
                "problems": one.problems,
            }
    return {"verified": verified}


def _absolute(place: str | Path) -> str:
    return str(Path(place).resolve()) if Path(place).exists() else str(place)


def _built_in(filed: RecordFile) -> Iterator[str]:
    """List what a record states of a built-in dataset, and is otherwise."""
    from neurobench_grasp.demo import DEMO_SHA256
    from neurobench_grasp.demo.mixed import MIXED_SETS

    data = filed.record.dataset
    synthetic = {DEMO_SHA256, *(one.sha256 for one in MIXED_SETS.values())}
    if data.get("sha256") in synthetic and not data.get("synthetic"):
        yield f"{filed.path.name}: dataset.synthetic is {data.get('synthetic')}, but the data are synthetic."


BUILT = "built again; the model learns nothing"
STATIC = (
    "schema, digests and card were checked, and the rows that come from scores of single units were computed "
    "again; nothing was run"
)


def _place(path: Path) -> tuple[Path, Sequence[Path]]:
    """Return the folder of a submission or run, and the records that are meant."""
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


def _unchecked(records: Sequence[RecordFile]) -> Iterator[str]:
    """List what was not checked now: rows without scores of units, and levels that records claim."""
    stated = [not RowKey.of_row(row).needs_units for filed in records for row in filed.record.scores]
    if any(stated):
        yield (
            f"{sum(stated)} of {len(stated)} rows cannot be computed from the files alone (single layers, "
            "some references, training trials and the like): pages mark them with a star, and "
            "`ngb verify --rescore` computes them again."
        )
    for filed in records:
        claimed = filed.record.verification or {}
        if claimed.get("level", "self-reported") != "self-reported":
            option = "--retrain" if claimed["level"] == "re-trained" else "--rescore"
            yield (
                f"{filed.path.name}: verification claims {claimed['level']}; not checked here, "
                f"`ngb verify {option}` does."
            )


# --- scoring again --------------------------------------------------------------------------------


def _again(folder: Path, filed: RecordFile, task: Scored, workspace: Workspace, *, retrain: bool) -> Verified:
    """Score, or fit and score, the model and dataset of one record."""
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
    learned = bool(fitted_state(workspace.folder, now))
    if not retrain and not state and learned and record.provenance.get("weights") is None:
        raise NgbError(
            f"{filed.path}: the model learns, but there is no checkpoint of seed {record.seed} to score; use "
            "--retrain, which fits it again."
        )
    other = _others(record, now)
    exact = not other
    problems = [*_compare(record, now, exact=exact), *_compare_data(record, now)]
    problems += _compare_units(filed.path, record, record_path(workspace.folder / RECORDS, now), now)
    how = _origin(state=bool(state), learned=learned, refit=retrain and not long, record=record)
    how += f"; scored again {_where(other)}: {_agreement(record, now, exact=exact)}"
    if long:
        trained, wrong = _train_tiny(task, record, workspace.folder, workspace.progress)
        how, problems = f"{how}; {trained}", [*problems, *wrong]
    level = "self-reported" if problems else "re-trained" if retrain else "re-scored"
    named = tuple(f"{name}: {problem}" for problem in problems)
    return Verified(filed.path, record, level, how, _largest(record, now)[0], named)


def _score(task: Scored, record: ScoreRecord, workspace: Workspace) -> ScoreRecord:
    """Score one network; nothing is taken from the user's cache of references."""
    started, own = time.monotonic(), workspace.stages()
    protocol = workspace.registry.protocol(str(record.protocol["name"]))
    context = make_context(task, record.seed, own, own, workspace.progress)
    scores = run_protocol(protocol, context, task)
    return keep_record(workspace.folder, task, context, protocol.spec, scores, time.monotonic() - started)


def _task(
    workspace: Workspace, record: ScoreRecord, dataset: str | Path | None, layout: str | Path | None
) -> Scored:
    """Find a record's model, dataset and decoder here."""
    name = str(record.dataset["id"])
    if dataset is None and name not in {p.spec.name for p in workspace.registry.datasets()}:
        raise NgbError(
            f"The dataset {name} of the record is not registered; say with --dataset where it is: a file, "
            "or an address such as dandi:000128/sub-x/file.nwb."
        )
    decoder = str(record.protocol.get("settings", {}).get("decoder", "ridge")).split(" ")[0]
    options = Options(
        layout=None if layout is None else str(layout),
        trained_on=record.dataset.get("trained_on"),
        decoder=decoder,
    )
    return workspace.find(record.model, dataset or name, options, record.seed)


def _other_data(record: ScoreRecord, task: Scored) -> Iterator[str]:
    """List what differs between the data here and those of the record."""
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
    """Read the state of the fitted model: from the submission, or from the run folder's stages."""
    name = checkpoint_name(record)
    if name is not None and (folder / name).exists():
        from neurobench_grasp.controllers.files import read_arrays

        return read_arrays(folder / name)[0]
    return None if (folder / BUNDLE).exists() else fitted_state(folder, record)


def _restoring(candidate: Provided[ModelSpec], state: State) -> Provided[ModelSpec]:
    """Replace fitting by restoring a stored state."""

    def build(seed: int) -> Model:
        model = candidate.spec.build(seed)

        def fit(train: Trials, *, seed: int) -> None:
            model.restore(state)

        model.fit = fit  # type: ignore[method-assign]
        return model

    return replace(candidate, spec=replace(candidate.spec, build=build, depends_on=None))


def _check_network(task: Scored, record: ScoreRecord, folder: Path) -> None:
    """Check that the network found here is that of the record.

    Raises
    ------
    NgbError
        If it is a different one.
    """
    recorded, spec = record.provenance.get("weights"), task.candidate.spec
    if recorded is None:
        return
    here = None if spec.depends_on is None else spec.depends_on(record.seed, task.train)
    if here != recorded:
        raise NgbError(
            f"{folder}: the weights of the record ({str(recorded)[:12]}…) are neither in the folder nor on "
            "this machine; score again, and submit from the run folder that has them."
        )


def _origin(*, state: bool, learned: bool, refit: bool, record: ScoreRecord) -> str:
    if refit:
        return f"fitted again from seed {record.seed}" if learned else BUILT
    if state:
        return "the checkpoint was restored"
    if record.provenance.get("weights") is not None:
        return f"the network of digest {str(record.provenance['weights'])[:12]} was found here"
    return BUILT


# --- comparing ------------------------------------------------------------------------------------


def _others(record: ScoreRecord, now: ScoreRecord) -> list[str]:
    """List what has changed since the record was made; if nothing has, all numbers must be the same."""
    recorded, here = record.provenance, now.provenance
    names = {"code": "code", "packages": "libraries", "python": "Python"}
    other = [name for field, name in names.items() if recorded.get(field) != here.get(field)]
    other += ["machine"] if _processor(recorded) != _processor(here) else []
    return other + (["linear algebra"] if _architectures(recorded) != _architectures(here) else [])


def _processor(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of the processor; how many cores a process could use does not matter."""
    cpu = provenance.get("cpu")
    return {k: v for k, v in cpu.items() if k != "usable_cores"} if isinstance(cpu, Mapping) else {}


def _architectures(provenance: Mapping[str, Any]) -> set[str]:
    """Return the architectures of the linear algebra; which libraries were loaded does not matter."""
    pools = provenance.get("blas") or ()
    return {
        str(pool["architecture"]) for pool in pools if isinstance(pool, Mapping) and "architecture" in pool
    }


def _where(other: Sequence[str]) -> str:
    return f"with different {', '.join(other)}" if other else "with the same code on the same kind of machine"


def _compare(record: ScoreRecord, now: ScoreRecord, *, exact: bool) -> Iterator[str]:
    """List what does not agree within the tolerance."""
    if record.protocol != now.protocol:
        yield f"protocol is {dict(record.protocol)}, but here it is {dict(now.protocol)}."
        return
    pairs, extra = pair_rows(record.scores, now.scores)
    for i, (recorded, found) in enumerate(pairs):
        if found is None:
            yield f"{row_name(i, recorded)}: scoring again gives no such row."
        else:
            yield from (f"{row_name(i, recorded)}: {what}" for what in _differences(recorded, found, exact))
    for row in extra:
        yield f"scores: scoring again gives a row that is missing here ({RowKey.of_row(row)})."


def _compare_data(record: ScoreRecord, now: ScoreRecord) -> Iterator[str]:
    """List what the record states of its data, and is otherwise; the file itself may have another name."""
    for field in sorted((record.dataset.keys() | now.dataset.keys()) - {"id"}):
        stated, here = record.dataset.get(field), now.dataset.get(field)
        if stated != here:
            yield f"dataset.{field} is {str(stated)[:80]}, but scoring again gives {str(here)[:80]}."


def _compare_units(path: Path, record: ScoreRecord, path_now: Path, now: ScoreRecord) -> Iterator[str]:
    """List scores of single units that are of other units, sessions or conditions."""
    recorded, found = read_units(path, record), read_units(path_now, now)
    if recorded is None or found is None:
        return
    for labels in sorted(recorded.scores.keys() | found.scores.keys()):
        members = [
            [(part.session, part.units, tuple(part.left_out)) for part in table.scores.get(labels, ())]
            for table in (recorded, found)
        ]
        if members[0] != members[1]:
            what = " ".join(filter(None, labels))
            yield f"scores of single units ({what}) are not of the units and conditions found now."


def _differences(recorded: StoredRow, found: StoredRow, exact: bool) -> Iterator[str]:
    """List the fields of a row that scoring again does not give."""
    for name in sorted((recorded.keys() | found.keys()) - {*LABELS, *NUMBERS, *FREE}):
        if recorded.get(name) != found.get(name):
            yield f"{name} is {recorded.get(name)}, but scoring again gives {found.get(name)}."
    if (recorded["value"] is None) != (found["value"] is None):
        yield f"value is {recorded['value']}, but scoring again gives {found['value']}."
    elif not _within(recorded, found, exact=exact):
        yield (
            f"value is {recorded['value']} {recorded.get('ci') or ''}, but scoring again gives "
            f"{found['value']} {list(found.get('ci') or ())}."
        )


def _within(recorded: StoredRow, found: StoredRow, *, exact: bool) -> bool:
    if recorded["value"] is None or recorded["metric"] in TIMES:
        return True
    if exact:
        return all(_same(recorded.get(name), found.get(name)) for name in NUMBERS)
    value, again = float(recorded["value"]), float(found["value"])
    if recorded.get("ci"):
        width = (float(recorded["ci"][1]) - float(recorded["ci"][0])) / 2
        return abs(value - again) <= SHARE_OF_INTERVAL * width + SAME
    counted = isinstance(recorded["value"], int) or recorded["metric"] == "lag"
    return counted or abs(value - again) <= ELSEWHERE * max(abs(value), 0.1)


def _same(recorded: Any, found: Any) -> bool:
    """Whether two numbers or intervals are the same but for rounding."""
    a, b = (value if isinstance(value, list | tuple) else [value] for value in (recorded, found))
    return len(a) == len(b) and all(
        x == y or (None not in (x, y) and abs(x - y) <= SAME * max(1.0, abs(x)))
        for x, y in zip(a, b, strict=True)
    )


def _largest(record: ScoreRecord, now: ScoreRecord) -> tuple[float, str]:
    """Return the largest difference of a score, and the name of its row."""
    differences = [
        (abs(recorded["value"] - found["value"]), row_name(i, recorded))
        for i, (recorded, found) in enumerate(pair_rows(record.scores, now.scores)[0])
        if found is not None and None not in (recorded["value"], found["value"])
        if recorded["metric"] not in TIMES
    ]
    return max(differences, default=(0.0, ""))


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
    """Whether a model has a separate training, which takes long."""
    return isinstance(spec.build(seed), Trainable) and (spec.card is None or spec.card.steps > 0)


def _train_tiny(
    task: Scored, record: ScoreRecord, work: Path, progress: Progress
) -> tuple[str, tuple[str, ...]]:
    """Train at the tiny profile; return what was done, and the problems."""
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
    recorded = _start_of(record)
    if recorded is not None and abs(before - recorded) > SAME_START * recorded:
        wrong.append(
            f"training begins with an error of {before:.2f} mm, but its network's with {recorded:.2f} mm."
        )
    elif recorded is not None:
        how += ", beginning as its network did"
    return how, tuple(wrong)


def _start_of(record: ScoreRecord) -> float | None:
    """Return the error that the training of the record's network began with; ``None`` if unknown."""
    from neurobench_grasp.controllers.checkpoints import trained_networks

    for _, card in trained_networks(record.model):
        if card.sha256 == record.provenance.get("weights") and card.curve and card.curve[0]["steps"] == 0:
            return float(card.curve[0]["train"])
    return None


def _store(one: Verified) -> None:
    """Write the verification into the record, whose digest leaves it out."""
    verification = {
        "level": one.level,
        "how": one.how,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "ngb": neurobench_grasp.__version__,
        "largest_difference": one.largest_difference,
    }
    record = replace(read_record(one.path), verification=verification)
    write_record(one.path.parent, record)

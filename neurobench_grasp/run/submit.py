"""Making a submission: the records of one model from a run folder, with all that a reviewer needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from neurobench_grasp.atomic import move_folder, new_folder, write_atomically
from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.contract.card import ModelCard
from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import read_plain
from neurobench_grasp.plugins import CORE
from neurobench_grasp.records.record import RECORDS, read_record, units_path
from neurobench_grasp.records.submission import (
    BUNDLE,
    CARD,
    MOST_BYTES,
    RecordFile,
    check_record,
    check_submission,
    checkpoint_name,
    describe,
    folder_name,
    incompatible,
    list_files,
    splits_name,
)
from neurobench_grasp.run.stages import find_stage

MOST_STATE = 20_000_000
"""Largest state of a fitted model in a submission, in bytes."""
State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Submission:
    """A submission that was made.

    Parameters
    ----------
    folder : path
    model : str
    records : tuple of ScoreRecord
    bytes : int
        Of all files.
    notes : tuple of str
        Remarks for the reviewer.
    """

    folder: Path
    model: str
    records: tuple[ScoreRecord, ...]
    bytes: int
    notes: tuple[str, ...]


def make_submission(run: Path, model: str | None, out: Path) -> Submission:
    """Collect the records of one model, its card, splits and checkpoints in a folder named by its content.

    Parameters
    ----------
    run : path
        Run folder.
    model : str, optional
        Needed if the run folder has records of several models.
    out : path
        The folder ``<model>-<digest>`` is made in here.

    Returns
    -------
    Submission

    Raises
    ------
    NgbError
        If something is missing or inconsistent; the message names file and field.
    """
    checked = [check_record(path, run) for path in _paths(run, model)]
    records = [filed.record for c in checked for filed in c.records]
    problems = [*(problem for c in checked for problem in c.problems), *incompatible(records)]
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise NgbError(f"This cannot be submitted. {problems[0]}{more}")
    filed = [one for c in checked for one in c.records]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with new_folder(out / "submission") as work:
            notes = [note for c in checked for note in c.notes] + _write(work, run, filed)
            bundle, _ = describe(list_files(work)[0])
            write_atomically(work / BUNDLE, (json.dumps(bundle, indent=1, sort_keys=True) + "\n").encode())
            place = out / folder_name(bundle)
            move_folder(work, place)  # what is there has the same content, or is damaged
    except OSError as error:
        raise NgbError(
            f"Cannot write the submission to {out} ({error.strerror}); choose another with --out."
        ) from error
    if found := check_submission(place).problems:
        raise NgbError(f"This cannot be submitted: {found[0]}")
    size = sum(path.stat().st_size for path in list_files(place)[0].values())
    return Submission(place, records[0].model, tuple(records), size, tuple(dict.fromkeys(notes)))


def _paths(run: Path, model: str | None) -> Sequence[Path]:
    """Return the files of the model's records."""
    try:
        found = {path: read_record(path).model for path in sorted((run / RECORDS).glob("*.json"))}
    except NgbError as error:
        raise NgbError(f"This cannot be submitted: {error}") from error
    names = sorted(set(found.values()))
    if not names:
        raise NgbError(f"There are no records in {run / RECORDS}; make some with `ngb score`.")
    if model is None and len(names) > 1:
        raise NgbError(f"{run} has records of {', '.join(names)}; choose one with --model.")
    if model is not None and model not in names:
        raise NgbError(f"{run} has no records of {model}, only of {', '.join(names)}.")
    return [path for path, name in found.items() if name == (model or names[0])]


def _write(work: Path, run: Path, records: Sequence[RecordFile]) -> list[str]:
    """Copy the files of the records; return remarks for the reviewer."""
    card = records[0].record.card
    assert card is not None  # the records were checked
    _copy(work / CARD, (json.dumps(ModelCard.from_json(card).to_json(), indent=1) + "\n").encode())
    notes = []
    for path, record in ((filed.path, filed.record) for filed in records):
        _copy(work / RECORDS / path.name, read_plain(path, MOST_BYTES))
        if record.provenance.get("units_sha256") is not None:
            _copy(work / RECORDS / units_path(path).name, read_plain(units_path(path), MOST_BYTES))
        _copy(work / splits_name(record), read_plain(run / splits_name(record), MOST_BYTES))
        if note := _write_checkpoint(work, run, record):
            notes.append(f"seed {record.seed}: {note}")
    return notes


def _copy(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)


def _write_checkpoint(work: Path, run: Path, record: ScoreRecord) -> str:
    """Write the state of the fitted model unless its digest is known; return why it was not written."""
    name = checkpoint_name(record)
    weights = record.provenance.get("weights")
    if name is None or (work / name).exists():
        return ""
    if weights is not None and (shipped := shipped_network(str(weights))) is not None:
        return f"the network is known by its digest: {shipped}"
    state = fitted_state(run, record)
    if state is None:
        return "the run folder has no finished stage `fit` for it, so there is no checkpoint"
    if not state:
        return "the model learned nothing, so there is no checkpoint"
    size = sum(array.nbytes for array in state.values())
    if size > MOST_STATE:
        return f"the checkpoint has {size / 1e6:.0f} MB, more than {MOST_STATE / 1e6:.0f}, and is left out"
    if any(array.dtype.kind not in "biuf" for array in state.values()):
        return "the checkpoint holds values other than numbers and is left out"
    from neurobench_grasp.controllers.files import write_arrays

    write_arrays(work / name, state, {})
    return ""


def fitted_state(run: Path, record: ScoreRecord) -> State | None:
    """Read the state of the fitted model of a record from the run folder's stages.

    Parameters
    ----------
    run : path
    record : ScoreRecord

    Returns
    -------
    mapping of str to ndarray, optional
        Empty if the model learned nothing; ``None`` if it no longer exists.
    """
    code, train = record.provenance.get("code"), record.provenance.get("train_sha256")
    if not isinstance(code, Mapping) or train is None:
        return None
    own = next((value for name, value in code.items() if name != CORE), code.get(CORE))
    wanted = {"model": record.model, "seed": record.seed, "train": train, "code": own, "core": code.get(CORE)}
    return find_stage(run / "stages", "fit", wanted)


def shipped_network(sha256: str) -> str | None:
    """Name of the network in the project's registry that has this digest; ``None`` if there is none."""
    from neurobench_grasp.controllers.checkpoints import CHECKPOINTS, NetworkCard
    from neurobench_grasp.resources import resource

    root = resource(CHECKPOINTS)
    for path in sorted(root.glob("*/*.json")):
        try:
            if NetworkCard.read(path).sha256 == sha256:
                return f"{CHECKPOINTS}/{path.parent.name}/{path.stem}"
        except NgbError:
            continue
    return None


def as_json(made: Submission) -> dict[str, Any]:
    """Return a submission as JSON values."""
    return {
        "folder": str(made.folder),
        "model": made.model,
        "bytes": made.bytes,
        "records": [
            {"seed": r.seed, "dataset": r.dataset["id"], "protocol": r.protocol["name"]} for r in made.records
        ],
        "notes": list(made.notes),
    }

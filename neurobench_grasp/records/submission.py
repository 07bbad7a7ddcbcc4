"""A submission: the records of one model in a folder that lists digests of its content.

``bundle.json`` is a function of the other files: it is computed again on reading, and every difference
names what was changed. Submissions are untrusted: only regular files of known names and moderate size are
read, and nothing in them is run or unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.contract.card import ModelCard
from neurobench_grasp.errors import CorruptFileError, NgbError, UnsafeFileError
from neurobench_grasp.formats import MB, parse_json, read_plain
from neurobench_grasp.records.consistency import contradictions
from neurobench_grasp.records.record import (
    MOST_RECORD,
    MOST_UNITS,
    RECORDS,
    from_json,
    read_units,
    record_path,
    to_json,
    units_path,
)
from neurobench_grasp.records.table import row_name
from neurobench_grasp.records.units import UnitTable

BUNDLE, CARD = "bundle.json", "card.json"
SPLITS, CHECKPOINTS = "splits", "checkpoints"
LIMITS = {
    BUNDLE: 8 * MB,
    CARD: MB // 8,
    rf"{RECORDS}/[a-z0-9_.-]+\.json": MOST_RECORD,
    rf"{RECORDS}/[a-z0-9_.-]+\.units\.npz": MOST_UNITS,
    rf"{SPLITS}/[0-9a-f]{{16}}\.json": 16 * MB,
    rf"{CHECKPOINTS}/seed[0-9]+-[0-9a-f]{{12}}\.safetensors": 20 * MB,
}
"""Names of files that a submission may hold (regular expressions), and their sizes at most."""
MOST_FILES, MOST_BYTES = 2000, 256 * MB


@dataclass(frozen=True)
class RecordFile:
    """A record and the path of its file.

    Parameters
    ----------
    path : path
    record : ScoreRecord
    """

    path: Path
    record: ScoreRecord


@dataclass(frozen=True)
class Checked:
    """Result of checking a record or a folder.

    Parameters
    ----------
    records : tuple of RecordFile
        Those that follow the schema.
    problems : tuple of str
        One sentence each, which begins with file and field.
    notes : tuple of str
        Remarks for the reviewer.
    """

    records: tuple[RecordFile, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def canonical(value: Any) -> bytes:
    """Return the JSON text that digests are computed from: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(value: Any) -> str:
    """Digest of a JSON value."""
    return hashlib.sha256(canonical(value)).hexdigest()


def record_digest(data: Mapping[str, Any]) -> str:
    """Digest of a record as JSON values, without ``verification``."""
    return digest({name: value for name, value in data.items() if name != "verification"})


# --- reading --------------------------------------------------------------------------------------


def list_files(folder: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """List the files of a submission.

    Parameters
    ----------
    folder : path

    Returns
    -------
    files : dict
        Name within the folder → path; regular files of known names and sizes.
    problems : tuple of str
        One sentence for each other entry of the folder.

    Raises
    ------
    UnsafeFileError
        If there are far too many files, or they are far too large.
    """
    files: dict[str, Path] = {}
    problems: list[str] = []
    total = 0
    for count, (name, entry) in enumerate(_walk(folder)):
        why = entry if isinstance(entry, str) else _refused(name, entry)
        if why:
            problems.append(f"{name}: {why}")
        elif isinstance(entry, os.DirEntry):
            total += entry.stat(follow_symlinks=False).st_size
            files[name] = Path(entry.path)
        if count >= MOST_FILES or total > MOST_BYTES:
            raise UnsafeFileError(
                f"{folder} is not a submission: it has more than {MOST_FILES} files or {MOST_BYTES // MB} MB."
            )
    return files, tuple(problems)


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str] | str]]:
    """Yield all entries of a folder, or why it cannot be listed; links are never followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield prefix or ".", f"the folder cannot be read ({error.strerror})."
        return
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False) and name in (RECORDS, SPLITS, CHECKPOINTS):
            yield from _walk(Path(entry.path), f"{name}/")
        else:
            yield name, entry


def _refused(name: str, entry: os.DirEntry[str]) -> str:
    """Why a file is not read; empty if it may be."""
    found = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        kind = "link" if stat.S_ISLNK(found.st_mode) else "folder or device"
        return f"a submission holds plain files only, and this is a {kind}; remove it."
    limit = next((size for pattern, size in LIMITS.items() if re.fullmatch(pattern, name)), None)
    if limit is None:
        return "this file is not part of a submission; remove it."
    if found.st_size > limit:
        return f"it has {found.st_size} bytes, and at most {limit} are read."
    return ""


def read_json(path: Path) -> Any:
    """Read a JSON file of a submission; duplicate fields are refused.

    Raises
    ------
    NgbError
        If it is not a regular file, or not JSON.
    """
    try:
        return parse_json(read_plain(path, MOST_BYTES))
    except ValueError as error:
        raise CorruptFileError(f"it is not valid JSON ({error}).") from error


# --- describing -----------------------------------------------------------------------------------


def describe(files: Mapping[str, Path]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Compute the content of ``bundle.json`` from the other files of a submission.

    Parameters
    ----------
    files : mapping of str to path
        As of :func:`list_files`.

    Returns
    -------
    dict
        Digests of each field of the card and of each record (``verification`` left out), of each row of
        scores, of each other file, and one over all of these.
    problems : tuple of str
        What could not be read.
    """
    problems: list[str] = []
    models: set[str] = set()
    body: dict[str, Any] = {"schema": 1, "card": {}, "records": {}, "files": {}}
    for name, path in sorted(files.items()):
        if name == BUNDLE:
            continue
        try:
            if name == CARD:
                body["card"] = _fields(read_json(path))
            elif name.startswith(f"{RECORDS}/") and name.endswith(".json"):
                data = read_json(path)
                body["records"][name] = _of_record(data)
                models.add(str(data.get("model")))
            else:
                raw = read_plain(path, MOST_BYTES)
                body["files"][name] = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        except NgbError as error:
            problems.append(f"{name}: {error}")
    body["models"] = sorted(models)
    return body | {"digest": digest(body)}, tuple(problems)


def _of_record(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise CorruptFileError("it is not a record.")
    data = {name: value for name, value in data.items() if name != "verification"}
    scores = data.get("scores")
    return {
        "digest": record_digest(data),
        "fields": _fields({name: value for name, value in data.items() if name != "scores"}),
        "scores": [digest(row)[:12] for row in scores] if isinstance(scores, list) else None,
    }


def _fields(data: Any) -> dict[str, str]:
    if not isinstance(data, dict):
        raise CorruptFileError("it must be a JSON object with named fields.")
    return {name: digest(value)[:16] for name, value in data.items()}


def folder_name(bundle: Mapping[str, Any]) -> str:
    """Name of a submission's folder: its model and its digest."""
    models = re.sub(r"[^a-z0-9_.-]", "_", "-".join(map(str, bundle["models"])))[:100]
    return f"{models}-{str(bundle['digest'])[:12]}"


# --- checking -------------------------------------------------------------------------------------


def check_submission(folder: Path) -> Checked:
    """Check a submission without running anything: digests, schema, card, splits, arithmetic.

    Parameters
    ----------
    folder : path
        With ``bundle.json``.
    """
    files, problems = list_files(folder)
    if problems:  # unexpected files are not opened
        return Checked((), problems)
    made, unread = describe(files)
    problems = (*unread, *_compare_bundle(folder, files, made))
    card, card_problems = _read_card(files)
    records: list[RecordFile] = []
    notes: list[str] = []
    for name in made["records"]:
        checked = check_record(files[name], folder, name=name)
        records += checked.records
        problems += checked.problems
        notes += checked.notes
        problems += tuple(
            f"{name}: card is not that of {CARD}; both are written by `ngb submit`."
            for filed in checked.records
            if card is not None and filed.record.card != card.to_json()
        )
    if not made["records"] and not unread:
        problems += (f"{RECORDS}: there are no records in it; make the submission again with `ngb submit`.",)
    problems += (*card_problems, *incompatible([filed.record for filed in records]))
    if not unread and len(records) == len(made["records"]):  # else files may belong to the others
        problems += tuple(_left_over(files, records))
    return Checked(tuple(records), tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(notes)))


def _compare_bundle(folder: Path, files: Mapping[str, Path], made: Mapping[str, Any]) -> Iterator[str]:
    """List what is not as ``bundle.json`` says."""
    if BUNDLE not in files:
        yield f"{BUNDLE}: it is missing; make the submission again with `ngb submit`."
        return
    try:
        claimed = read_json(files[BUNDLE])
        if not isinstance(claimed, dict):
            raise CorruptFileError("it must be a JSON object.")
    except CorruptFileError as error:
        yield f"{BUNDLE}: {error}"
        return
    for name in sorted(set(claimed) | set(made) - {"digest"}):
        yield from _different(name, claimed.get(name), made.get(name), files)
    body = {name: value for name, value in claimed.items() if name != "digest"}
    if claimed.get("digest") != digest(body):
        yield f"{BUNDLE}: digest is not that of its content, so it was edited; submit again."
    if folder.resolve().name != folder_name(made):
        yield (
            f"{folder.resolve().name}: the folder of this content is called {folder_name(made)}; "
            "make the submission again with `ngb submit`."
        )


def _different(name: str, claimed: Any, made: Any, files: Mapping[str, Path]) -> Iterator[str]:
    """List the differences between ``bundle.json`` and the files."""
    if claimed == made or name == "digest":
        return
    if name == "card" and isinstance(claimed, dict):
        for field in sorted(set(claimed) | set(made)):
            if claimed.get(field) != made.get(field):
                yield f"{CARD}: {field} {_change(field in claimed, field in made)}"
    elif name == "records" and isinstance(claimed, dict):
        for file in sorted(set(claimed) | set(made)):
            yield from _different_record(file, claimed.get(file), made.get(file), files)
    elif name == "files" and isinstance(claimed, dict):
        for file in sorted(set(claimed) | set(made)):
            if claimed.get(file) != made.get(file):
                yield f"{file}: the file {_change(file in claimed, file in made)}"
    else:
        yield f"{BUNDLE}: {name} {_change(claimed is not None, made is not None)}"


def _different_record(file: str, claimed: Any, made: Any, files: Mapping[str, Path]) -> Iterator[str]:
    if claimed == made:
        return
    if not isinstance(claimed, dict) or not isinstance(made, dict):
        yield f"{file}: the file {_change(claimed is not None, made is not None)}"
        return
    changed = [*_different_fields(file, claimed, made), *_different_rows(file, claimed, made, files)]
    yield from changed
    for name in sorted(set(claimed) | set(made) - {"fields", "scores"}) if not changed else ():
        if claimed.get(name) != made.get(name):
            yield f"{BUNDLE}: {name} of {file} is not the record's; submit again."


def _different_fields(file: str, claimed: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[str]:
    fields, now = claimed.get("fields"), made["fields"]
    fields = fields if isinstance(fields, dict) else {}
    for field in sorted(set(fields) | set(now)):
        if fields.get(field) != now.get(field):
            yield f"{file}: {field} {_change(field in fields, field in now)}"


def _different_rows(
    file: str, claimed: Mapping[str, Any], made: Mapping[str, Any], files: Mapping[str, Path]
) -> Iterator[str]:
    rows, now = claimed.get("scores"), made["scores"]
    if not isinstance(rows, list) or not isinstance(now, list) or len(rows) != len(now):
        if rows != now:
            yield f"{file}: scores {_change(rows is not None, now is not None)}"
        return
    changed = [i for i, (a, b) in enumerate(zip(rows, now, strict=True)) if a != b]
    content = read_json(files[file])["scores"] if changed else []
    for i in changed:
        row = content[i] if isinstance(content[i], dict) else {}
        yield f"{file}: {row_name(i, row)} {_change(True, True)}"


def _change(was: bool, is_now: bool) -> str:
    if was and is_now:
        return f"is not as {BUNDLE} says; take back the change, or score and submit again."
    if is_now:
        return f"is not in {BUNDLE}; remove it, or submit again."
    return f"is in {BUNDLE} but missing; put it back, or submit again."


def _read_card(files: Mapping[str, Path]) -> tuple[ModelCard | None, tuple[str, ...]]:
    if CARD not in files:
        return None, (f"{CARD}: it is missing; make the submission again with `ngb submit`.",)
    try:
        return ModelCard.from_json(read_json(files[CARD])), ()
    except NgbError as error:
        return None, (f"{CARD}: {error}",)


def _left_over(files: Mapping[str, Path], records: list[RecordFile]) -> Iterator[str]:
    """List files that belong to no record."""
    wanted = {BUNDLE, CARD}
    for filed in records:
        name, record = filed.path.name, filed.record
        wanted |= {f"{RECORDS}/{name}", splits_name(record), checkpoint_name(record) or CARD}
        if record.provenance.get("units_sha256") is not None:
            wanted.add(f"{RECORDS}/{units_path(filed.path).name}")
    for name in sorted(set(files) - wanted):
        if not (name.startswith(f"{RECORDS}/") and name.endswith(".json")):
            yield f"{name}: it belongs to no record; remove it and submit again."


def splits_name(record: ScoreRecord) -> str:
    """Name of the file that holds the splits of a record."""
    return f"{SPLITS}/{record.dataset['splits'][:16]}.json"


def checkpoint_name(record: ScoreRecord) -> str | None:
    """Name of the file with the state of the fitted model; ``None`` if the record does not identify it."""
    train = str(record.provenance.get("train_sha256"))
    known = re.fullmatch("[0-9a-f]{64}", train)
    return f"{CHECKPOINTS}/seed{record.seed}-{train[:12]}.safetensors" if known else None


def incompatible(records: list[ScoreRecord]) -> Iterator[str]:
    """List why records cannot be in one submission: it has one model, one card, one version of the code."""
    for what, values in (
        ("model", {r.model for r in records}),
        ("card", {canonical(dict(r.card)) for r in records if r.card is not None}),
        ("provenance.code", {canonical(r.provenance.get("code")) for r in records}),
    ):
        if len(values) > 1:
            yield f"{RECORDS}: {what} is not the same in all records; score them all with one version."


def check_record(path: Path, folder: Path, *, name: str = "") -> Checked:
    """Check one record without running anything.

    Parameters
    ----------
    path : path
        Of the record.
    folder : path
        Submission or run folder, which holds the splits.
    name : str
        Name of the file in messages.
    """
    name = name or str(path)
    try:
        data = read_json(path)
        record = from_json(data, where="it")
        to_json(record)
        problems = list(_of_fields(path, record))
        problems += _of_splits(folder, record)
        problems += _of_units(path, record)
    except NgbError as error:
        return Checked((), (f"{name}: {error}",))
    return Checked(
        (RecordFile(path, record),),
        tuple(f"{name}: {problem}" for problem in problems),
        tuple(f"{name}: {note}" for note in _notes(record)),
    )


def _of_fields(path: Path, record: ScoreRecord) -> Iterator[str]:
    if record_path(path.parent, record).name != path.name:
        yield (
            "the file's name does not fit its model, seed, dataset and protocol, so one of these was edited, "
            f"or the file was renamed; it should be {record_path(path.parent, record).name}."
        )
    if record.card is None:
        yield "card: it is missing; give the plugin's ModelSpec a card and score again."
    else:
        try:
            ModelCard.from_json(record.card)
        except NgbError as error:
            yield f"card: {error}"


def _of_splits(folder: Path, record: ScoreRecord) -> Iterator[str]:
    try:
        raw = read_plain(folder / splits_name(record), 16 * MB)
    except NgbError as error:
        yield f"dataset.splits: {error}"
        return
    if hashlib.sha256(raw).hexdigest() != record.dataset["splits"]:
        yield f"dataset.splits: {splits_name(record)} is not the file of this digest; score again."
        return
    try:
        splits = parse_json(raw)
    except ValueError as error:
        yield f"dataset.splits: {splits_name(record)} is not valid JSON ({error}); score again."
        return
    held_out = splits.get("held_out") if isinstance(splits, dict) else None
    if record.dataset.get("held_out_conditions", held_out) != held_out:
        yield f"dataset.held_out_conditions: they are not those of {splits_name(record)}; score again."


def _of_units(path: Path, record: ScoreRecord) -> Iterator[str]:
    beside = units_path(path)
    try:
        units = read_units(path, record)
    except NgbError as error:
        yield f"provenance.units_sha256: {error}"
        return
    try:
        yield from contradictions(record, units or UnitTable({}))
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        yield f"scores: they cannot be compared with {beside.name} ({error}); score again."


def _notes(record: ScoreRecord) -> Iterator[str]:
    """List what a reviewer should know about how a record was made."""
    code = record.provenance.get("code")
    git = record.provenance.get("git")
    if isinstance(code, Mapping):
        for name in (name for name, known in code.items() if known is None):
            yield f"provenance.code: the code of {name} could not be identified when it was scored."
    if isinstance(git, Mapping) and git.get("dirty"):
        yield "provenance.git: the code had changes that were not committed when it was scored."

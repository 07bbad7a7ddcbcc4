"""Score records as JSON files, one per (model, seed, dataset, protocol), that follow a published schema."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.errors import CorruptFileError, NgbError
from neurobench_grasp.formats import MB, parse_json, read_plain
from neurobench_grasp.records.archive import Archive
from neurobench_grasp.records.units import Labels, UnitTable

if TYPE_CHECKING:
    import jsonschema_rs

RECORDS = "records"
"""Folder of records in a run folder and in a submission."""
MOST_RECORD, MOST_UNITS = 8 * MB, 32 * MB
"""Bytes of a record and of the scores of single units beside it, at most."""


@dataclass(frozen=True)
class Scored:
    """A record with the scores of single units stored beside it.

    Parameters
    ----------
    record : ScoreRecord
    units : UnitTable
        Empty if there are none.
    problem : str
        Why they could not be read, as a sentence; empty if they could.
    path : path, optional
        File of the record.
    """

    record: ScoreRecord
    units: UnitTable
    problem: str = ""
    path: Path | None = None


@functools.cache
def record_schema() -> Mapping[str, Any]:
    """JSON Schema (draft 2020-12) of a score record."""
    text = (files("neurobench_grasp.records") / "record.schema.json").read_text(encoding="utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def to_json(record: ScoreRecord) -> dict[str, Any]:
    """Turn a record into plain JSON values and check it.

    A score that is not a finite number becomes ``null`` with a reason.

    Raises
    ------
    NgbError
        If the record does not follow the schema; the message says where.
    """
    data: dict[str, Any] = {
        "schema": record.schema,
        "model": record.model,
        "seed": record.seed,
        "dataset": record.dataset,
        "protocol": record.protocol,
        "scores": [_score(row) for row in record.scores],
        "dropped": record.dropped,
        "provenance": record.provenance,
    }
    beside = {"card": record.card, "verification": record.verification}
    data |= {name: value for name, value in beside.items() if value is not None}
    where = f"The record of {record.model!r}"
    try:
        data = json.loads(json.dumps(data, default=_plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise NgbError(f"{where} cannot be written as JSON: {error}.") from error
    _validate(data, where)
    return data


def from_json(data: Any, where: str = "The record") -> ScoreRecord:
    """Check JSON values and turn them into a record; the inverse of :func:`to_json`.

    Parameters
    ----------
    data : dict
    where : str
        Name in error messages.

    Raises
    ------
    NgbError
        If the data do not follow the schema; the message says where.
    """
    _validate(data, where)
    return ScoreRecord(**data)


def record_path(folder: str | Path, record: ScoreRecord) -> Path:
    """Path of a record in a folder: its name has model, seed, dataset and protocol."""
    dataset, protocol = record.dataset, record.protocol
    scored = [record.model, record.seed, dict(dataset), dict(protocol)]
    digest = hashlib.sha256(json.dumps(scored, sort_keys=True, default=_plain).encode()).hexdigest()[:8]
    parts = (
        record.model,
        f"seed{record.seed}",
        str(dataset["id"]),
        f"{protocol['name']}-v{protocol['version']}",
        digest,
    )
    safe = (re.sub(r"[^a-z0-9_.-]+", "_", part.lower()).strip(".-")[:60] for part in parts)
    return Path(folder) / ("-".join(safe) + ".json")


def units_path(record: Path) -> Path:
    """Path of the scores of single units that belong to a record."""
    return record.with_suffix(".units.npz")


def pack_units(units: Mapping[str, NDArray[Any]]) -> bytes:
    """Pack scores of single units into the bytes of a reproducible file; empty if there are none."""
    if not units:
        return b""
    raw = io.BytesIO()
    np.savez_compressed(raw, **units)  # type: ignore[arg-type]
    return raw.getvalue()


def write_record(folder: str | Path, record: ScoreRecord, units: bytes = b"") -> Path:
    """Write a record into a folder atomically, and the scores of single units beside it.

    Scoring again with the same model, seed, dataset and protocol replaces the record.

    Parameters
    ----------
    folder : path
    record : ScoreRecord
    units : bytes
        Result of :func:`pack_units`; the record's provenance holds its digest as ``units_sha256``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    NgbError
        If the record does not follow the schema or the folder cannot be written to.
    """
    path, advice = record_path(folder, record), "choose another folder with --out"
    text = _text(to_json(record))
    if units:
        write_atomically(units_path(path), units, what="the scores of single units", advice=advice)
    write_atomically(path, text.encode(), what="the record", advice=advice)
    return path


def read_units(
    path: Path, record: ScoreRecord, wanted: Callable[[Labels], bool] = lambda labels: True
) -> UnitTable | None:
    """Read the scores of single units that belong to a record; ``None`` if none were kept.

    Parameters
    ----------
    path : path
        Of the record.
    record : ScoreRecord
    wanted : callable
        Selects those to read: each record has many.

    Raises
    ------
    CorruptFileError
        If they are missing, or not those that the record was made with.
    """
    digest = record.provenance.get("units_sha256")
    if digest is None:
        return None
    beside = units_path(path)
    raw = read_plain(beside, MOST_UNITS)
    if hashlib.sha256(raw).hexdigest() != digest:
        raise CorruptFileError(f"{beside} is not what its record was made with; score again.")
    try:
        return UnitTable.from_arrays(Archive(raw), wanted)
    except Exception as error:  # a broken archive fails in many ways
        reason = f" ({error})" if isinstance(error, ValueError) else ""
        raise CorruptFileError(
            f"{beside} does not hold scores of single units{reason}; score again."
        ) from error


def read_scored(
    folders: Iterable[str | Path], wanted: Callable[[Labels], bool]
) -> tuple[tuple[Scored, ...], tuple[str, ...]]:
    """Read every record of some folders with the scores of single units beside it.

    A record whose scores of single units are missing or broken is kept without them.

    Parameters
    ----------
    folders : iterable of path
        As for :func:`read_records`.
    wanted : callable
        Selects the scores of single units to read.

    Returns
    -------
    scored : tuple of Scored
    problems : tuple of str
        One sentence for each file or folder that could not be read.
    """
    found, problems = _read_folders(folders)
    scored = []
    for path, record in found:
        try:
            scored.append(Scored(record, read_units(path, record, wanted) or UnitTable({}), path=path))
        except NgbError as error:  # damaged, a link, too large
            scored.append(Scored(record, UnitTable({}), str(error), path))
            problems.append(str(error))
    return tuple(scored), tuple(problems)


def read_records(folders: Iterable[str | Path]) -> tuple[tuple[ScoreRecord, ...], tuple[str, ...]]:
    """Read every record of some folders; broken files are reported and skipped.

    Parameters
    ----------
    folders : iterable of path
        Run folders, submissions, folders of records, or folders of such folders.

    Returns
    -------
    records : tuple of ScoreRecord
    problems : tuple of str
        One sentence for each file or folder that could not be read or has no records.
    """
    found, problems = _read_folders(folders)
    return tuple(record for _, record in found), tuple(problems)


def _read_folders(folders: Iterable[str | Path]) -> tuple[list[tuple[Path, ScoreRecord]], list[str]]:
    found: list[tuple[Path, ScoreRecord]] = []
    problems: list[str] = []
    for folder in map(Path, folders):
        paths, skipped = _find_records(folder)
        problems += skipped
        for path in paths:
            try:
                found.append((path, read_record(path)))
            except NgbError as error:
                problems.append(str(error))
    return found, problems


def _find_records(folder: Path) -> tuple[list[Path], list[str]]:
    """List the files of records in a run folder, a submission, or a folder of records or of such folders.

    Returns
    -------
    paths : list of path
    skipped : list of str
        One sentence for what cannot be read, and for each folder in which there are none.
    """
    if (folder / RECORDS).is_dir():
        folder = folder / RECORDS
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return [], [f"there is no folder {folder}"]
    except NotADirectoryError:
        return [], [f"{folder} is a file; name its folder"]
    except OSError as error:
        return [], [f"the folder {folder} cannot be read ({error.strerror})"]
    paths = [path for path in entries if path.suffix == ".json"]
    inside = [path for path in entries if path.is_dir()] if folder.name != RECORDS else []
    skipped: list[str] = []
    for run in inside:
        if (run / RECORDS).is_dir():
            more, problems = _find_records(run)
            paths, skipped = [*paths, *more], [*skipped, *problems]
        else:
            skipped.append(f"{run} has no folder {RECORDS}")
    if not paths and not skipped and folder.name != RECORDS:  # a run that has none yet is no mistake
        skipped = [f"there are no records in {folder}"]
    return paths, skipped


def read_record(path: str | Path) -> ScoreRecord:
    """Read one record.

    Raises
    ------
    NgbError
        If the file cannot be read or is not a record.
    """
    try:
        data = parse_json(read_plain(Path(path), MOST_RECORD))
    except ValueError as error:
        raise CorruptFileError(f"{path} is not valid JSON ({error}); remove it or score again.") from error
    return from_json(data, where=str(path))


def _text(data: Mapping[str, Any]) -> str:
    """Format a record with one line for each field and each row, so that differences are easy to see."""

    def compact(value: Any) -> str:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))

    def rows(values: Iterable[Any]) -> str:
        return "[\n" + ",\n".join(f"  {compact(value)}" for value in values) + "\n ]"

    fields = (
        f" {compact(name)}: {rows(value) if isinstance(value, list) and value else compact(value)}"
        for name, value in data.items()
    )
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _score(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with ``null`` for what is not finite, and a reason if that is its value."""
    clean = {name: value if _finite(value) else None for name, value in row.items()}
    if not _finite(row.get("value")):
        clean.setdefault("reason", f"the computation gave {row['value']}")
    return clean


def _finite(value: Any) -> bool:
    if isinstance(value, np.ndarray | list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float | np.floating) or math.isfinite(value)


def _plain(value: Any) -> Any:
    """JSON value of types that ``json`` does not support."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return value.name  # never a home folder
    raise TypeError(f"{type(value).__name__} is not a JSON value")


@functools.cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(dict(record_schema()))


def _validate(data: Any, where: str) -> None:
    try:
        errors = list(_validator().iter_errors(data))
    except ValueError as error:  # whole numbers of hundreds of digits, a mapping with odd keys
        raise NgbError(f"{where} is not JSON ({error}).") from error
    if errors:
        first = min(errors, key=lambda e: list(map(str, e.instance_path)))
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first.instance_path)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        message = first.message if len(first.message) < 200 else f"{first.message[:200]}…"
        raise NgbError(f"{where} does not follow the record schema at ${place}: {message}{more}.")

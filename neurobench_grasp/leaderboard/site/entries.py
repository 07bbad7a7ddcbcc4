"""Records of a site: of several that compete for one place the newest, sorted by what was scored."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.leaderboard.contamination import contamination
from neurobench_grasp.leaderboard.site.glossary import LEVELS
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT, identity
from neurobench_grasp.records.record import Scored, read_scored, record_path
from neurobench_grasp.records.units import Labels

LINEAR = "linear_kinematic"
ENCODING = (
    (METRIC, SPLIT),
    (METRIC, "test"),
    ("condition_averaged_ev", SPLIT),
    ("condition_averaged_ev", "test"),
)
HAND = (
    ("tracking_error", SPLIT), ("tracking_error", "test"), ("tracking_error_tips", SPLIT),
    ("joint_error", SPLIT), ("brain_control_error", SPLIT), ("brain_control_error_joint_angles", SPLIT),
)  # fmt: skip
LARGEST = 1e9
"""Bound on scores and errors; larger numbers are refused as hostile."""


@dataclass(frozen=True)
class Entry:
    """One record of the site.

    Parameters
    ----------
    scored : Scored
    raw : bytes
        Content of its file.
    file : str
        Its name on the site.
    folder : path
        Where it was read from; never shown.
    """

    scored: Scored
    raw: bytes
    file: str
    folder: Path

    @property
    def record(self) -> ScoreRecord:
        """The record itself."""
        return self.scored.record

    @property
    def date(self) -> str:
        """When it was made, as it says."""
        return str(self.record.provenance.get("date", ""))

    @property
    def level(self) -> str:
        """How it was verified."""
        level = (self.record.verification or {}).get("level")
        return level if level in LEVELS else next(iter(LEVELS))

    @property
    def contaminated(self) -> bool:
        """True if the model learned from the scored dataset beyond its training trials, as its card says."""
        return bool(contamination(self.record))


def wanted(labels: Labels) -> bool:
    """Select the scores of single units that a site needs."""
    if labels.reference:  # joined over folds, as the model's own scores are
        return (labels.metric, labels.split) == (METRIC, SPLIT)
    return (labels.metric, labels.split) in (*ENCODING, *HAND)


def read_entries(folders: Iterable[str | Path]) -> tuple[list[Entry], list[str]]:
    """Read the records of some folders; the order of folders and files does not matter.

    Parameters
    ----------
    folders : iterable of path
        As for :func:`~neurobench_grasp.records.read_records`.

    Returns
    -------
    entries : list of Entry
        Of several records of one model and seed, scored alike, the newest.
    problems : list of str
        One sentence for each file or folder that could not be read.
    """
    scored, problems = read_scored(folders, wanted)
    found, refused = [], list(problems)
    for one in scored:
        if one.path is None or not _is_sane(one.record):
            refused.append(f"{one.path} holds numbers too large for scores; left out")
        else:
            found.append((one, one.path.read_bytes()))
    newest: dict[str, tuple[Scored, bytes]] = {}
    for one, raw in sorted(found, key=lambda pair: (_date(pair[0]), hashlib.sha256(pair[1]).digest())):
        newest[_what(one.record)] = (one, raw)
    return list(_named(newest[key] for key in sorted(newest))), refused


def _what(record: ScoreRecord) -> str:
    """Key of the place that records compete for."""
    protocol = record.protocol
    parts = [
        record.model,
        record.seed,
        identity(record),
        protocol["name"],
        protocol["version"],
        protocol.get("settings", {}),
    ]
    return json.dumps(parts, sort_keys=True)


def _date(scored: Scored) -> str:
    return str(scored.record.provenance.get("date", ""))


def _named(found: Iterable[tuple[Scored, bytes]]) -> Iterator[Entry]:
    """Assign a unique file name to each record."""
    names: dict[str, int] = defaultdict(int)
    for scored, raw in found:
        assert scored.path is not None
        name = record_path("", scored.record).stem
        names[name.lower()] += 1
        n = names[name.lower()]
        yield Entry(scored, raw, f"{name}{f'-{n}' if n > 1 else ''}.json", scored.path.parent)


def _is_sane(record: ScoreRecord) -> bool:
    return all(
        _is_score(number)
        for row in record.scores
        for key in ("value", "ci", "median", "baseline_value", "noise")
        if (found := row.get(key)) is not None
        for number in (found if isinstance(found, list) else (found,))
    )


def _is_score(number: Any) -> bool:
    return not isinstance(number, int | float) or abs(number) < LARGEST  # nor is it undefined


def by_model(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Group records by model, in order of names."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.record.model].append(entry)
    return {name: found[name] for name in sorted(found)}


def lowest_level(entries: Sequence[Entry]) -> str:
    """How all of some records were verified at least."""
    order = list(LEVELS)
    return min((entry.level for entry in entries), key=order.index)


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping of a record's free part; empty if it is not a mapping."""
    return value if isinstance(value, Mapping) else {}

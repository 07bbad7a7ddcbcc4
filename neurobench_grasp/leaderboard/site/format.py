"""Text of a page: numbers, values of records, names that are safe in paths."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from neurobench_grasp.records.table import Score
from neurobench_grasp.text import clean

NOTHING = "–"
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_LONGEST = 60
MOST_RUNS = 3


def number(value: float | None, digits: int = 3) -> str:
    """Format a number with a minus sign (U+2212), and never as minus zero."""
    if value is None:
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def ends(cell: Score, digits: int = 3) -> str:
    """Format an interval; empty if there is none."""
    return f"[{number(cell.ci[0], digits)}, {number(cell.ci[1], digits)}]" if cell.ci else ""


def spread(cell: Score, digits: int = 3) -> str:
    """Format a number and its interval; a star marks what the record alone states."""
    star = "*" if cell.stated and cell.value is not None else ""
    return f"{number(cell.value, digits)}{star} {ends(cell, digits)}".strip()


def networks(seeds: Sequence[int]) -> str:
    """Name networks by their seeds, several in a row as first and last; count them if that is long."""
    runs = [
        [seed for _, seed in run]
        for _, run in groupby(enumerate(sorted(seeds)), lambda item: item[1] - item[0])
    ]
    if len(runs) > MOST_RUNS:
        return f"{len(seeds)} networks"
    names = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
    return f"network{'s' if len(seeds) != 1 else ''} {names}"


def shown(value: Any) -> str:
    """Format any value of a record as safe text."""
    if value is None or value == "" or value == []:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{clean(str(k))} {shown(v)}" for k, v in sorted(value.items()))
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}".replace(",", "\u202f") if abs(value) < 10**18 else "a very large number"
    return clean(str(value))


def slug(name: str) -> str:
    """Turn a name into a unique one that is safe in a path and an address."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    safe = re.sub(r"-*\.+-*|-{2,}", "-", re.sub(r"[^a-z0-9_.]+", "-", plain)).strip("-.")[:_LONGEST]
    if safe and safe == name and not _RESERVED.match(name):
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe or 'x'}-{digest}"

"""Untrusted text on its way out: to a terminal, a page, a drawing or a table.

Names in a file may hold anything: sequences that steer a terminal, characters that turn the text around them,
formulas of a spreadsheet. Whatever is shown passes through :func:`clean`, :func:`plain` or
:func:`cell`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of control and bidirectional characters, other invisible ones, and line separators."""
BOX = "\ufffd"
"""Shown in place of each."""


def is_line(text: str) -> bool:
    """Return whether a text is one line without control, bidirectional or invisible characters."""
    return text.isprintable() or not any(unicodedata.category(c) in _UNSEEN for c in text)


def clean(text: str) -> str:
    """Replace control, bidirectional and invisible characters, except line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join(BOX if c not in "\n\t" and unicodedata.category(c) in _UNSEEN else c for c in text)


def plain(text: object, longest: int = 500) -> str:
    """Return untrusted text as one line without control characters."""
    line = " ".join(text.split()) if isinstance(text, str) else ""
    return "".join(c for c in line if c.isprintable())[:longest]


def among(name: object, known: Collection[str]) -> str:
    """Return a wrong name, the nearest of the known ones, and all of them, as the end of a sentence."""
    near = get_close_matches(str(name), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{name!r}{hint}; known are {', '.join(known)}."


@lru_cache(4096)
def cell(text: str) -> str:
    """Return the clean text of a CSV cell, which no spreadsheet program reads as a formula."""
    text = clean(text)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def csv_of(table: pd.DataFrame) -> bytes:
    """Return a table as CSV; texts in it and the names of its columns are safe cells."""
    safe = table.rename(columns=cell)
    for name in safe.select_dtypes(exclude=["number", "bool"]):
        safe[name] = safe[name].map(lambda value: cell(value) if isinstance(value, str) else value)
    return safe.to_csv(index=False).encode()

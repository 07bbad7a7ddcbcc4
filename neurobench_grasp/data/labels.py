"""Labels of conditions and areas: one label for one thing, however a file spells it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

DEGREES_PER_RAD = 180 / np.pi

AREAS = {
    "primarymotor": "m1",
    "motor": "m1",
    "primarysomatosensory": "s1",
    "somatosensory": "s1",
    "dorsalpremotor": "pmd",
    "ventralpremotor": "pmv",
}
"""Names of areas, without the words in :data:`SILENT_WORDS`, and their abbreviations."""
SILENT_WORDS = re.compile(r"\b(area|brodmann|ba|cortex|left|right|hemisphere)\b")


def text_label(text: str) -> str:
    """Return text in Unicode's composed form (NFC), without blanks at either end."""
    return unicodedata.normalize("NFC", text).strip()


def label_of(value: Any, scale: float = 1.0, decimals: int | None = None) -> str:
    """Return the one label of a value: text as it is, a number scaled and rounded; empty for no label."""
    if isinstance(value, str):
        return text_label(value)
    return number_label(value, scale, decimals, angle=is_angle(scale))


def number_label(value: Any, scale: float = 1.0, decimals: int | None = None, *, angle: bool = False) -> str:
    """Format a number as a label; empty unless it is finite.

    Integers are exact, and a number in single precision is the one that its decimals state, so that 0.1 has
    one label in every file.

    Parameters
    ----------
    value : number
        A Python or NumPy number.
    scale : float
    decimals : int, optional
        ``None`` writes the number in full.
    angle : bool
        In degrees after scaling: ``180``, not ``-180``, and ``0``, not ``360``.
    """
    if isinstance(value, int | np.integer) and scale == 1.0 and not decimals:
        return str(int(value))
    number = float(str(value) if isinstance(value, np.floating) else value) * scale
    if not np.isfinite(number):
        return ""
    number = number if decimals is None else round(number, decimals) + 0.0
    if angle:
        number = {-180.0: 180.0, 360.0: 0.0}.get(number, number)
    if decimals is not None:
        return f"{number:.{decimals}f}"
    return str(int(number)) if number == int(number) else repr(number)


def is_angle(scale: float) -> bool:
    """Return whether labels of this scale are angles: rad, written in degrees."""
    return bool(np.isclose(scale, DEGREES_PER_RAD))


def near_twins(labels: Iterable[str], *, angles: bool = False) -> list[tuple[str, ...]]:
    """Return sets of labels that may mean the same: they differ in case, blanks or rounding, or by a turn."""
    return _with_one_key(labels, _key_of_angle if angles else _key)


def twins_of_areas(areas: Iterable[str]) -> list[tuple[str, ...]]:
    """Return sets of names that may mean the same area (``M1``, ``m1``, ``Primary motor cortex``)."""
    return _with_one_key(areas, _key_of_area)


def _with_one_key(labels: Iterable[str], key: Callable[[str], str]) -> list[tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        found.setdefault(key(label), []).append(label)
    return [tuple(twins) for twins in found.values() if len(twins) > 1]


def _key(label: str) -> str:
    bare = unicodedata.normalize("NFKC", label).casefold().strip()
    if re.fullmatch(r"[+-]?\d+(\.0*)?", bare):
        return str(int(bare.partition(".")[0]))
    if re.fullmatch(r"[+-]?\d*\.\d+", bare):
        return f"{float(bare):.6g}"
    return "".join(c for c in bare if not (c.isspace() or c in "_-.") and unicodedata.category(c) != "Cf")


def _key_of_angle(label: str) -> str:
    try:
        return f"{float(label) % 360:g}"
    except ValueError:
        return _key(label)


def _key_of_area(area: str) -> str:
    bare = _key(SILENT_WORDS.sub(" ", area.casefold()))
    return AREAS.get(bare, bare)

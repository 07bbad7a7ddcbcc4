"""Findings of validation, each with severity and place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from neurobench_grasp.contract import Bools, Ints, TrialTable, Units

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One finding of validation.

    Parameters
    ----------
    severity : str
        ``error``: the file is refused; ``warning``: it is read, with a note in the session;
        ``info``: for information.
    place : str
        Path inside the file.
    message : str
        One sentence without its full stop.
    """

    severity: Severity
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass
class Report:
    """Collected findings, and which of them changed the data."""

    findings: list[Finding] = field(default_factory=list)
    changes: list[Finding] = field(default_factory=list)

    def add(self, severity: Severity, place: str, message: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(severity, place, message))

    def error(self, place: str, message: str) -> None:
        """Add a reason to refuse the file."""
        self.add("error", place, message)

    def warning(self, place: str, message: str) -> None:
        """Add something a reader of the scores should know."""
        self.add("warning", place, message)

    def info(self, place: str, message: str) -> None:
        """Add something harmless."""
        self.add("info", place, message)

    def changed(self, place: str, message: str, severity: Severity = "warning") -> None:
        """Add a finding about data that the reader altered or left out."""
        self.add(severity, place, message)
        self.changes.append(self.findings[-1])

    @property
    def errors(self) -> list[Finding]:
        """Findings that make the file be refused."""
        return [f for f in self.findings if f.severity == "error"]

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings and changes as text, for :class:`~neurobench_grasp.contract.Session`."""
        return tuple(str(f) for f in self.findings if f.severity == "warning" or f in self.changes)


def named_units(units: Units, which: Sequence[int] | Ints) -> str:
    """Count and name some units by their numbers."""
    names = [units.ids[int(i)] for i in which]
    return f"{len(names)} of {len(units)} units ({some(names)})"


def named_trials(trials: TrialTable, which: Bools) -> str:
    """Count and name some trials."""
    names = [trials.ids[int(i)] for i in np.flatnonzero(which)]
    return f"{len(names)} of {len(trials)} trials ({some(names)})"


def some(names: Sequence[str]) -> str:
    """List the first of some names."""
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")

"""A check is a function; contributors see its name, the first line of its docstring and its failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

STATUSES = ("pass", "fail", "skip", "not run")


class Broken(Exception):
    """A plugin breaks the rule of a check; the message states what to change."""


class Inapplicable(Exception):
    """A check does not apply to the plugin; the message states why."""


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    Parameters
    ----------
    name : str
        Name of its function.
    rule : str
        First line of its docstring.
    kind : str
        What it checks: ``plugin``, ``model``, ``controller``, ``dataset``,
        ``protocol``, ``decoder`` or ``body``.
    needs : tuple of str
        Checks of the same kind without which it is meaningless.
    fresh : bool
        True if it runs in a second process, after all others.
    run : callable
        ``run(case)`` returns, or raises :class:`Broken` or :class:`Inapplicable`.
    """

    name: str
    rule: str
    kind: str
    needs: tuple[str, ...]
    fresh: bool
    run: Callable[[Any], None]


@dataclass(frozen=True)
class CheckResult:
    """Result of one check.

    Parameters
    ----------
    subject : str
        Such as ``model muscle_ppo`` or ``plugin muscle_ppo``.
    check, rule : str
    status : str
        ``pass``, ``fail``, ``skip`` (does not apply) or ``not run``.
    message : str
        What to change, or why it was skipped or not run; empty if it passed.
    seconds : float
    """

    subject: str
    check: str
    rule: str
    status: str
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All results of one plugin, in order."""

    name: str
    rows: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and every check ran."""
        return all(row.status in ("pass", "skip") for row in self.rows)

    def row(self, subject: str, check: str) -> CheckResult:
        """Return the result of one check."""
        return next(row for row in self.rows if (row.subject, row.check) == (subject, check))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"name": self.name, "passed": self.passed, "checks": [asdict(row) for row in self.rows]}


def checks_in(module: Any) -> tuple[Check, ...]:
    """List the checks that a module defines, in source order."""
    return tuple(value for value in vars(module).values() if isinstance(value, Check))


def check(kind: str, *needs: str, fresh: bool = False) -> Callable[[Callable[[Any], None]], Check]:
    """Turn a function into a check; see :class:`Check`."""

    def made(function: Callable[[Any], None]) -> Check:
        rule = (function.__doc__ or "").partition("\n")[0]
        return Check(function.__name__, rule, kind, needs, fresh, function)

    return made

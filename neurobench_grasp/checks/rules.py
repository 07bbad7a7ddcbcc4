"""What a check is: a function whose name, first line and failure are what a contributor reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

STATUSES = ("pass", "fail", "skip", "not run")


class Broken(Exception):
    """A plugin breaks the rule of a check; the message says what to change."""


class Inapplicable(Exception):
    """A check does not apply to what the plugin declares; the message says why."""


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    Parameters
    ----------
    name : str
        That of its function.
    rule : str
        One line: the first of its docstring.
    kind : str
        What it looks at: ``plugin``, ``model``, ``controller``, ``dataset``, ``protocol`` or ``decoder``.
    needs : tuple of str
        Checks of the same kind without which it says nothing.
    fresh : bool
        True if it runs in a second process, after all the others.
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
    """What came of one check.

    Parameters
    ----------
    subject : str
        Such as ``model muscle_ppo`` or ``plugin muscle_ppo``.
    check, rule : str
    status : str
        ``pass``, ``fail``, ``skip`` (does not apply to what is declared) or ``not run``.
    message : str
        What to change, or why it was skipped or not run; empty where it passes.
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
    """All rows of one plugin, in the order in which they are read."""

    name: str
    rows: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and nothing was left undone."""
        return all(row.status in ("pass", "skip") for row in self.rows)

    def row(self, subject: str, check: str) -> CheckResult:
        """Give what came of one check."""
        return next(row for row in self.rows if (row.subject, row.check) == (subject, check))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "passed": self.passed, "checks": [asdict(row) for row in self.rows]}


def checks_in(module: Any) -> tuple[Check, ...]:
    """List the checks that a module defines, in the order of its text."""
    return tuple(value for value in vars(module).values() if isinstance(value, Check))


def check(kind: str, *needs: str, fresh: bool = False) -> Callable[[Callable[[Any], None]], Check]:
    """Make a check of a function; see :class:`Check`."""

    def made(function: Callable[[Any], None]) -> Check:
        rule = (function.__doc__ or "").partition("\n")[0]
        return Check(function.__name__, rule, kind, needs, fresh, function)

    return made

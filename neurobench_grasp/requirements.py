"""Requirements of a distribution compared with the installed packages."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def needs(lines: Iterable[str] | None, extra: str = "") -> list[Requirement]:
    """Return the requirements that apply to this environment.

    Parameters
    ----------
    lines : iterable of str, optional
        ``Requires-Dist`` lines of a distribution's metadata.
    extra : str
        An extra of the distribution; returns its requirements, without those that always apply.

    Returns
    -------
    list of packaging.requirements.Requirement
    """
    from packaging.requirements import Requirement

    every = [Requirement(line) for line in lines or ()]
    always = [r for r in every if r.marker is None or r.marker.evaluate({"extra": ""})]
    if not extra:
        return always
    return [
        r for r in every if r.marker is not None and r not in always and r.marker.evaluate({"extra": extra})
    ]


def unmet(requirements: Iterable[Requirement]) -> Iterator[tuple[Requirement, str]]:
    """Yield unmet requirements with the installed version, empty if there is none."""
    for requirement in requirements:
        try:
            there = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            there = ""
        if not there or not requirement.specifier.contains(there, prereleases=True):
            yield requirement, there

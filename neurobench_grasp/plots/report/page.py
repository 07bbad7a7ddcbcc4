"""The page of a report: one file, with its figures as SVG inside and nothing outside."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurobench_grasp.plots.report.panels import Panel
from neurobench_grasp.plots.report.verdicts import missing
from neurobench_grasp.text import clean


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Parameters
    ----------
    title : str
    panels : sequence of Panel
        With those that are missing.
    svg : bytes
        Empty if all are.
    """

    title: str
    panels: Sequence[Panel]
    svg: bytes = b""

    @property
    def source(self) -> str:
        """The picture as the address of an image, in which no script runs."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"

    @property
    def description(self) -> str:
        """What it shows, for readers of the text."""
        return " ".join(f"{p.letter}: {p.sentence}" for p in self.panels if p.drawings)


def page(
    title: str,
    *,
    synthetic: bool,
    figures: Sequence[Figure],
    claims: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
    problems: Sequence[str],
) -> bytes:
    """Return the page as HTML; text from records is escaped.

    Parameters
    ----------
    title : str
    synthetic : bool
        Whether the data are.
    figures : sequence of Figure
    claims : sequence of mapping
        Rows of :func:`neurobench_grasp.leaderboard.claims.judged`.
    records : sequence of mapping
        What was scored: ``model, protocol, version, seeds, ngb``.
    problems : sequence of str
        What could not be read.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("neurobench_grasp.plots.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    measured = [row for row in claims if row["value"] is not None]
    html = environment.get_template("report.html").render(
        title=title, synthetic=synthetic, figures=figures, claims=measured, missing=missing(claims),
        records=records, problems=problems,
    )  # fmt: skip
    return html.encode()

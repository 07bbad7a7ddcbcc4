"""Panels of a report, and figures that consist of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from neurobench_grasp.plots.style import LINE, SMALL, Drawing, Picture, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

_HEAD = 0.3  # inches
_Part = tuple[float, "Callable[[SubFigure], None]"]
"""Inches, and what paints that much of a figure."""


@dataclass(frozen=True)
class Panel:
    """A panel of a report.

    Parameters
    ----------
    letter : str
        Number of the figure and letter of the panel, such as ``2C``.
    sentence : str
        What it shows.
    drawings : tuple of Drawing
        Below one another; none if something is missing.
    missing : str
        What is missing and, if there is one, the command that makes it.
    """

    letter: str
    sentence: str
    drawings: tuple[Drawing, ...] = ()
    missing: str = ""

    @property
    def figure(self) -> str:
        """Number of the figure that it belongs to."""
        return self.letter[0]


def figure_of(title: str, panels: Sequence[Panel]) -> Picture:
    """Put panels below one another, each below its letter and sentence."""
    parts = [part for panel in panels for part in _parts(panel)]
    heights = [height for height, _ in parts]

    def paint(figure: SubFigure) -> None:
        rows = figure.subfigures(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
        for row, (_, paint_part) in zip(rows, parts, strict=True):
            paint_part(row)

    return Picture(sum(heights), title, paint)


def _parts(panel: Panel) -> Iterator[_Part]:
    yield _HEAD, partial(_head, panel)
    for drawing in panel.drawings:
        yield drawing.picture.height, drawing.picture.paint
        if lines := wrapped(drawing.picture.note):
            yield LINE * (len(lines) + 1), partial(_small_print, lines)


def _head(panel: Panel, row: SubFigure) -> None:
    row.text(0.01, 0.5, panel.letter[1:], fontsize=11, fontweight="bold", va="center")
    row.text(0.07, 0.5, panel.sentence, fontsize=9, va="center")


def _small_print(lines: Sequence[str], row: SubFigure) -> None:
    row.text(0.01, 1, "\n".join(lines), fontsize=SMALL, va="top", color="0.3")

"""Style shared by all figures: size, fonts, colours, and rendering to bytes.

Colours are those of Okabe and Ito, which are safe for colour-blind readers. They are too similar in grey, so
that markers and line styles differ, too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

WIDTH = 7.1
"""Inches: 18 cm, the width of a page."""
SMALL = 7.0
"""Points: the smallest type."""
BLACK, GREY, LIGHT = "black", "0.45", "0.85"
VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY = "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
LINES: tuple[Mapping[str, Any], ...] = (
    {"color": BLACK, "marker": "o", "linestyle": "-"},
    {"color": BLUE, "marker": "s", "linestyle": "--"},
    {"color": ORANGE, "marker": "^", "linestyle": "-."},
    {"color": VERMILION, "marker": "D", "linestyle": "-"},
    {"color": GREEN, "marker": "v", "linestyle": "--"},
    {"color": PURPLE, "marker": "P", "linestyle": ":"},
    {"color": SKY, "marker": "X", "linestyle": "-."},
)
"""Lines that differ in grey too."""

_STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,  # TrueType, which journals ask for and editors of figures read
    "text.parse_math": False,  # names of recordings are no formulas
    "svg.hashsalt": "neurobench_grasp",  # the same names of elements in every run
}
_DPI = 300
_TITLE, LINE = 0.3, 0.135  # inches
_NOTE_COLUMNS = 138
_NO_METADATA: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Creator": None, "Date": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
"""Formats, and what each would otherwise state of date and program."""
_DIGITS = 6
"""Digits of positions: the last bits of the layout are not reproducible and may change a pixel."""


@dataclass(frozen=True)
class Picture:
    """A figure that can be rendered; the same content gives the same bytes.

    Parameters
    ----------
    height : float
        Inches, without title and note.
    title : str
    paint : callable
        Puts axes and legend into the figure.
    note : str
        Small print below, paragraph by paragraph.
    """

    height: float
    title: str
    paint: Callable[[SubFigure], None]
    note: str = ""

    def render(self, kind: str = "png") -> bytes:
        """Return a file of the kind ``png``, ``svg`` or ``pdf``, 18 cm wide in print.

        It has no date and does not state what wrote it; fonts are embedded.
        """
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
        from matplotlib.style import context
        from matplotlib.transforms import Bbox

        lines = wrapped(self.note)
        heights = (self.height + _TITLE, LINE * (len(lines) + 1))
        with context(["default", _STYLE]):  # independent of the user's settings
            figure = Figure(figsize=(WIDTH, sum(heights)), dpi=_DPI)
            layout = ConstrainedLayoutEngine()
            figure.set_layout_engine(layout)
            above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
            above.suptitle(self.title, fontsize=9, x=0.01, ha="left")
            below.text(0.01, 1, "\n".join(lines), fontsize=SMALL, va="top", color="0.3")
            self.paint(above)
            layout.execute(figure)
            figure.set_layout_engine("none")
            for inner in _inner(figure):
                box = inner.bbox_relative
                box.set_points(box.get_points().round(_DIGITS))
            for axes in figure.axes:
                place = axes.get_position(original=True)
                axes.set_position(Bbox.from_bounds(*(round(float(x), _DIGITS) for x in place.bounds)))
            file = BytesIO()
            figure.savefig(file, format=kind, metadata=_NO_METADATA[kind])
        return file.getvalue()


def _inner(figure: Figure | SubFigure) -> Iterator[SubFigure]:
    """Figures inside a figure, at any depth."""
    for inner in figure.subfigs:
        yield inner
        yield from _inner(inner)


@dataclass(frozen=True)
class Drawing:
    """A figure and the table that it was drawn from.

    Parameters
    ----------
    name : str
    table : DataFrame
        Tidy: one row per number drawn.
    picture : Picture
    """

    name: str
    table: pd.DataFrame
    picture: Picture

    @property
    def png(self) -> bytes:
        """The picture as PNG."""
        return self.picture.render()


def wrapped(note: str) -> list[str]:
    """Break small print into lines."""
    return [line for text in note.splitlines() for line in textwrap.wrap(text, _NOTE_COLUMNS)]


def legend(figure: SubFigure) -> None:
    """Add a legend below the axes with all their labels, each once."""
    once = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(once.values(), once, loc="outside lower right", ncols=min(len(once), 4))


def sentence(text: str) -> str:
    """Format a reason as a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def entries(table: pd.DataFrame) -> Iterator[Any]:
    """Rows of a table, with its columns as attributes."""
    yield from table.itertuples()


def whisker(axes: Axes, value: float, ends: tuple[float, float], at: float, **style: Any) -> None:
    """Draw a value as a dot at height ``at``, and its interval as a line where there is one."""
    low, high = ends
    axes.plot([low, high], [at, at], color=style["color"], linewidth=1.2, solid_capstyle="butt")
    axes.plot([value], [at], linestyle="none", **style)

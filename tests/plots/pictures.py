"""What tests of figures inspect: the text of a picture and its place, and the table beside it."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox


class Page(NamedTuple):
    """What is written, each with its size and place; places of legends; the page."""

    texts: list
    legends: list
    box: Bbox


def watch(patch):
    """Collect what is in figures and where, figure by figure."""
    pages: list[Page] = []
    save = Figure.savefig

    def measure(figure, file, **options):
        save(figure, file, **options)
        found = [(t.get_text(), t.get_fontsize(), t.get_window_extent()) for t in texts(figure)]
        legends = [legend.get_window_extent() for legend in figure.findobj(Legend)]
        pages.append(Page(found, legends, figure.bbox.frozen()))

    patch.setattr(Figure, "savefig", measure)
    return pages


def texts(figure):
    """All that is written; tick labels beyond the limits of an axis exist, but are not drawn."""
    beyond = set()
    for axes in figure.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [t for t in axis.get_major_ticks() if not low - 1e-9 <= t.get_loc() <= high + 1e-9]
            beyond |= {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    return [t for t in figure.findobj(Text) if t.get_text() and t.get_visible() and id(t) not in beyond]


def assert_legible(pages):
    """Nothing is cut off, overlaps or is too small to print."""
    for found, legends, page in pages:
        for box in legends:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.x1 and box.y1 <= page.y1, found
        for text, size, box in found:
            assert size >= 7, text
            assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1, text
        for k, (text, _, box) in enumerate(found):
            for other, _, place in found[k + 1 :]:
                assert not box.padded(-1).overlaps(place.padded(-1)), (text, other)


def table(drawn, name):
    return pd.read_csv(drawn.files[name][1], keep_default_na=False, na_values=[""], dtype={"trial": str})


def pick(data, **labels):
    """The rows with these entries."""
    return data[np.logical_and.reduce([data[column] == value for column, value in labels.items()])]


def the(data, **labels):
    (row,) = pick(data, **labels).to_dict("records")
    return row


def assert_row(row, expected, prefix="ev"):
    low, high = expected.get("ci") or (np.nan, np.nan)
    value = np.nan if expected["value"] is None else expected["value"]
    found = [row[prefix], row[f"{prefix}_ci_low"], row[f"{prefix}_ci_high"]]
    assert found == pytest.approx([value, low, high], nan_ok=True, abs=1e-12)

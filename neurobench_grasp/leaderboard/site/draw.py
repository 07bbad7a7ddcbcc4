"""Small drawings as inline SVG: intervals, histograms, lines; colours and fonts come from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from neurobench_grasp.text import clean

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Scale:
    """Mapping of numbers to positions.

    Parameters
    ----------
    low, high : float
        Ends of the axis, in numbers.
    start, end : float
        Ends of the axis, in units of the drawing.
    ticks : sequence of float
    log : bool
    """

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]
    log: bool = False

    @classmethod
    def over(
        cls, numbers: Iterable[float], start: float, end: float, *, n: int = 4, floor: float = 0.0
    ) -> Scale:
        """Cover some numbers and ``floor``, with about ``n`` ticks at round numbers."""
        known = [*numbers, floor]
        low, high = min(known), max(known)
        if high - low < 1e-8:  # ticks are written to ten decimals
            high = low + 1.0
        step = _round_step((high - low) / n)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = [round(k * step, 10) for k in range(first, last + 1)]
        return cls(ticks[0], ticks[-1], start, end, ticks)

    @classmethod
    def decades(cls, numbers: Iterable[float], start: float, end: float) -> Scale:
        """Cover some positive numbers, logarithmically, with ticks at 1, 2 and 5 of each decade.

        Of more than four decades the highest; numbers that are not positive are at the start.
        """
        known = [number for number in numbers if number > 0] or [1.0]
        high = max(known)
        low = max(min(known), high / 1e4)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [k * 10.0**power for power in powers for k in (1, 2, 5)]
        first = max(k for k, tick in enumerate(ticks) if k == 0 or tick <= low)
        last = next(k for k, tick in enumerate(ticks) if tick >= high and k > first)
        return cls.logarithmic(ticks[first : last + 1], start, end)

    @classmethod
    def logarithmic(cls, ticks: Sequence[float], start: float, end: float) -> Scale:
        """Cover some positive numbers, each a tick."""
        low, high = min(ticks), max(ticks)
        return cls(low, high if high > low else low * 2, start, end, ticks, log=True)

    def __call__(self, number: float) -> float:
        """Position of a number, clipped to the ends of the axis."""
        low, high, number = (
            map(math.log, (self.low, self.high, max(number, self.low)))
            if self.log
            else (self.low, self.high, number)
        )
        share = min(max((number - low) / (high - low), 0.0), 1.0)
        return round(self.start + share * (self.end - self.start), 1)


def _round_step(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(size * k for k in (1, 2, 5, 10) if size * k >= step * (1 - 1e-9))


def plain(number: float) -> str:
    """Format a tick: no trailing zeros, a minus sign (U+2212)."""
    text = f"{number:.10g}"
    return text.replace("-", "−")


WIDTH, HEIGHT = 120, 18


def interval_scale(cells: Iterable[tuple[float, Interval]], *, lower: bool) -> Scale:
    """Make one scale for the intervals of a board, cut far below zero, where scores are unbounded."""
    numbers = [n for value, ci in cells for n in (value, *(ci or ()))]
    high = max(numbers, default=0.0)
    below = [] if lower else [max(n, -max(high, 0.1)) for n in numbers]
    return Scale.over([high, *below], 6, WIDTH - 6, n=3)


def interval(value: float | None, ci: Interval, scale: Scale, reference: float | None = None) -> Markup:
    """Draw a dot with its interval, the zero line, and a dashed line where the linear model is."""
    parts = [f'<path class="zero" d="M{scale(0)} 0V{HEIGHT}"/>']
    if reference is not None:
        parts.append(f'<path class="ref" d="M{scale(reference)} 0V{HEIGHT}"/>')
    if value is not None:
        if ci:
            parts.append(f'<path class="bar" d="M{scale(ci[0])} 9H{scale(ci[1])}"/>')
        if value < scale.low:
            parts.append('<path class="dot" d="M1 9l5-4v8z"/>')  # further left than is drawn
        else:
            parts.append(f'<circle class="dot" cx="{scale(value)}" cy="9" r="3.2"/>')
    return Markup(f'<svg class="iv" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{"".join(parts)}</svg>')


def axis(scale: Scale) -> Markup:
    """Draw the axis above a column of intervals."""
    marks = "".join(
        f'<path d="M{scale(t)} 14V18"/><text x="{scale(t)}" y="10">{plain(t)}</text>' for t in scale.ticks
    )
    return Markup(f'<svg class="iv axis" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{marks}</svg>')


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Parameters
    ----------
    name : str
    points : sequence of (x, y, interval)
    style : str
        Class of the style sheet.
    """

    name: str
    points: Sequence[tuple[float, float, Interval]]
    style: str = "s1"


PLOT_W, PLOT_H, LEFT, BOTTOM, RIGHT = 460, 250, 46, 40, 118


def lines(
    about: str, series: Sequence[Line], x_name: str, y_name: str, *, x: Scale, ticks: Sequence[str] = ()
) -> Markup:
    """Draw lines with intervals, each named at its end.

    Parameters
    ----------
    about : str
        Description for screen readers.
    series : sequence of Line
    x_name, y_name : str
    x : Scale
        From ``LEFT`` to ``PLOT_W - RIGHT``.
    ticks : sequence of str
        Labels of the ticks of x, if not their numbers.
    """
    ends = [n for line in series for _, value, ci in line.points for n in (value, *(ci or ()))]
    y = Scale.over(ends, PLOT_H - BOTTOM, 26)
    parts = [_frame(x, y, x_name, y_name, ticks)]
    for line in series:
        for at, _, ci in line.points:
            if ci:
                parts.append(f'<path class="{line.style} bar" d="M{x(at)} {y(ci[0])}V{y(ci[1])}"/>')
        path = "L".join(f"{x(at)} {y(value)}" for at, value, _ in line.points)
        parts.append(f'<path class="{line.style} line" d="M{path}"/>')
        parts += [
            f'<circle class="{line.style} dot" cx="{x(at)}" cy="{y(value)}" r="2.4"/>'
            for at, value, _ in line.points
        ]
    named = [line for line in series if line.name]
    for line, place in zip(named, _apart([y(line.points[-1][1]) for line in named]), strict=True):
        where = f'x="{x(line.points[-1][0]) + 8}" y="{place + 4}"'
        parts.append(f'<text class="{line.style} name" {where}>{_text(line.name)}</text>')
    return _svg(about, PLOT_W, PLOT_H, parts)


def _text(label: str) -> Markup:
    return escape(clean(label))


def _frame(x: Scale, y: Scale, x_name: str, y_name: str, labels: Sequence[str]) -> str:
    base, left, right = PLOT_H - BOTTOM, LEFT, PLOT_W - RIGHT
    parts = [f'<path class="grid" d="M{left} {y(t)}H{right}"/>' for t in y.ticks]
    parts += [f'<text class="tick end" x="{left - 6}" y="{y(t) + 4}">{plain(t)}</text>' for t in y.ticks]
    for tick, label in zip(x.ticks, labels or map(plain, x.ticks), strict=True):
        parts.append(f'<path class="axis" d="M{x(tick)} {base}v4"/>')
        parts.append(f'<text class="tick mid" x="{x(tick)}" y="{base + 17}">{_text(label)}</text>')
    middle = (left + right) / 2
    parts.append(f'<text class="label mid" x="{middle}" y="{PLOT_H - 4}">{_text(x_name)}</text>')
    parts.append(f'<text class="label" x="2" y="10">{_text(y_name)}</text>')
    return "".join(parts)


def _apart(places: Sequence[float], least: float = 14.0) -> list[float]:
    """Move names apart that would cover each other, from above to below."""
    order = sorted(range(len(places)), key=lambda k: places[k])
    out, last = list(places), -math.inf
    for k in order:
        out[k] = last = max(places[k], last + least)
    overflow = last - (PLOT_H - BOTTOM)
    return [round(p - max(overflow, 0.0), 1) for p in out]


@dataclass(frozen=True)
class Dot:
    """One model of a scatter plot.

    Parameters
    ----------
    name : str
    x, y : float
    x_ci, y_ci : tuple of float, optional
    row, page : str
        Addresses of its row in the table and of its page.
    about : str
        Its numbers, as text.
    """

    name: str
    x: float
    y: float
    x_ci: Interval
    y_ci: Interval
    row: str
    page: str
    about: str


MOST_NAMES = 12
"""Dots that are named in a scatter plot; of more, names would cover each other."""


def scatter(about: str, dots: Sequence[Dot], levels: Mapping[str, float], x_name: str, y_name: str) -> Markup:
    """Draw dots with intervals over a logarithmic axis of errors, and named horizontal lines.

    Parameters
    ----------
    about : str
        Description for screen readers.
    dots : sequence of Dot
        At least one. A dot links to its row, its name to its page; the first are named.
    levels : mapping of str to float
        Name of a line → its height.
    x_name, y_name : str
    """
    x = Scale.decades((n for d in dots for n in (d.x, *(d.x_ci or ()))), LEFT, PLOT_W - RIGHT)
    heights = [*levels.values(), *(n for d in dots for n in (d.y, *(d.y_ci or ())))]
    floor = -max(*heights, 0.1)  # scores are unbounded below
    y = Scale.over((max(n, floor) for n in heights), PLOT_H - BOTTOM, 26)
    parts = [_frame(x, y, x_name, y_name, ())]
    places = _apart([y(level) for level in levels.values()])
    for (name, level), place in zip(levels.items(), places, strict=True):
        parts.append(f'<path class="ref" d="M{LEFT} {y(level)}H{PLOT_W - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{PLOT_W - RIGHT + 6}" y="{place + 4}">{_text(name)}</text>')
    for d in dots:
        bars = [f"M{x(d.x)} {y(d.y_ci[0])}V{y(d.y_ci[1])}"] if d.y_ci else []
        bars += [f"M{x(d.x_ci[0])} {y(d.y)}H{x(d.x_ci[1])}"] if d.x_ci else []
        parts.append(
            f'<a href="{d.row}" data-row="{d.row[1:]}" tabindex="-1"><title>{_text(d.about)}</title>'
            f'<path class="s1 bar" d="{"".join(bars)}"/>'
            f'<circle class="s1 dot" cx="{x(d.x)}" cy="{y(d.y)}" r="4"/></a>'
        )
    taken = [(x(d.x) - 5, y(d.y) - 5, x(d.x) + 5, y(d.y) + 5) for d in dots]
    taken += [(LEFT, y(n) - 1, PLOT_W - RIGHT, y(n) + 1) for n in levels.values()]
    taken += [(PLOT_W - RIGHT, place - 7, PLOT_W, place + 7) for place in places]
    for d in dots[:MOST_NAMES]:
        parts += _name_beside(d, x(d.x), y(d.y), taken)
    return _svg(about, PLOT_W, PLOT_H, parts, role="group")


def _name_beside(dot: Dot, x: float, y: float, taken: list[tuple[float, float, float, float]]) -> list[str]:
    """Name a dot where that covers nothing else; not at all if there is no such place near."""
    name = dot.name if len(dot.name) <= 20 else f"{dot.name[:19]}…"
    width = 6.8 * len(name)
    for down in (4, -8, 16, -22, 30, -36, 44, -50, 58):
        for left, end in ((x + 9, x + 8), (x - 9 - width, x - 8)):
            base = y + down
            box = (left, base - 9, left + width, base + 3)
            inside = box[0] >= LEFT and box[2] <= PLOT_W and box[1] >= 14 and box[3] <= PLOT_H - BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                lead = f'<path class="axis lead" d="M{x} {y}L{end:.1f} {base - 4:.1f}"/>'
                text = f'<text class="s1 name" x="{left:.1f}" y="{base:.1f}">{_text(name)}</text>'
                return [lead, f'<a href="{dot.page}" data-row="{dot.row[1:]}" tabindex="-1">{text}</a>']
    return []


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def histogram(about: str, numbers: Sequence[float], x_name: str) -> Markup:
    """Draw the distribution of unit scores; those below −0.5 are in the first column."""
    width, floor = 0.05, -0.5
    bins: dict[int, int] = {}
    for number in numbers:
        k = math.floor(max(number, floor) / width + 1e-9)
        bins[k] = bins.get(k, 0) + 1
    low, high = min(min(bins), -2), max(max(bins) + 1, 10)
    x = Scale.over([low * width, high * width], LEFT, PLOT_W - 20, n=6)
    y = Scale.over([max(bins.values())], 170, 26, n=3)
    parts = [f'<path class="grid" d="M{LEFT} {y(t)}H{PLOT_W - 20}"/>' for t in y.ticks]
    parts += [f'<text class="tick end" x="{LEFT - 6}" y="{y(t) + 4}">{plain(t)}</text>' for t in y.ticks]
    for k in sorted(bins):
        left, right, top = x(k * width), x((k + 1) * width), y(bins[k])
        parts.append(
            f'<rect class="column" x="{left + 0.5}" y="{top}" width="{right - left - 1:.1f}" '
            f'height="{170 - top:.1f}"/>'
        )
    parts += [f'<text class="tick mid" x="{x(t)}" y="187">{plain(t)}</text>' for t in x.ticks]
    median = sorted(numbers)[len(numbers) // 2]
    parts.append(f'<path class="ref" d="M{x(max(median, floor))} 20V170"/>')
    parts.append(f'<text class="label mid" x="{(LEFT + PLOT_W - 20) / 2}" y="206">{_text(x_name)}</text>')
    parts.append('<text class="label" x="2" y="10">units</text>')
    return _svg(about, PLOT_W, 212, parts)


def bars(about: str, items: Sequence[tuple[str, float, Interval, str]], x_name: str) -> Markup:
    """Draw named numbers below each other, as dots with intervals."""
    left, step = 170, 19
    height = 12 + step * len(items) + 36
    x = Scale.over((n for _, value, ci, _ in items for n in (value, *(ci or ()))), left, PLOT_W - 20, n=5)
    base = 12 + step * len(items)
    parts = [f'<path class="grid" d="M{x(t)} 8V{base}"/>' for t in x.ticks]
    for k, (name, value, ci, style) in enumerate(items):
        y = 20 + k * step
        short = name if len(name) <= 26 else f"{name[:25]}…"
        parts.append(f'<text class="tick end" x="{left - 10}" y="{y + 4}">{_text(short)}</text>')
        if ci:
            parts.append(f'<path class="{style} bar" d="M{x(ci[0])} {y}H{x(ci[1])}"/>')
        parts.append(f'<circle class="{style} dot" cx="{x(value)}" cy="{y}" r="3.2"/>')
    parts += [f'<text class="tick mid" x="{x(t)}" y="{base + 15}">{plain(t)}</text>' for t in x.ticks]
    parts.append(
        f'<text class="label mid" x="{(left + PLOT_W - 20) / 2}" y="{base + 32}">{_text(x_name)}</text>'
    )
    return _svg(about, PLOT_W, height, parts)


def _svg(about: str, width: float, height: float, parts: Iterable[str], role: str = "img") -> Markup:
    return Markup(
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="{role}" aria-label="{_text(about)}">'
        f"{''.join(parts)}</svg>"
    )

"""Sections of a model's page for each dataset: scores, layers, units, body, curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from markupsafe import Markup

from neurobench_grasp.leaderboard.site import draw
from neurobench_grasp.leaderboard.site.entries import LARGEST, LINEAR, Entry
from neurobench_grasp.leaderboard.site.format import spread
from neurobench_grasp.leaderboard.standings import BEST_KINEMATIC, METRIC, SPLIT, TWIN
from neurobench_grasp.records.names import DECODED, GROUPS, REFERENCES, SPLITS, metric_name, split_name
from neurobench_grasp.records.table import DRIVEN, EXPLAINED_VARIANCE, GAIN, UNIQUE, RowKey, Score, ScoreTable
from neurobench_grasp.scoring.networks import mean_of_networks

MOST_LAYERS = 30
"""Layers drawn at most; all are in the table."""


@dataclass(frozen=True)
class Grid:
    """A table of a page: its first column names the rows."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Part:
    """A drawing, a table, or a drawing with its numbers in a table.

    Parameters
    ----------
    title : str
    note : str
        What is shown, in a sentence.
    drawing : Markup, optional
    grid : Grid, optional
    """

    title: str
    note: str = ""
    drawing: Markup | None = None
    grid: Grid | None = None


@dataclass(frozen=True)
class Numbers:
    """Scores of a model on the same data by one protocol.

    Parameters
    ----------
    table : ScoreTable
    known : mapping of (str, str) to Score
        Area and key of a column → what the boards show, which need not be computed twice.
    """

    table: ScoreTable
    known: Mapping[tuple[str, str], Score]

    def score(self, metric: str, **labels: str) -> Score:
        """Mean over the networks, with an interval where it is known."""
        known = self.known.get(_column(metric, labels)) if len(self.table.networks) > 1 else None
        return known if known and known.value is not None else self.table.score(metric, **labels)

    def numbers_of(self, name: str) -> list[str]:
        """Every number that a label has, ascending."""
        return sorted(filter(_is_number, self.table.values(name)), key=float)


def _is_number(text: str) -> bool:
    try:
        return 0 <= float(text) < LARGEST
    except ValueError:
        return False


def _column(metric: str, labels: Mapping[str, str]) -> tuple[str, str]:
    """Area and key of the column of a board that has the same number; no such key if there is none."""
    area, split, of = labels.get("area", ""), labels.get("split", ""), labels.get("of")
    if labels.keys() <= {"split", "area"}:
        return area, f"{metric}_{split}"
    gains = labels.keys() == {"split", "area", "of"} and (split, of) == (SPLIT, METRIC)
    return area, metric if gains else ""


def unit_headlines(table: ScoreTable, area: str) -> Iterator[tuple[str, str, float]]:
    """Session, unit and headline score of every unit, mean over networks."""
    networks = table.unit_scores(RowKey(METRIC, split=SPLIT, area=area))
    for part in mean_of_networks(networks) if networks else ():
        yield from ((part.session, unit, float(v)) for unit, v in zip(part.units, part.values, strict=True))


def parts_of(entries: Sequence[Entry], known: Mapping[tuple[str, str], Score]) -> Iterator[Part]:
    """Yield the sections of a model on the same data by one protocol.

    Parameters
    ----------
    entries : sequence of Entry
        One for each network.
    known : mapping of (str, str) to Score
        See :class:`Numbers`.
    """
    numbers = Numbers(ScoreTable(tuple(entry.scored for entry in entries)), known)
    areas = numbers.table.values("area")
    yield from _encoding(numbers, areas)
    for area in areas:
        yield from _references(numbers, area)
        yield from _layers(numbers, area)
        yield from _groups(numbers, area)
        yield from _units(numbers, area)
        yield from _components(numbers, area)
    yield from _hand(numbers)
    yield from _driven(numbers, areas)
    for area, split in product(areas, SPLITS):
        yield from _curves(numbers, area, split)


def _encoding(numbers: Numbers, areas: Sequence[str]) -> Iterator[Part]:
    relative = (
        "share_of_ceiling",
        *(f"{GAIN}{name}" for name in (BEST_KINEMATIC, LINEAR, TWIN, "phase_mean")),
    )
    columns: dict[str, dict[str, str]] = {name: {} for name in EXPLAINED_VARIANCE}
    columns |= {name: {"of": METRIC} for name in relative}
    rows = []
    for area in areas:
        for split in SPLITS:
            cells = [numbers.score(m, split=split, area=area, **of) for m, of in columns.items()]
            if cells[0].value is not None:
                rows.append([f"{area}, {split_name(split)}", *(spread(cell) for cell in cells)])
    if rows:
        caption = "Scores with 95 % intervals, mean over units, sessions, animals and networks"
        yield Part("Scores", grid=_full(caption, ["area, split", *map(metric_name, columns)], rows))


def _references(numbers: Numbers, area: str) -> Iterator[Part]:
    own = numbers.score(METRIC, split=SPLIT, area=area)
    found = numbers.table.along("reference", METRIC, split=SPLIT, area=area)
    named = sorted(
        ((REFERENCES.get(name, name), cell) for name, cell in found.items() if cell.value is not None),
        key=lambda item: -(item[1].value or 0.0),
    )
    if own.value is None or not named:
        return
    items = [("this model", own.value, own.ci, "s1"), *((n, c.value or 0.0, c.ci, "s4") for n, c in named)]
    yield Part(
        f"References, {area}",
        "Scores of simpler models, nulls and, where it is known, the truth in new conditions.",
        draw.bars(
            f"Single-trial EV of this model and of references in new conditions, {area}",
            items,
            "single-trial EV",
        ),
        Grid(
            f"Single-trial EV of references, {area}",
            ["", "EV"],
            [["this model", spread(own)], *([name, spread(cell)] for name, cell in named)],
        ),
    )


def _full(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """Make a table without empty columns."""
    kept = [k for k in range(len(head)) if k == 0 or any(row[k] != "–" for row in rows)]
    return Grid(caption, [head[k] for k in kept], [[row[k] for k in kept] for row in rows])


def _layers(numbers: Numbers, area: str) -> Iterator[Part]:
    found = numbers.table.along("layer", METRIC, split=SPLIT, area=area)
    items = sorted(
        ((n, c) for n, c in found.items() if c.value is not None), key=lambda i: -(i[1].value or 0.0)
    )
    if not items:
        return
    best = f"the best is {items[0][0]} with {spread(items[0][1])}"
    about = f"Single-trial EV of each layer in new conditions, {area}; {best}"
    rows = [[name, spread(cell)] for name, cell in items]
    drawn = [(name, cell.value or 0.0, cell.ci, "s1") for name, cell in items[:MOST_LAYERS]]
    yield Part(
        f"Layers, {area}",
        "Each layer alone, in new conditions.",
        draw.bars(about, drawn, "single-trial EV"),
        Grid(f"Single-trial EV of each layer, {area}", ["layer", "EV"], rows),
    )


def _groups(numbers: Numbers, area: str) -> Iterator[Part]:
    unique = numbers.table.along("group", UNIQUE, of=METRIC, split=SPLIT, area=area)
    alone = numbers.table.along("group", METRIC, split=SPLIT, area=area)
    found = {
        GROUPS.get(name, name): (alone.get(name, Score()), cell)
        for name, cell in unique.items()
        if cell.value is not None
    }
    if not found:
        return
    yield Part(
        f"Unique contributions, {area}",
        "What each group of features explains in new conditions that the others do not.",
        draw.bars(
            f"Unique EV of groups of features in new conditions, {area}",
            [(name, cell.value or 0.0, cell.ci, "s1") for name, (_, cell) in found.items()],
            "unique EV",
        ),
        Grid(
            f"Single-trial EV of groups of features, {area}",
            ["group", "alone", "unique"],
            [[name, *map(spread, cells)] for name, cells in found.items()],
        ),
    )


def _units(numbers: Numbers, area: str) -> Iterator[Part]:
    scores = sorted(v for _, _, v in unit_headlines(numbers.table, area) if v == v)
    if not scores:
        return
    n = len(scores)
    quarters = [scores[0], scores[n // 4], scores[n // 2], scores[3 * n // 4], scores[-1]]
    about = (
        f"Distribution of the single-trial EV of {n} units of {area} in new conditions; "
        f"median {quarters[2]:.3f}, middle half from {quarters[1]:.3f} to {quarters[3]:.3f}"
    )
    grid = Grid(
        f"Single-trial EV of units, {area}",
        ["", "units", "lowest", "first quarter", "median", "third quarter", "highest"],
        [[area, str(n), *(spread(Score(q)) for q in quarters)]],
    )
    note = "Single units in new conditions, mean over networks; the dashed line is the median."
    yield Part(f"Units, {area}", note, draw.histogram(about, scores, "single-trial EV of a unit"), grid)


def _components(numbers: Numbers, area: str) -> Iterator[Part]:
    counts = numbers.numbers_of("n_components")
    curves: dict[str, list[tuple[float, float, draw.Interval]]] = {}
    for layer in numbers.table.values("layer"):
        cells = [
            (n, numbers.score(METRIC, split=SPLIT, area=area, layer=layer, n_components=n)) for n in counts
        ]
        points = [(float(n), c.value, c.ci) for n, c in cells if c.value is not None and float(n) > 0]
        if len(points) > 1:
            curves[layer] = points
    if not curves:
        return
    best = sorted(curves, key=lambda layer: -curves[layer][-1][1])
    lines = [draw.Line("", [(a, b, None) for a, b, _ in curves[layer]], "s0") for layer in best[3:]]
    lines += [draw.Line(layer[:20], curves[layer], f"s{k + 1}") for k, layer in enumerate(best[:3])]
    ticks = sorted({at for points in curves.values() for at, _, _ in points})
    rows = [
        [layer, *(spread(Score(v)) for _, v, _ in curves[layer])]
        for layer in best
        if len(curves[layer]) == len(ticks)
    ]
    yield Part(
        f"Components, {area}",
        "Each layer with its first principal components, in new conditions; the best three are named.",
        draw.lines(
            f"Single-trial EV by number of components, {area}; best with all of them: {best[0]}",
            lines,
            "components",
            "single-trial EV",
            x=draw.Scale.logarithmic(ticks, draw.LEFT, draw.PLOT_W - draw.RIGHT),
        ),
        Grid(f"EV by number of components, {area}", ["layer", *(draw.plain(t) for t in ticks)], rows),
    )


def _hand(numbers: Numbers) -> Iterator[Part]:
    columns = {
        "tracking error, mm": {"metric": "tracking_error"},
        "tips, mm": {"metric": "tracking_error_tips"},
        "joints, °": {"metric": "joint_error"},
        "average trajectory, mm": {"metric": "tracking_error", "reference": "average_trajectory"},
        "average posture, mm": {"metric": "tracking_error", "reference": "average_posture"},
    }
    rows = [
        [split_name(split), *(spread(c, 2) for c in cells)]
        for split in SPLITS
        if (cells := [numbers.score(split=split, **labels) for labels in columns.values()])[0].value
        is not None
    ]
    if rows:
        caption = "Error of the body that imitates the recorded movement, in closed loop"
        yield Part("Tracking", "Lower is better.", grid=_full(caption, ["split", *columns], rows))


def _driven(numbers: Numbers, areas: Sequence[str]) -> Iterator[Part]:
    names = ("intact", "average_trajectory", "average_posture", "shifted_spikes")
    rows = []
    for area in areas:
        for split in SPLITS:
            for metric, decoded in DRIVEN.items():
                where = {"split": split, "area": area, "decoded": decoded}
                cells = [
                    numbers.score(metric, **where),
                    *(numbers.score(metric, reference=n, **where) for n in names),
                ]
                if cells[0].value is not None:
                    rows.append(
                        [f"{area}, {split_name(split)}, {DECODED[decoded]}", *(spread(c, 2) for c in cells)]
                    )
    if rows:
        head = ["area, split, decoded signal", "error, mm", *(f"{REFERENCES[name]}, mm" for name in names)]
        caption = "Error of the body whose goal is decoded from spikes, in closed loop"
        yield Part("Brain control", "Lower is better.", grid=_full(caption, head, rows))


def _curves(numbers: Numbers, area: str, split: str) -> Iterator[Part]:
    counts, noises = numbers.numbers_of("n_decoded_units"), numbers.numbers_of("noise")
    for title, name, values, fixed, axis in (
        ("Fewer units", "n_decoded_units", counts, {"noise": "0.0"}, "decoded units"),
        ("Noise", "noise", noises, {"n_decoded_units": "all"}, "noise, standard deviations"),
    ):
        series, rows = [], []
        for k, (metric, decoded) in enumerate(DRIVEN.items()):
            where = {"split": split, "area": area, "decoded": decoded, **fixed}
            cells = [(float(v), numbers.score(metric, **where, **{name: v})) for v in values]
            points = [(at, c.value, c.ci) for at, c in cells if c.value is not None]
            if len(points) > 1:
                series.append(draw.Line(DECODED[decoded], points, f"s{k + 1}"))
                rows += [
                    [f"{DECODED[decoded]}, {draw.plain(at)}", spread(c, 2)]
                    for at, c in cells
                    if c.value is not None
                ]
        if series:
            places = sorted({at for line in series for at, _, _ in line.points})
            ends = draw.LEFT, draw.PLOT_W - draw.RIGHT
            x = draw.Scale.logarithmic(places, *ends) if places[0] > 0 else draw.Scale.over(places, *ends)
            what = f"{area}, {split_name(split)}"
            yield Part(
                f"{title}, {what}",
                "Lower is better.",
                draw.lines(
                    f"Error of the brain-driven body by {axis}, {what}", series, axis, "error, mm", x=x
                ),
                Grid(
                    f"Brain-control error by {axis}, {what}", [f"decoded signal, {axis}", "error, mm"], rows
                ),
            )


def learning_curve(curves: Sequence[Sequence[Mapping[str, float]]]) -> Part | None:
    """Error during training of each network whose card is known."""
    series = []
    for split, style in (("train", "s2"), ("ood", "s1")):
        for k, curve in enumerate(curves):
            points = [(p["steps"] / 1e6, p[split], None) for p in curve if split in p]
            if len(points) > 1:
                series.append(draw.Line("" if k else split_name(split), points, style))
    if not series:
        return None
    ends = [at for line in series for at, _, _ in line.points]
    rows = [
        [f"network {k + 1}", *(spread(Score(curve[-1].get(split)), 2) for split in ("train", "ood"))]
        for k, curve in enumerate(curves)
    ]
    n = "the network" if len(curves) == 1 else f"{len(curves)} networks"
    return Part(
        "Learning curve",
        f"Tracking error during the training of {n}; lower is better.",
        draw.lines(
            "Tracking error by training step",
            series,
            "training steps, millions",
            "error, mm",
            x=draw.Scale.over(ends, draw.LEFT, draw.PLOT_W - draw.RIGHT),
        ),
        Grid(
            "Tracking error at the end of training, mm", ["network", *map(split_name, ("train", "ood"))], rows
        ),
    )

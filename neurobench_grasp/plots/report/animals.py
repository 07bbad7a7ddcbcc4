"""Animal by animal: two controllers beside each other, and what is decoded from each area.

After Figures 3B, 3C and 4C of Marin Vargas et al.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from neurobench_grasp.leaderboard.standings import METRIC, SPLIT
from neurobench_grasp.plots.sources import NAN, table_of
from neurobench_grasp.plots.style import BLACK, BLUE, SMALL, VERMILION, Drawing, Picture, entries, legend
from neurobench_grasp.protocols.brain_control.protocol import EV, metric_of
from neurobench_grasp.records.names import DECODED, metric_name, split_name
from neurobench_grasp.records.table import ScoreTable
from neurobench_grasp.scoring.intervals import MIN_NETWORKS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

ALL = "all"
"""In place of an animal, where only the mean over all is known."""
DECODED_ON = "test"
STYLES: tuple[Mapping[str, Any], ...] = (
    {"color": VERMILION, "marker": "D"},
    {"color": BLUE, "marker": "s", "markerfacecolor": "white"},
)
"""Of the two groups beside each other."""
_APART, _WIDTH = 0.2, 0.26
"""Distance of the groups from the place of an animal, and width of each."""
_HEIGHT = 2.3  # inches
TEST = (
    "Dots are networks, lines their means. p: two-sided Mann–Whitney U test of the networks of one model "
    "against those of the other, which are independent samples, as units are not; not corrected for multiple "
    "tests. Network k is scored on conditions of fold k, of both models alike; the paired interval of the "
    "difference is among the claims."
)


def tracking_of_two(first: ScoreTable, second: ScoreTable) -> Drawing:
    """Draw the tracking error of two models by animal, on held-out conditions."""
    metric = "tracking_error"
    return _of_two("tracking", (first, second), metric, [""], "tracking error (mm)")


def ev_of_two(first: ScoreTable, second: ScoreTable) -> Drawing:
    """Draw the explained variance of two models by animal and area, on held-out conditions."""
    areas = first.values("area")
    return _of_two("encoding", (first, second), METRIC, areas, metric_name(METRIC))


def _of_two(
    name: str, tables: Sequence[ScoreTable], metric: str, areas: Sequence[str], label: str
) -> Drawing:
    models = [table.first.record.model for table in tables]
    rows = [row for area in areas for row in _rows_of_two(tables, metric, area)]
    table = table_of(tables[0], rows, "value")
    title = f"{SPLIT}: {split_name(SPLIT)}"
    picture = _draw(
        table, models, label, {area: f"{area}, {title}" if area else title for area in areas}, TEST
    )
    return Drawing(f"{name}_by_animal", table, picture)


def _rows_of_two(tables: Sequence[ScoreTable], metric: str, area: str) -> Iterator[dict[str, Any]]:
    where = {"split": SPLIT, **({"area": area} if area else {})}
    for animal in animals(tables[0]):
        about = {"area": area, "split": SPLIT, "metric": metric, "animal": animal}
        samples = []
        for table in tables:
            model = table.first.record.model
            values = {seed: of_animal(table, animal, metric, seed, **where) for seed in table.seeds}
            for seed, value in values.items():
                yield {**about, "kind": "network", "group": model, "seed": seed, "value": value}
            samples.append([value for value in values.values() if value == value])
            yield {**about, "kind": "mean", "group": model, "value": _mean(samples[-1])}
        yield {**about, "kind": "test", **mann_whitney(*samples)}


def animals(networks: ScoreTable) -> dict[str, list[str]]:
    """Return the animals of a record, and the sessions of each."""
    found: dict[str, list[str]] = {}
    for session in networks.first.record.dataset.get("sessions", ()):
        found.setdefault(str(session["subject"]), []).append(str(session["id"]))
    return found or {ALL: []}


def of_animal(networks: ScoreTable, animal: str, metric: str, seed: int, **labels: Any) -> float:
    """Return the score of one network on an animal; NaN if it is not known.

    It is in the record, or that of all if there is one animal, or the mean over the animal's sessions, as
    errors are averaged.
    """
    own = animals(networks)
    score = networks.score(metric, seed, **labels, **({} if len(own) == 1 else {"subject": animal}))
    if score.value is not None:
        return score.value
    sessions = [networks.score(metric, seed, **labels, session=name).value for name in own[animal]]
    return _mean([value for value in sessions if value is not None] if None not in sessions else [])


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Return the statistic of the first sample and the two-sided p; without them the reason."""
    from scipy.stats import mannwhitneyu

    if min(len(first), len(second)) < MIN_NETWORKS:
        sizes = f"{len(first)} and {len(second)} networks"
        return {"u": NAN, "p": NAN, "reason": f"no test: {sizes}, fewer than {MIN_NETWORKS}"}
    result = mannwhitneyu(first, second, alternative="two-sided")
    return {"u": float(result.statistic), "p": float(result.pvalue), "reason": ""}


def decoding_by_animal(
    networks: ScoreTable, by_session: Mapping[tuple[int, str, str, str], float]
) -> Drawing:
    """Draw how much of the commands is explained by what is decoded, by animal and area, on new trials.

    Parameters
    ----------
    networks : ScoreTable
        By the protocol ``brain-control``.
    by_session : mapping of (int, str, str, str) to float
        Explained variance by seed, session, area and kind of command; records have the mean over sessions.
        Empty: the means are drawn.
    """
    table = table_of(networks, _decoded(networks, by_session), "value")
    note = (
        "" if by_session else "All animals together: the parts of the mean are in no run folder named here."
    )
    groups = list(DECODED.values())
    titles = {area: f"{area}, {DECODED_ON}: {split_name(DECODED_ON)}" for area in networks.values("area")}
    note = f"Dots are networks, lines their means. {note}".strip()
    return Drawing("decoding_by_animal", table, _draw(table, groups, "decoding EV", titles, note))


def _decoded(
    networks: ScoreTable, by_session: Mapping[tuple[int, str, str, str], float]
) -> Iterator[dict[str, Any]]:
    own = animals(networks) if by_session else {ALL: []}
    for area, animal, (kind, name) in product(networks.values("area"), own, DECODED.items()):
        about = {
            "area": area,
            "split": DECODED_ON,
            "metric": metric_of(EV, kind),
            "animal": animal,
            "group": name,
        }
        values = []
        for seed in networks.seeds:
            where = {"split": DECODED_ON, "area": area, "decoded": kind}
            total = networks.score(metric_of(EV, kind), seed, **where).value
            parts = [by_session[key] for s in own[animal] if (key := (seed, s, area, kind)) in by_session]
            value = _mean(parts) if by_session else NAN if total is None else total
            yield {**about, "kind": "network", "seed": seed, "value": value}
            values.append(value)
        yield {**about, "kind": "mean", "value": _mean([value for value in values if value == value])}


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else NAN


def _draw(
    table: pd.DataFrame, groups: Sequence[str], label: str, titles: Mapping[str, str], note: str
) -> Picture:
    names = list(dict.fromkeys(table.animal))
    seeds = sorted(table.seed.dropna().unique())

    def paint(figure: SubFigure) -> None:
        grid: Any = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for (area, title), axes in zip(titles.items(), grid, strict=True):
            axes.set_title(title)
            axes.set_xticks(range(len(names)), names)
            axes.set_xlim(-0.5, len(names) - 0.5)
            for row in entries(table[table.area == area]):
                _mark(axes, row, names.index(row.animal), groups, seeds)
            axes.margins(y=0.25)  # below the results of tests
        grid[0].set_ylabel(label)
        legend(figure)

    reasons = dict.fromkeys(table.reason.dropna()) if "reason" in table else {}
    lines = [note, *(f"{reason}." for reason in reasons if reason)]
    return Picture(_HEIGHT, "", paint, "\n".join(lines))


def _mark(axes: Axes, row: Any, at: int, groups: Sequence[str], seeds: Sequence[float]) -> None:
    if row.kind == "test":
        text = f"U = {row.u:g}, p = {row.p:.2g}" if row.p == row.p else "no test"
        axes.annotate(
            text, (at, 0.98), xycoords=axes.get_xaxis_transform(), ha="center", va="top", fontsize=SMALL
        )
        return
    place = groups.index(row.group)
    middle, style = at + _APART * (2 * place - 1), STYLES[place]
    if row.kind == "network":
        beside = (seeds.index(row.seed) + 0.5) / len(seeds) - 0.5
        axes.plot(
            middle + _WIDTH * beside, row.value, linestyle="none", markersize=4, label=row.group, **style
        )
    else:
        axes.plot([middle - _WIDTH / 2, middle + _WIDTH / 2], [row.value] * 2, color=BLACK, linewidth=1.2)

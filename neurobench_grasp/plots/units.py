"""Units: recorded and predicted rates of example units on held-out conditions.

After Figure 2 of Marin Vargas et al. Examples are chosen by cross-validated score on train: chosen by the
score that the figure shows, they would be biased.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.contract import Ragged
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT
from neurobench_grasp.plots.sources import NAN, title_of
from neurobench_grasp.plots.style import BLACK, BLUE, LIGHT, SMALL, VERMILION, Drawing, Picture, legend
from neurobench_grasp.protocols.encoding.predictions import PredictedSession
from neurobench_grasp.protocols.settings import ENCODING
from neurobench_grasp.records.names import REFERENCES
from neurobench_grasp.records.table import RowKey, ScoreTable
from neurobench_grasp.scoring.ev import PHASE_POINTS, explained_variance, to_phase

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

REFERENCE = "linear_kinematic"
"""The reference whose predictions are drawn beside the model's, where they are at hand."""
PERCENTILES = (90, 75, 50)
N_TRIALS, N_CONDITIONS = 2, 4
RULE = (
    "Units: of each area those at the named percentiles of cross-validated EV on train. "
    "Single trials: the first ones of the first held-out conditions in alphabetical order. "
    f"Means: the first {N_CONDITIONS} held-out conditions with {ENCODING.min_repeats} trials or more. "
    "A flat prediction: nothing was learned on train that holds there, so the unit is predicted by its mean."
)
TOLERANCE = 1e-4
"""Largest difference from the scores beside the record; predictions may be kept in single precision."""
_EXAMPLE = ["area", "percentile", "session", "unit", "ev_train_cv", "ev_ood"]
_ROW, _HEAD = 1.15, 0.2  # inches
_COLUMNS = 20  # characters that fit above a panel


@dataclass(frozen=True)
class Example:
    """A unit to be shown.

    Parameters
    ----------
    area : str
    percentile : int
    source : PredictedSession
    unit : int
        Its place in the session.
    cv_ev : float
        Its cross-validated score on train.
    """

    area: str
    percentile: int
    source: PredictedSession
    unit: int
    cv_ev: float

    def held_out(self) -> tuple[list[str], list[str], Ragged, Ragged, Ragged]:
        """Ids and conditions of the unit's held-out trials, and its rates, (trial, step, 1), in them.

        Recorded, predicted, and predicted by the reference: NaN where there is none.
        """
        session, ood = self.source.session, list(self.source.ood)
        seen = np.flatnonzero(session.units.observed[ood, self.unit])
        recorded = session.units.rates.select(ood)
        predicted = self.source.predictions[SPLIT]
        beside = self.source.references.get(REFERENCE, {}).get(SPLIT, np.full_like(predicted, NAN))
        each = (
            Ragged(rates, recorded.offsets).select(seen) for rates in (recorded.values, predicted, beside)
        )
        one, other, third = (Ragged(r.values[:, [self.unit]].astype(np.float64), r.offsets) for r in each)
        trials = [ood[k] for k in seen]
        ids, conditions = (
            [names[i] for i in trials] for names in (session.trials.ids, session.trials.condition)
        )
        return ids, conditions, one, other, third


def units(
    networks: ScoreTable,
    sessions: Sequence[PredictedSession],
    percentiles: Sequence[int] = PERCENTILES,
) -> Drawing:
    """Draw example units of every area, as the first network predicts them.

    Parameters
    ----------
    networks : ScoreTable
    sessions : sequence of PredictedSession
        Of the first network; with the predictions of :data:`REFERENCE`, these are drawn, too.
    percentiles : sequence of int
        Those of :data:`PERCENTILES` that are shown.
    """
    import pandas as pd

    examples = [example for example in choose_examples(sessions) if example.percentile in percentiles]
    if not examples:
        raise UnsupportedError(f"no unit was mapped and recorded in {N_TRIALS} trials of held-out conditions")
    table = pd.DataFrame([row for example in examples for row in _rows(networks, example)])
    return Drawing("units", table, _draw(table, title_of(ScoreTable(networks.networks[:1]))))


def choose_examples(sessions: Sequence[PredictedSession]) -> list[Example]:
    """Choose units of each area only by the rank of their cross-validated score on train."""
    examples = []
    for area in sorted({a for s in sessions for a in s.session.units.areas}):
        ranked = sorted(
            (cv_ev, source.session.id, unit, k)
            for k, source in enumerate(sessions)
            for unit, cv_ev in _mapped(source, area)
        )
        places = {round(p / 100 * (len(ranked) - 1)): p for p in reversed(PERCENTILES) if ranked}
        for place, percentile in sorted(places.items(), reverse=True):
            cv_ev, _, unit, k = ranked[place]
            examples.append(Example(area, percentile, sessions[k], unit, cv_ev))
    return examples


def _mapped(source: PredictedSession, area: str) -> Iterator[tuple[int, float]]:
    """Units of an area with a map and enough held-out trials, and their scores on train."""
    n_seen = source.session.units.observed[list(source.ood)].sum(0)
    for unit, layer in enumerate(source.predictions[f"layer_{SPLIT}"].tolist()):
        if source.session.units.areas[unit] == area and layer >= 0 and n_seen[unit] >= N_TRIALS:
            cv_ev = float(source.predictions[f"cv_ev_{SPLIT}"][layer, unit])
            if np.isfinite(cv_ev):
                yield unit, cv_ev


def _rows(networks: ScoreTable, example: Example) -> Iterator[dict[str, Any]]:
    ids, conditions, *rates = example.held_out()
    recorded, predicted, _ = rates
    session = example.source.session
    ev = float(explained_variance(recorded.values, predicted.values)[0])
    _compare(networks, example, ev)
    names = (example.area, example.percentile, session.id, session.units.ids[example.unit], example.cv_ev, ev)
    about = dict(zip(_EXAMPLE, names, strict=True))
    order = sorted(range(len(ids)), key=lambda k: (conditions[:k].count(conditions[k]), conditions[k]))
    for k in order[:N_TRIALS]:
        time = (np.arange(len(recorded[k])) + 0.5) * session.trials.dt
        of = {"shown": "trial", "condition": conditions[k], "trial": ids[k], "n_trials": 1}
        for t, *points in zip(time, *(r[k][:, 0] for r in rates), strict=True):
            yield {**about, **of, **_point(*points, time_s=t)}
    repeated = [c for c in sorted(set(conditions)) if conditions.count(c) >= ENCODING.min_repeats]
    for condition in repeated[:N_CONDITIONS]:
        mine = [k for k, c in enumerate(conditions) if c == condition]
        by_phase = [to_phase(r.select(mine))[:, :, 0] for r in rates]
        sem = by_phase[0].std(0, ddof=1) / len(mine) ** 0.5
        of = {"shown": "mean", "condition": condition, "trial": "", "n_trials": len(mine)}
        means = (y.mean(0) for y in by_phase)
        for phase, *points in zip(np.linspace(0, 1, PHASE_POINTS), *means, sem, strict=True):
            yield {**about, **of, **_point(*points, phase=phase)}


def _point(
    recorded: float,
    predicted: float,
    reference: float,
    sem: float = NAN,
    *,
    time_s: float = NAN,
    phase: float = NAN,
) -> dict[str, float]:
    return {
        "time_s": time_s,
        "phase": phase,
        "recorded_spikes_per_s": recorded,
        "recorded_sem_spikes_per_s": sem,
        "predicted_spikes_per_s": predicted,
        f"{REFERENCE}_spikes_per_s": reference,
    }


def _compare(networks: ScoreTable, example: Example, ev: float) -> None:
    """Check that predictions are those of the record.

    Raises
    ------
    NgbError
        If they are not.
    """
    session = example.source.session
    key = RowKey(METRIC, area=example.area, split=SPLIT)
    for part in key.unit_scores(networks.first.units) or ():
        if part.session == session.id:
            scored = float(part.values[part.units.index(session.units.ids[example.unit])])
            if abs(scored - ev) > TOLERANCE:
                raise NgbError(
                    f"The predictions of unit {session.units.ids[example.unit]} of {session.id} are not "
                    f"those that were scored (EV {ev:.3f}, not {scored:.3f}); score again, then draw."
                )


def _draw(table: pd.DataFrame, title: str) -> Picture:
    panels = ["shown", "condition", "trial"]
    examples = [part for _, part in table.groupby(_EXAMPLE, sort=False, dropna=False)]
    n_columns = max(len(part[panels].drop_duplicates()) for part in examples)

    def paint(figure: SubFigure) -> None:
        grid = figure.add_gridspec(2 * len(examples), n_columns, height_ratios=[_HEAD, _ROW] * len(examples))
        for k, part in enumerate(examples):
            head = figure.add_subplot(grid[2 * k, :])
            head.set_axis_off()
            head.text(0, 0, _headline(part.iloc[0]))
            row: list[Axes] = []
            for _, panel in part.groupby(panels, sort=False):
                row.append(figure.add_subplot(grid[2 * k + 1, len(row)], sharey=row[0] if row else None))
                _panel(row[-1], panel, last=part is examples[-1])
                row[-1].tick_params(labelleft=len(row) == 1)
            row[0].set_ylabel("spikes/s")
        legend(figure)

    return Picture(len(examples) * (_ROW + _HEAD) + 0.6, title, paint, RULE)


def _headline(row: Any) -> str:
    where = f"{row.area}, unit {row.unit} of {row.session}, {row.percentile}th percentile"
    train, ood = (round(ev, 2) + 0.0 for ev in (row.ev_train_cv, row.ev_ood))  # no "-0.00"
    return f"{where}: EV {train:.2f} on train (cross-validated), {ood:.2f} on {SPLIT}"


def _panel(axes: Axes, panel: pd.DataFrame, *, last: bool) -> None:
    first: Any = panel.iloc[0]
    single = first.shown == "trial"
    x = panel.time_s if single else panel.phase
    y, yhat, sem = panel.recorded_spikes_per_s, panel.predicted_spikes_per_s, panel.recorded_sem_spikes_per_s
    axes.plot(x, y, color=BLACK, linewidth=0.9, label="recorded")
    if not single:
        axes.fill_between(x, y - sem, y + sem, color=LIGHT, linewidth=0, label="± s.e.m.")
    axes.plot(x, yhat, "--", color=VERMILION, label="predicted")
    beside = panel[f"{REFERENCE}_spikes_per_s"]
    if beside.notna().any():
        axes.plot(x, beside, ":", color=BLUE, label=f"predicted by {REFERENCES[REFERENCE]}")
    what = f"trial {first.trial}" if single else f"mean of {first.n_trials} trials"
    number = "condition " if first.condition.isdigit() else ""
    name = number + textwrap.shorten(first.condition.replace("_", " "), _COLUMNS, placeholder="…")
    axes.set_title(f"{what[:_COLUMNS]}\n{name}", fontsize=SMALL)
    if last:
        axes.set_xlabel("time from window\nstart (s)" if single else "phase of\nthe window", fontsize=SMALL)

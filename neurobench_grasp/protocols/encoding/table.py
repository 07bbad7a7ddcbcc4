"""From predictions to tidy rows: scores, gains, ceilings, by area and split (protocol section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Bools, Floats, Ints, Ragged, ScoreRow, Scores
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.predictions import SPLITS, Predictions, unit_groups
from neurobench_grasp.protocols.encoding.references import REFERENCES
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.records.table import EXPLAINED_VARIANCE
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.ceilings import (
    averaged_ceiling,
    poisson_ceiling,
    repeats_ceiling,
    single_trial_ceiling,
)
from neurobench_grasp.scoring.ev import averaged_ev, condition_average, grouped_ev
from neurobench_grasp.scoring.intervals import MIN_GROUPS, Summary, UnitScores, summarise, summarise_ratio
from neurobench_grasp.threads import on_all_cores

METRICS = ("single_trial_ev", "single_trial_r2", "condition_averaged_ev", "object_tuning_ev")
GAINS = ("linear_kinematic", "linear_inputs", "untrained", "phase_mean")
"""References that a model should beat; the others are nulls or bounds."""
CEILINGS: Mapping[str, Callable[..., Floats]] = {
    "single_trial_ev": partial(single_trial_ceiling, smoothing_bins=SETTINGS.smoothing_bins),
    "condition_averaged_ev": partial(averaged_ceiling, tuning_only=False),
    "object_tuning_ev": partial(averaged_ceiling, tuning_only=True),
}


@dataclass(frozen=True)
class Scored:
    """A session with the predictions of the candidate (named "") and of the references, draw by draw.

    ``absent`` says why other references do not apply.
    """

    session: AlignedSession
    predictions: Mapping[str, Sequence[Predictions]]
    absent: Mapping[str, str]
    layers: Sequence[str]
    n_winsorised: int


def score_table(context: Context, scored: Sequence[Scored]) -> Scores:
    """All rows of the record, area by area and split by split, then bookkeeping; and the units' scores."""
    areas = sorted({a for s in scored for a in s.session.units.areas})
    reliable = dict(on_all_cores(lambda s: (s.session.id, _reliable(context, s.session)), scored))
    tables = [EncodingTable(context, scored, area, split, reliable) for area in areas for split in SPLITS]
    rows = list(chain.from_iterable(on_all_cores(lambda table: list(table.rows()), tables)))
    rows += [{"metric": "n_winsorised", "session": s.session.id, "value": s.n_winsorised} for s in scored]
    units = UnitTable.of(chain.from_iterable(table.unit_scores() for table in tables))
    return Scores(rows, units.arrays())


def _reliable(context: Context, session: AlignedSession) -> Bools:
    """Return True for units whose condition means in train are reliable enough for a ceiling."""
    train, every = context.index(session, context.splits.train), np.arange(len(session.units))
    rates = _part(session.units.rates, train, every)
    values, _ = _ceiling(session, train, every, rates, CEILINGS["condition_averaged_ev"])
    return np.nan_to_num(values, nan=-np.inf) >= SETTINGS.reliability_floor


class EncodingTable:
    """Scores of one area on one split.

    Parameters
    ----------
    context : Context
    scored : sequence of Scored
    area, split : str
    reliable : mapping of str to ndarray of bool, optional
        Session → which of its units are reliable; only ceilings need it.
    """

    def __init__(
        self,
        context: Context,
        scored: Sequence[Scored],
        area: str,
        split: str,
        reliable: Mapping[str, Bools] | None = None,
    ) -> None:
        self.area, self.split = area, split
        ids = context.splits.train if split == "train_by_object" else getattr(context.splits, split)
        self.parts = [(s, context.index(s.session, ids)) for s in scored if area in s.session.units.areas]
        self.conditions = {s.session.trials.condition[i] for s, trials in self.parts for i in trials}
        self._mine = {
            s.session.id: np.array([a == area for a in s.session.units.areas]) for s, _ in self.parts
        }
        self._rates = {
            s.session.id: _part(s.session.units.rates, trials, np.flatnonzero(self._mine[s.session.id]))
            for s, trials in self.parts
        }
        self._reliable = {key: reliable[key][mine] for key, mine in self._mine.items() if reliable}
        self._known: dict[tuple[str, str, str, int | None], UnitScores] = {}

    def rows(self) -> Iterator[ScoreRow]:
        """Yield all rows: headline first, then references, gains and layers."""
        for metric in METRICS:
            yield self.row(metric)
            yield from self.session_rows(metric)
        if self.split != "train_by_object":
            for reference in REFERENCES:
                yield from (self.row(m, reference=reference) for m in EXPLAINED_VARIANCE)
            for reference in GAINS:
                yield from (self.gain(m, reference) for m in EXPLAINED_VARIANCE)
            yield from self.ceiling_rows()
            yield from self.choices()
        yield from self.layer_rows()
        yield self.far_below()

    def row(self, metric: str, *, reference: str = "", layer: int | None = None) -> ScoreRow:
        """One aggregate score with its interval, or the reason why there is none."""
        labels: ScoreRow = {"metric": metric, "split": self.split, "area": self.area}
        if reference:
            labels["reference"] = reference
        if layer is not None:
            labels["layer"] = self.parts[0][0].layers[layer]
        if why := self._absent(reference):
            return labels | {"value": None, "reason": why}
        scores = [self._unit_scores(s, trials, metric, reference, layer) for s, trials in self.parts]
        return labels | self._row(summarise(scores), metric)

    def _absent(self, reference: str) -> str | None:
        """Return why a reference is absent; it counts only if every session has it."""
        if reference == "psth" and self.split == "ood":
            return "new objects have no condition mean in train"
        return next((s.absent[reference] for s, _ in self.parts if reference in s.absent), None)

    def unit_scores(self) -> Iterator[tuple[Labels, UnitScores]]:
        """Yield the scores of single units that comparisons of models need; draws are averaged."""
        if self.split == "train_by_object":
            return
        for metric in EXPLAINED_VARIANCE:
            for reference in ("", *GAINS):
                if not self._absent(reference):
                    labels = Labels(self.area, self.split, metric, reference)
                    yield from ((labels, self._unit_scores(s, t, metric, reference)) for s, t in self.parts)

    def gain(self, metric: str, reference: str) -> ScoreRow:
        """Gain over a reference, paired unit by unit."""
        labels = {"metric": f"gain_over_{reference}", "of": metric, "split": self.split, "area": self.area}
        if why := self._absent(reference):
            return labels | {"value": None, "reason": why}
        scores = [
            self._unit_scores(s, t, metric).minus(self._unit_scores(s, t, metric, reference))
            for s, t in self.parts
        ]
        return labels | self._row(summarise(scores), metric)

    def ceiling_rows(self) -> Iterator[ScoreRow]:
        """Yield the ceilings, and the model's share of each, over the reliable units."""
        where: ScoreRow = {"split": self.split, "area": self.area}
        poisson = partial(poisson_ceiling, smoothing_bins=SETTINGS.smoothing_bins)
        for metric, bound in CEILINGS.items():
            ceilings = [self._ceilings(s, trials, bound) for s, trials in self.parts]
            yield {"metric": "ceiling", "of": metric, **where, **self._row(summarise(ceilings), "ceiling")}
            share = summarise_ratio([self._unit_scores(s, t, metric) for s, t in self.parts], ceilings)
            row = self._row(share, "ceiling")
            row.pop("median", None)  # of ratios it would mean nothing
            yield {"metric": "share_of_ceiling", "of": metric, **where, **row}
        of_bins: Mapping[str, Callable[[float], Callable[..., Floats]]] = {
            "repeats_ceiling": lambda dt: repeats_ceiling,
            "poisson_ceiling": lambda dt: partial(poisson, dt=dt),
        }
        for name, bound_of in of_bins.items():
            bounds = [self._ceilings(s, trials, bound_of(s.session.trials.dt)) for s, trials in self.parts]
            row = self._row(summarise(bounds), "ceiling")
            yield {"metric": name, "of": "single_trial_ev", **where, **row}
        unreliable = [
            f"{s.session.id}/{s.session.units.ids[u]}"
            for s, _ in self.parts
            for u in np.flatnonzero(self._mine[s.session.id])[~self._reliable[s.session.id]]
        ]
        yield {"metric": "n_units_unreliable", **where, "value": len(unreliable), "units": unreliable}

    def _ceilings(self, s: Scored, trials: Sequence[int], bound: Callable[..., Floats]) -> UnitScores:
        mine = np.flatnonzero(self._mine[s.session.id])
        found = _ceiling(s.session, trials, mine, self._rates[s.session.id], bound)
        names = tuple(s.session.units.ids[i] for i in mine)
        return UnitScores(s.session.id, s.session.subject, names, *found).where(self._reliable[s.session.id])

    def session_rows(self, metric: str) -> Iterator[ScoreRow]:
        """Score session by session, where there are several."""
        for s, trials in self.parts if len(self.parts) > 1 else ():
            labels = {"metric": metric, "split": self.split, "area": self.area, "session": s.session.id}
            yield labels | self._row(summarise([self._unit_scores(s, trials, metric)]), metric)

    def layer_rows(self) -> Iterator[ScoreRow]:
        """Score every layer, where there are several, and count the units that it explains best on train."""
        layers = self.parts[0][0].layers
        if len(layers) < 2:
            return
        yield from (self.row("single_trial_ev", layer=i) for i in range(len(layers)))
        if self.split != "train_by_object":
            best = [self._best_layer(s.predictions[""][0], s.session.id) for s, _ in self.parts]
            where: ScoreRow = {"metric": "n_units_best", "split": self.split, "area": self.area}
            for i, layer in enumerate(layers):
                yield where | {"layer": layer, "value": int(sum((b == i).sum() for b in best))}

    def _best_layer(self, chosen: Predictions, session: str) -> Ints:
        """Layer of each unit, −1 where none is proven to explain anything."""
        layer, mine = chosen[f"layer_{self.split}"], self._mine[session]
        alpha = chosen[f"alpha_{self.split}"][layer, np.arange(len(layer))]
        best: Ints = np.where(np.isfinite(alpha), layer, -1)[mine]
        return best

    def choices(self) -> Iterator[ScoreRow]:
        """Yield the lag of each session, chosen on train; positive: units lead the activations."""
        for s, _ in self.parts:
            fitted = self._mine[s.session.id] & (s.predictions[""][0][f"layer_{self.split}"] >= 0)
            if not fitted.any():
                continue
            lags = s.predictions[""][0][f"lag_{self.split}"][fitted]
            labels = {"metric": "lag", "split": self.split, "area": self.area, "session": s.session.id}
            yield labels | {"value": round(float(lags[0]), 6), "unit": "s"}

    def far_below(self) -> ScoreRow:
        """Name the units whose score is below −1; they are never dropped."""
        names = [
            f"{s.session.id}/{unit}"
            for s, trials in self.parts
            for unit, value in _named(self._unit_scores(s, trials, "single_trial_ev"))
            if value < -1
        ]
        labels: ScoreRow = {"metric": "n_units_below_minus_1", "split": self.split, "area": self.area}
        return labels | {"value": len(names), "units": names}

    def _unit_scores(
        self, s: Scored, trials: Sequence[int], metric: str, reference: str = "", layer: int | None = None
    ) -> UnitScores:
        key = (s.session.id, metric, reference, layer)  # rows, gains and sessions ask for the same
        if key not in self._known:
            self._known[key] = self._compute(s, trials, metric, reference, layer)
        return self._known[key]

    def _compute(
        self, s: Scored, trials: Sequence[int], metric: str, reference: str, layer: int | None
    ) -> UnitScores:
        by_trial = len(self.conditions) < MIN_GROUPS
        mine = np.flatnonzero(self._mine[s.session.id])
        names = tuple(s.session.units.ids[i] for i in mine)
        draws = []
        for predictions in s.predictions[reference]:
            prediction = (
                predictions[self.split] if layer is None else predictions[f"{self.split}_layers"][layer]
            )
            predicted = Ragged(prediction[:, mine], self._rates[s.session.id].offsets)
            scores = score_units(
                s.session, trials, mine, self._rates[s.session.id], predicted, metric, by_trial=by_trial
            )
            draws.append(UnitScores(s.session.id, s.session.subject, names, *scores))
        return UnitScores.mean_of(draws)

    def _row(self, total: Summary | None, metric: str) -> ScoreRow:
        if total is None:
            return {"value": None, "reason": self._why_undefined(metric)}
        row: ScoreRow = {
            "value": total.value,
            "ci": total.ci,
            "median": total.median,
            "n_units": total.n_units,
        }
        row["n_conditions"] = len(self.conditions)
        few = len(self.conditions) < MIN_GROUPS
        if total.ci is None:
            row["reason"] = f"no interval: {self._n_conditions()}, fewer than {MIN_GROUPS}"
        else:
            row["ci_over"] = ["trial" if few else "condition", "unit"]
            if few:
                row["reason"] = (
                    f"interval for the {self._n_conditions()} seen here only: too few to generalise"
                )
        return row

    def _n_conditions(self) -> str:
        return f"{len(self.conditions)} condition{'s' if len(self.conditions) > 1 else ''}"

    def _why_undefined(self, metric: str) -> str:
        if not any(trials for _, trials in self.parts):
            return f"the split {self.split} has no trials"
        if self.split == "train_by_object" and len(self.conditions) < 3:
            return "fewer than three training conditions to hold out in turn"
        if metric.startswith("single_trial"):
            return "no unit varies in the trials of this split"
        few = f"fewer than two conditions have {SETTINGS.min_repeats} trials in this split"
        return f"{few}, or no unit is reliable" if metric.endswith("ceiling") else few


def score_units(
    session: AlignedSession,
    trials: Sequence[int],
    of: Ints,
    measured: Ragged,
    predicted: Ragged,
    metric: str,
    *,
    by_trial: bool,
) -> tuple[Floats, dict[str, Floats]]:
    """Scores of some units on some trials, and with each condition (or trial) left out.

    ``measured`` and ``predicted`` have the window steps of ``trials`` and the units ``of``.
    """

    def table(mine: Sequence[int], y: Ragged, yhat: Ragged) -> tuple[Sequence[str], Floats] | None:
        conditions = [session.trials.condition[i] for i in mine]
        if not np.isfinite(yhat.values).all():
            return None
        if metric.startswith("single_trial"):
            groups = [f"{session.id}/{session.trials.ids[i]}" for i in mine] if by_trial else conditions
            return sorted(set(groups)), grouped_ev(y, yhat, groups, offset_counts=metric == "single_trial_r2")
        if len(labels := _repeated(conditions)) < 2:
            return None
        averaged = (condition_average(r, conditions, labels) for r in (y, yhat))
        return labels, averaged_ev(*averaged, tuning_only=metric == "object_tuning_ev")

    return _in_groups(session, trials, of, (measured, predicted), table)


def _ceiling(
    session: AlignedSession,
    trials: Sequence[int],
    of: Ints,
    measured: Ragged,
    bound: Callable[..., Floats],
) -> tuple[Floats, dict[str, Floats]]:
    """Ceilings of some units on some trials, and with each condition left out."""

    def table(mine: Sequence[int], y: Ragged) -> tuple[Sequence[str], Floats] | None:
        conditions = [session.trials.condition[i] for i in mine]
        labels = _repeated(conditions)
        return (labels, bound(y, conditions, labels)) if len(labels) > 1 else None

    return _in_groups(session, trials, of, (measured,), table)


def _repeated(conditions: Sequence[str]) -> list[str]:
    """List the conditions with enough trials to be averaged."""
    return [c for c in sorted(set(conditions)) if conditions.count(c) >= SETTINGS.min_repeats]


def _in_groups(
    session: AlignedSession,
    trials: Sequence[int],
    of: Ints,
    signals: Sequence[Ragged],
    table: Callable[..., tuple[Sequence[str], Floats] | None],
) -> tuple[Floats, dict[str, Floats]]:
    """Combine the results of ``table(trials, *signals)`` for units that were observed in the same trials."""
    values = np.full(len(of), np.nan)
    left_out: dict[str, Floats] = {}
    for units, seen in unit_groups(session.units.observed[:, of]) if len(trials) else ():
        mine = [k for k, i in enumerate(trials) if seen[i]]
        found = table([trials[k] for k in mine], *(_part(r, mine, units) for r in signals)) if mine else None
        if found is None:
            continue
        labels, rows = found
        values[units] = rows[0]
        for label, row in zip(labels, rows[1:], strict=True):
            left_out.setdefault(label, np.full(len(of), np.nan))[units] = row
    return values, {g: np.where(np.isnan(v), values, v) for g, v in left_out.items()}


def _part(rates: Ragged, trials: Sequence[int], units: Ints) -> Ragged:
    """Take some trials and units, in ascending order; the whole is not copied."""
    some = rates if len(trials) == len(rates) else rates.select(trials)
    return some if len(units) == some.values.shape[1] else Ragged(some.values[:, units], some.offsets)


def _named(scores: UnitScores) -> Iterator[tuple[str, float]]:
    return zip(scores.units, scores.values.tolist(), strict=True)

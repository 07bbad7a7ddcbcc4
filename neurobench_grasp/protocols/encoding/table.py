"""From predictions to tidy rows: scores, gains, ceilings, by area and split (protocol section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Bools, Ints, Ragged, ScoreRow, Scores
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.blocks import conditions_of, over_trials, sums_key, trials_of
from neurobench_grasp.protocols.encoding.predictions import SPLITS, Predictions
from neurobench_grasp.protocols.encoding.references import BEST_KINEMATIC, KINEMATIC, REFERENCES
from neurobench_grasp.protocols.encoding.sums import (
    NOISE,
    Activity,
    Noise,
    averaged,
    ceiling_sums,
    poisson,
    repeats,
    unit_sums,
    with_data,
)
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.records.table import EXPLAINED_VARIANCE, one_network
from neurobench_grasp.records.units import CEILING, Labels, UnitTable
from neurobench_grasp.scoring.intervals import (
    MIN_GROUPS,
    Summary,
    UnitScores,
    summarise,
    summarise_ratio,
)
from neurobench_grasp.scoring.sums import JOINED
from neurobench_grasp.threads import on_all_cores

METRICS = ("single_trial_ev", "single_trial_r2", "condition_averaged_ev", "object_tuning_ev")
GAINS = (BEST_KINEMATIC, *KINEMATIC, "linear_emg", "linear_inputs", "untrained", "phase_mean")
"""References that a model should beat; the others are nulls or bounds."""


@dataclass(frozen=True)
class Panel:
    """Which references stand beside a model: rows of their scores, and of the model's gains over some.

    Parameters
    ----------
    references, gains : sequence of str
    """

    references: Sequence[str] = REFERENCES
    gains: Sequence[str] = GAINS


ALL = Panel()
"""The panel of the protocol ``encoding``."""
BOUNDS: Mapping[str, Noise] = {"repeats_ceiling": repeats, "poisson_ceiling": poisson}
"""Other ceilings of single trials, by the noise that they assume."""


@dataclass(frozen=True)
class Scored:
    """A session with the predictions of the candidate (named "") and of the references, draw by draw.

    Of a long session, the sums behind their scores instead, see :class:`.blocks.Reduction`.
    ``absent`` says why other references do not apply.
    """

    session: AlignedSession
    predictions: Mapping[str, Sequence[Predictions]]
    absent: Mapping[str, str]
    layers: Sequence[str]
    n_winsorised: int


def score_table(context: Context, scored: Sequence[Scored], panel: Panel = ALL) -> Scores:
    """All rows of the record, area by area and split by split, then bookkeeping; and the units' scores."""
    areas = sorted({a for s in scored for a in s.session.units.areas})
    activity = dict(on_all_cores(lambda s: (s.session.id, Activity.of(context, s.session)), scored))
    reliable = {s.session.id: _reliable(context, s.session, activity[s.session.id]) for s in scored}
    tables = [
        EncodingTable(context, scored, area, split, activity, reliable, panel)
        for area in areas
        for split in SPLITS
    ]
    rows = list(chain.from_iterable(on_all_cores(lambda table: list(table.rows()), tables)))
    rows += [{"metric": "n_winsorised", "session": s.session.id, "value": s.n_winsorised} for s in scored]
    units = UnitTable.of(chain.from_iterable(table.unit_scores() for table in tables))
    return Scores(rows, units.arrays())


def _reliable(context: Context, session: AlignedSession, activity: Activity) -> Bools:
    """Return True for units whose condition means in train are reliable enough for a ceiling."""
    train, every = context.index(session, context.splits.train), np.arange(len(session.units))
    ceilings = ceiling_sums(session, train, every, "condition_averaged_ev", activity, averaged)
    reliable: Bools = np.nan_to_num(ceilings.scores()[0], nan=-np.inf) >= SETTINGS.reliability_floor
    return reliable


class EncodingTable:
    """Scores of one area on one split.

    Parameters
    ----------
    context : Context
    scored : sequence of Scored
    area, split : str
    activity : mapping of str to Activity
        By session.
    reliable : mapping of str to ndarray of bool, optional
        Session → which of its units are reliable; only ceilings need it.
    panel : Panel
    """

    def __init__(
        self,
        context: Context,
        scored: Sequence[Scored],
        area: str,
        split: str,
        activity: Mapping[str, Activity],
        reliable: Mapping[str, Bools] | None = None,
        panel: Panel = ALL,
    ) -> None:
        self.area, self.split, self._activity, self._panel = area, split, activity, panel
        self._one_of_many = context.model.seeded
        self.parts = [
            (s, trials_of(context, s.session, split)) for s in scored if area in s.session.units.areas
        ]
        self._mine = {
            s.session.id: np.array([a == area for a in s.session.units.areas]) for s, _ in self.parts
        }
        self.conditions = conditions_of(context, [s.session for s, _ in self.parts], area, split)
        self._rates: dict[str, Ragged] = {}
        self._reliable = {key: reliable[key][mine] for key, mine in self._mine.items() if reliable}
        self._known: dict[tuple[str, str, str, int | None], UnitScores] = {}

    def rows(self) -> Iterator[ScoreRow]:
        """Yield all rows: headline first, then references, gains and layers."""
        for metric in METRICS:
            yield self.row(metric)
            yield from self.session_rows(metric)
        if self.split != "train_by_object":
            for reference in self._panel.references:
                yield from (self.row(m, reference=reference) for m in EXPLAINED_VARIANCE)
            for reference in self._panel.gains:
                yield from (self.gain(m, reference) for m in EXPLAINED_VARIANCE)
            yield from self.ceiling_rows()
            yield from self.choices()
            yield self.by_their_mean()
        yield from self.layer_rows()
        yield self.too_few_spikes()
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
        if reference == BEST_KINEMATIC:
            labels["chosen"] = self._best_kinematic
        scores = [self._unit_scores(s, trials, metric, reference, layer) for s, trials in self.parts]
        return labels | self._row(summarise(scores), metric)

    @cached_property
    def _best_kinematic(self) -> str:
        """The kinematic reference that explains the units of the area best on average, by folds of train."""

        def explained(name: str) -> float:
            found = [s.predictions[name][0]["cv_ev_ood"][self._mine[s.session.id]] for s, _ in self.parts]
            return float(np.nanmean(np.concatenate(found)))

        here = [name for name in KINEMATIC if all(name in s.predictions for s, _ in self.parts)]
        return max(here, key=explained)

    def _absent(self, reference: str) -> str | None:
        """Return why a reference is absent; it counts only if every session has it."""
        if reference == "psth" and self.split == "ood":
            return "new objects have no condition mean in train"
        if reference == BEST_KINEMATIC:
            reasons = [self._absent(name) for name in KINEMATIC]
            return None if None in reasons else reasons[0]
        return next((s.absent[reference] for s, _ in self.parts if reference in s.absent), None)

    def unit_scores(self) -> Iterator[tuple[Labels, UnitScores]]:
        """Yield the scores of single units that comparisons of models need, and that folds join."""
        if self.split == "train_by_object":
            return
        joins = self.split in JOINED
        if joins:
            yield from self.kept("single_trial_r2")
        for metric in EXPLAINED_VARIANCE:
            for reference in ("", *(self._of_all_folds if joins else self._panel.gains)):
                yield from self.kept(metric, reference)
        for metric in NOISE:
            labels = Labels(self.area, self.split, metric, CEILING)
            for s, trials in self.parts:
                yield labels, self._kept(self._ceilings(s, trials, metric))

    @property
    def _of_all_folds(self) -> Sequence[str]:
        """References whose scores are rows or behind gains."""
        return list(dict.fromkeys([*self._panel.gains, *self._panel.references]))

    def kept(self, metric: str, reference: str = "") -> Iterator[tuple[Labels, UnitScores]]:
        """Yield the scores of single units behind one row, session by session; none if it is absent."""
        if not self._absent(reference):
            labels = Labels(self.area, self.split, metric, reference)
            for s, trials in self.parts:
                yield labels, self._kept(self._unit_scores(s, trials, metric, reference))

    def _kept(self, scores: UnitScores) -> UnitScores:
        """Keep the sums behind scores only of a split that all folds share."""
        return scores if self.split in JOINED else replace(scores, terms=())

    def gain(self, metric: str, reference: str) -> ScoreRow:
        """Gain over a reference, paired unit by unit."""
        labels = {"metric": f"gain_over_{reference}", "of": metric, "split": self.split, "area": self.area}
        return labels | self.difference(metric, reference)

    def difference(self, metric: str, reference: str, of: str = "") -> ScoreRow:
        """Score minus that of a reference, paired unit by unit, or the reason why there is none."""
        if why := self._absent(reference) or self._absent(of):
            return {"value": None, "reason": why}
        scores = [
            self._unit_scores(s, t, metric, of).minus(self._unit_scores(s, t, metric, reference))
            for s, t in self.parts
        ]
        return one_network(self._row(summarise(scores), metric), seeded=self._one_of_many)

    def ceiling_rows(self) -> Iterator[ScoreRow]:
        """Yield the ceilings, and the model's share of each, over the reliable units."""
        where: ScoreRow = {"split": self.split, "area": self.area}
        for metric in NOISE:
            ceilings = [self._ceilings(s, trials, metric) for s, trials in self.parts]
            yield {"metric": "ceiling", "of": metric, **where, **self._row(summarise(ceilings), "ceiling")}
            share = summarise_ratio([self._unit_scores(s, t, metric) for s, t in self.parts], ceilings)
            row = self._row(share, "ceiling")
            row.pop("median", None)  # of ratios it would mean nothing
            yield {"metric": "share_of_ceiling", "of": metric, **where, **row}
        for name, noise in BOUNDS.items():
            bounds = [self._ceilings(s, trials, "single_trial_ev", noise) for s, trials in self.parts]
            row = self._row(summarise(bounds), "ceiling")
            yield {"metric": name, "of": "single_trial_ev", **where, **row}
        unreliable = [
            f"{s.session.id}/{s.session.units.ids[u]}"
            for s, _ in self.parts
            for u in np.flatnonzero(self._mine[s.session.id])[~self._reliable[s.session.id]]
        ]
        yield {"metric": "n_units_unreliable", **where, "value": len(unreliable), "units": unreliable}

    def _ceilings(
        self, s: Scored, trials: Sequence[int], metric: str, noise: Noise | None = None
    ) -> UnitScores:
        """Score a perfect model, on the reliable units."""
        key = s.session.id, metric, "ceiling", None
        if noise is None and key in self._known:
            return self._known[key]
        session, mine = s.session, np.flatnonzero(self._mine[s.session.id])
        sums = ceiling_sums(session, trials, mine, metric, self._activity[session.id], noise or NOISE[metric])
        sums = sums.where(self._reliable[session.id])
        names = tuple(session.units.ids[i] for i in mine)
        scores = UnitScores.of_terms(session.id, session.subject, names, ((1, sums),))
        return scores if noise else self._known.setdefault(key, scores)

    def session_rows(self, metric: str) -> Iterator[ScoreRow]:
        """Score session by session, and animal by animal, where there are several."""
        for s, trials in self.parts if len(self.parts) > 1 else ():
            labels = {"metric": metric, "split": self.split, "area": self.area, "session": s.session.id}
            yield labels | self._row(summarise([self._unit_scores(s, trials, metric)]), metric)
        animals = dict.fromkeys(s.session.subject for s, _ in self.parts)
        for animal in animals if len(animals) > 1 else ():
            labels = {"metric": metric, "split": self.split, "area": self.area, "subject": animal}
            mine = [(s, trials) for s, trials in self.parts if s.session.subject == animal]
            yield labels | self._row(summarise([self._unit_scores(s, t, metric) for s, t in mine]), metric)

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

    def by_their_mean(self) -> ScoreRow:
        """Count the units that are predicted by their mean, because no map explains them on train."""
        best = [self._best_layer(s.predictions[""][0], s.session.id) for s, _ in self.parts]
        labels: ScoreRow = {"metric": "n_units_by_mean", "split": self.split, "area": self.area}
        return labels | {"value": int(sum((b < 0).sum() for b in best))}

    def too_few_spikes(self) -> ScoreRow:
        """Name the units that are not scored, because they have too few spikes in train or in the split."""
        names = []
        for s, trials in self.parts:
            mine, activity = np.flatnonzero(self._mine[s.session.id]), self._activity[s.session.id]
            ((_, sums),) = self._unit_scores(s, trials, "single_trial_ev").terms
            sparse = ~activity.enough[mine] | ((sums.values[0].sum(0) > 0) & ~sums.scored)
            names += [f"{s.session.id}/{s.session.units.ids[u]}" for u in mine[sparse]]
        labels: ScoreRow = {"metric": "n_units_sparse", "split": self.split, "area": self.area}
        return labels | {"value": len(names), "units": names}

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
        reference = self._best_kinematic if reference == BEST_KINEMATIC else reference
        key = (s.session.id, metric, reference, layer)  # rows, gains and sessions ask for the same
        if key not in self._known:
            self._known[key] = self._compute(s, trials, metric, reference, layer)
        return self._known[key]

    def _compute(
        self, s: Scored, trials: Sequence[int], metric: str, reference: str, layer: int | None
    ) -> UnitScores:
        session, mine = s.session, np.flatnonzero(self._mine[s.session.id])
        names = tuple(session.units.ids[i] for i in mine)
        by_trial = self._over_trials and metric.startswith("single_trial")
        draws = []
        for predictions in s.predictions[reference]:
            if self.split in predictions:
                part = (
                    predictions[self.split] if layer is None else predictions[f"{self.split}_layers"][layer]
                )
                rates = self._recorded(session, trials)
                signals = rates, Ragged(part[:, mine], rates.offsets)
                sums = unit_sums(
                    session, trials, mine, signals, metric, self._activity[session.id], by_trial=by_trial
                )
            else:
                found = predictions[sums_key(self.split, metric, layer, by_trial=by_trial)]
                sums = with_data(session, trials, metric, found[:, :, mine], by_trial=by_trial)
            draws.append(UnitScores.of_terms(session.id, session.subject, names, ((1, sums),)))
        return UnitScores.mean_of(draws)

    def _recorded(self, session: AlignedSession, trials: Sequence[int]) -> Ragged:
        """Rates of the area's units, for every prediction."""
        if session.id not in self._rates:
            mine = np.flatnonzero(self._mine[session.id])
            self._rates[session.id] = session.units.rates.part(trials, mine)
        return self._rates[session.id]

    @property
    def _over_trials(self) -> bool:
        """Whether intervals are over trials."""
        return over_trials(self.split, self.conditions)

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
        if total.ci is None:
            row["reason"] = f"no interval: {self._n_conditions()}, fewer than {MIN_GROUPS}"
        else:
            row["ci_over"] = ["trial" if self._over_trials else "condition", "unit"]
            if self._over_trials:
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
            return "no unit varies, and has enough spikes, in the trials of this split"
        if not metric.endswith("ceiling"):
            return (
                f"no condition has {SETTINGS.min_repeats} trials in this split, or no unit has enough spikes"
            )
        few = f"fewer than two conditions have {SETTINGS.min_repeats} trials in this split"
        return f"{few}, or no unit is reliable"


def _named(scores: UnitScores) -> Iterator[tuple[str, float]]:
    return zip(scores.units, scores.values.tolist(), strict=True)

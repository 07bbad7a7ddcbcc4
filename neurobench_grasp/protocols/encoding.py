"""Encoding: how much of each unit's activity a model's inner activity explains (protocol section 3).

Reads top to bottom: component scores of each session (`_scores`), the map to units (`_predict`), the
references through the same map (`_references`), then scores and gains as tidy rows (`_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.machine import on_all_cores
from neurobench_grasp.protocols.align import AlignedSession
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.scoring.ceilings import averaged_ceiling, poisson_ceiling, single_trial_ceiling
from neurobench_grasp.scoring.components import fit_components
from neurobench_grasp.scoring.ev import averaged_ev, condition_average, grouped_ev
from neurobench_grasp.scoring.intervals import MIN_GROUPS, Summary, UnitScores, summarise, summarise_ratio
from neurobench_grasp.scoring.mapping import Training, choose, choose_lag, predict
from neurobench_grasp.scoring.references import (
    at_phase,
    circular_shift,
    condition_locked_noise,
    generator,
    phase_mean,
)
from neurobench_grasp.scoring.ridge import Plan
from neurobench_grasp.scoring.splits import folds_by_condition, folds_by_trial
from neurobench_grasp.types import Bools, Floats, Ints, Ragged, ScoreRow, Trials

Predictions = dict[str, NDArray[Any]]
METRICS = ("single_trial_ev", "single_trial_r2", "condition_averaged_ev", "object_tuning_ev")
COMPARED = ("single_trial_ev", "condition_averaged_ev", "object_tuning_ev")
SPLITS = ("test", "ood", "train_by_object")
REFERENCES = ("phase_mean", "condition_locked_noise", "circular_shift")
CEILINGS: Mapping[str, Callable[..., Floats]] = {
    "single_trial_ev": single_trial_ceiling,
    "condition_averaged_ev": partial(averaged_ceiling, tuning_only=False),
    "object_tuning_ev": partial(averaged_ceiling, tuning_only=True),
}


def run(context: Context) -> list[ScoreRow]:
    """Score one model on one dataset.

    Returns
    -------
    list of dict
        Tidy rows, one number each, as in the published schema of records.

    Raises
    ------
    UnsupportedError
        If no session has units.
    NgbError
        If the model's layers do not have the steps of the trials, or are not finite.
    """
    if not any(session.units for session in context.sessions):
        names = ", ".join(s.id for s in context.sessions)
        raise UnsupportedError(
            f"{names} holds no units, and encoding predicts units; score another recording."
        )
    scored: list[_Scored] = []
    for session in context.sessions:
        context.progress(f"encoding {session.id}: activations")
        cut, rows = _within_reach(session)
        scores = _scores(context, session, cut, rows)
        context.progress(f"encoding {session.id}: map to {len(session.units)} units")
        with threadpool_limits(limits=1):  # many small matrices: threads that wait for each other cost more
            predictions = {"": [_candidate(context, cut, scores)], **_references(context, cut, scores)}
        scored.append(_Scored(cut, predictions, list(scores.layers), scores.n_winsorised))
    context.progress("encoding: scores and intervals")
    return list(_rows(context, scored))


# --- component scores -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _LayerScores:
    """Component scores of every layer at every step that a lag reaches."""

    layers: Mapping[str, Ragged]
    n_winsorised: int


def _within_reach(session: AlignedSession) -> tuple[AlignedSession, Ints]:
    """Cut the trials to the steps that a window reaches at some lag, and list these steps.

    A model runs on whole trials; everything after needs no more than this.
    """
    t = session.trials
    reach = round(session.max_lag / t.dt)
    first = np.maximum(t.window[:, 0] - reach, 0)
    stop = np.minimum(t.window[:, 1] + reach, np.diff(t.offsets))
    rows = [o + np.arange(a, z) for o, a, z in zip(t.offsets, first, stop, strict=False)]
    offsets = np.concatenate([[0], np.cumsum(stop - first)]).astype(np.int64)
    cut = replace(t, window=t.window - first[:, None], offsets=offsets, signals={}, joint_angles=None)
    return replace(session, trials=cut), np.concatenate(rows).astype(np.int64)


def _scores(context: Context, session: AlignedSession, cut: AlignedSession, rows: Ints) -> _LayerScores:
    """Run the model on a session, standardise and reduce each layer within reach; kept as a stage."""
    train = _window_rows(cut.trials, context.index(cut, context.splits.train))

    def make() -> dict[str, NDArray[Any]]:
        activations = context.activations(session.trials)
        for name, layer in activations.layers.items():
            _check_layer(name, layer, session.trials)
        with threadpool_limits(limits=1):
            reduced = on_all_cores(lambda x: _reduce(x.values[rows], train), activations.layers.values())
        scores = {f"scores_{i}": layer.astype(np.float32) for i, (layer, _) in enumerate(reduced)}
        n_winsorised = np.array(sum(n_cut for _, n_cut in reduced))
        return {"layers": np.array(list(activations.layers)), "n_winsorised": n_winsorised, **scores}

    key = context.key(
        stage="activations", session=session.sha256, train=context.splits.sha256, settings=_settings()
    )
    arrays = context.stage("activations", key, make)
    layers = {
        str(name): Ragged(arrays[f"scores_{i}"].astype(np.float64), cut.trials.offsets)
        for i, name in enumerate(arrays["layers"])
    }
    return _LayerScores(layers, int(arrays["n_winsorised"]))


def _check_layer(name: str, layer: Ragged, trials: Trials) -> None:
    if not np.array_equal(layer.offsets, trials.offsets):
        raise NgbError(
            f"Layer {name!r} of the model has {layer.offsets[-1]} steps in {len(layer)} trials, but the "
            f"trials have {trials.offsets[-1]} in {len(trials)}; return one row for every step of each trial."
        )
    if layer.values.ndim != 2 or not np.isfinite(layer.values).all():
        raise NgbError(f"Layer {name!r} of the model must be finite numbers of shape (steps, features).")


def _reduce(layer: NDArray[Any], train_rows: Ints) -> tuple[Floats, int]:
    values = np.asarray(layer, np.float64)
    components = fit_components(
        values[train_rows], n_components=SETTINGS.n_components, winsorise_sd=SETTINGS.winsorise_sd
    )
    return components.scores(values)


def _window_rows(trials: Trials, which: Sequence[int]) -> Ints:
    """List the steps of the scored windows of some trials, trial after trial."""
    rows = [trials.offsets[i] + np.arange(*trials.window[i]) for i in which]
    return np.concatenate(rows).astype(np.int64) if rows else np.zeros(0, np.int64)


# --- predictions ----------------------------------------------------------------------------------


def _candidate(context: Context, session: AlignedSession, scores: _LayerScores) -> Predictions:
    key = context.key(stage="map", session=session.sha256, splits=context.splits.sha256, settings=_settings())
    return context.stage("map", key, lambda: _predict(context, session, scores.layers, candidate=True))


def _references(
    context: Context, session: AlignedSession, scores: _LayerScores
) -> dict[str, Sequence[Predictions]]:
    """Predictions of the references that the core computes beside every candidate."""
    inputs = {"session": session.sha256, "splits": context.splits.sha256, "settings": _settings()}
    trials, train = session.trials, _window_rows(session.trials, context.index(session, context.splits.train))

    def shifted(draw: int) -> Predictions:
        place = circular_shift(trials.offsets, generator("circular_shift", context.seed, session.id, draw))
        return _predict(context, session, scores.layers, candidate=False, place=place)

    def noise(draw: int) -> Predictions:
        lengths = np.diff(trials.offsets).tolist()
        layer = condition_locked_noise(trials.condition, lengths, f"{session.id}|{draw}")
        reduced = {"noise": Ragged(_reduce(layer.values, train)[0], trials.offsets)}
        return _predict(context, session, reduced, candidate=False)

    def predicted(by: Callable[[int], Predictions]) -> Predictions:
        predictions = enumerate(on_all_cores(by, range(SETTINGS.n_draws)))
        return {f"{s} {d}": p[s].astype(np.float32) for d, p in predictions for s in ("test", "ood")}

    def draws(arrays: Predictions) -> Sequence[Predictions]:
        return [{s: arrays[f"{s} {draw}"] for s in ("test", "ood")} for draw in range(SETTINGS.n_draws)]

    noise_key = context.core_key(stage="condition_locked_noise", **inputs)
    shift_key = context.key(stage="circular_shift", **inputs)
    return {
        "phase_mean": [_phase_mean(context, session)],
        "condition_locked_noise": draws(context.stage("noise", noise_key, lambda: predicted(noise))),
        "circular_shift": draws(context.stage("shift", shift_key, lambda: predicted(shifted))),
    }


def _phase_mean(context: Context, session: AlignedSession) -> Predictions:
    train = context.index(session, context.splits.train)
    out: Predictions = {}
    for split in ("test", "ood"):
        trials = context.index(session, getattr(context.splits, split))
        prediction = _empty(session, trials)
        for units, seen in _unit_groups(session.observed):
            fitted = [i for i in train if seen[i]]
            if fitted and trials:
                rates = session.rates.select(fitted)
                course = phase_mean(
                    Ragged(rates.values[:, units], rates.offsets),
                    [session.trials.condition[i] for i in fitted],
                )
                prediction[:, units] = at_phase(course, session.rates.lengths[trials].tolist()).values
        out[split] = prediction
    return out


def _predict(
    context: Context,
    session: AlignedSession,
    layers: Mapping[str, Ragged],
    *,
    candidate: bool,
    place: Ints | None = None,
) -> Predictions:
    """Fit the map on train and predict the other splits, unit group by unit group.

    The lag is chosen with folds by object, the map for ``test`` with folds by trial, the map for ``ood`` with
    folds by object. For a candidate, train itself is predicted fold by fold from maps that have not seen the
    object; a null needs no such prediction, and no lag, which would only move what lies at a random place.
    ``place`` gives the step at which each step's features lie, where it is another one.
    """
    trials = {s: context.index(session, getattr(context.splits, s)) for s in ("train", "test", "ood")}
    n_layers, n_units = len(layers), len(session.units)
    out: Predictions = {}
    for split in SPLITS if candidate else ("test", "ood"):
        wanted = trials["train" if split == "train_by_object" else split]
        out[split] = _empty(session, wanted)
        if candidate and n_layers > 1:
            out[f"{split}_layers"] = np.full((n_layers, *out[split].shape), np.nan, np.float32)
    for mode in ("test", "ood"):
        out[f"lag_{mode}"] = np.zeros(n_units)
        out[f"layer_{mode}"] = np.full(n_units, -1)
        out[f"cv_ev_{mode}"] = np.full((n_layers, n_units), np.nan)
        out[f"alpha_{mode}"] = np.full((n_layers, n_units), np.nan)
    place = np.arange(session.trials.offsets[-1]) if place is None else place
    for units, seen in _unit_groups(session.observed):
        fitted = [i for i in trials["train"] if seen[i]]
        if len(fitted) >= SETTINGS.n_folds:
            _predict_group(session, layers, place, units, fitted, trials, out)
    return out


def _predict_group(
    session: AlignedSession,
    layers: Mapping[str, Ragged],
    place: Ints,
    units: Ints,
    fitted: Sequence[int],
    trials: Mapping[str, Sequence[int]],
    out: Predictions,
) -> None:
    """Fill in the predictions of units that were observed in the same trials."""
    t, candidate = session.trials, "train_by_object" in out
    training, plans, order = _training(session, layers, place, units, fitted)
    inner = _nested(plans["ood"]) if candidate else {}
    of_train = np.repeat(np.isin(trials["train"], fitted), session.rates.lengths[trials["train"]])
    row_of_train = np.flatnonzero(of_train)[order]
    lags = _lags(training, plans, session, units) if candidate else np.zeros(len(units), np.int64)
    for lag in np.unique(lags).tolist():
        mine, part = units[lags == lag], training.of_units(lags == lag)
        chosen = choose(part, plans | inner, lag)
        for mode, plan in plans.items():
            choice = chosen[mode]
            out[f"lag_{mode}"][mine] = lag * t.dt
            out[f"layer_{mode}"][mine] = choice.layer
            out[f"cv_ev_{mode}"][:, mine] = choice.cv_ev
            out[f"alpha_{mode}"][:, mine] = choice.alpha
            wanted = place[_window_rows(t, trials[mode])]
            prediction = predict(part, choice, _cells(plan), wanted, every_layer=candidate)
            _fill(out, mode, mine, choice.layer, prediction, np.arange(len(wanted)))
        for name, plan in inner.items():
            held_out = ~np.isin(part.cell, _cells(plan))
            prediction = predict(part, chosen[name], _cells(plan), part.rows[held_out])
            _fill(out, "train_by_object", mine, chosen[name].layer, prediction, row_of_train[held_out])


def _training(
    session: AlignedSession, layers: Mapping[str, Ragged], place: Ints, units: Ints, fitted: Sequence[int]
) -> tuple[Training, dict[str, Plan], Ints]:
    """Sort training bins into cells, object fold × trial fold: bins, folds of each split, and their order."""
    t, n = session.trials, SETTINGS.n_folds
    conditions = [t.condition[i] for i in fitted]
    trial_fold = np.array(folds_by_trial([t.ids[i] for i in fitted], conditions, n))
    object_fold = np.array(folds_by_condition(conditions, n))
    cell = np.repeat(object_fold * n + trial_fold, session.rates.lengths[list(fitted)])
    order = np.argsort(cell, kind="stable")
    rates = session.rates.select(fitted).values[:, units]
    training = Training(
        layers={name: layer.values for name, layer in layers.items()},
        rows=place[_window_rows(t, fitted)][order],
        rates=(rates - rates.mean(0))[order],
        mean=rates.mean(0),
        cell=cell[order],
        n_cells=n * n,
        alphas=SETTINGS.alphas,
        min_t=SETTINGS.min_t,
    )
    cells = np.arange(n * n).reshape(n, n)
    by_object = [cells[f].tolist() for f in range(n) if (object_fold == f).any()]
    return training, {"test": cells.T.tolist(), "ood": by_object}, order


def _nested(by_object: Plan) -> dict[str, Plan]:
    """Cross-validations that have not seen one fold of objects, for each fold; needs three."""
    if len(by_object) < 3:
        return {}
    return {f"not {f}": [*by_object[:f], *by_object[f + 1 :]] for f in range(len(by_object))}


def _cells(plan: Plan) -> list[int]:
    return [cell for fold in plan for cell in fold]


def _lags(training: Training, plans: Mapping[str, Plan], session: AlignedSession, units: Ints) -> Ints:
    """Choose the lag of each unit: one per area, with folds by object, or by trial if there is only one."""
    reach = round(session.max_lag / session.trials.dt)
    plan = plans["ood"] if len(plans["ood"]) > 1 else plans["test"]
    areas = np.array([session.areas[u] for u in units])
    lag = np.zeros(len(units), np.int64)
    for area in np.unique(areas):
        lag[areas == area] = choose_lag(training.of_units(areas == area), plan, range(-reach, reach + 1))
    return lag


def _fill(out: Predictions, split: str, units: Ints, layer: Ints, prediction: Floats, rows: Ints) -> None:
    """Put (n_layers, n_rows, n_units) predictions in place, and those of each unit's best layer."""
    if f"{split}_layers" in out:
        out[f"{split}_layers"][:, rows[:, None], units] = prediction
    out[split][rows[:, None], units] = prediction[layer, :, np.arange(len(units))].T


def _unit_groups(observed: Bools) -> Iterator[tuple[Ints, Bools]]:
    """Group units that were observed in the same trials: (positions of the units, seen trials)."""
    if observed.all():  # the usual case, and asked often
        yield np.arange(observed.shape[1]), np.ones(len(observed), bool)
        return
    patterns, member = np.unique(observed, axis=1, return_inverse=True)
    for g in range(patterns.shape[1]):
        yield np.flatnonzero(member.ravel() == g), patterns[:, g]


def _empty(session: AlignedSession, trials: Sequence[int]) -> Floats:
    return np.full((int(session.rates.lengths[list(trials)].sum()), len(session.units)), np.nan)


def _settings() -> dict[str, Any]:
    return asdict(SETTINGS)


# --- scores ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scored:
    """A session with the predictions of the candidate (named "") and of the references, draw by draw."""

    session: AlignedSession
    predictions: Mapping[str, Sequence[Predictions]]
    layers: Sequence[str]
    n_winsorised: int

    def reliable(self, train: Sequence[int]) -> Bools:
        """Tell which units have condition means that repeat in train, well enough to speak of a ceiling."""
        every, rates = np.arange(len(self.session.units)), _part(self.session.rates, train, None)
        values, _ = _ceiling(self.session, train, every, rates, CEILINGS["condition_averaged_ev"])
        return np.nan_to_num(values, nan=-np.inf) >= SETTINGS.reliability_floor


def _rows(context: Context, scored: Sequence[_Scored]) -> Iterator[ScoreRow]:
    """All rows of the record: area by area and split by split, then bookkeeping."""
    areas = sorted({a for s in scored for a in s.session.areas})
    tables = [_Table(context, scored, area, split) for area in areas for split in SPLITS]
    yield from chain.from_iterable(on_all_cores(lambda table: list(table.rows()), tables))
    for s in scored:
        yield {"metric": "n_winsorised", "session": s.session.id, "value": s.n_winsorised}


class _Table:
    """Scores of one area on one split."""

    def __init__(self, context: Context, scored: Sequence[_Scored], area: str, split: str) -> None:
        self.area, self.split = area, split
        ids = context.splits.train if split == "train_by_object" else getattr(context.splits, split)
        self.parts = [(s, context.index(s.session, ids)) for s in scored if area in s.session.areas]
        self.conditions = {s.session.trials.condition[i] for s, trials in self.parts for i in trials}
        self._mine = {s.session.id: np.array([a == area for a in s.session.areas]) for s, _ in self.parts}
        self._rates = {
            s.session.id: _part(s.session.rates, trials, np.flatnonzero(self._mine[s.session.id]))
            for s, trials in self.parts
        }
        self._reliable = {
            s.session.id: s.reliable(context.index(s.session, context.splits.train))[self._mine[s.session.id]]
            for s, _ in self.parts
        }
        self._known: dict[tuple[str, str, str, int | None], UnitScores] = {}

    def rows(self) -> Iterator[ScoreRow]:
        """Give all rows: headline first, then references, gains and layers."""
        for metric in METRICS:
            yield self.row(metric)
            yield from self.session_rows(metric)
        if self.split != "train_by_object":
            for reference in REFERENCES:
                yield from (self.row(m, reference=reference) for m in COMPARED)
            yield from (self.gain(m, "phase_mean") for m in COMPARED)
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
        scores = [self._unit_scores(s, trials, metric, reference, layer) for s, trials in self.parts]
        return labels | self._row(summarise(scores), metric)

    def gain(self, metric: str, reference: str) -> ScoreRow:
        """Gain over a reference, paired unit by unit."""
        scores = [
            self._unit_scores(s, t, metric).minus(self._unit_scores(s, t, metric, reference))
            for s, t in self.parts
        ]
        labels = {"metric": f"gain_over_{reference}", "of": metric, "split": self.split, "area": self.area}
        return labels | self._row(summarise(scores), metric)

    def ceiling_rows(self) -> Iterator[ScoreRow]:
        """Give what a perfect model would score, and the model's share of it, over the reliable units."""
        where: ScoreRow = {"split": self.split, "area": self.area}
        poisson: Callable[..., Floats] = partial(
            poisson_ceiling, dt=self.parts[0][0].session.trials.dt, smoothing_bins=SETTINGS.smoothing_bins
        )
        for metric, bound in CEILINGS.items():
            ceilings = [self._ceilings(s, trials, bound) for s, trials in self.parts]
            yield {"metric": "ceiling", "of": metric, **where, **self._row(summarise(ceilings), "ceiling")}
            share = summarise_ratio([self._unit_scores(s, t, metric) for s, t in self.parts], ceilings)
            row = self._row(share, "ceiling")
            row.pop("median", None)  # of ratios it would mean nothing
            yield {"metric": "share_of_ceiling", "of": metric, **where, **row}
        bounds = [self._ceilings(s, trials, poisson) for s, trials in self.parts]
        row = self._row(summarise(bounds), "ceiling")
        yield {"metric": "poisson_ceiling", "of": "single_trial_ev", **where, **row}
        unreliable = [
            f"{s.session.id}/{s.session.units[u]}"
            for s, _ in self.parts
            for u in np.flatnonzero(self._mine[s.session.id])[~self._reliable[s.session.id]]
        ]
        yield {"metric": "n_units_unreliable", **where, "value": len(unreliable), "units": unreliable}

    def _ceilings(self, s: _Scored, trials: Sequence[int], bound: Callable[..., Floats]) -> UnitScores:
        mine = np.flatnonzero(self._mine[s.session.id])
        found = _ceiling(s.session, trials, mine, self._rates[s.session.id], bound)
        names = tuple(s.session.units[i] for i in mine)
        return UnitScores(s.session.id, s.session.subject, names, *found).where(self._reliable[s.session.id])

    def session_rows(self, metric: str) -> Iterator[ScoreRow]:
        """Score session by session, where there are several."""
        for s, trials in self.parts if len(self.parts) > 1 else ():
            labels = {"metric": metric, "split": self.split, "area": self.area, "session": s.session.id}
            yield labels | self._row(summarise([self._unit_scores(s, trials, metric)]), metric)

    def layer_rows(self) -> Iterator[ScoreRow]:
        """Score every layer, where there are several."""
        layers = self.parts[0][0].layers
        if len(layers) > 1:
            yield from (self.row("single_trial_ev", layer=i) for i in range(len(layers)))

    def choices(self) -> Iterator[ScoreRow]:
        """Give the lag of each session, chosen on train; positive: units lead the activations."""
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
        self, s: _Scored, trials: Sequence[int], metric: str, reference: str = "", layer: int | None = None
    ) -> UnitScores:
        key = (s.session.id, metric, reference, layer)  # rows, gains and sessions ask for the same
        if key not in self._known:
            self._known[key] = self._compute(s, trials, metric, reference, layer)
        return self._known[key]

    def _compute(
        self, s: _Scored, trials: Sequence[int], metric: str, reference: str, layer: int | None
    ) -> UnitScores:
        by_trial = len(self.conditions) < MIN_GROUPS
        mine = np.flatnonzero(self._mine[s.session.id])
        names = tuple(s.session.units[i] for i in mine)
        draws = []
        for predictions in s.predictions[reference]:
            prediction = (
                predictions[self.split] if layer is None else predictions[f"{self.split}_layers"][layer]
            )
            predicted = Ragged(prediction[:, mine], self._rates[s.session.id].offsets)
            scores = _score(
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


def _score(
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
    """Put together what ``table(trials, *signals)`` gives for units that were observed in the same trials."""
    values = np.full(len(of), np.nan)
    left_out: dict[str, Floats] = {}
    for units, seen in _unit_groups(session.observed[:, of]) if len(trials) else ():
        mine = [k for k, i in enumerate(trials) if seen[i]]
        found = table([trials[k] for k in mine], *(_part(r, mine, units) for r in signals)) if mine else None
        if found is None:
            continue
        labels, rows = found
        values[units] = rows[0]
        for label, row in zip(labels, rows[1:], strict=True):
            left_out.setdefault(label, np.full(len(of), np.nan))[units] = row
    return values, {g: np.where(np.isnan(v), values, v) for g, v in left_out.items()}


def _part(rates: Ragged, trials: Sequence[int], units: Ints | None) -> Ragged:
    """Take some trials and some (or all) units, in ascending order; the whole is not copied."""
    some = rates if len(trials) == len(rates) else rates.select(trials)
    whole = units is None or len(units) == some.values.shape[1]
    return some if whole else Ragged(some.values[:, units], some.offsets)


def _named(scores: UnitScores) -> Iterator[tuple[str, float]]:
    return zip(scores.units, scores.values.tolist(), strict=True)

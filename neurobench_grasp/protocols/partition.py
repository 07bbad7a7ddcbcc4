"""Unique contributions of groups of features by banded ridge (section 9 of the protocol).

How much of a unit's activity does each group explain that no other group does? Explained variance with all
groups, minus that of a model fitted again without one; what groups share counts for none of them. Each group
has a separate penalty for each unit, so that a wide or irrelevant group costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.clock import clock_of, recorded_in_bins
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Floats, Ints, Ragged, ScoreRow, Scores, Trials
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.encoding.predictions import (
    Predictions,
    no_predictions,
    training_of,
    unit_groups,
)
from neurobench_grasp.protocols.encoding.protocol import candidate_predictions
from neurobench_grasp.protocols.encoding.reduction import LagWindow, candidate_scores, window_rows
from neurobench_grasp.protocols.encoding.sums import Activity
from neurobench_grasp.protocols.encoding.table import EncodingTable, Scored
from neurobench_grasp.protocols.settings import ENCODING, PARTITION
from neurobench_grasp.records.table import HELD_OUT, ONLY, UNIQUE, WITHOUT
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.banded import Penalties, choose_penalties, draw_weights, solve_banded
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.references import generator
from neurobench_grasp.scoring.ridge import Moments

LAYERS = "layers"
RECORDED = ("muscles", "joints", "goal", "emg")
"""Groups that depend on the recording alone."""
GROUPS = (*RECORDED, LAYERS)
METRIC = "single_trial_ev"
GROUP = Stage("group", asdict(ENCODING), model=False)
BANDED = Stage("banded", {**asdict(ENCODING), **asdict(PARTITION)})


@dataclass(frozen=True)
class Recorded:
    """A session and its groups of recorded features.

    Parameters
    ----------
    lagged : LagWindow
    groups : mapping of str to Ragged
        Component scores at the steps of the lag window, (trial, step, n_components).
    absent : mapping of str to str
        Why there are no others.
    """

    lagged: LagWindow
    groups: Mapping[str, Ragged]
    absent: Mapping[str, str]

    @classmethod
    def of(cls, context: Context, session: AlignedSession) -> Recorded:
        """Reduce each group that was recorded like a layer; kept as stages that depend on no model."""
        lagged, groups, absent = LagWindow.of(context, session), {}, {}
        for name in RECORDED:
            try:
                groups[name] = _recorded(context, lagged, name)
            except UnsupportedError as reason:
                absent[name] = str(reason)
        return cls(lagged, groups, absent)


def run(context: Context) -> Scores:
    """Measure how much each group of features explains alone, and beyond all others.

    Returns
    -------
    Scores
        ``single_trial_ev`` of all groups together and, with ``group``, of each alone; ``unique_ev`` of each.
        A group counts only if every session has it.

    Raises
    ------
    UnsupportedError
        If no session has units.
    """
    with_units = [session for session in context.sessions if session.units]
    if not with_units:
        names = ", ".join(session.id for session in context.sessions)
        raise UnsupportedError(
            f"{names} holds no units, and the protocol partition predicts units; score another recording."
        )
    recorded = [Recorded.of(context, session) for session in with_units]
    absent = {name: why for one in reversed(recorded) for name, why in one.absent.items()}
    fitted = [_fitted(context, one, absent) for one in recorded]
    scored, chosen = [s for s, _ in fitted], list(chain.from_iterable(rows for _, rows in fitted))
    activity = {s.session.id: Activity.of(context, s.session) for s in scored}
    context.progress("partition: scores and intervals")
    areas = sorted({area for s in scored for area in s.session.units.areas})
    tables = [EncodingTable(context, scored, area, split, activity) for area in areas for split in HELD_OUT]
    rows = chain.from_iterable(map(_rows, tables))
    units = UnitTable.of(chain.from_iterable(map(_unit_scores, tables)))
    return Scores([*rows, *chosen], units.arrays())


# --- features -------------------------------------------------------------------------------------


def _recorded(context: Context, lagged: LagWindow, name: str) -> Ragged:
    """Component scores of one group; all but the goal are of the moment, so that none has a longer memory."""
    from neurobench_grasp.bodies import goals, joint_kinematics, muscle_kinematics

    features: Mapping[str, Callable[[Trials], Ragged]] = {
        "muscles": muscle_kinematics,
        "joints": joint_kinematics,
        "goal": goals,
        "emg": lambda _: recorded_in_bins(lagged.session, "emg"),
    }

    def make() -> Arrays:
        values = features[name](clock_of(lagged.session, None).scored).values[lagged.rows]
        scores, _ = lagged.components(values)
        if not scores.shape[1]:
            raise UnsupportedError(f"{lagged.session.id} has no {name} that vary")
        return {"scores": scores}

    scores = context.stages(replace(GROUP, name=f"group-{name}"), lagged.session, make)["scores"]
    return Ragged(scores, lagged.trials.offsets)


def _equalised(lagged: LagWindow, group: Ragged) -> Ragged:
    """Scale a group to the variance of the widest possible layer, so that weights are shares of variance."""
    variance = max(float(group.values[lagged.train].var(0).sum()), 1e-300)  # of a constant layer it is 0
    return Ragged(group.values * (ENCODING.n_components / variance) ** 0.5, group.offsets)


# --- fits -----------------------------------------------------------------------------------------


def _fitted(context: Context, recorded: Recorded, absent: Mapping[str, str]) -> tuple[Scored, list[ScoreRow]]:
    """Predictions of a session by all groups, by each alone and without each; lags and layers as rows."""
    lagged, session = recorded.lagged, recorded.lagged.session
    context.progress(f"partition {session.id}: activations")
    scores = candidate_scores(context, lagged)
    context.progress(f"partition {session.id}: map to {len(session.units)} units")
    groups = {name: _equalised(lagged, g) for name, g in recorded.groups.items() if name not in absent}
    predictions = {name: _none(context, session) for name in subsets([*groups, LAYERS])}
    rows: list[ScoreRow] = []
    with threadpool_limits(limits=1):  # as encoding, for the same map
        candidate = candidate_predictions(context, lagged, scores)
        for area in dict.fromkeys(session.units.areas):
            mine = np.array(session.units.areas) == area
            explained = np.nan_to_num(candidate["cv_ev_ood"][:, mine]).mean(1)
            layer = list(scores.layers)[int(explained.argmax())]
            features = groups | {LAYERS: _equalised(lagged, scores.layers[layer])}
            for units, fitted, lag in _alike(context, session, np.flatnonzero(mine), candidate["lag_ood"]):
                Fit(context, lagged, features, units, fitted, lag).fill(predictions)
            labels: ScoreRow = {"metric": "lag", "area": area, "session": session.id}
            lag_s = round(float(candidate["lag_ood"][mine][0]), 6)
            rows.append(labels | {"value": lag_s, "unit": "s", "chosen": layer})
    reasons = {f"{part}{name}": why for name, why in absent.items() for part in (ONLY, WITHOUT)}
    made = {name: [prediction] for name, prediction in predictions.items()}
    return Scored(session, made, reasons, list(scores.layers), scores.n_winsorised), rows


def _alike(
    context: Context, session: AlignedSession, units: Ints, lags: Floats
) -> Iterator[tuple[Ints, list[int], int]]:
    """Group units that share training trials and lag: (units, trials, steps), where trials are enough."""
    train, steps = context.index(session, context.splits.train), np.rint(lags / session.trials.dt)
    for together, seen in unit_groups(session.units.observed[:, units]):
        fitted = [i for i in train if seen[i]]
        mine = units[together]
        for lag in np.unique(steps[mine]) if len(fitted) >= ENCODING.n_folds else ():
            yield mine[steps[mine] == lag], fitted, int(lag)


def subsets(groups: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what is fitted, by name, small sets first: each group, all without each, and all (named "")."""
    return {
        **{f"{ONLY}{name}": (name,) for name in groups},
        **{f"{WITHOUT}{name}": tuple(g for g in groups if g != name) for name in groups},
        "": tuple(groups),
    }


def _none(context: Context, session: AlignedSession) -> Predictions:
    """Predictions of no unit."""
    n, out = len(session.units), {}
    for split in HELD_OUT:
        out[split] = no_predictions(session, context.index(session, getattr(context.splits, split)))
        out |= {f"layer_{split}": np.zeros(n, np.int64), f"alpha_{split}": np.full((1, n), np.nan)}
    return out


@dataclass(frozen=True)
class Fit:
    """Banded ridge of some units.

    Parameters
    ----------
    context : Context
    lagged : LagWindow
    features : mapping of str to Ragged
        Groups.
    units : ndarray of int64
        Units of one area and lag that were observed in the same trials.
    fitted : sequence of int
        Training trials in which they were.
    lag : int
        Steps.
    """

    context: Context
    lagged: LagWindow
    features: Mapping[str, Ragged]
    units: Ints
    fitted: Sequence[int]
    lag: int

    def fill(self, predictions: Mapping[str, Predictions]) -> None:
        """Fill in the predictions of all subsets of groups; one without layers is kept for every model."""
        known: dict[tuple[str, ...], Penalties] = {}
        for name, members in subsets(list(self.features)).items():
            made = self.context.stages(
                replace(BANDED, model=LAYERS in members),
                self.lagged.session,
                partial(self.predicted, members, known),
                units=self.units.tolist(),
                lag=self.lag,
                groups=list(members),
            )
            known[members] = Penalties(made["weights"], made["alpha"], made["cv_ev"])
            for split in HELD_OUT:
                predictions[name][split][:, self.units] = made[split]
                predictions[name][f"alpha_{split}"][0, self.units] = made["alpha"]

    def predicted(self, members: tuple[str, ...], known: Mapping[tuple[str, ...], Penalties]) -> Arrays:
        """Choose penalties on train and predict ``test`` and ``ood``, (n_steps, n_units), spikes/s.

        What is ``known`` to be best for fewer groups is a candidate, too. Otherwise a group that adds nothing
        would cost the others: as many draws search more groups less densely.
        """
        columns = np.flatnonzero(np.isin(self._group, members))
        group = np.array([members.index(name) for name in self._group[columns]], np.int64)
        mean, folds = self._training
        folds = folds.of_features(columns)
        weights = draw_weights(len(members), PARTITION.n_draws, generator("banded", *members))
        fewer = [found.among(some, members) for some, found in known.items() if {*some} < {*members}]
        penalties = Penalties.best_of([*fewer, choose_penalties(folds, group, weights, ENCODING.alphas)])
        coefficients, intercept = solve_banded(folds.total(range(len(folds.x))), group, penalties)
        out: Arrays = asdict(penalties)
        for split in HELD_OUT:
            trials = self.context.index(self.lagged.session, getattr(self.context.splits, split))
            x = self._values[window_rows(self.lagged.trials, trials) + self.lag][:, columns]
            out[split] = (x @ coefficients + (intercept + mean)).astype(np.float32)
        return out

    @cached_property
    def _values(self) -> Floats:
        """The features of all groups side by side."""
        return np.hstack([group.values for group in self.features.values()])

    @cached_property
    def _group(self) -> NDArray[np.str_]:
        """Group of each of them."""
        return np.repeat(list(self.features), [g.values.shape[1] for g in self.features.values()])

    @cached_property
    def _training(self) -> tuple[Floats, Moments]:
        """Mean rates, and the moments of the folds by condition (by trial, if there is only one)."""
        values = Ragged(self._values, self.lagged.trials.offsets)
        place = np.arange(len(values.values))
        training, plans, _ = training_of(self.lagged, {"": values}, place, self.units, self.fitted)
        cells = training.moments("", self.lag)
        plan = plans["ood"] if len(plans["ood"]) > 1 else plans["test"]
        return training.mean, Moments.stack([cells.total(fold) for fold in plan])


# --- rows -----------------------------------------------------------------------------------------


def _rows(table: EncodingTable) -> Iterator[ScoreRow]:
    """Yield the score of all groups, of each alone, and what each adds to the others."""
    yield table.row(METRIC)
    for group in GROUPS:
        row = table.row(METRIC, reference=f"{ONLY}{group}")
        del row["reference"]
        yield row | {"group": group}
    for group in GROUPS:
        labels: ScoreRow = {"metric": UNIQUE, "of": METRIC, "split": table.split, "area": table.area}
        yield labels | {"group": group} | table.difference(METRIC, f"{WITHOUT}{group}")
    yield table.by_their_mean()
    yield table.too_few_spikes()
    yield table.far_below()


def _unit_scores(table: EncodingTable) -> Iterator[tuple[Labels, UnitScores]]:
    for name in subsets(GROUPS):
        yield from table.kept(METRIC, name)

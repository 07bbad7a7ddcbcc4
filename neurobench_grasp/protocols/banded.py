"""Banded ridge of single units on groups of features: fits of several sets of groups, kept as stages.

Each group has a separate penalty for each unit, so that a wide or irrelevant group costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Floats, Ints, Ragged
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.encoding.predictions import (
    Predictions,
    no_predictions,
    training_of,
    unit_groups,
)
from neurobench_grasp.protocols.encoding.reduction import LagWindow, window_rows
from neurobench_grasp.protocols.settings import ENCODING, PARTITION
from neurobench_grasp.records.table import HELD_OUT
from neurobench_grasp.scoring.banded import Penalties, choose_penalties, draw_weights, solve_banded
from neurobench_grasp.scoring.references import generator
from neurobench_grasp.scoring.ridge import Moments

BANDED = Stage("banded-ridge", {**asdict(ENCODING), **asdict(PARTITION)})


def equalised(lagged: LagWindow, group: Ragged) -> Ragged:
    """Scale a group to the variance of the widest possible layer, so that weights are shares of variance."""
    variance = max(float(group.values[lagged.train].var(0).sum()), 1e-300)  # of a constant layer it is 0
    return Ragged(group.values * (ENCODING.n_components / variance) ** 0.5, group.offsets)


def alike(
    context: Context, session: AlignedSession, units: Ints, lags: Floats
) -> Iterator[tuple[Ints, list[int], int]]:
    """Group units that share training trials and lag: (units, trials, steps), where trials are enough."""
    train, steps = context.index(session, context.splits.train), np.rint(lags / session.trials.dt)
    for together, seen in unit_groups(session.units.observed[:, units]):
        fitted = [i for i in train if seen[i]]
        mine = units[together]
        for lag in np.unique(steps[mine]) if len(fitted) >= ENCODING.n_folds else ():
            yield mine[steps[mine] == lag], fitted, int(lag)


def no_fit(context: Context, session: AlignedSession) -> Predictions:
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
    sets : mapping of str to sequence of str
        What is fitted, by name, small sets of groups first.
    of_model : sequence of str
        Groups that depend on the model; fits without them are kept for every model.
    stage : Stage
    """

    context: Context
    lagged: LagWindow
    features: Mapping[str, Ragged]
    units: Ints
    fitted: Sequence[int]
    lag: int
    sets: Mapping[str, Sequence[str]]
    of_model: Sequence[str]
    stage: Stage = BANDED

    def fill(self, predictions: Mapping[str, Predictions]) -> None:
        """Fill in the predictions of all sets of groups."""
        known: dict[tuple[str, ...], Penalties] = {}
        for name, members in ((name, tuple(members)) for name, members in self.sets.items()):
            made = self.context.stages(
                replace(self.stage, model=not {*members}.isdisjoint(self.of_model)),
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
        would cost the others: as many draws search more groups less densely. Sets of equally many groups try
        equal weights, so that equal features have equal scores, whatever they are called.
        """
        columns = np.flatnonzero(np.isin(self._group, members))
        group = np.array([members.index(name) for name in self._group[columns]], np.int64)
        mean, folds = self._training
        folds = folds.of_features(columns)
        n = len(members)
        weights = draw_weights(n, PARTITION.n_draws, generator("banded", n))
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

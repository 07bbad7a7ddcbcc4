"""Responses of populations and layers to the trials of a session, resampled to phases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Floats, Ints, Ragged, ScoreRow
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.protocol import candidate_predictions
from neurobench_grasp.protocols.encoding.reduction import LagWindow, candidate_scores, window_rows
from neurobench_grasp.protocols.encoding.sums import Activity
from neurobench_grasp.protocols.settings import POPULATION
from neurobench_grasp.records.table import HELD_OUT
from neurobench_grasp.scoring.ev import to_phase
from neurobench_grasp.scoring.population import Space, matched_covariance
from neurobench_grasp.scoring.references import generator

Repeats = Mapping[str, Ints]
"""Condition → its trials, at least two."""


@dataclass(frozen=True)
class Responses:
    """Responses of some features, and their leading components.

    Parameters
    ----------
    trials : ndarray, shape (n_trials, 25, n_features)
    space : Space
    """

    trials: Floats
    space: Space

    @classmethod
    def of_population(cls, trials: Floats, train: Repeats, halves: tuple[Repeats, Repeats]) -> Responses:
        """Find the components of what repeats in halves of the training trials."""
        first, second = (averages(trials, half) for half in halves)
        space = Space.of(averages(trials, train), (first, second), share=POPULATION.share)
        return cls(trials, space)

    @classmethod
    def beside(cls, population: Responses, trials: Floats, train: Repeats) -> Responses:
        """Find the components of responses without noise, as many as a population has at least."""
        average, n = averages(trials, train), population.n_dimensions
        return cls(trials, Space.of(average, (average, average), share=POPULATION.share, at_least=n))

    @property
    def n_dimensions(self) -> int:
        """Number of components."""
        return len(self.space.axes.T)

    def average(self, repeats: Repeats) -> Floats:
        """Component scores of the averages of conditions, (n_conditions, 25, n_components)."""
        return self.space(averages(self.trials, repeats))


@dataclass(frozen=True)
class Recorded:
    """The populations of a session, and a model's layers at their lags.

    Parameters
    ----------
    session : AlignedSession
    repeats : mapping of str to Repeats
        Of each split, and of ``train``.
    areas : mapping of str to Responses
        Area → its population.
    true : mapping of str to Responses
        The same without noise; synthetic sessions only.
    n_units : mapping of str to int
    layers : mapping of str to mapping of str to Responses
        Area → layer → responses; empty if the model does not run.
    lags : mapping of str to float
        Area → seconds.
    absent : str
        Why the model does not run.
    """

    session: AlignedSession
    repeats: Mapping[str, Repeats]
    areas: Mapping[str, Responses]
    true: Mapping[str, Responses]
    n_units: Mapping[str, int]
    layers: Mapping[str, Mapping[str, Responses]] = field(default_factory=dict)
    lags: Mapping[str, float] = field(default_factory=dict)
    absent: str = ""

    @classmethod
    def of(cls, context: Context, session: AlignedSession) -> Recorded:
        """Average a session's populations, and run the model on it."""
        repeats = {
            split: _repeats(session, context.index(session, getattr(context.splits, split)))
            for split in ("train", *HELD_OUT)
        }
        areas, true, units = {}, {}, {}
        for area, mine, scale in _populations(context, session) if repeats["train"] else ():
            train, halves = repeats["train"], halved(repeats["train"], session.id, area)
            every = range(len(session.start))
            rates = to_phase(session.units.rates.part(every, mine)) / scale
            found = Responses.of_population(rates, train, halves)
            if found.n_dimensions:
                areas[area], units[area] = found, mine
                if session.units.true_rates is not None:
                    rates = to_phase(session.units.true_rates.part(every, mine))
                    true[area] = Responses.beside(found, rates / scale, train)
        recorded = cls(session, repeats, areas, true, {area: len(mine) for area, mine in units.items()})
        try:
            return recorded._with_layers(context, units)
        except UnsupportedError as why:
            return replace(recorded, absent=str(why))

    def _with_layers(self, context: Context, units: Mapping[str, Ints]) -> Recorded:
        """Add the model's layers at the lag that ``encoding`` chose for each area."""
        lagged = LagWindow.of(context, self.session)
        scores = candidate_scores(context, lagged)
        with threadpool_limits(limits=1):  # as encoding, for the same lag
            chosen = candidate_predictions(context, lagged, scores)["lag_ood"]
        lags = {area: float(chosen[mine[0]]) for area, mine in units.items()}
        offsets = self.session.units.rates.offsets
        window = window_rows(lagged.trials, range(len(offsets) - 1))
        layers = {}
        for area, lag in lags.items():
            rows = window + round(lag / lagged.trials.dt)
            at_lag = {name: Ragged(x.values[rows], offsets) for name, x in scores.layers.items()}
            layers[area] = {
                name: Responses.beside(self.areas[area], to_phase(x), self.repeats["train"])
                for name, x in at_lag.items()
            }
        return replace(self, layers=layers, lags=lags)

    def rows(self) -> Iterator[ScoreRow]:
        """Yield units, dimensions and lag of each area."""
        for area, found in self.areas.items():
            where: ScoreRow = {"area": area, "session": self.session.id}
            yield {"metric": "n_units_population", **where, "value": self.n_units[area]}
            yield {"metric": "n_dimensions", **where, "value": found.n_dimensions}
            if area in self.lags:
                yield {"metric": "lag", **where, "value": round(self.lags[area], 6), "unit": "s"}

    def matched(self, area: str, layer: Responses, draw: int) -> Responses:
        """Draw random responses with the covariance of a layer's, a function of condition and phase alone."""
        known = {**self.repeats["train"], **self.repeats["ood"]}
        labels = list(known)
        drawn = matched_covariance(
            averages(layer.trials, known), generator("matched_covariance", self.session.id, draw)
        )
        trials = np.zeros((len(layer.trials), *drawn.shape[1:]))
        for split in self.repeats.values():
            for label, mine in split.items():
                if label in known:
                    trials[mine] = drawn[labels.index(label)]
        return Responses.beside(self.areas[area], trials, self.repeats["train"])


def averages(trials: Floats, repeats: Repeats) -> Floats:
    """Average the trials of each condition, (n_conditions, 25, n_features)."""
    means = [trials[mine].mean(0) for mine in repeats.values()]
    return np.stack(means) if means else trials[:0]


def halved(repeats: Repeats, *labels: object) -> tuple[Repeats, Repeats]:
    """Deal the trials of each condition into two halves at random; the second may have one more."""
    rng = generator("halves", *labels)
    shuffled = {label: rng.permutation(mine) for label, mine in repeats.items()}
    first = {label: mine[: len(mine) // 2] for label, mine in shuffled.items()}
    return first, {label: mine[len(mine) // 2 :] for label, mine in shuffled.items()}


def _repeats(session: AlignedSession, trials: Sequence[int]) -> Repeats:
    """Trials of each condition, sorted, that has two of them."""
    labels = np.array([session.trials.condition[i] for i in trials])
    found = {str(label): np.array(trials)[labels == label] for label in np.unique(labels)}
    return {label: mine for label, mine in found.items() if len(mine) >= POPULATION.min_halves}


def _populations(context: Context, session: AlignedSession) -> Iterator[tuple[str, Ints, Floats]]:
    """Yield area, units and their standard deviation in training trials.

    Units that were observed in all trials, vary, and have spikes enough to be scored.
    """
    train = context.index(session, context.splits.train)
    scale = session.units.rates.select(train).values.std(0)
    usable = Activity.of(context, session).enough & session.units.observed.all(0) & (scale > 0)
    for area in dict.fromkeys(session.units.areas):
        mine = np.flatnonzero(usable & (np.array(session.units.areas) == area))
        if len(mine):
            yield area, mine, scale[mine]

"""How alike recorded EMG and muscle activation are in the averages of conditions: correlation and RSA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from neurobench_grasp.contract import Floats, Ragged, ScoreRow
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.emg.activation import CANDIDATE, PERMUTED, STATIC, Muscles
from neurobench_grasp.protocols.settings import EMG
from neurobench_grasp.records.table import CORRELATION, GAIN, RSA, one_network
from neurobench_grasp.records.units import CEILING, Labels
from neurobench_grasp.scoring.emg import condition_averages, halves, muscle_rsa
from neurobench_grasp.scoring.ev import to_phase
from neurobench_grasp.scoring.intervals import MIN_GROUPS, Summary, UnitScores, summarise
from neurobench_grasp.scoring.sums import JOINED, Sums

SHIFTED = "shifted_emg"
REFERENCES = (STATIC, PERMUTED, SHIFTED)
OF_RSA = (STATIC, PERMUTED)
"""EMG at another time keeps which muscles are active together, so that it is no null of RSA."""
ALL = "muscles"
"""Name of the one unit whose score RSA is."""


class Similarity:
    """Scores of one split.

    Parameters
    ----------
    context : Context
    muscles : sequence of Muscles
        One of each session with EMG.
    split : str
    """

    def __init__(self, context: Context, muscles: Sequence[Muscles], split: str) -> None:
        self.split, self._seeded = split, context.model.seeded
        ids = getattr(context.splits, split)
        self.parts = [(m, repeated(m, context.index(m.session, ids))) for m in muscles]

    def rows(self) -> Iterator[ScoreRow]:
        """Yield the correlation over all channels and of each, then RSA, beside ceilings and references."""
        for metric, references in ((CORRELATION, REFERENCES), (RSA, OF_RSA)):
            for reference in (CANDIDATE, *references):
                labels = {"reference": reference} if reference else {}
                yield {"metric": metric, "split": self.split, **labels, **self._row(metric, reference)}
            yield {"metric": f"{GAIN}{PERMUTED}", "of": metric, "split": self.split, **self._gain(metric)}
            ceiling = {"metric": CEILING, "of": metric, "split": self.split}
            yield ceiling | self._row(metric, CEILING)
        for channel in dict.fromkeys(name for m, _ in self.parts for name in m.recorded.channels):
            yield from self._channel_rows(channel)

    def unit_scores(self) -> Iterator[tuple[Labels, UnitScores]]:
        """Yield the scores of single channels behind the rows."""
        for metric, references in ((CORRELATION, REFERENCES), (RSA, OF_RSA)):
            for reference in (CANDIDATE, *references, CEILING):
                for part in [] if self._absent(reference) else self._scores(metric, reference):
                    yield Labels("", self.split, metric, reference), part

    def _row(self, metric: str, reference: str) -> ScoreRow:
        if why := self._absent(reference):
            return {"value": None, "reason": why}
        return self._summary(summarise(self._scores(metric, reference)))

    def _gain(self, metric: str) -> ScoreRow:
        """Score beyond that of permuted muscles, paired channel by channel."""
        if why := self._absent(CANDIDATE) or self._absent(PERMUTED):
            return {"value": None, "reason": why}
        pairs = zip(self._scores(metric, CANDIDATE), self._scores(metric, PERMUTED), strict=True)
        return one_network(self._summary(summarise([a.minus(b) for a, b in pairs])), seeded=self._seeded)

    def _channel_rows(self, channel: str) -> Iterator[ScoreRow]:
        """Yield the correlation of one channel, and its ceiling."""
        for reference in (CANDIDATE, CEILING):
            label = {"of": CORRELATION} if reference else {}
            labels = {"metric": CEILING if reference else CORRELATION, **label, "split": self.split}
            if why := self._absent(reference):
                yield labels | {"dimension": channel, "value": None, "reason": why}
                continue
            mine = [
                s.of([channel], list(s.left_out))
                for s in self._scores(CORRELATION, reference)
                if channel in s.units
            ]
            yield labels | {"dimension": channel} | self._summary(summarise(mine))

    def _absent(self, reference: str) -> str | None:
        """Return why a source of activation is absent; it counts only if every session has it."""
        sources = {reference} if reference != SHIFTED else {CANDIDATE, STATIC}  # either will do
        found = (m.absent[min(sources)] for m, _ in self.parts if sources <= {*m.absent})
        return next(found, None)

    def _summary(self, total: Summary | None) -> ScoreRow:
        conditions = {m.session.trials.condition[i] for m, trials in self.parts for i in trials}
        if total is None:
            few = f"no condition has {EMG.min_halves} trials in this split"
            flat = "what is compared does not vary, or has too few channels"
            return {"value": None, "reason": flat if conditions else few}
        row: ScoreRow = {"value": total.value, "ci": total.ci, "median": total.median}
        row |= {"n_units": total.n_units, "n_conditions": len(conditions)}
        if total.ci is None:
            n = f"{len(conditions)} condition{'' if len(conditions) == 1 else 's'}"
            return row | {"reason": f"no interval: {n}, fewer than {MIN_GROUPS}"}
        return row | {"ci_over": ["condition", "unit"]}

    def _scores(self, metric: str, reference: str) -> list[UnitScores]:
        """Return the scores of each session's channels, or of all its muscles together."""
        return self._known[metric, reference]

    @cached_property
    def _known(self) -> dict[tuple[str, str], list[UnitScores]]:
        """All scores; sources that are absent have none."""
        found = {}
        for reference in (CANDIDATE, *REFERENCES, CEILING):
            if self._absent(reference) is None:
                pairs = [list(compared(m, trials, reference)) for m, trials in self.parts]
                for metric, score in ((CORRELATION, _correlation), (RSA, _rsa)):
                    found[metric, reference] = [
                        UnitScores.mean_of([score(m, trials, pair, reference) for pair in draws])
                        for (m, trials), draws in zip(self.parts, pairs, strict=True)
                    ]
        if self.split not in JOINED:
            found = {key: [replace(part, terms=()) for part in parts] for key, parts in found.items()}
        return found


def repeated(muscles: Muscles, trials: Sequence[int]) -> list[int]:
    """Return the trials of conditions with enough of them for two halves."""
    labels = [muscles.session.trials.condition[i] for i in trials]
    return [i for i, label in zip(trials, labels, strict=True) if labels.count(label) >= EMG.min_halves]


def compared(m: Muscles, trials: Sequence[int], reference: str) -> Iterator[tuple[Floats, Floats]]:
    """Yield what is compared, draw by draw: recorded and simulated averages of conditions.

    Parameters
    ----------
    m : Muscles
    trials : sequence of int
        As of :func:`repeated`.
    reference : str
        Source of activation, shifted EMG, or the ceiling.

    Yields
    ------
    (ndarray, ndarray), shape (n_conditions, 25, n_channels) each
    """
    conditions = [m.session.trials.condition[i] for i in trials]

    def average(activity: Ragged) -> Floats:
        return condition_averages(to_phase(activity.select(trials)), conditions)

    if reference == CEILING:
        yield halves(to_phase(m.recorded.activity.select(trials)), conditions)
    elif reference == SHIFTED:
        yield average(m.shifted), average(m.by_channel(m.leading)[0])
    else:
        for draw in m.by_channel(reference):
            yield average(m.recorded.activity), average(draw)


def _correlation(
    m: Muscles, trials: Sequence[int], pair: tuple[Floats, Floats], reference: str
) -> UnitScores:
    """Correlate each channel over the phases of all conditions."""
    a, b = pair
    sums = np.stack([np.full(a.shape, 1.0), a, a**2, b, b**2, a * b]).sum(2)
    kind = "reliability" if reference == CEILING else "correlation"
    groups = tuple(sorted({m.session.trials.condition[i] for i in trials}))
    terms = ((1, Sums(kind, groups, sums)),)
    return UnitScores.of_terms(m.session.id, m.session.subject, m.recorded.channels, terms)


def _rsa(m: Muscles, trials: Sequence[int], pair: tuple[Floats, Floats], reference: str) -> UnitScores:
    """Compare which muscles are active together, over all conditions and with each left out."""
    a, b = pair
    labels = sorted({m.session.trials.condition[i] for i in trials})

    def score(kept: Sequence[int]) -> float:
        return muscle_rsa(*(values[list(kept)].reshape(-1, values.shape[2]) for values in (a, b)))

    every = range(len(labels))
    value = np.array([score(every)]) if labels else np.array([np.nan])
    left_out = {
        label: np.array([score([j for j in every if j != i])]) if len(labels) > 1 else value
        for i, label in enumerate(labels)
    }
    return UnitScores(m.session.id, m.session.subject, (ALL,), value, left_out)

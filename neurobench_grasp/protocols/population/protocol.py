"""The protocol ``population``: geometry, dynamics and dissimilarities of populations beside those of layers.

Reads top to bottom: averages of populations and layers (`responses.py`), four measures of how alike they are
(`similarity.py`), then scores beside ceilings and references as tidy rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial

from threadpoolctl import threadpool_limits

from neurobench_grasp.contract import ScoreRow, Scores
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.population.responses import Recorded, Responses, halved
from neurobench_grasp.protocols.population.similarity import Pair
from neurobench_grasp.protocols.settings import POPULATION
from neurobench_grasp.records.table import GAIN, HELD_OUT, SHARE, SIMILARITIES, one_network
from neurobench_grasp.records.units import CEILING, Labels, UnitTable
from neurobench_grasp.scoring.intervals import MIN_GROUPS, Summary, UnitScores, summarise, summarise_ratio
from neurobench_grasp.scoring.sums import JOINED

CANDIDATE, MATCHED, TRUE = "", "matched_covariance", "true_rate"
REFERENCES = (MATCHED, TRUE)


def run(context: Context) -> Scores:
    """Compare a model's layers with the populations of a dataset, and these with each other.

    Returns
    -------
    Scores
        ``cca``, ``procrustes``, ``dsa`` and ``condition_rsa`` of the layer that is most alike on train, of
        each layer, of references, of other areas and of other sessions; their ceilings. A model that does not
        run on the recording has rows with the reason.

    Raises
    ------
    UnsupportedError
        If no session has a population whose responses repeat.
    """
    sessions = []
    for session in (s for s in context.sessions if s.units):
        context.progress(f"population {session.id}: averages and activations")
        sessions.append(Recorded.of(context, session))
    areas = sorted({area for s in sessions for area in s.areas})
    if not areas:
        names = ", ".join(s.id for s in context.sessions)
        raise UnsupportedError(f"{names} holds no units whose responses repeat; score another recording.")
    rows: list[ScoreRow] = []
    scores: list[tuple[Labels, UnitScores]] = []
    with threadpool_limits(limits=1):  # many small matrices
        for area in areas:
            context.progress(f"population: similarity in {area}")
            table = AreaTable(context, [s for s in sessions if area in s.areas], area)
            rows += table.rows()
            scores += table.unit_scores()
    rows += [row for s in sessions for row in s.rows()]
    return Scores(rows, UnitTable.of(scores).arrays())


class AreaTable:
    """Similarities of the populations of one area.

    Parameters
    ----------
    context : Context
    sessions : sequence of Recorded
        Those that have it.
    area : str
    """

    def __init__(self, context: Context, sessions: Sequence[Recorded], area: str) -> None:
        self.area, self.sessions, self._seeded = area, sessions, context.model.seeded
        no_model = next((s.absent for s in sessions if s.absent), "")
        no_truth = "" if all(s.true for s in sessions) else "the true rates of recorded units are not known"
        self.absent = {CANDIDATE: no_model, MATCHED: no_model, TRUE: no_truth}
        self.layers = [] if no_model else [*sessions[0].layers[area]]
        self.areas = [a for a in dict.fromkeys(a for s in sessions for a in s.areas) if a != area]
        self._pairs: dict[tuple[str, str], list[list[Pair]]] = {}
        self._scores: dict[tuple[str, str, str], list[UnitScores]] = {}

    # --- rows -------------------------------------------------------------------------------------

    def rows(self) -> Iterator[ScoreRow]:
        """Yield the similarity of the chosen layer, of references, other areas, other sessions and layers."""
        for split in HELD_OUT:
            for metric in SIMILARITIES:
                where: ScoreRow = {"metric": metric, "split": split, "area": self.area}
                chosen = {} if self.absent[CANDIDATE] else {"chosen": self._chosen[metric]}
                yield where | self._row(metric, split, CANDIDATE) | chosen
                for reference in (*REFERENCES, *self.areas):
                    yield where | {"reference": reference} | self._row(metric, split, reference)
                follows: ScoreRow = {"of": metric, "split": split, "area": self.area}
                yield {"metric": f"{GAIN}{MATCHED}", **follows, **self._gain(metric, split)}
                yield {"metric": CEILING, **follows, **self._row(metric, split, CEILING)}
                yield {"metric": SHARE, **follows, **self._share(metric, split)}
                for other in self.sessions[1:]:
                    for part in self.scores(metric, split, other.session.id):
                        labels = {"session": part.session, "reference": other.session.id}
                        yield where | labels | _summary(summarise([part]))
                for layer in self.layers if len(self.layers) > 1 else ():
                    yield where | {"layer": layer} | _summary(summarise(self.scores(metric, split, layer)))

    def unit_scores(self) -> Iterator[tuple[Labels, UnitScores]]:
        """Yield the scores behind the rows, but for those of layers."""
        others = [s.session.id for s in self.sessions[1:]]
        for split in HELD_OUT:
            for metric in SIMILARITIES:
                for reference in (CANDIDATE, *REFERENCES, *self.areas, *others, CEILING):
                    if not self.absent.get(reference):
                        for part in self.scores(metric, split, reference):
                            yield Labels(self.area, split, metric, reference), part

    def _row(self, metric: str, split: str, reference: str) -> ScoreRow:
        if why := self.absent.get(reference):
            return {"value": None, "reason": why}
        return _summary(summarise(self.scores(metric, split, reference)))

    def _gain(self, metric: str, split: str) -> ScoreRow:
        """Similarity beyond that of the null."""
        if why := self.absent[CANDIDATE]:
            return {"value": None, "reason": why}
        pairs = zip(self.scores(metric, split, CANDIDATE), self.scores(metric, split, MATCHED), strict=True)
        return one_network(_summary(summarise([a.minus(b) for a, b in pairs])), seeded=self._seeded)

    def _share(self, metric: str, split: str) -> ScoreRow:
        if why := self.absent[CANDIDATE]:
            return {"value": None, "reason": why}
        return _summary(summarise_ratio(*(self.scores(metric, split, name) for name in (CANDIDATE, CEILING))))

    # --- comparisons ------------------------------------------------------------------------------

    def scores(self, metric: str, split: str, compared: str) -> list[UnitScores]:
        """Return the similarity to a layer, reference, area or session, session by session."""
        key = metric, split, compared
        if key not in self._scores:
            draws = [
                [pair.score(metric, split) for pair in pairs] for pairs in self._compared(metric, compared)
            ]
            found = [UnitScores.mean_of(parts) for parts in draws if parts]
            self._scores[key] = found if split in JOINED else [replace(part, terms=()) for part in found]
        return self._scores[key]

    @cached_property
    def _chosen(self) -> dict[str, str]:
        """The layer of each metric that is most alike on train, on average over sessions."""
        if len(self.layers) == 1:
            return dict.fromkeys(SIMILARITIES, self.layers[0])

        def alike(metric: str, layer: str) -> float:
            return sum(pair.score_on_train(metric) for (pair,) in self._compared(metric, layer))

        return {metric: max(self.layers, key=partial(alike, metric)) for metric in SIMILARITIES}

    def _compared(self, metric: str, compared: str) -> list[list[Pair]]:
        """Return the draws of what the populations are compared with, session by session."""
        name = compared or self._chosen[metric]
        layer = self._chosen[metric] if compared == MATCHED else ""
        if (name, layer) not in self._pairs:
            self._pairs[name, layer] = [[*self._draws(s, name, layer)] for s in self.sessions]
        return self._pairs[name, layer]

    def _draws(self, s: Recorded, name: str, layer: str) -> Iterator[Pair]:
        if name == CEILING:
            yield from (self._halves(s, draw) for draw in range(POPULATION.n_draws))
        elif name == MATCHED:
            of = s.layers[self.area][layer]
            yield from (self._pair(s, s.matched(self.area, of, draw)) for draw in range(POPULATION.n_draws))
        elif name == TRUE:
            yield self._pair(s, s.true[self.area])
        elif name in self.layers:
            yield self._pair(s, s.layers[self.area][name])
        elif name in self.areas:
            yield from (self._pair(s, s.areas[a]) for a in s.areas if a == name)
        else:
            ids = [one.session.id for one in self.sessions]
            if ids.index(s.session.id) < ids.index(name):  # each two once
                other = self.sessions[ids.index(name)]
                yield self._pair(s, other.areas[self.area], other)

    def _pair(self, s: Recorded, responses: Responses, of: Recorded | None = None) -> Pair:
        trials = {split: (mine, (of or s).repeats[split]) for split, mine in s.repeats.items()}
        return Pair(s.session, s.areas[self.area], responses, trials)

    def _halves(self, s: Recorded, draw: int) -> Pair:
        trials = {split: halved(mine, s.session.id, split, draw) for split, mine in s.repeats.items()}
        return Pair(s.session, s.areas[self.area], s.areas[self.area], trials, halves=True)


def _summary(total: Summary | None) -> ScoreRow:
    if total is None:
        return {"value": None, "reason": "too few conditions, or trials of each, in this split"}
    row: ScoreRow = {"value": total.value, "ci": total.ci, "n_conditions": total.n_groups}
    if total.ci is None:
        return row | {"reason": f"no interval: {total.n_groups} conditions, fewer than {MIN_GROUPS}"}
    return row | {"ci_over": ["condition"]}

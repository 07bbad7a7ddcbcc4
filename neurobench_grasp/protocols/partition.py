"""Unique contributions of groups of features by banded ridge (section 9 of the protocol).

How much of a unit's activity does each group explain that no other group does? Explained variance with all
groups, minus that of a model fitted again without one; what groups share counts for none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain

import numpy as np
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.clock import clock_of, recorded_in_bins
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Ragged, ScoreRow, Scores, Trials
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.banded import Fit, alike, equalised, no_fit
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.encoding.protocol import candidate_predictions
from neurobench_grasp.protocols.encoding.reduction import LagWindow, candidate_scores
from neurobench_grasp.protocols.encoding.sums import Activity
from neurobench_grasp.protocols.encoding.table import EncodingTable, Scored
from neurobench_grasp.protocols.settings import ENCODING
from neurobench_grasp.records.table import HELD_OUT, ONLY, UNIQUE, WITHOUT
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.intervals import UnitScores

LAYERS = "layers"
RECORDED = ("muscles", "joints", "goal", "emg")
"""Groups that depend on the recording alone."""
GROUPS = (*RECORDED, LAYERS)
METRIC = "single_trial_ev"
GROUP = Stage("group", asdict(ENCODING), model=False)


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


# --- fits -----------------------------------------------------------------------------------------


def _fitted(context: Context, recorded: Recorded, absent: Mapping[str, str]) -> tuple[Scored, list[ScoreRow]]:
    """Predictions of a session by all groups, by each alone and without each; lags and layers as rows."""
    lagged, session = recorded.lagged, recorded.lagged.session
    context.progress(f"partition {session.id}: activations")
    scores = candidate_scores(context, lagged)
    context.progress(f"partition {session.id}: map to {len(session.units)} units")
    groups = {name: equalised(lagged, g) for name, g in recorded.groups.items() if name not in absent}
    sets = subsets([*groups, LAYERS])
    predictions = {name: no_fit(context, session) for name in sets}
    rows: list[ScoreRow] = []
    with threadpool_limits(limits=1):  # as encoding, for the same map
        candidate = candidate_predictions(context, lagged, scores)
        for area in dict.fromkeys(session.units.areas):
            mine = np.array(session.units.areas) == area
            explained = np.nan_to_num(candidate["cv_ev_ood"][:, mine]).mean(1)
            layer = list(scores.layers)[int(explained.argmax())]
            features = groups | {LAYERS: equalised(lagged, scores.layers[layer])}
            for units, fitted, lag in alike(context, session, np.flatnonzero(mine), candidate["lag_ood"]):
                Fit(context, lagged, features, units, fitted, lag, sets, (LAYERS,)).fill(predictions)
            labels: ScoreRow = {"metric": "lag", "area": area, "session": session.id}
            lag_s = round(float(candidate["lag_ood"][mine][0]), 6)
            rows.append(labels | {"value": lag_s, "unit": "s", "chosen": layer})
    reasons = {f"{part}{name}": why for name, why in absent.items() for part in (ONLY, WITHOUT)}
    made = {name: [prediction] for name, prediction in predictions.items()}
    return Scored(session, made, reasons, list(scores.layers), scores.n_winsorised), rows


def subsets(groups: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what is fitted, by name, small sets first: each group, all without each, and all (named "")."""
    return {
        **{f"{ONLY}{name}": (name,) for name in groups},
        **{f"{WITHOUT}{name}": tuple(g for g in groups if g != name) for name in groups},
        "": tuple(groups),
    }


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

"""What muscle activation explains by a fitted map: of each channel of the EMG, and of neurons beyond force.

Channels of the EMG are scored as units are, with the map, the splits and the scores of the protocol
``encoding``. Neurons are predicted by banded ridge from groups of features at all lags of the session, alone
and together with quadratic kinematics, which for an isometric task are quadratic functions of force.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.clock import recorded_in_bins
from neurobench_grasp.alignment.muscle_map import EMG as ROLE
from neurobench_grasp.alignment.session import AlignedSession, AlignedUnits
from neurobench_grasp.contract import Floats, Ragged, ScoreRow
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.banded import Fit, alike, equalised, no_fit
from neurobench_grasp.protocols.context import Context, Stage
from neurobench_grasp.protocols.emg.activation import CANDIDATE, PERMUTED, STATIC, Muscles
from neurobench_grasp.protocols.emg.similarity import SHIFTED
from neurobench_grasp.protocols.encoding.predictions import Predictions, predict_units
from neurobench_grasp.protocols.encoding.reduction import LagWindow
from neurobench_grasp.protocols.encoding.sums import Activity
from neurobench_grasp.protocols.encoding.table import EncodingTable, Scored
from neurobench_grasp.protocols.settings import EMG
from neurobench_grasp.records.table import ADDED, HELD_OUT, ONLY, WITH
from neurobench_grasp.records.units import Labels
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.references import circular_shift, generator

AREA = "EMG"
"""Area of channels that are scored as units are."""
LINEAR, QUADRATIC, RECORDED, SIMULATED = "kinematic", "quadratic", "emg", "activation"
GROUPS = (RECORDED, SHIFTED, SIMULATED, STATIC, PERMUTED)
"""What is added to quadratic kinematics, one at a time."""
SETS: Mapping[str, tuple[str, ...]] = {
    **{f"{ONLY}{group}": (group,) for group in (LINEAR, QUADRATIC, *GROUPS)},
    **{f"{WITH}{group}": (QUADRATIC, group) for group in GROUPS},
}
"""What is fitted of neurons, by name: each group alone, then each with quadratic kinematics."""
CHANNEL_METRICS = ("single_trial_ev", "condition_averaged_ev")
CHANNEL_REFERENCES = ("quadratic_kinematic", STATIC, PERMUTED, "circular_shift")
METRIC = "single_trial_ev"
BANDED = Stage("banded-ridge-emg", asdict(EMG))


# --- channels of the EMG --------------------------------------------------------------------------


def channel_tables(context: Context, muscles: Sequence[Muscles]) -> list[EncodingTable]:
    """Predict every channel from the activation of all muscles, split by split."""
    scored = [_channels(context, m) for m in muscles]
    activity = {s.session.id: Activity.of(context, s.session) for s in scored}
    return [EncodingTable(context, scored, AREA, split, activity) for split in HELD_OUT]


def channel_rows(table: EncodingTable) -> Iterator[ScoreRow]:
    """Yield how much of the EMG activation explains, beside references."""
    for metric in CHANNEL_METRICS:
        yield table.row(metric)
        for reference in CHANNEL_REFERENCES:
            yield table.row(metric, reference=reference)


def channel_scores(table: EncodingTable) -> Iterator[tuple[Labels, UnitScores]]:
    """Yield the scores of single channels."""
    for metric in CHANNEL_METRICS:
        for reference in (CANDIDATE, *CHANNEL_REFERENCES):
            yield from table.kept(metric, reference)


def _channels(context: Context, m: Muscles) -> Scored:
    """Map every source of activation to the channels; at no lag, for activation is of the moment."""
    session = replace(m.session, units=_as_units(m))
    lagged, at_zero = LagWindow.of(context, session), np.zeros(len(m.recorded.channels), np.int64)

    def mapped(features: Floats, **options: object) -> Predictions:
        layer = Ragged(lagged.components(features[lagged.rows])[0], lagged.trials.offsets)
        return predict_units(context, lagged, {"muscles": layer}, lags=at_zero, **options)

    predictions, absent = {}, dict(m.absent)
    with threadpool_limits(limits=1):  # as encoding, for the same map
        for source, draws in m.activation.items():
            predictions[source] = [mapped(draw.values) for draw in draws]
        try:
            quadratic = _quadratic(context, m.session)
            predictions["quadratic_kinematic"] = [mapped(quadratic.values)]
        except UnsupportedError as why:
            absent["quadratic_kinematic"] = str(why)
        if m.leading in m.activation:
            values, offsets = m.activation[m.leading][0].values, lagged.trials.offsets
            predictions["circular_shift"] = [
                mapped(
                    values,
                    place=circular_shift(offsets, generator("circular_shift", m.session.id, draw)),
                    fallback=False,
                )
                for draw in range(EMG.n_draws)
            ]
        else:
            absent["circular_shift"] = m.absent[m.leading]
    return Scored(session, predictions, absent, ("muscles",), 0)


def _as_units(m: Muscles) -> AlignedUnits:
    """Return the channels in the place of units: observed always; that spikes are enough does not matter."""
    activity, n_channels = m.recorded.activity, len(m.recorded.channels)
    seen = np.ones((len(activity), n_channels), bool)
    counts = Ragged(np.full(activity.values.shape, EMG.min_spikes, np.int32), activity.offsets)
    rates: Any = activity  # which are no whole numbers of spikes
    return AlignedUnits(m.recorded.channels, (AREA,) * n_channels, rates, counts, seen, seen)


def _quadratic(context: Context, session: AlignedSession) -> Ragged:
    from neurobench_grasp.bodies import quadratic_kinematics

    return quadratic_kinematics(session.scored, context.index(session, context.splits.train))


# --- neurons --------------------------------------------------------------------------------------


def neuron_tables(context: Context, muscles: Sequence[Muscles]) -> list[EncodingTable]:
    """Predict every unit from each group alone and with quadratic kinematics, by area and split."""
    scored = [_neurons(context, m) for m in muscles if m.session.units]
    activity = {s.session.id: Activity.of(context, s.session) for s in scored}
    areas = sorted({area for s in scored for area in s.session.units.areas})
    return [EncodingTable(context, scored, area, split, activity) for area in areas for split in HELD_OUT]


def neuron_rows(table: EncodingTable) -> Iterator[ScoreRow]:
    """Yield what each group explains of neurons alone, and what it adds to quadratic kinematics."""
    for group in (LINEAR, QUADRATIC, *GROUPS):
        row = table.row(METRIC, reference=f"{ONLY}{group}")
        del row["reference"]
        yield row | {"group": group}
    for group in GROUPS:
        labels: ScoreRow = {"metric": ADDED, "of": METRIC, "split": table.split, "area": table.area}
        found = table.difference(METRIC, f"{ONLY}{QUADRATIC}", of=f"{WITH}{group}")
        yield labels | {"group": group} | found


def neuron_scores(table: EncodingTable) -> Iterator[tuple[Labels, UnitScores]]:
    """Yield the scores of single units."""
    for name in SETS:
        yield from table.kept(METRIC, name)


def _neurons(context: Context, m: Muscles) -> Scored:
    """Fit all sets of groups of a session, draw by draw of what is random."""
    session, lagged = m.session, LagWindow.of(context, m.session)
    context.progress(f"emg {session.id}: map to {len(session.units)} units")
    features, absent = _features(context, lagged, m)
    reasons = {name: absent[g] for name, members in SETS.items() for g in members if g in absent}
    predictions: dict[str, list[Predictions]] = {name: [] for name in SETS if name not in reasons}
    for draw in range(max(map(len, features.values()))):
        drawn = {name: draws[draw] for name, draws in features.items() if draw < len(draws)}
        some = {name: members for name, members in SETS.items() if members[-1] in drawn}
        some = {name: members for name, members in some.items() if name not in reasons}
        found = {name: no_fit(context, session) for name in some}
        groups = {name: draws[0] for name, draws in features.items()} | drawn
        stage = replace(BANDED, settings={**BANDED.settings, "draw": draw})
        with threadpool_limits(limits=1):  # as encoding, for the same map
            zero = np.zeros(len(session.units))
            for units, fitted, lag in alike(context, session, np.arange(len(session.units)), zero):
                Fit(context, lagged, groups, units, fitted, lag, some, (SIMULATED,), stage).fill(found)
        for name, prediction in found.items():
            predictions[name].append(prediction)
    return Scored(session, predictions, reasons, ("",), 0)


def _features(
    context: Context, lagged: LagWindow, m: Muscles
) -> tuple[Mapping[str, list[Ragged]], Mapping[str, str]]:
    """Return the draws of each group as components, over all lags; and why groups are absent."""
    from neurobench_grasp.bodies import at_lags, linear_kinematics

    session = m.session
    lags = range(round(session.max_lag / session.trials.dt) + 1)

    def reduced(values: Ragged) -> Ragged:
        window = Ragged(at_lags(values, lags).values[lagged.rows], lagged.trials.offsets)
        return equalised(lagged, Ragged(lagged.components(window.values)[0], window.offsets))

    emg, moved = (recorded_in_bins(session, ROLE, later) for later in (0.0, EMG.shift_s))
    features = {RECORDED: [reduced(emg)], SHIFTED: [reduced(moved)]}
    absent: dict[str, str] = {}
    try:
        features[LINEAR] = [reduced(linear_kinematics(session.scored))]
        features[QUADRATIC] = [reduced(_quadratic(context, session))]
    except UnsupportedError as why:
        absent |= {LINEAR: str(why), QUADRATIC: str(why)}
    for group, source in ((SIMULATED, CANDIDATE), (STATIC, STATIC), (PERMUTED, PERMUTED)):
        if source in m.activation:
            features[group] = [reduced(draw) for draw in m.activation[source]]
        else:
            absent[group] = m.absent[source]
    return features, absent

"""From predictions to sums over conditions, from which scores and ceilings follow (protocol section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Bools, Floats, Ints, Ragged
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.predictions import unit_blocks, unit_groups
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.scoring.ceilings import averaged_noise, poisson_noise, repeats_noise, single_trial_noise
from neurobench_grasp.scoring.ev import PHASE_POINTS, averaged_sums, condition_average, trial_sums
from neurobench_grasp.scoring.references import phase_mean
from neurobench_grasp.scoring.sums import Sums

KIND = {"single_trial_r2": "r2"}
"""Kind of score of a metric (see :data:`neurobench_grasp.scoring.sums.SCORES`); all others are EV."""
Noise = Callable[[Ragged, Ragged, Sequence[str], Sequence[str], float], Floats]
"""From rates, counts, conditions, the wanted ones and the bin width to the variance of noise of each."""


def single_trial(
    rates: Ragged, counts: Ragged, conditions: Sequence[str], labels: Sequence[str], dt: float
) -> Floats:
    """Estimate the noise of single trials from their roughness."""
    bins = SETTINGS.smoothing_bins
    return single_trial_noise(rates, counts, conditions, labels, dt=dt, smoothing_bins=bins)


def averaged(
    rates: Ragged, counts: Ragged, conditions: Sequence[str], labels: Sequence[str], dt: float
) -> Floats:
    """Estimate the noise of condition means from the repeats."""
    return averaged_noise(rates, conditions, labels)


def repeats(
    rates: Ragged, counts: Ragged, conditions: Sequence[str], labels: Sequence[str], dt: float
) -> Floats:
    """Take all that does not repeat for noise of single trials."""
    return repeats_noise(rates, conditions, labels)


def poisson(
    rates: Ragged, counts: Ragged, conditions: Sequence[str], labels: Sequence[str], dt: float
) -> Floats:
    """Assume the noise of Poisson processes."""
    return poisson_noise(rates, conditions, labels, dt=dt, smoothing_bins=SETTINGS.smoothing_bins)


NOISE: Mapping[str, Noise] = {
    "single_trial_ev": single_trial,
    "condition_averaged_ev": averaged,
    "object_tuning_ev": averaged,
}
"""Metrics that have a ceiling, and the noise that a perfect model does not explain."""


@dataclass(frozen=True)
class Activity:
    """What scores of a session need to know of its units' activity, whatever is predicted.

    Parameters
    ----------
    mean : ndarray, shape (n_units,)
        Mean rate in training trials, spikes/s; NaN without one.
    course : ndarray, shape (25, n_units)
        The same at each phase.
    spikes : ndarray, shape (n_trials, n_units)
        Spikes in the window of each trial.
    enough : ndarray of bool, shape (n_units,)
        Units with spikes enough in training trials to be scored.
    """

    mean: Floats
    course: Floats
    spikes: Floats
    enough: Bools

    @classmethod
    def of(cls, context: Context, session: AlignedSession) -> Activity:
        """Measure a session."""
        units, train = session.units, context.index(session, context.splits.train)
        mean, course = np.full(len(units), np.nan), np.full((PHASE_POINTS, len(units)), np.nan)
        for mine, seen in unit_groups(units.observed):
            fitted = [i for i in train if seen[i]]
            conditions = [session.trials.condition[i] for i in fitted]
            for block in unit_blocks(mine, units.rates.offsets[-1]) if fitted else ():
                rates = units.rates.part(fitted, block)
                mean[block], course[:, block] = rates.values.mean(0), phase_mean(rates, conditions)
        spikes = np.stack(
            [
                counts[len(counts) - n :].sum(0)
                for counts, n in zip(units.counts, units.rates.lengths, strict=True)
            ]
        )
        trained = np.where(units.observed, spikes, 0)[train]
        least = min(SETTINGS.min_train_trials, len(train))
        enough = ((trained > 0).sum(0) >= least) & (trained.sum(0) >= SETTINGS.min_train_spikes)
        return cls(mean, course, spikes, enough)


def unit_sums(
    session: AlignedSession,
    trials: Sequence[int],
    of: Ints,
    signals: tuple[Ragged, Ragged],
    metric: str,
    activity: Activity,
    *,
    by_trial: bool = False,
    noise: Noise | None = None,
) -> Sums:
    """Return the sums of some units over some trials, condition by condition (or trial by trial).

    Parameters
    ----------
    session : AlignedSession
    trials : sequence of int
    of : ndarray of int64
        Units.
    signals : tuple of Ragged
        Measured and predicted rates, spikes/s: the window steps of ``trials``, the units ``of``. Units
        without a prediction, or with too few spikes in training trials, have no data.
    metric : str
    activity : Activity
        Of the session.
    by_trial : bool
        Each trial is a separate group.
    noise : callable, optional
        Score a perfect model, whose errors are this noise; conditions with too few trials to show it have no
        data.

    Returns
    -------
    Sums
    """
    values = group_sums(session, trials, of, signals, metric, activity, by_trial=by_trial, noise=noise)
    return with_data(session, trials, metric, values, by_trial=by_trial)


def group_sums(
    session: AlignedSession,
    trials: Sequence[int],
    of: Ints,
    signals: tuple[Ragged, Ragged],
    metric: str,
    activity: Activity,
    *,
    by_trial: bool = False,
    noise: Noise | None = None,
) -> Floats:
    """Return the sums of :func:`unit_sums` of all groups in sorted order, (n_sums, n_groups, n_units)."""
    groups = _groups(session, trials, by_trial=by_trial)
    labels = sorted(set(groups))
    whole = metric.startswith("single_trial") and noise is None  # every trial counts
    sums = np.zeros((7, len(labels), len(of)))
    for units, seen in unit_groups(session.units.observed[:, of]) if len(trials) else ():
        mine = [k for k, i in enumerate(trials) if seen[i]]
        group = [groups[k] for k in mine]
        y, yhat = (r.part(mine, units) for r in signals)
        counted = sorted(set(group)) if whole else _repeated(group)
        if not counted or not np.isfinite(yhat.values).all():
            continue
        found = _sums(y, yhat, group, counted, metric, activity, of[units])
        if noise is not None:
            counts = session.units.counts.part([trials[k] for k in mine], of[units])
            signed = counts.astype(np.result_type(counts.values, np.int32))  # of which differences are taken
            found[1], found[2] = 0.0, found[0] * noise(y, signed, group, counted, session.trials.dt)
        spikes = activity.spikes[np.array(trials)[mine]][:, of[units]]
        member = np.array([[g == label for g in group] for label in counted], float)
        found = np.concatenate([found, [member @ (spikes > 0), member @ spikes]])
        place = np.array([labels.index(label) for label in counted])
        sums[:, place[:, None], units] = np.where(np.isfinite(found).all((0, 1)), found, 0.0)
    sums[:, :, ~activity.enough[of]] = 0.0
    return sums


def with_data(
    session: AlignedSession, trials: Sequence[int], metric: str, values: Floats, *, by_trial: bool = False
) -> Sums:
    """Keep of the sums of :func:`group_sums` the groups in which some unit has data."""
    labels = sorted(set(_groups(session, trials, by_trial=by_trial)))
    some = (values[0] > 0).any(1)
    kept = tuple(label for label, any_data in zip(labels, some, strict=True) if any_data)
    return Sums(KIND.get(metric, "ev"), kept, values[:, some])


def _groups(session: AlignedSession, trials: Sequence[int], *, by_trial: bool) -> list[str]:
    """Return the name of the group that each trial is left out with."""
    if by_trial:
        return [f"{session.id}/{session.trials.ids[i]}" for i in trials]
    return [session.trials.condition[i] for i in trials]


def ceiling_sums(
    session: AlignedSession, trials: Sequence[int], of: Ints, metric: str, activity: Activity, noise: Noise
) -> Sums:
    """Return the sums of a perfect model, block of units by block; parameters of :func:`unit_sums`."""
    found = []
    for block in unit_blocks(of, session.units.rates.offsets[-1]):
        rates = session.units.rates.part(trials, block)
        found.append(group_sums(session, trials, block, (rates, rates), metric, activity, noise=noise))
    return with_data(session, trials, metric, np.concatenate(found, axis=2))


def _sums(
    y: Ragged,
    yhat: Ragged,
    group: Sequence[str],
    labels: Sequence[str],
    metric: str,
    activity: Activity,
    units: Ints,
) -> Floats:
    """Return the sums of errors and of deviations from what training trials predict without a model."""
    if metric.startswith("single_trial"):
        return trial_sums(y, yhat, activity.mean[units], group, labels)
    measured, predicted = (condition_average(r, group, labels) for r in (y, yhat))
    course = activity.course if metric == "object_tuning_ev" else activity.mean[None]
    return averaged_sums(measured, predicted, course[:, units])


def _repeated(conditions: Sequence[str]) -> list[str]:
    """List the conditions with enough trials to be averaged."""
    return [c for c in sorted(set(conditions)) if conditions.count(c) >= SETTINGS.min_repeats]

"""From a session to predictions of its units by networks on behaviour, fitted on training trials alone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.splits import folds_by_condition, folds_by_trial
from neurobench_grasp.bodies import motion
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.encoding.predictions import no_predictions
from neurobench_grasp.protocols.settings import ENCODING
from neurobench_grasp.scoring.references import generator
from ngb_behaviour_gru.network import BehaviourGru, Movement, Trial, predict, train_network
from ngb_behaviour_gru.settings import GRU, NAME

STAGE = Stage(NAME, {**asdict(ENCODING), **asdict(GRU)}, model=False)


@dataclass(frozen=True)
class TrainingActivity:
    """What training trials say of each unit before anything is fitted.

    Parameters
    ----------
    mean, sd : ndarray, shape (n_units,)
        Of the rates in the windows of training trials in which the unit was observed, spikes/s.
    n_trials : ndarray of int64, shape (n_units,)
        The number of these.
    """

    mean: np.ndarray
    sd: np.ndarray
    n_trials: np.ndarray

    @property
    def varies(self) -> np.ndarray:
        """Whether each unit fired, and not at a constant rate, (n_units,)."""
        return self.sd > 1e-9 * np.maximum(self.mean, 1e-300)

    @classmethod
    def of(cls, session: AlignedSession, train: Sequence[int]) -> "TrainingActivity":
        """Measure a session."""
        rates, seen = session.units.rates.select(train), session.units.observed[list(train)]
        weight = np.repeat(seen, rates.lengths, axis=0).astype(float)
        n_bins = np.maximum(weight.sum(0), 1)
        mean = (weight * rates.values).sum(0) / n_bins
        variance = (weight * (rates.values - mean) ** 2).sum(0) / n_bins
        return cls(mean, np.sqrt(variance), seen.sum(0))


def gru_predictions(context: Context, session: AlignedSession) -> Arrays:
    """Predict the units of a session in new trials and in new conditions; kept, since no model enters.

    Returns
    -------
    dict of str to ndarray
        ``test``, ``ood``: (n_steps, n_units), spikes/s; NaN for units that were observed in too few training
        trials. ``share``: (n_units,), see :func:`_share`.

    Raises
    ------
    UnsupportedError
        If there are too few training trials, or no recorded movement.
    """
    return context.stages(STAGE, session, lambda: _predicted(context, session))


def _predicted(context: Context, session: AlignedSession) -> Arrays:
    train = context.index(session, context.splits.train)
    if len(train) < ENCODING.n_folds:
        raise UnsupportedError(
            f"{session.id} has {len(train)} training trials, and {NAME} needs {ENCODING.n_folds}; score a "
            "recording with more."
        )
    behaviour, units = _behaviour(session, train), TrainingActivity.of(session, train)
    networks, share = _fitted(session, behaviour, units, train)
    known = units.n_trials >= ENCODING.n_folds
    out: Arrays = {"share": share}
    for split in ("test", "ood"):
        trials = context.index(session, getattr(context.splits, split))
        predicted = no_predictions(session, trials)
        if trials:
            relative = np.concatenate([_mean_of(networks, behaviour[i]) for i in trials])
            predicted[:, known] = (units.mean * (1 + share * (relative - 1)))[:, known]
        out[split] = predicted.astype(np.float32)
    return out


def _behaviour(session: AlignedSession, train: Sequence[int]) -> list[Movement]:
    """Return the movement of every trial, standardised by training trials and cut where it is outlying."""
    trials = session.scored
    try:
        moved = motion(trials)
    except UnsupportedError as error:
        raise UnsupportedError(
            f"{session.id} has no recorded movement, from which {NAME} predicts units; score another "
            "recording."
        ) from error
    if not np.isfinite(moved.values).all():
        raise UnsupportedError(
            f"The movement of {session.id} has missing samples, so {NAME} cannot be trained on it; see `ngb "
            "data validate`."
        )
    known = moved.select(train).values
    spread = known.std(0)
    moving = spread > 1e-9 * max(float(spread.max(initial=0)), 1e-300)
    standardised = (moved.values[:, moving] - known[:, moving].mean(0)) / spread[moving]
    cut = torch.from_numpy(np.clip(standardised, -GRU.input_sd, GRU.input_sd).astype(np.float32))
    return [
        Movement(steps, slice(first, stop))
        for steps, (first, stop) in zip(
            cut.split(np.diff(trials.offsets).tolist()), trials.window.tolist(), strict=True
        )
    ]


def _fitted(
    session: AlignedSession, behaviour: Sequence[Movement], units: TrainingActivity, train: Sequence[int]
) -> tuple[list[BehaviourGru], np.ndarray]:
    """Train networks without each inner fold, which stops their training, and fit how far to trust them."""
    fold = np.array(_inner_folds(session, train))
    trials = [_trial(session, behaviour[i], units, i) for i in train]
    networks: list[BehaviourGru] = []
    held_out: dict[int, np.ndarray] = {}
    for k in np.unique(fold).tolist():
        fitted, stopping = (np.flatnonzero(mine).tolist() for mine in (fold != k, fold == k))
        parts = [trials[i] for i in fitted], [trials[i] for i in stopping]
        seed = int(generator(NAME, session.id, k).integers(2**31))
        without = [train_network(*parts, loss, seed, GRU) for loss in GRU.losses]
        held_out |= {i: _mean_of(without, trials[i].movement) for i in stopping}
        networks += without
    return networks, _share(trials, [held_out[i] for i in range(len(trials))])


def _inner_folds(session: AlignedSession, train: Sequence[int]) -> list[int]:
    """Deal training trials into folds by condition, or by trial if there is only one."""
    t, n = session.trials, ENCODING.n_folds
    conditions, ids = [t.condition[i] for i in train], [t.ids[i] for i in train]
    fold = folds_by_condition(conditions, n, [session.groups.get(i, "") for i in ids])
    return fold if len(set(fold)) > 1 else folds_by_trial(ids, conditions, n, session.groups)


def _trial(session: AlignedSession, movement: Movement, units: TrainingActivity, i: int) -> Trial:
    known = session.units.observed[i] & units.varies
    mean, sd = (np.where(units.varies, x, 1.0) for x in (units.mean, units.sd))
    relative, weight = (
        np.where(known, session.units.rates[i] / mean, 0.0),
        np.where(known, (mean / sd) ** 2, 0.0),
    )
    return Trial(movement, torch.from_numpy(relative).float(), torch.from_numpy(weight).float())


def _share(trials: Sequence[Trial], predicted: Sequence[np.ndarray]) -> np.ndarray:
    """Return what is left of the deviations from each unit's mean, 0 … 1, (n_units,).

    The factor with the least squared error in trials that the predicting network was not trained on; 0 where
    these are not explained at all, so that the unit is predicted by its mean.
    """
    known = np.concatenate([np.tile(t.weight.numpy() > 0, (len(t.rates), 1)) for t in trials])
    rates, made = (np.concatenate(x) - 1.0 for x in ([t.rates.numpy() for t in trials], predicted))
    covariance, variance = (known * made * rates).sum(0), (known * made**2).sum(0)
    return np.clip(covariance / np.where(variance > 0, variance, 1.0), 0.0, 1.0)


def _mean_of(networks: Sequence[BehaviourGru], movement: Movement) -> np.ndarray:
    return np.mean([predict(network, movement) for network in networks], axis=0)

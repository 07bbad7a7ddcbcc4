"""From a model's layers to component scores: cut to the reach of a lag, standardise, PCA, winsorise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.clock import ModelClock
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Activations, Floats, Ints, Ragged, Trials
from neurobench_grasp.errors import NgbError
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.scoring.components import BLOCK, Features, fit_components
from neurobench_grasp.threads import on_all_cores

ACTIVATIONS = Stage("activations", asdict(SETTINGS), core=True)


@dataclass(frozen=True)
class LagWindow:
    """The steps of a session that a window reaches at some lag: a model runs on more, the map needs no more.

    Parameters
    ----------
    session : AlignedSession
    trials : Trials
        Without behaviour, cut to these steps.
    rows : ndarray of int64, shape (n_total_steps,)
        The same steps among those of ``session.scored``.
    train : ndarray of int64
        Steps of ``trials`` in the windows of training trials: all that standardiser and PCA see.
    """

    session: AlignedSession
    trials: Trials
    rows: Ints
    train: Ints

    @classmethod
    def of(cls, context: Context, session: AlignedSession) -> LagWindow:
        """Find the steps of a session."""
        t = session.scored
        reach = round(session.max_lag / t.dt)
        first = np.maximum(t.window[:, 0] - reach, 0)
        stop = np.minimum(t.window[:, 1] + reach, np.diff(t.offsets))
        rows = [o + np.arange(a, z) for o, a, z in zip(t.offsets, first, stop, strict=False)]
        trials = replace(t, signals={}, joint_angles=None).cut(first, stop)
        train = window_rows(trials, context.index(session, context.splits.train))
        return cls(session, trials, np.concatenate(rows).astype(np.int64), train)

    def reduce(self, activations: Activations, clock: ModelClock) -> LayerScores:
        """Return the component scores of every layer; fitted on train alone.

        Parameters
        ----------
        activations : Activations
        clock : ModelClock
            On whose steps they are.

        Raises
        ------
        NgbError
            If a layer does not have the steps of the trials, or is not finite.
        """
        for name, layer in activations.layers.items():
            check_layer(name, layer, clock.scored)
        activations = clock.in_bins(activations)
        with threadpool_limits(limits=1):
            reduced = on_all_cores(
                lambda x: self.components(x.values, self.rows), activations.layers.values()
            )
        return LayerScores(
            {
                name: Ragged(scores, self.trials.offsets)
                for name, (scores, _) in zip(activations.layers, reduced, strict=True)
            },
            sum(n_cut for _, n_cut in reduced),
        )

    def components(self, features: RowsOfFeatures, rows: Ints | None = None) -> tuple[Floats, int]:
        """Return the component scores of one layer at these steps, and the number of winsorised entries.

        Parameters
        ----------
        features : ndarray or RowsOfFeatures, shape (n_rows, n_features)
        rows : ndarray of int64, optional
            Row of each of these steps. Default: there are no others.
        """
        rows = np.arange(features.shape[0]) if rows is None else rows
        components = fit_components(
            PickedFeatures.of(features, rows[self.train]),
            n_components=SETTINGS.n_components,
            winsorise_sd=SETTINGS.winsorise_sd,
        )
        return components.scores(PickedFeatures.of(features, rows))


class RowsOfFeatures(Protocol):
    """Features that may be made when some are asked for: an array, or what is indexed like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of features."""

    def __getitem__(self, rows: Ints, /) -> NDArray[Any]:
        """Return the rows of these numbers, (n_rows, n_features)."""


@dataclass(frozen=True)
class PickedFeatures:
    """Some rows of features, in double precision when they are asked for."""

    features: RowsOfFeatures
    rows: Ints

    @classmethod
    def of(cls, features: RowsOfFeatures, rows: Ints) -> Features:
        """Pick rows; all at once if they are not more than a block."""
        picked = cls(features, rows)
        return picked[:] if len(rows) * features.shape[1] <= BLOCK else picked

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of features."""
        return len(self.rows), self.features.shape[1]

    def __getitem__(self, some: slice) -> Floats:
        return np.asarray(self.features[self.rows[some]], np.float64)


@dataclass(frozen=True)
class LayerScores:
    """Component scores of every layer at the steps of a lag window, and the number of winsorised entries."""

    layers: Mapping[str, Ragged]
    n_winsorised: int


def candidate_scores(context: Context, lagged: LagWindow) -> LayerScores:
    """Run the model on a session and reduce its layers; kept as a stage."""

    def make() -> Arrays:
        clock = context.clock(lagged.session)
        reduced = lagged.reduce(context.model.activations(clock.scored), clock)
        scores = {f"scores_{i}": x.values.astype(np.float32) for i, x in enumerate(reduced.layers.values())}
        return {
            "layers": np.array(list(reduced.layers)),
            "n_winsorised": np.array(reduced.n_winsorised),
            **scores,
        }

    arrays = context.stages(ACTIVATIONS, lagged.session, make)
    layers = {
        str(name): Ragged(arrays[f"scores_{i}"].astype(np.float64), lagged.trials.offsets)
        for i, name in enumerate(arrays["layers"])
    }
    return LayerScores(layers, int(arrays["n_winsorised"]))


def window_rows(trials: Trials, which: Sequence[int]) -> Ints:
    """List the steps of the scored windows of some trials, trial after trial."""
    rows = [trials.offsets[i] + np.arange(*trials.window[i]) for i in which]
    return np.concatenate(rows).astype(np.int64) if rows else np.zeros(0, np.int64)


def check_layer(name: str, layer: Ragged, trials: Trials) -> None:
    """Raise if a layer does not have the steps of the trials, or is not finite."""
    if not np.array_equal(layer.offsets, trials.offsets):
        raise NgbError(
            f"Layer {name!r} of the model has {layer.offsets[-1]} steps in {len(layer)} trials, but the "
            f"trials have {trials.offsets[-1]} in {len(trials)}; return one row for every step of each trial."
        )
    if layer.values.ndim != 2 or not np.isfinite(layer.values).all():
        raise NgbError(f"Layer {name!r} of the model must be finite numbers of shape (steps, features).")

"""From a model's layers to component scores: cut to what a lag reaches, standardise, PCA, winsorise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.align import AlignedSession
from neurobench_grasp.contract import Activations, Floats, Ints, Ragged, Trials
from neurobench_grasp.errors import NgbError
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.predictions import window_rows
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.scoring.components import fit_components
from neurobench_grasp.threads import on_all_cores


@dataclass(frozen=True)
class LagWindow:
    """A session cut to the steps that a window reaches at some lag.

    A model runs on whole trials; everything after needs no more than this.

    Parameters
    ----------
    whole, cut : AlignedSession
        ``cut`` has the same trials and rates, and no behaviour.
    rows : ndarray of int64, shape (n_cut_steps,)
        The steps of ``whole`` that ``cut`` keeps.
    train : ndarray of int64
        Steps of ``cut`` in the windows of training trials: all that standardiser and PCA see.
    """

    whole: AlignedSession
    cut: AlignedSession
    rows: Ints
    train: Ints

    @classmethod
    def of(cls, context: Context, session: AlignedSession) -> LagWindow:
        """Cut a session."""
        t = session.trials
        reach = round(session.max_lag / t.dt)
        first = np.maximum(t.window[:, 0] - reach, 0)
        stop = np.minimum(t.window[:, 1] + reach, np.diff(t.offsets))
        rows = [o + np.arange(a, z) for o, a, z in zip(t.offsets, first, stop, strict=False)]
        trials = replace(t, signals={}, joint_angles=None).cut(first, stop)
        cut = replace(session, trials=trials)
        train = window_rows(trials, context.index(cut, context.splits.train))
        return cls(session, cut, np.concatenate(rows).astype(np.int64), train)

    def reduce(self, activations: Activations) -> LayerScores:
        """Component scores of every layer; fitted on train alone.

        Raises
        ------
        NgbError
            If a layer does not have the steps of the trials, or is not finite.
        """
        for name, layer in activations.layers.items():
            _check_layer(name, layer, self.whole.trials)
        with threadpool_limits(limits=1):
            reduced = on_all_cores(
                lambda x: self.components(x.values[self.rows]), activations.layers.values()
            )
        return LayerScores(
            {
                name: Ragged(scores, self.cut.trials.offsets)
                for name, (scores, _) in zip(activations.layers, reduced, strict=True)
            },
            sum(n_cut for _, n_cut in reduced),
        )

    def components(self, layer: NDArray[Any]) -> tuple[Floats, int]:
        """Component scores of one layer at the steps of ``cut``, and how many entries were cut off."""
        values = np.asarray(layer, np.float64)
        components = fit_components(
            values[self.train], n_components=SETTINGS.n_components, winsorise_sd=SETTINGS.winsorise_sd
        )
        return components.scores(values)


@dataclass(frozen=True)
class LayerScores:
    """Component scores of every layer at every step that a lag reaches, and how many entries were cut."""

    layers: Mapping[str, Ragged]
    n_winsorised: int


def candidate_scores(context: Context, reach: LagWindow) -> LayerScores:
    """Run the model on a session and reduce its layers; kept as a stage."""

    def make() -> dict[str, NDArray[Any]]:
        reduced = reach.reduce(context.activations(reach.whole.trials))
        scores = {f"scores_{i}": x.values.astype(np.float32) for i, x in enumerate(reduced.layers.values())}
        return {
            "layers": np.array(list(reduced.layers)),
            "n_winsorised": np.array(reduced.n_winsorised),
            **scores,
        }

    key = context.key(
        stage="activations",
        session=reach.whole.sha256,
        train=context.splits.sha256,
        settings=asdict(SETTINGS),
    )
    arrays = context.stage("activations", key, make)
    layers = {
        str(name): Ragged(arrays[f"scores_{i}"].astype(np.float64), reach.cut.trials.offsets)
        for i, name in enumerate(arrays["layers"])
    }
    return LayerScores(layers, int(arrays["n_winsorised"]))


def _check_layer(name: str, layer: Ragged, trials: Trials) -> None:
    if not np.array_equal(layer.offsets, trials.offsets):
        raise NgbError(
            f"Layer {name!r} of the model has {layer.offsets[-1]} steps in {len(layer)} trials, but the "
            f"trials have {trials.offsets[-1]} in {len(trials)}; return one row for every step of each trial."
        )
    if layer.values.ndim != 2 or not np.isfinite(layer.values).all():
        raise NgbError(f"Layer {name!r} of the model must be finite numbers of shape (steps, features).")

"""Layer analysis: each layer alone, with ever more of its components (protocol section 3).

A wide layer has more components than a narrow one and could win by its width alone; at equal numbers of
components it cannot. Lags are those that the encoding protocol chose on train.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from neurobench_grasp.contract import Ragged, ScoreRow, Scores
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.predictions import Predictions, predict_units
from neurobench_grasp.protocols.encoding.protocol import candidate_predictions
from neurobench_grasp.protocols.encoding.reduction import LagWindow, candidate_scores
from neurobench_grasp.protocols.encoding.sums import Activity
from neurobench_grasp.protocols.encoding.table import EncodingTable, Scored
from neurobench_grasp.protocols.settings import LAYERS
from neurobench_grasp.threads import on_all_cores


def run(context: Context) -> Scores:
    """Score every layer of a model on held-out conditions, number of components by number of components.

    Returns
    -------
    Scores
        Rows of ``single_trial_ev`` with ``layer`` and ``n_components``, the most that were used; a layer that
        has fewer is used whole.

    Raises
    ------
    UnsupportedError
        If no session has units.
    """
    with_units = [session for session in context.sessions if session.units]
    if not with_units:
        raise UnsupportedError("There are no units, and the layer analysis predicts units.")
    scored = []
    for session in with_units:
        context.progress(f"layers {session.id}: map to {len(session.units)} units")
        scored.append(_scored(context, LagWindow.of(context, session)))
    activity = {s.session.id: Activity.of(context, s.session) for s in scored}
    names = dict.fromkeys(name for s in scored for name in s.predictions)
    context.progress("layers: scores and intervals")
    rows: list[ScoreRow] = []
    for area in sorted({a for s in scored for a in s.session.units.areas}):
        table = EncodingTable(context, scored, area, "ood", activity)
        for name in names:
            layer, n = name.rsplit(" ", 1)
            row = table.row("single_trial_ev", reference=name)
            del row["reference"]
            rows.append(row | {"layer": layer, "n_components": int(n)})
    return Scores(rows)


def _scored(context: Context, lagged: LagWindow) -> Scored:
    """Predictions of a session by every layer and number of components, named ``layer n``."""
    scores = candidate_scores(context, lagged)
    with threadpool_limits(limits=1):
        lag = candidate_predictions(context, lagged, scores)["lag_ood"]
        lags = np.rint(lag / lagged.trials.dt).astype(np.int64)
        used = {
            (name, n): min(n, layer.values.shape[1])
            for name, layer in scores.layers.items()
            for n in LAYERS.components
        }

        def predict(task: tuple[str, int]) -> Predictions:
            name, n = task
            layer = scores.layers[name]
            first = Ragged(np.ascontiguousarray(layer.values[:, :n]), layer.offsets)
            return {"ood": predict_units(context, lagged, {name: first}, lags=lags)["ood"]}

        tasks = sorted({(name, n) for (name, _), n in used.items()})
        made = dict(zip(tasks, on_all_cores(predict, tasks), strict=True))
    predictions = {f"{name} {most}": [made[name, n]] for (name, most), n in used.items()}
    return Scored(lagged.session, predictions, {}, list(scores.layers), scores.n_winsorised)

"""Encoding: how much of each unit's activity a model's inner activity explains (protocol section 3).

Reads top to bottom: component scores of each session (`reduction.py`), the map to units (`predictions.py`),
the references through the same map (`panel.py`), then scores and gains as tidy rows (`rows.py`).
"""

from __future__ import annotations

from dataclasses import asdict

from threadpoolctl import threadpool_limits

from neurobench_grasp.contract import Scores
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.predictions import Predictions, predict_units
from neurobench_grasp.protocols.encoding.reduction import LagWindow, LayerScores, candidate_scores
from neurobench_grasp.protocols.encoding.references import reference_panel
from neurobench_grasp.protocols.encoding.table import Scored, score_table
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS


def run(context: Context) -> Scores:
    """Score one model on one dataset.

    Returns
    -------
    Scores
        Tidy rows, one number each, as in the published schema of records; and the scores of single units.

    Raises
    ------
    UnsupportedError
        If no session has units.
    NgbError
        If the model's layers do not have the steps of the trials, or are not finite.
    """
    if not any(session.units for session in context.sessions):
        names = ", ".join(s.id for s in context.sessions)
        raise UnsupportedError(
            f"{names} holds no units, and encoding predicts units; score another recording."
        )
    scored: list[Scored] = []
    for session in context.sessions:
        context.progress(f"encoding {session.id}: activations")
        reach = LagWindow.of(context, session)
        scores = candidate_scores(context, reach)
        context.progress(f"encoding {session.id}: map to {len(session.units)} units")
        with threadpool_limits(limits=1):  # many small matrices: threads that wait for each other cost more
            candidate = candidate_predictions(context, reach, scores)
            context.progress(f"encoding {session.id}: references")
            panel = reference_panel(context, reach, scores)
        predictions = {"": [candidate], **panel.predictions}
        scored.append(Scored(reach.cut, predictions, panel.absent, list(scores.layers), scores.n_winsorised))
    context.progress("encoding: scores and intervals")
    return score_table(context, scored)


def candidate_predictions(context: Context, reach: LagWindow, scores: LayerScores) -> Predictions:
    """Map the candidate's layers to units; kept as a stage."""
    key = context.key(
        stage="map", session=reach.whole.sha256, splits=context.splits.sha256, settings=asdict(SETTINGS)
    )
    return context.stage("map", key, lambda: predict_units(context, reach.cut, scores.layers, candidate=True))

"""Encoding: explained variance of each unit's activity by a model's activations (protocol section 3).

Reads top to bottom: component scores of each session (`reduction.py`), the map to units (`predictions.py`),
the references through the same map (`references.py`), then scores and gains as tidy rows (`table.py`).
Units of long sessions are scored in blocks (`blocks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Scores
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context, Stage
from neurobench_grasp.protocols.encoding.blocks import Reduction
from neurobench_grasp.protocols.encoding.predictions import (
    PredictedSession,
    Predictions,
    fit_units,
    whole,
)
from neurobench_grasp.protocols.encoding.reduction import LagWindow, LayerScores, candidate_scores
from neurobench_grasp.protocols.encoding.references import Keep, reference_predictions
from neurobench_grasp.protocols.encoding.table import Scored, score_table
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS

MAP = Stage("map", asdict(SETTINGS), core=True)


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
    scored = [_scored(context, session) for session in context.sessions if session.units]
    context.progress("encoding: scores and intervals")
    return score_table(context, scored)


def _scored(context: Context, session: AlignedSession) -> Scored:
    context.progress(f"encoding {session.id}: activations")
    lagged = LagWindow.of(context, session)
    scores = candidate_scores(context, lagged)
    context.progress(f"encoding {session.id}: map to {len(session.units)} units")
    keep = Reduction.of(context, session)
    with threadpool_limits(limits=1):  # many small matrices: threads that wait for each other cost more
        candidate = candidate_predictions(keep.staged, lagged, scores, keep)
        context.progress(f"encoding {session.id}: references")
        references = reference_predictions(keep.staged, lagged, scores, keep=keep)
    predictions = {"": [candidate], **references.predictions}
    return Scored(session, predictions, references.absent, list(scores.layers), scores.n_winsorised)


def candidate_predictions(
    context: Context, lagged: LagWindow, scores: LayerScores, keep: Keep | None = None
) -> Predictions:
    """Map the candidate's layers to units; kept as a stage. ``keep``: as of the references."""
    keep = keep or partial(whole, lagged.session)
    return context.stages(
        MAP, lagged.session, lambda: keep(fit_units(context, lagged, scores.layers, candidate=True))
    )


def predicted_sessions(context: Context) -> Iterator[PredictedSession]:
    """Return the candidate's predictions of every session with units: read where they are kept, else made.

    Raises
    ------
    NgbError
        If the model's layers do not have the steps of the trials, or are not finite.
    """
    for session in (s for s in context.sessions if s.units):
        context.progress(f"{session.id}: predictions of {len(session.units)} units")
        lagged = LagWindow.of(context, session)
        scores = candidate_scores(context, lagged)
        with threadpool_limits(limits=1):  # as in `run`, for the same bits
            predictions = candidate_predictions(context, lagged, scores)
        yield PredictedSession(session, tuple(context.index(session, context.splits.ood)), predictions)

"""The protocol: the network stands beside a candidate as a reference, in the scores of ``encoding``."""

from dataclasses import replace

from threadpoolctl import threadpool_limits

from neurobench_grasp import Scores
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import ScoreRow
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.protocol import candidate_predictions
from neurobench_grasp.protocols.encoding.reduction import LagWindow, candidate_scores
from neurobench_grasp.protocols.encoding.references import BEST_KINEMATIC, KINEMATIC, reference_predictions
from neurobench_grasp.protocols.encoding.table import Panel, Scored, score_table
from ngb_behaviour_gru.reference import gru_predictions
from ngb_behaviour_gru.settings import NAME

BESIDE = (*KINEMATIC, "true_rate")
"""References of ``encoding`` that show how far the network got itself."""
PANEL = Panel(references=(NAME, *BESIDE), gains=(NAME, BEST_KINEMATIC))


def run(context: Context) -> Scores:
    """Score one model beside the network.

    Raises
    ------
    UnsupportedError
        If no session has units, or one with units has too few training trials or no recorded movement.
    NgbError
        If the model's layers do not have the steps of the trials, or are not finite.
    """
    with_units = [session for session in context.sessions if session.units]
    if not with_units:
        names = ", ".join(session.id for session in context.sessions)
        raise UnsupportedError(
            f"{names} holds no units, and the protocol {NAME} predicts units; score another recording."
        )
    scored = [_scored(context, session) for session in with_units]
    context.progress(f"{NAME}: scores and intervals")
    scores = score_table(context, scored, PANEL)
    return replace(scores, rows=[_labelled(row) for row in scores.rows])


def _labelled(row: ScoreRow) -> ScoreRow:
    """Mark the scores of a reference that was trained on the units."""
    return row | {"saw_units": True} if row.get("reference") == NAME else row


def _scored(context: Context, session: AlignedSession) -> Scored:
    lagged = LagWindow.of(context, session)
    context.progress(f"{NAME} {session.id}: networks from behaviour to {len(session.units)} units")
    network = gru_predictions(context, session)
    context.progress(f"{NAME} {session.id}: activations and map of the model")
    scores = candidate_scores(context, lagged)
    with threadpool_limits(limits=1):  # as encoding, for the same map
        candidate = candidate_predictions(context, lagged, scores)
        beside = reference_predictions(context, lagged, scores, BESIDE)
    predictions = {"": [candidate], NAME: [network], **beside.predictions}
    return Scored(session, predictions, beside.absent, list(scores.layers), scores.n_winsorised)

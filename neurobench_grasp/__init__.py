"""Train and score models of the primate sensorimotor system while it shapes the hand to grasp."""

from neurobench_grasp.contract import (
    MUSCLE_LAYER,
    Activations,
    Body,
    BodySpec,
    Controller,
    DatasetSpec,
    DecodedTrials,
    Decoder,
    DecoderSpec,
    Goal,
    Model,
    ModelCard,
    ModelSpec,
    ProtocolSpec,
    Ragged,
    Recurrent,
    ScoreRecord,
    Scores,
    Session,
    Tracking,
    Trials,
    Twinned,
)
from neurobench_grasp.errors import NgbError
from neurobench_grasp.hookspecs import hookimpl

__version__ = "0.1.0"

__all__ = [
    "MUSCLE_LAYER",
    "Activations",
    "Body",
    "BodySpec",
    "Controller",
    "DatasetSpec",
    "DecodedTrials",
    "Decoder",
    "DecoderSpec",
    "Goal",
    "Model",
    "ModelCard",
    "ModelSpec",
    "NgbError",
    "ProtocolSpec",
    "Ragged",
    "Recurrent",
    "ScoreRecord",
    "Scores",
    "Session",
    "Tracking",
    "Trials",
    "Twinned",
    "hookimpl",
]

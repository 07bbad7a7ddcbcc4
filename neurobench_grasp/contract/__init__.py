"""What a plugin author reads: the data, models, decoders, specifications and scores of the benchmark."""

from neurobench_grasp.contract.card import ModelCard
from neurobench_grasp.contract.data import (
    LOOK_AHEAD_S,
    Activations,
    Bools,
    Floats,
    Goal,
    Ints,
    Ragged,
    Session,
    Signal,
    Tracking,
    Trials,
    TrialTable,
    Units,
    Window,
)
from neurobench_grasp.contract.decoder import DecodedTrials, Decoder
from neurobench_grasp.contract.model import (
    Controller,
    Model,
    Progress,
    Recurrent,
    RecurrentState,
    Trainable,
    TrainedNetwork,
    Twinned,
)
from neurobench_grasp.contract.scores import ScoreRecord, ScoreRow, Scores, StoredRow
from neurobench_grasp.contract.specs import DatasetSpec, DecoderSpec, ModelSpec, ProtocolSpec

__all__ = [
    "LOOK_AHEAD_S",
    "Activations",
    "Bools",
    "Controller",
    "DatasetSpec",
    "DecodedTrials",
    "Decoder",
    "DecoderSpec",
    "Floats",
    "Goal",
    "Ints",
    "Model",
    "ModelCard",
    "ModelSpec",
    "Progress",
    "ProtocolSpec",
    "Ragged",
    "Recurrent",
    "RecurrentState",
    "ScoreRecord",
    "ScoreRow",
    "Scores",
    "Session",
    "Signal",
    "StoredRow",
    "Tracking",
    "Trainable",
    "TrainedNetwork",
    "TrialTable",
    "Trials",
    "Twinned",
    "Units",
    "Window",
]

"""Train and score models of the primate sensorimotor system while it shapes the hand to grasp."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neurobench_grasp.errors import NgbError
from neurobench_grasp.hookspecs import hookimpl

if TYPE_CHECKING:
    from neurobench_grasp.api import compare, evaluate, load_session, read_records, score_table, train
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
    "compare",
    "evaluate",
    "hookimpl",
    "load_session",
    "read_records",
    "score_table",
    "train",
]
_OF_API = ("compare", "evaluate", "load_session", "read_records", "score_table", "train")
"""Imported when they are first used, as all other names but errors and hooks: help is shown without NumPy."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'api' if name in _OF_API else 'contract'}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

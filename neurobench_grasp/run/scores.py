"""Runs a protocol; its scores are kept as the last stage, so that an unchanged score is only read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from neurobench_grasp.contract import ProtocolSpec, Scores
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import CORE, Provided
from neurobench_grasp.protocols.context import Arrays, Context
from neurobench_grasp.run.record import described
from neurobench_grasp.run.stages import Stages
from neurobench_grasp.run.task import Task


def run_protocol(protocol: Provided[ProtocolSpec], context: Context, task: Task) -> Scores:
    """Score one network by one protocol.

    Raises
    ------
    NgbError
        If the protocol returns something else than scores, or raises it.
    """
    stages = context.stages
    assert isinstance(stages, Stages)
    if protocol.distribution != CORE:  # its stages depend on its code, too
        stages = replace(stages, protocol=protocol.code_digest(task.code_digest))

    def make() -> Arrays:
        scores = protocol.spec.run(replace(context, stages=stages))
        if not isinstance(scores, Scores):
            raise NgbError(
                f"{protocol.provider} gives a {type(scores).__name__} as the result of the protocol "
                f"{protocol.spec.name}; it must give neurobench_grasp.Scores(rows)."
            )
        return {**scores.units, "rows": np.array(json.dumps(list(scores.rows)))}

    inputs = stages.identity(decoder=protocol.spec.decodes)
    if inputs is not None:
        data = task.data
        inputs |= {"scores": described(protocol.spec, task), "data": data.sha256}
        inputs |= {"trained_on": data.trained_on_sha256}
    arrays = dict(stages.own.keep("score", inputs, make))
    return Scores(json.loads(str(arrays.pop("rows"))), arrays)

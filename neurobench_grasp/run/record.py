"""From scores to a record: what was scored, what was left out, and what produced it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.contract import ProtocolSpec, ScoreRecord, Scores
from neurobench_grasp.plugins import CORE
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.records.provenance import provenance
from neurobench_grasp.records.record import pack_units, write_record
from neurobench_grasp.run.dataset import Dataset
from neurobench_grasp.run.task import Task


def keep_record(
    out: Path, task: Task, context: Context, protocol: ProtocolSpec, scores: Scores, wall_time_s: float
) -> ScoreRecord:
    """Write scores as a record, with the splits and the scores of single units beside it.

    Parameters
    ----------
    out : path
        Run folder.
    task : Task
    context : Context
        The network that was scored.
    protocol : ProtocolSpec
    scores : Scores
    wall_time_s : float
        Seconds that the scores took.
    """
    candidate, units = task.candidate, pack_units(scores.units)
    code = {CORE: task.code_digest(CORE), candidate.distribution: candidate.code_digest(task.code_digest)}
    record = ScoreRecord(
        model=candidate.spec.name,
        seed=context.seed,
        dataset=_describe(task.data),
        protocol=described(protocol, task),
        scores=scores.rows,
        dropped=_dropped(task.data),
        provenance=provenance(
            wall_time_s=wall_time_s,
            code=code,
            weights=weights_digest(task, context.seed),
            train=task.train.sha256,
            units=units,
            isolated=None if candidate.isolated is None else candidate.isolated.packages,
        ),
        card=None if candidate.spec.card is None else candidate.spec.card.to_json(),
    )
    splits = task.data.splits
    write_atomically(
        out / "splits" / f"{splits.sha256[:16]}.json",
        splits.as_json().encode(),
        what="the splits",
        advice="choose another folder with --out",
    )
    write_record(out / "records", record, units)
    return record


def weights_digest(task: Task, seed: int) -> str | None:
    """Return the digest of the weights, or of the file of activations, that a network depends on."""
    depends_on = task.candidate.spec.depends_on
    return None if depends_on is None else depends_on(seed, task.train)


def described(protocol: ProtocolSpec, task: Task) -> dict[str, Any]:
    """Return name, version and settings of a protocol as JSON values; the decoder is one of its settings."""
    settings = dict(protocol.settings)
    if protocol.decodes:
        settings["decoder"] = f"{task.decoder.spec.name} ({task.decoder.provider})"
    return {"name": protocol.name, "version": protocol.version, "settings": json.loads(json.dumps(settings))}


def _describe(data: Dataset) -> dict[str, Any]:
    turns = {s.id: [list(row) for row in s.turn] for s in data.sessions if s.turn is not None}
    trained_on = {"trained_on": data.trained_on, "trained_on_sha256": data.trained_on_sha256}
    return {
        **(trained_on if data.trained_on else {}),
        **({"source": list(data.source)} if data.source else {}),
        "id": data.id,
        "sha256": data.sha256,
        "splits": data.splits.sha256,
        "folds": data.folds_sha256,
        "fold": data.fold,
        "n_folds": len(data.folds),
        "synthetic": data.synthetic,
        "licence": data.licence,
        "held_out_conditions": list(data.splits.held_out),
        "sessions": [{"id": s.id, "subject": s.subject, "sha256": s.sha256} for s in data.sessions],
        **({"turns": turns} if turns else {}),
    }


def _dropped(data: Dataset) -> list[Mapping[str, Any]]:
    """List what was left out or changed, counted by reason."""
    rows: list[Mapping[str, Any]] = []
    for session in data.sessions:
        dropped = data.dropped(session)
        for why in sorted({why for _, why in dropped}):
            trials = [t for t, w in dropped if w == why]
            rows.append(
                {"session": session.id, "what": "trials", "n": len(trials), "ids": trials, "reason": why}
            )
        rows += [{"session": session.id, "what": "note", "reason": note} for note in session.notes]
    return rows

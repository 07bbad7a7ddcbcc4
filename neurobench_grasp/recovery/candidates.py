"""Scores of one candidate on the sessions of one teacher, unit by unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.leaderboard.standings import unit_scores_of
from neurobench_grasp.records.record import read_units, record_path
from neurobench_grasp.run.job import Job, Options
from neurobench_grasp.run.plan import plan
from neurobench_grasp.run.workspace import Workspace
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.networks import Networks


@dataclass(frozen=True)
class Candidate:
    """Scores of a candidate on a teacher's sessions.

    Parameters
    ----------
    kind : str
    networks : sequence of sequence of UnitScores
        By network and session.
    twins : sequence of sequence of UnitScores
        Of the untrained twins; empty for a model without networks.
    """

    kind: str
    networks: Networks
    twins: Networks = ()


def jobs_of(
    workspace: Workspace, model: str, seeds: Sequence[int], files: Sequence[Path], trained_on: str | Path
) -> list[list[Job]]:
    """Return the jobs of a candidate's networks, file by file."""
    options = Options(trained_on=str(trained_on))
    return [plan(workspace, model, file, ("encoding",), seeds, options) for file in files]


def candidate_of(
    kind: str, jobs: Sequence[Sequence[Job]], records: Mapping[Job, ScoreRecord], folder: Path
) -> dict[str, Candidate]:
    """Return the scores of a candidate's networks.

    Parameters
    ----------
    kind : str
    jobs : sequence of sequence of Job
        By file and network.
    records : mapping of Job to ScoreRecord
    folder : path
        Of the records.

    Returns
    -------
    dict of str to Candidate
        By area, which is named after a teacher; without twins for a model without networks.
    """
    networks: dict[str, list[list[UnitScores]]] = {}
    twins: dict[str, list[list[UnitScores]]] = {}
    for of_file in jobs:
        for k, job in enumerate(of_file):
            record = records[job]
            table = read_units(record_path(folder, record), record, unit_scores_of())
            assert table is not None  # encoding always stores them
            for labels, parts in table.scores.items():
                found = twins if labels.reference else networks
                found.setdefault(labels.area, [[] for _ in of_file])[k] += parts
    return {area: Candidate(kind, found, twins.get(area, ())) for area, found in networks.items()}

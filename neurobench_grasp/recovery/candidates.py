"""Scores of one candidate on the sessions of one teacher, unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurobench_grasp.contract import Progress
from neurobench_grasp.leaderboard.standings import unit_scores_of
from neurobench_grasp.records.record import read_units, record_path
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.run.job import Options
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


def score_candidate(
    model: str,
    kind: str,
    seeds: Sequence[int],
    files: Sequence[Path],
    trained_on: str | Path,
    out: str | Path,
    progress: Progress,
) -> dict[str, Candidate]:
    """Score the networks of a candidate by the encoding protocol.

    Returns
    -------
    dict of str to Candidate
        By area, which is named after a teacher; without twins for a model without networks.
    """
    networks: dict[str, list[list[UnitScores]]] = {}
    twins: dict[str, list[list[UnitScores]]] = {}
    for file in files:

        def report(text: str, file: Path = file) -> None:
            progress(f"{model} on {file.stem}: {text}")

        records = evaluate(
            model, file, protocols=("encoding",), seeds=seeds, options=Options(trained_on=str(trained_on)),
            out=out, progress=report,
        )  # fmt: skip
        for k, record in enumerate(records):
            table = read_units(record_path(Path(out) / "records", record), record, unit_scores_of())
            assert table is not None  # encoding always stores them
            for labels, parts in table.scores.items():
                found = (twins if labels.reference else networks).setdefault(labels.area, [[] for _ in seeds])
                found[k] += parts
    return {area: Candidate(kind, found, twins.get(area, ())) for area, found in networks.items()}

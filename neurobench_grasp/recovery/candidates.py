"""Scores of one candidate on the sessions of one teacher, unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neurobench_grasp.contract import Progress
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT, TWIN
from neurobench_grasp.records.record import read_units, record_path
from neurobench_grasp.records.units import Labels
from neurobench_grasp.recovery.sessions import AREA
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.run.job import Options
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.networks import Networks

_OWN, _TWIN = (Labels(AREA, SPLIT, METRIC, reference) for reference in ("", TWIN))


def score_candidate(
    model: str,
    seeds: Sequence[int],
    files: Sequence[Path],
    trained_on: str | Path,
    out: str | Path,
    progress: Progress,
) -> tuple[Networks, Networks]:
    """Score the networks of a candidate by the encoding protocol.

    Returns
    -------
    networks, twins : sequence of sequence of UnitScores
        By network and session: of the candidate, and of its untrained twins, which models without networks
        do not have.
    """
    networks: list[list[UnitScores]] = [[] for _ in seeds]
    twins: list[list[UnitScores]] = [[] for _ in seeds]
    for file in files:

        def report(text: str, file: Path = file) -> None:
            progress(f"{model} on {file.stem}: {text}")

        records = evaluate(
            model, file, protocols=("encoding",), seeds=seeds, options=Options(trained_on=str(trained_on)),
            out=out, progress=report,
        )  # fmt: skip
        for network, twin, record in zip(networks, twins, records, strict=True):
            table = read_units(record_path(Path(out) / "records", record), record, (_OWN, _TWIN).__contains__)
            assert table is not None  # encoding always stores them
            network += table.scores[_OWN]
            twin += table.scores.get(_TWIN, ())
    return networks, twins if all(twins) else []

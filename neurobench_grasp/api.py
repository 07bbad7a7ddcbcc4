"""What notebooks and scripts use, reached from the package itself: ``import neurobench_grasp as ngb``.

Each function returns what the command of the same name prints, as Python values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.data import load_session
from neurobench_grasp.errors import NgbError
from neurobench_grasp.leaderboard import comparison, unit_scores_of
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT
from neurobench_grasp.records import record as stored
from neurobench_grasp.records.table import LABELS
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.run.job import RUNS
from neurobench_grasp.run.train import train_network as train

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare", "evaluate", "load_session", "read_records", "score_table", "train"]

RECORD = ("model", "seed", "dataset", "protocol", "version")
"""Columns that name the record of a row."""
INTERVAL = ("low", "high")
BOARD = ("dataset", "protocol", "area", "metric", "split")
"""Columns that name what models are compared by."""


def read_records(*folders: str | Path) -> list[ScoreRecord]:
    """Return the records of run folders, submissions or folders of records.

    Parameters
    ----------
    *folders : path
        Default: ``ngb-runs``.

    Raises
    ------
    NgbError
        If a record cannot be read, or a folder has none.
    """
    found, problems = stored.read_records(folders or (RUNS,))
    _refuse(problems)
    return list(found)


def score_table(records: ScoreRecord | Iterable[ScoreRecord]) -> pd.DataFrame:
    """Return all scores of records as a tidy table.

    Parameters
    ----------
    records : ScoreRecord or iterable of ScoreRecord
        As :func:`evaluate` and :func:`read_records` return them.

    Returns
    -------
    pandas.DataFrame
        One row for each number: ``model, seed, dataset, protocol, version``; the labels of the row
        (``metric, of, split, area, …``; empty where it has none); ``value`` with its 95 % interval (``low``,
        ``high``); then whatever else rows state, such as the ``reason`` of a missing value.
    """
    import pandas as pd

    records = [records] if isinstance(records, ScoreRecord) else records
    rows = []
    for one in records:
        protocol = one.protocol
        of = (one.model, one.seed, one.dataset["id"], protocol["name"], protocol["version"])
        named = dict(zip(RECORD, of, strict=True)) | dict.fromkeys(LABELS, "")
        rows += [named | _with_interval(row) for row in one.scores]
    table = pd.DataFrame(rows)
    first = [*RECORD, *LABELS, "value", *INTERVAL]
    return table.reindex(columns=[*first, *(name for name in table if name not in first)])


def compare(
    *models: str,
    runs: str | Path | Sequence[str | Path] = RUNS,
    metric: str = METRIC,
    split: str = SPLIT,
    dataset: str | None = None,
) -> pd.DataFrame:
    """Compare models that were scored alike, unit by unit and condition by condition.

    Parameters
    ----------
    *models : str
        At least two names.
    runs : path or sequence of path
        Run folders or submissions.
    metric, split : str
        What is compared; lower is better where the metric's name says error.
    dataset : str, optional
        Only records on this dataset.

    Returns
    -------
    pandas.DataFrame
        One row for each pair of models on each board: ``dataset, protocol, area, metric, split``; the models
        ``a`` and ``b``; ``value``, the difference a − b, with its 95 % interval (``low``, ``high``; none with
        one network) and standard errors; and the ``verdict``: the better model, ``tie``, or none without an
        interval.

    Raises
    ------
    NgbError
        If a model is unknown, was not scored like another, or a record cannot be read.
    """
    import pandas as pd

    folders = [runs] if isinstance(runs, str | Path) else runs
    scored, problems = stored.read_scored(folders, unit_scores_of(metric, split))
    _refuse(problems)
    shown = ("a", "b", "value", "ci", "data_se", "network_se", "verdict")
    return pd.DataFrame(
        {name: board[name] for name in BOARD} | _with_interval({name: pair[name] for name in shown})
        for board in comparison(scored, models, metric=metric, split=split, dataset=dataset)
        for pair in board["pairs"]
    )


def _with_interval(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the ends of its interval as two values."""
    ends = dict(zip(INTERVAL, row.get("ci") or (None, None), strict=True))
    return {name: value for name, value in row.items() if name != "ci"} | ends


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise NgbError(" ".join(problems))

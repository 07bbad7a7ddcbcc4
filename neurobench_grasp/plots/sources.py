"""Sources of the figures: the records of one model on one dataset, network by network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.leaderboard.standings import METRIC
from neurobench_grasp.protocols.brain_control.protocol import ERROR, metric_of
from neurobench_grasp.protocols.brain_control.trials import KINDS
from neurobench_grasp.records.record import Scored, read_scored
from neurobench_grasp.records.table import RSA, Score, ScoreTable

if TYPE_CHECKING:
    import pandas as pd

NAN = float("nan")
UNIT_METRICS = (METRIC, RSA, *(metric_of(ERROR, kind) for kind in KINDS))
"""Of these metrics the scores of single units are read."""


def ends(score: Score, name: str) -> dict[str, float]:
    """Columns of value and interval, ``name``, ``name_ci_low`` and ``name_ci_high``; NaN where missing.

    Where the interval over networks is not known, its ends are means over the networks' own intervals.
    """
    low, high = score.ci or score.mean_ci or (NAN, NAN)
    value = NAN if score.value is None else score.value
    return {name: value, f"{name}_ci_low": low, f"{name}_ci_high": high}


def cells(score: Score) -> dict[str, Any]:
    """Columns of a table of explained variance of units."""
    return {**ends(score, "ev"), "n_units": score.n_units, "reason": score.reason}


def network(seed: int | None) -> dict[str, Any]:
    """Columns that say which network a row is of, or that it is of their mean."""
    return {"kind": "mean" if seed is None else "network", "seed": seed}


def title_of(networks: ScoreTable) -> str:
    """Title of a figure: what was scored, and whether the data are synthetic."""
    record = networks.first.record
    data = record.dataset
    kind = "synthetic self-test" if data["synthetic"] else "recordings"
    frozen = f", trained on {data['trained_on']}" if "trained_on" in data else ""
    seeds = f"seed{'s' if len(networks.seeds) > 1 else ''} {', '.join(map(str, networks.seeds))}"
    return f"{record.model} ({seeds}{frozen}) on {data['id']} ({kind})"


def table_of(networks: ScoreTable, rows: Iterable[dict[str, Any]], column: str = "ev") -> pd.DataFrame:
    """Make the table that a figure is drawn from.

    Raises
    ------
    UnsupportedError
        With the reasons, if no number in the column is defined.
    """
    import pandas as pd

    table = pd.DataFrame(rows)
    if table.empty or table[column].isna().all():
        undefined = networks.first.record.scores if table.empty else table.to_dict("records")
        reasons = dict.fromkeys(filter(None, (row.get("reason") for row in undefined)))
        raise UnsupportedError("; ".join(reasons) or "the record has no scores")
    return table


class NoRecordError(Exception):
    """A required record is not in the run folder; the message continues a sentence that ends "no record"."""


@dataclass(frozen=True)
class RunFolder:
    """The records of a run folder, read once.

    Parameters
    ----------
    path : path
    scored : tuple of Scored
        Oldest first.
    problems : tuple of str
        Why some could not be read, sentence by sentence.
    """

    path: Path
    scored: tuple[Scored, ...]
    problems: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Read all records, with those scores of single units that figures need."""
        scored, problems = read_scored([path], lambda labels: labels.metric in UNIT_METRICS)
        by_age = sorted(scored, key=lambda s: str(s.record.provenance.get("date", "")))
        return cls(path, tuple(by_age), problems)

    def networks(
        self, model: str, protocol: str, identity: Mapping[str, Any], seeds: Sequence[int] | None
    ) -> ScoreTable:
        """Find the records of a model on a dataset.

        Parameters
        ----------
        model, protocol : str
        identity : mapping
            Entries that the record's ``dataset`` must have; ``None`` for those that it must lack.
        seeds : sequence of int, optional
            Default: all that there are.

        Returns
        -------
        ScoreTable
            Of several records of a seed the newest; all by the protocol of the newest of all.

        Raises
        ------
        NoRecordError
            If one that is asked for is not there.
        """
        found = [
            s
            for s in self.scored
            if s.record.model == model
            and s.record.protocol["name"] == protocol
            and all(s.record.dataset.get(k) == v for k, v in identity.items())
        ]
        by_seed = {s.record.seed: s for s in found if s.record.protocol == found[-1].record.protocol}
        missing = [seed for seed in seeds or () if seed not in by_seed]
        if missing or not by_seed:
            which = f" (seed {', '.join(map(str, missing))})" if missing else ""
            problems = "; ".join(problem.rstrip(".") for problem in self.problems)
            raise NoRecordError(
                f"of {model}{which} on this dataset by the protocol {protocol} in {self.path}"
                + (f" ({problems})" if problems else "")
            )
        return ScoreTable(tuple(by_seed[seed] for seed in sorted(set(seeds or by_seed))))

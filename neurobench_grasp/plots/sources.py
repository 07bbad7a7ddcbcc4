"""What the figures are drawn from: the records of one model on one dataset, network by network."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.leaderboard.ranking import average
from neurobench_grasp.leaderboard.standings import METRIC
from neurobench_grasp.protocols.brain_control.protocol import ERROR, metric_of
from neurobench_grasp.protocols.brain_control.trials import KINDS
from neurobench_grasp.records.record import Scored, read_scored
from neurobench_grasp.records.units import Labels
from neurobench_grasp.scoring.intervals import Summary

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
NAN = float("nan")
ROW_LABELS = (
    "metric", "of", "split", "area", "session", "reference", "layer", "n_components",
    "decoded", "dimension", "n_decoded_units", "noise",
)  # fmt: skip
UNIT_METRICS = (METRIC, *(metric_of(ERROR, kind) for kind in KINDS))
"""Of these metrics the scores of single units are read."""


class Score(NamedTuple):
    """A score with its 95 % interval; NaN for what is missing, and the reason."""

    value: float
    ci_low: float
    ci_high: float
    n_units: int | None
    reason: str

    @property
    def cells(self) -> dict[str, Any]:
        """Columns of a table of explained variance of units."""
        return {**self.ends("ev"), "n_units": self.n_units, "reason": self.reason}

    def ends(self, name: str) -> dict[str, float]:
        """Columns of value and interval, ``name``, ``name_ci_low`` and ``name_ci_high``."""
        return {name: self.value, f"{name}_ci_low": self.ci_low, f"{name}_ci_high": self.ci_high}


@dataclass(frozen=True)
class Networks:
    """Records of the networks of one model, scored alike, by seed.

    Parameters
    ----------
    by_seed : mapping of int to Scored
        At least one, in ascending order.
    """

    by_seed: Mapping[int, Scored]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the networks."""
        return list(self.by_seed)

    @property
    def first(self) -> Scored:
        """The network of the lowest seed."""
        return next(iter(self.by_seed.values()))

    @property
    def areas(self) -> list[str]:
        """Areas that were scored, in order."""
        return sorted({row["area"] for row in self.first.record.scores if row.get("area")})

    @property
    def title(self) -> str:
        """What was scored, in words; says of synthetic data that they are."""
        record = self.first.record
        data = record.dataset
        kind = "synthetic self-test" if data["synthetic"] else "recordings"
        frozen = f", trained on {data['trained_on']}" if "trained_on" in data else ""
        seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        return f"{record.model} ({seeds}{frozen}) on {data['id']} ({kind})"

    def rows(self, metric: str, **labels: Any) -> list[Row]:
        """Rows of the first network with these labels, whatever the others; see :data:`ROW_LABELS`."""
        wanted = {"metric": metric, **labels}.items()
        return [row for row in self.first.record.scores if row.items() >= wanted]

    def score(self, metric: str, **labels: Any) -> Score:
        """Score with exactly these labels, over all networks.

        With several networks the interval contains their variance where the scores of single units were
        kept; else value and ends are means over networks.
        """
        single = [self.of(seed, metric, **labels) for seed in self.seeds]
        undefined = [s for s in single if s.value != s.value]
        if len(single) == 1 or undefined:
            return (undefined or single)[0]
        value, low, high = (statistics.fmean(end) for end in zip(*(s[:3] for s in single), strict=True))
        total = self._total(metric, labels)
        if total is not None:
            value, (low, high) = total.value, total.ci or (NAN, NAN)
        return Score(value, low, high, single[0].n_units, single[0].reason)

    def of(self, seed: int, metric: str, **labels: Any) -> Score:
        """Score of one network, as its record has it."""
        row = self._by_labels[seed].get(frozenset({"metric": metric, **labels}.items()))
        if row is None:
            return Score(NAN, NAN, NAN, None, "not in the record")
        value = NAN if row["value"] is None else row["value"]
        low, high = row.get("ci") or (NAN, NAN)
        return Score(value, low, high, row.get("n_units"), row.get("reason", ""))

    @cached_property
    def _by_labels(self) -> Mapping[int, Mapping[frozenset[tuple[str, Any]], Row]]:
        def index(rows: Sequence[Row]) -> dict[frozenset[tuple[str, Any]], Row]:
            labels = (frozenset((k, row[k]) for k in ROW_LABELS if k in row) for row in rows)
            return dict(zip(labels, rows, strict=True))

        return {seed: index(scored.record.scores) for seed, scored in self.by_seed.items()}

    def _total(self, metric: str, labels: Mapping[str, Any]) -> Summary | None:
        if not labels.keys() <= {"area", "split", "reference", "decoded"}:
            return None
        key = Labels(labels["area"], labels["split"], metric, labels.get("reference", ""))
        tables = [scored.units.scores for scored in self.by_seed.values()]
        return average([table[key] for table in tables]) if all(key in table for table in tables) else None


def table_of(networks: Networks, rows: Iterable[dict[str, Any]], column: str = "ev") -> pd.DataFrame:
    """Put together what is drawn of some networks.

    Raises
    ------
    UnsupportedError
        With the reasons, if no number in the column is defined.
    """
    import pandas as pd

    table = pd.DataFrame(rows)
    if table.empty or table[column].isna().all():
        told = networks.first.record.scores if table.empty else table.to_dict("records")
        reasons = dict.fromkeys(filter(None, (row.get("reason") for row in told)))
        raise UnsupportedError("; ".join(reasons) or "the record has no scores")
    return table


class NoRecordError(Exception):
    """A record that is needed is not in the run folder; the text says of what, after "no record"."""


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

    def networks(self, model: str, protocol: str, identity: Row, seeds: Sequence[int] | None) -> Networks:
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
        Networks
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
            told = "; ".join(problem.rstrip(".") for problem in self.problems)
            raise NoRecordError(
                f"of {model}{which} on this dataset by the protocol {protocol} in {self.path}"
                + (f" ({told})" if told else "")
            )
        return Networks({seed: by_seed[seed] for seed in sorted(seeds or by_seed)})

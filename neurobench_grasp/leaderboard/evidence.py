"""Records at hand, by dataset, model and protocol: what statistics over several of them are made from."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.leaderboard.ranking import difference, gains
from neurobench_grasp.leaderboard.standings import IDENTITY, METRIC, SPLIT, TWIN, identity, settings_digest
from neurobench_grasp.records.record import Scored
from neurobench_grasp.records.table import ERRORS, NO_INTERVAL, ScoreTable, few_conditions, open_folds
from neurobench_grasp.records.units import Labels
from neurobench_grasp.scoring.intervals import MIN_GROUPS, MIN_NETWORKS, Summary
from neurobench_grasp.scoring.networks import Networks, average

ENCODING, TRACKING = "encoding", "tracking"
BRAIN_CONTROL, CURVES = "brain-control", "brain-control-curves"
FILES = {"--dataset": "FILE", "--trained-on": "OTHER_FILE"}
"""Placeholders in commands."""
Found = tuple[Networks, str]
"""Unit scores of a model's networks, and why they have no interval; empty if they have one."""


def of_claims(labels: Labels) -> bool:
    """Select the scores of single units that claims follow from."""
    return labels.split == SPLIT and labels.metric in (METRIC, *ERRORS)


class MissingError(Exception):
    """Something that a claim needs is not at hand: the message says what and, if possible, what makes it."""


@dataclass(frozen=True)
class Evidence:
    """Records on one dataset, of each protocol those that were scored alike.

    Parameters
    ----------
    dataset : mapping
        Its labels, see :data:`neurobench_grasp.leaderboard.standings.IDENTITY`.
    tables : mapping of (str, str) to ScoreTable
        Model and protocol → its networks; the newest record of each seed.
    known : collection of str
        Datasets that ``ngb score`` finds by their names; others are named by the path of a file.
    out : str
        Run folder that commands name; empty for the default one.
    """

    dataset: Mapping[str, Any]
    tables: Mapping[tuple[str, str], ScoreTable]
    known: Collection[str] = ()
    out: str = ""

    def areas(self, protocol: str) -> list[str]:
        """Areas whose units some model was scored on by a protocol."""
        of_units = (table for (_, name), table in self.tables.items() if name == protocol)
        return sorted({area for table in of_units for area in table.values("area")})

    def has(self, models: Models) -> bool:
        """Whether there is a record of one of the models."""
        return any(model in vars(models).values() for model, _ in self.tables)

    def table(self, model: str, protocol: str, split: str = SPLIT) -> ScoreTable:
        """Return the networks of a model by a protocol, for scores on a split.

        Raises
        ------
        MissingError
            It names the command that makes their records.
        """
        if (model, protocol) not in self.tables:
            why = few_conditions(self._records, split)
            but = f", but there will be {why}" if why else ""
            raise MissingError(f"no record of {model} by {protocol}; {self.made_by(model, protocol)}{but}")
        return self.tables[model, protocol]

    def networks(self, model: str, protocol: str, labels: Labels) -> Found:
        """Return the unit scores of a model's networks, which have an interval if there are enough.

        Raises
        ------
        MissingError
            If there is no record, or some network has no such scores.
        """
        networks = self.table(model, protocol, labels.split).networks
        found = [parts for one in networks if (parts := one.units.scores.get(labels)) is not None]
        if len(found) < len(networks):
            lacking = [one for one in networks if labels not in one.units.scores]
            seeds = ", ".join(str(one.record.seed) for one in lacking)
            what = " of ".join(filter(None, (labels.metric, labels.reference, labels.area)))
            why = next((f" ({one.problem.rstrip('.')})" for one in lacking if one.problem), "")
            how = self.made_by(model, protocol)
            if all(one.record.dataset.get("n_folds") == 1 for one in lacking):
                how = "no command makes them, since with fewer than 3 conditions none is held out"
            raise MissingError(
                f"no unit scores {what} in the records of {model} by {protocol}, seed {seeds}{why}; {how}"
            )
        few = f"{NO_INTERVAL}: {len(found)} of {MIN_NETWORKS} networks; {self.made_by(model, protocol)}"
        reason = open_folds([one.record for one in networks], labels.split)
        return found, reason or (few if len(found) < MIN_NETWORKS else "")

    def scores(self, model: str, area: str, reference: str = "") -> Found:
        """Return the headline scores of units by a model or a reference beside it, as :meth:`networks`."""
        return self.networks(model, ENCODING, Labels(area, SPLIT, METRIC, reference))

    def gains(self, model: str, area: str, reference: str = TWIN) -> Found:
        """Return what each network adds to the headline scores of a reference beside it."""
        (own, reason), (other, _) = self.scores(model, area), self.scores(model, area, reference)
        return gains(own, other), reason

    @property
    def _records(self) -> list[ScoreRecord]:
        return [one.record for table in self.tables.values() for one in table.networks]

    def made_by(self, model: str, protocol: str) -> str:
        """Name the command that makes records; a dataset without a name is that of a file."""
        named = {"--dataset": self.dataset["dataset"], "--trained-on": self.dataset["trained_on"]}
        options, files = [f"--model {model}"], []
        for option, name in named.items():
            if name and name not in self.known:
                files.append(f"{FILES[option]} is the path or address that was scored as {name}")
            options += [f"{option} {name if name in self.known else FILES[option]}"] if name else []
        n = max([record.dataset.get("n_folds", 1) for record in self._records] + [MIN_NETWORKS])
        options += [
            f"--protocol {protocol} --seeds {n}",
            *([shlex.join(["--out", self.out])] if self.out else []),
        ]
        command = f"ngb score {' '.join(options)}"
        return f"`{command}` makes it" + (f", where {' and '.join(files)}" if files else "")


@dataclass(frozen=True)
class Models:
    """Names of the models that the claims are about.

    Parameters
    ----------
    muscle, torque, permuted : str
    fixed : str
        That of ``permuted`` before its muscles are permuted; where it has no records, ``muscle``.
    recurrent, stack, delayed : str
        Controllers of equal inputs: with a recurrent memory, with a window of past inputs, without memory.
    supervised : str
        That of ``muscle`` trained by an expert instead of by reward.
    """

    muscle: str = "muscle_ppo"
    torque: str = "torque_ppo"
    permuted: str = "permuted_muscles"
    fixed: str = "fixed_muscles"
    recurrent: str = "muscle_lstm"
    stack: str = "muscle_stack"
    delayed: str = "muscle_delayed"
    supervised: str = "muscle_sl"

    def before_permuting(self, at_hand: Evidence) -> str:
        """Return the model that ``permuted`` is compared with."""
        return self.fixed if (self.fixed, ENCODING) in at_hand.tables else self.muscle


def evidence(scored: Iterable[Scored], known: Collection[str] = (), out: str = "") -> list[Evidence]:
    """Group records by what was scored, and keep those of each protocol that were scored alike.

    Of several ways of scoring by one protocol the newest version counts, with the settings that most of its
    networks have; of several records of one network the newest.
    """
    found: dict[Any, dict[str, dict[Any, dict[Any, Scored]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )  # data → protocol → version and settings → model and seed
    for one in sorted(scored, key=lambda s: str(s.record.provenance.get("date", ""))):
        record = one.record
        way = record.protocol["version"], settings_digest(record)
        found[identity(record)][record.protocol["name"]][way][record.model, record.seed] = one
    return [
        Evidence(dict(zip(IDENTITY, labels, strict=True)), dict(_tables(protocols)), known, out)
        for labels, protocols in sorted(found.items())
    ]


def effect_of(a: Found, b: Found | None = None) -> tuple[Summary, str]:
    """Return a mean over networks or the difference of two, and why it has no interval.

    Raises
    ------
    MissingError
        If there is no unit that all networks have a score of.
    """
    total = average(a[0]) if b is None else difference(a[0], b[0])
    if total is None:
        raise MissingError("no unit has a score by all networks")
    few = f"{NO_INTERVAL}: {total.n_groups} conditions, fewer than {MIN_GROUPS}; no command gives one"
    reason = a[1] or (b[1] if b else "") or ("" if total.ci else few)
    return (replace(total, ci=None) if reason else total), reason


def _tables(
    protocols: Mapping[str, Mapping[Any, Mapping[Any, Scored]]],
) -> Iterator[tuple[tuple[str, str], ScoreTable]]:
    for protocol, ways in protocols.items():
        _, networks = max(ways.items(), key=lambda item: (item[0][0], len(item[1])))
        for model in dict.fromkeys(name for name, _ in networks):
            seeds = sorted(seed for name, seed in networks if name == model)
            yield (model, protocol), ScoreTable(tuple(networks[model, seed] for seed in seeds))

"""Records at hand, by dataset, model and protocol: what statistics over several of them are made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neurobench_grasp.leaderboard.ranking import gains
from neurobench_grasp.leaderboard.standings import IDENTITY, METRIC, SPLIT, TWIN, identity
from neurobench_grasp.records.record import Scored
from neurobench_grasp.records.table import ScoreTable, open_folds
from neurobench_grasp.records.units import Labels
from neurobench_grasp.scoring.networks import Networks


class MissingError(Exception):
    """Something that a claim needs is not at hand: the sentence says what, and how to make it."""


@dataclass(frozen=True)
class Evidence:
    """Records on one dataset.

    Parameters
    ----------
    dataset : mapping
        Its labels, see :data:`neurobench_grasp.leaderboard.standings.IDENTITY`.
    tables : mapping of (str, str) to ScoreTable
        Model and protocol → its networks; the newest record of each seed.
    """

    dataset: Mapping[str, Any]
    tables: Mapping[tuple[str, str], ScoreTable]

    def table(self, model: str, protocol: str) -> ScoreTable:
        """Return the networks of a model by a protocol.

        Raises
        ------
        MissingError
            It names the command that makes their records.
        """
        found = self.tables.get((model, protocol))
        if found is None:
            how = "--curves" if protocol == "brain-control-curves" else f"--protocol {protocol}"
            raise MissingError(
                f"no record of {model} by {protocol}; `ngb score --model {model} --dataset "
                f"{self.dataset['dataset']} {how} --seeds 5` makes it"
            )
        return found

    def networks(self, model: str, protocol: str, labels: Labels) -> tuple[Networks, str]:
        """Return the unit scores of a model's networks, and why they have no interval.

        Raises
        ------
        MissingError
            If there is no record, or it has no such scores.
        """
        table = self.table(model, protocol)
        found = [scored.units.scores.get(labels) for scored in table.networks]
        parts = [part for part in found if part is not None]
        if len(parts) < len(found):
            raise MissingError(
                f"records of {model} by {protocol} have no {labels.metric} of "
                f"{labels.reference or model}{f' of {labels.area}' if labels.area else ''}"
            )
        return parts, open_folds([scored.record for scored in table.networks], labels.split)

    def scores(self, model: str, area: str, reference: str = "") -> tuple[Networks, str]:
        """Return the headline scores of units by a model or a reference beside it, as :meth:`networks`."""
        return self.networks(model, "encoding", Labels(area, SPLIT, METRIC, reference))

    def gains(self, model: str, area: str) -> tuple[Networks, str]:
        """Return what training added to the headline scores of units, as :meth:`networks`."""
        (own, reason), (twin, _) = self.scores(model, area), self.scores(model, area, TWIN)
        return gains(own, twin), reason

    @property
    def areas(self) -> list[str]:
        """Areas whose units some model was scored on."""
        of_units = (table for (_, protocol), table in self.tables.items() if protocol == "encoding")
        return sorted({area for table in of_units for area in table.values("area")})


@dataclass(frozen=True)
class Models:
    """Names of the models that the claims are about.

    Parameters
    ----------
    muscle, torque, permuted : str
    fixed : str
        That of ``permuted`` before its muscles are permuted; where it has no records, ``muscle``.
    """

    muscle: str = "muscle_ppo"
    torque: str = "torque_ppo"
    permuted: str = "permuted_muscles"
    fixed: str = "fixed_muscles"

    def before_permuting(self, at_hand: Evidence) -> str:
        """Return the model that ``permuted`` is compared with."""
        return self.fixed if (self.fixed, "encoding") in at_hand.tables else self.muscle


def evidence(scored: Iterable[Scored]) -> list[Evidence]:
    """Group records by what was scored; of several of one model, protocol and seed the newest counts."""
    found: dict[tuple[Any, ...], dict[tuple[str, str], dict[int, Scored]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    newest = sorted(
        scored, key=lambda s: (s.record.protocol["version"], str(s.record.provenance.get("date", "")))
    )
    for one in newest:
        record = one.record
        networks = found[identity(record)][record.model, record.protocol["name"]]
        if any(other.record.protocol != record.protocol for other in networks.values()):
            networks.clear()  # of an older version, or with other settings
        networks[record.seed] = one
    return [
        Evidence(
            dict(zip(IDENTITY, labels, strict=True)),
            {key: ScoreTable(tuple(nets[k] for k in sorted(nets))) for key, nets in tables.items()},
        )
        for labels, tables in sorted(found.items(), key=lambda item: item[0][:2])
    ]

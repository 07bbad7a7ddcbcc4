"""The verdict: a teacher is recovered if the candidate of its kind beats every other kind on its sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from neurobench_grasp.leaderboard.ranking import difference, gains, verdict
from neurobench_grasp.recovery.candidates import Candidate
from neurobench_grasp.recovery.numbers import Comparison, Numbers, comparisons, numbers_of
from neurobench_grasp.recovery.power import Power, power
from neurobench_grasp.recovery.statement import kind_probabilities
from neurobench_grasp.recovery.teachers import Teacher
from neurobench_grasp.scoring.intervals import Summary
from neurobench_grasp.scoring.networks import average

RIVALS = {"muscle_ppo": "torque_ppo", "torque_ppo": "muscle_ppo"}
"""Candidates between which the power of the design is measured."""


@dataclass(frozen=True)
class Recovered:
    """Result for the sessions of one teacher.

    Parameters
    ----------
    teacher : Teacher
    own : str
        The candidate of the teacher's kind.
    kinds : mapping of str to str
        Candidate → kind.
    scores, twins : mapping of str to Summary
        Explained variance on held-out objects of each candidate, and of its untrained twins.
    margins, twin_margins : mapping of str to Summary
        Difference between the candidate of the teacher's kind and each other candidate, and each
        candidate's untrained twins; paired by unit, and with its own twins by network.
    comparisons : tuple of Comparison
        Raw differences, gains and contrasts of the policies.
    numbers : Numbers, optional
        The same as one vector.
    power : tuple of Power
        How often the policy of the teacher's kind is ahead with less data, for muscles and torques.
    probabilities : mapping of str to float
        Of each kind, given the numbers; empty with fewer than two teachers of each kind.
    """

    teacher: Teacher
    own: str
    kinds: Mapping[str, str]
    scores: Mapping[str, Summary | None]
    twins: Mapping[str, Summary | None] = field(default_factory=dict)
    margins: Mapping[str, Summary | None] = field(default_factory=dict)
    twin_margins: Mapping[str, Summary | None] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    numbers: Numbers | None = None
    power: tuple[Power, ...] = ()
    probabilities: Mapping[str, float] = field(default_factory=dict)

    @property
    def recovered(self) -> bool:
        """Whether the own kind is above every other kind, all intervals of the difference excluding 0."""
        return all(verdict(margin) > 0 for margin in self.margins.values())

    @property
    def why_not(self) -> str:
        """Other candidates that are not below, as text; empty if the teacher is recovered."""
        relations = {0: "does not differ from", -1: "is below"}
        return "; ".join(
            f"{self.own} {relations[verdict(margin)]} {name}"
            for name, margin in self.margins.items()
            if verdict(margin) <= 0
        )


def compare(teacher: Teacher, candidates: Mapping[str, Candidate]) -> Recovered:
    """Compare the candidate of the teacher's kind with all others.

    Parameters
    ----------
    teacher : Teacher
    candidates : mapping of str to Candidate
        One of them, and only one, of the teacher's kind.
    """
    own = next(name for name, candidate in candidates.items() if candidate.kind == teacher.kind)
    best = candidates[own]
    twinned = {name: c for name, c in candidates.items() if c.twins}
    return Recovered(
        teacher=teacher,
        own=own,
        kinds={name: c.kind for name, c in candidates.items()},
        scores={name: average(c.networks) for name, c in candidates.items()},
        twins={name: average(c.twins) for name, c in twinned.items()},
        margins={
            name: difference(best.networks, c.networks) for name, c in candidates.items() if name != own
        },
        twin_margins={
            name: average(gains(c.networks, c.twins)) if name == own else difference(best.networks, c.twins)
            for name, c in twinned.items()
        },
        comparisons=comparisons(candidates),
        numbers=numbers_of(candidates),
        power=power(best, candidates[rival]) if (rival := RIVALS.get(own, "")) in candidates else (),
    )


def with_probabilities(found: Sequence[Recovered]) -> list[Recovered]:
    """Add to each teacher how probable each kind is, calibrated on the other teachers."""
    numbers = [one.numbers for one in found if one.numbers is not None]
    if len(numbers) < len(found):
        return list(found)
    probabilities = kind_probabilities([one.teacher.kind for one in found], numbers)
    return [replace(one, probabilities=p) for one, p in zip(found, probabilities, strict=True)]
